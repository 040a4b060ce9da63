//! The etcd model: its steps against a naive store, its verdicts against brute force.

use base::{Blob, Prng};
use check::etcd::{
    Change, Compare, CompareOp, Delete, Etcd, EtcdOperation, Put, Range, Reply, Request, Response,
    Seen, Target, Txn, check,
};
use check::{Limits, Model, Operation, Verdict};

use crate::brute::{brute, judge};
use crate::store::{Store, blob, request};

/// A wrong answer near the right one.
fn spoil(rng: &mut Prng, response: &mut Response) {
    if rng.below(3) == 0 {
        let revision = response.revision.unwrap_or(1);
        response.revision = Some(revision + [-1, 1][rng.below(2) as usize]);
        return;
    }
    if let Some(reply) = &mut response.reply {
        spoil_reply(rng, reply);
    }
}

fn spoil_reply(rng: &mut Prng, reply: &mut Reply) {
    match reply {
        Reply::Range { kvs, count, .. } => match kvs.len() as u64 {
            0 => *count = count.map(|count| count + 1),
            many => {
                let at = rng.below(many) as usize;
                match rng.below(3) {
                    0 => spoil_seen(rng, &mut kvs[at]),
                    1 => drop(kvs.remove(at)),
                    _ => kvs.push(kvs[at].clone()),
                }
            }
        },
        Reply::Put { prev: Some(prev) } => match prev {
            Some(seen) => spoil_seen(rng, seen),
            None => *prev = Some(Seen { key: blob("a"), ..Seen::default() }),
        },
        Reply::Put { prev: None } => {}
        Reply::Delete { deleted, .. } => *deleted = deleted.map(|deleted| deleted + 1),
        Reply::Txn { succeeded, replies } => match replies.len() as u64 {
            0 => *succeeded = !*succeeded,
            many => {
                let at = rng.below(many) as usize;
                spoil_reply(rng, &mut replies[at]);
            }
        },
        Reply::Revoke => {}
    }
}

fn spoil_seen(rng: &mut Prng, seen: &mut Seen) {
    match rng.below(4) {
        0 => seen.value = Some(blob("spoiled")),
        1 => seen.mod_revision = seen.mod_revision.map(|revision| revision + 1),
        2 => seen.version = seen.version.map(|version| version + 1),
        _ => seen.key = blob("zz"),
    }
}

/// Forgets some of what an answer says.
fn blur(rng: &mut Prng, response: &mut Response) {
    if rng.below(2) == 0 {
        response.revision = None;
    }
    match &mut response.reply {
        Some(Reply::Range { kvs, count, more }) if rng.below(2) == 0 => {
            (*count, *more) = (None, None);
            for seen in kvs {
                (seen.create_revision, seen.mod_revision) = (None, None);
            }
        }
        Some(Reply::Put { prev }) => *prev = None,
        Some(Reply::Delete { deleted, prev }) => (*deleted, *prev) = (None, None),
        reply if rng.below(4) == 0 => *reply = None,
        _ => {}
    }
}

#[test]
fn steps_agree_with_a_naive_store_and_refuse_wrong_answers() {
    let model = Etcd::new();
    let (mut refused, mut spoiled) = (0, 0);
    for seed in 0..400 {
        let mut rng = Prng::new(seed);
        let (mut store, mut state) = (Store::new(), model.initial());
        for _ in 0..25 {
            let asked = request(&mut rng, 0);
            let Some(response) = store.request(&asked) else {
                assert!(model.step(&state, &asked, None).is_none(), "seed {seed}: {asked:?}");
                refused += 1;
                continue;
            };
            let mut wrong = response.clone();
            spoil(&mut rng, &mut wrong);
            if wrong != response && !ties(&asked) {
                let accepted = model.step(&state, &asked, Some(&wrong));
                assert!(accepted.is_none(), "seed {seed}: {asked:?} {wrong:?}");
                spoiled += 1;
            }
            let blind = model.step(&state, &asked, None);
            let next = model.step(&state, &asked, Some(&response));
            assert!(next.is_some(), "seed {seed}: {asked:?} {response:?}");
            assert_eq!(blind, next, "seed {seed}");
            state = next.unwrap();
            assert_eq!(state.revision(), store.revision);
            assert!(state.keys().eq(store.keys.values()), "seed {seed}: {asked:?}");
            if model.read_only(&asked, Some(&response)) {
                assert!(store.changes.is_empty(), "seed {seed}: {asked:?}");
            }
        }
    }
    assert!(refused > 50 && spoiled > 2_000, "{refused} {spoiled}");
}

/// A keys-only answer has no value or lease to be wrong about.
fn ties(asked: &Request) -> bool {
    match asked {
        Request::Range(range) => range.keys_only,
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(ties),
        _ => false,
    }
}

