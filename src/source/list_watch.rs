//! Following one kind through the Kubernetes API: list, watch, and begin again.
//!
//! The protocol is described in the Kubernetes documentation, "Efficient detection of changes"; where it leaves room,
//! the behaviour of client-go's reflector was the measure.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::sync::mpsc;

use super::backoff::{Backoff, random_fraction};
use super::client::{Api, RequestError, chain, path, resource};
use super::complaint::{Complaint, Remarks};
use super::decode::{Change, DecodeError, Decoder, Frame, Page, Remark, Status};
use super::frames::FrameBuffer;
use super::health::Health;
use super::lean::key_of;
use super::start::Timing;
use crate::model::{Event, Kind, Object};

/// Objects a page; also client-go's choice (`defaultPageSize` of its pager).
const PAGE_OBJECTS: u32 = 500;
/// A page of more bytes than this makes the following ones smaller: 500 full EndpointSlices are 20 MB.
const PAGE_BYTES_GOAL: usize = 8 * 1024 * 1024;
/// A page of more bytes than this is an error.
const PAGE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// A longer `Retry-After` is cut to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// A watch that ends sooner than this without a frame is a failure, not an end: beginning again at once would spin.
const WATCH_TOO_SHORT: Duration = Duration::from_secs(1);
/// So many failures in a row, without a frame between them, cast doubt on the resource version itself.
const WATCH_DOUBTS: u32 = 4;

/// Why a list or a watch stopped.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Request(#[from] RequestError),
    #[error("{0}")]
    Decode(#[from] DecodeError),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the answer is longer than {} MiB", PAGE_BYTES_MAX / 1024 / 1024)]
    PageTooLong,
    #[error("the watch ended at once")]
    TooShort,
    /// Nobody takes the events any more.
    #[error("the receiver is gone")]
    Closed,
}

impl Failure {
    fn status(&self) -> Option<&Status> {
        match self {
            Self::Request(RequestError::Status(status)) => Some(status),
            _ => None,
        }
    }

    fn is_gone(&self) -> bool {
        self.status().is_some_and(Status::is_gone)
    }

    /// Whether the resource version itself may be what is wrong.
    fn casts_doubt(&self) -> bool {
        match self {
            Self::Decode(_) => true,
            _ => self.status().is_some_and(|status| !matches!(status.code, 401 | 403 | 429)),
        }
    }

    /// Whether a client built anew may fare better: certificates and tokens may have been replaced.
    fn wants_new_client(&self) -> bool {
        match self {
            Self::Request(RequestError::Connection(_)) => true,
            _ => self.status().is_some_and(|status| status.code == 401),
        }
    }
}

/// How a watch ended without failing.
enum WatchEnd {
    /// The API server closed it, or the connection went: it goes on from the last resource version.
    Ended,
    /// Not a byte came for [`Timing::silence`].
    Silent,
}

/// Follows one kind; see [`super::start()`].
pub(super) struct ListWatch<D> {
    kind: Kind,
    decoder: D,
    api: Api,
    selector: Option<String>,
    events: mpsc::Sender<Event>,
    health: Arc<Health>,
    timing: Timing,
    backoff: Backoff,
    complaint: Complaint,
    remarks: Remarks,
    /// Whether lists come in pages; see [`Self::list`].
    paged: bool,
    page_objects: u32,
}

impl<D: Decoder> ListWatch<D> {
    pub(super) fn new(
        kind: Kind,
        decoder: D,
        api: Api,
        selector: Option<String>,
        events: mpsc::Sender<Event>,
        health: Arc<Health>,
        timing: Timing,
    ) -> Self {
        let backoff = Backoff::new(timing.backoff_first, timing.backoff_max);
        Self {
            kind,
            decoder,
            api,
            selector,
            events,
            health,
            timing,
            backoff,
            complaint: Complaint::default(),
            remarks: Remarks::default(),
            paged: true,
            page_objects: PAGE_OBJECTS,
        }
    }

    /// Lists and watches until nobody takes the events any more.
    pub(super) async fn run(mut self) {
        loop {
            let version = match self.list().await {
                Ok(version) => version,
                Err(failure) => match self.recover("list", &failure).await {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(()) => return,
                },
            };
            if self.follow(version).await.is_break() {
                return;
            }
        }
    }

