//! One of the DNS servers that all nodes ask, on a host of its own.

use super::SERVICE;
use super::support::namespace::{Host, Network};
use super::support::process::Process;
use super::support::server::Program;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What both servers write when a reload is through.
const RELOADED: &str = "Reloading complete";

pub(crate) struct Replica {
    program: Program,
    process: Process,
    host: Host,
    folder: PathBuf,
}

impl Replica {
    /// Runs it, and does not wait.
    pub(crate) fn start(program: Program, network: &Network, address: Ipv4Addr, folder: &Path, corefile: &str) -> Self {
        let name = format!("dns-{}", address.octets()[3]);
        let folder = folder.join(&name);
        fs::create_dir(&folder).unwrap();
        let host = network.host(&format!("{name}.kube-dns"), address, &[]);
        write(&folder, corefile);
        let process = spawn(program, &host, &folder);
        Self { program, process, host, folder }
    }

    /// Asks it to end, as a rollout does, and waits.
    pub(crate) fn end(&mut self) {
        self.process.terminate(Duration::from_secs(10)).expect("it ends when asked to");
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Runs it again after its end. The log goes on.
    pub(crate) fn run_again(&mut self) {
        self.process = spawn(self.program, &self.host, &self.folder);
    }

    /// Gives it another Corefile, and tells it to read that.
    pub(crate) fn reload(&self, corefile: &str) {
        write(&self.folder, corefile);
        self.process.signal("USR1");
    }

    /// How many reloads are through, of all that ever were.
    pub(crate) fn reloads(&self) -> usize {
        self.told(RELOADED)
    }

    /// How many lines of its log have this.
    pub(crate) fn told(&self, words: &str) -> usize {
        self.process.log().lines().filter(|line| line.contains(words)).count()
    }

    /// Whether `/ready` says so, and nothing beside that: what podzone serves may be old, which is told there.
    pub(crate) fn is_ready(&self) -> Result<(), String> {
        let mut command = self.host.command("curl");
        command.args(["--silent", "--fail", "--max-time", "2", "http://127.0.0.1:8181/ready"]);
        let output = command.output().expect("curl: run `make setup` (tests/peers/install)");
        if output.stdout == b"OK" { Ok(()) } else { Err(format!("{output:?}")) }
    }

    /// Whether it answers with this code who the peers are.
    pub(crate) fn says(&self, code: &str) -> Result<(), String> {
        let mut command = self.host.command("dig");
        command.arg(format!("@{}", self.host.address())).args(["+tcp", "+time=2", "+tries=1", SERVICE, "SRV"]);
        let output = command.env("HOME", &self.folder).output().expect("dig: run `make setup` (tests/peers/install)");
        let answer = String::from_utf8_lossy(&output.stdout);
        if answer.contains(code) { Ok(()) } else { Err(answer.into_owned()) }
    }

    /// Whether it has written what it knows of the cluster.
    pub(crate) fn has_snapshot(&self) -> bool {
        self.folder.join("snapshot").is_file()
    }

    pub(crate) fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

fn write(folder: &Path, corefile: &str) {
    // In one step, as a mounted ConfigMap changes.
    let new = folder.join("Corefile.new");
    fs::write(&new, corefile.replace("{folder}", &folder.to_string_lossy())).unwrap();
    fs::rename(&new, folder.join("Corefile")).unwrap();
}

fn spawn(program: Program, host: &Host, folder: &Path) -> Process {
    let mut command = host.command(&program.path().to_string_lossy());
    command.arg("-conf").arg(folder.join("Corefile"));
    Process::spawn(&format!("{program:?} on {}", host.address()), command, &folder.join("log"))
}
