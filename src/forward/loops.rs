//! Looking for forwarding loops (`loop`): an upstream is asked for a name that nobody else knows. If a query for that name
//! comes in, then what the upstream is asked comes back.
//!
//! CoreDNS asks itself, once, counts how often the query comes by, and ends its process at the third time (plugin/loop).
//! Asking each upstream says which of them it is, and also finds a loop that only every other query takes; and a server
//! that goes on can tell when it has ended. Until then that upstream is asked nothing else: each query would come back as
//! often as there is time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::forwarder::Forwarder;
use super::hosts::query;
use super::reply::Question;
use super::upstream::Upstream;
use crate::answer::Probes;
use crate::answer::query::rtype;

/// How long an upstream may take over a name that is to be found again, in a loop of others even.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long `ready` waits for what the first of them says.
const AWAITED: Duration = Duration::from_secs(3);
/// How soon an upstream that did not answer is asked again, and how often, as in CoreDNS (plugin/loop/setup.go).
const SILENT_PAUSE: Duration = Duration::from_secs(1);
const SILENT_MAX: u32 = 30;
/// How often it is looked whether a loop has ended.
const LOOPING_PAUSE: Duration = Duration::from_secs(5);
/// How often it is looked whether there is one now. CoreDNS looks at its start only.
const SOUND_PAUSE: Duration = Duration::from_secs(60);
/// Octets of a name in a message, at most (RFC 1035 section 2.3.4).
const NAME_OCTETS_MAX: usize = 255;

/// The looking for loops through the upstreams of a `forward` directive; it ends with this.
pub struct LoopWatch(Vec<AbortHandle>);

impl Drop for LoopWatch {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Forwarder {
    /// Begins to look for loops of names below a zone (lower case, trailing dot). Those that come back are found by the
    /// block's `probes`. What is known of loops from before is kept until it is known anew.
    pub fn watch_loops(self: &Arc<Self>, zone: &str, probes: &Arc<Probes>) -> LoopWatch {
        let watch = |upstream: &Arc<Upstream>| {
            upstream.counts().await_probe();
            let search = Search {
                forwarder: Arc::clone(self),
                upstream: Arc::clone(upstream),
                zone: zone.to_owned(),
                probes: Arc::clone(probes),
            };
            tokio::spawn(search.run()).abort_handle()
        };
        LoopWatch(self.upstreams().iter().map(watch).collect())
    }

    /// Takes all upstreams for sound: nobody looks.
    pub fn forget_loops(&self) {
        for upstream in self.upstreams() {
            upstream.counts().probed();
            upstream.counts().set_looping(false);
        }
    }
}

/// Looks for a loop through one upstream.
struct Search {
    forwarder: Arc<Forwarder>,
    upstream: Arc<Upstream>,
    zone: String,
    probes: Arc<Probes>,
}

/// What became of a name that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It came back.
    Back,
    /// The upstream answered.
    Answered,
    /// It did not.
    Silent,
}

impl Search {
    async fn run(self) {
        let mut silent = 0;
        loop {
            let fate = {
                let mut probing = std::pin::pin!(self.probe());
                match timeout(AWAITED, probing.as_mut()).await {
                    Ok(fate) => fate,
                    Err(_) => {
                        self.upstream.counts().probed();
                        probing.await
                    }
                }
            };
            self.tell(fate == Fate::Back);
            self.upstream.counts().probed();
            silent = if fate == Fate::Silent { silent + 1 } else { 0 };
            sleep(match fate {
                Fate::Back => LOOPING_PAUSE,
                Fate::Silent if silent < SILENT_MAX => SILENT_PAUSE,
                Fate::Answered | Fate::Silent => SOUND_PAUSE,
            })
            .await;
        }
    }

    /// Asks for a name that is new each time.
    async fn probe(&self) -> Fate {
        let Some(query) = self.query() else { return Fate::Answered };
        let Some(question) = Question::of(&query, false) else { return Fate::Answered };
        let probe = self.probes.expect(query.get(12..question.name_end()).unwrap_or_default());
        let answer = self.upstream.exchange(question, self.forwarder.asks_over_tcp(), PATIENCE, PATIENCE).await;
        self.probes.forget(&probe);
        match answer {
            _ if probe.is_back() => Fate::Back,
            Ok(_) => Fate::Answered,
            Err(_) => Fate::Silent,
        }
    }

    /// A query for HINFO, as CoreDNS's; `None` where the zone's name leaves no room for one more label.
    fn query(&self) -> Option<Vec<u8>> {
        // 128 bits that nobody can guess.
        let name = format!("{:032x}.{}", rand::rng().random::<u128>(), self.zone);
        // As text a name has an octet less than in a message, with its final dot.
        if name.len() >= NAME_OCTETS_MAX {
            return None;
        }
        query(&name, rtype::HINFO)
    }

    fn tell(&self, is_looping: bool) {
        let (to, zone) = (self.upstream.address(), &self.zone);
        if self.upstream.counts().set_looping(is_looping) == is_looping {
            return;
        }
        if is_looping {
            let mend = mend(to);
            tracing::error!(
                target: "plugin/loop",
                "Loop ({to} -> here) detected for zone \"{zone}\": what {to} is asked comes back here. It is asked no \
                 more, and this server is not ready, until that ends. {mend}"
            );
        } else {
            tracing::info!(target: "plugin/loop", "The loop ({to} -> here) for zone \"{zone}\" has ended");
        }
    }
}

/// What ends a loop.
fn mend(to: SocketAddr) -> &'static str {
    if to.ip().to_canonical().is_loopback() {
        "That address is this host itself. If it is from /etc/resolv.conf (systemd-resolved writes 127.0.0.53 there), \
         have kubelet give pods the file that names the real servers (resolvConf: /run/systemd/resolve/resolv.conf), or \
         write their addresses behind forward"
    } else {
        "That server forwards these names to this one: have it ask another, or remove it behind forward"
    }
}
