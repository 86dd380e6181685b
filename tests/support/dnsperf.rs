//! dnsperf: much is asked at a steady pace, and what comes of it is counted.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// What dnsperf counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    pub sent: u64,
    pub answered: u64,
    /// Answers that were neither NOERROR nor NXDOMAIN.
    pub failed: u64,
    /// In thousandths of a second.
    pub milliseconds: u64,
}

/// Asks the names of a file over and over.
pub fn load(server: SocketAddr, names: &Path, per_second: u32, seconds: u64) -> Load {
    let output = Command::new("dnsperf")
        .args(["-s", &server.ip().to_string(), "-p", &server.port().to_string(), "-d"])
        .arg(names)
        .args(["-Q", &per_second.to_string(), "-l", &seconds.to_string(), "-q", "100", "-c", "4", "-t", "5"])
        .output()
        .expect("dnsperf: run `make setup` (tests/peers/install)");
    let text = String::from_utf8_lossy(&output.stdout);
    let after = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim);
    let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    let of = |key: &str| after(key).and_then(number).unwrap_or_else(|| panic!("dnsperf, {key}: {text}"));
    // "NOERROR 1000 (80.00%), NXDOMAIN 250 (20.00%)"
    let codes = after("Response codes:").unwrap_or_default().split(", ");
    let fine = codes.filter_map(|code| code.strip_prefix("NOERROR ").or_else(|| code.strip_prefix("NXDOMAIN ")));
    let fine: u64 = fine.filter_map(number).sum();
    let answered = of("Queries completed:");
    let seconds = after("Run time (s):").and_then(|text| text.parse::<f64>().ok()).expect("dnsperf's time");
    Load { sent: of("Queries sent:"), answered, failed: answered - fine, milliseconds: (seconds * 1e3) as u64 }
}
