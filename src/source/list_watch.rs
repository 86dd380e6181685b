//! Following one kind through the Kubernetes API: list, watch, and begin again.
//!
//! The protocol is described in the Kubernetes documentation, "Efficient detection of changes"; where it leaves room,
//! the behaviour of client-go's reflector was the measure.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::backoff::{Backoff, random_fraction};
use super::client::{Api, RequestError, Wanted, is_custom, path, resource};
use super::complaint::{Complaint, Remarks};
use super::decode::{Change, Frame, Item, LAST_CHANGE, Remark};
use super::failure::Failure;
use super::health::{Health, Why};
use super::ledger::{Check, Ledger, Verdict};
use super::listing::{Listed, Paging};
use super::start::Timing;
use super::stream::{Heard, Stream};
use crate::model::{Event, Kind, ObjectKey};

/// A longer `Retry-After` is cut to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// A watch that ends sooner than this without a frame is a failure, not an end: beginning again at once would spin.
const WATCH_TOO_SHORT: Duration = Duration::from_secs(1);
/// So many failures in a row, without a frame between them, cast doubt on the resource version itself.
const WATCH_DOUBTS: u32 = 4;

/// How a watch ended without failing.
enum WatchEnd {
    /// The API server closed it, or the connection went: it goes on from the last resource version.
    Ended,
    /// Not a byte came for [`Timing::silence`].
    Silent,
    /// It does not tell everything.
    Faulty,
}

/// Follows one kind; see [`super::start()`].
pub(super) struct ListWatch {
    pub(super) kind: Kind,
    pub(super) api: Api,
    pub(super) selector: Option<String>,
    events: mpsc::Sender<Event>,
    pub(super) health: Arc<Health>,
    pub(super) timing: Timing,
    backoff: Backoff,
    complaint: Complaint,
    remarks: Remarks,
    pub(super) paging: Paging,
    /// What has been told.
    pub(super) ledger: Ledger,
    /// The check that goes on.
    check: Option<Check>,
    next_check: Instant,
}

impl ListWatch {
    pub(super) fn new(
        kind: Kind,
        api: Api,
        selector: Option<String>,
        events: mpsc::Sender<Event>,
        health: Arc<Health>,
        timing: Timing,
    ) -> Self {
        let backoff = Backoff::new(timing.backoff_first, timing.backoff_max);
        Self {
            kind,
            api,
            selector,
            events,
            health,
            timing,
            backoff,
            complaint: Complaint::default(),
            remarks: Remarks::default(),
            paging: Paging::default(),
            ledger: Ledger::default(),
            check: None,
            next_check: Instant::now(),
        }
    }

    /// Lists and watches until nobody takes the events any more.
    pub(super) async fn run(mut self) {
        loop {
            let listed = match self.list().await {
                Ok(listed) => listed,
                Err(failure) => match self.recover("list", &failure).await {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(()) => return,
                },
            };
            if self.follow(listed).await.is_break() {
                return;
            }
        }
    }

    /// Watches from where a list ends until only a new list helps.
    async fn follow(&mut self, listed: Listed) -> ControlFlow<()> {
        let Listed { mut version, mut stream } = listed;
        self.check = None;
        self.plan_check();
        let mut silent_before = false;
        let mut doubts = 0;
        loop {
            let from = version.clone();
            let result = self.watch(stream.take(), &mut version).await;
            if version != from {
                (silent_before, doubts) = (false, 0);
            }
            match result {
                Ok(WatchEnd::Ended) => silent_before = false,
                Ok(WatchEnd::Faulty) => {}
                Ok(WatchEnd::Silent) => {
                    self.health.silent(self.kind);
                    let (kind, seconds) = (resource(self.kind), self.timing.silence.as_secs());
                    if silent_before {
                        // A second connection was silent as well. An API server whose etcd was restored from a backup
                        // counts from lower versions than ours and tells us nothing until it has caught up.
                        tracing::warn!(
                            "two watches of {kind} in a row were silent for {seconds} s each, listing again"
                        );
                        return ControlFlow::Continue(());
                    }
                    silent_before = true;
                    tracing::warn!("the watch of {kind} was silent for {seconds} s, watching again");
                }
                Err(failure) if failure.is_gone() => {
                    tracing::info!("the watch of {} is too far behind, listing again: {failure}", resource(self.kind));
                    // Jittered, because an API server that compacts, or restarts, sends everybody away at once.
                    return self.pause(self.timing.backoff_first.mul_f64(random_fraction())).await;
                }
                Err(failure) => {
                    // An API server that answers and yet fails over and over may do so because of the version.
                    doubts += u32::from(failure.casts_doubt());
                    self.recover("watch", &failure).await?;
                    if doubts >= WATCH_DOUBTS {
                        return ControlFlow::Continue(());
                    }
                }
            }
        }
    }

