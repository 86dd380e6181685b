//! The `podzone` program.

fn main() -> std::process::ExitCode {
    podzone::cli::main()
}
