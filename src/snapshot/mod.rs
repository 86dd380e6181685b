//! What is known of a cluster, on disk: so that a server that starts while the API server is away has something to say.
//!
//! ```text
//!  model::Cluster ──▶ record ──▶ write: a new file beside the old one, then in its place
//!  model::Cluster ◀── record ◀── read: all of it is looked at before any of it counts
//! ```
//!
//! A snapshot is `MAGIC`, the format's version (four octets, the highest first), records, and the SHA-256 of all before it.
//! Each record stands behind its length, in protobuf; the first is the [`Header`]. The others are objects and, where one
//! went while the snapshot was written, its key: who reads them in their order has the cluster as it was at the end.
//!
//! What always holds:
//! - A file that is damaged, cut short, of another version, or of another cluster is refused as a whole, with the reason.
//! - The old file is in its place until the new one is on the disk. A process that dies between leaves the old one.
//! - Neither side holds more than a record and a buffer.

mod header;
mod read;
mod record;
mod state;
mod walk;
mod write;

pub use header::{Header, Selection};
pub use read::{Refused, Snapshot};
pub use record::{Record, encode};
pub use state::{State, Taken, Written};
pub use walk::Walk;
pub use write::{Draft, WriteError, remove_drafts};

/// How a snapshot begins.
const MAGIC: &[u8] = b"podzone snapshot\n";

/// The version of the format: to be counted up whenever an older podzone would misread a record, or a newer one an old
/// record. `tests/snapshot.rs` notices when records change.
pub const VERSION: u32 = 1;

/// The octets of the checksum at the end.
const CHECKSUM_OCTETS: usize = 32;

/// No record is longer. A slice of 1,000 endpoints with names of 253 characters has a megabyte.
const RECORD_OCTETS_MAX: usize = 16 * 1024 * 1024;