    /// Lists the kind and sends it from `Begin` to `End`; gives the resource version that a watch continues from.
    ///
    /// No resource version is asked for: the list is then the newest there is, so that a relist never steps back in
    /// time as one from an API server's stale cache (`resourceVersion=0`) can.
    async fn list(&mut self) -> Result<String, Failure> {
        let mut next: Option<String> = None;
        let mut count = 0;
        loop {
            let limit = self.page_objects.to_string();
            let mut query = Vec::new();
            if self.paged {
                query.push(("limit", limit.as_str()));
            }
            if let Some(token) = &next {
                query.push(("continue", token.as_str()));
            }
            let page = match self.page(&path(self.kind, self.selector.as_deref(), &query)).await {
                Ok(page) => page,
                Err(failure) if failure.is_gone() && next.is_some() => {
                    // The continue token went stale: listing takes longer than etcd keeps history. One answer
                    // without pages cannot go stale; client-go falls back to it as well (`FullListIfExpired`).
                    self.paged = false;
                    return Err(failure);
                }
                Err(failure) => return Err(failure),
            };
            if next.is_none() {
                self.send(Event::Begin(self.kind)).await?;
            }
            self.remark(&page.remarks);
            count += page.objects.len();
            self.health.events(self.kind, page.objects.len());
            for object in page.objects {
                self.apply(object, &page.remarks).await?;
            }
            next = page.next;
            if next.is_none() {
                self.send(Event::End(self.kind)).await?;
                self.health.listed(self.kind);
                self.health.heard(self.kind);
                self.paged = true;
                tracing::debug!("listed {count} {} at resource version {}", resource(self.kind), page.resource_version);
                return Ok(page.resource_version);
            }
        }
    }

    /// Fetches and decodes one page.
    async fn page(&mut self, path: &str) -> Result<Page, Failure> {
        let response = self.api.get(path, self.decoder.accept()).await?;
        let collect = collect(response.into_body());
        let body = tokio::time::timeout(self.timing.request, collect)
            .await
            .map_err(|_| RequestError::Timeout(self.timing.request))??;
        if body.len() > PAGE_BYTES_GOAL {
            self.page_objects = (self.page_objects / 2).max(10);
        }
        // Megabytes of JSON would hold up the other tasks of this thread.
        let (kind, decoder) = (self.kind, self.decoder.clone());
        let page = tokio::task::spawn_blocking(move || decoder.page(kind, &body)).await;
        Ok(page.map_err(|error| DecodeError::Format(error.to_string()))??)
    }

