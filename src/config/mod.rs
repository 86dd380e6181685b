//! The checked configuration: what a Corefile means.
//!
//! `corefile` turns text into a tree with places; this module turns the tree into values, one file per directive,
//! and refuses what it cannot mean with the place and the mend. It knows names and options, and nothing of how
//! they are served.

mod acl;
mod admin_address;
mod admin_overlaps;
mod api_limits;
mod autopath;
mod bind;
mod bufsize;
mod cache;
mod cancel;
mod chaos;
mod check;
mod duration;
mod error;
mod errors;
mod forward;
mod forward_tls;
mod forward_to;
mod health;
mod instead;
mod known;
mod kubernetes;
mod load;
mod loadbalance;
mod local;
mod log;
mod loops;
mod machine;
mod metadata;
mod multisocket;
mod nsid;
mod number;
mod outages;
mod plain;
mod pod_names;
mod prometheus;
mod rcodes;
mod reader;
mod ready;
mod record_types;
mod recorded;
mod reload;
mod report;
mod timeouts;
mod transfer;
mod tsig;
mod usage;
mod version;
mod weights;
mod zone;

pub use admin_address::AdminAddress;
pub use api_limits::{ApiLimits, Qps};
pub use cache::{Cache, CacheSide, Prefetch, ServeStale};
pub use check::SERVED as DIRECTIVES;
pub use error::ConfigError;
pub use forward::{Forward, HealthCheck, Policy};
pub use forward_tls::{ClientCertificate, ForwardTls, certificates, private_key};
pub use forward_to::{ForwardHost, ForwardTo};
pub use load::{Loaded, STDIN, load, load_recorded, parse, parse_for, read_source};
pub use log::COMMON_FORMAT;
pub use machine::{Machine, ThisMachine};
pub use multisocket::SOCKETS_MAX;
pub use outages::MassRemoval;
pub use pod_names::PodNames;
pub use recorded::Fingerprint;
pub use version::Version;
pub use weights::{WeightTable, parse_weights};
pub use zone::syntax_warning;

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use crate::model::Selector;

/// A whole Corefile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Its server blocks, in the file's order.
    pub blocks: Vec<ServerBlock>,
}

impl Config {
    /// How often files are looked at: as the last block says that says it, as in CoreDNS; `None` if none does.
    pub fn reload(&self) -> Option<Reload> {
        self.blocks.iter().rev().find_map(|block| block.reload)
    }
}

/// One server block: the zones that it serves, where, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerBlock {
    /// Its keys: a zone and a port each. CIDR keys are already expanded to reverse zones.
    pub keys: Vec<ZoneKey>,
    /// `multisocket`: how many UDP sockets its listeners have; `None` leaves that to the command line.
    pub multisocket: Option<Multisocket>,
    /// `bind`: the addresses to listen on; empty means all.
    pub bind: Vec<IpAddr>,
    /// `metadata`: what is known of queries beside their answers, for log lines.
    pub metadata: Option<Metadata>,
    /// `reload`: how often files are looked at.
    pub reload: Option<Reload>,
    /// `cancel`: how long a query may wait for other servers.
    pub cancel: Option<Duration>,
    /// `timeouts`: what TCP clients may take.
    pub timeouts: Timeouts,
    /// `nsid`: what the server is called, for clients that ask (RFC 5001).
    pub nsid: Option<String>,
    /// `debug`: debug lines are logged, of all blocks.
    pub debug: bool,
    /// `bufsize`: the largest EDNS payload size to honour, in bytes, 512 to 4096; `None` honours the client's.
    pub bufsize: Option<u16>,
    /// `ready`: tells whether everything has been listed.
    pub ready: Option<Ready>,
    /// `health`: tells that the process runs.
    pub health: Option<Health>,
    /// `prometheus`: queries of this block are counted, and the counts are told there.
    pub prometheus: Option<AdminAddress>,
    /// `errors`: failures are logged.
    pub errors: Option<Errors>,
    /// `log`: rules for query logging, in order; the first that matches a name decides.
    pub log: Vec<LogRule>,
    /// `local`: names of the host alone are answered here.
    pub local: Option<Local>,
    /// `any`: what asks for all records gets one that says why not (RFC 8482).
    pub any: bool,
    /// `chaos`: what the server says of itself.
    pub chaos: Option<Chaos>,
    /// `acl`: what becomes of queries by who asks for what, in order.
    pub acl: Vec<AclRule>,
    /// `cache`: what others answer is kept for a while.
    pub cache: Option<Cache>,
    /// `minimal`: additional records are left out.
    pub minimal: bool,
    /// `whoami`: clients are told their own addresses, where nobody else has an answer.
    pub whoami: bool,
    /// `loadbalance`: addresses and mail exchangers change their order from answer to answer.
    pub loadbalance: Option<LoadBalance>,
    /// `tsig`: keys, and which queries must be signed.
    pub tsig: Option<Tsig>,
    /// `autopath`: search paths that are gone through here.
    pub autopath: Option<Autopath>,
    /// `transfer`: who may have which zones.
    pub transfers: Vec<Transfer>,
    /// `kubernetes`: the view that this block answers from.
    pub kubernetes: Option<Kubernetes>,
    /// `loop`: whether what is forwarded comes back is looked for.
    pub finds_loops: bool,
    /// `forward`: who is asked about all else, in order; the first that is about a name is asked.
    pub forwards: Vec<Forward>,
}

