//! Child processes and folders that never outlive the test.
//!
//! `Drop` ends them when a test passes or panics. Values in statics are never dropped, and a killed test process drops
//! nothing: so each child also has a guard, a shell that waits for the end of a pipe that only this process holds
//! open, then ends the child.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Runs a shell script when this process has ended; not when the value is dropped before.
pub struct Afterwards(Child);

impl Afterwards {
    /// `argument` is `$1` in `script`.
    pub fn run(script: &str, argument: &str) -> Self {
        let script = format!("read -r _; {script}");
        let child = Command::new("sh")
            .args(["-c", &script, "afterwards", argument])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of the terminal's group: Ctrl-C ends the test, then this does its work.
            .process_group(0)
            .spawn()
            .expect("sh");
        Self(child)
    }
}

impl Drop for Afterwards {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A temporary folder, removed in the end. `PODZONE_KEEP=1` keeps it, with the peers' logs and data.
pub struct Scratch {
    path: PathBuf,
    _guard: Option<Afterwards>,
}

impl Scratch {
    pub fn new() -> Self {
        let path = tempfile::Builder::new().prefix("podzone-test-").tempdir().expect("a temporary folder").keep();
        let keep = std::env::var_os("PODZONE_KEEP").is_some();
        if keep {
            eprintln!("keeps {}", path.display());
        }
        // The second: what still writes there ends first.
        let guard = (!keep).then(|| Afterwards::run("sleep 1; rm -rf -- \"$1\"", &path.to_string_lossy()));
        Self { path, _guard: guard }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self._guard.is_some() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A running child whose output goes to a file.
pub struct Process {
    name: String,
    // Before the child: were the child reaped first, its number could be another's when the guard kills it.
    guard: Option<Afterwards>,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output at the end of `log`.
    pub fn spawn(name: &str, command: Command, log: &Path) -> Self {
        Self::fed(name, command, Stdio::null(), log)
    }

    /// [`Self::spawn`], with something on its standard input.
    pub fn fed(name: &str, mut command: Command, input: Stdio, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("a log file");
        let errors = output.try_clone().expect("a second handle of the log");
        let child = command
            .stdin(input)
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let guard = Some(Afterwards::run("kill -KILL \"$1\"", &child.id().to_string()));
        Self { name: name.to_owned(), guard, child, log: log.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it wrote.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of the log, for a failure's message.
    pub fn log_tail(&self) -> String {
        const BYTES: u64 = 6000;
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            let size = file.metadata().map_or(0, |metadata| metadata.len());
            let _ = file.seek(SeekFrom::Start(size.saturating_sub(BYTES)));
            let _ = file.read_to_end(&mut bytes);
        }
        format!("--- the end of {}'s log\n{}\n---", self.name, String::from_utf8_lossy(&bytes))
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("a child's state");
        if status.is_some() {
            self.guard = None;
        }
        status
    }

    /// Waits until `probe` gives a value; panics with the log's end when the process dies or `limit` passes.
    pub fn wait_until<T>(&mut self, what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(value) = probe() {
                return value;
            }
            if let Some(status) = self.ended() {
                panic!("{} ended ({status}) before: {what}\n{}", self.name, self.log_tail());
            }
            if begin.elapsed() >= limit {
                panic!("{}: not within {limit:?}: {what}\n{}", self.name, self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a signal by name: `TERM`, `HUP`, `USR1`, `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "signal", signal, &self.id().to_string()])
            .status()
            .expect("sh");
        assert!(status.success(), "signal {signal} to {}", self.name);
    }

    /// Asks it to end, and waits; `None` when it had to be killed after `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Option<ExitStatus> {
        if let Some(status) = self.ended() {
            return Some(status);
        }
        self.signal("TERM");
        let begin = Instant::now();
        while begin.elapsed() < limit {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        None
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.guard = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
