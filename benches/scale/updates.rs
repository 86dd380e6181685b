//! Slice updates at a set rate.
//!
//! An update through the API takes the API server four milliseconds of CPU, most of it for who owns which field: more than
//! there is of one core at 300 a second. So what it stores for a slice, as it was made and updated, is read once, and then
//! written past it into etcd: the API server is told by etcd, as it is of its own writes, and tells its watchers.

use crate::api;
use crate::etcd::{self, Etcd};
use crate::fill::in_parallel;
use crate::server;
use crate::stage::Stage;
use crate::support::kube::ControlPlane;
use crate::swap::Swap;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub(crate) const PER_SECOND: u32 = 300;
/// Of the updates that were to be made, so many at least must have been.
const SHARE_MIN: f64 = 0.95;
const WRITERS: usize = 4;

/// Requests that make a slice what it was made, and updated.
type Stored = [Bytes; 2];

/// Slices that can be updated and put back.
#[derive(Clone)]
pub(crate) struct Slices(Arc<Vec<Stored>>);

impl Slices {
    /// Updates each once through the API and puts it back, to read what is stored then.
    pub(crate) fn prepare(stage: &Stage, swaps: Vec<Swap>) -> Self {
        let runtime = api::runtime();
        let stored = Arc::new(Mutex::new(Vec::with_capacity(swaps.len())));
        let etcd = runtime.block_on(async { Etcd::new(stage.plane.etcd_url()) });
        let found = Arc::clone(&stored);
        runtime.block_on(in_parallel(&stage.plane, stage.connections, swaps, move |client, mut swap| {
            let (etcd, found) = (etcd.clone(), Arc::clone(&found));
            async move {
                let key = swap.key().to_owned();
                let mut requests = Vec::with_capacity(2);
                for _ in 0..2 {
                    let change = swap.next();
                    api::put(&client, change.path, change.body).await;
                    requests.push(etcd::put(&key, &etcd.get(&key).await));
                }
                let [updated, as_made] = requests.try_into().expect("two");
                found.lock().expect("the slices").push([as_made, updated]);
            }
        }));
        let stored = std::mem::take(&mut *stored.lock().expect("the slices"));
        Self(Arc::new(stored))
    }
}

/// What the writers share.
struct Work {
    slices: Slices,
    begin: Instant,
    next: AtomicU64,
    done: AtomicU64,
    is_over: AtomicBool,
}

/// Updates that go on until they are ended.
pub(crate) struct Updates<'r> {
    runtime: &'r Runtime,
    plane: &'r ControlPlane,
    etcd: Etcd,
    work: Arc<Work>,
    /// CPU time of the API server and etcd before.
    before: Duration,
    writers: Vec<JoinHandle<()>>,
}

impl<'r> Updates<'r> {
    /// Updates one slice after the other, then puts one after the other back, and so on.
    pub(crate) fn start(runtime: &'r Runtime, plane: &'r ControlPlane, slices: Slices) -> Self {
        let _entered = runtime.enter();
        let etcd = Etcd::new(plane.etcd_url());
        let work = Arc::new(Work {
            slices,
            begin: Instant::now(),
            next: AtomicU64::new(0),
            done: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let writers = (0..WRITERS).map(|_| {
            let (etcd, work) = (etcd.clone(), Arc::clone(&work));
            runtime.spawn(async move { work.write(&etcd).await })
        });
        let writers = writers.collect();
        Self { runtime, plane, etcd, work, before: spent(plane), writers }
    }

    /// Ends them and puts every slice back; whether as many were made as were to be.
    pub(crate) fn end(self) -> bool {
        let (done, time) = (self.work.done.load(Ordering::Relaxed), self.work.begin.elapsed());
        let spent = spent(self.plane) - self.before;
        self.work.is_over.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            for writer in self.writers {
                writer.await.expect("a writer");
            }
            for [as_made, _] in &*self.work.slices.0 {
                self.etcd.put(as_made.clone()).await;
            }
        });
        let rate = done as f64 / time.as_secs_f64();
        let is_enough = rate >= f64::from(PER_SECOND) * SHARE_MIN;
        let verdict = if is_enough { "" } else { "; void: too few" };
        let each = spent.as_secs_f64() * 1e3 / done.max(1) as f64;
        println!(
            "   {done} updates, {rate:.0} a second, {each:.2} ms of the API server's and etcd's CPU each{verdict}"
        );
        is_enough
    }
}

impl Work {
    async fn write(&self, etcd: &Etcd) {
        let slices = &*self.slices.0;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = self.begin + Duration::from_secs(1) * u32::try_from(number).expect("hours") / PER_SECOND;
            tokio::time::sleep_until(due.into()).await;
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let number = number as usize;
            let is_updated = (number / slices.len()).is_multiple_of(2);
            etcd.put(slices[number % slices.len()][usize::from(is_updated)].clone()).await;
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn spent(plane: &ControlPlane) -> Duration {
    plane.ids().into_iter().filter_map(server::cpu).sum()
}