/// A `timeouts` directive; what is `None` is as without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// `read`: how long a connection's first query may take, 1 s to 24 h.
    pub read: Option<Duration>,
    /// `write`: how long a client may take to accept an answer, 1 s to 24 h.
    pub write: Option<Duration>,
    /// `idle`: how long a connection may be idle, 1 s to 24 h.
    pub idle: Option<Duration>,
    /// `maxtcpqueries`: queries of a connection, after which it is closed.
    pub max_tcp_queries: Option<MaxTcpQueries>,
}

/// How many queries a connection may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxTcpQueries {
    /// `-1`
    Unlimited,
    /// At least 1.
    Number(u64),
}

/// Which order addresses have (`loadbalance`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadBalance {
    /// `weighted`: one comes first, by its weight; `None` is any order.
    pub weights: Option<WeightFile>,
    /// `prefer`: those in these subnets come first, in the subnets' order. Not beside weights.
    pub prefer: Vec<(IpAddr, u8)>,
}

/// A file of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightFile {
    /// Where.
    pub path: PathBuf,
    /// How often it is looked at; zero is never again.
    pub reload: Duration,
}

/// Of which queries something is known beside their answers (`metadata`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Those for names in these zones.
    pub zones: Vec<String>,
}

/// How often it is looked whether the Corefile, or a file that it names, has changed (`reload`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// This long after the last time, at least 2 s.
    pub interval: Duration,
    /// Up to half of this more or less, so that not all servers do it at once; at most half the interval.
    pub jitter: Duration,
}

/// An `errors` directive.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Errors {
    /// `consolidate`, in order; the first whose pattern a failure has decides.
    pub consolidate: Vec<Consolidate>,
}

/// Failures that are logged together.
#[derive(Clone, Debug)]
pub struct Consolidate {
    /// For how long they are gathered.
    pub period: Duration,
    /// What they have in them.
    pub pattern: Regex,
    /// How they are logged.
    pub level: LogLevel,
    /// `show_first`: the first of them is logged at once.
    pub show_first: bool,
}

impl PartialEq for Consolidate {
    fn eq(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.period, it.pattern.as_str().to_owned(), it.level, it.show_first);
        of(self) == of(other)
    }
}

impl Eq for Consolidate {}

impl Consolidate {
    /// The period as CoreDNS writes it.
    pub fn period_text(&self) -> String {
        duration::text(self.period)
    }
}

/// The level of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// `error`
    Error,
    /// `warning`
    Warning,
    /// `info`
    Info,
    /// `debug`
    Debug,
}

/// A `local` directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// `localhost_prefix on|off`: whether names that begin with `localhost.` are the host's. Default on.
    pub prefix: bool,
}

/// A `chaos` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// The host's name, at most 255 octets.
    pub host: String,
    /// The version, at most 255 octets; `None` is podzone's own.
    pub version: Option<String>,
    /// The authors, each at most 255 octets; empty is podzone's own.
    pub authors: Vec<String>,
}

/// An `acl` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclRule {
    /// The zones that it is about: lower case, trailing dot.
    pub zones: Vec<String>,
    /// Its lines; the first that fits decides.
    pub policies: Vec<AclPolicy>,
}

