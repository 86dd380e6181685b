//! Notes what built the program, for `-version`.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    // "rustc 1.95.0 (hash date)": the second word.
    let version = output(Command::new(rustc).arg("--version")).unwrap_or_default();
    println!("cargo:rustc-env=PODZONE_RUSTC=rust{}", version.split_whitespace().nth(1).unwrap_or("?"));
    // A source archive has no history; a packager may set the commit instead.
    println!("cargo:rerun-if-env-changed=PODZONE_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let commit = std::env::var("PODZONE_COMMIT").ok().or_else(|| {
        // Every commit adds a line to this file. Naming one that is not there would build anew each time.
        if std::path::Path::new(".git/logs/HEAD").exists() {
            println!("cargo:rerun-if-changed=.git/logs/HEAD");
        }
        output(Command::new("git").args(["rev-parse", "--short", "HEAD"]))
    });
    println!("cargo:rustc-env=PODZONE_COMMIT={}", commit.unwrap_or_default());
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
