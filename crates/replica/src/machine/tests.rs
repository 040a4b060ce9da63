//! The machine by itself: bounds, exact times, and that what must hold is looked at.

use super::alone::{Alone, ME, configuration, settings, start};
use super::*;
use crate::Forwarded;
use crate::{Installed, UnknownReason};
use alloc::vec;
use base::limits::COMMAND_BYTES_MAX;
use base::{Blob, RequestId, Token};
use cluster::{Change, ChangeError};
use mvcc::{Caller, Command, PutRequest};

const OTHER: NodeId = NodeId(2);

const fn ms(n: u64) -> Nanos {
    Nanos::from_millis(n)
}

fn put(len: usize) -> Command {
    let (key, value) = (Blob::from(&b"k"[..]), Blob::from(vec![0; len]));
    Command::Put(PutRequest { key, value, ..PutRequest::default() })
}

fn encoded(command: &Command) -> Blob {
    let mut bytes = vec![];
    command.encode(&mut bytes);
    bytes.into()
}

fn propose(token: u64, command: Command) -> Event {
    Event::Propose { token: Token(token), caller: Caller::nobody(), command }
}

fn grant() -> Command {
    Command::LeaseGrant { id: 1, ttl: 100 }
}

fn read(token: u64) -> Event {
    Event::ReadBarrier { token: Token(token) }
}

fn said(from: NodeId, body: PeerBody) -> Event {
    Event::Message(PeerMessage { from, to: ME, body })
}

/// Anything at all.
fn word() -> PeerBody {
    PeerBody::StateHash { index: LogIndex(1), chain: 0 }
}

/// Token and reason of each refusal; anything else is a mistake.
fn refusals(out: Effects) -> Vec<(u64, RefusalReason)> {
    let reason = |(token, reply): (Token, Reply)| match reply {
        Reply::Refused(refusal) => (token.0, refusal.reason),
        other => panic!("{token:?} is answered {other:?}"),
    };
    out.replies.into_iter().map(reason).collect()
}

pub(super) fn leaderless() -> Alone {
    Alone::of(settings(), &["a", "b", "c"], "majority(a, b, c)")
}

#[test]
fn writes_and_reads_wait_up_to_one_bound_together_and_changes_are_counted_too() {
    let mut alone = leaderless();
    alone.now = ms(100);
    for token in 1..=4 {
        assert!(alone.step(propose(token, put(1))).replies.is_empty());
    }
    for token in 5..=10 {
        assert!(alone.step(read(token)).replies.is_empty(), "{token}");
    }
    let change = Change::Remove { id: OTHER, quorum: None };
    let change = |token| Event::Change {
        token: Token(token),
        caller: Caller::nobody(),
        change: change.clone(),
    };
    (11..=13).for_each(|token| drop(alone.step(change(token))));
    assert_eq!(alone.replica.status().pending, 13);
    let over = |out| assert_eq!(refusals(out), [(20, RefusalReason::Overloaded)]);
    over(alone.step(read(20)));
    over(alone.step(propose(20, put(1))));
    over(alone.step(Event::Confirm { token: Token(20) }));
    for token in 14..=74 {
        assert!(alone.step(change(token)).replies.is_empty(), "change {token}");
    }
    over(alone.step(change(20)));
    assert_eq!(alone.replica.status().pending, 10 + 64);
}

#[test]
fn commands_wait_up_to_so_many_bytes_or_one_of_any_size() {
    let two = encoded(&put(1000)).len() + encoded(&put(2000)).len();
    for (max, taken) in [(two, true), (two - 1, false)] {
        let mut alone = Alone::of(
            ReplicaSettings { pending_bytes_max: max, ..settings() },
            &["a", "b"],
            "all of (a, b)",
        );
        alone.step(propose(1, put(1000)));
        let second = alone.step(propose(2, put(2000)));
        assert_eq!(second.replies.is_empty(), taken, "{max}");
        if taken {
            let reason = RefusalReason::Overloaded;
            assert_eq!(refusals(alone.step(propose(3, put(1)))), [(3, reason)]);
        }
    }
    let mut alone =
        Alone::of(ReplicaSettings { pending_bytes_max: 10, ..settings() }, &["a"], "1 of (a)");
    alone.replica.leaderless_since = Some(Nanos::ZERO);
    let mut out = Effects::default();
    alone.replica.on_event(propose(1, put(1000)), &mut out);
    assert!(out.is_empty(), "one of any size");
}

