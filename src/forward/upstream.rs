//! One upstream: the exchange with it, and whether it is up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsHandle as _, DnsRequestSender as _, FirstAnswer as _};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Message, Query};
use hickory_proto::rr::{Name, RecordType};

use super::counts::UpstreamCounts;
use super::sockets::Sockets;
use crate::config::Forward;

/// How long a health check waits (plugin/pkg/proxy/health.go, defaultTimeout).
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// The least time between checks, whatever is configured: a refusal comes back at once.
const CHECK_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// The largest answer that is taken over UDP, in octets: hickory reads no more of one. A client that takes more gets one
/// that is cut, and comes over TCP.
const PAYLOAD_OCTETS_MAX: u16 = 4096;

/// An upstream.
pub(super) struct Upstream {
    address: SocketAddr,
    /// Whether it is checked over TCP, as it is asked.
    over_tcp: bool,
    /// Health checks that failed in a row.
    fails: AtomicU32,
    /// A check goes on.
    checking: AtomicBool,
    counts: Arc<UpstreamCounts>,
}

impl Upstream {
    pub(super) fn new(address: SocketAddr, options: &Forward) -> Self {
        let (fails, checking) = (AtomicU32::new(0), AtomicBool::new(false));
        Self { address, over_tcp: options.force_tcp, fails, checking, counts: Arc::default() }
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is counted of it.
    pub(super) fn counts(&self) -> Arc<UpstreamCounts> {
        Arc::clone(&self.counts)
    }

    /// Whether more checks than `max_fails` failed in a row; with 0 it is never down.
    pub(super) fn is_down(&self, max_fails: u32) -> bool {
        max_fails > 0 && self.fails.load(Ordering::Relaxed) > max_fails
    }

    /// Asks once, on behalf of a client, and counts that. The response is as it came; its ID, source and question matched.
    pub(super) async fn exchange(&self, query: &Message, over_tcp: bool, timeout: Duration) -> Result<Vec<u8>, String> {
        let begun = Instant::now();
        if let Some(exchanges) = self.counts.exchanges.get(usize::from(over_tcp)) {
            exchanges.add();
        }
        let response = self.ask(query, over_tcp, timeout).await?;
        self.counts.took(u16::from(response.metadata.response_code)).took(begun.elapsed());
        Ok(response.into_buffer())
    }

    async fn ask(&self, query: &Message, over_tcp: bool, timeout: Duration) -> Result<DnsResponse, String> {
        let mut query = query.clone();
        query.metadata.id = rand::random();
        if let Some(edns) = query.edns.as_mut().filter(|edns| !over_tcp && edns.max_payload() > PAYLOAD_OCTETS_MAX) {
            edns.set_max_payload(PAYLOAD_OCTETS_MAX);
        }
        let request = DnsRequest::new(query, DnsRequestOptions::default());
        // It owns the task that carries a TCP exchange, and must outlive it.
        let provider = Sockets::default();
        let exchange = async {
            if over_tcp {
                let exchange = TcpClientStream::exchange(self.address, None, timeout, None, provider.clone()).await?;
                exchange.send(request).first_answer().await
            } else {
                let builder = UdpClientStream::builder(self.address, provider.clone()).with_timeout(Some(timeout));
                builder.with_max_retries(0).build().send_message(request).first_answer().await
            }
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(format!("{}: {error}", self.address)),
            Err(_) => Err(format!("{}: i/o timeout", self.address)),
        }
    }

    /// Begins to check whether it is up, unless that goes on already: until a check succeeds.
    pub(super) fn doubt(self: &Arc<Self>, options: &Forward) {
        if options.max_fails == 0 || self.checking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (upstream, interval) = (Arc::clone(self), options.health_check.max(CHECK_INTERVAL_MIN));
        tokio::spawn(async move {
            while !upstream.check().await {
                let fails = upstream.fails.load(Ordering::Relaxed).saturating_add(1);
                upstream.fails.store(fails, Ordering::Relaxed);
                upstream.counts.check_failures.add();
                tokio::time::sleep(interval).await;
            }
            upstream.fails.store(0, Ordering::Relaxed);
            upstream.checking.store(false, Ordering::Release);
        });
    }

    /// Asks for the root's name servers; any answer at all is a good one.
    async fn check(&self) -> bool {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(Name::root(), RecordType::NS));
        self.ask(&query, self.over_tcp, CHECK_TIMEOUT).await.is_ok()
    }
}
