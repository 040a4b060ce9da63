//! Random sequences: few keys, so that requests meet; every option, also where it makes no sense.

mod kv;

use api::etcdserverpb as pb;
use base::Prng;
use bytes::Bytes;

use super::step::Step;

/// Draws what is sent.
pub struct Generator {
    prng: Prng,
    keys: Vec<Bytes>,
}

/// Keys that differ in length, share prefixes, and touch both ends of the order.
fn key(at: usize) -> Bytes {
    const ODD: [&[u8]; 8] = [b"a", b"\0", b"\xff", b"a\0", b"b", b"ab", b"\xff\xff", b"a\xff"];
    ODD.get(at).map_or_else(|| format!("k/{at:02}").into(), |odd| Bytes::from_static(odd))
}

impl Generator {
    pub fn new(seed: u64, keys: usize) -> Self {
        Self { prng: Prng::new(seed), keys: (0..keys.max(1)).map(key).collect() }
    }

    /// One sequence; it ends with everything deleted, so that the next starts with nothing but a
    /// past.
    pub fn sequence(&mut self, length: usize) -> Vec<Step> {
        let mut steps: Vec<Step> = (0..length).map(|_| self.step()).collect();
        steps.push(Step::Delete(pb::DeleteRangeRequest {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            prev_kv: true,
        }));
        steps
    }

    fn step(&mut self) -> Step {
        match self.below(100) {
            0..30 => Step::Put(self.put()),
            30..62 => Step::Range(self.range()),
            62..66 => Step::RangeStream(self.stream_range()),
            66..74 => Step::Delete(self.delete()),
            74..97 => Step::Txn(self.txn()),
            _ => Step::Compact(self.compact()),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.prng.below(bound)
    }

    /// True `percent` times in a hundred.
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).expect("a small number")]
    }

    fn key(&mut self) -> Bytes {
        let at = usize::try_from(self.below(self.keys.len() as u64)).expect("a small number");
        self.keys[at].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_sequence_and_another_one_another() {
        let draw = |seed| Generator::new(seed, 20).sequence(100);
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert_eq!(draw(3).len(), 101);
    }

    #[test]
    fn the_keys_are_as_many_as_asked_for_and_all_different() {
        let mut keys = Generator::new(1, 20).keys;
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 20);
    }
}
