//! Sets of revisions.

use std::collections::BTreeMap;
use std::ops::Range;

/// Revisions as ranges that neither overlap nor touch: the end of each by its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<i64, i64>);

impl Ranges {
    pub fn iter(&self) -> impl Iterator<Item = Range<i64>> {
        self.0.iter().map(|(start, end)| *start..*end)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many ranges it takes to say it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The one that holds this revision, or the first behind it.
    pub fn at_or_behind(&self, revision: i64) -> Option<Range<i64>> {
        let holds = self.0.range(..=revision).next_back().filter(|(_, end)| **end > revision);
        let found = holds.or_else(|| self.0.range(revision..).next());
        found.map(|(start, end)| *start..*end)
    }

    pub fn has(&self, revision: i64) -> bool {
        self.at_or_behind(revision).is_some_and(|range| range.start <= revision)
    }

    pub fn covers(&self, range: &Range<i64>) -> bool {
        let found = self.at_or_behind(range.start);
        found.is_some_and(|found| found.start <= range.start && range.end <= found.end)
    }

    pub fn add(&mut self, range: Range<i64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        let before = self.0.range(..=end).rev().take_while(|(_, last)| **last >= start);
        let joined: Vec<Range<i64>> = before.map(|(first, last)| *first..*last).collect();
        for range in joined {
            self.0.remove(&range.start);
            (start, end) = (start.min(range.start), end.max(range.end));
        }
        self.0.insert(start, end);
    }

    /// The first part of this range that is in none of these, from `from` on.
    pub fn first_without(&self, others: &Self, mut from: i64) -> Option<Range<i64>> {
        loop {
            let range = self.at_or_behind(from)?;
            let start = range.start.max(from);
            match others.at_or_behind(start) {
                Some(other) if other.start <= start => from = other.end,
                Some(other) => return Some(start..range.end.min(other.start)),
                None => return Some(start..range.end),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_are_the_set_that_was_added() {
        for seed in 0..200 {
            let mut p = Prng::new(seed);
            let (mut all, mut others) = (Ranges::default(), Ranges::default());
            let (mut twin, mut other_twin) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..1 + p.below(12) {
                let start = p.below(40) as i64;
                let range = start..start + p.below(9) as i64;
                let (ranges, set) = match p.below(3) {
                    0 => (&mut others, &mut other_twin),
                    _ => (&mut all, &mut twin),
                };
                ranges.add(range.clone());
                set.extend(range);
            }
            let told: Vec<i64> = all.iter().flatten().collect();
            assert_eq!(told, Vec::from_iter(twin.iter().copied()), "seed {seed}");
            let gaps = twin.iter().zip(twin.iter().skip(1)).filter(|(a, b)| **a + 1 < **b);
            assert_eq!(all.len(), gaps.count() + usize::from(!twin.is_empty()));
            for from in 0..50 {
                assert_eq!(all.has(from), twin.contains(&from));
                let whole = |range: &Range<i64>| range.clone().all(|r| twin.contains(&r));
                let some = from..from + 1 + p.below(5) as i64;
                assert_eq!(all.covers(&some), whole(&some));
                let first = twin.difference(&other_twin).find(|r| **r >= from).copied();
                let found = all.first_without(&others, from);
                assert_eq!(found.as_ref().map(|range| range.start), first, "seed {seed}");
                if let Some(found) = found {
                    assert!(whole(&found) && found.clone().all(|r| !other_twin.contains(&r)));
                    let ends = !twin.contains(&found.end) || other_twin.contains(&found.end);
                    assert!(ends, "seed {seed}: as much as there is");
                }
            }
        }
    }
}
