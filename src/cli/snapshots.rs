//! Snapshots of the clusters that are followed: taken up at the start, written as things change.
//!
//! Who follows a cluster writes it down beside its work, some objects at a time, and never waits for the disk: what is
//! encoded goes to a thread that does. What changes meanwhile is written once more at the end, so that the file is of one
//! moment.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::plan::Origin;
use crate::admin::FollowedSource;
use crate::model::{Cluster, Filter, Kind, Selector};
use crate::panics::contain;
use crate::snapshot::{self, Draft, Header, Record, Refused, Selection, Snapshot, Taken, Walk, WriteError, Written};
use crate::source;
use crate::zone::{Publisher, selectors};

/// The shortest time from the end of one to the beginning of the next.
const PAUSE: Duration = Duration::from_secs(10);
/// The same after one that could not be written.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(30);
/// How long the same failure is not told again.
const QUIET: Duration = Duration::from_secs(300);
/// Octets that are encoded at a time. A step is so long that changes wait some hundred microseconds at most.
const STEP_OCTETS: usize = 64 * 1024;
/// Steps that may wait for the disk.
const STEPS_QUEUED: usize = 4;
/// A draft that is older was left by a process that was killed.
const DRAFT_AGE: Duration = Duration::from_secs(600);

/// Which cluster it is, and through what it is looked at.
#[derive(Clone)]
pub(super) struct Lens {
    cluster: String,
    kinds: Vec<Kind>,
    selector: Option<String>,
    filters: Vec<Filter>,
    selectors: Vec<Selector>,
}

impl Lens {
    /// That of a publisher that follows it.
    pub(super) fn new(origin: &Origin, publisher: &Publisher) -> Self {
        Self {
            cluster: source::identity(&origin.source),
            kinds: origin.kinds.clone(),
            selector: origin.selector.clone(),
            filters: publisher.filters().to_vec(),
            selectors: selectors(publisher.views().map(|view| view.options())),
        }
    }

    fn selection(&self) -> Selection<'_> {
        let Self { kinds, selector, filters, selectors, .. } = self;
        Selection { kinds, selector: selector.as_deref(), filters, selectors }
    }
}

