//! From the bytes of a query to the bytes of its answer.
//!
//! ```text
//!  packet ──▶ query ──▶ responder ──▶ batch ──▶ prepared ──▶ service ──▶ zone::packed
//!            (parse)    (the block)      │      (by name)    (written from what is packed)
//!                                        └────▶ kubernetes ──▶ locate ──▶ zone::records
//!                                               (by type)     (by name; composed)
//!                             ├──────▶ ahead, acl, whoami (before the zones, and behind them)
//!                             ├──────▶ cached ──▶ cache (what others answered before)
//!                             └──────▶ message (write, cut) ──▶ response
//! ```
//!
//! Nothing here awaits, logs, or knows of sockets: [`Responder::respond`] is a function of the packet and of what the
//! views hold at that moment, and, for the order of records where `loadbalance` is set, of chance.

mod acl;
mod ahead;
mod alias;
mod autopath;
mod batch;
mod cache;
mod cached;
mod chance;
mod client;
mod complete;
pub mod edns;
mod elsewhere;
mod fall;
mod folded;
mod kubernetes;
mod locate;
mod message;
mod order;
mod prepared;
mod probes;
pub mod query;
mod rcode;
mod relay;
mod responder;
mod rotate;
mod routes;
mod service;
pub mod shard;
mod signing;
mod transfers;
mod whoami;
mod window;

pub use acl::{Acl, Action, Network, Policy, Rule, decide};
pub use ahead::{Ahead, Chaos, Local};
pub use autopath::{Autopath, Made, SearchPath, Walk};
pub use batch::{Batch, Read};
pub use cache::{
    Cache, CacheCounts, CacheOptions, CacheSide, Clock, Keeping, Prefetch, Refresh, ServeStale, Side as CacheStore,
};
pub use client::{Client, Transport};
pub use elsewhere::{Deferred, Lookup, LookupError};
pub use folded::Folded;
pub use order::{Order, Weights};
pub use probes::{Probe, Probes};
pub use rcode::Rcode;
pub use responder::{Answered, Block, By, Forwarded, Outcome, Responder};
pub use signing::{Required, Signing};
pub use transfers::Asked;
