//! Whose directory it is, and what its files say together.

use crate::home::{Place, SMALL, born, cluster, start, start_as, start_wanting};
use base::limits::BOOTSTRAP_BYTES_MAX;
use base::{Ballot, Birth, Blob, Life, LogIndex, NodeId, Ticket};
use consensus::raft::{Entry, EntryKind, Persist};
use member::{Job, Lane, Opened, Refused, Wanted};
use store::Home;
use wal::{Disk, Journal, MemDisk, Owner};

/// Power losses of each kind that are tried after every disk operation.
const SEEDS: u64 = 4;

fn entry(index: u64, kind: EntryKind, payload: &[u8]) -> Entry {
    Entry { index: LogIndex(index), ballot: Ballot::new(2, 1), kind, payload: Blob::from(payload) }
}

/// Makes the entries durable, and vouches for them.
fn write(journal: Journal, entries: Vec<Entry>) {
    let mut lane = Lane::new(journal);
    let ballot = Ballot::new(2, 1);
    let (ticket, commit) = (Ticket(1), LogIndex::ZERO);
    lane.take(Job::Persist(Persist { ticket, ballot, truncate_from: None, entries, commit }));
    lane.write().unwrap();
    lane.sync().unwrap();
    lane.settle().unwrap();
    lane.idle(true).unwrap();
}

fn data(indices: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    indices.map(|index| entry(index, EntryKind::Data, b"some bytes")).collect()
}

fn life(opened: &Opened) -> Life {
    let identity = &opened.identity;
    Life { birth: Birth(identity.birth), incarnation: identity.incarnation }
}

fn why(place: &Place) -> Refused {
    start(place, 99).err().expect("it does not start")
}

fn files(place: &Place) -> Vec<(String, Option<Vec<u8>>)> {
    let names = place.0.clone().list().unwrap();
    names.into_iter().map(|name| (name.clone(), place.0.bytes(&name))).collect()
}

#[test]
fn an_empty_directory_is_begun_once_and_each_start_is_a_later_life_of_it() {
    let place = Place::default();
    let first = start(&place, 1).unwrap();
    assert!(first.fresh && first.repair.is_none() && first.cut.is_none());
    assert_eq!((first.identity.cluster, first.identity.member), (7, NodeId(1)));
    assert_eq!(first.bootstrap, cluster(3));
    let (born, mut before) = (life(&first).birth, life(&first));
    drop(first);
    for mark in 2..5 {
        let again = start(&Place(place.0.crash(u64::from(mark))), mark).unwrap();
        assert!(!again.fresh && life(&again).birth == born);
        let again = start(&place, mark).unwrap();
        assert!(before.is_before(life(&again)));
        before = life(&again);
    }
    assert_eq!(before.incarnation.number(), 4);
}

/// The handshake could not carry it.
#[test]
fn a_cluster_too_large_for_its_own_handshake_is_refused_before_anything_is_written() {
    let place = Place::default();
    let mut config = cluster(3);
    config.members[0].peer_urls = vec!["u".repeat(1000); 300];
    let born = member::Born { config, ..born() };
    let refused = start_as(&place, 1, &Wanted::default(), born).err().expect("too large");
    assert!(matches!(&refused, Refused::Unwanted(text) if text.contains("fit a handshake")));
    assert_eq!(files(&place), []);
    assert!(start(&place, 1).is_ok(), "a smaller one may begin there");
    // To the byte.
    let long = |bytes: usize| {
        let mut config = cluster(3);
        config.members[0].peer_urls = vec!["u".repeat(bytes)];
        config
    };
    let room = BOOTSTRAP_BYTES_MAX - long(0).encode().len();
    for (bytes, fits) in [(room, true), (room + 1, false)] {
        let born = member::Born { config: long(bytes), ..self::born() };
        let begun = start_as(&Place::default(), 1, &Wanted::default(), born);
        assert_eq!(begun.is_ok(), fits, "{bytes}");
    }
}

#[test]
fn what_was_durable_is_found_with_its_promise() {
    let place = Place::default();
    write(start(&place, 1).unwrap().journal, data(1..=5));
    let again = start(&Place(place.0.crash(3)), 2).unwrap();
    let found = &again.recovered.raft;
    assert_eq!((found.ballot, found.base), (Ballot::new(2, 1), LogIndex::ZERO));
    assert_eq!(found.entries, data(1..=5));
    assert_eq!(found.base_config, cluster(3));
}