/// Gives a publisher that has seen nothing yet what a snapshot has, and publishes it; which one it was. One that cannot be
/// used is told of, and changes nothing.
pub(super) async fn take_up(file: PathBuf, lens: Lens, mut publisher: Publisher) -> (Publisher, Option<Taken>) {
    let taking = tokio::task::spawn_blocking(move || {
        snapshot::remove_drafts(&file, DRAFT_AGE);
        let taken = restore(&file, &lens, &mut publisher);
        match &taken {
            Ok(taken) => tracing::warn!(
                "answers come from the snapshot {} until everything is listed: {} objects of {}, {} s old",
                file.display(),
                taken.objects,
                lens.cluster,
                taken.age().as_secs()
            ),
            Err(Refused::Missing) => tracing::info!("there is no snapshot {} yet", file.display()),
            Err(refused) => tracing::warn!("the snapshot {} is not used: {refused}", file.display()),
        }
        (publisher, taken.ok())
    });
    match taking.await {
        Ok(taken) => taken,
        // It panicked, which is told already.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn restore(file: &std::path::Path, lens: &Lens, publisher: &mut Publisher) -> Result<Taken, Refused> {
    let found = Snapshot::open(file, &lens.cluster, lens.selection())?;
    let written = found.header.written();
    let cluster = publisher.cluster_mut();
    // Should it fail now, what was restored is no more than a beginning, which is not served as all there is.
    found.each(|record| match record {
        Record::Kept(kept) if lens.kinds.contains(&kept.object.kind()) => cluster.restore(*kept),
        Record::Kept(_) => {}
        Record::Gone(kind, key) => cluster.forget(kind, &key),
    })?;
    cluster.set_restored(&lens.kinds);
    let objects = lens.kinds.iter().map(|kind| cluster.count(*kind) as u64).sum();
    publisher.publish();
    Ok(Taken { written, objects })
}

/// Writes a cluster's snapshots.
pub(super) struct Keeper {
    lens: Lens,
    state: Arc<FollowedSource>,
    file: Option<PathBuf>,
    /// The revision of the cluster that is on the disk.
    saved: Option<u64>,
    /// None is begun before.
    next: Instant,
    work: Option<Work>,
    /// The last failure that was told, and when.
    complaint: Option<(String, Instant)>,
}

/// A snapshot that is being written.
struct Work {
    pieces: mpsc::Sender<Piece>,
    writing: JoinHandle<Result<Written, WriteError>>,
    walk: Walk,
    /// The revision that it is of, once all is encoded.
    revision: Option<u64>,
}

/// Records, encoded.
pub(super) struct Piece {
    octets: Vec<u8>,
    is_last: bool,
}

/// What a snapshot that is being written waited for.
pub(super) enum Progress {
    /// There is room for another step; none where the disk does not take any more.
    Room(Option<mpsc::OwnedPermit<Piece>>),
    /// It is written, or is not.
    Ended(Result<Written, String>),
}

impl Keeper {
    pub(super) fn new(lens: Lens, state: Arc<FollowedSource>) -> Self {
        Self { lens, state, file: None, saved: None, next: Instant::now(), work: None, complaint: None }
    }

    /// From now on it is kept in this file, or in none.
    pub(super) fn keep_in(&mut self, file: Option<PathBuf>, cluster: &mut Cluster) {
        if self.file != file {
            self.file = file;
            self.saved = None;
            self.next = Instant::now();
            self.give_up(cluster);
        }
    }

    /// When the next one is to be begun, if something has changed. What was not listed in full is not written: a
    /// beginning is no snapshot, and one that was taken up is no younger for it.
    pub(super) fn due(&self, publisher: &Publisher) -> Option<Instant> {
        let is_due = self.file.is_some() && self.work.is_none() && self.saved != Some(publisher.cluster().revision());
        (is_due && publisher.is_listed()).then_some(self.next)
    }

    /// Begins one.
    pub(super) fn begin(&mut self, cluster: &mut Cluster) {
        let Some(file) = self.file.clone() else { return };
        let header = Header::new(&self.lens.cluster, self.lens.selection(), SystemTime::now());
        let (pieces, taken) = mpsc::channel(STEPS_QUEUED);
        let writing = tokio::task::spawn_blocking(move || write(&file, &header, taken));
        let walk = Walk::begin(&self.lens.kinds, cluster);
        self.work = Some(Work { pieces, writing, walk, revision: None });
    }

    /// Waits until it can go on. Nothing is lost where this is dropped.
    pub(super) async fn wait(&mut self) -> Progress {
        match &mut self.work {
            None => std::future::pending().await,
            Some(Work { writing, revision: Some(_), .. }) => Progress::Ended(outcome(writing.await)),
            Some(Work { pieces, .. }) => Progress::Room(pieces.clone().reserve_owned().await.ok()),
        }
    }

    /// Goes on.
    pub(super) fn go_on(&mut self, progress: Progress, cluster: &mut Cluster) {
        match progress {
            Progress::Room(Some(room)) => self.step(room, cluster),
            // Whoever writes has ended, and will say why.
            Progress::Room(None) => {
                cluster.track(false);
                if let Some(work) = &mut self.work {
                    work.revision = Some(cluster.revision());
                }
            }
            Progress::Ended(outcome) => self.end(outcome),
        }
    }

    /// Goes on if there is room: where changes come all the time, nobody waits for it.
    pub(super) fn go_on_at_once(&mut self, cluster: &mut Cluster) {
        let Some(Work { pieces, revision: None, .. }) = &self.work else { return };
        if let Ok(room) = pieces.clone().try_reserve_owned() {
            self.step(room, cluster);
        }
    }

    /// Writes one now, whatever time it is; a good end that nothing keeps from it makes one younger that has not changed.
    pub(super) async fn save(&mut self, publisher: &mut Publisher) {
        let is_wanted = self.file.is_some() && publisher.is_listed();
        let is_followed = || self.lens.kinds.iter().all(|kind| self.is_followed(*kind));
        let is_new = self.saved != Some(publisher.cluster().revision());
        if self.work.is_none() && is_wanted && (is_new || is_followed()) {
            self.begin(publisher.cluster_mut());
        }
        while self.work.is_some() {
            let progress = self.wait().await;
            contain(|| self.go_on(progress, publisher.cluster_mut()));
        }
    }

    fn is_followed(&self, kind: Kind) -> bool {
        self.state.health.status(kind).is_some_and(|status| status.failing.is_none())
    }

    fn step(&mut self, room: mpsc::OwnedPermit<Piece>, cluster: &mut Cluster) {
        let Some(work) = &mut self.work else { return };
        let mut out = Vec::with_capacity(STEP_OCTETS + STEP_OCTETS / 4);
        work.revision = work.walk.step(cluster, STEP_OCTETS, &mut out);
        room.send(Piece { octets: out, is_last: work.revision.is_some() });
    }

    fn end(&mut self, outcome: Result<Written, String>) {
        let revision = self.work.take().and_then(|work| work.revision);
        match outcome {
            Ok(written) => {
                if self.complaint.take().is_some() {
                    tracing::info!("the snapshot of {} can be written again", self.lens.cluster);
                }
                tracing::debug!("wrote a snapshot of {}: {} octets", self.lens.cluster, written.octets);
                self.state.snapshot.succeeded(written);
                self.saved = revision;
                self.next = Instant::now() + PAUSE;
            }
            Err(cause) => {
                self.state.snapshot.failed();
                self.next = Instant::now() + PAUSE_AFTER_FAILURE;
                let said = self.complaint.as_ref().filter(|(_, at)| at.elapsed() < QUIET);
                // Each draft has another name.
                let reason = cause.rsplit(": ").next().unwrap_or_default().to_owned();
                if said.is_none_or(|(said, _)| *said != reason) {
                    let kept = "answers do not need it, the one before stays";
                    tracing::warn!("cannot keep a snapshot of {}: {cause}; {kept}", self.lens.cluster);
                    self.complaint = Some((reason, Instant::now()));
                }
            }
        }
    }

    fn give_up(&mut self, cluster: &mut Cluster) {
        // Whoever writes sees that nothing more comes, and leaves nothing.
        if self.work.take().is_some() {
            cluster.track(false);
        }
    }
}

fn outcome(joined: Result<Result<Written, WriteError>, tokio::task::JoinError>) -> Result<Written, String> {
    joined.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Writes what comes. Blocks, on who sends it and on the disk.
fn write(file: &std::path::Path, header: &Header, mut pieces: mpsc::Receiver<Piece>) -> Result<Written, WriteError> {
    let begun = Instant::now();
    let mut draft = Draft::begin(file, header)?;
    while let Some(Piece { octets, is_last }) = pieces.blocking_recv() {
        draft.write(&octets)?;
        if is_last {
            let octets = draft.finish()?;
            return Ok(Written { at: SystemTime::now(), octets, took: begun.elapsed() });
        }
    }
    draft.abandon()
}
