//! A server made from the library, filled by events that are made in its own process: podzone's hot path without an
//! API server, ready in a second. Its churn can be switched while it serves.

use crate::churn::Churn;
use crate::cluster::{Cluster, Shape};
use crate::events;
use podzone::answer::{Answered, Block, Lookup, LookupError, Responder, Transport};
use podzone::model::{EndpointNames, Event, Filter, PodNameForm, PodNames};
use podzone::net::{
    Elsewhere, Exchange, Observer, Service, Serving, SharedService, Sockets, TcpPlaces, TcpTimes, Transferring,
    WaitingRoom,
};
use podzone::telemetry::{Counters, QueryLog, Witness};
use podzone::transfer::{self, Allowed, Served, Stanza, Transfers, Versions};
use podzone::zone::{Name, Publisher, View, ViewOptions, unix_now};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::pin::Pin;
use std::sync::Arc;

/// Events after which the zone publishes, as in the server.
const EVENTS_PER_STEP: usize = 1024;
const ZONES: [&str; 3] = ["cluster.local", "in-addr.arpa", "ip6.arpa"];

/// What to serve.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Library {
    #[arg(long)]
    pub(crate) port: u16,
    /// Where the rate of slice updates is set. Without it nothing changes, and nothing but the zone is kept.
    #[arg(long)]
    pub(crate) control: Option<u16>,
    #[arg(long)]
    pub(crate) cluster_seed: u64,
    #[arg(long)]
    pub(crate) shape: Shape,
    #[arg(long)]
    pub(crate) bufsize: Option<u16>,
    /// Gives the zones to whoever asks, and keeps what that takes.
    #[arg(long)]
    pub(crate) transfer: bool,
    /// Counts and times all queries, as with `prometheus`.
    #[arg(long)]
    pub(crate) count: bool,
    /// Switches on all that podzone can do for names beyond CoreDNS.
    #[arg(long)]
    pub(crate) everything: bool,
}

/// Who counts all queries of the zones, and logs none.
pub(crate) fn counting() -> Witness {
    let zones: Vec<Name> = ZONES.iter().filter_map(|zone| Name::parse(zone)).collect();
    let counters = Counters::default().server("dns://:53".into(), [zones], Vec::new());
    let log = QueryLog { blocks: Arc::from([]), local: Ipv4Addr::LOCALHOST.into() };
    Witness { log, counters: Some(counters) }
}

/// Serves until the process is ended.
pub(crate) fn serve(library: &Library) {
    let versions = library.transfer.then(Arc::<Versions>::default);
    let (publisher, view) = publish_all(
        events::generated(library.shape, library.cluster_seed),
        versions.as_ref(),
        options(library.everything),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let _entered = runtime.enter();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, library.port));
    let control = library.control.map(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("the control's port"));
    let sockets = Sockets::open(address, 1, false).expect("sockets");
    let service = SharedService::new(Service {
        responder: responder_of(Arc::clone(&view), library.bufsize, library.transfer),
        observer: if library.count { Box::new(counting()) } else { Box::new(Nobody) },
        elsewhere: Arc::new(Nobody),
        waiting: WaitingRoom::new(runtime.handle().clone()),
        transferring: Transferring { transfers: transfers(view, versions), ..Transferring::default() },
        tcp: TcpTimes::default(),
    });
    let mut serving = Serving::default();
    serving.serve(address, sockets, service, TcpPlaces::default()).expect("a worker");
    match control {
        Some(control) => {
            let cluster = Cluster::generate(library.shape, library.cluster_seed);
            Churn::new(&cluster, publisher).run(&control);
        }
        None => loop {
            std::thread::park();
        },
    }
}

/// A view of the whole cluster, and its writer.
pub(crate) fn publish(cluster: &Cluster) -> (Publisher, Arc<View>) {
    publish_all(events::listing(cluster), None, options(false))
}

/// Transfers of all zones to everybody.
fn transfers(view: Arc<View>, versions: Option<Arc<Versions>>) -> Transfers {
    let Some(versions) = versions else { return Transfers::default() };
    let stanzas = vec![Stanza { zones: view.options().zones.clone(), allowed: Allowed::All }];
    let served = Served { view, versions, stanzas, counters: Arc::new(transfer::Counters::default()) };
    Transfers([(0, vec![served])].into())
}

/// The options of the view: those of CoreDNS's `endpoint_pod_names`, or everything.
fn options(everything: bool) -> ViewOptions {
    let zones: Vec<_> = ZONES.map(|zone| Name::parse(zone).expect("a name")).into();
    let nothing = ViewOptions::new(zones).expect("zones");
    if !everything {
        return ViewOptions { endpoint_pod_names: vec![PodNames::default()], ..nothing };
    }
    let names = PodNames { names: EndpointNames::Both, form: PodNameForm::Kubelet, ..PodNames::default() };
    ViewOptions {
        endpoint_pod_names: vec![names],
        negative_ttl_secs: Some(1),
        portless_srv: true,
        // Nothing is left out, so that the answers are as long.
        srv_limit: NonZeroU16::new(u16::MAX),
        canonical_ptr: true,
        publish_not_ready: true,
        drain: true,
        ..nothing
    }
}

fn publish_all(
    events: impl Iterator<Item = Event>,
    versions: Option<&Arc<Versions>>,
    options: ViewOptions,
) -> (Publisher, Arc<View>) {
    let view = Arc::new(View::new(options, unix_now()));
    let mut publisher = Publisher::new(vec![(Arc::clone(&view), Filter::default())], events::KINDS.into());
    if let Some(versions) = versions {
        let (versions, view) = (Arc::clone(versions), Arc::clone(&view));
        publisher.follow_cuts(0, Box::new(move |cut| versions.cut(view.options(), cut)));
    }
    for (index, event) in events.enumerate() {
        publisher.handle(event);
        if index % EVENTS_PER_STEP == 0 {
            publisher.publish();
        }
    }
    publisher.publish();
    (publisher, view)
}

/// The answers from a view.
pub(crate) fn responder(view: Arc<View>, bufsize: Option<u16>) -> Responder {
    responder_of(view, bufsize, false)
}

fn responder_of(view: Arc<View>, bufsize: Option<u16>, transfers: bool) -> Responder {
    let transfers = if transfers { view.options().zones.clone() } else { Vec::new() };
    let block = Arc::new(Block { view: Some(view), bufsize, transfers, handles: true, ..Block::default() });
    Responder::new(ZONES.map(|zone| (Name::parse(zone).expect("a name"), Arc::clone(&block))))
}

/// Hears nothing, and knows nothing.
struct Nobody;

impl Observer for Nobody {
    fn is_watching(&self) -> bool {
        false
    }

    fn answered(&self, _: &Exchange<'_>, _: &Answered<'_>) {}

    fn shed(&self) {}
}

impl Elsewhere for Nobody {
    fn ask(&self, _: Lookup, _: Transport) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, LookupError>> + Send + '_>> {
        Box::pin(async { Err(LookupError::servfail("nobody is asked")) })
    }
}