#[test]
fn a_first_start_that_breaks_off_anywhere_is_begun_again() {
    let mut broken = 0;
    for operation in 0.. {
        let mut done = false;
        for seed in 0..SEEDS {
            let place = Place::default();
            place.0.fail_from(operation);
            done = start(&place, 1).is_ok();
            broken += usize::from(!done);
            let after = Place(place.0.crash(seed));
            let again = start(&after, 2).unwrap_or_else(|e| panic!("operation {operation}: {e}"));
            // It was begun before where that start knew it was, and maybe a little earlier.
            assert!(!done || !again.fresh, "operation {operation}");
            assert!(again.recovered.raft.entries.is_empty() && again.repair.is_none());
        }
        if done {
            break;
        }
    }
    assert!(broken > 5 * SEEDS as usize, "{broken} starts broke off");
}

#[test]
fn a_start_that_breaks_off_anywhere_is_never_the_same_as_a_later_one() {
    let make = || {
        let place = Place::default();
        write(start(&place, 1).unwrap().journal, data(1..=9));
        Place(place.0.fork())
    };
    for operation in 0.. {
        let mut done = false;
        for seed in 0..SEEDS {
            let place = make();
            place.0.fail_from(operation);
            let opened = start(&place, 2);
            done = opened.is_ok();
            let again = start(&Place(place.0.crash(seed)), 3).unwrap();
            assert_eq!(again.recovered.raft.entries, data(1..=9), "operation {operation}");
            // Whoever was told of a start never takes a later one for an earlier one.
            if let Ok(opened) = opened {
                assert!(life(&opened).is_before(life(&again)), "operation {operation}");
                assert!(!life(&again).is_before(life(&opened)));
            }
        }
        if done {
            assert!(operation >= 3, "{operation} operations");
            break;
        }
    }
}

#[test]
fn an_image_comes_up_as_another_start_of_the_number_that_was_lost() {
    let place = Place::default();
    drop(start(&place, 1).unwrap());
    let image = Place(place.0.fork());
    let lost = life(&start(&place, 2).unwrap());
    let back = life(&start(&image, 3).unwrap());
    assert_eq!(back.incarnation.number(), lost.incarnation.number());
    assert!(back.is_before(lost) && lost.is_before(back), "whoever is met second is refused");
}

#[test]
fn the_directory_of_a_member_without_its_identity_is_named_and_left_alone() {
    let lived = Place::default();
    write(start(&lived, 1).unwrap().journal, data(1..=3));
    lived.0.clone().lose("/identity").unwrap();
    let before = files(&lived);
    let text = match why(&lived) {
        refused @ Refused::Nameless { more: 0, .. } => refused.to_string(),
        other => panic!("{other}"),
    };
    assert!(text.contains("no identity file but holds journal/segment-"), "{text}");
    assert!(text.contains("quorate member replace"), "{text}");
    assert!(!text.contains("more of its files"), "{text}");
    assert_eq!(files(&lived), before);
    lived.0.clone().create("/repair").unwrap();
    let text = why(&lived).to_string();
    assert!(text.contains(" and 1 more of its files: "), "{text}");
    // A checkpoint alone is enough to tell, and so is a repair, or what one set aside.
    let checkpoint = "checkpoint-0000000000000001-0000000000000001-0000000000000001.qc";
    let aside = "journal/segment-0000000000000001.qj.damaged-1";
    for name in [&format!("checkpoints/{checkpoint}"), "/repair", aside] {
        let place = Place::default();
        place.0.clone().create(name).unwrap();
        assert!(matches!(why(&place), Refused::Nameless { .. }), "{name}");
    }
    // A journal that nothing was written to is what a first start leaves that broke off.
    let begun = Place::default();
    drop(start(&begun, 1).unwrap());
    begun.0.clone().lose("/identity").unwrap();
    assert!(start(&begun, 2).unwrap().fresh);
}

