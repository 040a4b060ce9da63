//! What a checkpoint file holds and proves.

use crate::home::{Place, cluster, start};
use base::{Ballot, LogIndex};
use member::checkpoints::{self, decode_offer, encode_offer};
use member::{Archive, Incoming, limits};
use replica::{CheckpointJob, Installed};
use store::{CheckpointFile, Home, StoreError, StoreErrorKind};
use wal::Disk;

fn job(index: u64) -> CheckpointJob {
    let mut store = mvcc::Store::new(limits::store_limits(&cluster(3)));
    let put = |n: u64| {
        let key = format!("key {n}").into_bytes().into();
        mvcc::Command::Put(mvcc::PutRequest { key, ..mvcc::PutRequest::default() })
    };
    for n in 1..=index {
        let _ = store.apply(LogIndex(n), base::ClusterTime::ZERO, &put(n));
    }
    CheckpointJob {
        index: LogIndex(index),
        ballot: Ballot::new(3, 2),
        view: store.view(),
        config: cluster(3),
        extra: b"dedupe".to_vec(),
    }
}

fn bytes(place: &Place, hollow: bool) -> (CheckpointFile, Vec<u8>) {
    let (offer, mut file) =
        checkpoints::offer(place, hollow, &Archive::new(0)).expect("there is one");
    let mut bytes = vec![0; offer.len as usize];
    assert_eq!(file.read_at(0, &mut bytes).expect("readable"), bytes.len());
    (offer, bytes)
}

/// Takes what is offered, in pieces, through what is said on the wire.
fn take(place: &Place, offer: &CheckpointFile, bytes: &[u8]) -> Result<Installed, StoreError> {
    let mut said = Vec::new();
    encode_offer(offer, &mut said);
    let mut incoming = Incoming::begin(place, &decode_offer(&said).expect("an offer"))?;
    while !incoming.is_complete() {
        let from = incoming.offset() as usize;
        incoming.write(&bytes[from..bytes.len().min(from + 100)])?;
    }
    incoming.finish(place, &Archive::new(0))
}

#[test]
fn what_is_written_is_loaded_sent_and_taken_and_one_is_kept() {
    let (here, there) = (Place::default(), Place::default());
    for index in [4, 6, 9] {
        let file = checkpoints::write(&here, &job(index), &Archive::new(0)).expect("room");
        let loaded = checkpoints::load(&here, &file, &Archive::new(0)).expect("sound");
        assert_eq!((loaded.index, loaded.ballot), (LogIndex(index), Ballot::new(3, 2)));
        assert_eq!((&loaded.config, &loaded.extra[..]), (&cluster(3), &b"dedupe"[..]));
        assert_eq!(loaded.store.view().content_hash(), job(index).view.content_hash());
    }
    let names = here.0.clone().list().expect("names");
    assert_eq!(names.iter().filter(|name| name.ends_with(".qc")).count(), 1, "{names:?}");
    let (offer, bytes) = bytes(&here, false);
    assert_eq!(offer.index, LogIndex(9));
    let taken = take(&there, &offer, &bytes).expect("it verifies");
    assert_eq!(taken.store.view().content_hash(), job(9).view.content_hash());
    assert_eq!(self::bytes(&there, false).1, bytes, "and can be handed on");
}

#[test]
fn a_witness_is_sent_the_place_and_no_data() {
    let (here, there) = (Place::default(), Place::default());
    checkpoints::write(&here, &job(9), &Archive::new(0)).expect("room");
    let (offer, bytes) = bytes(&here, true);
    let taken = take(&there, &offer, &bytes).expect("it verifies");
    assert_eq!((taken.index, taken.ballot), (LogIndex(9), Ballot::new(3, 2)));
    assert_eq!((&taken.config, &taken.extra[..]), (&cluster(3), &b"dedupe"[..]));
    assert_eq!((taken.store.applied_index(), taken.store.revision()), (LogIndex(9), 1));
    assert!(offer.len < self::bytes(&here, false).0.len);
    let mut disk = there.disk("checkpoints").expect("a directory");
    let reader = store::open_checkpoint(disk.as_mut(), &offer.name).expect("it is there");
    assert_eq!(reader.meta().revision, 1, "what it says of itself is of an empty store");
}

#[test]
fn a_start_removes_what_a_write_left_that_broke_off() {
    let place = Place::default();
    checkpoints::write(&place, &job(4), &Archive::new(0)).expect("room");
    let half = "checkpoints/checkpoint-0000000000000009-0000000000000003-0000000000000002.tmp";
    place.0.clone().create(half).expect("room");
    checkpoints::clean(&place).expect("it can be removed");
    let names = place.0.clone().list().expect("names");
    assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.ends_with(".qc")).count(), 1);
}

#[test]
fn one_that_was_damaged_anywhere_is_never_taken() {
    let (here, there) = (Place::default(), Place::default());
    checkpoints::write(&here, &job(3), &Archive::new(0)).expect("room");
    let (offer, bytes) = bytes(&here, false);
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 16;
        let error = take(&there, &offer, &wrong).err().unwrap_or_else(|| panic!("byte {at}"));
        assert_ne!(error.kind, StoreErrorKind::Io, "byte {at}: {error}");
    }
    take(&there, &offer, &bytes).expect("the next attempt begins afresh");
}

#[test]
fn an_interrupted_transfer_goes_on_where_it_ended() {
    let (here, there) = (Place::default(), Place::default());
    checkpoints::write(&here, &job(5), &Archive::new(0)).expect("room");
    let (offer, bytes) = bytes(&here, false);
    let mut incoming = Incoming::begin(&there, &offer).expect("room");
    incoming.write(&bytes[..70]).expect("room");
    drop(incoming);
    let incoming = Incoming::begin(&there, &offer).expect("room");
    assert_eq!((incoming.offset(), incoming.is_complete()), (70, false));
    assert!(incoming.finish(&there, &Archive::new(0)).is_err(), "it is not whole");
    take(&there, &offer, &bytes).expect("it is now");
}

#[test]
fn where_there_is_none_nobody_can_be_helped() {
    let error = checkpoints::offer(&Place::default(), false, &Archive::new(0)).err().expect("none");
    assert_eq!(error.to_string(), "disk error: checkpoints at byte 0: there is none");
}

#[test]
fn a_start_goes_on_from_the_newest_checkpoint() {
    let place = Place::default();
    drop(start(&place, 1).expect("begun"));
    let file = checkpoints::write(&place, &job(8), &Archive::new(0)).expect("room");
    let opened = start(&Place(place.0.crash(1)), 2).expect("sound");
    let found = &opened.recovered;
    assert_eq!((found.raft.base, found.raft.base_ballot), (LogIndex(8), Ballot::new(3, 2)));
    // Its last entry was accepted in its term, so that term was seen; the vote was not.
    assert_eq!(found.raft.ballot, Ballot::new(3, 0));
    assert_eq!((found.raft.commit, &found.extra[..]), (LogIndex(8), &b"dedupe"[..]));
    assert_eq!(opened.checkpoint_bytes, file.len);
    assert_eq!(found.store.view().content_hash(), job(8).view.content_hash());
}

#[test]
fn a_file_whose_data_is_of_another_place_in_the_log_is_refused() {
    let place = Place::default();
    let elsewhere = CheckpointJob { index: LogIndex(7), ..job(6) };
    let file = checkpoints::write(&place, &elsewhere, &Archive::new(0)).expect("room");
    let refused =
        checkpoints::load(&place, &file, &Archive::new(0)).err().expect("the data is that of 6");
    assert_eq!(refused.kind, StoreErrorKind::Invalid);
}