#[test]
fn a_command_is_taken_up_to_the_longest_that_fits_the_log() {
    let around = encoded(&put(1000)).len() - 1000;
    let mut alone = Alone::of(
        ReplicaSettings { pending_bytes_max: COMMAND_BYTES_MAX, ..settings() },
        &["a", "b"],
        "all of (a, b)",
    );
    alone.now = ms(100);
    let out = alone.step(propose(1, put(COMMAND_BYTES_MAX + 1 - around)));
    let Some((_, Reply::Applied { index, result: Err(error) })) = out.replies.first() else {
        panic!("{:?}", out.replies)
    };
    assert_eq!((*index, error), (LogIndex::ZERO, &mvcc::Error::TooManyOps));
    let out = alone.step(propose(2, put(COMMAND_BYTES_MAX - around)));
    assert!(out.replies.is_empty(), "it waits for a leader");
    assert_eq!(alone.replica.writes.bytes(), COMMAND_BYTES_MAX);
}

#[test]
fn of_a_forward_only_numbered_writes_of_the_sender_that_can_be_read_are_taken() {
    let mut alone = Alone::leading(settings(), &["a", "b"]);
    let write = |origin, seq, command| {
        let id = RequestId { origin, incarnation: Incarnation(1), seq };
        Forwarded { id, caller: Caller::nobody(), command }
    };
    let good = encoded(&put(1));
    let bad = Blob::from(&b"\xff"[..]);
    for (from, item, taken) in [
        (OTHER, write(OTHER, 1, good.clone()), 1),
        (OTHER, write(OTHER, 0, good.clone()), 0),
        (OTHER, write(ME, 2, good.clone()), 0),
        (OTHER, write(OTHER, 2, bad), 0),
    ] {
        let before = alone.replica.status().last.0;
        let out = alone.step(said(from, PeerBody::Forward(vec![item])));
        assert_eq!(alone.replica.status().last.0 - before, taken);
        let answers = |m: &PeerMessage| !matches!(m.body, PeerBody::Raft(_));
        assert!(!out.send.iter().any(answers));
    }
    // Nothing is taken from a stranger, nor by who does not lead.
    let stranger = NodeId(9);
    let ignores = |alone: &mut Alone, from| {
        let before = alone.replica.status().last;
        alone.step(said(from, PeerBody::Forward(vec![write(from, 1, good.clone())])));
        assert_eq!(alone.replica.status().last, before);
    };
    ignores(&mut alone, stranger);
    ignores(&mut leaderless(), OTHER);
    alone.replica.diverged = true;
    let item = write(OTHER, 7, good);
    let before = alone.replica.status().last;
    alone.step(said(OTHER, PeerBody::Forward(vec![item])));
    assert_eq!(alone.replica.status().last, before);
}

#[test]
fn without_a_leader_writes_reads_and_changes_wait_as_long_as_is_set() {
    let mut alone = leaderless();
    alone.now = ms(500);
    alone.step(propose(1, put(1)));
    alone.step(read(2));
    let change = Change::Remove { id: OTHER, quorum: None };
    alone.step(Event::Change { token: Token(3), caller: Caller::nobody(), change });
    assert!(alone.pass(ms(1499)).replies.is_empty(), "two seconds from the start");
    let out = alone.pass(Nanos::from_millis(1));
    assert_eq!(refusals(out), [(3, RefusalReason::NoLeader)], "a change counts from there");
    assert!(alone.pass(ms(499)).replies.is_empty());
    let reason = RefusalReason::NoLeader;
    assert_eq!(refusals(alone.pass(ms(1))), [(1, reason), (2, reason)]);
    assert_eq!(alone.replica.status().pending, 0);
}

