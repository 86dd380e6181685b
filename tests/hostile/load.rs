//! What a process holds.

use std::time::Duration;

use super::support::wait_for;

/// Resident memory, in KiB.
pub fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).expect("a process").count()
}

/// The file descriptors once they are at most so many, which connections that are being closed take a while for.
pub fn settled_descriptors(process: u32, most: usize, limit: Duration) -> usize {
    wait_for(&format!("at most {most} file descriptors"), limit, || match descriptors(process) {
        count if count <= most => Ok(count),
        count => Err(format!("{count}")),
    })
}
