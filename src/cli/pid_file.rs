//! The pid file: there while the server runs.

use std::path::{Path, PathBuf};

/// A pid file that is removed when this is dropped.
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes the process's number. A file that cannot be written is no reason not to serve, in CoreDNS neither.
    pub(super) fn write(path: &Path) -> Option<Self> {
        match std::fs::write(path, format!("{}\n", std::process::id())) {
            Ok(()) => Some(Self(path.to_owned())),
            Err(error) => {
                tracing::error!("Could not write pidfile {}: {error}", path.display());
                None
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!("Could not remove pidfile {}: {error}", self.0.display());
        }
    }
}
