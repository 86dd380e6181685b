//! A server, and what the kernel says of it.

use crate::cluster::{Cluster, knows};
use crate::support::dns;
use crate::support::ports;
use crate::support::process::{Process, Scratch};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Far beyond what any of them takes, on a machine that may be busy.
const READY_LIMIT: Duration = Duration::from_secs(180);
/// Short: a question may get lost in the instant in which the server opens its socket.
const ANSWER_LIMIT: Duration = Duration::from_millis(20);

pub(crate) struct Server {
    process: Process,
    pub(crate) addr: SocketAddr,
    started: Instant,
    _scratch: Scratch,
}

/// Bytes of memory, from `/proc/PID/status`.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

impl Server {
    /// Starts a server bound to a core, and does not wait. `complete` adds the program and its arguments to a command,
    /// for a folder of its own and a port.
    pub(crate) fn spawn(name: &str, core: usize, complete: impl FnOnce(&mut Command, &Path, u16)) -> Self {
        Self::spawn_by(name, &on_core(core), complete)
    }

    /// Starts a server by a program and its first arguments, which replaces itself by the server, so that the process
    /// is the server's.
    pub(crate) fn spawn_by(name: &str, launcher: &[String], complete: impl FnOnce(&mut Command, &Path, u16)) -> Self {
        let scratch = Scratch::new();
        let port = ports::free();
        let (program, arguments) = launcher.split_first().expect("a program");
        let mut command = Command::new(program);
        command.args(arguments).current_dir(scratch.path());
        complete(&mut command, scratch.path(), port);
        let started = Instant::now();
        let process = Process::spawn(name, command, &scratch.path().join("log"));
        Self { process, addr: (Ipv4Addr::LOCALHOST, port).into(), started, _scratch: scratch }
    }

    /// Waits until the Service that was written last is answered rightly, and then a sample of the others. Gives the
    /// time since the start.
    pub(crate) fn wait_until_ready(&mut self, cluster: &Cluster) -> Duration {
        self.wait_until_known(sample(cluster))
    }

    /// Waits until each question for an address is answered by that address and no other, the last one first.
    pub(crate) fn wait_until_known(&mut self, mut left: Vec<(dns::Query, String)>) -> Duration {
        self.wait_until(|addr| {
            while let Some((query, address)) = left.last() {
                let answer = dns::udp_within(addr, &query.to_bytes(), ANSWER_LIMIT).ok();
                let answer = answer.and_then(|bytes| dns::Message::decode(&bytes).ok());
                if answer.is_none_or(|answer| answer.data_of(dns::A) != [address.as_str()]) {
                    return false;
                }
                left.pop();
            }
            true
        })
    }

    /// Waits until any datagram comes back.
    pub(crate) fn wait_until_it_speaks(&mut self) {
        let query = dns::Query::new("cluster.local", dns::SOA).to_bytes();
        self.wait_until(|addr| dns::udp_within(addr, &query, ANSWER_LIMIT).is_ok());
    }

    fn wait_until(&mut self, mut is_ready: impl FnMut(SocketAddr) -> bool) -> Duration {
        while !is_ready(self.addr) {
            if let Some(status) = self.process.ended() {
                panic!("the server ended: {status}\n{}", self.process.log_tail());
            }
            assert!(self.started.elapsed() < READY_LIMIT, "not ready in {READY_LIMIT:?}\n{}", self.process.log_tail());
            std::thread::sleep(Duration::from_millis(1));
        }
        self.started.elapsed()
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The CPU time so far of all threads of the process and of those that come from it, ended ones included.
    pub(crate) fn cpu(&self) -> Duration {
        family(self.id()).into_iter().filter_map(cpu).sum()
    }

    pub(crate) fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(&path);
        let status = status.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.process.log_tail()));
        let kib = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line of memory");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        Memory { resident: kib("VmRSS:") * 1024, peak: kib("VmHWM:") * 1024 }
    }
}

/// The launcher that binds to a core.
pub(crate) fn on_core(core: usize) -> [String; 3] {
    ["taskset".to_owned(), "-c".to_owned(), core.to_string()]
}

/// What a server that is ready knows: a Service here and there, and last the one that was written last.
pub(crate) fn sample(cluster: &Cluster) -> Vec<(dns::Query, String)> {
    let services = cluster.services.iter().step_by(cluster.services.len().div_ceil(64));
    services.chain([cluster.last()]).map(knows).collect()
}

/// A process and all that come from it.
fn family(ancestor: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let processes: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let parents: Vec<(u32, u32)> =
        processes.into_iter().filter_map(|process| Some((process, stat(process)?.get(1)?.parse().ok()?))).collect();
    let mut family = vec![ancestor];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, its)| *its == parent).map(|(child, _)| *child));
        next += 1;
    }
    family
}

/// The CPU time of a process in nanoseconds' steps, and of those children that it has waited for in ticks.
pub(crate) fn cpu(process: u32) -> Option<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(process.try_into().ok()?)).ok()?;
    let own = Duration::from(clock_gettime(clock).ok()?);
    let children: u64 = stat(process)?.iter().skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(own + Duration::from_secs_f64(children as f64 / f64::from(ticks_per_second())))
}

/// The fields of `/proc/PID/stat` from the third on: the second is the program's name in parentheses, which may hold
/// anything.
fn stat(process: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn ticks_per_second() -> u32 {
    static TICKS: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *TICKS.get_or_init(|| {
        let output = Command::new("getconf").arg("CLK_TCK").output().expect("getconf");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
    })
}
