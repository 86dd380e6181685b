//! The frames of one watch, as they arrive.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use kube::client::Body;

use super::client::chain;
use super::decode::{DecodeError, Format, Frame};
use super::failure::Failure;
use super::frames::FrameBuffer;
use crate::model::Kind;

/// A watch that the API server has granted.
pub(super) struct Stream {
    kind: Kind,
    format: Format,
    body: Body,
    buffer: FrameBuffer,
    begun: Instant,
    heard: Instant,
}

/// What a watch gave.
pub(super) enum Heard {
    Frame(Frame),
    /// Nothing in time.
    Nothing,
    /// It is over: the API server ended it, or the connection broke. A frame that was cut off is not to be believed.
    End(Failure),
}

impl Stream {
    pub(super) fn new(kind: Kind, format: Format, body: Body) -> Self {
        let now = Instant::now();
        Self { kind, format, body, buffer: FrameBuffer::default(), begun: now, heard: now }
    }

    /// The next frame, waited for until `until`. What has arrived is given even if it is too late.
    ///
    /// # Errors
    /// [`DecodeError`] where there is no going on.
    pub(super) async fn next(&mut self, until: Instant) -> Result<Heard, DecodeError> {
        loop {
            if let Some(frame) = self.format.cut(&mut self.buffer)? {
                // Time in which nobody listened, because an earlier frame was being passed on, is no silence.
                self.heard = Instant::now();
                return Ok(Heard::Frame(self.format.frame(self.kind, frame)?));
            }
            match tokio::time::timeout_at(until.into(), self.body.frame()).await {
                Err(_) => return Ok(Heard::Nothing),
                Ok(None) => return Ok(Heard::End(Failure::TooShort)),
                Ok(Some(Err(error))) => return Ok(Heard::End(Failure::Broken(chain(&error)))),
                Ok(Some(Ok(piece))) => {
                    self.heard = Instant::now();
                    if let Some(bytes) = piece.data_ref() {
                        self.buffer.push(bytes);
                    }
                }
            }
        }
    }

    /// When it was last heard, or granted.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// Begins to count silence anew, after a while in which nobody listened.
    pub(super) fn listen_again(&mut self) {
        self.heard = Instant::now();
    }

    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }
}
