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
