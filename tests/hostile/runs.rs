//! Runs of the program that must end by themselves.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::support::process::{Process, Scratch};

/// A debug build on a busy machine takes seconds for a megabyte of errors.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// A process's exit code, and what it wrote.
pub struct Ended {
    pub code: Option<i32>,
    pub text: String,
}

/// Runs a command to its end.
pub fn to_end(mut command: Command, scratch: &Scratch) -> Ended {
    command.current_dir(scratch.path());
    let mut process = Process::spawn("podzone", command, &scratch.path().join("log"));
    let begin = std::time::Instant::now();
    loop {
        if let Some(status) = process.ended() {
            return Ended { code: status.code(), text: process.log() };
        }
        assert!(begin.elapsed() < ENDS_WITHIN, "still runs\n{}", process.log_tail());
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn podzone() -> Command {
    Command::new(env!("CARGO_BIN_EXE_podzone"))
}

/// The program as a user without rights, in a folder that this user can enter.
pub fn podzone_as_nobody(scratch: &Scratch) -> Command {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return podzone();
    }
    // The build's own folder may be closed to others.
    let program = scratch.path().join("podzone");
    std::fs::copy(env!("CARGO_BIN_EXE_podzone"), &program).unwrap();
    mode(&program, 0o755);
    mode(scratch.path(), 0o755);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}

pub fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
