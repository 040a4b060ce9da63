//! A 64-bit digest of a byte stream: finds accidents that block checksums cannot (swapped,
//! missing, repeated blocks). No defence against an attacker.

const ODD_A: u64 = 0x9E37_79B9_7F4A_7C15;
const ODD_B: u64 = 0xBF58_476D_1CE4_E5B9;

/// Feed bytes in any pieces; the result depends only on their concatenation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest {
    state: u64,
    len: u64,
    tail: [u8; 8],
    held: usize,
}

impl Digest {
    pub fn add(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        if self.held > 0 {
            let n = bytes.len().min(8 - self.held);
            self.tail[self.held..self.held + n].copy_from_slice(&bytes[..n]);
            self.held += n;
            bytes = &bytes[n..];
            if self.held < 8 {
                return;
            }
            self.word(u64::from_le_bytes(self.tail));
            self.held = 0;
        }
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.word(u64::from_le_bytes(word.try_into().expect("chunks of eight")));
        }
        let rest = words.remainder();
        self.tail[..rest.len()].copy_from_slice(rest);
        self.held = rest.len();
    }

    /// Each step is a bijection of the state, so a change in one word is never lost.
    fn word(&mut self, word: u64) {
        self.state = (self.state ^ word.wrapping_mul(ODD_A)).rotate_left(29).wrapping_mul(ODD_B);
    }

    pub fn finish(mut self) -> u64 {
        let mut last = [0; 8];
        last[..self.held].copy_from_slice(&self.tail[..self.held]);
        self.word(u64::from_le_bytes(last));
        self.word(self.len);
        self.state ^ (self.state >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_matter_and_every_byte_does() {
        let data: Vec<u8> = (0..61).collect();
        let mut whole = Digest::default();
        whole.add(&data);
        let whole = whole.finish();
        for cut in 0..data.len() {
            let mut pieces = Digest::default();
            pieces.add(&data[..cut]);
            pieces.add(&data[cut..]);
            assert_eq!(pieces.finish(), whole);
            let mut other = data.clone();
            other[cut] ^= 1;
            let mut changed = Digest::default();
            changed.add(&other);
            assert_ne!(changed.finish(), whole);
        }
    }
}
