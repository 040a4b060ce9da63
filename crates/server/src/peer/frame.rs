//! One frame: `len u32 | crc32c u32 | version u8 | kind u8 | payload`, little endian.
//!
//! `len` counts version, kind and payload; the checksum covers the same bytes.

use base::limits::FRAME_BYTES_MAX;
use bytes::{Buf, Bytes, BytesMut};
use crc32c::crc32c;

/// Version of the framing and of every payload in it.
pub const VERSION: u8 = 1;
const HEADER: usize = 8;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// First frame of the dialer.
    Hello = 1,
    /// The acceptor's own hello: the handshake succeeded.
    Welcome = 2,
    /// UTF-8 reason; the connection closes after it.
    Refuse = 3,
    /// A `replica::PeerMessage`.
    Message = 4,
    /// Starts a checkpoint: its size in bytes as u64.
    BulkBegin = 5,
    /// Consecutive bytes of the checkpoint file.
    BulkChunk = 6,
    /// All chunks were sent.
    BulkEnd = 7,
    /// The receiver's verdict: one byte, 1 when installed, then a UTF-8 reason.
    BulkDone = 8,
    /// A newcomer asks who it is.
    Ask = 9,
    /// What a newcomer begins its life with, or why not.
    Answer = 10,
    /// UTF-8 text: the dialer has left the cluster for good.
    Gone = 11,
    /// UTF-8 text: the dialer's data directory is older than one it was met with.
    PutBack = 12,
    /// Nothing to say: answer.
    Ping = 13,
    /// Bytes have come. The only thing that ever comes back on a stream.
    Pong = 14,
    /// Revisions of which the dialer has lost values.
    MendAsk = 15,
    /// What the acceptor retains of them.
    MendAnswer = 16,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Refuse,
            4 => Self::Message,
            5 => Self::BulkBegin,
            6 => Self::BulkChunk,
            7 => Self::BulkEnd,
            8 => Self::BulkDone,
            9 => Self::Ask,
            10 => Self::Answer,
            11 => Self::Gone,
            12 => Self::PutBack,
            13 => Self::Ping,
            14 => Self::Pong,
            15 => Self::MendAsk,
            16 => Self::MendAnswer,
            _ => return None,
        })
    }
}

/// Why the bytes of a connection make no sense; the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("frame of {0} bytes is outside 2..={1}")]
    Length(usize, usize),
    #[error("frame checksum does not match")]
    Checksum,
    #[error("frame version {0} is unknown to this build (it speaks {VERSION})")]
    Version(u8),
    #[error("frame kind {0} is unknown to this build")]
    Kind(u8),
}

/// Appends one frame whose payload `write` produces.
pub fn encode(kind: Kind, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    out.push(VERSION);
    out.push(kind as u8);
    write(out);
    let len = out.len() - start - HEADER;
    assert!(len <= FRAME_BYTES_MAX, "messages are bounded far below a frame's limit");
    let crc = crc32c(&out[start + HEADER..]);
    out[start..start + 4].copy_from_slice(&(len as u32).to_le_bytes());
    out[start + 4..start + HEADER].copy_from_slice(&crc.to_le_bytes());
}

/// Takes one whole frame of at most `len_max` off the front, or says that more bytes are needed.
///
/// # Errors
/// Any [`FrameError`]; the buffer is then of no further use.
pub fn decode(buffer: &mut BytesMut, len_max: usize) -> Result<Option<(Kind, Bytes)>, FrameError> {
    if buffer.len() < HEADER {
        return Ok(None);
    }
    let word = |at: usize| {
        u32::from_le_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]])
    };
    let (len, crc) = (word(0) as usize, word(4));
    if !(2..=len_max).contains(&len) {
        return Err(FrameError::Length(len, len_max));
    }
    if buffer.len() < HEADER + len {
        buffer.reserve(HEADER + len - buffer.len());
        return Ok(None);
    }
    buffer.advance(HEADER);
    let mut body = buffer.split_to(len).freeze();
    if crc32c(&body) != crc {
        return Err(FrameError::Checksum);
    }
    let (version, kind) = (body[0], body[1]);
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    body.advance(2);
    Ok(Some((Kind::from_byte(kind).ok_or(FrameError::Kind(kind))?, body)))
}

/// Blocking twin of [`decode`] for the bulk threads.
///
/// # Errors
/// Those of the stream, and `InvalidData` for a frame that makes no sense.
pub fn read_blocking(
    stream: &mut impl std::io::Read,
    buffer: &mut BytesMut,
) -> std::io::Result<(Kind, Bytes)> {
    let mut chunk = [0u8; 64 * 1024];
    loop {
        let frame = decode(buffer, FRAME_BYTES_MAX)
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
        if let Some(frame) = frame {
            return Ok(frame);
        }
        match stream.read(&mut chunk)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Vec<u8> {
        let mut out = Vec::new();
        encode(Kind::Message, &mut out, |out| out.extend_from_slice(b"hello"));
        out
    }

    #[test]
    fn a_frame_arrives_whole_whatever_the_cut() {
        let bytes = frame();
        for cut in 0..bytes.len() {
            let mut buffer = BytesMut::from(&bytes[..cut]);
            assert_eq!(decode(&mut buffer, FRAME_BYTES_MAX), Ok(None));
            buffer.extend_from_slice(&bytes[cut..]);
            let (kind, body) = decode(&mut buffer, FRAME_BYTES_MAX).expect("valid").expect("whole");
            assert_eq!((kind, &body[..]), (Kind::Message, &b"hello"[..]));
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn no_single_flipped_bit_is_accepted() {
        let bytes = frame();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut buffer = BytesMut::from(&damaged[..]);
            assert!(!matches!(decode(&mut buffer, FRAME_BYTES_MAX), Ok(Some(_))), "bit {bit}");
        }
    }

    #[test]
    fn an_absurd_length_is_refused_before_it_is_believed() {
        let mut buffer = BytesMut::from(&[0xFFu8; 16][..]);
        assert!(matches!(decode(&mut buffer, FRAME_BYTES_MAX), Err(FrameError::Length(..))));
    }
}