#[test]
fn a_leader_misses_who_said_nothing_for_an_election_timeout_or_whose_process_ended() {
    let mut alone = Alone::leading(settings(), &["a", "b", "c"]);
    assert_eq!(alone.replica.missing(), ["b", "c"]);
    alone.step(said(OTHER, word()));
    assert_eq!(alone.replica.missing(), ["c"]);
    alone.pass(ms(999));
    assert_eq!(alone.replica.missing(), ["c"]);
    alone.pass(ms(1));
    assert_eq!(alone.replica.missing(), ["b", "c"]);
    // A frame for another one is nobody's word.
    let to = NodeId(3);
    alone.step(Event::Message(PeerMessage { from: OTHER, to, body: word() }));
    assert_eq!(alone.replica.missing(), ["b", "c"]);
    alone.step(said(OTHER, word()));
    alone.step(Event::PeerLost(OTHER));
    assert_eq!(alone.replica.missing(), ["b", "c"]);
    alone.step(said(OTHER, word()));
    assert_eq!(alone.replica.missing(), ["c"]);
}

#[test]
fn who_has_no_leader_misses_others_after_three_election_timeouts_without_one() {
    let mut alone = leaderless();
    alone.now = ms(2999);
    alone.step(Event::Tick);
    assert_eq!(alone.replica.missing(), [""; 0]);
    alone.step(Event::PeerLost(NodeId(3)));
    assert_eq!(alone.replica.missing(), ["c"], "its process ended");
    alone.pass(ms(1));
    assert_eq!(alone.replica.missing(), ["b", "c"]);
    alone.step(said(OTHER, word()));
    assert_eq!(alone.replica.missing(), ["c"]);
    alone.pass(ms(2999));
    assert_eq!(alone.replica.missing(), ["c"]);
    alone.pass(ms(1));
    assert_eq!(alone.replica.missing(), ["b", "c"]);
}

#[test]
fn who_has_other_data_or_is_no_member_serves_nobody_and_says_why() {
    let all = |alone: &mut Alone| {
        let change = Change::Remove { id: OTHER, quorum: None };
        let mut told = vec![];
        for event in [
            propose(1, put(1)),
            read(2),
            Event::Confirm { token: Token(3) },
            Event::Change { token: Token(4), caller: Caller::nobody(), change },
        ] {
            told.extend(refusals(alone.step(event)));
        }
        (told, alone.replica.serves_no_data())
    };
    let mut alone = leaderless();
    alone.now = ms(100);
    alone.replica.diverged = true;
    let reason = RefusalReason::Diverged;
    let refused = (1..=4).map(|token| (token, reason)).collect();
    assert_eq!(all(&mut alone), (refused, Some(reason)));
    let mut unheard = settings();
    unheard.raft.id = NodeId(9);
    let mut alone = Alone::of(unheard, &["a", "b"], "all of (a, b)");
    alone.now = ms(100);
    let reason = RefusalReason::NoMember;
    assert_eq!(all(&mut alone), (vec![(1, reason)], Some(reason)), "it shows no data");
}

#[test]
fn a_mark_moves_cluster_time_once_a_second_while_a_lease_lives_and_nothing_is_under_way() {
    let mut alone = Alone::leading(settings(), &["a"]);
    let last = |alone: &Alone| alone.replica.status().last.0;
    let empty = last(&alone);
    alone.pass(ms(3000));
    assert_eq!(last(&alone), empty, "no lease, no mark");
    alone.step(propose(1, grant()));
    assert_eq!(last(&alone), empty + 1);
    alone.pass(ms(999));
    assert_eq!(last(&alone), empty + 1);
    alone.pass(ms(1));
    assert_eq!(last(&alone), empty + 2);
    alone.pass(ms(999));
    assert_eq!(last(&alone), empty + 2);
    // While its disk takes nothing one mark is enough.
    let mut out = Effects::default();
    for wait in [1, 1001, 1001] {
        alone.now = alone.now.plus(ms(wait));
        alone.replica.step(alone.now, Event::Tick, &mut out);
        assert_eq!(last(&alone), empty + 3);
    }
}

