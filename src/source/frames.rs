//! Cutting the frames of a watch out of its byte stream.

use bytes::{Bytes, BytesMut};

use super::decode::DecodeError;

/// The largest frame that is taken, in bytes. etcd refuses requests above 1.5 MiB and EndpointSlices above 1000
/// endpoints do not exist, so that nothing the API server sends comes near.
pub(super) const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The length before a frame of protobuf.
const LENGTH_BYTES: usize = 4;

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

    /// The next frame that stands after its length in four bytes, the most significant first (`lengthDelimitedFrame`
    /// in apimachinery's `util/framer`), or `None` while it is incomplete. Nothing is set aside for a length: only
    /// what has arrived takes memory.
    ///
    /// # Errors
    /// [`DecodeError::FrameTooLong`] when a frame says that it has more than [`FRAME_BYTES_MAX`] bytes.
    pub(super) fn take_counted(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let Some(length) = self.bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(DecodeError::FrameTooLong);
        }
        if self.bytes.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        let frame = self.bytes.split_to(LENGTH_BYTES + length).freeze();
        Ok(Some(frame.slice(LENGTH_BYTES..)))
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
    #[test]
    fn counted_frames_come_out_whole_wherever_the_network_cuts() {
        let stream = b"\0\0\0\x02ab\0\0\0\0\0\0\0\x03cde\0\0\0\x09f";
        for at in 0..=stream.len() {
            let mut buffer = FrameBuffer::default();
            let mut frames = Vec::new();
            for piece in [&stream[..at], &stream[at..]] {
                buffer.push(piece);
                while let Some(frame) = buffer.take_counted().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, [&b"ab"[..], b"", b"cde"], "cut at {at}");
        }
    }

    #[test]
    fn an_absurd_length_is_an_error_before_anything_follows() {
        for length in [[0xff; 4], [1, 0, 0, 1]] {
            let mut buffer = FrameBuffer::default();
            buffer.push(&length);
            assert!(matches!(buffer.take_counted(), Err(DecodeError::FrameTooLong)));
        }
        let mut buffer = FrameBuffer::default();
        buffer.push(&[1, 0, 0, 0]);
        assert!(matches!(buffer.take_counted(), Ok(None)));
        assert!(buffer.bytes.capacity() < 1024);
    }
}