/// A line of an `acl` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclPolicy {
    /// What becomes of queries.
    pub action: AclAction,
    /// `type`; `None` is all.
    pub types: Option<Vec<u16>>,
    /// `net`: addresses, each with how many of its leading bits count; `None` is all.
    pub networks: Option<Vec<(IpAddr, u8)>>,
}

/// What becomes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclAction {
    /// `allow`
    Allow,
    /// `block`
    Block,
    /// `filter`
    Filter,
    /// `drop`
    Drop,
}

/// A `multisocket` directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multisocket {
    /// Without a number: one for each CPU that the process may use.
    OnePerCpu,
    /// So many, 1 to [`SOCKETS_MAX`].
    Number(u16),
}

/// An `autopath` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autopath {
    /// The zones that it is about: lower case, trailing dot.
    pub zones: Vec<String>,
    /// Whose search path is gone through.
    pub search: SearchPath,
}

/// A search path: names in lower case with trailing dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchPath {
    /// `@kubernetes`: that of the pod which asks.
    OfPods {
        /// What stands behind the cluster's names: the search path of this host.
        host: Vec<String>,
    },
    /// That of a file.
    These(Vec<String>),
}

/// A `transfer` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The zones that it is about: lower case, trailing dot.
    pub zones: Vec<String>,
    /// `to`: who may have them, and is told of changes.
    pub to: Vec<TransferTo>,
    /// `source`: the address that changes are told from.
    pub source: Option<IpAddr>,
    /// `notify_key`: the name of the key that this is signed with.
    pub notify_key: Option<String>,
}

/// Who may have a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferTo {
    /// `*`; nobody is told of changes for it.
    Everybody,
    /// An address.
    Address {
        /// The address.
        address: IpAddr,
        /// The interface behind a percent sign, for link-local addresses.
        interface: Option<String>,
        /// The port that changes are told to.
        port: u16,
    },
}

/// A `tsig` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tsig {
    /// The zones that it is about: lower case, trailing dot.
    pub zones: Vec<String>,
    /// `secret` and `secrets`: keys, which hold for all server blocks.
    pub keys: Vec<TsigKey>,
    /// `require`: types of query that must be signed.
    pub types: RequiredCodes,
    /// `require_opcode`: opcodes that must be signed.
    pub opcodes: RequiredCodes,
}

/// A key of `tsig`.
#[derive(Clone, PartialEq, Eq)]
pub struct TsigKey {
    /// Its name: lower case, trailing dot.
    pub name: String,
    /// What both sides know.
    pub secret: Vec<u8>,
    /// What is signed with where no query says.
    pub algorithm: TsigAlgorithm,
}

// A secret is nobody's to read.
impl std::fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TsigKey").field("name", &self.name).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// The algorithms of signatures that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TsigAlgorithm {
    /// HMAC-SHA-256: the default.
    #[default]
    Sha256,
    /// HMAC-SHA-384
    Sha384,
    /// HMAC-SHA-512
    Sha512,
}

/// Codes that `require` and `require_opcode` name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequiredCodes {
    /// All of them.
    All,
    /// These.
    These(Vec<u16>),
}

impl Default for RequiredCodes {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

/// A key of a server block.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ZoneKey {
    /// The zone: lower case, with the trailing dot; `.` is the root.
    pub zone: String,
    /// The port to serve it on.
    pub port: u16,
}

/// A `health` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Where it is told, default `:8080`.
    pub address: AdminAddress,
    /// `lameduck`: how long DNS is still served after the process was asked to end, default not at all.
    pub lameduck: Duration,
}

/// A `ready` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where it is told, default `:8181`.
    pub address: AdminAddress,
    /// `monitor`
    pub monitor: Monitor,
}

/// `monitor until-ready | continuously`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Monitor {
    /// What was ready once counts as ready from then on: the default.
    #[default]
    UntilReady,
    /// Looked at each time.
    Continuously,
}

/// A rule of the `log` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRule {
    /// Queries at or below this name (lower case, trailing dot) are logged.
    pub name: String,
    /// The line's format, with `{common}` and `{combined}` already expanded.
    pub format: String,
    /// The classes of answer that are logged.
    pub classes: LogClasses,
}

