//! Versions that were read or made lately, in memory up to a bound.
//!
//! Second chance (Corbató 1968, CLOCK): what was found again since it came round last stays for
//! another round, so one long read does not drive out what many ask for. Each version that comes
//! drives out a few others at most, whatever there is.

use base::planted;
use mvcc::{Age, File, Values, Version, Wanted};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// What a version takes beside its key and value: the record, its places here, two allocations.
const OVERHEAD_BYTES: usize = 256;
/// Versions that are looked at for one that comes.
const ROUND_MAX: usize = 16;
/// Chains, at most.
const CHAINS_MAX: usize = 1 << 24;
/// The end of a chain.
const NONE: u32 = u32::MAX;

struct Cached {
    version: Version,
    /// It was found since it came round last.
    again: bool,
    /// The next one of its chain.
    next: u32,
}

/// Versions in slots; which slot, by chains over their ages. The chains are as many as there may be
/// versions, so nothing is ever laid out anew.
#[derive(Default)]
struct Ring {
    slots: Vec<Option<Cached>>,
    free: Vec<u32>,
    chains: Vec<u32>,
    round: VecDeque<u32>,
    bytes: usize,
    bytes_max: usize,
    found: u64,
    missed: u64,
}

/// How it does, for whoever watches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Versions in it.
    pub versions: usize,
    /// What they take, about.
    pub bytes: usize,
    /// Versions that were asked for and found, and that were not.
    pub found: u64,
    pub missed: u64,
}

/// Clones are one.
#[derive(Clone)]
pub struct Cache(Arc<Mutex<Ring>>);

fn cost(version: &Version) -> usize {
    version.bytes() + OVERHEAD_BYTES
}

impl Ring {
    fn new(bytes_max: usize) -> Self {
        let chains = (bytes_max / OVERHEAD_BYTES).next_power_of_two().min(CHAINS_MAX);
        Self { chains: vec![NONE; chains], bytes_max, ..Self::default() }
    }

    /// Fibonacci hashing (Knuth, TAOCP 3, 6.4): no client chooses revisions.
    fn chain(&self, (revision, sub): Age) -> usize {
        let word = revision.cast_unsigned().rotate_left(20) ^ u64::from(sub);
        let spread = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        usize::try_from(spread).expect("32 bits") & (self.chains.len() - 1)
    }

    fn slot(&self, at: u32) -> &Cached {
        self.slots[at as usize].as_ref().expect("what is in a chain is there")
    }

    fn slot_mut(&mut self, at: u32) -> &mut Cached {
        self.slots[at as usize].as_mut().expect("what is in a chain is there")
    }

    fn place(&self, age: Age) -> Option<u32> {
        let mut at = self.chains[self.chain(age)];
        while at != NONE {
            let cached = self.slot(at);
            if cached.version.age() == age {
                return Some(at);
            }
            at = cached.next;
        }
        None
    }

    /// Takes one out of its chain and its slot.
    fn remove(&mut self, at: u32) {
        let cached = self.slots[at as usize].take().expect("it is in the round");
        let chain = self.chain(cached.version.age());
        if self.chains[chain] == at {
            self.chains[chain] = cached.next;
        } else {
            let mut before = self.chains[chain];
            while self.slot(before).next != at {
                before = self.slot(before).next;
            }
            self.slot_mut(before).next = cached.next;
        }
        self.free.push(at);
        self.bytes -= cost(&cached.version);
    }

    fn add(&mut self, version: &Version) {
        let age = version.age();
        let bytes = cost(version);
        if bytes > self.bytes_max || self.place(age).is_some() {
            return;
        }
        let mut looks = ROUND_MAX;
        while self.bytes + bytes > self.bytes_max {
            let oldest = self.round.pop_front().expect("what has bytes is in the round");
            if std::mem::take(&mut self.slot_mut(oldest).again) && looks > 0 {
                looks -= 1;
                self.round.push_back(oldest);
                continue;
            }
            self.remove(oldest);
        }
        let chain = self.chain(age);
        let cached = Cached { version: version.clone(), again: false, next: self.chains[chain] };
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).expect("far fewer fit any memory")
            }
        };
        self.slots[at as usize] = Some(cached);
        self.chains[chain] = at;
        self.round.push_back(at);
        self.bytes += bytes;
        assert!(self.bytes <= self.bytes_max, "it is bounded");
    }

    fn find(&mut self, wanted: Wanted) -> Option<Version> {
        // What stands at an age never changes, but a state may come that was never this one's.
        let at = self.place(wanted.age);
        let is_it = |at: &u32| self.slot(*at).version.hash() == wanted.hash;
        let at = at.filter(|at| is_it(at) || planted!(CachedByPlace));
        let Some(at) = at else {
            self.missed += 1;
            return None;
        };
        self.found += 1;
        let cached = self.slot_mut(at);
        cached.again = true;
        Some(cached.version.clone())
    }
}

