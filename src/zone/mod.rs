//! The Kubernetes DNS schema: from the cluster to owner names and their records, published in views.
//!
//! ```text
//!  model::Cluster ──▶ Publisher ──▶ schema, pointers, name_servers ──▶ Delta ──▶ View (the index)
//!                                    (where records are born)            └─────▶ whoever follows
//! ```

pub mod delta;
pub mod faults;
pub mod name;
pub mod name_servers;
pub mod options;
mod pointers;
pub mod prepared;
mod publish;
pub mod records;
mod schema;
mod serial;
pub mod shards;
mod snapshot;

mod view;

pub use delta::{Data, Delta, Record, Replaced};
pub use name::{Labels, Name};
pub use options::{Pods, ViewOptions};
pub use publish::{Follower, Publisher, unix_now};
pub use snapshot::{Service, Snapshot};
pub use view::{Current, View};
