//! Zone transfers: what secondaries are told of a zone, whole (AXFR, RFC 5936) or as changes (IXFR, RFC 1995), and that
//! there is something to be told (NOTIFY, RFC 1996).
//!
//! ```text
//!  zone::Cut ──▶ Versions ──▶ Transfers::begin ──▶ Stream ──▶ messages, one after the other
//!             (the last cut,   (who asks for what)
//!              and a journal)
//!                  └──▶ notice: a NOTIFY's octets
//! ```
//!
//! Nothing here waits or knows of sockets; `net` sends what is made here. All speaks of the last cut: a transfer gives
//! that version, however much changes while it is under way.

mod counters;
mod message;
mod notice;
mod request;
mod stream;
mod versions;

pub use counters::{Counters, Outcome};
pub use notice::{Notice, Reply, Subject};
pub use request::{Allowed, Begun, Served, Stanza, Transfers};
pub use stream::{Kind, Stream, Summary};
pub use versions::{JOURNAL_RECORDS_MAX, Since, Versions};
