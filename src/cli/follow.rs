//! Following a cluster: from its source to its views.
//!
//! While everything is listed for the first time, the source and the zone have a thread each, and the zone takes in what
//! came while the source reads on. Afterwards, when little comes at a time, the zone is written on the source's thread:
//! to wake another for each change would cost more than the change, and take longer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::plan::{Keeping, Origin};
use super::serve::Failure;
use super::snapshots::{Keeper, Lens, Progress};
use crate::admin::FollowedSource;
use crate::model::{Event, HoldNote, Kind};
use crate::panics::contain;
use crate::snapshot::Taken;
use crate::source::{self, Health, Renewal, StartError};
use crate::telemetry::ServiceKind;
use crate::zone::conflicts::{self, News};
use crate::zone::{Publisher, Wanted};

/// Events that may wait between a source and the zone. A source that is faster waits; a full slice is some kilobytes.
const EVENTS_QUEUED: usize = 1024;
/// Events after which the zone publishes at the latest, though more have come.
const EVENTS_PER_STEP: usize = 1024;
/// How long what was listed waits to be made names of, while not everything was listed; without Services and Namespaces
/// there are none to make.
const LISTING_PAUSE: Duration = Duration::from_millis(100);
/// How long it waits to be published then.
const LISTING_SHOWN: Duration = Duration::from_millis(500);
/// How long objects gather before they are taken in, meanwhile. A list brings some dozens in a millisecond.
const LISTING_NAP: Duration = Duration::from_millis(5);
/// How long what is listed again is waited for. A list of a large cluster takes a second or two.
const TORN_MAX: Duration = Duration::from_secs(5);
/// How long what was held back, and whose time is over, waits again while nothing is heard of its kind.
const RELEASE_AGAIN: Duration = Duration::from_secs(1);

/// A cluster that is followed, until this is dropped.
pub(super) struct Following {
    orders: mpsc::UnboundedSender<Order>,
    renewal: Renewal,
    _end: oneshot::Sender<()>,
}

/// What whoever writes a cluster's views is asked to do.
enum Order {
    /// To have these views from now on.
    Show(Vec<Wanted>, oneshot::Sender<()>),
    /// To keep what is known in this way from now on.
    Keep(Keeping),
    /// To write it down now.
    Save(oneshot::Sender<()>),
}

/// What whoever writes waited for.
enum Woken {
    /// So many events came.
    Events(usize),
    /// Something is asked for.
    Ordered(Order),
    /// The snapshot can go on.
    Snapshot(Progress),
    /// A time has come.
    Late,
}

/// What writes a cluster's views, and where its events come from.
struct Writer {
    publisher: Publisher,
    events: mpsc::Receiver<Event>,
    orders: mpsc::UnboundedReceiver<Order>,
    step: Vec<Event>,
    /// When the first change was received that is not published yet.
    changed: Option<std::time::Instant>,
    state: Arc<FollowedSource>,
    keeper: Keeper,
    /// Answers come from a snapshot.
    is_restored: bool,
}

/// Starts following a cluster, of which a snapshot may have been `taken` up. `others` are followed already.
pub(super) async fn follow(
    origin: &Origin,
    publisher: Publisher,
    lens: Lens,
    taken: Option<Taken>,
    others: &[Arc<FollowedSource>],
) -> Result<(Following, Arc<FollowedSource>), Failure> {
    let Origin { source, limits, kinds, selector, .. } = origin.clone();
    let views = publisher.views().map(Arc::clone).collect();
    let (sender, events) = mpsc::channel(EVENTS_QUEUED);
    let (listed, when_listed) = oneshot::channel();
    let start = async move { source::start(&source, &kinds, selector.as_deref(), &limits, sender).await };
    let (ordering, orders) = mpsc::unbounded_channel();
    let (following, health) = Following::start(start, when_listed, ordering).await?;
    let state = Arc::new(FollowedSource::new(&origin.source, health, views, others));
    let is_restored = taken.is_some();
    if is_restored {
        state.health.restored(publisher.kinds());
        state.snapshot.take(taken);
        state.held(publisher.cluster());
    }
    let step = Vec::with_capacity(EVENTS_PER_STEP);
    let keeper = Keeper::new(lens, Arc::clone(&state));
    let writer =
        Writer { publisher, events, orders, step, changed: None, state: Arc::clone(&state), keeper, is_restored };
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name("zone".into())
        .spawn(move || {
            if let Some(writer) = writer.list(&runtime) {
                // If nobody takes it, the server ends.
                let _ = listed.send(writer);
            }
        })
        .context("cannot start the zone's thread")
        .map_err(Failure::Runtime)?;
    Ok((following, state))
}

