//! A hash without a random seed: the same history gives the same search, byte for byte.

use std::hash::{BuildHasherDefault, Hasher};

/// For `HashMap<K, V, FoldState>`. Iteration order is still nobody's business.
pub type FoldState = BuildHasherDefault<Fold>;

/// Multiply and fold, eight bytes at a time. Not for hostile keys that must spread well:
/// a collision only costs time, equality is always decided on the whole value.
#[derive(Clone, Default)]
pub struct Fold {
    state: u64,
}

const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

impl Fold {
    #[inline]
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.state ^ word).wrapping_mul(u128::from(ODD) << 1 | 1);
        let low = product as u64;
        self.state = (low ^ (product >> 64) as u64).rotate_left(23).wrapping_add(ODD);
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.mix(u64::from_le_bytes(chunk.try_into().expect("chunks of eight")));
        }
        let rest = chunks.remainder();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn write_i64(&mut self, value: i64) {
        self.mix(value as u64);
    }

    fn finish(&self) -> u64 {
        let folded = self.state ^ (self.state >> 32);
        folded.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ (folded >> 29)
    }
}
