//! Changes, step by step.

use super::*;
use cluster::{LEARNERS_MAX, REMOVED_MAX, label};

fn quorums(steps: &[Compiled]) -> Vec<String> {
    let text = |c: &Compiled| match &c.joint {
        Some(joint) => format!("{} -> {joint}", c.quorum),
        None => c.quorum.clone(),
    };
    steps.iter().map(text).collect()
}

fn add(id: u64, name: &str, learner: bool, quorum: Option<&str>) -> Change {
    Change::Add { member: newcomer(id, name), learner, quorum: quorum.map(Into::into) }
}

#[test]
fn a_newcomer_comes_in_as_a_learner_then_jointly_then_alone() {
    let steps = walk(&majority_of_three(), &add(7, "d", false, None));
    let (three, four) = ("majority(a, b, c)", "majority(a, b, c, d)");
    assert_eq!(quorums(&steps), [three, &format!("{three} -> {four}"), four]);
    let learners: Vec<_> = steps.iter().map(|c| c.member(NodeId(7)).unwrap().learner).collect();
    assert_eq!(learners, [true, false, false]);
    let changing: Vec<_> = steps.iter().map(|c| c.is_changing()).collect();
    assert_eq!(changing, [true, true, false]);
    assert_eq!(steps[0].slot_of(NodeId(7)), Some(3));
    assert_eq!(steps[0].change.slot_last, Some(3));
    assert!(steps.iter().all(|c| c.change.request == request(9)));
    assert_eq!(steps[2].change.promote, None);
}

#[test]
fn a_newcomer_waits_until_it_has_caught_up_and_said_its_name() {
    let everybody = NodeSet::first(64);
    let waits = begin(&majority_of_three(), &add(7, "d", false, None)).unwrap();
    assert_eq!(waits.advance(everybody, |_| false), Ok(None));
    assert!(waits.advance(everybody, |id| id == NodeId(7)).unwrap().is_some());
    // Without a name of its own it says one first.
    let waits = begin(&majority_of_three(), &add(7, "", false, None)).unwrap();
    assert_eq!(waits.member(NodeId(7)).unwrap().name, label(NodeId(7)));
    assert_eq!(label(NodeId(7)), "m0000000000000007");
    assert_eq!(advance(&waits), None);
    let client_urls = vec!["http://d:2".to_string()];
    let publish = Change::Publish { id: NodeId(7), name: "d".into(), client_urls };
    let named = begin(&waits, &publish).unwrap();
    assert_eq!(advance(&named).unwrap().joint.as_deref(), Some("majority(a, b, c, d)"));
    // Somebody else's name stays its own; the label is then for good.
    let publish =
        Change::Publish { id: NodeId(7), name: "a".into(), client_urls: vec!["x".into()] };
    let labelled = begin(&waits, &publish).unwrap();
    assert_eq!(labelled.member(NodeId(7)).unwrap().name, label(NodeId(7)));
    assert!(advance(&labelled).is_some());
}

#[test]
fn a_change_needs_a_quorum_of_the_living_where_it_leads() {
    let three = majority_of_three();
    let change = add(7, "d", false, None);
    let begun = three.begin(&change, request(1), slots(&[0, 1]), |_| true).unwrap();
    let refused = three.begin(&change, request(1), slots(&[0]), |_| true);
    let why = "no quorum of majority(a, b, c, d) is alive: b, c not heard from";
    assert_eq!(refused, Err(ChangeError::NotEnoughStarted(why.to_string())));
    // The newcomer is expected to be alive by then.
    let refused = begun.advance(slots(&[0, 1]), |_| true);
    let why = "no quorum of majority(a, b, c, d) is alive: c, d not heard from".to_string();
    assert_eq!(refused, Err(ChangeError::NotEnoughStarted(why)));
    assert!(begun.advance(slots(&[0, 1, 3]), |_| true).unwrap().is_some());
    // Who leaves is not missed.
    let remove = Change::Remove { id: NodeId(3), quorum: None };
    assert!(three.begin(&remove, request(1), slots(&[0, 1]), |_| true).is_ok());
    let why = "no quorum of all of (a, b) is alive: b not heard from".to_string();
    let refused = three.begin(&remove, request(1), slots(&[0, 2]), |_| true);
    assert_eq!(refused, Err(ChangeError::NotEnoughStarted(why)));
    // Both roles count.
    let text = "elect = all of (a, b, c); commit = any of (a, b, c)".to_string();
    let change = Change::Quorum { text };
    assert!(three.begin(&change, request(1), slots(&[0, 1]), |_| true).is_err());
    let text = "elect = 2 of (a, b, c); commit = all of (a, b, c)".to_string();
    let change = Change::Quorum { text };
    assert!(three.begin(&change, request(1), slots(&[0, 1]), |_| true).is_err());
}

