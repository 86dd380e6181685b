//! The clusters that are followed and the views of them, from one configuration to the next.
//!
//! What a new configuration takes from a cluster as before goes on as it is: a cluster that is followed as before is not
//! listed again, and a view with the same options is the same view. New views of a cluster are made of what is held of it.
//! Until a new configuration is put to work nothing is taken away from the one before.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::follow::{Following, follow};
use super::plan::{BlockPlan, Keeping, Origin, Plan, SourcePlan, ViewPlan};
use super::serve::Failure;
use super::snapshots::{self, Lens};
use super::transfers::Kept;
use crate::admin::FollowedSource;
use crate::model::{Filter, Selector};
use crate::source;
use crate::zone::{Publisher, View, Wanted, next_serial, selectors, unix_now};

/// A view at work.
#[derive(Clone)]
struct Held {
    plan: ViewPlan,
    view: Arc<View>,
    /// What is kept of it for transfers, if there are any.
    kept: Option<Kept>,
}

/// A cluster that is followed.
struct Followed {
    origin: Origin,
    /// What its objects are looked at through; that cannot be changed, since their labels are not kept.
    filters: Vec<Filter>,
    /// What its Services may be asked about, in the same way.
    selectors: Vec<Selector>,
    following: Following,
    state: Arc<FollowedSource>,
    views: Mutex<Vec<Held>>,
}

/// All clusters that are followed.
#[derive(Default)]
pub(super) struct Sources(Vec<Arc<Followed>>);

/// Clusters and views as a plan wants them, before it is put to work. Those of the plan before are still there.
pub(super) struct Arranged {
    sources: Vec<(Arc<Followed>, Vec<Held>, Keeping)>,
    /// The views of clusters that were not followed before.
    new_views: Vec<Arc<View>>,
}

/// The views of a directive, and how long the sockets wait for them.
#[derive(Clone)]
pub(super) struct BlockViews {
    /// That of the cluster's own Services; none where all zones are multicluster ones.
    pub(super) view: Option<Arc<View>>,
    /// That of the multicluster zones, if there are such.
    pub(super) multicluster: Option<Arc<View>>,
    /// `startup_timeout`
    pub(super) startup_timeout: Duration,
    /// `listen_when_synced`
    pub(super) listen_when_synced: bool,
    /// What is kept of each view for transfers, if there are any.
    pub(super) kept: Vec<Kept>,
}

impl BlockViews {
    /// Both.
    pub(super) fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.view.iter().chain(&self.multicluster)
    }

    /// What is kept of a view for transfers.
    pub(super) fn kept_of(&self, view: &Arc<View>) -> Option<&Kept> {
        self.kept.iter().find(|kept| Arc::ptr_eq(&kept.view, view))
    }
}

impl Sources {
    /// Arranges what a plan wants: keeps what stays, starts what is new. Snapshots are of use where nothing is served yet:
    /// who changes what is served waits for what is true now.
    ///
    /// # Errors
    /// If a cluster cannot be followed as the configuration says; then all is as before.
    pub(super) async fn arrange(
        &self,
        plan: Plan,
        with_snapshots: bool,
    ) -> Result<(Arranged, Vec<Option<BlockViews>>), Failure> {
        let Plan { sources, blocks } = plan;
        let mut left: Vec<&Arc<Followed>> = self.0.iter().collect();
        let goes_on: Vec<Option<Arc<Followed>>> = sources
            .iter()
            .map(|wanted| {
                let at = left.iter().position(|followed| followed.gives(wanted))?;
                Some(Arc::clone(left.swap_remove(at)))
            })
            .collect();
        let mut known: Vec<Arc<FollowedSource>> =
            goes_on.iter().flatten().map(|followed| Arc::clone(&followed.state)).collect();
        let mut arranged = Arranged { sources: Vec::new(), new_views: Vec::new() };
        for (wanted, followed) in sources.into_iter().zip(goes_on) {
            let keeping = wanted.keeping.clone();
            let (followed, views) = match followed {
                Some(followed) => {
                    let views = followed.add(wanted.views, &self.0).await;
                    (followed, views)
                }
                None => match start(wanted, &known, &self.0, with_snapshots).await {
                    Ok((followed, views)) => {
                        known.push(Arc::clone(&followed.state));
                        arranged.new_views.extend(views.iter().map(|held| Arc::clone(&held.view)));
                        (followed, views)
                    }
                    Err(failure) => {
                        arranged.abandon().await;
                        return Err(failure);
                    }
                },
            };
            arranged.sources.push((followed, views, keeping));
        }
        let views = blocks.into_iter().map(|block| block.map(|block| arranged.of(block))).collect();
        Ok((arranged, views))
    }

    /// The files that their clients are made of.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.0.iter().flat_map(|followed| source::files(&followed.origin.source)).collect()
    }

    /// Writes all snapshots that are wanted, within a limit.
    pub(super) async fn save(&self, limit: Duration) {
        let all = futures::future::join_all(self.0.iter().map(|followed| followed.following.save()));
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("a snapshot was not written within {limit:?}; the one before it stays");
        }
    }

    /// Has all clients made anew, since those files have changed.
    pub(super) fn renew(&self) {
        self.0.iter().for_each(|followed| followed.following.renew());
    }
}

impl Arranged {
    fn of(&self, block: BlockPlan) -> BlockViews {
        let held = |number: Option<usize>| self.sources.get(block.source)?.1.get(number?);
        let both = [held(block.view), held(block.multicluster)];
        let kept = both.iter().flatten().filter_map(|held| held.kept.clone()).collect();
        let [view, multicluster] = both.map(|held| held.map(|held| Arc::clone(&held.view)));
        let BlockPlan { startup_timeout, listen_when_synced, .. } = block;
        BlockViews { view, multicluster, startup_timeout, listen_when_synced, kept }
    }