    /// Watches from `version` until only a new list helps.
    async fn follow(&mut self, mut version: String) -> ControlFlow<()> {
        let mut silent_before = false;
        let mut doubts = 0;
        loop {
            let from = version.clone();
            let result = self.watch(&mut version).await;
            if version != from {
                (silent_before, doubts) = (false, 0);
            }
            match result {
                Ok(WatchEnd::Ended) => silent_before = false,
                Ok(WatchEnd::Silent) if silent_before => {
                    // A second connection was silent as well. An API server whose etcd was restored from a backup
                    // counts from lower versions than ours and tells us nothing until it has caught up.
                    tracing::warn!(
                        "two watches of {} in a row were silent for {} s each, listing again",
                        resource(self.kind),
                        self.timing.silence.as_secs()
                    );
                    return ControlFlow::Continue(());
                }
                Ok(WatchEnd::Silent) => {
                    silent_before = true;
                    tracing::info!(
                        "the watch of {} was silent for {} s, watching again",
                        resource(self.kind),
                        self.timing.silence.as_secs()
                    );
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

    /// One watch, from `version`, which it moves along.
    async fn watch(&mut self, version: &mut String) -> Result<WatchEnd, Failure> {
        let seconds = self.timing.watch_min.mul_f64(1.0 + random_fraction()).as_secs().max(1).to_string();
        let query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version.as_str()),
            ("timeoutSeconds", seconds.as_str()),
        ];
        let path = path(self.kind, self.selector.as_deref(), &query);
        let begun = Instant::now();
        let mut body = self.api.get(&path, self.decoder.accept()).await?.into_body();
        let mut buffer = FrameBuffer::default();
        let mut stands = false;
        loop {
            let patience = if stands { self.timing.silence } else { WATCH_TOO_SHORT.min(self.timing.silence) };
            let end = match tokio::time::timeout(patience, body.frame()).await {
                Err(_) if stands => return Ok(WatchEnd::Silent),
                Err(_) => {
                    stands = true;
                    self.heard();
                    continue;
                }
                Ok(Some(Ok(piece))) => {
                    if let Some(bytes) = piece.data_ref() {
                        buffer.push(bytes);
                    }
                    None
                }
                Ok(Some(Err(error))) => Some(Failure::Broken(chain(&error))),
                Ok(None) => Some(Failure::TooShort),
            };
            while let Some(frame) = self.decoder.cut(&mut buffer)? {
                let frame = self.decoder.frame(self.kind, &frame)?;
                self.take(frame, version).await?;
                stands = true;
            }
            if let Some(failure) = end {
                if stands || begun.elapsed() >= WATCH_TOO_SHORT {
                    // Ends are part of the protocol; if the API server is away, the next watch will say so.
                    tracing::debug!("the watch of {} ended: {failure}", resource(self.kind));
                    return Ok(WatchEnd::Ended);
                }
                return Err(failure);
            }
        }
    }

    /// Passes on what a frame says.
    async fn take(&mut self, frame: Frame, version: &mut String) -> Result<(), Failure> {
        self.remark(&frame.remarks);
        match frame.change {
            Change::Apply(object) => {
                self.health.events(self.kind, 1);
                self.apply(object, &frame.remarks).await?;
            }
            Change::Delete(key) => {
                self.health.events(self.kind, 1);
                self.remarks.forget(&key);
                self.send(Event::Delete(self.kind, key)).await?;
            }
            Change::Bookmark | Change::Skip => {}
            Change::Error(status) => return Err(RequestError::Status(status).into()),
        }
        self.heard();
        if let Some(new) = frame.resource_version {
            *version = new;
        }
        Ok(())
    }

    async fn apply(&mut self, object: Object, remarks: &[Remark]) -> Result<(), Failure> {
        if remarks.is_empty() {
            self.remarks.forget(&key_of(&object));
        }
        self.send(Event::Apply(object)).await
    }

    async fn send(&self, event: Event) -> Result<(), Failure> {
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
    fn heard(&mut self) {
        self.backoff.reset();
        self.health.heard(self.kind);
        if self.complaint.settle() {
            tracing::info!("{} are up to date again", resource(self.kind));
        }
    }

    /// Reports a failure and waits until the next attempt is due.
    async fn recover(&mut self, verb: &str, failure: &Failure) -> ControlFlow<()> {
        if matches!(failure, Failure::Closed) {
            return ControlFlow::Break(());
        }
        let cause = format!("cannot {verb} {}: {failure}", resource(self.kind));
        self.health.failed(self.kind, &cause);
        if self.complaint.is_due(&cause, Instant::now()) {
            tracing::warn!("{cause}; retrying, what is known is still served");
        }
        let asked = failure.status().and_then(|status| status.retry_after_secs).map(Duration::from_secs);
        let wait = self.backoff.wait().max(asked.unwrap_or_default().min(RETRY_AFTER_MAX));
        self.pause(wait).await?;
        if failure.wants_new_client()
            && let Err(error) = self.api.renew().await
            && self.complaint.is_due(&error.to_string(), Instant::now())
        {
            tracing::warn!("{error}; the client is kept as it was");
        }
        ControlFlow::Continue(())
    }

    async fn pause(&self, wait: Duration) -> ControlFlow<()> {
        tokio::select! {
            () = tokio::time::sleep(wait) => ControlFlow::Continue(()),
            () = self.events.closed() => ControlFlow::Break(()),
        }
    }
}

/// The whole body, unless it grows past all bounds.
async fn collect(mut body: Body) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.frame().await {
        let piece = piece.map_err(|error| Failure::Broken(chain(&error)))?;
        if let Some(data) = piece.data_ref() {
            if bytes.len() + data.len() > PAGE_BYTES_MAX {
                return Err(Failure::PageTooLong);
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes.freeze())
}