#[test]
fn a_joint_configuration_ends_whoever_is_alive() {
    let remove = Change::Remove { id: NodeId(3), quorum: None };
    let joint = begin(&majority_of_three(), &remove).unwrap();
    let done = joint.advance(NodeSet::EMPTY, |_| false).unwrap().expect("it is committed");
    assert_eq!((done.quorum.as_str(), &done.joint), ("all of (a, b)", &None));
    assert_eq!(done.change.removed, [(NodeId(3), "c".to_string())]);
    assert_eq!((done.change.remove, done.change.slot_last), (None, Some(2)));
    assert_eq!(done.members.len(), 2);
}

#[test]
fn a_learner_that_is_asked_for_stays_one_until_it_is_promoted() {
    let steps = walk(&majority_of_three(), &add(7, "d", true, None));
    assert_eq!(steps.len(), 1);
    let one = &steps[0];
    assert!(!one.is_changing());
    assert_eq!(LEARNERS_MAX, 1);
    assert_eq!(begin(one, &add(8, "e", true, None)), Err(ChangeError::TooManyLearners));
    // One on its way to vote is no learner that was asked for.
    let waits = begin(&majority_of_three(), &add(8, "e", false, None)).unwrap();
    assert!(matches!(begin(&waits, &add(9, "f", true, None)), Err(ChangeError::Pending(_))));
    let promote = |id| Change::Promote { id: NodeId(id), quorum: None };
    let late = one.begin(&promote(7), request(1), NodeSet::first(64), |_| false);
    assert_eq!(late, Err(ChangeError::LearnerNotReady));
    assert_eq!(begin(one, &promote(1)), Err(ChangeError::NotLearner));
    assert_eq!(begin(one, &promote(77)), Err(ChangeError::MemberNotFound));
    let steps = walk(one, &promote(7));
    assert_eq!(steps.last().unwrap().quorum, "majority(a, b, c, d)");
    let quorum = Some("all of (a, d)".to_string());
    let steps = walk(one, &Change::Promote { id: NodeId(7), quorum });
    assert_eq!(steps.last().unwrap().quorum, "all of (a, d)");
}

#[test]
fn a_learner_leaves_at_once_and_a_newcomer_takes_its_change_along() {
    let remove = Change::Remove { id: NodeId(7), quorum: None };
    for learner in [true, false] {
        let with = begin(&majority_of_three(), &add(7, "d", learner, None)).unwrap();
        let without = begin(&with, &remove).unwrap();
        assert!(!without.is_changing() && without.member(NodeId(7)).is_none());
        assert_eq!(without.change.removed, [(NodeId(7), "d".to_string())]);
        assert_eq!(begin(&without, &add(7, "d", true, None)), Err(ChangeError::IdExists));
        assert_eq!(without.quorum, "majority(a, b, c)");
    }
    let replace = Change::Replace { old: NodeId(1), member: newcomer(7, "d"), quorum: None };
    let waits = begin(&majority_of_three(), &replace).unwrap();
    let back = begin(&waits, &remove).unwrap();
    assert_eq!((back.change.quorum.clone(), back.change.remove), (None, None));
    assert_eq!(back.members.len(), 3);
    // Another learner that goes leaves the change alone: there is none to begin.
    let other = Change::Remove { id: NodeId(2), quorum: None };
    let Err(ChangeError::Pending(why)) = begin(&waits, &other) else { panic!("one at a time") };
    assert_eq!(why, "member d (7) has not caught up yet; start it, or remove it");
}

#[test]
fn one_change_at_a_time_and_a_joint_one_takes_nothing() {
    let joint = begin(&majority_of_three(), &Change::Remove { id: NodeId(3), quorum: None });
    let joint = joint.unwrap();
    let publish = Change::Publish { id: NodeId(1), name: "a".into(), client_urls: vec![] };
    for change in [add(7, "d", true, None), publish.clone()] {
        let Err(ChangeError::Pending(why)) = begin(&joint, &change) else { panic!("{change:?}") };
        assert_eq!(why, "the change to quorum all of (a, b) is not done yet");
    }
    let waits = begin(&majority_of_three(), &add(7, "d", false, None)).unwrap();
    assert!(begin(&waits, &publish).is_ok(), "who is called what is nobody's quorum");
    let promote = |id| Change::Promote { id: NodeId(id), quorum: None };
    assert!(begin(&waits, &promote(7)).is_ok(), "it is what is under way");
    assert!(matches!(begin(&waits, &promote(1)), Err(ChangeError::Pending(_))));
}

