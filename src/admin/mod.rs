//! What is told beside DNS, over HTTP: whether the process lives, whether it is ready, and what it has counted.
//!
//! Paths, codes and bodies are those of CoreDNS's plugins health, ready and metrics. This reads from every other part
//! and changes nothing in any.

mod held;
mod listen;
mod metrics;
mod probe;
mod readiness;
mod server;
mod sources;

pub use held::Held;
pub use listen::{AdminListenError, listen};
pub use metrics::{Enabled, Metrics, ServedView, Told};
pub use probe::{HealthCounts, probe};
pub use readiness::{LOST_AFTER, Readiness, State};
pub use server::{Page, SharedPage, serve};
pub use sources::FollowedSource;