    /// How long the API server is asked to let a watch last.
    pub(super) fn watch_seconds(&self) -> String {
        self.timing.watch_min.mul_f64(1.0 + random_fraction()).as_secs().max(1).to_string()
    }

    /// One watch from `version`, which it moves along; `listed` is one that has already listed, and stands.
    async fn watch(&mut self, listed: Option<Stream>, version: &mut String) -> Result<WatchEnd, Failure> {
        let mut stands = listed.is_some();
        let mut stream = match listed {
            Some(stream) => stream,
            None => {
                if self.api.is_outdated() {
                    self.renew().await;
                }
                self.open(version).await?
            }
        };
        loop {
            if stands && self.check.is_none() && Instant::now() >= self.next_check {
                if let Some(listed) = self.begin_check().await? {
                    *version = listed;
                    return Ok(WatchEnd::Ended);
                }
                stream.listen_again();
            }
            let patience = if stands { self.timing.silence } else { WATCH_TOO_SHORT.min(self.timing.silence) };
            let mut until = stream.heard() + patience;
            if stands && self.check.is_none() {
                until = until.min(self.next_check);
            }
            match stream.next(until).await? {
                Heard::Frame(frame) => {
                    stands = true;
                    if self.take(frame, version).await?.is_break() {
                        return Ok(WatchEnd::Faulty);
                    }
                }
                Heard::Nothing if stream.heard().elapsed() >= self.timing.silence => {
                    // What the list of a check has and the watch never came to tell, it would not have told.
                    if let Some(check) = self.check.take() {
                        *version = check.version().to_string();
                        // Silence ends the watch in any case.
                        let _ = self.conclude(check.open());
                    }
                    return Ok(WatchEnd::Silent);
                }
                Heard::Nothing if !stands => {
                    stands = true;
                    self.heard();
                }
                Heard::Nothing => {}
                Heard::End(failure) => {
                    if stands || stream.age() >= WATCH_TOO_SHORT {
                        // Ends are part of the protocol; if the API server is away, the next watch will say so.
                        tracing::debug!("the watch of {} ended: {failure}", resource(self.kind));
                        return Ok(WatchEnd::Ended);
                    }
                    return Err(failure);
                }
            }
        }
    }