#[test]
fn ids_names_and_urls_are_taken_once() {
    let three = majority_of_three();
    let learner = |member: Newcomer| Change::Add { member, learner: true, quorum: None };
    for id in [0, 1] {
        assert_eq!(begin(&three, &learner(newcomer(id, "d"))), Err(ChangeError::IdExists));
    }
    let why = invalid(begin(&three, &learner(newcomer(7, "b"))));
    assert_eq!(why, "a member is called \"b\" already");
    let peer_urls = vec!["http://z:1".to_string(), "http://b:1".to_string()];
    let taken = Newcomer { peer_urls: peer_urls.clone(), ..newcomer(7, "d") };
    assert_eq!(begin(&three, &learner(taken)), Err(ChangeError::PeerUrlsExist));
    let update = |id, peer_urls| Change::Update { id: NodeId(id), peer_urls };
    assert_eq!(begin(&three, &update(1, peer_urls.clone())), Err(ChangeError::PeerUrlsExist));
    let own = begin(&three, &update(2, peer_urls.clone())).unwrap();
    assert_eq!(own.member(NodeId(2)).unwrap().peer_urls, peer_urls);
    assert_eq!(begin(&three, &update(77, vec![])), Err(ChangeError::MemberNotFound));
}

#[test]
fn a_voter_says_where_it_serves_and_keeps_its_name() {
    let publish = |id, name: &str| Change::Publish {
        id: NodeId(id),
        name: name.into(),
        client_urls: vec!["http://new:2".into()],
    };
    let said = begin(&majority_of_three(), &publish(1, "other")).unwrap();
    let member = said.member(NodeId(1)).unwrap();
    assert_eq!((&member.name[..], &member.client_urls[0][..]), ("a", "http://new:2"));
    assert_eq!(begin(&majority_of_three(), &publish(77, "x")), Err(ChangeError::MemberNotFound));
    // A learner is named while nothing has named it: not by "", and not while a text waits for it.
    let learner = begin(&majority_of_three(), &add(7, "", true, None)).unwrap();
    let name = |c: &Compiled| c.member(NodeId(7)).unwrap().name.clone();
    assert_eq!(name(&begin(&learner, &publish(7, "")).unwrap()), label(NodeId(7)));
    assert_eq!(name(&begin(&learner, &publish(7, "d")).unwrap()), "d");
    let once = begin(&learner, &publish(7, "d")).unwrap();
    assert_eq!(name(&begin(&once, &publish(7, "e")).unwrap()), "d", "a name is for good");
    let text = format!("majority(a, {})", label(NodeId(7)));
    let waits = begin(&majority_of_three(), &add(7, "", false, Some(&text))).unwrap();
    assert_eq!(name(&begin(&waits, &publish(7, "d")).unwrap()), label(NodeId(7)));
}

#[test]
fn a_quorum_that_names_its_members_says_what_it_becomes() {
    let four = shared("a b c d", "3 of (a, b, c, d)").compile().unwrap();
    assert!(four.follows_members(), "three of four is the majority");
    let all = shared("a b c", "all of (a, b, c)").compile().unwrap();
    let why = invalid(begin(&all, &add(7, "d", false, None)));
    assert!(why.contains("the quorum all of (a, b, c) names its members: say which"), "{why}");
    assert!(begin(&all, &Change::Remove { id: NodeId(3), quorum: None }).is_err());
    let quorum = Some("all of (a, b)".to_string());
    let steps = walk(&all, &Change::Remove { id: NodeId(3), quorum });
    assert_eq!(steps.last().unwrap().quorum, "all of (a, b)");
    // Who stands in no text can leave without one.
    let two = shared("a b c", "all of (a, b)").compile().unwrap();
    let steps = walk(&two, &Change::Remove { id: NodeId(3), quorum: None });
    assert_eq!(quorums(&steps), ["all of (a, b)"]);
    assert_eq!(steps[0].members.len(), 2);
    let one = shared("a", "a").compile().unwrap();
    let last = begin(&one, &Change::Remove { id: NodeId(1), quorum: None });
    assert_eq!(last, Err(ChangeError::NotEnoughStarted("it is the last voting member".into())));
    let nobody = begin(&one, &Change::Remove { id: NodeId(7), quorum: None });
    assert_eq!(nobody, Err(ChangeError::MemberNotFound));
}

