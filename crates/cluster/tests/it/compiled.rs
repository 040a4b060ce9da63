//! What a configuration means: who counts, who keeps what, and which is refused.

use super::*;

#[test]
fn members_that_contradict_each_other_are_refused() {
    let refused = |edit: &dyn Fn(&mut Configuration)| {
        let mut config = shared("a b c", "majority(a, b)");
        edit(&mut config);
        config.compile().unwrap_err().to_string()
    };
    assert_eq!(refused(&|c| c.members[1].id = NodeId(0)), "member id 0 means nobody");
    assert_eq!(refused(&|c| c.members[2].slot = 64), "slot 64 is out of range");
    assert_eq!(refused(&|c| c.members[2].slot = 0), "member a is not unique");
    assert_eq!(refused(&|c| c.members[2].id = NodeId(2)), "member b is not unique");
    assert_eq!(refused(&|c| c.members[2].name = "b".into()), "member b is not unique");
    let many = |c: &mut Configuration| c.members = vec![member(1, "a"); 65];
    assert_eq!(refused(&many), "too many members");
    let mut config = shared("a b c", "majority(a, b)");
    config.members[2].slot = 63;
    config.compile().expect("the last slot is one");
}

#[test]
fn a_text_is_refused_with_its_reason() {
    let refused = |quorum: &str, joint: Option<&str>| {
        let mut config = shared("a b c d", quorum);
        config.members[3].learner = true;
        config.joint = joint.map(Into::into);
        config.compile().unwrap_err().to_string()
    };
    assert!(refused("majority(a", None).starts_with("quorum \"majority(a\": column 11: expected"));
    assert!(refused("majority(a, b, x)", None).contains("no member is named `x`"));
    assert!(refused("all of (a, d)", None).contains("no member is named `d`"), "a learner");
    assert!(refused("any of (a, b)", None).contains("share no member"));
    assert!(refused("a", Some("any of (a, b)")).contains("share no member"));
    let rows = "elect = row(a b / c d); commit = cover(a b / c d)";
    assert!(shared("a b c d", rows).compile().is_err(), "two leaders of one term");
    over("a b c d", rows, BallotRule::TermAndNode).compile().expect("ballots are unique");
}

#[test]
fn a_joint_configuration_decides_by_both_systems() {
    let mut config = shared("a b c d", "all of (a, b)");
    config.joint = Some("all of (c, d)".into());
    let joint = config.compile().unwrap();
    let commit = joint.system().commit();
    assert!(!commit.is_quorum(slots(&[0, 1])) && !commit.is_quorum(slots(&[2, 3])));
    assert!(commit.is_quorum(slots(&[0, 1, 2, 3])));
    assert!(!joint.system().elect().is_quorum(slots(&[0, 1, 2])));
    assert!(joint.is_changing() && !joint.follows_members());
}

#[test]
fn who_is_called_a_witness_in_any_text_keeps_no_data() {
    let mut config = shared("a b c d e", "majority(a, b, witness(c))");
    config.members[4].learner = true;
    let now = config.clone().compile().unwrap();
    assert_eq!(now.witnesses(), slots(&[2]));
    assert!(now.is_witness(NodeId(3)) && !now.is_witness(NodeId(1)) && !now.is_witness(NodeId(77)));
    // d votes by no text: what it holds counts for nothing.
    let roles = now.roles();
    assert_eq!((roles.witnesses, roles.holders), (slots(&[2]), slots(&[0, 1])));
    assert_eq!(roles.data, roles.holders);
    config.joint = Some("majority(a, b, witness(c), witness(d))".into());
    config.change.quorum = Some("majority(a, b, witness(e))".into());
    let mut moving = config.compile().unwrap();
    assert_eq!(moving.witnesses(), slots(&[2, 3, 4]), "also whom a newcomer waits for");
    assert_eq!(moving.roles().holders, slots(&[0, 1]));
    moving.mark_out(vec![NodeId(2)]);
    assert_eq!((moving.roles().holders, moving.roles().data), (slots(&[0, 1]), slots(&[0])));
    assert_eq!(moving.out(), slots(&[1]));
    check(&moving);
}

#[test]
fn the_plain_majority_follows_the_members_however_it_is_written() {
    let follows = |names: &str, quorum: &str| {
        over(names, quorum, BallotRule::TermAndNode).compile().unwrap().follows_members()
    };
    for text in ["majority(a, b, c)", "2 of (c, a, b)", "majority(a, witness(b), c)"] {
        assert!(follows("a b c", text), "{text}");
    }
    assert!(follows("a", "a"));
    let others = ["all of (a, b, c)", "majority(a, b)", "weighted{a:2, b:1, c:1}"];
    for text in others.into_iter().chain(["elect = 2 of (a, b, c); commit = all of (a, b, c)"]) {
        assert!(!follows("a b c", text), "{text}");
    }
}

/// Whatever a peer's bytes say, they compile or are refused.
#[test]
fn a_change_that_would_leave_nobody_to_vote_leads_nowhere() {
    let mut config = shared("a", "a");
    config.change.promote = Some(NodeId(7));
    config.change.remove = Some(NodeId(1));
    let compiled = config.compile().expect("in force it decides");
    assert!(compiled.is_changing());
    assert_eq!(compiled.advance(NodeSet::first(64), |_| true), Ok(None), "nobody is to come in");
    let mut config = shared("a b", "a");
    config.members[1].learner = true;
    config.change.promote = Some(NodeId(2));
    config.change.quorum = Some("majority(x".into());
    let compiled = config.compile().expect("in force it decides");
    assert!(compiled.advance(NodeSet::first(64), |_| true).is_err(), "and goes no further");
}

#[test]
fn a_member_is_found_by_id_and_by_slot() {
    let mut config = shared("a b c", "majority(a, b)");
    config.members[2].learner = true;
    config.members[1].slot = 9;
    assert_eq!(config.member(NodeId(2)).map(|m| &m.name[..]), Some("b"));
    assert_eq!((config.slot_of(NodeId(2)), config.id_of(9)), (Some(9), Some(NodeId(2))));
    assert_eq!((config.slot_of(NodeId(9)), config.id_of(1)), (None, None));
    assert_eq!(config.voters(), slots(&[0, 9]), "a learner does not vote");
}

#[test]
fn others_decide_without_a_member_where_they_elect_and_commit() {
    let config = shared("a b c", "majority(a, b, c)");
    assert_eq!(config.decides_without(NodeId(3)), Ok(()));
    assert_eq!(config.decides_without(NodeId(77)), Ok(()), "who is none is not missed");
    let error = shared("a b", "all of (a, b)").decides_without(NodeId(1)).unwrap_err();
    assert_eq!(error, "the others (b) are no quorum without this member");
    // Either role alone is not enough.
    let elect = "elect = all of (a, b, c); commit = any of (a, b, c)";
    assert!(shared("a b c", elect).decides_without(NodeId(1)).is_err());
    let commit = "elect = 2 of (a, b, c); commit = all of (a, b, c)";
    assert!(shared("a b c", commit).decides_without(NodeId(1)).is_err());
    assert!(shared("a b c", "nonsense(").decides_without(NodeId(1)).is_err());
}
