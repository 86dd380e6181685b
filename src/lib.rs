//! podzone: a DNS server for Kubernetes.
//!
//! It watches Services and EndpointSlices, keeps the cluster's zone in memory, and answers so that every pod behind
//! a Service, of a Deployment as much as of a StatefulSet, has a name that equals its own FQDN.
//!
//! ```text
//!  Kubernetes API          source     model       zone          answer        net
//!  or manifest files  ──▶  watch  ──▶ cluster ──▶ records  ──▶  bytes in, ──▶ UDP, TCP
//!                          decode     joins       encoded       bytes out
//! ```
//!
//! Data flows from left to right and never back. Everything left of `zone` runs at the pace of the cluster's
//! changes, everything right of it at the pace of queries. A Corefile (`corefile`, `config`) says what is served;
//! `cli` puts the parts together. What others know better, `answer` says so, `net` lets the query wait, and `forward`
//! asks them; `answer` keeps what they said for a while. `transfer` gives whole zones, and what changes in them, to
//! secondaries; `tsig` signs what two servers tell each other. `snapshot` keeps a cluster on disk, for a start without its API. `telemetry` logs and counts what was answered; `admin` tells of that, and of the state of all, over HTTP.
//!
//! What always holds, each kept where it is named:
//! 1. Answering never awaits and never logs above trace (`answer`). What is prepared is answered without an allocation
//!    or a lock, and never waits for who publishes or for what is composed (`answer::Batch`, `net`). What is kept of
//!    others' answers takes the lock of a shard, if nobody writes there.
//! 2. Records are born in one place, `zone::schema`; every other part consumes its deltas.
//! 3. A name is never advertised before it resolves: a Service's targets and their addresses change in one step.
//! 4. Not synced is never "no such name": until its first full listing, a zone's negative answers are SERVFAIL.
//! 5. A relist never empties the zone: it is a mark-and-sweep against the live objects (`model::Cluster`).
//! 6. A bad object, query, connection or Corefile never ends the process nor disturbs its neighbours.
//! 7. The same query gets the same answer over UDP and TCP, truncation aside, prepared or composed.
//! 8. Code that the compiler cannot check stands in one file, `net/mmsg.rs`.

pub mod admin;
pub mod answer;
pub mod cli;
pub mod config;
pub mod corefile;
pub mod forward;
pub mod histogram;
pub mod model;
pub mod net;
pub mod panics;
pub mod snapshot;
pub mod source;
pub mod telemetry;
pub mod transfer;
pub mod tsig;
pub mod zone;