#[test]
fn a_replacement_takes_the_place_of_the_old_one_in_the_text() {
    let replace = |quorum: Option<&str>| Change::Replace {
        old: NodeId(2),
        member: newcomer(7, "two words"),
        quorum: quorum.map(Into::into),
    };
    let last = |config: &Configuration, change: &Change| {
        let steps = walk(&config.clone().compile().unwrap(), change);
        assert_eq!(steps.len(), 3);
        let end = steps.last().unwrap();
        assert!(end.member(NodeId(2)).is_none() && end.member(NodeId(7)).is_some());
        end.quorum.clone()
    };
    let weighted = shared("a b c", "weighted{a:2, b:1, c:1}");
    assert_eq!(last(&weighted, &replace(None)), "weighted{a:2, \"two words\":1, c:1}");
    let plain = shared("a b c", "majority(a, b, c)");
    assert_eq!(last(&plain, &replace(None)), "majority(a, c, \"two words\")");
    assert_eq!(last(&weighted, &replace(Some("majority(a, c, \"two words\")"))), {
        "majority(a, c, \"two words\")"
    });
    let marked = shared("a b c", "majority(a, witness(b), c)");
    assert_eq!(last(&marked, &replace(None)), "majority(a, witness(\"two words\"), c)");
    let nobody = Change::Replace { old: NodeId(9), member: newcomer(7, "d"), quorum: None };
    assert_eq!(begin(&majority_of_three(), &nobody), Err(ChangeError::MemberNotFound));
}

#[test]
fn a_majority_with_witnesses_follows_the_members_and_keeps_them_marked() {
    let marked = shared("a b c", "majority(a, b, witness(c))").compile().unwrap();
    let steps = walk(&marked, &add(7, "d", false, None));
    assert_eq!(steps.last().unwrap().quorum, "majority(a, b, witness(c), d)");
    assert_eq!(steps.last().unwrap().witnesses(), slots(&[2]));
}

#[test]
fn a_system_that_decides_alike_is_taken_at_once() {
    let text = "2 of (a, b, c)".to_string();
    let steps = walk(&majority_of_three(), &Change::Quorum { text: text.clone() });
    assert_eq!(quorums(&steps), [text], "as it was written, without a joint phase");
}

#[test]
fn what_is_asked_for_must_be_readable_safe_and_of_one_role_each() {
    let three = majority_of_three();
    let quorum = |text: &str| Change::Quorum { text: text.into() };
    assert!(invalid(begin(&three, &quorum("majority(a"))).contains("column 11"));
    assert!(invalid(begin(&three, &quorum("majority(a, x)"))).contains("no member is named `x`"));
    let apart = "any of (a, b, c)";
    let why = invalid(begin(&three, &quorum(apart)));
    assert!(why.contains("share no member") && !why.contains("ballots"), "{why}");
    let rows = "elect = any of (a, b, c); commit = all of (a, b, c)";
    let why = invalid(begin(&three, &quorum(rows)));
    assert!(why.ends_with("since it was bootstrapped; that cannot change while it runs"), "{why}");
    let node = over("a b c", "majority(a, b, c)", BallotRule::TermAndNode).compile().unwrap();
    assert!(begin(&node, &quorum(rows)).is_ok());
    assert!(!invalid(begin(&node, &quorum(apart))).contains("ballots"), "they are (term, node)");
    let why = invalid(begin(&three, &quorum("majority(a, b, witness(c))")));
    assert!(why.starts_with("member c (3) holds data and cannot be a witness in place"), "{why}");
    let marked = shared("a b c", "majority(a, b, witness(c))").compile().unwrap();
    let why = invalid(begin(&marked, &quorum("majority(a, b, c)")));
    assert!(why.starts_with("member c (3) is a witness and cannot hold data in place"), "{why}");
    let why = invalid(begin(&three, &add(7, "d", false, Some("majority(a, b, witness(c), d)"))));
    assert!(why.contains("cannot be a witness in place"), "{why}");
}

#[test]
fn a_change_that_is_called_off_leaves_its_newcomer_as_a_learner() {
    let steps = walk(&majority_of_three(), &add(7, "d", false, None));
    let back = steps[1].called_off();
    check(&back);
    assert_eq!((back.quorum.as_str(), &back.joint), ("majority(a, b, c)", &None));
    assert!(back.member(NodeId(7)).unwrap().learner && !back.is_changing());
    assert_eq!(back.change.request, RequestId::default());
    assert!(steps[1].may_be_followed_by(&back));
    assert_eq!(back.system(), majority_of_three().system());
    // Nobody else becomes one.
    assert_eq!(back.voters(), slots(&[0, 1, 2]));
    let steps = walk(&majority_of_three(), &Change::Remove { id: NodeId(3), quorum: None });
    let back = steps[0].called_off();
    assert_eq!((back.voters(), back.change.remove), (slots(&[0, 1, 2]), None));
}

