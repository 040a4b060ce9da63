//! The few protobuf messages a load generator needs, encoded by hand into gRPC frames.
//!
//! Field numbers are those of etcd's `rpc.proto`: PutRequest key=1 value=2; RangeRequest key=1
//! serializable=7; RangeResponse kvs=2 count=4; KeyValue key=1 value=5.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a gRPC frame before its message: one flag byte and a big-endian length.
pub const FRAME_HEAD: usize = 5;

/// A framed PutRequest.
pub fn put(key: &[u8], value: &[u8]) -> Bytes {
    let length = bytes_field_size(key.len()) + bytes_field_size(value.len());
    let mut out = frame(length);
    bytes_field(&mut out, 1, key);
    bytes_field(&mut out, 2, value);
    debug_assert_eq!(out.len(), FRAME_HEAD + length);
    out.freeze()
}

/// A framed RangeRequest for one key.
pub fn range(key: &[u8], serializable: bool) -> Bytes {
    let length = bytes_field_size(key.len()) + if serializable { 2 } else { 0 };
    let mut out = frame(length);
    bytes_field(&mut out, 1, key);
    if serializable {
        out.put_slice(&[7 << 3, 1]);
    }
    debug_assert_eq!(out.len(), FRAME_HEAD + length);
    out.freeze()
}

/// A framed RangeResponse with one pair, for the null server.
pub fn range_answer(value: &[u8]) -> Bytes {
    let mut pair = BytesMut::new();
    bytes_field(&mut pair, 1, b"key");
    bytes_field(&mut pair, 5, value);
    let mut out = frame(bytes_field_size(pair.len()) + 2);
    bytes_field(&mut out, 2, &pair);
    out.put_slice(&[4 << 3, 1]);
    out.freeze()
}

/// A framed PutResponse whose header (field 1) carries revision 1 (field 3).
pub fn put_answer() -> Bytes {
    let mut out = frame(4);
    bytes_field(&mut out, 1, &[3 << 3, 1]);
    out.freeze()
}

/// The `count` of a framed RangeResponse; `None` when the bytes are not one whole message.
pub fn range_count(frame: &[u8]) -> Option<u64> {
    let (head, mut body) = frame.split_at_checked(FRAME_HEAD)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if head[0] != 0 || body.len() != length as usize {
        return None;
    }
    let mut count = 0;
    while !body.is_empty() {
        let tag = varint(&mut body)?;
        match tag & 7 {
            0 => {
                let value = varint(&mut body)?;
                if tag >> 3 == 4 {
                    count = value;
                }
            }
            2 => {
                let skip = usize::try_from(varint(&mut body)?).ok()?;
                body = body.get(skip..)?;
            }
            _ => return None,
        }
    }
    Some(count)
}

fn frame(length: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(FRAME_HEAD + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).expect("arguments bound every message below 4 GiB"));
    out
}

fn bytes_field(out: &mut BytesMut, number: u8, bytes: &[u8]) {
    out.put_u8(number << 3 | 2);
    let mut rest = bytes.len();
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
    out.put_slice(bytes);
}

fn bytes_field_size(length: usize) -> usize {
    let bits = (usize::BITS - length.leading_zeros()).max(1) as usize;
    1 + bits.div_ceil(7) + length
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7F) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
