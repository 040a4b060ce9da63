//! Hashes that compare replicas. Not for secrets: they catch faults, not forgers.

use crate::key_value::KeyValue;
use alloc::vec::Vec;

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A running 64-bit hash by folded 128-bit multiplication, eight bytes a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher(u64);

impl Hasher {
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x243F_6A88_85A3_08D3)
    }

    pub fn word(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word) * u128::from(MULTIPLIER);
        self.0 = (wide as u64) ^ ((wide >> 64) as u64).rotate_left(29) ^ word.rotate_left(17);
    }

    pub fn int(&mut self, number: i64) {
        self.word(number.cast_unsigned());
    }

    /// Length first, so that neighbours cannot trade bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.word(u64::from_le_bytes(chunk.try_into().expect("chunks of eight")));
        }
        let rest = chunks.remainder();
        assert!(rest.len() < 8, "eight would be a chunk");
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
    }

    pub fn finish(mut self) -> u64 {
        self.word(MULTIPLIER);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }
}

/// etcd's answer to `HashKV`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// CRC-32C (Castagnoli) over the rows as etcd's backend has them.
    pub hash: u32,
    /// -1 before the first compaction, as in etcd.
    pub compact_revision: i64,
    /// The revision hashed.
    pub hash_revision: i64,
}

/// Bytes of an etcd revision key (`server/storage/mvcc/revision.go`): big-endian
/// `main _ sub`, then `t` for a tombstone.
pub(crate) fn revision_key(main: i64, sub: i64, tombstone: bool, out: &mut Vec<u8>) {
    assert!(main > 0 && sub >= 0, "etcd's keys sort as their numbers only when none is negative");
    out.extend_from_slice(&main.to_be_bytes());
    out.push(b'_');
    out.extend_from_slice(&sub.to_be_bytes());
    if tombstone {
        out.push(b't');
    }
}

/// `mvccpb.KeyValue` on the wire; a tombstone holds only its key.
pub(crate) fn marshal(kv: &KeyValue, tombstone: bool, out: &mut Vec<u8>) {
    let number = |n: i64| if tombstone { 0 } else { n };
    bytes_field(1, &kv.key, out);
    varint_field(2, number(kv.create_revision), out);
    varint_field(3, number(kv.mod_revision), out);
    varint_field(4, number(kv.version), out);
    bytes_field(5, if tombstone { b"" } else { &kv.value }, out);
    varint_field(6, number(kv.lease), out);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_field(field: u8, value: i64, out: &mut Vec<u8>) {
    assert!((1..16).contains(&field), "its tag is one byte");
    if value != 0 {
        out.push(field << 3);
        varint(value.cast_unsigned(), out);
    }
}

fn bytes_field(field: u8, value: &[u8], out: &mut Vec<u8>) {
    assert!((1..16).contains(&field), "its tag is one byte");
    if !value.is_empty() {
        out.push(field << 3 | 2);
        varint(value.len() as u64, out);
        out.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Blob;

    #[test]
    fn a_row_is_written_as_protobuf_writes_it() {
        let kv = KeyValue {
            key: b"k"[..].into(),
            value: Blob::from([b'v'; 300]),
            create_revision: 127,
            mod_revision: 128,
            version: 16_384,
            lease: -1,
        };
        let mut bytes = Vec::new();
        marshal(&kv, false, &mut bytes);
        let mut wanted = b"\x0a\x01k\x10\x7f\x18\x80\x01\x20\x80\x80\x01\x2a\xac\x02".to_vec();
        wanted.extend([b'v'; 300]);
        wanted.extend(b"\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
        assert_eq!(bytes, wanted);
        bytes.clear();
        marshal(&kv, true, &mut bytes);
        assert_eq!(bytes, b"\x0a\x01k", "a tombstone holds its key alone");
    }

    #[test]
    fn a_revision_key_is_big_endian_and_says_whether_the_key_died() {
        let mut bytes = Vec::new();
        revision_key(0x0102, 0x0304, false, &mut bytes);
        assert_eq!(bytes, b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\x03\x04");
        bytes.clear();
        revision_key(1, 0, true, &mut bytes);
        assert_eq!(bytes, b"\0\0\0\0\0\0\0\x01_\0\0\0\0\0\0\0\0t");
    }

    fn of(parts: &[&[u8]]) -> u64 {
        let mut hasher = Hasher::new(0);
        parts.iter().for_each(|part| hasher.bytes(part));
        hasher.finish()
    }

    #[test]
    fn every_byte_and_where_one_part_ends_counts() {
        let bytes: Vec<u8> = (1..=20).collect();
        for len in 0..=20 {
            let whole = of(&[&bytes[..len]]);
            for at in 0..len {
                let mut other = bytes[..len].to_vec();
                other[at] ^= 1;
                assert_ne!(of(&[&other]), whole, "byte {at} of {len}");
                assert_ne!(of(&[&bytes[..at], &bytes[at..len]]), whole, "cut at {at} of {len}");
            }
            let zero = [&bytes[..len], &[0]].concat();
            assert_ne!(of(&[&zero]), whole, "a zero behind {len}");
        }
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]), "neighbours cannot trade bytes");
    }

    /// Members of different releases compare them, and checkpoints hold them.
    #[test]
    fn the_hash_is_the_same_in_every_release() {
        let mut hasher = Hasher::new(7);
        hasher.word(1);
        hasher.int(-1);
        hasher.bytes(b"what a key may be");
        assert_eq!(hasher.finish(), 12_218_083_446_039_085_055);
    }
}
