//! dnsperf, bound to the other core.

use crate::server::Server;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A larger share of lost queries voids a round: a server that drops what is dear is no faster.
const LOSS_MAX: f64 = 1e-5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) sent: u64,
    pub(crate) answers: u64,
    pub(crate) queries_per_second: f64,
    pub(crate) mean_answer_octets: f64,
    /// CPU time of the server for each answer.
    pub(crate) cpu: Duration,
}

impl Measured {
    pub(crate) fn is_void(&self) -> bool {
        self.sent == 0 || self.lost() as f64 > self.sent as f64 * LOSS_MAX
    }

    pub(crate) fn lost_per_million(&self) -> f64 {
        self.lost() as f64 * 1e6 / self.sent.max(1) as f64
    }

    pub(crate) fn lost(&self) -> u64 {
        self.sent - self.answers
    }
}

/// How dnsperf asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) core: usize,
    /// The most queries without an answer at one time.
    pub(crate) outstanding: u32,
}

/// Asks the questions of a file for so long.
pub(crate) fn run(server: &Server, queries: &Path, transport: Transport, client: Client, seconds: u32) -> Measured {
    let mut command = Command::new("taskset");
    command
        .args(["-c", &client.core.to_string(), "dnsperf", "-s", &server.addr.ip().to_string()])
        .args(["-p", &server.addr.port().to_string()])
        .args(["-m", if transport == Transport::Tcp { "tcp" } else { "udp" }])
        .arg("-d")
        .arg(queries)
        .args(["-c", "8", "-T", "1", "-e", "-q", &client.outstanding.to_string(), "-l", &seconds.to_string()]);
    let before = server.cpu();
    let output = command.output().expect("dnsperf");
    let spent = server.cpu() - before;
    let text = String::from_utf8_lossy(&output.stdout);
    read(&text, spent).filter(|_| output.status.success()).unwrap_or_else(|| {
        panic!("dnsperf: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    })
}

/// Reads dnsperf's summary.
fn read(text: &str, spent: Duration) -> Option<Measured> {
    let after = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key));
    let number = |key: &str| after(key)?.split_whitespace().next()?.parse::<f64>().ok();
    let answers = number("Queries completed:")?;
    Some(Measured {
        sent: number("Queries sent:")? as u64,
        answers: answers as u64,
        queries_per_second: number("Queries per second:")?,
        mean_answer_octets: after("Average packet size:")?.rsplit(' ').next()?.parse().ok()?,
        cpu: spent.div_f64(answers.max(1.0)),
    })
}
