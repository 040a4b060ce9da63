//! gRPC's message frame: one flag byte, a big-endian length, the message.

use api::Message;
use bytes::{BufMut, Bytes, BytesMut};

use crate::Failure;

/// Bytes before the message.
pub const HEAD_BYTES: usize = 5;

/// Frames one message.
///
/// # Panics
/// For a message of 4 GiB or more, which the frame cannot express.
#[must_use]
pub fn encode(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = start(length);
    message.encode(&mut out).expect("the buffer grows");
    debug_assert_eq!(out.len(), HEAD_BYTES + length);
    out.freeze()
}

/// A buffer that holds the head of a frame whose message will have `length` bytes.
///
/// # Panics
/// For 4 GiB or more.
#[must_use]
pub fn start(length: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).expect("a message below 4 GiB"));
    out
}

/// Takes the first whole message out of `buffer`; `None` while more bytes are needed.
///
/// # Errors
/// A compressed frame: none was offered.
pub fn take(buffer: &mut BytesMut) -> Result<Option<Bytes>, Failure> {
    let Some((head, rest)) = buffer.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(None);
    };
    if head[0] != 0 {
        return Err(Failure::Broken("a compressed frame".to_owned()));
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if rest.len() < length {
        return Ok(None);
    }
    let mut whole = buffer.split_to(HEAD_BYTES + length);
    Ok(Some(whole.split_off(HEAD_BYTES).freeze()))
}

/// Decodes the answer of a unary call: exactly one frame.
///
/// # Errors
/// Anything else.
pub fn whole<A: Message + Default>(answer: Bytes) -> Result<A, Failure> {
    let mut buffer = BytesMut::from(answer);
    match take(&mut buffer)? {
        Some(message) if buffer.is_empty() => decode(message),
        _ => Err(Failure::Broken("an answer that is not one message".to_owned())),
    }
}

/// Decodes a message.
///
/// # Errors
/// Bytes that are not such a message.
pub fn decode<A: Message + Default>(message: Bytes) -> Result<A, Failure> {
    A::decode(message).map_err(|why| Failure::Broken(why.to_string()))
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::PutRequest;

    use super::*;

    #[test]
    fn a_message_is_framed_with_its_exact_length_and_comes_back() {
        for size in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let value = vec![9; size].into();
            let request = PutRequest { key: "k".into(), value, ..Default::default() };
            let framed = encode(&request);
            let length = u32::from_be_bytes(framed[1..5].try_into().unwrap()) as usize;
            assert_eq!(framed.len(), HEAD_BYTES + length);
            assert_eq!(whole::<PutRequest>(framed), Ok(request));
        }
    }

    #[test]
    fn a_cut_answer_is_no_answer_and_a_compressed_one_is_refused() {
        let request = PutRequest { key: "k".into(), ..Default::default() };
        let framed = encode(&request);
        for cut in 0..framed.len() {
            assert!(whole::<PutRequest>(framed.slice(..cut)).is_err());
        }
        let mut compressed = BytesMut::from(&framed[..]);
        compressed[0] = 1;
        assert!(take(&mut compressed).is_err());
    }

    #[test]
    fn two_messages_in_one_buffer_are_taken_one_by_one() {
        let framed = encode(&PutRequest { key: "k".into(), ..Default::default() });
        let mut buffer = BytesMut::new();
        buffer.extend_from_slice(&framed);
        buffer.extend_from_slice(&framed[..3]);
        assert!(take(&mut buffer).unwrap().is_some());
        assert_eq!(take(&mut buffer), Ok(None));
        assert_eq!(buffer.len(), 3);
    }
}