pub fn history(rng: &mut Prng, spoils: bool) -> Vec<EtcdOperation> {
    let span = 4 + rng.below(30);
    let count = 3 + rng.below(5);
    let exact = rng.below(2) == 0;
    let mut points = Vec::new();
    let mut ops: Vec<EtcdOperation> = Vec::new();
    for process in 0..count {
        let invoked = rng.below(span) * 16;
        let returned = invoked + rng.below(1 + span) * 8 + process;
        points.push((invoked + rng.below(1 + returned - invoked), ops.len()));
        ops.push(Operation {
            process: process as u32,
            input: request(rng, 0),
            output: None,
            invoked,
            returned: Some(returned),
        });
    }
    points.sort_unstable();
    let mut store = Store::new();
    let mut gone = Vec::new();
    for (_, at) in points {
        let lost = rng.below(8);
        if lost == 0 {
            continue;
        }
        let Some(mut response) = store.request(&ops[at].input) else {
            gone.push(at);
            continue;
        };
        if lost == 1 {
            continue;
        }
        if !exact && rng.below(2) == 0 {
            blur(rng, &mut response);
        }
        if spoils && rng.below(14) == 0 {
            spoil(rng, &mut response);
        }
        ops[at].output = Some(response);
        if rng.below(20) == 0 {
            ops[at].returned = None;
        }
    }
    gone.sort_unstable();
    gone.iter().rev().for_each(|&at| drop(ops.remove(at)));
    ops
}

#[test]
fn verdicts_are_those_of_brute_force_with_and_without_revisions() {
    let mut good = 0;
    const HISTORIES: u64 = 6_000;
    for seed in 0..HISTORIES {
        let ops = history(&mut Prng::new(seed), true);
        let expected = brute(&Etcd::new(), &ops, u64::MAX);
        let mut studied = Etcd::new();
        studied.study(&ops);
        let found = check(Etcd::new(), &ops, Limits::default(), &|| false);
        match &found.outcome.verdict {
            Verdict::Linearizable { .. } => assert!(expected, "seed {seed}"),
            Verdict::NotLinearizable { .. } => assert!(!expected, "seed {seed}"),
            Verdict::Unknown { .. } => panic!("no limit was set"),
        }
        assert_eq!(found.timeline.is_some(), expected);
        // The unstudied model has no hints: also the place where it breaks must be right.
        judge(&Etcd::new(), &ops, expected, seed);
        good += u64::from(expected);
    }
    assert!(good > HISTORIES / 10 && good < HISTORIES * 9 / 10, "{good}");
}

/// Writes and reads of two keys with every answer exact, and about every other one lost.
fn lossy(rng: &mut Prng) -> Vec<EtcdOperation> {
    let mut store = Store::new();
    let mut ops = Vec::new();
    let mut effects: Vec<(u64, usize)> = Vec::new();
    for process in 0..5 + rng.below(3) as u32 {
        let key = blob(["a", "b"][rng.below(2) as usize]);
        let write = Put { key: key.clone(), value: blob("v"), ..Put::default() };
        let input = match rng.below(8) {
            0..=2 => Request::Put(write),
            3 => Request::Delete(Delete { key, range_end: Blob::default() }),
            4 | 5 => {
                let (range_end, op) = (Blob::default(), CompareOp::Equal);
                let target = Target::Mod(rng.below(4) as i64);
                let compare = vec![Compare { key, range_end, op, target }];
                Request::Txn(Txn { compare, success: vec![Request::Put(write)], failure: vec![] })
            }
            _ => Request::Range(Range { key, ..Range::default() }),
        };
        let invoked = rng.below(20) * 16;
        let returned = invoked + rng.below(20) * 8 + u64::from(process);
        effects.push((invoked + rng.below(1 + returned - invoked), ops.len()));
        ops.push(Operation { process, input, output: None, invoked, returned: Some(returned) });
    }
    effects.sort_unstable();
    for (_, at) in effects {
        let reads = matches!(ops[at].input, Request::Range(_));
        let kept = reads || rng.below(2) == 0;
        if !kept && rng.below(3) == 0 {
            continue;
        }
        let mut response = store.request(&ops[at].input).expect("nothing here is refused");
        if rng.below(10) == 0 {
            spoil(rng, &mut response);
        }
        ops[at].output = kept.then_some(response);
    }
    ops
}

#[test]
fn verdicts_are_those_of_brute_force_where_every_other_answer_is_lost() {
    let mut good = 0;
    const HISTORIES: u64 = 6_000;
    for seed in 0..HISTORIES {
        let ops = lossy(&mut Prng::new(seed));
        let expected = brute(&Etcd::new(), &ops, u64::MAX);
        let found = check(Etcd::new(), &ops, Limits::default(), &|| false).outcome.verdict;
        let found = matches!(found, Verdict::Linearizable { .. });
        assert_eq!(found, expected, "seed {seed}: {ops:#?}");
        good += u64::from(expected);
    }
    assert!(good > HISTORIES / 10 && good < HISTORIES * 9 / 10, "{good}");
}

