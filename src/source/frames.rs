//! Cutting the frames of a watch out of its byte stream.

use bytes::{Bytes, BytesMut};

use super::decode::DecodeError;

/// The largest frame that is taken, in bytes. etcd refuses requests above 1.5 MiB and EndpointSlices above 1000
/// endpoints do not exist, so that nothing the API server sends comes near.
pub(super) const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of a watch that are not yet cut into frames.
#[derive(Debug, Default)]
pub(super) struct FrameBuffer {
    bytes: BytesMut,
    /// How far the bytes are known to hold no delimiter, so that a frame that comes in many pieces is searched once.
    searched: usize,
}

impl FrameBuffer {
    /// Appends what the network gave.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line without its line feed, or `None` while it is incomplete. Blank lines are passed over.
    ///
    /// # Errors
    /// [`DecodeError::FrameTooLong`] when more than [`FRAME_BYTES_MAX`] bytes hold no end.
    pub(super) fn take_line(&mut self) -> Result<Option<Bytes>, DecodeError> {
        loop {
            let Some(at) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.bytes.len();
                return if self.searched > FRAME_BYTES_MAX { Err(DecodeError::FrameTooLong) } else { Ok(None) };
            };
            let line = self.bytes.split_to(self.searched + at + 1).freeze();
            self.searched = 0;
            if line.len() > FRAME_BYTES_MAX {
                return Err(DecodeError::FrameTooLong);
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line.slice(..line.len() - 1)));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_wherever_the_network_cuts() {
        let stream = b"{\"a\":1}\n\n{\"b\":\"\xc3\xa4\"}\r\n{\"c\"";
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut buffer = FrameBuffer::default();
                let mut lines = Vec::new();
                for piece in [&stream[..first], &stream[first..second], &stream[second..]] {
                    buffer.push(piece);
                    while let Some(line) = buffer.take_line().unwrap() {
                        lines.push(line);
                    }
                }
                assert_eq!(lines, [&b"{\"a\":1}"[..], &b"{\"b\":\"\xc3\xa4\"}\r"[..]], "{first} {second}");
            }
        }
    }

    #[test]
    fn a_frame_without_end_is_an_error() {
        let mut buffer = FrameBuffer::default();
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..16 {
            buffer.push(&piece);
            assert!(matches!(buffer.take_line(), Ok(None)));
        }
        buffer.push(b"x");
        assert!(matches!(buffer.take_line(), Err(DecodeError::FrameTooLong)));
    }
}
