//! On which cores processes run, and who is not kept waiting there.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};
use std::process::Command;
use std::sync::Once;

/// All cores that this process may use.
pub(crate) fn own() -> CpuSet {
    sched_getaffinity(Pid::from_raw(0)).expect("this process's cores")
}

pub(crate) fn one(core: usize) -> CpuSet {
    let mut cores = CpuSet::new();
    cores.set(core).expect("a core's number");
    cores
}

/// Binds all threads of processes; those that they start later are bound alike.
pub(crate) fn bind(processes: &[u32], cores: &CpuSet) {
    for process in processes {
        // Twice: a thread that is not bound yet may start another meanwhile.
        for _ in 0..2 {
            for thread in std::fs::read_dir(format!("/proc/{process}/task")).expect("a running process").flatten() {
                let thread: i32 = thread.file_name().to_string_lossy().parse().expect("a thread's number");
                // It may have ended.
                let _ = sched_setaffinity(Pid::from_raw(thread), cores);
            }
        }
    }
}

/// Does something on a thread that is bound, as are those that it starts.
pub(crate) fn bound_to<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let bound = scope.spawn(|| {
            sched_setaffinity(Pid::from_raw(0), &one(core)).expect("a core");
            work()
        });
        bound.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// While this lives, the thread that began it runs as soon as it has something to do, whoever else has the core; if this
/// process may ask for that. It is for threads that do little, and start no others.
pub(crate) struct Realtime(Pid);

impl Realtime {
    pub(crate) fn begin() -> Self {
        static REFUSED: Once = Once::new();
        let thread = gettid();
        if !set_policy(thread, "--fifo", "1") {
            REFUSED.call_once(|| println!("no realtime priority may be had here: times are less exact"));
        }
        Self(thread)
    }
}

impl Drop for Realtime {
    fn drop(&mut self) {
        set_policy(self.0, "--other", "0");
    }
}

fn set_policy(thread: Pid, policy: &str, priority: &str) -> bool {
    let output = Command::new("chrt").args([policy, "--pid", priority, &thread.to_string()]).output();
    output.is_ok_and(|output| output.status.success())
}