fn put(process: u32, key: &str, revision: Option<i64>, invoked: u64) -> EtcdOperation {
    let input = Request::Put(Put { key: blob(key), value: blob("v"), ..Put::default() });
    let response = |revision| Response { revision: Some(revision), reply: None };
    let returned = revision.map(|_| invoked + 1);
    Operation { process, input, output: revision.map(response), invoked, returned }
}

#[test]
fn a_gap_in_the_revisions_is_filled_by_the_lost_write_that_fits() {
    let read = Operation {
        process: 9,
        input: Request::Range(Range { key: blob("b"), ..Range::default() }),
        output: Some(Response {
            revision: Some(4),
            reply: Some(Reply::Range {
                kvs: vec![Seen { key: blob("b"), mod_revision: Some(3), ..Seen::default() }],
                count: Some(1),
                more: None,
            }),
        }),
        invoked: 30,
        returned: Some(31),
    };
    let mut ops = vec![put(0, "a", Some(2), 0), put(1, "x", None, 1), put(2, "b", None, 2)];
    ops.extend([put(3, "c", Some(4), 10), read]);
    let found = check(Etcd::new(), &ops, Limits::default(), &|| false);
    let Verdict::Linearizable { order } = found.outcome.verdict else { panic!() };
    assert_eq!(order, [0, 2, 3, 4], "the write of x need not have happened");
    let timeline = found.timeline.unwrap();
    assert_eq!(timeline.revision(), 4);
    let changed: Vec<&Blob> =
        timeline.commits().iter().map(|commit| commit.changes[0].key()).collect();
    assert_eq!(changed, [&blob("a"), &blob("b"), &blob("c")]);

    // Without the lost write of b nobody can have made revision 3.
    ops.remove(2);
    let found = check(Etcd::new(), &ops, Limits::default(), &|| false);
    assert!(matches!(found.outcome.verdict, Verdict::NotLinearizable { .. }));
    assert!(found.timeline.is_none());
}

#[test]
fn two_answers_cannot_share_a_revision_and_revisions_follow_real_time() {
    let same = [put(0, "a", Some(2), 0), put(1, "b", Some(2), 0)];
    let found = check(Etcd::new(), &same, Limits::default(), &|| false);
    assert!(matches!(found.outcome.verdict, Verdict::NotLinearizable { .. }));
    let back = [put(0, "a", Some(3), 0), put(1, "b", Some(2), 10)];
    let found = check(Etcd::new(), &back, Limits::default(), &|| false);
    let Verdict::NotLinearizable { stuck, .. } = found.outcome.verdict else { panic!() };
    assert_eq!(stuck, [0]);
}

#[test]
fn a_watched_event_settles_who_made_a_revision() {
    let ops = [put(0, "a", None, 0), put(1, "b", None, 1), put(2, "c", Some(3), 5)];
    let mut model = Etcd::new();
    model.observe_put(Seen { key: blob("b"), mod_revision: Some(2), ..Seen::default() });
    let found = check(model, &ops, Limits::default(), &|| false);
    assert!(matches!(&found.outcome.verdict, Verdict::Linearizable { order } if *order == [1, 2]));
    let mut model = Etcd::new();
    model.observe_delete(2, blob("a"));
    let found = check(model, &ops, Limits::default(), &|| false);
    assert!(
        matches!(&found.outcome.verdict, Verdict::Linearizable { order } if *order == [1, 2]),
        "a put of a does not delete it"
    );
    let timeline = found.timeline.unwrap();
    assert!(matches!(&timeline.commits()[0].changes[0], Change::Put(kv) if kv.key == blob("b")));
}

#[test]
fn a_hundred_lost_writes_beside_two_thousand_known_ones_cost_no_search() {
    let mut rng = Prng::new(11);
    let mut store = Store::new();
    let mut ops = Vec::new();
    for at in 0..2_000u64 {
        let asked = request(&mut rng, 0);
        let lost = at % 20 == 7;
        let applied = !lost || rng.below(2) == 0;
        let response = if applied { store.request(&asked) } else { None };
        if applied && response.is_none() {
            continue;
        }
        let output = if lost { None } else { response };
        let returned = Some(10 * at + 25);
        let (process, invoked) = (at as u32 % 3, 10 * at);
        ops.push(Operation { process, input: asked, output, invoked, returned });
    }
    let limits = Limits { steps_max: 400_000, ..Limits::default() };
    let found = check(Etcd::new(), &ops, limits, &|| false);
    let stats = found.outcome.stats;
    assert!(matches!(found.outcome.verdict, Verdict::Linearizable { .. }), "{stats:?}");
    assert!(stats.states < 20_000, "{stats:?}");
    // What lost deletes of nothing and the like did may differ; the keys may not.
    let timeline = found.timeline.unwrap();
    let all = Range { key: blob("a"), range_end: blob("\0"), ..Range::default() };
    let reply = store.range(&all).unwrap();
    assert!(timeline.revision() <= store.revision);
    if timeline.revision() == store.revision {
        assert_eq!(timeline.check_read(&all, store.revision, &reply), Ok(()));
    }
}
