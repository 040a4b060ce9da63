//! The 5-byte-prefixed messages inside DATA frames.

use super::status::{Code, Outcome, Status};
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use prost::Message;

/// Compressed flag and big-endian length.
pub const FRAME_HEAD_BYTES: usize = 5;

/// As [`frame`], or grpc-go's refusal of an answer that is too long.
pub fn answer(message: &impl Message, bytes_max: usize) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    Ok(framed(message, length, head(length, bytes_max)?))
}

/// The prefix of an answer of that length, or grpc-go's refusal of one that is too long. A client
/// decides how long it gets: a transaction may read everything many times. What it asked for was
/// done all the same.
pub fn head(length: usize, bytes_max: usize) -> Result<[u8; FRAME_HEAD_BYTES], Status> {
    if length > bytes_max {
        let text =
            format!("grpc: trying to send message larger than max ({length} vs. {bytes_max})");
        return Err(Status::new(Code::ResourceExhausted, text).outcome(Outcome::Unknown));
    }
    Ok(prefix(length))
}

fn prefix(length: usize) -> [u8; FRAME_HEAD_BYTES] {
    // gRPC's length field is 32 bits.
    let length = u32::try_from(length).expect("answers are bounded by ANSWER_BYTES_MAX");
    let [a, b, c, d] = length.to_be_bytes();
    [0, a, b, c, d]
}

/// One message with its prefix, in one allocation.
pub fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    framed(message, length, prefix(length))
}

/// `length` is the message's own: to find it out takes a walk over all of it.
fn framed(message: &impl Message, length: usize, head: [u8; FRAME_HEAD_BYTES]) -> Bytes {
    let mut out = BytesMut::with_capacity(FRAME_HEAD_BYTES + length);
    out.put_slice(&head);
    message.encode(&mut out).expect("the buffer grows as needed");
    debug_assert_eq!(out.len(), FRAME_HEAD_BYTES + length);
    out.freeze()
}

/// Bytes of the whole frame that begins so; one that does not show it has no end.
pub(super) fn length(start: &[u8]) -> usize {
    match start {
        [_, a, b, c, d, ..] => FRAME_HEAD_BYTES + u32::from_be_bytes([*a, *b, *c, *d]) as usize,
        _ => usize::MAX,
    }
}

/// Reassembles messages from DATA frames; a message inside one frame is not copied.
pub(super) struct Assembler {
    buffer: BytesMut,
    whole: Bytes,
    message_bytes_max: usize,
    /// `grpc-encoding` of the call; empty: none.
    encoding: String,
}

impl Assembler {
    pub(super) fn new(message_bytes_max: usize) -> Self {
        let (buffer, whole) = (BytesMut::new(), Bytes::new());
        Self { buffer, whole, message_bytes_max, encoding: String::new() }
    }

    /// For a call with these headers.
    pub(super) fn for_call(headers: &HeaderMap, message_bytes_max: usize) -> Self {
        let encoding = headers.get("grpc-encoding").and_then(|value| value.to_str().ok());
        let encoding = encoding.unwrap_or_default().to_owned();
        Self { encoding, ..Self::new(message_bytes_max) }
    }

    pub(super) fn push(&mut self, data: Bytes) {
        if self.buffer.is_empty() && self.whole.is_empty() {
            self.whole = data;
            return;
        }
        self.settle();
        self.buffer.extend_from_slice(&data);
    }

    /// Keeps what is not whole in memory of its own: a byte may lie in a buffer of thousands.
    pub(super) fn settle(&mut self) {
        if !self.whole.is_empty() {
            self.buffer.extend_from_slice(&self.whole);
            self.whole = Bytes::new();
        }
    }

    /// Length of the next message when all of it is here; refuses what may never be buffered.
    pub(super) fn peek(&self) -> Result<Option<usize>, Status> {
        let have: &[u8] = if self.whole.is_empty() { &self.buffer } else { &self.whole };
        let Some((head, rest)) = have.split_first_chunk::<FRAME_HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if head[0] != 0 {
            return Err(self.unreadable(head[0]));
        }
        if length > self.message_bytes_max {
            let max = self.message_bytes_max;
            let text = format!("grpc: received message larger than max ({length} vs. {max})");
            return Err(Status::new(Code::ResourceExhausted, text));
        }
        Ok((rest.len() >= length).then_some(length))
    }

