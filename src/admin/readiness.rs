//! Whether everything that is served is known, zone by zone.
//!
//! CoreDNS's `kubernetes` is ready from its first full listing on, whatever comes; so is podzone with `until-ready`. Where
//! `ready` is to `monitor continuously`, a zone is lost again when nothing was heard for a while of something that it is
//! made of, because all attempts fail. A forwarding loop that `loop` finds makes the server not ready, whatever was
//! before: CoreDNS ends its process then.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::sources::FollowedSource;
use crate::forward::{ForwardCounts, UpstreamCounts};
use crate::model::Kind;
use crate::source::{Failing, Status, Why};
use crate::zone::View;
use crate::zone::conflicts::Conflict;

/// How long attempts to follow something may fail until the zones that are made of it are lost: as long as the longest wait
/// between two attempts, so that an API server that restarts loses none.
pub const LOST_AFTER: Duration = Duration::from_secs(30);

/// How long nothing may be heard of something until that is told beside being ready.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// What readiness is made of; shared by all endpoints that tell it.
#[derive(Debug)]
pub struct Readiness {
    views: Vec<Arc<View>>,
    sources: Vec<Arc<FollowedSource>>,
    forwards: Vec<Arc<ForwardCounts>>,
    since: Instant,
    is_open: AtomicBool,
    is_ending: AtomicBool,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything has been listed, and, where that is watched, is followed.
    Ready,
    /// The names of the plugins that are not ready, separated by commas.
    Waiting(String),
    /// Everything is known, and the sockets of DNS are about to be opened.
    Opening,
    /// The process is about to end.
    Ending,
}

impl Readiness {
    /// Ready when all `views` are synced and the sockets of DNS are [open](Self::open); `sources` say why they are not. A view that misses only what its API server does
    /// not have keeps nobody from the others.
    ///
    /// What is not listed is so `since` the start.
    pub fn new(views: Vec<Arc<View>>, sources: Vec<Arc<FollowedSource>>, since: Instant) -> Self {
        let (is_open, is_ending) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { views, sources, forwards: Vec::new(), since, is_open, is_ending }
    }

    /// The same, and not ready while any upstream sends back what it is asked.
    pub fn with_forwards(self, forwards: Vec<Arc<ForwardCounts>>) -> Self {
        Self { forwards, ..self }
    }

