//! Notes what built the program, for `-version` and the metrics.

use std::path::Path;
use std::process::Command;

/// The commit of a source without history that nobody named.
const UNKNOWN: &str = "unknown";

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    // "rustc 1.95.0 (hash date)": the second word.
    let version = output(Command::new(rustc).arg("--version")).unwrap_or_default();
    println!("cargo:rustc-env=PODZONE_RUSTC=rust{}", version.split_whitespace().nth(1).unwrap_or("?"));
    // A source archive has no history; a packager may set the commit instead.
    println!("cargo:rerun-if-env-changed=PODZONE_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let named = std::env::var("PODZONE_COMMIT").ok().map(|commit| commit.trim().to_owned());
    let commit = named.filter(|commit| !commit.is_empty()).or_else(of_history);
    println!("cargo:rustc-env=PODZONE_COMMIT={}", commit.as_deref().unwrap_or(UNKNOWN));
}

/// The commit that is checked out here.
fn of_history() -> Option<String> {
    // A history that begins above this folder is somebody else's, in which the source was unpacked.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != Path::new(".").canonicalize().ok()? {
        return None;
    }
    // Every commit adds a line to this file. Naming one that is not there would build anew each time.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    output(Command::new("git").args(arguments))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
