//! Which configuration may follow which.

use super::*;
use base::Prng;

fn may(a: &Configuration, b: &Configuration) -> bool {
    let (a, b) = (a.clone().compile().unwrap(), b.clone().compile().unwrap());
    assert!(a.may_be_followed_by(&a), "anything may stay as it is");
    a.may_be_followed_by(&b)
}

#[test]
fn systems_that_meet_may_follow_each_other_and_others_go_by_a_joint_one() {
    let quorum = |text: &str| shared("a b c d e", text);
    let three = quorum("majority(a, b, c)");
    assert!(may(&three, &quorum("majority(a, b, c, d)")));
    assert!(!may(&three, &quorum("majority(a, d, e)")));
    let mut joint = three.clone();
    joint.joint = Some("majority(a, d, e)".into());
    assert!(may(&three, &joint) && may(&joint, &quorum("majority(a, d, e)")));
    assert!(may(&joint, &three), "also back");
}

#[test]
fn each_role_must_meet_the_others_counterpart() {
    let node = |text: &str| over("a b c", text, BallotRule::TermAndNode);
    let old = node("elect = all of (a, b, c); commit = any of (a, b, c)");
    // The new elect sets miss old commit sets, or the old elect sets new commit sets.
    let new = node("elect = 2 of (a, b, c); commit = 2 of (a, b, c)");
    assert!(!may(&old, &new) && !may(&new, &old));
}

#[test]
fn elect_sets_meet_each_other_where_terms_are_shared() {
    let old = "elect = 3 of (a, b, c, d, e); commit = 4 of (a, b, c, d, e)";
    let new = "elect = 2 of (c, d, e); commit = 4 of (a, b, c, d, e)";
    let of = |text, rule| over("a b c d e", text, rule);
    for (rule, goes) in [(BallotRule::SharedTerms, false), (BallotRule::TermAndNode, true)] {
        assert_eq!(may(&of(old, rule), &of(new, rule)), goes);
    }
}

#[test]
fn members_keep_their_slots_and_voters_their_names() {
    let now = shared("a b c", "majority(a, b)");
    let follows = |edit: &dyn Fn(&mut Configuration)| {
        let mut next = now.clone();
        edit(&mut next);
        may(&now, &next)
    };
    assert!(follows(&|_| ()));
    assert!(follows(&|c| drop(c.members.pop())));
    assert!(follows(&|c| c.members.push(member(4, "d"))));
    assert!(!follows(&|c| c.members[2].slot = 7), "the same id at another slot");
    assert!(!follows(&|c| c.members[2].id = NodeId(7)), "another id at the same slot");
    assert!(!follows(&|c| c.members[2].name = "x".into()), "a voter under another name");
    let taken = |c: &mut Configuration| {
        let name = c.members.pop().unwrap().name;
        c.members.push(member(9, &name));
    };
    assert!(!follows(&taken), "a voter's name at another member");
    let mut learner = now.clone();
    learner.members[2].learner = true;
    let mut named = learner.clone();
    named.members[2].name = "x".into();
    assert!(may(&learner, &named), "a learner stands in no text");
    let mut voter = now.clone();
    voter.members[2].name = "x".into();
    assert!(may(&learner, &voter), "nor did it before it was promoted");
}

#[test]
fn roles_and_the_ballot_rule_are_for_good() {
    let (now, node) = (BallotRule::SharedTerms, BallotRule::TermAndNode);
    let of = |text: &str, rule| over("a b c", text, rule);
    let (plain, marked) = ("majority(a, b, c)", "majority(a, b, witness(c))");
    assert!(of(plain, now).changes_rule(&of(plain, node)));
    assert!(!of(plain, now).changes_rule(&of(marked, now)));
    assert!(!may(&of(plain, now), &of(plain, node)));
    assert!(!may(&of(plain, now), &of(marked, now)), "a data member becomes a witness");
    assert!(!may(&of(marked, now), &of(plain, now)), "a witness gets data");
}

/// A family over the letters of a bit set, as text and as what it says of each set.
fn family(p: &mut Prng) -> (String, Vec<bool>) {
    let letters: Vec<usize> = (0..5).filter(|_| p.below(4) > 0).collect();
    let letters = if letters.is_empty() { vec![p.below(5) as usize] } else { letters };
    let need = 1 + p.below(letters.len() as u64) as usize;
    let name = |at: &usize| char::from(b'a' + *at as u8).to_string();
    let names: Vec<String> = letters.iter().map(name).collect();
    let here = |set: usize| letters.iter().filter(|at| set >> **at & 1 == 1).count();
    let table = (0..32).map(|set| here(set) >= need).collect();
    (format!("{need} of ({})", names.join(", ")), table)
}

fn meets(a: &[bool], b: &[bool]) -> bool {
    (0..32).all(|set| !a[set] || !b[31 ^ set])
}

/// Two random configurations, the second proposed after the first: it is taken exactly when the
/// rule is the same and all sets meet that must, by truth tables.
pub fn play(seed: u64, taken: &mut [u64; 2]) {
    let mut p = Prng::new(seed);
    let rules = [BallotRule::SharedTerms, BallotRule::TermAndNode];
    let mut draw = || loop {
        let rule = rules[p.below(2) as usize];
        let ((elect, e), (commit, c)) = (family(&mut p), family(&mut p));
        let safe = meets(&e, &c) && (rule == BallotRule::TermAndNode || meets(&e, &e));
        let config = over("a b c d e", &format!("elect = {elect}; commit = {commit}"), rule);
        let compiled = config.clone().compile();
        assert_eq!(compiled.is_ok(), safe, "{rule:?}: {}", config.quorum);
        if let Ok(compiled) = compiled {
            return (compiled, rule, e, c);
        }
    };
    let ((old, rule, e, c), (new, other, f, d)) = (draw(), draw());
    let elects = rule == BallotRule::TermAndNode || meets(&e, &f);
    let expected = rule == other && meets(&e, &d) && meets(&f, &c) && elects;
    let (from, to) = (&old.config().quorum, &new.config().quorum);
    assert_eq!(old.config().changes_rule(new.config()), rule != other, "{from} -> {to}");
    assert_eq!(old.may_be_followed_by(&new), expected, "{rule:?}: {from} -> {to}");
    taken[usize::from(expected)] += 1;
}

#[test]
fn a_random_configuration_follows_another_exactly_when_all_meet_that_must() {
    let mut taken = [0; 2];
    (0..3000).for_each(|seed| play(seed, &mut taken));
    assert!(taken.iter().all(|count| *count > 100), "{taken:?}");
}
