//! Every family: its sugar means what its paper says.

use std::format;
use std::prelude::rust_2024::*;
use std::vec::Vec;

use super::{family, letters, system};
use crate::{Dominance, Expr, Family, NodeSet, Protocol, SystemSpec, Why, interchangeable};

fn numbers(count: usize) -> String {
    let names: Vec<String> = (0..count).map(|i| format!("n{i}")).collect();
    names.join(" ")
}

/// (least members two quorums of the family share, sizes of the smallest and largest quorum).
fn shape(family: &Family) -> (usize, usize, usize) {
    let quorums = family.minimal_quorums();
    let pairs = quorums.iter().flat_map(|a| quorums.iter().map(move |b| a.intersect(*b).len()));
    let least = pairs.min().unwrap();
    (least, quorums[0].len(), quorums.last().unwrap().len())
}

#[test]
fn shapes_have_the_quorums_of_the_literature() {
    type Case = (&'static str, usize, (usize, usize, usize), usize);
    // Text, minimal quorums, (least shared, smallest, largest), resilience.
    let cases: [Case; 12] = [
        ("cross(a b c / d e f / g h i)", 9, (2, 5, 5), 2),
        ("cross(a b c d / e f g h / i j k l / m n o p)", 16, (2, 7, 7), 3),
        ("plane(a b c d e f g)", 7, (1, 3, 3), 2),
        ("plane(a b c d e f g h i j k l m)", 13, (1, 4, 4), 3),
        ("tree(a b c d e f g)", 15, (1, 3, 4), 2),
        ("tree(a / b c / d e f g / h i j k l m n o)", 255, (1, 4, 8), 3),
        ("hqs(a b c / d e f / g h i)", 27, (1, 4, 4), 3),
        ("wheel(a, b, c, d, e)", 5, (1, 2, 4), 1),
        ("wheel(a b c d e f g h i)", 9, (1, 2, 8), 1),
        ("triangle(a / b c / d e f)", 10, (1, 3, 3), 2),
        ("triangle(a b c d e f g h i j)", 41, (1, 4, 4), 3),
        ("masking(1; a, b, c, d, e)", 5, (3, 4, 4), 1),
    ];
    for (text, quorums, expected, resilience) in cases {
        let family = family(text);
        assert_eq!(family.minimal_quorums().len(), quorums, "{text}");
        assert_eq!(shape(&family), expected, "{text}");
        assert_eq!(family.resilience(), resilience, "{text}");
        assert_eq!(system(text).check(Protocol::RaftSharedTerms), Ok(()), "{text}");
    }
}

#[test]
fn every_plane_has_as_many_lines_as_points_and_two_lines_share_one_point() {
    for (points, order) in [(7, 2), (13, 3), (21, 4), (31, 5), (57, 7)] {
        let plane = family(&format!("plane({})", numbers(points)));
        let (lines, complete) = plane.minimal_quorums_max(100);
        assert!(complete && lines.len() == points);
        for line in &lines {
            assert_eq!(line.len(), order + 1);
            assert!(lines.iter().all(|other| other == line || other.intersect(*line).len() == 1));
        }
    }
}

#[test]
fn masking_quorums_are_as_small_as_they_may_be() {
    for (count, f, need) in
        [(5usize, 1u8, 4u32), (6, 1, 5), (7, 1, 5), (8, 1, 6), (9, 2, 7), (13, 3, 10)]
    {
        let names = numbers(count).replace(' ', ",");
        let sugar = system(&format!("masking({f}; {names})"));
        assert_eq!(sugar.commit(), &Family::at_least(need, NodeSet::first(count)));
        assert_eq!(sugar.check(Protocol::Masking { f }), Ok(()));
        let smaller = system(&format!("{} of ({names})", need - 1));
        let offence = smaller.check(Protocol::Masking { f }).unwrap_err();
        assert!(offence.a.intersect(offence.b).len() <= 2 * f as usize);
        assert_eq!(offence.share_min, 2 * f + 1);
    }
}

#[test]
fn two_thresholds_are_those_of_one_round_byzantine_agreement() {
    for (count, f, advance, done) in
        [(6usize, 1u8, 3u32, 5u32), (11, 2, 5, 9), (16, 3, 7, 13), (21, 4, 9, 17)]
    {
        let names = numbers(count).replace(' ', ",");
        let system = system(&format!("two_threshold({f}; {names})"));
        assert_eq!(system.elect(), &Family::at_least(advance, NodeSet::first(count)));
        assert_eq!(system.commit(), &Family::at_least(done, NodeSet::first(count)));
        assert_eq!(system.check(Protocol::TwoThreshold { f }), Ok(()));
        let larger = system.check(Protocol::TwoThreshold { f: f + 1 }).unwrap_err();
        assert!(larger.a.intersect(larger.b).len() <= usize::from(f) + 1);
        assert_eq!(system.check(Protocol::Byzantine { f }).unwrap_err().why, Why::ElectMissesElect);
    }
}

#[test]
fn flexible_sets_meet_in_one_member_and_elect_more_than_they_commit() {
    let system = system("flexible(2; a, b, c, d, e)");
    assert_eq!(system.elect(), &Family::at_least(4, NodeSet::first(5)));
    assert_eq!(system.commit(), &Family::at_least(2, NodeSet::first(5)));
    assert_eq!(system.check(Protocol::RaftSharedTerms), Ok(()));
    assert_eq!(system.dominance(), Dominance::Never);
}

#[test]
fn gifford_needs_both_of_his_conditions() {
    // Gifford 1979, section 2: r + w > V, and 2w > V so that a writer sees the last version.
    assert_eq!(system("gifford(2, 3; a:2, b:1, c:1)").check(Protocol::VersionedVotes), Ok(()));
    let blind = system("gifford(3, 2; a:2, b:1, c:1)");
    assert_eq!(blind.check(Protocol::Paxos), Ok(()));
    let offence = blind.check(Protocol::VersionedVotes).unwrap_err();
    assert_eq!(offence.why, Why::CommitMissesCommit);
    assert!(offence.a.intersect(offence.b).is_empty());
    let stale = system("gifford(1, 3; a:2, b:1, c:1)").check(Protocol::VersionedVotes).unwrap_err();
    assert_eq!(stale.why, Why::ElectMissesCommit);
}

#[test]
fn zookeeper_lines_mean_its_hierarchical_quorums() {
    let lines = "group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\n";
    let hqs = family("hqs(1 2 3 / 4 5 6 / 7 8 9)");
    assert_eq!(system(lines).commit().minimal_quorums(), hqs.minimal_quorums());
    let weighted = system("group.1=1:2:3 group.2=4:5 weight.1=2 weight.4=0 weight.5=0");
    // The second group weighs nothing and does not count; server 1 has half of the first.
    let expected = family("weighted{1:2, 2:1, 3:1}").minimal_quorums();
    assert_eq!(weighted.commit().minimal_quorums(), expected);
    let file = "server.1=zoo1:2888:3888;2181\nserver.2=zoo2:2888:3888:participant;2181\n\
                server.3=10.0.0.3:2888:3888;2181\nserver.4=zoo4:2888:3888:observer;2181\n";
    let three = family("majority(1,2,3)").minimal_quorums();
    assert_eq!(system(file).commit().minimal_quorums(), three);
    let heavy = family("weighted{1:3, 2:1, 3:1}").minimal_quorums();
    assert_eq!(system(&format!("{file}weight.1=3")).commit().minimal_quorums(), heavy);
    let flat = system("weight.1=1 weight.2=1 weight.3=1");
    assert_eq!(flat.commit().minimal_quorums(), family("majority(1,2,3)").minimal_quorums());
    let spec = SystemSpec::parse(lines).unwrap();
    assert_eq!(SystemSpec::parse(&format!("{spec}")).unwrap(), spec);
}

#[test]
fn a_dual_is_the_least_partner_and_its_dual_the_family_again() {
    for text in ["row(a b c / d e f)", "weighted{a:3, b:1, c:1, d:1} >= 3", "a or b and c"] {
        let pair = system(&format!("elect = {text}; commit = dual({text})"));
        assert_eq!(pair.check(Protocol::Paxos), Ok(()), "{text}");
        assert_eq!(pair.dominance(), Dominance::Never, "{text}");
        assert_eq!(pair.commit().minimal_quorums(), family(text).dual().minimal_quorums());
        let twice = family(&format!("dual(dual({text}))"));
        assert_eq!(twice.minimal_quorums(), family(text).minimal_quorums());
    }
    assert_eq!(
        family("dual(row(a b / c d))").minimal_quorums(),
        family("cover(a b / c d)").minimal_quorums()
    );
}

#[test]
fn a_system_is_dominated_exactly_when_half_of_all_sets_are_not_its_quorums() {
    // Not dominated, self-dual, and failing half of the time at p = 1/2 are one thing (Peleg,
    // Wool 1995); the last column of the reference table.
    for (text, dominated) in [
        ("majority(a,b,c)", false),
        ("majority(a,b,c,d)", true),
        ("majority(a,b,c,d,e)", false),
        ("cross(a b c / d e f / g h i)", true),
        ("grid(a b c / d e f / g h i)", true),
        ("plane(a b c d e f g)", false),
        ("plane(a b c d e f g h i j k l m)", true),
        ("tree(a b c d e f g)", false),
        ("hqs(a b c d e f g h i)", false),
        ("wheel(a b c d e)", false),
        ("triangle(a b c d e f)", false),
        ("wall(a / b c / d e f / g h i)", false),
        ("weighted{a:2,b:1,c:1,d:1}", false),
        ("byzantine(1; a, b, c, d)", true),
        ("joint(majority(a,b,c), majority(c,d,e))", true),
    ] {
        let system = system(text);
        let count = system.support().len();
        let quorums = super::subsets(count).filter(|set| system.commit().is_quorum(*set)).count();
        assert_eq!(quorums * 2 != 1 << count, dominated, "{text}");
        match system.dominance() {
            Dominance::Never => assert!(!dominated, "{text}"),
            Dominance::By(set) => {
                assert!(dominated && !system.commit().is_quorum(set), "{text}");
                assert!(system.elect().blocks(set), "{text}: {set:?} meets every quorum");
            }
            Dominance::TooComplex => unreachable!("{text} is small"),
        }
    }
}

#[test]
fn a_witness_votes_like_anyone_and_alone_commits_nothing() {
    let spec = SystemSpec::parse("majority(a, b, witness(w))").unwrap();
    assert_eq!((spec.names(), spec.witnesses()), (["a", "b", "w"].into(), ["w"].into()));
    let plain = system("majority(a, b, w)");
    assert_eq!(spec.compile(&spec.infer_names()).unwrap(), plain);
    assert_eq!(SystemSpec::parse(&format!("{spec}")).unwrap(), spec);
    let blind = SystemSpec::parse("elect = all of (a, w, v); commit = majority(a, w, witness(v))");
    assert!(blind.unwrap().compile(&letters(0)).is_err(), "unknown names stay unknown");
    let blind = "elect = all of (a, w, v); commit = majority(a, witness(w), witness(v))";
    let blind = SystemSpec::parse(blind).unwrap();
    let error = format!("{}", blind.compile(&blind.infer_names()).unwrap_err());
    assert_eq!(error, "unsafe: commit quorum {w, v} has witnesses only, who keep no data");
}

#[test]
fn members_of_one_class_are_interchangeable() {
    let zones = family("zones(x{a,b,c}, y{d,e,f}, z{g,h,i})");
    let classes = interchangeable(&[&zones]);
    assert_eq!(classes.len(), 3);
    assert_eq!(interchangeable(&[&family("majority(a,b,c,d,e)")]).len(), 1);
    let odd = family("cross(a b / c d)");
    assert_eq!(interchangeable(&[&odd]).len(), 4);
}

#[test]
fn one_minimal_quorum_stands_for_those_that_exchange_members_of_a_class() {
    let by_class = |text: &str| {
        let family = family(text);
        let sets = family.minimal_by_class(&interchangeable(&[&family])).unwrap();
        (sets, family.minimal_quorums().len())
    };
    let set = NodeSet::from_bits;
    let heavy = "weighted{a:3, b:3, c:3, d:1, e:1}";
    assert_eq!(by_class(&format!("{heavy} >= 9")), ([set(0b111)].into(), 1));
    let heavier = "weighted{a:4, b:4, c:4, d:4, e:1} >= 16";
    assert_eq!(by_class(heavier), ([set(0b1111)].into(), 1), "all of a class are just enough");
    let (mut sets, all) = by_class(&format!("{heavy} >= 8"));
    sets.sort_unstable();
    assert_eq!((sets, all), ([set(0b00111), set(0b11011)].into(), 1 + 3));
}

#[test]
fn votes_are_safe_exactly_when_no_split_of_them_gives_both_roles_enough() {
    let weights = [5, 3, 2, 2, 1, 1];
    let sum = |set: NodeSet| set.iter().map(|slot| weights[slot as usize]).sum::<u32>();
    let votes = "a:5, b:3, c:2, d:2, e:1, f:1";
    for elect in 1..=14 {
        for commit in 1..=14 {
            let system = system(&format!("gifford({elect}, {commit}; {votes})"));
            for (protocol, shared_max) in [(Protocol::Paxos, 0), (Protocol::Byzantine { f: 1 }, 1)]
            {
                let all = NodeSet::first(6);
                let apart = |x: NodeSet, need: u32, other: u32| {
                    // Of a set that is enough, the other role may have so many members too.
                    let both =
                        super::subsets(6).filter(|s| s.is_subset(x) && s.len() <= shared_max);
                    let most = both.map(|s| sum(all.minus(x).union(s))).max().unwrap();
                    sum(x) >= need && most >= other
                };
                let pairs = [(elect, commit), (elect, elect), (commit, commit)];
                let asked = if shared_max == 0 { &pairs[..1] } else { &pairs[..] };
                let refused = asked
                    .iter()
                    .any(|(need, other)| super::subsets(6).any(|x| apart(x, *need, *other)));
                assert_eq!(system.check(protocol).is_err(), refused, "{elect} and {commit}");
            }
        }
    }
}

#[test]
fn many_shapes_together_are_refused_where_they_would_be_too_large_when_written_out() {
    let names =
        |from: usize| -> Vec<String> { (0..24).map(|n| format!("n{}", from + n)).collect() };
    // Each level repeats what is in its last row 25 times.
    let inner = format!("wall({} / x)", names(0).join(" / "));
    let shape = |k: usize| format!("(wall({} / {inner}) and m{k})", names(30).join(" / "));
    let text =
        |count| format!("majority({})", (0..count).map(shape).collect::<Vec<_>>().join(", "));
    assert!(Expr::parse(&text(4)).is_ok());
    let error = Expr::parse(&text(200)).expect_err("refused");
    assert!(error.message.contains("too large when written out"), "{error}");
}

#[test]
fn a_family_with_too_many_minimal_quorums_is_not_listed() {
    let alone = |family: &Family| -> Vec<NodeSet> {
        family.support().iter().map(|slot| [slot].into_iter().collect()).collect()
    };
    let many = Family::majority(NodeSet::first(64));
    assert_eq!(many.minimal_by_class(&alone(&many)), None);
    let (some, all) = many.minimal_quorums_max(3);
    assert!(some.len() == 3 && !all && some.iter().all(|set| many.is_quorum(*set)));
    let few = Family::majority(NodeSet::first(5));
    assert_eq!(few.minimal_by_class(&alone(&few)).map(|sets| sets.len()), Some(10));
    // Items that share nobody need not be held against each other: 24,310 are few.
    let more = Family::majority(NodeSet::first(17));
    assert_eq!(more.minimal_by_class(&alone(&more)).map(|sets| sets.len()), Some(24_310));
}
