//! Starting a source.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::client::Api;
use super::credentials::Renewal;
use super::health::Health;
use super::list_watch::ListWatch;
use super::manifests;
use crate::config::{ApiLimits, Source};
use crate::model::{Event, Kind};

/// A configuration that cannot work. Conditions that may pass (an API server that is down, a missing right) are none:
/// they are retried and logged.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not in a pod, or a pod without a service account's token.
    #[error(
        "cannot use the pod's service account: {0}\n  outside a cluster, say in the `kubernetes` block where the objects \
         are: `kubeconfig FILE`, `endpoint URL` or `manifests DIR`"
    )]
    InCluster(String),
    /// The kubeconfig cannot be read, or does not hold what is needed.
    #[error("cannot use kubeconfig {}: {reason}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The endpoint's URL or its TLS files cannot be used.
    #[error("cannot use endpoint {url}: {reason}")]
    Endpoint {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder of manifests cannot be read.
    #[error("cannot read the folder of manifests {}: {reason}", path.display())]
    Manifests {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The client cannot be built of a configuration that was read.
    #[error("cannot prepare the Kubernetes client: {0}")]
    Client(String),
}

/// The times that a source keeps. Only tests have a reason to change them.
#[derive(Clone, Debug)]
pub struct Timing {
    /// A watch that gives no byte for this long is dropped and begun again; the API server sends a bookmark every
    /// minute (`bookmarkFrequency` in apiserver's `storage/cacher`), so that silence means a dead connection.
    pub silence: Duration,
    /// The first list of a kind is fetched as a whole, but for kinds whose lists are too large for that. One that does not
    /// arrive within this is given up, and the next comes as a stream; if it is zero, the first does.
    pub first_whole: Duration,
    /// A list that is streamed is fetched in pages after all when nothing comes for this long. The API server sends
    /// what it has in memory; it pauses only before the first object, until its memory is as new as etcd.
    pub stream_silence: Duration,
    /// The same when this long was waited for it in all. There are API servers that do not know of streamed lists
    /// and take the request for a plain watch, which has no end, however much it tells.
    pub stream_whole: Duration,
    /// How often all is listed beside a watch, to see that it tells everything: this long up to a tenth more or less.
    pub check: Duration,
    /// The API server is asked to end a watch after this much time up to twice as much, at random, as client-go
    /// does, so that watches spread over the replicas of an API server.
    pub watch_min: Duration,
    /// How long a request may take to be answered, and a page of a list to arrive.
    pub request: Duration,
    /// The first wait after a failure.
    pub backoff_first: Duration,
    /// The longest wait between attempts.
    pub backoff_max: Duration,
    /// A listing that takes longer than this is told of, in the log.
    pub listing_long: Duration,
    /// How often, from then on, it is told how far it has come.
    pub listing_told: Duration,
    /// How often a folder of manifests is looked at.
    pub poll: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            // Two bookmarks that do not come, and half a minute: within three minutes it is noticed.
            silence: Duration::from_secs(150),
            first_whole: Duration::from_secs(60),
            stream_silence: Duration::from_secs(10),
            stream_whole: Duration::from_secs(60),
            check: Duration::from_secs(3600),
            watch_min: Duration::from_secs(300),
            request: Duration::from_secs(60),
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            listing_long: Duration::from_secs(5),
            listing_told: Duration::from_secs(10),
            poll: Duration::from_secs(1),
        }
    }
}

/// A source at work. Its tasks end when this is dropped, or when the receiver of its events is.
#[derive(Debug)]
pub struct Handle {
    health: Arc<Health>,
    renewal: Renewal,
    _tasks: JoinSet<()>,
}

impl Handle {
    /// The source's state, to be kept by whoever reports it.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Whom to tell when [`files`](super::files) have changed.
    pub fn renewal(&self) -> Renewal {
        self.renewal.clone()
    }
}

/// Starts following `kinds` of a cluster, and sends what it sees to `events`.
///
/// Every kind is told by itself, as [`Event`] describes: a listing, then changes, and whenever the source has lost
/// track another listing. Events of different kinds come in no particular order. The receiver's pace is the source's
/// pace: a full channel makes it wait.
///
/// `selector` is a label selector in the API's own form. The API server applies it to Services, EndpointSlices and
/// Pods, so that less is sent; Namespaces are always complete. It only saves work: manifests are sent unselected, and
/// a view still selects for itself. `limits` are how hard the API server may be asked.
///
/// A source of manifests has read its folder once, and found it readable, when this returns.
///
/// # Errors
/// [`StartError`] where the configuration cannot work.
pub async fn start(
    config: &Source,
    kinds: &[Kind],
    selector: Option<&str>,
    limits: &ApiLimits,
    events: mpsc::Sender<Event>,
) -> Result<Handle, StartError> {
    start_with(config, kinds, selector, limits, events, Timing::default()).await
}

/// [`start`] with other times.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    config: &Source,
    kinds: &[Kind],
    selector: Option<&str>,
    limits: &ApiLimits,
    events: mpsc::Sender<Event>,
    timing: Timing,
) -> Result<Handle, StartError> {
    let health = Arc::new(Health::new(kinds));
    let renewal = Renewal::default();
    let mut tasks = JoinSet::new();
    if let Source::Manifests(folder) = config {
        let watcher = manifests::Watcher::open(folder.clone(), kinds.to_vec(), Arc::clone(&health)).await?;
        tasks.spawn(watcher.run(events, timing.poll));
    } else {
        let api = Api::new(config.clone(), limits, timing.request, &health, renewal.clone()).await?;
        for kind in kinds {
            let task = ListWatch::new(
                *kind,
                api.clone(),
                selector.map(str::to_owned),
                events.clone(),
                Arc::clone(&health),
                timing.clone(),
            );
            tasks.spawn(task.run());
        }
    }
    Ok(Handle { health, renewal, _tasks: tasks })
}
