//! What users are given, made as they get it but for the time that a release's building takes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder that `make dist PROFILE=brief` fills. The first time that takes as long as building all of podzone's
/// dependencies; later as long as podzone itself, where that has changed.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // Beside the binary of the tests: `debug/podzone` in cargo's target folder.
        let target = Path::new(env!("CARGO_BIN_EXE_podzone")).ancestors().nth(2).expect("a target folder");
        let folder = target.join("dist-brief");
        make(&folder, target);
        folder
    })
}

/// What it says for its commit. That of the history would have all of podzone built anew with each,
pub const COMMIT: &str = "of-tests";
/// and its time all that is written in C, and what stands on that.
const TIME: &str = "1";

/// Runs `make dist` into a folder, and gives what it says.
pub fn make(folder: &Path, target: &Path) -> String {
    let mut command = Command::new("make");
    command.args(["--no-print-directory", "dist", "PROFILE=brief"]).arg(format!("DIST={}", folder.display()));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    // Cargo's variables for this test are not those of a shell, and what is built depends on them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_cargos = text.starts_with("CARGO") && text != "CARGO_HOME";
        if is_cargos
            || text.starts_with("RUST") && text != "RUSTUP_HOME"
            || ["LD_LIBRARY_PATH", "MAKEFLAGS"].contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
    let output = command
        .env("CARGO_TARGET_DIR", target)
        .env("PODZONE_COMMIT", COMMIT)
        .env("SOURCE_DATE_EPOCH", TIME)
        .output()
        .expect("make");
    let said = [output.stdout, output.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned()).concat();
    assert!(output.status.success(), "make dist: {said}");
    said
}
