//! Slice updates through the API server at a set rate.

use crate::api;
use crate::fill::in_parallel;
use crate::support::kube::ControlPlane;
use crate::swap::Swap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub(crate) const PER_SECOND: u32 = 300;
/// Of the updates that were to be made, so many at least must have been.
const SHARE_MIN: f64 = 0.95;

/// What the writers share.
struct Work {
    swaps: Vec<Mutex<Swap>>,
    begin: Instant,
    next: AtomicU64,
    done: AtomicU64,
    is_over: AtomicBool,
}

/// Updates that go on until they are ended.
pub(crate) struct Updates<'r> {
    runtime: &'r Runtime,
    plane: &'r ControlPlane,
    connections: usize,
    work: Arc<Work>,
    writers: Vec<JoinHandle<()>>,
}

impl<'r> Updates<'r> {
    /// Updates one slice after the other.
    pub(crate) fn start(runtime: &'r Runtime, plane: &'r ControlPlane, connections: usize, swaps: Vec<Swap>) -> Self {
        let work = Arc::new(Work {
            swaps: swaps.into_iter().map(Mutex::new).collect(),
            begin: Instant::now(),
            next: AtomicU64::new(0),
            done: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let _entered = runtime.enter();
        let writers = (0..connections).map(|_| {
            let (client, work) = (plane.client(), Arc::clone(&work));
            runtime.spawn(async move { write(&client, &work).await })
        });
        let writers = writers.collect();
        Self { runtime, plane, connections, work, writers }
    }

    /// Ends them and puts every slice back; whether as many were made as were to be.
    pub(crate) fn end(self) -> bool {
        let (done, time) = (self.work.done.load(Ordering::Relaxed), self.work.begin.elapsed());
        self.work.is_over.store(true, Ordering::Relaxed);
        for writer in self.writers {
            self.runtime.block_on(writer).expect("a writer");
        }
        let work = Arc::into_inner(self.work).expect("the writers have ended");
        let swaps = work.swaps.into_iter().map(|swap| swap.into_inner().expect("a swap"));
        let updated: Vec<_> = swaps.filter(Swap::is_updated).collect();
        self.runtime.block_on(in_parallel(self.plane, self.connections, updated, |client, mut swap| async move {
            let change = swap.next();
            api::put(&client, change.path, change.body).await;
        }));
        let rate = done as f64 / time.as_secs_f64();
        let is_enough = rate >= f64::from(PER_SECOND) * SHARE_MIN;
        let verdict = if is_enough { "" } else { "; void: too few" };
        println!("   {done} updates, {rate:.0} a second{verdict}");
        is_enough
    }
}

async fn write(client: &kube::Client, work: &Work) {
    loop {
        let number = work.next.fetch_add(1, Ordering::Relaxed);
        let due = work.begin + Duration::from_secs(1) * u32::try_from(number).expect("hours") / PER_SECOND;
        tokio::time::sleep_until(due.into()).await;
        if work.is_over.load(Ordering::Relaxed) {
            return;
        }
        let (path, body) = {
            let mut swap = work.swaps[number as usize % work.swaps.len()].lock().expect("a swap");
            let change = swap.next();
            (change.path.to_owned(), change.body)
        };
        api::put(client, &path, body).await;
        work.done.fetch_add(1, Ordering::Relaxed);
    }
}
