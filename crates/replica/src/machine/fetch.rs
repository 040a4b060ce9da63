//! An entry that needs a version which has left memory waits for it, and nothing else does.

use super::alone::{Alone, settings};
use crate::drive::Drive;
use crate::{Effects, Event, ReplicaSettings, Reply};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Blob, LogIndex, Token};
use mvcc::{Caller, Command, Fetch, PutRequest, Response, Version};

fn put(key: &'static str, value: &'static str, prev_kv: bool) -> Command {
    let (key, value) = (Blob::from(key.as_bytes()), Blob::from(value.as_bytes()));
    Command::Put(PutRequest { key, value, prev_kv, ..PutRequest::default() })
}

fn propose(token: u64, command: Command) -> Event {
    Event::Propose { token: Token(token), caller: Caller::nobody(), command }
}

/// A leader of which the first puts have settled in files.
fn settled() -> (Alone, Drive) {
    let settings = ReplicaSettings { settle_versions: 4, ..settings() };
    let (mut alone, mut drive) = (Alone::leading(settings, &["a"]), Drive::default());
    let mut settling = None;
    for (token, key) in (1..).zip(["a", "b", "c", "d"]) {
        settling = alone.step(propose(token, put(key, "old", false))).settle;
    }
    let mut merged = settling.expect("four are due").merge();
    let put = |first, end, versions: &[Version]| Ok::<_, ()>(drive.put(first, end, versions));
    merged.store(100, put).expect("a map takes everything");
    assert!(alone.step(Event::Settled(merged.into())).replies.is_empty());
    (alone, drive)
}

fn fetched(drive: &mut Drive, fetch: &[Fetch]) -> Vec<(Fetch, Vec<Version>)> {
    let mut read = |fetch: &Fetch| {
        assert!(fetch.read(drive).is_none() && drive.fetch(), "it was asked for");
        (fetch.clone(), fetch.read(drive).expect("it was fetched"))
    };
    let found = fetch.iter().map(&mut read).collect();
    drive.forget();
    found
}

fn tokens(out: &Effects) -> Vec<u64> {
    out.replies.iter().map(|(token, _)| token.0).collect()
}

#[test]
fn an_entry_waits_for_what_it_needs_and_those_behind_it_wait_for_it() {
    let (mut alone, mut drive) = settled();
    let before = alone.replica.status().applied;
    let out = alone.step(propose(5, put("b", "new", true)));
    assert_eq!((out.fetch.len(), tokens(&out)), (1, Vec::new()));
    assert!(!alone.replica.is_applying(), "it does not spin");
    assert!(alone.replica.deadline() > alone.now);
    let behind = alone.step(propose(6, put("c", "new", false)));
    assert!(behind.fetch.is_empty() && behind.replies.is_empty(), "it is asked for once");
    assert_eq!(alone.replica.status().applied, before);
    assert_eq!(alone.step(Event::TakeCheckpoint).checkpoint.unwrap().index, before);
    let confirmed = alone.step(Event::Confirm { token: Token(7) });
    assert_eq!(tokens(&confirmed), [7], "what needs no data goes on");
    let done = alone.step(Event::Fetched(fetched(&mut drive, &out.fetch)));
    assert_eq!((tokens(&done), done.fetch.len()), (Vec::from([5, 6]), 0));
    let (_, Reply::Applied { result: Ok(Response::Put(answer)), .. }) = &done.replies[0] else {
        panic!("{:?}", done.replies)
    };
    assert_eq!(&answer.prev_kv.as_ref().unwrap().value[..], b"old");
    assert_eq!(alone.replica.status().applied, LogIndex(before.0 + 2));
}

#[test]
fn what_is_in_memory_is_waited_for_by_nobody_and_late_words_are_let_go_of() {
    let (mut alone, mut drive) = settled();
    let out = alone.step(propose(5, put("b", "new", true)));
    let asked = out.fetch;
    let versions = fetched(&mut drive, &asked);
    alone.step(Event::Fetched(versions.clone()));
    let out = alone.step(propose(6, put("b", "newer", true)));
    assert_eq!((out.fetch.len(), tokens(&out)), (0, Vec::from([6])), "it is fresh");
    assert!(alone.step(Event::Fetched(versions)).is_empty());
    let late = |fetch: &Fetch| Event::Unreadable(fetch.clone(), "late".to_string());
    assert!(alone.step(late(&asked[0])).is_empty(), "nobody asks any more");
    let out = alone.step(propose(7, put("e", "new", true)));
    assert_eq!((out.fetch.len(), tokens(&out)), (0, Vec::from([7])), "nothing was before it");
}

#[test]
fn a_version_that_cannot_be_read_halts_the_machine_by_name() {
    let (mut alone, _) = settled();
    let before = alone.replica.status().applied;
    let out = alone.step(propose(5, put("b", "new", true)));
    assert_eq!(out.fetch.len(), 1);
    let Fetch::Version(file, wanted) = out.fetch[0].clone() else { panic!("one is needed") };
    let other = Fetch::Versions(Arc::clone(&file), wanted.age);
    assert!(alone.step(Event::Unreadable(other, "late".to_string())).is_empty());
    let this = Fetch::Version(file, wanted);
    let out = alone.step(Event::Unreadable(this, "values-1.qv: block 3".to_string()));
    let halt = out.halted.expect("nobody knows what it answers");
    assert_eq!((halt.index, &halt.why[..]), (before.next(), "values-1.qv: block 3"));
    assert!(alone.step(Event::Tick).is_empty(), "a halted machine says nothing more");
}