#[test]
fn a_lease_that_ended_is_revoked_once() {
    let mut alone = Alone::leading(settings(), &["a"]);
    alone.step(propose(1, Command::LeaseGrant { id: 1, ttl: 2 }));
    let granted = alone.replica.status().last.0;
    let mut out = Effects::default();
    alone.now = alone.now.plus(ms(60_000));
    for _ in 0..3 {
        alone.now = alone.now.plus(ms(1));
        alone.replica.step(alone.now, Event::Tick, &mut out);
        assert_eq!(alone.replica.status().last.0, granted + 1);
    }
    let ticket = out.persist.last().expect("the end of the lease").ticket;
    alone.step(Event::Persisted(ticket));
    assert!(alone.replica.store().lease_deadline().is_none());
    assert_eq!(alone.replica.status().last.0, granted + 1);
}

#[test]
fn leases_that_are_being_ended_are_remembered_only_until_they_are() {
    let mut alone = Alone::leading(settings(), &["a"]);
    for reign in 0..3 {
        for id in 1..=9_u64 {
            alone.step(propose(id, Command::LeaseGrant { id: id.cast_signed(), ttl: 2 }));
        }
        alone.now = alone.now.plus(ms(60_000));
        let mut out = Effects::default();
        alone.replica.step(alone.now, Event::Tick, &mut out);
        assert_eq!(alone.replica.revoking.len(), 9, "round {reign}");
        let ticket = out.persist.last().expect("the ends of the leases").ticket;
        alone.step(Event::Persisted(ticket));
        assert!(alone.replica.store().lease_deadline().is_none());
        alone.step(Event::Tick);
        assert_eq!(alone.replica.revoking.len(), 0, "round {reign}");
    }
}

#[test]
fn a_batch_is_logged_at_indexes_in_a_row() {
    let mut alone = Alone::leading(ReplicaSettings { trace: true, ..settings() }, &["a"]);
    let last = alone.replica.status().last.0;
    let mut out = Effects::default();
    let events = (1..=3).map(|token| propose(token, put(1)));
    alone.replica.step_batch(alone.now, events, &mut out);
    let logged = out.trace.iter().filter_map(|event| match event.kind {
        TraceKind::Logged { id, index, .. } => Some((id.seq, index.0)),
        _ => None,
    });
    let wanted = [(1, last + 1), (2, last + 2), (3, last + 3)];
    assert_eq!(logged.collect::<Vec<_>>(), wanted);
}

#[test]
fn a_confirmation_does_not_wait_for_what_is_still_to_be_applied_and_a_barrier_does() {
    let mut alone = Alone::leading(ReplicaSettings { apply_budget: 1, ..settings() }, &["a"]);
    let mut out = Effects::default();
    let events = (1..=5).map(|token| propose(token, put(1)));
    alone.replica.step_batch(alone.now, events, &mut out);
    let ticket = out.persist.last().expect("five entries").ticket;
    alone.replica.step(alone.now, Event::Persisted(ticket), &mut out);
    assert!(alone.replica.is_applying());
    assert_eq!(alone.replica.deadline(), alone.now, "it wants to go on at once");
    out.clear();
    let events = [Event::ReadBarrier { token: Token(8) }, Event::Confirm { token: Token(9) }];
    alone.replica.step_batch(alone.now, events, &mut out);
    let answered = |out: &Effects| -> Vec<u64> {
        let barrier =
            |(token, reply): &(Token, Reply)| matches!(reply, Reply::Barrier).then_some(token.0);
        out.replies.iter().filter_map(barrier).collect()
    };
    assert_eq!(answered(&out), [9]);
    let applied = alone.replica.status().applied;
    alone.replica.step(alone.now, Event::TakeCheckpoint, &mut out);
    let job = out.checkpoint.take().expect("asked for");
    assert_eq!((job.index, job.view.applied_index()), (applied, applied), "not of what follows");
    let mut steps = 0;
    while alone.replica.is_applying() {
        assert_eq!(answered(&out), [9]);
        alone.replica.step(alone.now, Event::Tick, &mut out);
        steps += 1;
    }
    assert!(steps > 0);
    assert_eq!(answered(&out), [9, 8]);
    assert_eq!(alone.replica.reads.len(), 0);
}

