//! What the system says of this process, under the names that all of Prometheus's libraries have
//! (process_collector_procfsenabled.go of client_golang). What cannot be read is left out.

use std::fmt;

use procfs::process::{LimitValue, Process};

use super::out::Out;

/// Reads and writes it. A few small files: a tenth of a millisecond.
pub(super) fn tell(out: &mut Out<'_, '_>) -> fmt::Result {
    let Ok(process) = Process::myself() else { return Ok(()) };
    if let Ok(stat) = process.stat() {
        let ticks = procfs::ticks_per_second() as f64;
        let cpu = (stat.utime + stat.stime) as f64 / ticks;
        out.count("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", cpu)?;
        out.value("process_virtual_memory_bytes", "Virtual memory size in bytes.", stat.vsize)?;
        let resident = stat.rss * procfs::page_size();
        out.value("process_resident_memory_bytes", "Resident memory size in bytes.", resident)?;
        super::memory::tell(out, &process, resident)?;
        if let Ok(boot) = procfs::boot_time_secs() {
            let started = boot as f64 + stat.starttime as f64 / ticks;
            let help = "Start time of the process since unix epoch in seconds.";
            out.value("process_start_time_seconds", help, started)?;
        }
    }
    if let Ok(open) = process.fd_count() {
        out.value("process_open_fds", "Number of open file descriptors.", open as u64)?;
    }
    if let Ok(limits) = process.limits() {
        let files = limit(limits.max_open_files.soft_limit);
        out.value("process_max_fds", "Maximum number of open file descriptors.", files)?;
        let memory = limit(limits.max_address_space.soft_limit);
        let help = "Maximum amount of virtual memory available in bytes.";
        out.value("process_virtual_memory_max_bytes", help, memory)?;
    }
    // Of the network namespace, which a pod has for itself.
    if let Ok(netstat) = std::fs::read_to_string("/proc/self/net/netstat") {
        if let Some(octets) = ip_octets(&netstat, "InOctets") {
            let help = "Number of bytes received by the process over the network.";
            out.count("process_network_receive_bytes_total", help, octets)?;
        }
        if let Some(octets) = ip_octets(&netstat, "OutOctets") {
            let help = "Number of bytes sent by the process over the network.";
            out.count("process_network_transmit_bytes_total", help, octets)?;
        }
    }
    Ok(())
}

fn limit(value: LimitValue) -> u64 {
    match value {
        LimitValue::Unlimited => u64::MAX,
        LimitValue::Value(value) => value,
    }
}

/// A number of `/proc/self/net/netstat`, in which a line of names stands before one of values.
fn ip_octets(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|known| known == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::ip_octets;

    #[test]
    fn names_stand_above_their_values() {
        let text = "TcpExt: A InOctets\nTcpExt: 1 2\nIpExt: InNoRoutes InOctets OutOctets\nIpExt: 0 30 40\n";
        assert_eq!((ip_octets(text, "InOctets"), ip_octets(text, "OutOctets")), (Some(30), Some(40)));
        assert_eq!((ip_octets(text, "A"), ip_octets("IpExt: InOctets\n", "InOctets")), (None, None));
    }
}
