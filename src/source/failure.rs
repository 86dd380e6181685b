//! Why a list or a watch stopped.

use super::client::RequestError;
use super::decode::{DecodeError, Status};

/// Why a list or a watch stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Request(#[from] RequestError),
    #[error("{0}")]
    Decode(#[from] DecodeError),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the watch ended at once")]
    TooShort,
    /// Nobody takes the events any more.
    #[error("the receiver is gone")]
    Closed,
}

impl Failure {
    pub(super) fn status(&self) -> Option<&Status> {
        match self {
            Self::Request(RequestError::Status(status)) => Some(status),
            _ => None,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.status().is_some_and(Status::is_gone)
    }

    /// Whether the resource version itself may be what is wrong.
    pub(super) fn casts_doubt(&self) -> bool {
        match self {
            Self::Decode(_) => true,
            _ => self.status().is_some_and(|status| !matches!(status.code, 401 | 403 | 429)),
        }
    }

    /// Whether a client built anew may fare better: certificates and tokens may have been replaced.
    pub(super) fn wants_new_client(&self) -> bool {
        match self {
            Self::Request(RequestError::Connection(_)) => true,
            _ => self.status().is_some_and(|status| status.code == 401),
        }
    }
}
