//! A server bound to one core, and what the kernel says of it.

use crate::cluster::{Cluster, knows};
use crate::support::dns;
use crate::support::ports;
use crate::support::process::{Process, Scratch};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const READY_LIMIT: Duration = Duration::from_secs(60);
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
    /// Starts the program with the benchmark's Corefile, and does not wait.
    pub(crate) fn spawn(program: &Path, core: usize, kubeconfig: &Path) -> Self {
        let scratch = Scratch::new();
        let corefile = scratch.path().join("Corefile");
        let text = format!(
            "cluster.local in-addr.arpa ip6.arpa {{
    bind 127.0.0.1
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {}
        endpoint_pod_names
    }}
}}
",
            kubeconfig.display()
        );
        std::fs::write(&corefile, text).expect("a Corefile");
        let port = ports::free();
        // It replaces itself by the server, so that the process is the server's.
        let mut command = Command::new("taskset");
        command
            .args(["-c", &core.to_string()])
            .arg(program)
            .arg("-conf")
            .arg(&corefile)
            .args(["-dns.port", &port.to_string()])
            // As many as it may use; Go would find that out by itself. The other program does not know it.
            .env("GOMAXPROCS", "1")
            .current_dir(scratch.path());
        let started = Instant::now();
        let process = Process::spawn(&program.display().to_string(), command, &scratch.path().join("log"));
        Self { process, addr: (Ipv4Addr::LOCALHOST, port).into(), started, _scratch: scratch }
    }

    /// Waits until the Service that was written last is answered rightly, and then a sample of the others. Gives the
    /// time since the start.
    pub(crate) fn wait_until_ready(&mut self, cluster: &Cluster) -> Duration {
        let sample = cluster.services.iter().step_by(cluster.services.len() / 64).chain([cluster.last()]);
        let mut left: Vec<_> = sample.map(knows).collect();
        while let Some((query, address)) = left.last() {
            let answer = dns::udp_within(self.addr, &query.to_bytes(), ANSWER_LIMIT).ok();
            let answer = answer.and_then(|bytes| dns::Message::decode(&bytes).ok());
            if answer.is_some_and(|answer| answer.data_of(dns::A) == [address.as_str()]) {
                left.pop();
                continue;
            }
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

    /// The CPU time of all its threads so far, in the kernel's steps of (mostly) 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc_file("stat");
        // The second field is the program's name in parentheses, which may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
        Duration::from_secs_f64(ticks as f64 / f64::from(ticks_per_second()))
    }

    pub(crate) fn memory(&self) -> Memory {
        let status = self.proc_file("status");
        let kib = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line of memory");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        Memory { resident: kib("VmRSS:") * 1024, peak: kib("VmHWM:") * 1024 }
    }

    fn proc_file(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.id());
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.process.log_tail()))
    }
}

fn ticks_per_second() -> u32 {
    static TICKS: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *TICKS.get_or_init(|| {
        let output = Command::new("getconf").arg("CLK_TCK").output().expect("getconf");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
    })
}
