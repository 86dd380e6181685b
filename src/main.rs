//! The `podzone` program.

/// Gives back what is freed; see `.cargo/config.toml` for how it is set.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    podzone::cli::main()
}
