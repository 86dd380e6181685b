//! Listing a kind: the first time as a whole, later as the beginning of a watch where the API server has that, else in
//! pages.
//!
//! A streamed list ("Streaming lists" in the Kubernetes documentation) costs the API server a page's memory less, and
//! has no gap between the list and the watch. But each object is a frame, which is encoded, encrypted, sent and read by
//! itself: a list as a whole takes the API server half the CPU time, and us three quarters (docs/performance.md), and
//! while nothing is answered yet, time counts. It is what every client asked for before there were streams, and newer API
//! servers write it object by object too (`StreamingCollectionEncodingToProtobuf` in apiserver's `features`). Pages beyond
//! the first are dearer than either.
//!
//! Whichever way a list comes, each object is passed on as it arrives, and what arrived before a list breaks off is kept:
//! the next one goes over it again.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use kube::client::Body;

use super::client::{RequestError, Wanted, chain, is_custom, path, resource};
use super::decode::{Change, DecodeError, Format, ListEnd, Status};
use super::failure::Failure;
use super::health::Listing;
use super::ledger::Ledger;
use super::list_watch::ListWatch;
use super::page::PageReader;
use super::progress::Progress;
use super::stream::{Heard, Stream};
use crate::model::{Event, Kind};

/// Objects a page; also client-go's choice (`defaultPageSize` of its pager).
const PAGE_OBJECTS: u32 = 500;
/// A page of more bytes than this makes the following ones smaller: 500 full EndpointSlices are 20 MB in JSON.
const PAGE_BYTES_GOAL: usize = 8 * 1024 * 1024;

/// How lists are asked for.
#[derive(Debug)]
pub(super) struct Paging {
    /// Whether the next list may come as a whole: the first that is answered.
    whole: bool,
    /// Whether the next list may come as the beginning of a watch.
    streamed: bool,
    /// Whether lists come in pages or as a whole; see [`ListWatch::list_in_pages`].
    paged: bool,
    objects: u32,
}

impl Default for Paging {
    fn default() -> Self {
        Self { whole: true, streamed: true, paged: true, objects: PAGE_OBJECTS }
    }
}

/// A complete list.
pub(super) struct Listed {
    /// Where a watch continues.
    pub(super) version: String,
    /// The watch that the list was the beginning of.
    pub(super) stream: Option<Stream>,
}

/// A page that is on its way.
struct Page {
    asked: Instant,
    /// How long it may take to arrive.
    limit: Duration,
    is_first: bool,
}

impl ListWatch {
    /// Lists the kind and sends it from `Begin` to `End`.
    pub(super) async fn list(&mut self) -> Result<Listed, Failure> {
        let limits = self.api.limits();
        let _place = limits.place().await;
        Progress::new(self.kind, &self.health, &self.timing).watch(self.list_in_the_best_way()).await
    }

    /// The same beside a watch.
    pub(super) async fn list_beside(&mut self) -> Result<Listed, Failure> {
        let limits = self.api.limits();
        let _place = limits.place().await;
        Progress::new(self.kind, &self.health, &self.timing).watch(self.list_in_pages()).await
    }

    async fn list_in_the_best_way(&mut self) -> Result<Listed, Failure> {
        if self.paging.whole
            && self.comes_as_a_whole()
            && let Some(listed) = self.list_as_a_whole().await?
        {
            return Ok(listed);
        }
        if std::mem::replace(&mut self.paging.streamed, true)
            && self.api.abilities().streamed_lists()
            && let Some(listed) = self.list_as_stream().await?
        {
            return Ok(listed);
        }
        // All over again, what a stream may have sent included.
        self.health.listing_begins(self.kind);
        self.list_in_pages().await
    }

    /// Pods are too many and too large for that, and JSON would have to be held until its end.
    fn comes_as_a_whole(&self) -> bool {
        let is_small = !is_custom(self.kind) && self.kind != Kind::Pod;
        is_small && !self.timing.first_whole.is_zero() && self.api.abilities().protobuf()
    }