impl Following {
    /// Runs what starts a source, what that starts, and, once it comes, the writer of its views, on a thread of their own.
    /// All that is told passes through several tasks, which would wake each other across the threads of a larger runtime;
    /// and what is asked over TCP does not delay it.
    async fn start(
        start: impl Future<Output = Result<source::Handle, StartError>> + Send + 'static,
        writer: oneshot::Receiver<Writer>,
        orders: mpsc::UnboundedSender<Order>,
    ) -> Result<(Self, Arc<Health>), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start a source's runtime")
            .map_err(Failure::Runtime)?;
        let (started, starting) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let run = async move {
            match start.await {
                Ok(handle) => {
                    let _ = started.send(Ok((handle.health(), handle.renewal())));
                    // A task like the others: what the runtime itself waits for would be looked at after one more look
                    // at the sockets.
                    tokio::spawn(async {
                        if let Ok(writer) = writer.await {
                            writer.write().await;
                        }
                    });
                    // An error says that the sender is gone, which is the signal.
                    let _ = ended.await;
                }
                Err(error) => drop(started.send(Err(error))),
            }
        };
        std::thread::Builder::new()
            .name("source".into())
            .spawn(move || {
                runtime.block_on(run);
                runtime.shutdown_background();
            })
            .context("cannot start a source's thread")
            .map_err(Failure::Runtime)?;
        match starting.await {
            Ok(Ok((health, renewal))) => Ok((Self { orders, renewal, _end: end }, health)),
            Ok(Err(error)) => Err(Failure::Configuration(error.into())),
            Err(_) => Err(Failure::Runtime(anyhow::anyhow!("a source's thread ended as it began"))),
        }
    }
}

impl Following {
    /// Makes the cluster's views these; they are when this returns. New ones are made of what is held of it, whether its
    /// API server can be reached or not.
    pub(super) async fn set_views(&self, views: Vec<Wanted>) {
        let (done, is_done) = oneshot::channel();
        // Nobody takes it only where the process ends.
        if self.orders.send(Order::Show(views, done)).is_ok() {
            let _ = is_done.await;
        }
    }

    /// Keeps what is known in this way from now on.
    pub(super) fn keep(&self, keeping: Keeping) {
        let _ = self.orders.send(Order::Keep(keeping));
    }

    /// Writes a snapshot, if one is wanted; it is written when this returns, or cannot be.
    pub(super) async fn save(&self) {
        let (done, is_done) = oneshot::channel();
        if self.orders.send(Order::Save(done)).is_ok() {
            let _ = is_done.await;
        }
    }

    /// Has the client made anew, since what it is made of has changed.
    pub(super) fn renew(&self) {
        self.renewal.ask();
    }
}

