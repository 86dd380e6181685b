//! A bare watcher: it notes at what instant each change of an EndpointSlice came, and does nothing else.

use crate::api::{self, SLICES, WATCH};
use crate::frames::{Frames, resource_version};
use crate::support::kube::ControlPlane;
use http_body_util::BodyExt;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const LIMIT: Duration = Duration::from_secs(10);
/// More than that, and something is wrong.
const WATCHES_MAX: usize = 20;

#[derive(Default)]
struct Seen {
    versions: Mutex<HashMap<u64, Instant>>,
    more: Condvar,
}

pub(crate) struct Watcher {
    seen: Arc<Seen>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts to watch from now on, on a thread of its own.
    pub(crate) fn start(plane: &ControlPlane) -> Self {
        let seen = Arc::new(Seen::default());
        let (end, ended) = oneshot::channel();
        let (started, is_started) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(async { plane.client() });
        let notes = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = watch(&client, &notes, started) => panic!("the watch ended"),
                    _ = ended => {}
                }
            });
        });
        is_started.recv().expect("a watch");
        Self { seen, end: Some(end), thread: Some(thread) }
    }

    /// When the frame with this version came; waits for it.
    pub(crate) fn saw(&self, version: u64) -> Instant {
        let versions = self.seen.versions.lock().expect("the watcher's notes");
        let is_missing = |versions: &mut HashMap<u64, Instant>| !versions.contains_key(&version);
        let waited = self.seen.more.wait_timeout_while(versions, LIMIT, is_missing);
        let (versions, _) = waited.expect("the watcher's notes");
        versions.get(&version).copied().unwrap_or_else(|| panic!("the watch has not told of version {version}"))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.end.take();
        // Its panic has been printed; this thread's own must not be doubled.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn watch(client: &kube::Client, seen: &Seen, started: mpsc::Sender<()>) {
    let list: serde_json::Value =
        serde_json::from_str(&api::text(client, &format!("{SLICES}?limit=1")).await).expect("JSON");
    let mut version = list["metadata"]["resourceVersion"].as_str().expect("the list's version").to_owned();
    let mut started = Some(started);
    // An API server ends watches that it cannot write to for a while; the next goes on where the last one stopped.
    for _ in 0..WATCHES_MAX {
        let path = format!("{SLICES}?watch=true&resourceVersion={version}&timeoutSeconds=3600");
        let mut body = api::open(client, &path, WATCH).await.into_body();
        match started.take() {
            Some(started) => started.send(()).expect("who started it"),
            None => println!("   a bare watcher had to watch again"),
        }
        let mut frames = Frames::default();
        while let Some(Ok(frame)) = body.frame().await {
            let now = Instant::now();
            let Ok(data) = frame.into_data() else { continue };
            frames.push(&data);
            let mut versions = seen.versions.lock().expect("the notes");
            while let Some(frame) = frames.next() {
                let of_object = resource_version(frame).expect("an object's version");
                versions.insert(of_object, now);
                version = of_object.to_string();
            }
            drop(versions);
            seen.more.notify_all();
        }
    }
}