    /// The views of clusters that were not followed before.
    pub(super) fn new_views(&self) -> &[Arc<View>] {
        &self.new_views
    }

    /// The states of all clusters.
    pub(super) fn states(&self) -> Vec<Arc<FollowedSource>> {
        self.sources.iter().map(|(followed, ..)| Arc::clone(&followed.state)).collect()
    }

    /// What it wants is at work: the rest goes.
    pub(super) async fn keep(self) -> Sources {
        let mut sources = Vec::new();
        for (followed, views, keeping) in self.sources {
            followed.set(views).await;
            followed.following.keep(keeping);
            sources.push(followed);
        }
        Sources(sources)
    }

    /// What it wants will not be put to work: only what was there before stays.
    pub(super) async fn abandon(self) {
        for (followed, ..) in self.sources {
            let before = followed.views();
            followed.set(before).await;
        }
    }
}

impl Followed {
    /// Whether what is held is what is wanted.
    fn gives(&self, wanted: &SourcePlan) -> bool {
        self.origin == wanted.origin
            && wanted.views.iter().all(|view| self.filters.contains(&view.filter))
            && selectors(wanted.views.iter().map(|view| &view.options)).iter().all(|one| self.selectors.contains(one))
    }

    fn views(&self) -> Vec<Held> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the views that are not there yet, beside those that are; all that are wanted, in their order.
    async fn add(&self, wanted: Vec<ViewPlan>, served: &[Arc<Self>]) -> Vec<Held> {
        let before = self.views();
        let mut left = before.clone();
        let mut new = Vec::new();
        let views: Vec<Held> = wanted
            .into_iter()
            .map(|plan| match left.iter().position(|held| held.plan == plan) {
                Some(at) => left.swap_remove(at),
                None => {
                    let (held, wanted) = self.make(plan, served);
                    new.push(wanted);
                    held
                }
            })
            .collect();
        if !new.is_empty() {
            new.extend(before.iter().map(|held| self.wanted(held)));
            self.following.set_views(new).await;
        }
        views
    }

    fn make(&self, plan: ViewPlan, served: &[Arc<Self>]) -> (Held, Wanted) {
        let held = Held::new(plan, served);
        let (kept, follower) = held.plan.is_transferred.then(|| Kept::of(&held.view)).unzip();
        let held = Held { kept, ..held };
        let (view, filter, _) = self.wanted(&held);
        (held, (view, filter, follower))
    }

    fn wanted(&self, held: &Held) -> Wanted {
        let filter = self.filters.iter().position(|filter| *filter == held.plan.filter);
        // Only what has a filter here is made.
        (Arc::clone(&held.view), filter.unwrap_or(usize::MAX), None)
    }

    /// Has these views alone from now on, which are all there.
    async fn set(&self, views: Vec<Held>) {
        self.following.set_views(views.iter().map(|held| self.wanted(held)).collect()).await;
        *self.views.lock().unwrap_or_else(PoisonError::into_inner) = views;
    }
}

impl Held {
    /// A view that nothing is in yet. Its serial is higher than that of any view of the same zones: what a secondary has is
    /// always older.
    fn new(plan: ViewPlan, served: &[Arc<Followed>]) -> Self {
        let views = served.iter().flat_map(|followed| followed.views());
        let same = views.filter(|held| held.plan.options.zones.iter().any(|zone| plan.options.zones.contains(zone)));
        let serial = same.fold(unix_now(), |serial, held| next_serial(held.view.current().serial(), serial));
        Self { view: Arc::new(View::new(plan.options.clone(), serial)), plan, kept: None }
    }
}

/// Follows one more cluster.
async fn start(
    wanted: SourcePlan,
    known: &[Arc<FollowedSource>],
    served: &[Arc<Followed>],
    with_snapshot: bool,
) -> Result<(Arc<Followed>, Vec<Held>), Failure> {
    let SourcePlan { origin, keeping, views } = wanted;
    let held: Vec<Held> = views.into_iter().map(|plan| Held::new(plan, served)).collect();
    let selectors = selectors(held.iter().map(|held| &held.plan.options));
    let views = held.iter().map(|held| (Arc::clone(&held.view), held.plan.filter.clone())).collect();
    let mut publisher = Publisher::new(views, origin.kinds.clone());
    let held: Vec<Held> = held
        .into_iter()
        .enumerate()
        .map(|(number, held)| {
            if !held.plan.is_transferred {
                return held;
            }
            let (kept, follower) = Kept::of(&held.view);
            publisher.follow_cuts(number, follower);
            Held { kept: Some(kept), ..held }
        })
        .collect();
    let filters = publisher.filters().to_vec();
    // From its first listing on, removals are held back: it goes over what a snapshot had.
    publisher.cluster_mut().set_mass_removal(keeping.mass_removal, Instant::now());
    let lens = Lens::new(&origin, &publisher);
    let (publisher, taken) = match keeping.snapshot.filter(|_| with_snapshot) {
        Some(file) => snapshots::take_up(file, lens.clone(), publisher).await,
        None => (publisher, None),
    };
    let (following, state) = follow(&origin, publisher, lens, taken, known).await?;
    let followed = Followed { origin, filters, selectors, following, state, views: Mutex::new(held.clone()) };
    Ok((Arc::new(followed), held))
}