#[test]
fn what_belongs_to_somebody_else_is_refused() {
    let place = Place::default();
    drop(start(&place, 1).unwrap());
    place.0.clone().lose("journal/segment-0000000000000001.qj").unwrap();
    let owner = Owner { cluster: 7, member: NodeId(2) };
    drop(Journal::create(place.disk("journal").unwrap(), SMALL, owner, 5).unwrap());
    let text = why(&place).to_string();
    assert!(text.contains("the journal belongs to member 2 of cluster 7"), "{text}");
}

#[test]
fn a_directory_that_was_forsworn_never_starts_again() {
    let place = Place::default();
    let mut identity = start(&place, 1).unwrap().identity;
    identity.void = "it was put back".to_string();
    store::write_identity(place.disk("").unwrap().as_mut(), &identity).unwrap();
    for _ in 0..3 {
        assert!(matches!(why(&place), Refused::Void(text) if text == "it was put back"));
    }
}

#[test]
fn a_damaged_identity_is_named_at_every_byte() {
    let place = Place::default();
    drop(start(&place, 1).unwrap());
    let bytes = place.0.bytes("/identity").unwrap().len() as u64;
    for at in 0..bytes {
        let copy = Place(place.0.fork());
        assert!(copy.0.flip("/identity", at, 4));
        let refused = why(&copy);
        assert!(matches!(refused, Refused::Identity(_)), "byte {at}: {refused}");
        assert!(refused.to_string().contains("identity"), "{refused}");
    }
}

/// A journal with vouched damage in its middle.
fn damaged(born: member::Born) -> Place {
    let place = Place::default();
    let opened = start_as(&place, 1, &Wanted::default(), born).unwrap();
    write(opened.journal, data(1..=9));
    assert!(place.0.flip("journal/segment-0000000000000001.qj", 512 + 100, 1));
    place
}

#[test]
fn a_damaged_member_repairs_where_the_others_can_decide_without_it() {
    let place = damaged(born());
    let opened = start(&place, 2).unwrap();
    let repair = opened.repair.as_ref().expect("it repairs");
    assert_eq!(repair.ballot, Ballot::new(2, 1));
    assert!(opened.notes.iter().any(|note| note.contains("repairing")), "{:?}", opened.notes);
    let alone = member::Born { config: cluster(1), ..born() };
    let text = why(&damaged(alone)).to_string();
    assert!(text.contains("nobody could decide while it repairs"), "{text}");
}

#[test]
fn what_is_wanted_is_held_against_the_last_configuration_of_the_log() {
    let place = Place::default();
    let now = cluster::Configuration { quorum: "all of (n1, n2, n3)".to_string(), ..cluster(3) };
    let mut entries = data(1..=2);
    entries.push(entry(3, EntryKind::Config, &now.encode()));
    write(start(&place, 1).unwrap().journal, entries);
    let wanting = |quorum: &str| Wanted { quorum: Some(quorum.to_string()), ..Wanted::default() };
    for known in ["2 of (n1, n2, n3)", "all of (n3, n2, n1)"] {
        assert!(start_wanting(&place, 2, &wanting(known)).unwrap().idle.is_none(), "{known}");
    }
    let refused = start_wanting(&place, 2, &wanting("n1")).err().expect("refused");
    assert!(matches!(&refused, Refused::Unwanted(text) if text.contains("all of")), "{refused}");
}

#[test]
fn an_entry_of_a_later_build_is_named() {
    let place = Place::default();
    let mut journal = start(&place, 1).unwrap().journal;
    let record = wal::Record { kind: 9, ..member::lane::record(&data(1..=1)[0]) };
    let batch = wal::Batch {
        ballot: Ballot::new(2, 1),
        truncate_from: None,
        entries: std::slice::from_ref(&record),
        commit: LogIndex::ZERO,
    };
    journal.append(&[batch]).unwrap();
    journal.sync().unwrap();
    drop(journal);
    assert_eq!(why(&place).to_string(), "entry 1: unknown entry kind 9");
}

#[test]
fn a_disk_that_fails_is_an_error_and_no_panic() {
    let place = Place(MemDisk::new());
    place.0.fail_from(0);
    assert!(matches!(start(&place, 1), Err(Refused::Files(_) | Refused::Identity(_))));
}