    /// grpc-go's refusals of a payload that is not plain, as the real etcd gave them.
    fn unreadable(&self, format: u8) -> Status {
        let encoding = &self.encoding;
        if format > 1 {
            let text = format!("grpc: received unexpected payload format {format}");
            return Status::new(Code::Internal, text);
        }
        if encoding.is_empty() || encoding == "identity" {
            let text = "grpc: compressed flag set with identity or empty encoding";
            return Status::new(Code::Internal, text);
        }
        let text = format!("grpc: Decompressor is not installed for grpc-encoding {encoding:?}");
        Status::new(Code::Unimplemented, text)
    }

    /// The next complete message. `Ok(None)` needs more data.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(length) = self.peek()? else { return Ok(None) };
        let mut message = if self.whole.is_empty() {
            self.buffer.split_to(FRAME_HEAD_BYTES + length).freeze()
        } else {
            self.whole.split_to(FRAME_HEAD_BYTES + length)
        };
        Ok(Some(message.split_off(FRAME_HEAD_BYTES)))
    }

    /// True when a message has begun with its whole head.
    pub(super) fn has_head(&self) -> bool {
        self.len() >= FRAME_HEAD_BYTES
    }

    /// Bytes that are held.
    pub(super) fn len(&self) -> usize {
        self.buffer.len().max(self.whole.len())
    }

    /// True when no byte of an unfinished message is held.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two fields, as messages are.
    #[derive(Clone, PartialEq, Message)]
    struct CompactionRequest {
        #[prost(int64, tag = "1")]
        revision: i64,
        #[prost(bool, tag = "2")]
        physical: bool,
    }

    #[test]
    fn messages_survive_any_split_into_data_frames() {
        let one = frame(&CompactionRequest { revision: 77, physical: true });
        let two = frame(&CompactionRequest { revision: 1 << 40, physical: false });
        let all: Vec<u8> = [&one[..], &two[..]].concat();
        for cut in 0..=all.len() {
            let mut assembler = Assembler::new(100);
            let mut got = Vec::new();
            for part in [&all[..cut], &all[cut..]] {
                assembler.push(Bytes::copy_from_slice(part));
                while let Some(message) = assembler.next().unwrap() {
                    got.push(CompactionRequest::decode(message).unwrap().revision);
                }
            }
            assert_eq!(got, [77, 1 << 40], "cut at {cut}");
            assert!(assembler.is_empty());
        }
    }

    #[test]
    fn the_begin_of_a_message_keeps_no_more_memory_than_it_has_bytes() {
        let read = Bytes::from(vec![0, 0, 0, 0, 9, 1, 2]);
        let mut assembler = Assembler::new(100);
        assembler.push(read.slice(..6));
        assembler.settle();
        assert!(read.is_unique() && assembler.len() == 6);
        assembler.push(Bytes::from_static(&[7; 8]));
        assert_eq!(assembler.next().unwrap().unwrap(), [&[1][..], &[7; 8]].concat());
    }

    #[test]
    fn an_oversized_or_compressed_message_is_refused_before_it_is_buffered() {
        let mut assembler = Assembler::new(100);
        assembler.push(Bytes::from_static(&[0, 0, 0, 0, 101]));
        let status = assembler.next().unwrap_err();
        assert_eq!(status.code, 8);
        assert_eq!(status.text, "grpc: received message larger than max (101 vs. 100)");
        let mut assembler = Assembler::new(100);
        assembler.push(Bytes::from_static(&[1, 0, 0, 0, 1]));
        let plain = assembler.next().unwrap_err();
        assert_eq!(plain.code, 13, "no encoding was named: {}", plain.text);
        let mut headers = HeaderMap::new();
        headers.insert("grpc-encoding", "gzip".parse().unwrap());
        let mut assembler = Assembler::for_call(&headers, 100);
        assembler.push(Bytes::from_static(&[1, 0, 0, 0, 1]));
        let status = assembler.next().unwrap_err();
        assert_eq!(status.code, 12);
        assert!(status.text.ends_with("grpc-encoding \"gzip\""), "{}", status.text);
    }

    #[test]
    fn an_answer_that_is_too_long_is_refused_and_says_nothing_of_what_was_asked_for() {
        let message = CompactionRequest { revision: 77, physical: true };
        assert_eq!(answer(&message, 4).expect("four bytes"), frame(&message));
        let status = answer(&message, 3).unwrap_err();
        assert_eq!((status.code, status.outcome), (8, Some(Outcome::Unknown)));
        assert_eq!(status.text, "grpc: trying to send message larger than max (4 vs. 3)");
    }
}