/// Classes of answers, as the `log` directive names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LogClasses {
    /// `all`
    pub all: bool,
    /// `success`: an answer with data, or a delegation.
    pub success: bool,
    /// `denial`: NXDOMAIN and NODATA.
    pub denial: bool,
    /// `error`: everything else.
    pub error: bool,
}

/// A `kubernetes` directive: one view of one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Kubernetes {
    /// The zones that the view is authoritative for: lower case, trailing dot, at least one not reverse.
    pub zones: Vec<String>,
    /// `multicluster`: those of the zones whose names are of ServiceImports.
    pub multicluster: Vec<String>,
    /// Where the cluster's objects come from.
    pub source: Source,
    /// `apiserver_qps`, `apiserver_burst`, `apiserver_max_inflight`
    pub api_limits: ApiLimits,
    /// `namespaces`: only these are exposed; empty means all.
    pub namespaces: Vec<String>,
    /// `namespace_labels`: only Namespaces that it selects are exposed.
    pub namespace_labels: Option<Selector>,
    /// `labels`: only Services, ServiceImports, EndpointSlices and Pods that it selects are seen.
    pub labels: Option<Selector>,
    /// `pods`
    pub pods: PodMode,
    /// `endpoint_pod_names`: how endpoints without a hostname are named. The first line that is about a Service counts;
    /// where none is, they are named after their address.
    pub endpoint_pod_names: Vec<PodNames>,
    /// `noendpoints`: no EndpointSlice is seen.
    pub no_endpoints: bool,
    /// `portless_srv`: endpoints of headless Services without ports are SRV targets, with port 0.
    pub portless_srv: bool,
    /// `srv_limit`: how many SRV targets an answer has at most.
    pub srv_limit: Option<NonZeroU16>,
    /// `ptr canonical`: an address points back to one name, and not to one in each Service; default `ptr all`.
    pub canonical_ptr: bool,
    /// `publish_not_ready names`: endpoints that are not ready have names, which no set has.
    pub publish_not_ready: bool,
    /// `drain`: endpoints that are terminating and serve still keep their names.
    pub drain: bool,
    /// `ignore empty_service`: Services with cluster IPs that have no ready endpoints do not exist.
    pub ignore_empty_service: bool,
    /// `zonal`: headless Services have names for the endpoints of each topology zone.
    pub zonal: bool,
    /// `ttl`, in seconds, 0 to 3600, default 5.
    pub ttl_secs: u32,
    /// `negative_ttl`: how long a denial may be kept, in seconds, 0 to 3600; `None` is as long as `ttl`.
    pub negative_ttl_secs: Option<u32>,
    /// `fallthrough`: names at or below these zones that the view does not have are passed on.
    pub fallthrough: Vec<String>,
    /// `startup_timeout`: how long the sockets wait for the first listing, default 5 s.
    pub startup_timeout: Duration,
    /// `listen_when_synced`: they wait for it however long it takes.
    pub listen_when_synced: bool,
    /// `snapshot`: where what is known of the cluster is kept on disk.
    pub snapshot: Option<PathBuf>,
    /// `hold_mass_removal`: which listings are not believed at once in what they leave out.
    pub mass_removal: Option<MassRemoval>,
}

/// Where a cluster's objects come from. Views with equal sources and limits share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The service account of the pod that podzone runs in.
    InCluster,
    /// `kubeconfig FILE [CONTEXT]`
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context; `None` is the file's current one.
        context: Option<String>,
    },
    /// `endpoint URL`, with `tls CERT KEY CACERT` or without.
    Endpoint {
        /// The API server's URL.
        url: String,
        /// Client certificate, key and CA, all PEM files.
        tls: Option<TlsFiles>,
    },
    /// `manifests DIR`: a folder of YAML and JSON files.
    Manifests(PathBuf),
}

/// The files of `tls CERT KEY CACERT`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsFiles {
    /// The client's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The certificate authority of the API server.
    pub ca: PathBuf,
}

/// `pods disabled | insecure | verified`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PodMode {
    /// No names below `pod.`: the default.
    #[default]
    Disabled,
    /// Any dashed address below a namespace that exists resolves to that address.
    Insecure,
    /// Only addresses that a pod of the namespace has.
    Verified,
}
