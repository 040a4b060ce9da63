//! Whose directory takes part.

use super::*;

#[test]
fn a_birth_is_written_down_once_and_later_starts_of_it_after_it() {
    let (a, b) = (NodeId(1), NodeId(2));
    let mut config = majority_of_three();
    assert!(!config.is_founded() && config.met().is_empty() && config.out().is_empty());
    assert!(!config.record(&[(a, life(1, 1))], false, false), "unknown members stay so");
    assert!(!config.record(&[(a, Life::UNKNOWN)], true, false), "nothing was said");
    assert!(!config.record(&[(NodeId(77), life(1, 1))], true, false), "no member");
    assert!(config.record(&[(a, life(1, 1))], true, true));
    assert!(config.is_founded() && config.change.founding);
    assert_eq!((config.met(), config.out()), (slots(&[0]), slots(&[1, 2])));
    assert_eq!((config.life_of(a), config.life_of(b)), (life(1, 1), Life::UNKNOWN));
    assert!(!config.record(&[(a, life(2, 5))], true, false), "another birth is another directory");
    assert!(!config.record(&[(a, life(1, 1))], true, false), "no news");
    assert!(config.change.founding, "what was no news changes nothing");
    assert!(config.record(&[(a, life(1, 3))], false, false), "a later start");
    assert!(!config.record(&[(a, life(1, 2))], false, false), "an earlier one");
    assert!(config.names(a, life(1, 9)) && !config.names(a, life(2, 3)));
    assert!(!config.names(b, Life::UNKNOWN), "who is unknown is nobody");
    check(&config);
}

#[test]
fn of_two_starts_of_one_number_the_first_one_met_stays() {
    let (a, start) = (NodeId(1), Incarnation(0));
    let mut config = majority_of_three();
    let born = |mark| Life { birth: Birth(1), incarnation: start.after(mark) };
    assert!(config.record(&[(a, born(7))], true, false));
    assert!(!config.record(&[(a, born(9))], true, false));
    assert_eq!(config.life_of(a), born(7));
}

#[test]
fn whom_nobody_has_met_counts_as_marked_out_in_a_founded_cluster() {
    let quorum = "majority(a, b, witness(c))";
    let mut config = shared("a b c", quorum).compile().unwrap();
    assert_eq!(config.roles().data, slots(&[0, 1]));
    config.record(&[(NodeId(1), life(1, 1))], true, true);
    assert_eq!((config.roles().holders, config.roles().data), (slots(&[0, 1]), slots(&[0])));
    config.record(&[(NodeId(2), life(2, 1))], true, false);
    assert_eq!(config.roles().data, slots(&[0, 1]));
    check(&config);
}

#[test]
fn what_is_recorded_during_a_change_stands_in_where_it_leads_too() {
    let remove = Change::Remove { id: NodeId(3), quorum: None };
    let mut joint = begin(&majority_of_three(), &remove).unwrap();
    joint.record(&[(NodeId(1), life(1, 1)), (NodeId(2), life(2, 1))], true, false);
    joint.mark_out(vec![NodeId(2)]);
    check(&joint);
    let done = advance(&joint).unwrap();
    assert_eq!((done.life_of(NodeId(1)), done.out()), (life(1, 1), slots(&[1])));
}

#[test]
fn a_life_or_a_mark_that_is_written_down_during_a_change_moves_the_way_on_along() {
    let marked = shared("a b c", "majority(a, b, witness(c))").compile().unwrap();
    let same = "2 of (a, b, c)".to_string();
    let stay = Change::Remove { id: NodeId(2), quorum: None };
    let add = |id| Change::Add { member: newcomer(id, "d"), learner: false, quorum: None };
    let mut changing = 0;
    for (config, change) in [
        (majority_of_three(), add(7)),
        (majority_of_three(), stay.clone()),
        (majority_of_three(), Change::Quorum { text: same }),
        (marked.clone(), add(7)),
        (marked, Change::Quorum { text: "majority(a, b)".into() }),
    ] {
        let Ok(begun) = begin(&config, &change) else { continue };
        for mut step in walk(&config, &change).into_iter().chain([begun]) {
            changing += u32::from(step.is_changing());
            let id = step.members.last().unwrap().id;
            for seen in 1..4 {
                assert!(step.record(&[(id, life(1, seen))], true, seen == 2));
                assert_eq!(step, step.config().clone().compile().unwrap(), "{}", step.quorum);
            }
            if !step.witnesses().is_empty() {
                step.mark_out(vec![NodeId(1)]);
                assert_eq!(step, step.config().clone().compile().unwrap());
                step.mark_out(vec![]);
                assert_eq!(step, step.config().clone().compile().unwrap());
            }
        }
    }
    assert!(changing >= 6, "{changing}");
}