#[test]
fn a_witness_whose_change_is_called_off_stays_one() {
    let text = "majority(a, b, witness(d))";
    let steps = walk(&majority_of_three(), &add(7, "d", false, Some(text)));
    let back = steps[1].called_off();
    check(&back);
    assert_eq!(back.change.quorum.as_deref(), Some(text));
    assert!(back.is_witness(NodeId(7)) && back.member(NodeId(7)).unwrap().learner);
    // And it comes in as such later, when it is asked for again.
    let again = walk(&back, &Change::Promote { id: NodeId(7), quorum: None });
    assert_eq!(again.last().unwrap().quorum, text);
}

#[test]
fn who_left_is_remembered_for_a_while_and_no_longer_marked() {
    let mut config = majority_of_three();
    config.mark_out(vec![NodeId(2), NodeId(3)]);
    let steps = walk(&config, &Change::Remove { id: NodeId(3), quorum: None });
    assert_eq!(steps.last().unwrap().change.out, [NodeId(2)]);
    for id in 100..100 + REMOVED_MAX as u64 + 3 {
        config = begin(&config, &add(id, "", true, None)).unwrap();
        config = begin(&config, &Change::Remove { id: NodeId(id), quorum: None }).unwrap();
    }
    assert_eq!(config.change.removed.len(), REMOVED_MAX);
    assert_eq!(config.change.removed[0].0, NodeId(103), "the oldest are forgotten");
}

#[test]
fn slots_are_given_in_a_circle_and_there_are_64() {
    let mut config = majority_of_three();
    for id in 100..161 {
        config = begin(&config, &add(id, "", false, None)).unwrap();
        let publish = |name: String| {
            let client_urls = vec![format!("http://{name}:2")];
            Change::Publish { id: NodeId(id), name, client_urls }
        };
        config = begin(&config, &publish(format!("x{id}"))).unwrap();
        while let Some(next) = advance(&config) {
            config = next;
        }
    }
    assert_eq!((config.members.len(), config.voters()), (64, NodeSet::first(64)));
    assert_eq!(invalid(begin(&config, &add(200, "", true, None))), "too many members");
    let mut plain = majority_of_three().config().clone();
    plain.members[1].slot = 63;
    let around = begin(&plain.compile().unwrap(), &add(7, "d", true, None)).unwrap();
    assert_eq!(around.slot_of(NodeId(7)), Some(1), "after the last slot comes the first free one");
}

#[test]
fn a_learner_leaves_though_nobody_is_alive_and_is_not_missed_either() {
    let one = walk(&majority_of_three(), &add(7, "d", true, None)).pop().unwrap();
    let remove = Change::Remove { id: NodeId(7), quorum: None };
    let left = one.begin(&remove, request(1), NodeSet::EMPTY, |_| true).unwrap();
    assert!(left.member(NodeId(7)).is_none() && !left.is_changing());
    let all = Change::Quorum { text: "all of (a, b, c)".into() };
    let refused = one.begin(&all, request(1), slots(&[0]), |_| true);
    let why = "no quorum of all of (a, b, c) is alive: b, c not heard from".to_string();
    assert_eq!(refused, Err(ChangeError::NotEnoughStarted(why)));
}

#[test]
fn a_member_in_no_quorum_leaves_for_the_quorum_that_was_asked_for_or_for_the_same() {
    let apart = shared("a b c", "2 of (a, b)").compile().unwrap();
    let ask = |quorum: Option<&str>| {
        let remove = Change::Remove { id: NodeId(3), quorum: quorum.map(Into::into) };
        walk(&apart, &remove).pop().unwrap().quorum.clone()
    };
    assert_eq!(ask(None), "2 of (a, b)");
    assert_eq!(ask(Some("majority(a, b)")), "majority(a, b)");
}

#[test]
fn a_slot_that_was_left_is_given_again_after_all_others() {
    let remove = Change::Remove { id: NodeId(3), quorum: None };
    let two = walk(&majority_of_three(), &remove).pop().unwrap();
    assert_eq!(two.members.iter().map(|m| m.slot).max(), Some(1));
    let three = walk(&two, &add(7, "d", false, None)).pop().unwrap();
    assert_eq!(three.slot_of(NodeId(7)), Some(3), "2 was left just now");
}