impl Writer {
    /// Takes events in until everything was listed once; `None` if nobody sends any more. What comes is made names of now
    /// and then, since a Service is seldom whole before the end.
    fn list(mut self, runtime: &Handle) -> Option<Self> {
        let (mut prepared, mut published) = (Instant::now(), Instant::now());
        while !self.publisher.is_synced() {
            // To be woken for each object of a list costs more than to take it in.
            std::thread::sleep(LISTING_NAP);
            let taken = runtime.block_on(async {
                timeout(LISTING_PAUSE, self.events.recv_many(&mut self.step, EVENTS_PER_STEP)).await
            });
            if taken == Ok(0) {
                return None;
            }
            self.take_in();
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order);
            }
            let have_names = self.publisher.cluster().is_synced(&[Kind::Namespace, Kind::Service]);
            if self.publisher.is_synced() || published.elapsed() >= LISTING_SHOWN {
                self.publish();
                (prepared, published) = (Instant::now(), Instant::now());
            } else if have_names && prepared.elapsed() >= LISTING_PAUSE {
                contain(|| self.publisher.prepare());
                prepared = Instant::now();
            }
        }
        Some(self)
    }

    /// Takes events in and publishes: at once when few come, in steps when many do, and what is listed again when all of
    /// it is there. A listing that takes its time is not waited for, since there are other changes too. What is published
    /// in a second is cut at its end, if not at its beginning.
    async fn write(mut self) {
        let mut torn: Option<Instant> = None;
        loop {
            self.tend();
            let woken = self.wait(torn.map(|since| since + TORN_MAX)).await;
            match woken {
                Woken::Events(0) => return,
                Woken::Events(_) => self.take_in(),
                Woken::Ordered(Order::Save(done)) => {
                    self.keeper.save(&mut self.publisher).await;
                    let _ = done.send(());
                    continue;
                }
                Woken::Ordered(order) => {
                    self.obey(order);
                    continue;
                }
                Woken::Snapshot(progress) => {
                    contain(|| self.keeper.go_on(progress, self.publisher.cluster_mut()));
                    continue;
                }
                Woken::Late if torn.is_some_and(|since| since.elapsed() >= TORN_MAX) => {
                    self.publish();
                    continue;
                }
                Woken::Late => {
                    contain(|| self.publisher.cut());
                    self.tell_news();
                    continue;
                }
            }
            if self.publisher.is_torn() {
                let since = *torn.get_or_insert_with(Instant::now);
                if since.elapsed() < TORN_MAX {
                    continue;
                }
            } else {
                torn = None;
            }
            self.publish();
        }
    }

    /// Waits for what comes first. What is torn is to be `shown` at some time.
    async fn wait(&mut self, shown: Option<Instant>) -> Woken {
        let shown = shown.filter(|shown| *shown > Instant::now());
        let due = [self.publisher.cut_due(), self.publisher.cluster().release_due(), self.keeper.due(&self.publisher)];
        let until = due.into_iter().flatten().map(Instant::from_std).chain(shown).min();
        let first = async {
            tokio::select! {
                biased;
                taken = self.events.recv_many(&mut self.step, EVENTS_PER_STEP) => Woken::Events(taken),
                Some(order) = self.orders.recv() => Woken::Ordered(order),
                progress = self.keeper.wait() => Woken::Snapshot(progress),
            }
        };
        match until {
            None => first.await,
            Some(until) => timeout_at(until, first).await.unwrap_or(Woken::Late),
        }
    }

    /// Does what is not an event's matter, if it is time for it: removes what was held back long enough, and writes the
    /// snapshot.
    fn tend(&mut self) {
        let now = std::time::Instant::now();
        if self.publisher.cluster().release_due().is_some_and(|due| due <= now) {
            let Self { publisher, state, .. } = self;
            // While its API server is away, nobody can say whether it has come back.
            let is_away = |kind| state.health.status(kind).is_some_and(|status| status.failing.is_some());
            contain(|| publisher.cluster_mut().release(now, RELEASE_AGAIN, is_away));
            if !self.publisher.is_torn() {
                self.publish();
            }
        }
        if self.keeper.due(&self.publisher).is_some_and(|due| due <= now) {
            contain(|| self.keeper.begin(self.publisher.cluster_mut()));
        }
        contain(|| self.keeper.go_on_at_once(self.publisher.cluster_mut()));
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Show(views, done) => {
                let shown = views.iter().map(|(view, ..)| Arc::clone(view)).collect();
                contain(|| self.publisher.set_views(views));
                self.state.shows(shown);
                // Who ordered it may be gone.
                let _ = done.send(());
            }
            Order::Keep(Keeping { snapshot, mass_removal }) => {
                let cluster = self.publisher.cluster_mut();
                cluster.set_mass_removal(mass_removal, std::time::Instant::now());
                self.keeper.keep_in(snapshot, cluster);
            }
            // Before everything was listed there is nothing to write.
            Order::Save(done) => {
                let _ = done.send(());
            }
        }
    }

    fn take_in(&mut self) {
        let changed = self.state.health.take_changed();
        self.changed = self.changed.or(changed);
        for event in self.step.drain(..) {
            contain(|| self.publisher.handle(event));
        }
    }

    fn publish(&mut self) {
        contain(|| self.publisher.publish());
        let changes = &self.state.changes;
        if let Some(changed) = self.changed.take() {
            changes.answered(changed.elapsed());
        }
        self.publisher.take_triggered(|service, at| changes.programmed(ServiceKind::of(service), at));
        self.tell_news();
        self.state.held(self.publisher.cluster());
        for note in self.publisher.cluster_mut().take_hold_notes() {
            self.state.hold.count(&note);
            self.tell(&note);
        }
        if self.is_restored && self.publisher.is_listed() {
            self.is_restored = false;
            self.state.snapshot.take(None);
            tracing::info!("{}: everything is listed, no answer comes from the snapshot any more", self.state.name);
        }
    }

    /// Tells of names that several pods claim, or that were cut. They are found when the zone is cut.
    fn tell_news(&mut self) {
        self.publisher.take_news(|News { first, more, zone }| {
            let name = format!("{}.svc.{zone}", first.labels);
            let more = if more == 0 { String::new() } else { format!("; {more} more of the Service: see /conflicts") };
            match first.kind {
                conflicts::Kind::Claimed => {
                    let pods = first.pods.join(", ");
                    tracing::warn!("the name {name} is claimed by {} pods: {pods}{more}", first.count);
                }
                conflicts::Kind::Cut => {
                    let pod = first.pods.join(", ");
                    tracing::warn!("the name {name} is not all of the name of its pod {pod}{more}");
                }
            }
        });
    }

    fn tell(&self, note: &HoldNote) {
        let name = &self.state.name;
        match note {
            HoldNote::Began { kind, objects, lost, time } => tracing::warn!(
                "{name}: a listing left out {objects} objects of the kind {kind}, and with them {} of {}; they stay for \
                 {time:?}, unless they come back",
                lost.lost,
                lost.of
            ),
            HoldNote::Removed { kind, objects } => {
                tracing::warn!("{name}: {objects} objects of the kind {kind} did not come back, and are removed");
            }
            HoldNote::Returned { kind } => {
                tracing::info!("{name}: nothing of the kind {kind} is held back any more");
            }
        }
    }
}
