//! Whether everything that is served is known.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::sources::FollowedSource;
use crate::model::Kind;
use crate::zone::View;

/// What readiness is made of; shared by all endpoints that tell it.
#[derive(Debug)]
pub struct Readiness {
    views: Vec<Arc<View>>,
    sources: Vec<Arc<FollowedSource>>,
    since: Instant,
    is_ending: AtomicBool,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything has been listed.
    Ready,
    /// The names of the plugins that are not ready, separated by commas.
    Waiting(String),
    /// The process is about to end.
    Ending,
}

impl Readiness {
    /// Ready when all `views` are synced; `sources` say why they are not. A view that misses only what its API server does
    /// not have keeps nobody from the others.
    pub fn new(views: Vec<Arc<View>>, sources: Vec<Arc<FollowedSource>>) -> Self {
        Self { views, sources, since: Instant::now(), is_ending: AtomicBool::new(false) }
    }

    /// From now on nobody should send queries here.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
    }

    /// The state. With a latch, what was ready once stays ready.
    pub fn state(&self, latch: Option<&AtomicBool>) -> State {
        if self.is_ending.load(Ordering::Acquire) {
            return State::Ending;
        }
        if latch.is_some_and(|latch| latch.load(Ordering::Acquire)) {
            return State::Ready;
        }
        // Views are all that can be waited for.
        if self.views.iter().any(|view| view.current().is_awaited()) {
            return State::Waiting("kubernetes".to_owned());
        }
        if let Some(latch) = latch {
            latch.store(true, Ordering::Release);
        }
        State::Ready
    }

    /// The multicluster zones that are not served, since their API server does not have ServiceImports: a line for each.
    pub fn lacking(&self) -> String {
        let lacking = self.views.iter().filter(|view| view.current().is_unknown());
        let zones = lacking.flat_map(|view| &view.options().zones);
        zones.map(|zone| format!("{zone}: not served, the API server has no ServiceImports\n")).collect()
    }

    /// Why it is not ready, a line for each kind of object that is not listed yet.
    pub fn reasons(&self) -> String {
        let mut text = self.lacking();
        for source in &self.sources {
            for kind in source.health.kinds() {
                let Some(status) = source.health.status(kind).filter(|status| !status.listed) else { continue };
                // Writing to a string cannot fail.
                let _ = write!(text, "{}: {kind}: not listed for {}", source.name, seconds(self.since.elapsed()));
                if kind == Kind::ServiceImport {
                    let _ = write!(text, ", which {} are made of", self.multicluster_zones());
                }
                if let Some(listing) = status.listing {
                    let _ =
                        write!(text, ", {} objects in {} so far", listing.objects, seconds(listing.begun.elapsed()));
                }
                if let Some(failing) = &status.failing {
                    let since = failing.since.elapsed().unwrap_or_default();
                    let _ = write!(text, ", failing for {}: {}", seconds(since), one_line(&failing.cause));
                } else if let Some(error) = &status.last_error {
                    let _ = write!(text, ", last error: {}", one_line(error));
                }
                text.push('\n');
            }
        }
        if text.is_empty() {
            text.push_str("everything is listed and about to be published\n");
        }
        text
    }

    fn multicluster_zones(&self) -> String {
        let views = self.views.iter().filter(|view| view.options().multicluster);
        let zones = views.flat_map(|view| &view.options().zones);
        zones.map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

/// Causes may quote what a server sent.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::zone::{Name, ViewOptions};

    fn view() -> Arc<View> {
        let zone = Name::parse("cluster.local.").unwrap();
        Arc::new(View::new(ViewOptions::new(vec![zone]).unwrap(), 1))
    }

    #[test]
    fn ready_when_all_views_are_and_ending_before_all() {
        let views = [view(), view()];
        let readiness = Readiness::new(views.to_vec(), Vec::new());
        views[0].set_synced();
        assert_eq!(readiness.state(None), State::Waiting("kubernetes".into()));
        views[1].set_synced();
        assert_eq!(readiness.state(None), State::Ready);
        readiness.end();
        assert_eq!(readiness.state(Some(&AtomicBool::new(true))), State::Ending);
    }

    #[test]
    fn a_latch_holds_what_was_ready_once() {
        let view = view();
        let latch = AtomicBool::new(false);
        let readiness = Readiness::new(vec![Arc::clone(&view)], Vec::new());
        assert!(matches!(readiness.state(Some(&latch)), State::Waiting(_)));
        assert!(!latch.load(Ordering::Acquire));
        view.set_synced();
        assert_eq!(readiness.state(Some(&latch)), State::Ready);
        assert!(latch.load(Ordering::Acquire));
        let another = Readiness::new(vec![self::view()], Vec::new());
        assert_eq!(another.state(Some(&latch)), State::Ready);
        assert!(matches!(another.state(None), State::Waiting(_)));
    }
}