impl Cache {
    /// One that holds no more than so many bytes; of 0, nothing.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Ring::new(bytes_max))))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Ring) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn add(&self, version: &Version) {
        self.with(|ring| ring.add(version));
    }

    pub fn find(&self, wanted: Wanted) -> Option<Version> {
        self.with(|ring| ring.find(wanted))
    }

    pub fn stats(&self) -> CacheStats {
        self.with(|ring| {
            let Ring { round, bytes, found, missed, .. } = ring;
            CacheStats { versions: round.len(), bytes: *bytes, found: *found, missed: *missed }
        })
    }
}

/// What is at hand without a look at a file.
impl Values for Cache {
    fn version(&mut self, _: &Arc<File>, wanted: Wanted) -> Option<Version> {
        self.find(wanted)
    }

    fn versions(&mut self, _: &Arc<File>, _: Age) -> Option<Vec<Version>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::codec::Put;

    /// The version of a revision, with a value of so many bytes.
    fn version(revision: i64, sub: u32, bytes: usize) -> Version {
        let mut out = Vec::new();
        out.put_bytes(b"k");
        out.put_bytes(&vec![b'v'; bytes]);
        [revision, revision, 1, 0].iter().for_each(|number| out.put_i64(*number));
        out.put_u32(sub);
        out.put_u8(0);
        Version::decode(&out).expect("as a version is kept")
    }

    fn wanted(version: &Version) -> Wanted {
        Wanted { age: version.age(), hash: version.hash(), bytes: 0 }
    }

    #[test]
    fn it_holds_no_more_than_its_bytes_and_keeps_what_is_asked_for() {
        let each = cost(&version(2, 0, 1000));
        let cache = Cache::new(10 * each);
        let all: Vec<Version> = (2..102).map(|revision| version(revision, 0, 1000)).collect();
        for version in &all {
            cache.add(version);
            assert_eq!(cache.find(wanted(&all[0])).as_ref(), Some(&all[0]), "it is asked for");
            assert!(cache.stats().bytes <= 10 * each);
        }
        let held = all.iter().filter(|version| cache.find(wanted(version)).is_some()).count();
        assert_eq!((held, cache.stats().versions, cache.stats().bytes), (10, 10, 10 * each));
        assert_eq!((cache.stats().found, cache.stats().missed), (110, 90));
    }

    #[test]
    fn it_gives_no_other_version_than_the_one_that_is_wanted() {
        let cache = Cache::new(1 << 20);
        let (first, second, other) = (version(2, 0, 3), version(2, 1, 3), version(2, 0, 4));
        cache.add(&first);
        cache.add(&second);
        assert_eq!(cache.find(wanted(&second)), Some(second), "two of one revision");
        assert_eq!(cache.find(wanted(&other)), None, "another state had another one there");
        assert_eq!(cache.find(wanted(&first)), Some(first));
    }

    #[test]
    fn what_is_larger_than_all_of_it_is_let_pass_and_drives_nothing_out() {
        let small = version(2, 0, 10);
        let cache = Cache::new(2 * cost(&small));
        cache.add(&small);
        cache.add(&version(3, 0, 5000));
        assert_eq!(cache.find(wanted(&small)), Some(small.clone()));
        let nothing = Cache::new(0);
        nothing.add(&small);
        assert_eq!((nothing.find(wanted(&small)), nothing.stats().versions), (None, 0));
    }

    #[test]
    fn whatever_comes_and_goes_what_is_found_is_what_came() {
        let each = cost(&version(2, 0, 0));
        let (cache, mut p) = (Cache::new(40 * each), base::Prng::new(7));
        let all: Vec<Version> =
            (0..300).map(|n| version(2 + n / 3, n as u32 % 3, n as usize % 90)).collect();
        for _ in 0..20_000 {
            let one = &all[p.below(300) as usize];
            if p.below(2) == 0 {
                cache.add(one);
                assert_eq!(cache.find(wanted(one)).as_ref(), Some(one));
            } else {
                assert!(cache.find(wanted(one)).is_none_or(|found| found == *one));
            }
            assert!(cache.stats().bytes <= 40 * each);
        }
        let found = all.iter().filter(|one| cache.find(wanted(one)).is_some());
        let bytes: usize = found.clone().map(cost).sum();
        let stats = cache.stats();
        assert_eq!((found.count(), bytes), (stats.versions, stats.bytes));
        assert!(stats.versions > 25, "{stats:?}");
    }

    #[test]
    fn one_that_comes_looks_at_a_few_however_many_were_found_again() {
        let each = cost(&version(2, 0, 0));
        let cache = Cache::new(100 * each);
        let all: Vec<Version> = (2..102).map(|revision| version(revision, 0, 0)).collect();
        all.iter().for_each(|version| cache.add(version));
        assert!(all.iter().all(|version| cache.find(wanted(version)).is_some()));
        cache.add(&version(500, 0, 0));
        let again =
            cache.with(|ring| ring.slots.iter().flatten().filter(|cached| cached.again).count());
        assert_eq!(again, 100 - ROUND_MAX - 1, "the others keep their chance");
    }
}
