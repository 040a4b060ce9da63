//! The replicated window that lets a forward or retry apply once.
//!
//! Per origin: the latest incarnation, a floor at or below which every sequence number counts as
//! seen, and the numbers seen above it. When the window is full the floor moves up: a number that
//! was never applied then counts as seen, so it is dropped, never applied late. The origin
//! answers such a request *unknown*.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use base::codec::{DecodeError, Get, Put};
pub use base::limits::{ORIGINS_MAX, SEEN_MAX};
use base::{Incarnation, NodeId, RequestId, planted};

/// Which requests are applied; the same on every member at the same applied index. Bounded by the
/// members and [`SEEN_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Dedupe {
    origins: BTreeMap<NodeId, Origin>,
}

#[derive(Clone, Debug, Default)]
struct Origin {
    incarnation: Incarnation,
    floor: u64,
    seen: BTreeSet<u64>,
}

impl Dedupe {
    /// Whether `id` was not seen before; false also if it is too old to tell.
    pub fn takes(&self, id: RequestId) -> bool {
        assert!(id.seq > 0, "sequence numbers start at one");
        let Some(origin) = self.origins.get(&id.origin) else { return true };
        if id.incarnation < origin.incarnation {
            return planted!(OldIncarnationApplies);
        }
        if id.incarnation > origin.incarnation {
            return true;
        }
        let known = id.seq <= origin.floor && !planted!(DedupeForgets);
        !known && !origin.seen.contains(&id.seq)
    }

    /// Records `id`; false if it is not taken.
    pub fn insert(&mut self, id: RequestId) -> bool {
        if planted!(OriginEvicted) && self.origins.len() > 1 {
            self.origins.retain(|origin, _| *origin == id.origin);
        }
        if !self.takes(id) {
            return false;
        }
        let origin = self.origins.entry(id.origin).or_default();
        if id.incarnation < origin.incarnation {
            return true; // by a planted bug only
        }
        if id.incarnation > origin.incarnation {
            *origin = Origin { incarnation: id.incarnation, ..Origin::default() };
        }
        origin.seen.insert(id.seq);
        origin.settle();
        assert!(origin.seen.len() <= SEEN_MAX, "the window is bounded");
        true
    }

    /// Forgets the origins that are no members any more. What they asked for is never applied
    /// again: the caller drops requests of strangers.
    pub fn keep(&mut self, is_member: impl Fn(NodeId) -> bool) {
        self.origins.retain(|origin, _| is_member(*origin));
    }

    /// Whether `id` was recorded, or is too old to tell; false for an origin never seen.
    pub fn contains(&self, id: RequestId) -> bool {
        self.origins.get(&id.origin).is_some_and(|origin| {
            id.incarnation < origin.incarnation
                || (id.incarnation == origin.incarnation
                    && (id.seq <= origin.floor || origin.seen.contains(&id.seq)))
        })
    }

    /// Origins in order of their ids: id, incarnation, floor, and a u32 count of numbers in order.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(u32::try_from(self.origins.len()).expect("origins are bounded"));
        for (node, origin) in &self.origins {
            out.put_u64(node.0);
            out.put_u64(origin.incarnation.0);
            out.put_u64(origin.floor);
            out.put_u32(u32::try_from(origin.seen.len()).expect("the window is bounded"));
            for seq in &origin.seen {
                out.put_u64(*seq);
            }
        }
    }

    /// What [`Dedupe::encode`] wrote.
    ///
    /// # Errors
    /// Short bytes, or counts and orders that `encode` never writes.
    pub fn decode(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        let mut origins = BTreeMap::new();
        let count = get.u32()?;
        if usize::try_from(count).map_or(true, |n| n > ORIGINS_MAX) {
            return Err(DecodeError::Invalid { what: "dedupe origins" });
        }
        for _ in 0..count {
            let node = NodeId(get.u64()?);
            let incarnation = Incarnation(get.u64()?);
            let floor = get.u64()?;
            let count = get.u32()?;
            if usize::try_from(count).map_or(true, |n| n > SEEN_MAX) {
                return Err(DecodeError::Invalid { what: "dedupe window" });
            }
            let mut seen = BTreeSet::new();
            let mut last = floor;
            for _ in 0..count {
                let seq = get.u64()?;
                if seq <= last {
                    return Err(DecodeError::Invalid { what: "dedupe order" });
                }
                seen.insert(seq);
                last = seq;
            }
            let origin = Origin { incarnation, floor, seen };
            if origins.last_key_value().is_some_and(|(before, _)| *before >= node) {
                return Err(DecodeError::Invalid { what: "dedupe order" });
            }
            origins.insert(node, origin);
        }
        Ok(Self { origins })
    }
}

