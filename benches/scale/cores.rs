//! On which cores processes run.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

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