    /// From now on DNS is answered. CoreDNS is ready up to a tenth of a second before its sockets are open: its endpoint
    /// is opened before `kubernetes` waits to be synced, and the sockets are opened after that, when it next looks
    /// (plugin/ready/setup.go, plugin/kubernetes/kubernetes.go, caddy.go func startWithListenerFds). Who replaces one
    /// server after the other would have none for that long.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    /// Whether DNS is answered.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// From now on nobody should send queries here.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
    }

    /// The state. With a latch, what was ready once stays ready; without one, what is lost is ready no more.
    pub fn state(&self, latch: Option<&AtomicBool>) -> State {
        if self.is_ending.load(Ordering::Acquire) {
            return State::Ending;
        }
        let is_looping = self.upstreams().any(|(_, _, counts)| counts.is_looping());
        if !is_looping && latch.is_some_and(|latch| latch.load(Ordering::Acquire)) {
            return State::Ready;
        }
        let is_awaited = || self.views.iter().any(|view| view.current().is_awaited());
        let waiting = [
            ("kubernetes", is_awaited() || latch.is_none() && self.has_lost()),
            ("loop", is_looping || self.is_open() && self.upstreams().any(|(_, _, counts)| counts.is_awaited())),
        ];
        let waiting: Vec<&str> = waiting.into_iter().filter_map(|(name, waits)| waits.then_some(name)).collect();
        if !waiting.is_empty() {
            return State::Waiting(waiting.join(","));
        }
        if !self.is_open() {
            return State::Opening;
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

    /// The names that several pods claim, and those that were cut, a line for each with its pods.
    pub fn conflicts(&self) -> String {
        let mut text = String::new();
        for view in &self.views {
            let zone = &view.options().primary;
            for Conflict { labels, kind, count, pods } in view.conflicts().listed() {
                let more = if count > pods.len() { ", ..." } else { "" };
                let what = if count == 1 { "pod" } else { "pods" };
                let (kind, pods) = (kind.name(), pods.join(", "));
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{labels}.svc.{zone}: {kind} by {count} {what}: {pods}{more}");
            }
        }
        text
    }

    /// What there is to know beside being ready, a line for each: zones that are not served, snapshots that answers come
    /// from, what is heard of no more, and what is held back.
    pub fn notes(&self) -> String {
        let mut text = self.lacking();
        for source in &self.sources {
            self.notes_of(source, &mut text);
            for kind in source.health.kinds() {
                let Some(status) = source.health.status(kind) else { continue };
                let Some(lost) = status.lost_for().filter(|lost| *lost >= TOLD_AFTER) else { continue };
                // That an API server does not have it is told already.
                if status.failing.as_ref().is_none_or(|failing| failing.why != Why::Absent) {
                    let (name, lost, cause) = (&source.name, seconds(lost), cause(&status, kind));
                    let _ = writeln!(text, "{name}: {kind}: nothing heard for {lost}, what is known is served{cause}");
                }
            }
        }
        text
    }

    fn notes_of(&self, source: &FollowedSource, text: &mut String) {
        if let Some(taken) = source.snapshot.taken() {
            let _ = writeln!(text, "{}: answers come from a snapshot of {} ago", source.name, seconds(taken.age()));
        }
        if let Some(held) = source.hold.told() {
            let _ = writeln!(text, "{}: {held}", source.name);
        }
    }

    /// The upstreams with their addresses, and the names that they are asked.
    fn upstreams(&self) -> impl Iterator<Item = (&str, &str, &UpstreamCounts)> {
        self.forwards.iter().flat_map(|forward| {
            forward.upstreams.iter().map(|(to, counts)| (forward.from.as_str(), to.as_str(), &**counts))
        })
    }

    fn has_lost(&self) -> bool {
        let kinds = |source: &Arc<FollowedSource>| source.health.kinds().any(|kind| is_lost(source, kind));
        self.sources.iter().any(kinds)
    }

    /// Why it is not ready, a line for each kind of object that is not listed yet, or is lost: where from, which, for how
    /// long, which zones are made of it, and what is wrong.
    pub fn reasons(&self) -> String {
        let mut text = self.lacking();
        for source in &self.sources {
            self.notes_of(source, &mut text);
            for kind in source.health.kinds() {
                let Some(status) = source.health.status(kind) else { continue };
                let lost = status.lost_for().filter(|_| is_lost(source, kind));
                if (status.listed || status.restored) && lost.is_none() {
                    continue;
                }
                // Writing to a string cannot fail.
                let _ = match lost {
                    Some(lost) => write!(text, "{}: {kind}: lost for {}", source.name, seconds(lost)),
                    None => write!(text, "{}: {kind}: not listed for {}", source.name, seconds(self.since.elapsed())),
                };
                let zones = zones_of(source, kind);
                if !zones.is_empty() {
                    let _ = write!(text, ", which {zones} are made of");
                }
                text.push_str(&cause(&status, kind));
                text.push('\n');
            }
        }
        for (from, to, counts) in self.upstreams() {
            if counts.is_looping() {
                let _ = writeln!(text, "forward {from} {to}: what it is asked comes back here: a forwarding loop");
            } else if counts.is_awaited() {
                let _ = writeln!(text, "forward {from} {to}: a forwarding loop is looked for");
            }
        }
        if text.is_empty() {
            text.push_str("everything is listed and about to be published\n");
        }
        text
    }
}

/// Whether a kind was followed and is not any more. That an API server has no ServiceImports keeps nobody from the rest.
fn is_lost(source: &FollowedSource, kind: Kind) -> bool {
    let Some(status) = source.health.status(kind) else { return false };
    let is_absent = status.failing.as_ref().is_some_and(|failing| failing.why == Why::Absent);
    !is_absent && status.lost_for().is_some_and(|lost| lost >= LOST_AFTER)
}

/// The zones that are made of a kind of a source's objects.
fn zones_of(source: &FollowedSource, kind: Kind) -> String {
    let views = source.views();
    let views = views.iter().filter(|view| kind != Kind::ServiceImport || view.options().multicluster);
    let zones = views.flat_map(|view| &view.options().zones);
    zones.map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// What is wrong, and what to do where that is known.
fn cause(status: &Status, kind: Kind) -> String {
    let mut text = String::new();
    if let Some(listing) = status.listing {
        let _ = write!(text, ", {} objects in {} so far", listing.objects, seconds(listing.begun.elapsed()));
    }
    if let Some(Failing { since, cause, why }) = &status.failing {
        let since = since.elapsed().unwrap_or_default();
        let _ = write!(text, ", failing for {}: {}", seconds(since), one_line(cause));
        if let Why::Forbidden(verb) = why {
            let _ = write!(text, "; the right to {verb} {} is missing", plural(kind));
        }
    } else if let Some(error) = &status.last_error {
        let _ = write!(text, ", last error: {}", one_line(error));
    }
    text
}

/// The name of a kind in rules of RBAC.
fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace => "namespaces",
        Kind::Service => "services",
        Kind::EndpointSlice => "endpointslices of discovery.k8s.io",
        Kind::Pod => "pods",
        Kind::ServiceImport => "serviceimports of multicluster.x-k8s.io",
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
    fn ready_when_all_views_are_and_dns_is_answered_and_ending_before_all() {
        let views = [view(), view()];
        let readiness = Readiness::new(views.to_vec(), Vec::new(), Instant::now());
        views[0].set_synced();
        assert_eq!(readiness.state(None), State::Waiting("kubernetes".into()));
        views[1].set_synced();
        assert_eq!(readiness.state(None), State::Opening);
        readiness.open();
        assert_eq!(readiness.state(None), State::Ready);
        readiness.end();
        assert_eq!(readiness.state(Some(&AtomicBool::new(true))), State::Ending);
    }

    #[test]
    fn a_latch_holds_what_was_ready_once() {
        let view = view();
        let latch = AtomicBool::new(false);
        let readiness = Readiness::new(vec![Arc::clone(&view)], Vec::new(), Instant::now());
        readiness.open();
        assert!(matches!(readiness.state(Some(&latch)), State::Waiting(_)));
        assert!(!latch.load(Ordering::Acquire));
        view.set_synced();
        assert_eq!(readiness.state(Some(&latch)), State::Ready);
        assert!(latch.load(Ordering::Acquire));
        let another = Readiness::new(vec![self::view()], Vec::new(), Instant::now());
        assert_eq!(another.state(Some(&latch)), State::Ready);
        assert!(matches!(another.state(None), State::Waiting(_)));
    }
}