#[test]
fn what_others_say_of_old_places_is_forgotten_first() {
    let mut alone = leaderless();
    let mut out = Effects::default();
    for place in 1..=65 {
        let index = LogIndex(256 * place);
        alone.replica.on_state_hash(OTHER, index, 1, &mut out);
        alone.replica.on_state_hash(NodeId(9), index, 1, &mut out);
    }
    let votes = &alone.replica.hash_votes;
    assert_eq!(votes.len(), 64);
    assert_eq!(
        votes.first_key_value().map(|(index, votes)| (index.0, votes.len())),
        Some((512, 1))
    );
}

fn checkpoint(index: u64, data_at: u64) -> Installed {
    let mut store = mvcc::Store::new(mvcc::Limits::default());
    store.advance(LogIndex(data_at), ClusterTime(5));
    let extra = Extra { settled: Ballot::new(1, 2), ..Extra::default() }.encode();
    let config = configuration(&["a", "b", "c"], "majority(a, b, c)");
    Installed { index: LogIndex(index), ballot: Ballot::new(1, 2), config, store, extra }
}

#[test]
fn a_checkpoint_is_taken_only_with_its_own_data_and_under_ballots_that_can_be() {
    let far = Ballot::new(u64::MAX / 2, 2);
    let far_extra = Extra { settled: far, ..Extra::default() }.encode();
    for installed in [
        Installed { ballot: far, ..checkpoint(7, 7) },
        checkpoint(7, 6),
        Installed { extra: b"\xff".to_vec(), ..checkpoint(7, 7) },
        Installed { extra: far_extra, ..checkpoint(7, 7) },
    ] {
        let mut alone = leaderless();
        alone.step(Event::Install(installed.into()));
        assert_eq!(alone.replica.status().applied, LogIndex::ZERO);
    }
    let mut alone = leaderless();
    let out = alone.step(Event::Install(checkpoint(7, 7).into()));
    assert!(!out.discard.is_empty(), "the old data is dropped elsewhere");
    let status = alone.replica.status();
    assert_eq!((status.applied, status.last), (LogIndex(7), LogIndex(7)));
    // One that the log has passed changes nothing.
    alone.step(Event::Install(checkpoint(6, 6).into()));
    assert_eq!(alone.replica.status().applied, LogIndex(7));
}

#[test]
fn data_that_came_into_memory_settles_at_once_though_little_is_fresh() {
    let mut installed = checkpoint(3, 3);
    installed.store = mvcc::Store::new(mvcc::Limits::default());
    for index in 1..=3u8 {
        let put = mvcc::PutRequest { key: [index][..].into(), ..mvcc::PutRequest::default() };
        let at = (LogIndex(index.into()), ClusterTime(5));
        assert!(installed.store.apply(at.0, at.1, &mvcc::Command::Put(put)).result.is_ok());
    }
    let mut alone = leaderless();
    let out = alone.step(Event::Install(installed.into()));
    assert!(out.settle.is_some(), "it is to be put into files");
    assert!(alone.step(Event::Tick).settle.is_none(), "once");
    let out = leaderless().step(Event::Install(checkpoint(7, 7).into()));
    assert!(out.settle.is_none(), "there is nothing");
}

#[test]
fn a_write_whose_answer_went_into_a_checkpoint_is_unknown_and_others_wait_on() {
    let mut alone = leaderless();
    alone.now = ms(100);
    alone.step(propose(1, put(1)));
    alone.step(propose(2, put(1)));
    let mut extra = Extra { settled: Ballot::new(1, 2), ..Extra::default() };
    extra.dedupe.insert(alone.replica.own_id(2));
    let installed = Installed { extra: extra.encode(), ..checkpoint(7, 7) };
    let out = alone.step(Event::Install(installed.into()));
    let [(Token(2), Reply::Unknown(UnknownReason::InCheckpoint))] = out.replies[..] else {
        panic!("{:?}", out.replies)
    };
    assert_eq!(alone.replica.status().pending, 1);
}

