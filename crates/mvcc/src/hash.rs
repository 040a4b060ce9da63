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