    /// Lists in one answer; `None` where that is in JSON.
    ///
    /// No resource version is asked for, so that the list is the newest there is.
    async fn list_as_a_whole(&mut self) -> Result<Option<Listed>, Failure> {
        let path = path(self.kind, self.selector.as_deref(), &[]);
        self.api.turn().await;
        let asked = Instant::now();
        let answer = self.api.get(self.kind, &path, Wanted::List).await;
        // Who could not be asked may be asked again.
        self.paging.whole = matches!(answer, Err(RequestError::Connection(_)));
        let (format, body) = answer?;
        if format != Format::Protobuf {
            return Ok(None);
        }
        let mut ledger = self.ledger.successor();
        let page = Page { asked, limit: self.timing.first_whole, is_first: true };
        let end = self.take_page(page, format, body, &mut ledger).await?;
        self.listed(ledger, &end.resource_version).await?;
        Ok(Some(Listed { version: end.resource_version, stream: None }))
    }

    /// Lists by a watch that first sends all that exists; `None` where pages must do.
    ///
    /// No resource version is asked for, so that the list is the newest there is.
    async fn list_as_stream(&mut self) -> Result<Option<Listed>, Failure> {
        let seconds = self.watch_seconds();
        let query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("sendInitialEvents", "true"),
            ("resourceVersionMatch", "NotOlderThan"),
            ("timeoutSeconds", seconds.as_str()),
        ];
        let path = path(self.kind, self.selector.as_deref(), &query);
        self.api.turn().await;
        // One that does not even begin to answer is as silent as one that begins and does not go on.
        let answer =
            tokio::time::timeout(self.timing.stream_silence, self.api.get(self.kind, &path, Wanted::Watch)).await;
        let Ok(answer) = answer else {
            tracing::warn!("the API server does not begin its list of {}, fetching it in pages", resource(self.kind));
            return Ok(None);
        };
        let (format, body) = match answer {
            Ok(answer) => answer,
            Err(RequestError::Status(status)) if refuses_stream(&status) => {
                self.api.abilities().refuses_streamed_lists(&status.to_string());
                return Ok(None);
            }
            // Not allowed to watch: what may be listed is known at least, and the watch will say what is wrong.
            Err(RequestError::Status(status)) if status.code == 403 => return Ok(None),
            Err(error) => {
                self.paging.streamed = !matches!(error, RequestError::Status(_));
                return Err(error.into());
            }
        };
        let mut stream = Stream::new(self.kind, format, body);
        // Only waiting counts, not the time that passing on what came takes a process with little CPU.
        let mut patience = self.timing.stream_whole;
        let mut ledger = self.ledger.successor();
        // If it breaks off, the next list comes in pages.
        self.paging.streamed = false;
        self.send(Event::Begin(self.kind)).await?;
        loop {
            let begun = Instant::now();
            let heard = stream.next(begun + patience.min(self.timing.stream_silence)).await?;
            patience = patience.saturating_sub(begun.elapsed());
            let frame = match heard {
                Heard::Frame(frame) if !patience.is_zero() => frame,
                Heard::End(Failure::Broken(why)) => return Err(Failure::Broken(why)),
                Heard::End(_) => return Err(Failure::Broken("it ended before the list did".into())),
                Heard::Frame(_) | Heard::Nothing => {
                    tracing::warn!(
                        "the API server does not end its list of {}, fetching it in pages",
                        resource(self.kind)
                    );
                    return Ok(None);
                }
            };
            if let Change::Bookmark { ends_listing: true } = frame.change {
                let version = frame.resource_version.ok_or(DecodeError::NoResourceVersion)?;
                self.paging.streamed = true;
                self.listed(ledger, &version).await?;
                self.heard();
                return Ok(Some(Listed { version, stream: Some(stream) }));
            }
            if let Change::Error(status) = &frame.change
                && refuses_stream(status)
            {
                self.api.abilities().refuses_streamed_lists(&status.to_string());
                return Ok(None);
            }
            self.change(frame.change, Some(&mut ledger)).await?;
        }
    }

    /// Lists in pages.
    ///
    /// No resource version is asked for: the list is then the newest there is, so that a relist never steps back in
    /// time as one from an API server's stale cache (`resourceVersion=0`) can.
    async fn list_in_pages(&mut self) -> Result<Listed, Failure> {
        let mut next: Option<String> = None;
        let mut ledger = self.ledger.successor();
        loop {
            let limit = self.paging.objects.to_string();
            let mut query = Vec::new();
            if self.paging.paged {
                query.push(("limit", limit.as_str()));
            }
            if let Some(token) = &next {
                query.push(("continue", token.as_str()));
            }
            let path = path(self.kind, self.selector.as_deref(), &query);
            let end = match self.page(&path, next.is_none(), &mut ledger).await {
                Ok(end) => end,
                Err(failure) => {
                    if failure.is_gone() && next.is_some() {
                        // The continue token went stale: listing takes longer than etcd keeps history. One answer
                        // without pages cannot go stale; client-go falls back to it too (`FullListIfExpired`).
                        self.paging = Paging { streamed: false, paged: false, ..self.paging };
                    }
                    return Err(failure);
                }
            };
            next = end.next;
            if next.is_none() {
                self.listed(ledger, &end.resource_version).await?;
                self.paging.paged = true;
                return Ok(Listed { version: end.resource_version, stream: None });
            }
        }
    }

    /// Fetches one page and passes on its objects.
    async fn page(&mut self, path: &str, is_first: bool, ledger: &mut Ledger) -> Result<ListEnd, Failure> {
        self.api.turn().await;
        let asked = Instant::now();
        let (format, body) = self.api.get(self.kind, path, Wanted::List).await?;
        let page = Page { asked, limit: self.timing.request, is_first };
        self.take_page(page, format, body, ledger).await
    }

    /// Passes on a page's objects as they arrive; before the first one of all, the list begins.
    async fn take_page(
        &mut self,
        page: Page,
        format: Format,
        mut body: Body,
        ledger: &mut Ledger,
    ) -> Result<ListEnd, Failure> {
        let Page { asked, limit, is_first } = page;
        let deadline = tokio::time::Instant::now() + limit;
        let mut page = PageReader::new(self.kind, format);
        let mut begun = !is_first;
        loop {
            let piece =
                tokio::time::timeout_at(deadline, body.frame()).await.map_err(|_| RequestError::Timeout(limit))?;
            let Some(piece) = piece else { break };
            let piece = piece.map_err(|error| Failure::Broken(chain(&error)))?;
            let Some(bytes) = piece.data_ref() else { continue };
            page.push(bytes)?;
            while let Some(item) = page.next()? {
                if !std::mem::replace(&mut begun, true) {
                    self.send(Event::Begin(self.kind)).await?;
                }
                self.change(Change::Apply(item), Some(ledger)).await?;
            }
        }
        if page.bytes() > PAGE_BYTES_GOAL {
            self.paging.objects = (self.paging.objects / 2).max(10);
        }
        let (items, end) = page.finish().await?;
        self.api.requests().took.took(asked.elapsed());
        if !begun {
            self.send(Event::Begin(self.kind)).await?;
        }
        for item in items {
            self.change(Change::Apply(item), Some(ledger)).await?;
        }
        Ok(end)
    }

    /// All has been passed on.
    async fn listed(&mut self, ledger: Ledger, version: &str) -> Result<(), Failure> {
        self.ledger = ledger;
        self.send(Event::End(self.kind)).await?;
        let listing = self.health.listed(self.kind);
        self.health.heard(self.kind);
        let kind = resource(self.kind);
        tracing::debug!("listed {kind} at resource version {version}");
        if let Some(Listing { begun, objects }) = listing
            && begun.elapsed() >= self.timing.listing_long
        {
            tracing::info!("listed {kind}: {objects} objects in {:.1} s", begun.elapsed().as_secs_f64());
        }
        Ok(())
    }
}

/// Whether an API server has no streamed lists. It says that the request is invalid, where it does not know them or
/// they are switched off, or names what etcd lacks for them (`storage/cacher` in apiserver).
fn refuses_stream(status: &Status) -> bool {
    let words = ["sendInitialEvents", "a watch stream was requested by the client"];
    matches!(status.code, 400 | 422) || words.iter().any(|words| status.message.contains(words))
}
