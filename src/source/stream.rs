//! The frames of one watch, as they arrive.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame as Piece;
use kube::client::Body;
use tokio::time::Sleep;

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
    /// Wakes who waits for the next piece. It is set anew only when it rings: most pieces come long before.
    alarm: Pin<Box<Sleep>>,
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
        let alarm = Box::pin(tokio::time::sleep_until(now.into()));
        Self { kind, format, body, buffer: FrameBuffer::default(), begun: now, heard: now, alarm }
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
            match self.piece(until).await {
                None => return Ok(Heard::Nothing),
                Some(None) => return Ok(Heard::End(Failure::TooShort)),
                Some(Some(Err(error))) => return Ok(Heard::End(Failure::Broken(chain(&error)))),
                Some(Some(Ok(piece))) => {
                    self.heard = Instant::now();
                    if let Some(bytes) = piece.data_ref() {
                        self.buffer.push(bytes);
                    }
                }
            }
        }
    }

    /// The next piece, if one comes until `until`.
    async fn piece(&mut self, until: Instant) -> Option<Option<Result<Piece<Bytes>, kube::Error>>> {
        if self.alarm.deadline() > until.into() {
            self.alarm.as_mut().reset(until.into());
        }
        let Self { body, alarm, .. } = self;
        let mut piece = body.frame();
        poll_fn(|context| {
            if let Poll::Ready(piece) = Pin::new(&mut piece).poll(context) {
                return Poll::Ready(Some(piece));
            }
            while alarm.as_mut().poll(context).is_ready() {
                if Instant::now() >= until {
                    return Poll::Ready(None);
                }
                alarm.as_mut().reset(until.into());
            }
            Poll::Pending
        })
        .await
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
