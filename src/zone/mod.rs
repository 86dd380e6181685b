//! The Kubernetes DNS schema: from the cluster to owner names and their records, published in views.
//!
//! ```text
//!  model::Cluster ──▶ Publisher ──▶ schema ──▶ pack ──▶ Service ──▶ Snapshot ──▶ View (what is answered from)
//!                                  (where records       (packed)    (and pointers,
//!                                   are born)                        by address)
//!                                                          └──▶ Delta ──▶ whoever follows
//!                                                                  (of a publication, or of a cut: one a second)
//! ```

mod chunks;
pub mod conflicts;
pub mod contents;
pub mod cut;
pub mod delta;
mod endpoint_label;
pub mod faults;
pub mod name;
pub mod name_servers;
pub mod options;
mod pack;
pub mod packed;
mod pointers;
mod publish;
pub mod records;
mod rules;
mod schema;
mod serial;
pub mod service;
pub mod shards;
mod slice_part;
mod snapshot;
mod view;

pub use contents::{Changes, Contents, Difference, ZoneFilter};
pub use cut::{Cut, CutFollower};
pub use delta::{Data, Delta, Names, Record, Replaced};
pub use name::{Labels, Name};
pub use options::{Pods, ViewOptions};
pub use pointers::Pointed;
pub use publish::{Follower, Publisher, Wanted, selectors, unix_now};
pub use serial::next_serial;
pub use service::{Below, Service, Size};
pub use snapshot::Snapshot;
pub use view::{Current, View};
