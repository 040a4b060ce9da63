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

/// Decodes a message.
///
/// # Errors
/// Bytes that are not such a message.
pub fn decode<A: Message + Default>(message: Bytes) -> Result<A, Failure> {
    A::decode(message).map_err(|why| Failure::Broken(why.to_string()))
}
