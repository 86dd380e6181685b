//! dnsperf, bound to the other core.

use crate::server::Server;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How dnsperf asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) core: usize,
    /// The most queries without an answer at one time.
    pub(crate) outstanding: u32,
    pub(crate) seconds: u32,
}

/// By what way, and with what else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Udp,
    /// With an EDNS option that nobody knows, of the range for local use (RFC 6891 section 9).
    UdpUnknownOption,
    Tcp,
}

impl Way {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Udp => &["-m", "udp", "-c", "8"],
            Self::UdpUnknownOption => &["-m", "udp", "-c", "8", "-E", "65001:0102030405060708"],
            Self::Tcp => &["-m", "tcp", "-c", "100"],
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) sent: u64,
    pub(crate) answers: u64,
    pub(crate) queries_per_second: f64,
    pub(crate) mean_query_octets: f64,
    pub(crate) mean_answer_octets: f64,
    /// CPU time of the server for each answer, in microseconds.
    pub(crate) cpu: f64,
}

impl Measured {
    pub(crate) fn lost(&self) -> u64 {
        self.sent - self.answers
    }

    /// A server that drops what is dear is no faster: a run that loses anything counts for nothing.
    pub(crate) fn is_void(&self) -> bool {
        self.sent == 0 || self.lost() > 0
    }
}

impl Client {
    /// Asks the questions of a file, over and over while the time lasts, as fast as they are answered.
    pub(crate) fn ask(self, server: &Server, queries: &Path, way: Way) -> Measured {
        self.run(server, queries, way, ["-l".to_owned(), self.seconds.to_string()])
    }

    /// Asks the questions of a file as much as dnsperf is told.
    pub(crate) fn run(
        self,
        server: &Server,
        queries: &Path,
        way: Way,
        much: impl IntoIterator<Item = String>,
    ) -> Measured {
        let mut command = Command::new("taskset");
        command
            .args(["-c", &self.core.to_string(), "dnsperf", "-s", &server.addr.ip().to_string()])
            .args(["-p", &server.addr.port().to_string()])
            .args(way.arguments())
            .arg("-d")
            .arg(queries)
            .args(["-T", "1", "-e", "-q", &self.outstanding.to_string()])
            .args(much);
        let before = server.cpu();
        let output = command.output().expect("dnsperf");
        let spent = server.cpu() - before;
        let text = String::from_utf8_lossy(&output.stdout);
        read(&text, spent).filter(|_| output.status.success()).unwrap_or_else(|| {
            panic!("dnsperf: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
        })
    }
}

/// Reads dnsperf's summary.
fn read(text: &str, spent: Duration) -> Option<Measured> {
    let after = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key));
    let number = |key: &str| after(key)?.split_whitespace().next()?.parse::<f64>().ok();
    let answers = number("Queries completed:")?;
    // "request 79, response 278"
    let (query, answer) = after("Average packet size:")?.trim().strip_prefix("request ")?.split_once(", response ")?;
    Some(Measured {
        sent: number("Queries sent:")? as u64,
        answers: answers as u64,
        queries_per_second: number("Queries per second:")?,
        mean_query_octets: query.parse().ok()?,
        mean_answer_octets: answer.parse().ok()?,
        cpu: spent.as_secs_f64() * 1e6 / answers.max(1.0),
    })
}