#[test]
fn a_data_directory_whose_data_is_not_that_of_its_log_is_refused() {
    let base_config = configuration(&["a"], "1 of (a)");
    let base = LogIndex(7);
    let raft = Recovered {
        ballot: Ballot::new(1, 1),
        base,
        base_ballot: Ballot::new(1, 1),
        base_config,
        entries: vec![],
        commit: base,
    };
    let start = |data_at: u64, extra: &[u8]| {
        let mut store = mvcc::Store::new(mvcc::Limits::default());
        store.advance(LogIndex(data_at), ClusterTime(5));
        let extra = extra.to_vec();
        let recovered = ReplicaRecovered { raft: raft.clone(), store, extra, known: base };
        Replica::new(settings(), recovered, Nanos::ZERO).map_err(|error| error.message).err()
    };
    assert_eq!(start(7, &[]), None);
    assert_eq!(start(6, &[]).as_deref(), Some("the data is not that of the log's base"));
    let what = "the checkpoint's replica state is unreadable";
    assert_eq!(start(7, &[1]).as_deref(), Some(what));
}

/// Takes a step after something was changed that never changes so.
fn spoiled(spoil: impl FnOnce(&mut Replica)) {
    let mut alone = leaderless();
    alone.now = ms(100);
    alone.step(propose(1, put(1)));
    alone.step(read(2));
    spoil(&mut alone.replica);
    alone.step(Event::Tick);
}

#[test]
fn a_machine_that_nobody_spoiled_takes_its_steps() {
    spoiled(|_| ());
    let replica = start(settings(), configuration(&["a"], "1 of (a)"), vec![]);
    assert_eq!(replica.incarnation(), Incarnation(1));
}

#[test]
#[should_panic(expected = "a checkpoint holds what is applied")]
fn a_checkpoint_of_the_future_is_noticed() {
    spoiled(|replica| replica.checkpointed = LogIndex(9));
}

#[test]
#[should_panic(expected = "only a leader watches over its tail")]
fn a_tail_without_an_office_is_noticed() {
    spoiled(|replica| _ = replica.tail.insert(RequestId::default(), None));
}

#[test]
#[should_panic(expected = "what waits is bounded")]
fn more_that_waits_than_may_is_noticed() {
    spoiled(|replica| replica.settings.pending_max = 1);
}

#[test]
#[should_panic(expected = "requests are numbered once")]
fn a_number_given_out_twice_is_noticed() {
    spoiled(|replica| replica.seq_next = 1);
}

#[test]
#[should_panic(expected = "a hash is of what is applied")]
fn a_hash_of_the_future_is_noticed() {
    spoiled(|replica| _ = replica.hashes.insert(LogIndex(256), 1));
}

#[test]
#[should_panic(expected = "a stamp was applied in the past")]
fn a_stamp_of_the_future_is_noticed() {
    spoiled(|replica| replica.clock = ClusterClock::new(ClusterTime::ZERO, ms(101)));
}

#[test]
fn a_refused_change_is_refused_again_as_long_as_its_leader_reigns() {
    let mut alone = Alone::leading(settings(), &["a", "b"]);
    let ballot = alone.replica.status().ballot;
    let ask = |alone: &mut Alone, seq: u64, change: Change| {
        let id = RequestId { origin: OTHER, incarnation: Incarnation(1), seq };
        let out = alone
            .step(said(OTHER, PeerBody::Change { id, ballot, caller: Caller::nobody(), change }));
        out.send.into_iter().find_map(|message| match message.body {
            PeerBody::ChangeRefused { id, ballot: of, error } => {
                assert_eq!((id.seq, of, message.to), (seq, ballot, OTHER));
                Some(error)
            }
            _ => None,
        })
    };
    let stranger = Change::Remove { id: NodeId(9), quorum: None };
    let first = ask(&mut alone, 1, stranger.clone()).expect("nobody has that id");
    assert!(!matches!(first, ChangeError::Pending(_)), "{first:?}");
    // Another change under its number is not looked at.
    let good = Change::Quorum { text: "1 of (a)".into() };
    assert_eq!(ask(&mut alone, 1, good.clone()), Some(first.clone()));
    for seq in 2..=64 {
        assert_eq!(ask(&mut alone, seq, stranger.clone()), Some(first.clone()));
    }
    assert_eq!(ask(&mut alone, 1, good.clone()), Some(first.clone()), "64 answers are kept");
    assert_eq!(ask(&mut alone, 65, stranger), Some(first));
    let last = alone.replica.status().last;
    assert_eq!(ask(&mut alone, 1, good), None, "the answer is forgotten");
    assert_eq!(alone.replica.status().last, last, "what was refused is not");
}
