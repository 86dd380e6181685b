//! What a process holds.

use std::time::Duration;

use super::support::held::descriptors;
use super::support::wait_for;

/// The file descriptors once they are at most so many, which connections that are being closed take a while for.
pub fn settled_descriptors(process: u32, most: usize, limit: Duration) -> usize {
    wait_for(&format!("at most {most} file descriptors"), limit, || match descriptors(process) {
        count if count <= most => Ok(count),
        count => Err(format!("{count}")),
    })
}