impl Origin {
    fn settle(&mut self) {
        while let Some(next) = self.floor.checked_add(1)
            && self.seen.first() == Some(&next)
        {
            self.seen.pop_first();
            self.floor = next;
        }
        if self.seen.len() > SEEN_MAX {
            let lowest = self.seen.pop_first().expect("a full window has a lowest number");
            assert!(lowest > self.floor || planted!(DedupeForgets), "the floor only rises");
            self.floor = lowest;
        }
        let above = self.seen.range(..=self.floor).next().is_none();
        assert!(above || planted!(DedupeForgets), "only what is above the floor is listed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(incarnation: u64, seq: u64) -> RequestId {
        RequestId { origin: NodeId(7), incarnation: Incarnation(incarnation), seq }
    }

    #[test]
    fn a_retry_is_seen_once_in_any_order() {
        let mut d = Dedupe::default();
        for seq in [3, 1, 2, 5] {
            assert!(d.insert(id(1, seq)));
            assert!(!d.insert(id(1, seq)));
            assert!(d.contains(id(1, seq)));
        }
        assert!(!d.contains(id(1, 4)));
        assert!(d.insert(id(1, 4)));
    }

    #[test]
    fn no_member_is_forgotten_for_another_and_who_left_is() {
        let mut d = Dedupe::default();
        let of = |origin: u64| RequestId { origin: NodeId(origin), ..id(1, 1) };
        (1..=1100).for_each(|origin| assert!(d.insert(of(origin))));
        (1..=1100).for_each(|origin| assert!(!d.insert(of(origin)), "{origin} asked before"));
        d.keep(|origin| origin.0 <= 64);
        assert!(d.contains(of(64)) && !d.contains(of(65)));
    }

    #[test]
    fn an_old_incarnation_never_applies_after_a_new_one() {
        let mut d = Dedupe::default();
        assert!(d.insert(id(1, 1)));
        assert!(d.insert(id(2, 1)));
        assert!(!d.insert(id(1, 2)));
    }

    #[test]
    fn a_full_window_forgets_gaps_as_seen_and_survives_the_codec() {
        let mut d = Dedupe::default();
        for seq in 2..(SEEN_MAX as u64 + 10) {
            assert!(d.insert(id(1, seq)));
        }
        assert!(!d.insert(id(1, 1)), "a number below the floor is dropped, never applied late");
        let mut bytes = Vec::new();
        d.encode(&mut bytes);
        let mut get = Get::new(&bytes);
        let back = Dedupe::decode(&mut get).expect("own bytes decode");
        assert!(!back.contains(id(1, SEEN_MAX as u64 + 10)));
        assert!(back.contains(id(1, SEEN_MAX as u64 + 9)));
    }

    #[test]
    fn what_is_contained_is_what_was_recorded_and_what_is_too_old_to_tell() {
        let mut d = Dedupe::default();
        assert!(!d.contains(id(1, 1)) && d.takes(id(1, 1)));
        for seq in [1, 3] {
            assert!(d.insert(id(2, seq)));
        }
        for (asked, known) in [
            (id(1, 1), true),
            (id(1, 9), true),
            (id(2, 1), true),
            (id(2, 2), false),
            (id(2, 3), true),
            (id(2, 4), false),
            (id(3, 1), false),
            (id(3, 3), false),
        ] {
            assert_eq!((d.contains(asked), d.takes(asked)), (known, !known), "{asked}");
        }
        // The numbers of a new start count from its own beginning.
        assert!(d.insert(id(3, 3)) && d.insert(id(3, 1)));
        assert!(d.contains(id(3, 3)) && !d.contains(id(3, 2)));
    }

    #[test]
    fn a_window_that_is_just_full_forgets_nothing() {
        let mut d = Dedupe::default();
        let most = SEEN_MAX as u64;
        (2..2 + most).for_each(|seq| assert!(d.insert(id(1, seq))));
        assert!(d.takes(id(1, 1)), "as many are seen as are remembered");
        assert!(d.insert(id(1, 3 + most)), "a number is left out");
        assert!(!d.takes(id(1, 1)) && d.takes(id(1, 2 + most)));
        // A window without gaps is none.
        let mut d = Dedupe::default();
        (1..=most + 2).for_each(|seq| assert!(d.insert(id(1, seq))));
        assert_eq!(encoded(&d).len(), 4 + 28);
    }

    fn encoded(d: &Dedupe) -> Vec<u8> {
        let mut bytes = Vec::new();
        d.encode(&mut bytes);
        bytes
    }

    /// The bytes of origins with these ids, and of the numbers above a floor of ten in each.
    fn bytes(origins: impl ExactSizeIterator<Item = u32>, seen: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u32(origins.len() as u32);
        for origin in origins {
            out.put_u64(u64::from(origin));
            out.put_u64(1);
            out.put_u64(10);
            out.put_u32(seen.len() as u32);
            seen.iter().for_each(|seq| out.put_u64(*seq));
        }
        out
    }

    #[test]
    fn counts_and_orders_that_are_never_written_are_not_read() {
        let read = |bytes: Vec<u8>| match Dedupe::decode(&mut Get::new(&bytes)) {
            Ok(d) => {
                assert_eq!(encoded(&d), bytes);
                Ok(d.origins.len())
            }
            Err(error) => Err(error),
        };
        let refused = |what| Err(DecodeError::Invalid { what });
        let (origins, window) = (ORIGINS_MAX as u32, SEEN_MAX as u64);
        assert_eq!(read(bytes(1..origins + 1, &[12, 14])), Ok(ORIGINS_MAX));
        assert_eq!(read(bytes(1..origins + 2, &[])), refused("dedupe origins"));
        let full: Vec<u64> = (12..12 + window).collect();
        assert_eq!(read(bytes(7..8, &full)), Ok(1));
        let above: Vec<u64> = (12..13 + window).collect();
        assert_eq!(read(bytes(7..8, &above)), refused("dedupe window"));
        for seen in [&[10][..], &[9], &[12, 12], &[12, 11]] {
            assert_eq!(read(bytes(7..8, seen)), refused("dedupe order"), "{seen:?}");
        }
        for ids in [[7, 7], [7, 6]] {
            assert_eq!(read(bytes(ids.into_iter(), &[])), refused("dedupe order"), "{ids:?}");
        }
    }
}
