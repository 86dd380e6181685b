//! What a server holds of memory, by two ways of counting.

use crate::cgroup::Charged;
use crate::server;

const MB: f64 = 1e6;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// `VmRSS` and `VmHWM`: file pages of the program that it shares with nobody here, but nothing that the kernel
    /// holds for it.
    pub(crate) resident: f64,
    pub(crate) resident_peak: f64,
    pub(crate) group: Option<InGroup>,
}

/// As the control group counts, in MB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InGroup {
    pub(crate) usage: f64,
    /// Without file pages: what the kernel cannot take back when memory is short.
    pub(crate) held: f64,
    /// The same of the peak, with the file pages of now.
    pub(crate) peak: Option<f64>,
}

impl Memory {
    pub(crate) fn new(process: server::Memory, group: Option<Charged>) -> Self {
        let in_group = |charged: Charged| InGroup {
            usage: charged.usage as f64 / MB,
            held: charged.usage.saturating_sub(charged.file) as f64 / MB,
            peak: charged.peak.map(|peak| peak.saturating_sub(charged.file) as f64 / MB),
        };
        Self {
            resident: process.resident as f64 / MB,
            resident_peak: process.peak as f64 / MB,
            group: group.map(in_group),
        }
    }

    /// What counts: without file pages, as the group has it, else what is resident.
    pub(crate) fn held(&self) -> f64 {
        self.group.map_or(self.resident, |group| group.held)
    }

    pub(crate) fn peak(&self) -> f64 {
        self.group.and_then(|group| group.peak).unwrap_or(self.resident_peak)
    }

    pub(crate) fn describe(&self) -> String {
        let group = self.group.map_or_else(String::new, |group| {
            let peak = group.peak.map_or_else(String::new, |peak| format!(", {peak:.1} at the peak"));
            format!("{:.1} MB in its group, {:.1} without files{peak}; ", group.usage, group.held)
        });
        format!("{group}{:.1} MB resident, {:.1} at the peak", self.resident, self.resident_peak)
    }
}