    async fn open(&self, version: &str) -> Result<Stream, Failure> {
        let seconds = self.watch_seconds();
        let query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", &*seconds),
        ];
        let path = path(self.kind, self.selector.as_deref(), &query);
        let limits = self.api.limits();
        let _place = limits.place().await;
        self.api.turn().await;
        let (format, body) = self.api.get(self.kind, &path, Wanted::Watch).await?;
        Ok(Stream::new(self.kind, format, body))
    }

    /// Passes on what a frame says, unless a check's list has said it; breaks where the watch proves faulty.
    async fn take(&mut self, frame: Frame, version: &mut String) -> Result<ControlFlow<()>, Failure> {
        if let Change::Error(status) = frame.change {
            return Err(RequestError::Status(status).into());
        }
        let verdict = self.check.as_mut().map(|check| {
            let key = match &frame.change {
                Change::Apply(item) => item.key(),
                Change::Delete(key) => Some(Cow::Borrowed(key)),
                Change::Bookmark { .. } | Change::Error(_) | Change::Skip(_) => None,
            };
            check.hear(&self.ledger, key.as_deref(), frame.resource_version.as_deref())
        });
        if let Some(Verdict::Missed(_)) = verdict {
            self.check = None;
        }
        if verdict != Some(Verdict::Behind) {
            self.change(frame.change, None).await?;
        }
        self.heard();
        if let Some(new) = frame.resource_version {
            *version = new;
        }
        Ok(match verdict {
            Some(Verdict::Missed(missed)) => self.conclude(missed),
            _ => ControlFlow::Continue(()),
        })
    }

    /// Passes on a change, and notes it in `listing`, or else in the ledger.
    pub(super) async fn change(&mut self, change: Change, listing: Option<&mut Ledger>) -> Result<(), Failure> {
        match change {
            Change::Apply(mut item) => {
                if item.object.is_some() {
                    self.health.events(self.kind, 1);
                }
                let is_change = listing.is_none();
                let triggered = item.triggered.take().filter(|_| is_change).zip(item.key().map(Cow::into_owned));
                if is_change {
                    self.health.changed();
                }
                self.apply(item, listing).await?;
                if let Some((written, slice)) = triggered {
                    self.triggered(slice, &written).await?;
                }
            }
            Change::Delete(key) => {
                self.health.events(self.kind, 1);
                self.remarks.forget(&key);
                if listing.is_none() {
                    self.health.changed();
                }
                listing.unwrap_or(&mut self.ledger).forget(&key);
                self.send(Event::Delete(self.kind, key)).await?;
            }
            Change::Skip(remark) => self.remark(&[remark]),
            Change::Bookmark { .. } => {}
            Change::Error(status) => return Err(RequestError::Status(status).into()),
        }
        Ok(())
    }

    /// Passes on an object, and notes it as [`Self::change`] does.
    pub(super) async fn apply(&mut self, item: Item, listing: Option<&mut Ledger>) -> Result<(), Failure> {
        self.remark(&item.remarks);
        if let (Some(key), Some(version)) = (item.key(), &item.version) {
            listing.unwrap_or(&mut self.ledger).note(&key, version);
            if item.remarks.is_empty() {
                self.remarks.forget(&key);
            }
        }
        match item.object {
            Some(object) => self.send(Event::Apply(object)).await,
            None => Ok(()),
        }
    }

    /// Passes on when the cluster changed what a slice holds.
    async fn triggered(&mut self, slice: ObjectKey, written: &str) -> Result<(), Failure> {
        match written.parse::<jiff::Timestamp>() {
            Ok(at) => self.send(Event::Triggered(slice, at.into())).await,
            Err(error) => {
                let text = format!("the annotation {LAST_CHANGE} is no time: {error}");
                self.remark(&[Remark { key: Some(slice), text, whole: false }]);
                Ok(())
            }
        }
    }

    fn plan_check(&mut self) {
        self.next_check = Instant::now() + self.timing.check.mul_f64(0.9 + 0.2 * random_fraction());
    }

    /// Lists all beside the watch, which stays open and waits. Until it has come as far as the list, what it tells is
    /// only compared: objects must not go back to what they were. Gives the list's resource version where it cannot be
    /// compared; the watch is then begun again from there.
    async fn begin_check(&mut self) -> Result<Option<String>, Failure> {
        let told = self.ledger.clone();
        let listed = self.list_beside().await;
        self.plan_check();
        match listed {
            Ok(listed) => {
                self.check = Check::new(&told, &self.ledger, &listed.version);
                Ok(self.check.is_none().then_some(listed.version))
            }
            Err(Failure::Closed) => Err(Failure::Closed),
            // The watch will show what is wrong. What was listed may be newer than what the watch tells next; objects
            // that go back to that come forth again with the rest of it.
            Err(failure) => {
                tracing::info!("cannot list {} beside their watch: {failure}", resource(self.kind));
                Ok(None)
            }
        }
    }

    /// Ends a check; breaks where it found something.
    fn conclude(&mut self, missed: usize) -> ControlFlow<()> {
        self.health.checked(self.kind, missed);
        if missed == 0 {
            tracing::debug!("the watch of {} has told everything", resource(self.kind));
            return ControlFlow::Continue(());
        }
        tracing::warn!(
            "the watch of {} has not told of {missed} changes, which a list beside it found and repaired; watching again",
            resource(self.kind)
        );
        ControlFlow::Break(())
    }

    pub(super) async fn send(&self, event: Event) -> Result<(), Failure> {
        self.events.send(event).await.map_err(|_| Failure::Closed)
    }

    fn remark(&mut self, remarks: &[Remark]) {
        if remarks.is_empty() {
            return;
        }
        self.health.malformed(self.kind, remarks.len());
        for remark in remarks {
            let rest = if remark.whole { "; it is left out" } else { "" };
            self.remarks.say(self.kind, remark.key.as_ref(), &format!("{}{rest}", remark.text));
        }
    }

    /// A watch stands: what failed before is over. A list alone does not say so, for when every watch after it fails
    /// the waits must grow all the same.
    pub(super) fn heard(&mut self) {
        self.backoff.reset();
        self.health.heard(self.kind);
        if self.complaint.settle() {
            tracing::info!("{} are up to date again", resource(self.kind));
        }
    }

    /// Reports a failure and waits until the next attempt is due.
    async fn recover(&mut self, verb: &'static str, failure: &Failure) -> ControlFlow<()> {
        if matches!(failure, Failure::Closed) {
            return ControlFlow::Break(());
        }
        let cause = format!("cannot {verb} {}: {failure}", resource(self.kind));
        let before = self.health.status(self.kind).unwrap_or_default();
        let code = failure.status().map(|status| status.code);
        let is_absent = is_custom(self.kind) && code == Some(404);
        let why = match code {
            _ if is_absent => Why::Absent,
            Some(403) => Why::Forbidden(verb),
            _ => Why::Other,
        };
        self.health.failed(self.kind, &cause, why);
        if is_absent {
            // That may last for as long as the cluster does: it is said once.
            if before.failing.is_none_or(|failing| failing.cause != cause) {
                let rest =
                    if before.listed { "what is known is still served" } else { "their zones wait until it has" };
                tracing::warn!("{cause}; the API server has no such resource, {rest}");
            }
            if self.send(Event::Unknown(self.kind)).await.is_err() {
                return ControlFlow::Break(());
            }
        } else if self.complaint.is_due(&cause, Instant::now()) {
            let lost = self.health.status(self.kind).and_then(|status| status.lost_for());
            let age = lost.map(|lost| format!(", {} s old", lost.as_secs())).unwrap_or_default();
            tracing::warn!("{cause}; retrying, what is known is still served{age}");
        }
        let asked = failure.status().and_then(|status| status.retry_after_secs).map(Duration::from_secs);
        let wait = self.backoff.wait().max(asked.unwrap_or_default().min(RETRY_AFTER_MAX));
        self.pause(wait).await?;
        if failure.wants_new_client() {
            self.renew().await;
        }
        ControlFlow::Continue(())
    }

    async fn renew(&mut self) {
        if let Err(error) = self.api.renew().await
            && self.complaint.is_due(&error.to_string(), Instant::now())
        {
            tracing::warn!("{error}; the client is kept as it was");
        }
    }

    async fn pause(&self, wait: Duration) -> ControlFlow<()> {
        tokio::select! {
            () = tokio::time::sleep(wait) => ControlFlow::Continue(()),
            () = self.events.closed() => ControlFlow::Break(()),
        }
    }
}
