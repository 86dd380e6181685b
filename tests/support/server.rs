//! DNS servers under test: podzone, and CoreDNS as the reference, with the same Corefile.

use super::dns::{self, Query};
use super::process::{Process, Scratch};
use super::{peers, ports};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(30);

/// Which server to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Podzone,
    CoreDns,
}

impl Program {
    pub fn path(self) -> PathBuf {
        match self {
            Self::Podzone => PathBuf::from(env!("CARGO_BIN_EXE_podzone")),
            Self::CoreDns => peers::binary("coredns"),
        }
    }

    /// Runs it with this Corefile and waits until it answers over UDP and TCP; see [`Server::spawn`].
    pub fn start(self, corefile: &str) -> Server {
        let mut server = Server::spawn(self, corefile, &[]);
        server.wait_until_it_answers();
        server
    }
}

/// A running server; it ends with this value.
pub struct Server {
    pub program: Program,
    process: Process,
    ports: BTreeMap<String, u16>,
    corefile: PathBuf,
    scratch: Scratch,
}

impl Server {
    /// Runs the server with this Corefile, and does not wait.
    ///
    /// `{port}` in the text is the DNS port, which is also the default of blocks without one (`-dns.port`);
    /// `{port:NAME}` is another free port, the same at each mention, for example of `health`; `{folder}` is the
    /// folder of the Corefile.
    pub fn spawn(program: Program, corefile: &str, arguments: &[&str]) -> Self {
        let scratch = Scratch::new();
        let path = scratch.path().join("Corefile");
        let mut ports = BTreeMap::from([(String::new(), ports::free())]);
        write_corefile(&path, corefile, scratch.path(), &mut ports);
        let mut command = command(program, &path, &scratch, &ports);
        command.args(arguments);
        let process = Process::spawn(&format!("{program:?}"), command, &scratch.path().join("log"));
        Self { program, process, ports, corefile: path, scratch }
    }

    /// [`Self::spawn`], with the Corefile on standard input.
    pub fn piped(corefile: &str) -> Self {
        let scratch = Scratch::new();
        let path = scratch.path().join("Corefile");
        let mut ports = BTreeMap::from([(String::new(), ports::free())]);
        write_corefile(&path, corefile, scratch.path(), &mut ports);
        let command = command(Program::Podzone, Path::new("stdin"), &scratch, &ports);
        let input = std::fs::File::open(&path).expect("the Corefile");
        let process = Process::fed("podzone of a pipe", command, input.into(), &scratch.path().join("log"));
        Self { program: Program::Podzone, process, ports, corefile: path, scratch }
    }

    /// Runs the server again after its end, on its ports, with its Corefile as it is now. The log goes on.
    pub fn restart(&mut self) {
        let command = command(self.program, &self.corefile, &self.scratch, &self.ports);
        self.process = Process::spawn(&format!("{:?}", self.program), command, &self.scratch.path().join("log"));
    }

    /// Waits until it gives any answer, over both transports.
    pub fn wait_until_it_answers(&mut self) {
        let addr = self.addr();
        let question = Query::new(".", dns::NS).to_bytes();
        let limit = Duration::from_millis(500);
        self.process.wait_until("it answers over UDP and TCP", START_LIMIT, || {
            dns::tcp_within(addr, &question, limit).ok()?;
            dns::udp_within(addr, &question, limit).ok()
        });
    }

    /// Where it answers DNS.
    pub fn addr(&self) -> SocketAddr {
        self.addr_of("")
    }

    /// The address of `{port:NAME}`.
    pub fn addr_of(&self, name: &str) -> SocketAddr {
        let port = *self.ports.get(name).unwrap_or_else(|| panic!("the Corefile has no {{port:{name}}}"));
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    }

    /// Replaces the Corefile under the running server; the ports stay.
    pub fn rewrite_corefile(&mut self, corefile: &str) {
        write_corefile(&self.corefile, corefile, self.scratch.path(), &mut self.ports);
    }

    /// The folder of its Corefile, which is its working directory.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Asks over UDP; panics without an answer.
    pub fn ask(&self, name: &str, rtype: u16) -> dns::Message {
        dns::ask(self.addr(), &Query::new(name, rtype))
            .unwrap_or_else(|error| panic!("{name} {}: {error}\n{}", dns::type_text(rtype), self.process.log_tail()))
    }

    /// Everything that it wrote so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Asks it to end by SIGTERM; `None` when it had to be killed. CoreDNS's `health` may hold it up for long.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.process.terminate(Duration::from_secs(10))
    }
}

fn command(program: Program, corefile: &Path, folder: &Scratch, ports: &BTreeMap<String, u16>) -> Command {
    let mut command = Command::new(program.path());
    let port = ports[""].to_string();
    command.arg("-conf").arg(corefile).args(["-dns.port", &port]).current_dir(folder.path());
    command
}

fn write_corefile(path: &Path, text: &str, folder: &Path, ports: &mut BTreeMap<String, u16>) {
    let mut filled = text.replace("{port}", &ports[""].to_string()).replace("{folder}", &folder.to_string_lossy());
    const OPENING: &str = "{port:";
    while let Some(begin) = filled.find(OPENING) {
        let end = begin + filled[begin..].find('}').expect("{port:NAME} ends in a brace");
        let name = filled[begin + OPENING.len()..end].to_owned();
        let port = *ports.entry(name).or_insert_with(ports::free);
        filled.replace_range(begin..=end, &port.to_string());
    }
    // In one step, as a mounted ConfigMap changes.
    let new = path.with_extension("new");
    std::fs::write(&new, filled).and_then(|()| std::fs::rename(&new, path)).expect("a Corefile");
}
