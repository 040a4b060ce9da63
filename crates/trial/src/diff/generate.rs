//! Random sequences: few keys, so that requests meet; every option, also where it makes no sense.

mod kv;
mod service;

use api::etcdserverpb as pb;
use base::Prng;
use bytes::Bytes;

use super::step::Step;

/// Draws what is sent.
pub struct Generator {
    prng: Prng,
    keys: Vec<Bytes>,
    /// One member: it always leads.
    single: bool,
    /// Kind, member and requests left of the alarm that is on.
    alarm: Option<(i32, u64, u64)>,
}

/// Keys that differ in length, share prefixes, and touch both ends of the order.
fn key(at: usize) -> Bytes {
    const ODD: [&[u8]; 8] = [b"a", b"\0", b"\xff", b"a\0", b"b", b"ab", b"\xff\xff", b"a\xff"];
    ODD.get(at).map_or_else(|| format!("k/{at:02}").into(), |odd| Bytes::from_static(odd))
}

impl Generator {
    pub fn new(seed: u64, keys: usize, single: bool) -> Self {
        let keys = (0..keys.max(1)).map(key).collect();
        Self { prng: Prng::new(seed), keys, single, alarm: None }
    }

    /// One sequence; it ends with everything deleted, so that the next starts with nothing but a
    /// past.
    pub fn sequence(&mut self, length: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        while steps.len() < length {
            steps.extend(self.alarm_off());
            if self.alarm.is_some() && self.chance(25) {
                steps.push(Step::Status);
            }
            self.step(&mut steps);
        }
        while self.alarm.is_some() {
            steps.extend(self.alarm_off());
        }
        steps.push(Step::WatchEnd);
        steps.push(delete_everything());
        let ids = kv::LEASES.iter();
        steps.extend(ids.map(|&id| Step::Revoke(pb::LeaseRevokeRequest { id })));
        steps
    }

    fn step(&mut self, out: &mut Vec<Step>) {
        let step = match self.below(2_000) {
            0..300 => Step::Put(self.put(13)),
            300..600 => Step::Range(self.range(8)),
            600..720 => Step::RangeStream(self.stream_range()),
            720..820 => Step::Delete(self.delete(5)),
            820..1_105 => Step::Txn(self.txn()),
            1_105..1_145 => Step::Compact(self.compact()),
            1_145..1_375 => self.lease_step(),
            1_375..1_390 => return out.extend(self.short_lease()),
            1_390..1_655 => self.watch_step(),
            1_655..1_805 => self.maintenance_step(),
            1_805..1_845 if self.alarm.is_none() => self.alarm_on(),
            1_805..1_865 => self.alarm_odd(),
            1_865..1_980 => self.raw_step(),
            1_980..1_995 => self.probe(),
            1_995 if self.chance(20) && self.alarm.is_none() => self.expiry(),
            _ if self.alarm.is_none() => return out.extend(self.big_block()),
            _ => Step::Status,
        };
        out.push(step);
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

fn delete_everything() -> Step {
    Step::Delete(pb::DeleteRangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        prev_kv: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_sequence_and_another_one_another() {
        let draw = |seed| Generator::new(seed, 20, true).sequence(200);
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert!(draw(3).len() >= 200);
    }

    #[test]
    fn the_keys_are_as_many_as_asked_for_and_all_different() {
        let mut keys = Generator::new(1, 20, true).keys;
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 20);
    }
}
