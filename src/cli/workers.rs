//! How many threads serve UDP.

use crate::config::Multisocket;

/// How many UDP sockets, each with a thread of its own, a listener has: as its block's `multisocket` says, else as
/// `-workers` says, else one for each CPU that this process may use.
pub(super) fn workers(multisocket: Option<Multisocket>, flag: Option<u16>) -> usize {
    match (multisocket, flag) {
        (Some(Multisocket::Number(number)), _) | (None, Some(number)) => number.into(),
        (Some(Multisocket::OnePerCpu), _) | (None, None) => available_cpus(),
    }
}

/// CPUs that this process may use, rounded down but at least one: its affinity and the quota of its cgroup count, of
/// either version, since the standard library asks for both.
fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_goes_before_the_flag_and_the_flag_before_the_machine() {
        assert_eq!(workers(Some(Multisocket::Number(3)), Some(5)), 3);
        assert_eq!(workers(Some(Multisocket::OnePerCpu), Some(5000)), available_cpus());
        assert_eq!(workers(None, Some(5)), 5);
        assert_eq!(workers(None, None), available_cpus());
    }
}
