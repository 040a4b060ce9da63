//! Whom to stop and where to cut, asked of the quorum system itself.

use quorum::{NodeSet, Slot, System};

fn without(set: NodeSet, slot: Slot) -> NodeSet {
    set.minus([slot].into_iter().collect())
}

/// True when these members can elect and commit.
pub fn works(system: &System, live: NodeSet) -> bool {
    system.elect().is_quorum(live) && system.commit().is_quorum(live)
}

/// Who may stop so that the rest still elects and commits; the leader rather than another.
pub fn spare(system: &System, live: NodeSet, leader: Slot) -> Option<Slot> {
    let others = live.iter().filter(|slot| *slot != leader);
    let mut candidates = [leader].into_iter().filter(|slot| live.contains(*slot)).chain(others);
    candidates.find(|slot| works(system, without(live, *slot)))
}

/// Who stops next, beside the leader, once nobody is spare: first so that nobody can be elected
/// while writes go on, if that can be; then so that nothing is committed. None when nobody but the
/// leader is left, or nothing is left to stop.
pub fn last_straw(system: &System, live: NodeSet, leader: Slot) -> Option<Slot> {
    let elects = |set| system.elect().is_quorum(set);
    let commits = |set| system.commit().is_quorum(set);
    if !elects(live) && !commits(live) {
        return None;
    }
    let others: Vec<Slot> = live.iter().filter(|slot| *slot != leader).collect();
    let first = |wanted: &dyn Fn(NodeSet) -> bool| {
        others.iter().copied().find(|slot| wanted(without(live, *slot)))
    };
    first(&|rest| !elects(rest) && commits(rest) && elects(live))
        .or_else(|| first(&|rest| !commits(rest) && commits(live)))
        .or_else(|| first(&|rest| !elects(rest) && elects(live)))
        .or_else(|| others.first().copied())
}

/// A split in two of which the first side works and the other neither elects nor commits: with
/// the smallest first side. None where every split leaves something to the other.
pub fn split(system: &System, all: NodeSet) -> Option<(NodeSet, NodeSet)> {
    let count = all.len();
    assert!(all == NodeSet::first(count) && count <= 16, "slots in a row, few enough to try all");
    let sides = (1..1u64 << count).map(NodeSet::from_bits).filter(|with| {
        let rest = all.minus(*with);
        let idle = !system.elect().is_quorum(rest) && !system.commit().is_quorum(rest);
        !rest.is_empty() && idle && works(system, *with)
    });
    let with = sides.min_by_key(|with| (with.len(), with.bits()))?;
    Some((with, all.minus(with)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorum::{Names, SystemSpec};

    fn system(text: &str) -> (System, NodeSet) {
        let spec = SystemSpec::parse(text).expect("it parses");
        let count = spec.names().len();
        let names: Vec<String> = (1..=count).map(|n| format!("n{n}")).collect();
        let system = spec.compile(&Names::in_order(&names)).expect("it is safe");
        (system, NodeSet::first(count))
    }

    const FAMILIES: [&str; 14] = [
        "majority(n1, n2, n3)",
        "majority(n1, n2, n3, n4, n5)",
        "majority(n1, n2, n3, n4, n5, n6, n7, n8, n9)",
        "grid(n1 n2 / n3 n4)",
        "grid(n1 n2 n3 / n4 n5 n6 / n7 n8 n9)",
        "zones(eu{n1, n2, n3}, us{n4, n5, n6}, ap{n7, n8, n9})",
        "weighted{n1:2, n2:1, n3:1, n4:1}",
        "weighted{n1:3, n2:1, n3:1}",
        "tree(n1 / n2 n3 / n4 n5 n6 n7)",
        "flexible(2; n1, n2, n3, n4, n5)",
        "elect = row(n1 n2 n3 / n4 n5 n6); commit = cover(n1 n2 n3 / n4 n5 n6)",
        "wheel(n1, n2, n3, n4, n5)",
        "wall(n1 / n2 n3 / n4 n5 n6)",
        "elect = all of (n1, n2, n3); commit = any of (n1, n2, n3)",
    ];

    /// Every leader in turn: members stop while they are spare, then until nothing is decided.
    #[test]
    fn members_stop_one_by_one_until_nothing_is_decided_in_every_family() {
        for text in FAMILIES {
            let (system, all) = system(text);
            for first in all.iter() {
                let (mut live, mut leader) = (all, first);
                while let Some(victim) = spare(&system, live, leader) {
                    live = without(live, victim);
                    assert!(works(&system, live), "{text}: {live:?}");
                    leader = if victim == leader { live.iter().next().unwrap() } else { leader };
                }
                let spared = live.iter().filter(|slot| works(&system, without(live, *slot)));
                assert_eq!(spared.count(), 0, "{text}: nobody else is spare in {live:?}");
                while let Some(victim) = last_straw(&system, live, leader) {
                    assert!(victim != leader && live.contains(victim), "{text}");
                    live = without(live, victim);
                }
                let alone = live.len() == 1;
                let over = !system.elect().is_quorum(live) && !system.commit().is_quorum(live);
                assert!(over || alone, "{text}: {live:?}");
            }
        }
    }

    #[test]
    fn elections_are_lost_before_writes_where_the_system_allows_it() {
        let (system, all) = system("flexible(2; n1, n2, n3, n4, n5)");
        let live = without(all, spare(&system, all, 0).expect("one of five"));
        let live = without(live, last_straw(&system, live, 1).expect("another"));
        assert!(!system.elect().is_quorum(live) && system.commit().is_quorum(live));
    }

    #[test]
    fn a_split_leaves_one_side_everything_and_the_other_nothing() {
        for text in FAMILIES {
            let (system, all) = system(text);
            let Some((with, rest)) = split(&system, all) else { continue };
            assert!(with.intersect(rest).is_empty() && with.union(rest) == all, "{text}");
            assert!(works(&system, with), "{text}");
            assert!(!system.elect().is_quorum(rest) && !system.commit().is_quorum(rest), "{text}");
        }
        let (five, all) = system("majority(n1, n2, n3, n4, n5)");
        assert_eq!(split(&five, all).map(|(with, rest)| (with.len(), rest.len())), Some((3, 2)));
        let (pair, all) = system("elect = all of (n1, n2); commit = any of (n1, n2)");
        assert_eq!(split(&pair, all), None, "each side can commit by itself");
    }
}
