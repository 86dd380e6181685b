//! What the kernel counts against the memory limit of this process's container, and that limit.
//!
//! Resident memory says too little of it: buffers of sockets are the container's too, and pages of the program's file may
//! be another's. The kubelet tells the same of all containers (`container_memory_working_set_bytes`), though on another
//! page, under labels that are not ours; an alert needs both numbers side by side.

use std::fmt;
use std::path::{Path, PathBuf};

use procfs::process::Process;

use super::out::Out;

/// Where control groups are mounted: by the conventions of systemd, the kubelet and container engines.
const MOUNTS: &str = "/sys/fs/cgroup";
/// Version 1 of control groups writes this, less a page's rest, where there is no limit.
const NO_LIMIT: u64 = i64::MAX as u64 / 2;

/// `resident` is told where no control group says more.
pub(super) fn tell(out: &mut Out<'_, '_>, process: &Process, resident: u64) -> fmt::Result {
    let memory = Memory::of(process, Path::new(MOUNTS));
    let help = "Memory at which the kernel ends the process: the least limit of its control groups.";
    out.value("podzone_memory_limit_bytes", help, memory.limit.unwrap_or(u64::MAX))?;
    let help = "Memory that counts against that limit, without pages of files that are not in use.";
    out.value("podzone_memory_working_set_bytes", help, memory.working_set.unwrap_or(resident))
}

/// Octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Memory {
    limit: Option<u64>,
    working_set: Option<u64>,
}

/// How a version of control groups calls what is read.
struct Names {
    limit: &'static str,
    usage: &'static str,
    /// A key of `memory.stat`: what the kubelet takes off (cadvisor, container/libcontainer/handler.go, func
    /// setMemoryStats).
    inactive: &'static str,
}

const V1: Names =
    Names { limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", inactive: "total_inactive_file" };
const V2: Names = Names { limit: "memory.max", usage: "memory.current", inactive: "inactive_file" };

impl Memory {
    fn of(process: &Process, mounts: &Path) -> Self {
        let Ok(groups) = process.cgroups() else { return Self::default() };
        let mut found = Self::default();
        for group in groups.0 {
            // The one of version 2 has no controllers; with both versions, memory belongs to one of them.
            let read = if group.controllers.iter().any(|controller| controller == "memory") {
                Self::read(&mounts.join("memory"), &group.pathname, &V1)
            } else if group.hierarchy == 0 {
                Self::read(mounts, &group.pathname, &V2)
            } else {
                continue;
            };
            if read != Self::default() {
                found = read;
            }
        }
        found
    }

    /// Of a group and all that it is in, the one with the least limit; without limits, the group itself. What of its path
    /// is not there is outside of the container, whose own group is then what is mounted.
    fn read(mount: &Path, group: &str, names: &Names) -> Self {
        let own = mount.join(group.trim_start_matches('/'));
        let folders: Vec<PathBuf> = own
            .ancestors()
            .take_while(|folder| folder.starts_with(mount))
            .filter(|folder| folder.join(names.usage).is_file())
            .map(Path::to_owned)
            .collect();
        let limit = |folder: &Path| number(&folder.join(names.limit)).filter(|limit| *limit < NO_LIMIT);
        let limited =
            folders.iter().filter_map(|folder| Some((limit(folder)?, folder))).min_by_key(|(limit, _)| *limit);
        let Some(folder) = limited.map(|(_, folder)| folder).or_else(|| folders.first()) else {
            return Self::default();
        };
        let inactive = std::fs::read_to_string(folder.join("memory.stat")).ok();
        let inactive = inactive.and_then(|text| {
            text.lines().find_map(|line| line.strip_prefix(names.inactive)?.strip_prefix(' ')?.trim().parse().ok())
        });
        let usage = number(&folder.join(names.usage));
        let working_set = usage.map(|usage| usage.saturating_sub(inactive.unwrap_or_default()));
        Self { limit: limited.map(|(limit, _)| limit), working_set }
    }
}

/// The number in a file; nothing for `max`.
fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of control groups: names of files, and what is in them.
    fn groups(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        folder
    }

    fn memory(limit: Option<u64>, working_set: u64) -> Memory {
        Memory { limit, working_set: Some(working_set) }
    }

    #[test]
    fn the_least_limit_counts_and_its_group_is_what_is_told() {
        let folder = groups(&[
            ("pod/memory.max", "300\n"),
            ("pod/memory.current", "250\n"),
            ("pod/memory.stat", "anon 5\ninactive_file 50\n"),
            ("pod/own/memory.max", "400\n"),
            ("pod/own/memory.current", "100\n"),
        ]);
        assert_eq!(Memory::read(folder.path(), "/pod/own", &V2), memory(Some(300), 200));
    }

    #[test]
    fn a_path_outside_of_the_container_leaves_what_is_mounted() {
        let folder = groups(&[
            ("memory.limit_in_bytes", "1000\n"),
            ("memory.usage_in_bytes", "90\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 40\n"),
        ]);
        assert_eq!(Memory::read(folder.path(), "/kubepods/pod1/container", &V1), memory(Some(1000), 50));
    }

    #[test]
    fn no_limit_is_none() {
        let folder = groups(&[
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.usage_in_bytes", "90\n"),
            ("own/memory.limit_in_bytes", "9223372036854771712\n"),
            ("own/memory.usage_in_bytes", "30\n"),
        ]);
        assert_eq!(Memory::read(folder.path(), "/own", &V1), memory(None, 30));
        let folder = groups(&[("own/memory.max", "max\n"), ("own/memory.current", "30\n")]);
        assert_eq!(Memory::read(folder.path(), "/own", &V2), memory(None, 30));
        assert_eq!(Memory::read(folder.path(), "/", &V2), Memory::default(), "the root has no files");
    }
}
