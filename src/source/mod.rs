//! Where the cluster's objects come from: the Kubernetes API, or a folder of manifests.
//!
//! A source turns what it reads into [`crate::model::Event`]s and knows nothing of who takes them. This is the only
//! part that uses kube.
//!
//! ```text
//!  client ──▶ list_watch ──▶ decode ──┬▶ protobuf ─────────┐
//!                                     └▶ json ─────┐       ├▶ meaning ──▶ model::Event
//!  manifests ──▶ manifest_file ────────────────────┴▶ lean ┘
//! ```
//!
//! What always holds here:
//! - A listing that breaks off begins again, and what is known stays known: an API server that is away, or refuses,
//!   changes nothing but [`Health`].
//! - Of a list in protobuf, never more is held than an object and a piece of the network's.
//! - An object that cannot be read is named, counted and left out; its neighbours are not disturbed.

mod abilities;
mod annotations;
mod backoff;
mod client;
mod complaint;
mod connector;
mod credentials;
mod decode;
mod failure;
mod frames;
mod health;
mod json;
mod lean;
mod ledger;
mod limits;
mod list_body;
mod list_watch;
mod listing;
mod manifest_file;
mod manifests;
mod meaning;
mod offline;
mod page;
mod progress;
mod protobuf;
mod requests;
mod start;
mod stream;
mod wire;

pub use credentials::{Renewal, files, identity};
pub use health::{Failing, Health, Listing, Status, Why};
pub use offline::{read_list, read_watch};
pub use requests::{Requests, ToHost};
pub use start::{Handle, StartError, Timing, start, start_with};
