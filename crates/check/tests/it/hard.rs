//! Long histories of many clients with lost answers, whose verdicts are known from how they were
//! made: each operation took effect at one moment between its request and its answer, and in a bad
//! one a single answer was changed into one that nothing explains.

use std::collections::BTreeMap;

use base::{Blob, Prng};
use check::etcd::{
    Compare, CompareOp, Etcd, EtcdOperation, KeyValue, Put, Range, Reply, Request, Response, Seen,
    Target, Txn,
};
use check::models::{Kv, KvInput, KvOutput};
use check::{Limits, Operation, Outcome, Verdict};

/// What a history is made of.
#[derive(Clone, Copy)]
struct Shape {
    clients: u64,
    count: u64,
    keys: u64,
    /// Of 100 requests, how many get no answer; half of them take effect at some later moment.
    lost: u64,
    /// Of 100 requests.
    puts: u64,
    gets: u64,
}

/// Moments of one request.
struct Moments {
    process: u32,
    invoked: u64,
    /// When it took effect, if it did.
    point: Option<u64>,
    returned: Option<u64>,
}

fn moments(rng: &mut Prng, shape: Shape) -> Vec<Moments> {
    const HOLD: u64 = 1000;
    let mut free: Vec<(u64, u32)> =
        (0..shape.clients).map(|client| (rng.below(HOLD), client as u32)).collect();
    let mut all = Vec::new();
    for _ in 0..shape.count {
        let client = (0..free.len()).min_by_key(|&at| free[at]).unwrap();
        let (invoked, process) = free[client];
        if rng.below(100) < shape.lost {
            let point = (rng.below(2) == 0).then(|| invoked + rng.below(6 * HOLD));
            all.push(Moments { process, invoked, point, returned: None });
            free[client] = (invoked + 2 * HOLD, process + shape.clients as u32);
        } else {
            let length = 1 + rng.below(2 * HOLD);
            let (point, returned) = (Some(invoked + rng.below(length)), Some(invoked + length));
            all.push(Moments { process, invoked, point, returned });
            free[client] = (invoked + length + 1 + rng.below(HOLD / 4), process);
        }
    }
    all
}

/// In the order in which they took effect.
fn effects(moments: &[Moments]) -> Vec<usize> {
    let mut order: Vec<_> =
        (0..moments.len()).filter_map(|at| Some((moments[at].point?, at))).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, at)| at).collect()
}

fn key_value(seed: u64, shape: Shape, good: bool) -> Vec<Operation<KvInput, KvOutput>> {
    let mut rng = Prng::new(seed);
    let moments = moments(&mut rng, shape);
    let inputs: Vec<KvInput> = (0..moments.len())
        .map(|at| {
            let key = rng.below(shape.keys).to_string();
            let value = format!("x {} {at} y", moments[at].process);
            match rng.below(100) {
                kind if kind < shape.gets => KvInput::Get { key },
                kind if kind < shape.gets + shape.puts => KvInput::Put { key, value },
                _ => KvInput::Append { key, value },
            }
        })
        .collect();
    let mut state: BTreeMap<&str, String> = BTreeMap::new();
    let mut outputs: Vec<Option<KvOutput>> = vec![None; inputs.len()];
    for at in effects(&moments) {
        let now = state.entry(inputs[at].key()).or_default();
        match &inputs[at] {
            KvInput::Get { .. } => {}
            KvInput::Put { value, .. } => now.clone_from(value),
            KvInput::Append { value, .. } => now.push_str(value),
        }
        let is_get = matches!(inputs[at], KvInput::Get { .. });
        outputs[at] = Some(if is_get { KvOutput::Value(now.clone()) } else { KvOutput::Done });
    }
    if !good {
        // A value that was read twice is changed in one of the two: it misses its second part.
        // Every part is written once, so the two exclude each other.
        let value = |at: usize| match &outputs[at] {
            Some(KvOutput::Value(value)) if moments[at].returned.is_some() => value.as_str(),
            _ => "",
        };
        let long = |at: &usize| value(*at).matches('x').count() > 2;
        let twice = |at: &usize| (0..*at).any(|other| value(other) == value(*at));
        let reads: Vec<usize> = (0..outputs.len()).filter(|at| long(at) && twice(at)).collect();
        let Some(KvOutput::Value(value)) = &mut outputs[reads[reads.len() * 3 / 4]] else {
            panic!("a read");
        };
        let second = value.match_indices('x').nth(1).unwrap().0;
        let third = value.match_indices('x').nth(2).unwrap().0;
        value.replace_range(second..third, "");
    }
    let all = moments.into_iter().zip(inputs).zip(outputs);
    all.map(|((moments, input), output)| {
        let Moments { process, invoked, returned, .. } = moments;
        Operation { process, input, output: returned.and(output), invoked, returned }
    })
    .collect()
}

fn blob(text: &str) -> Blob {
    Blob::from(text.as_bytes())
}

fn plain(key: &Blob, value: &str) -> Request {
    Request::Put(Put { key: key.clone(), value: blob(value), ..Put::default() })
}

/// A put if the key was last written at `at`.
fn guarded(key: &Blob, at: i64, value: &str) -> Request {
    let (range_end, op) = (Blob::default(), CompareOp::Equal);
    let compare = Compare { key: key.clone(), range_end, op, target: Target::Mod(at) };
    Request::Txn(Txn { compare: vec![compare], success: vec![plain(key, value)], failure: vec![] })
}

/// What etcd holds while a history is made.
#[derive(Default)]
struct Held {
    keys: BTreeMap<Blob, KeyValue>,
    /// What a client that read a key before thinks of it.
    read: BTreeMap<Blob, i64>,
    writes: i64,
}

impl Held {
    fn write(&mut self, key: &Blob, value: &str) {
        self.writes += 1;
        let (mod_revision, old) = (1 + self.writes, self.keys.get(key));
        let kv = KeyValue {
            key: key.clone(),
            value: blob(value),
            create_revision: old.map_or(mod_revision, |kv| kv.create_revision),
            mod_revision,
            version: old.map_or(1, |kv| kv.version + 1),
            lease: 0,
        };
        self.keys.insert(key.clone(), kv);
    }

    /// Carries out a request of this kind (of 100) and gives it with its answer.
    fn act(&mut self, shape: Shape, kind: u64, key: &Blob, value: &str) -> (Request, Response) {
        let now = self.keys.get(key).map_or(0, |kv| kv.mod_revision);
        let (input, reply) = if kind < shape.gets {
            let kvs: Vec<Seen> = self.keys.get(key).map(Seen::from).into_iter().collect();
            let count = Some(kvs.len() as i64);
            let range = Range { key: key.clone(), ..Range::default() };
            (Request::Range(range), Reply::Range { kvs, count, more: Some(false) })
        } else if kind < shape.gets + shape.puts {
            self.write(key, value);
            (plain(key, value), Reply::Put { prev: None })
        } else {
            let known = self.read.insert(key.clone(), now).unwrap_or(0);
            let expected = if kind.is_multiple_of(3) { known } else { now };
            let (succeeded, mut replies) = (expected == now, vec![]);
            if succeeded {
                self.write(key, value);
                replies.push(Reply::Put { prev: None });
            }
            (guarded(key, expected, value), Reply::Txn { succeeded, replies })
        };
        (input, Response { revision: Some(1 + self.writes), reply: Some(reply) })
    }
}

fn etcd(seed: u64, shape: Shape, good: bool) -> Vec<EtcdOperation> {
    let mut rng = Prng::new(seed);
    let moments = moments(&mut rng, shape);
    let keys: Vec<Blob> =
        moments.iter().map(|_| blob(&format!("k{}", rng.below(shape.keys)))).collect();
    let kinds: Vec<u64> = moments.iter().map(|_| rng.below(100)).collect();
    let mut held = Held::default();
    let mut inputs: Vec<Request> =
        (0..keys.len()).map(|at| guarded(&keys[at], 0, &format!("v{at}"))).collect();
    let mut outputs: Vec<Option<Response>> = vec![None; keys.len()];
    for at in effects(&moments) {
        let (input, output) = held.act(shape, kinds[at], &keys[at], &format!("v{at}"));
        (inputs[at], outputs[at]) = (input, Some(output));
    }
    if !good {
        // A version that was read twice is changed in one of the two: they exclude each other,
        // whatever the lost writes did.
        let read = |at: usize| match &outputs[at] {
            Some(Response { reply: Some(Reply::Range { kvs, .. }), .. }) => {
                kvs.first().filter(|_| moments[at].returned.is_some())
            }
            _ => None,
        };
        let twice = |at: &usize| read(*at).is_some() && (0..*at).any(|to| read(to) == read(*at));
        let reads: Vec<usize> = (0..outputs.len()).filter(twice).collect();
        let wrong = &mut outputs[reads[reads.len() * 3 / 4]];
        let Some(Response { reply: Some(Reply::Range { kvs, .. }), .. }) = wrong else {
            panic!("a read");
        };
        kvs[0].version = kvs[0].version.map(|version| version + 1);
    }
    let all = moments.into_iter().zip(inputs).zip(outputs);
    all.map(|((moments, input), output)| {
        let Moments { process, invoked, returned, .. } = moments;
        Operation { process, input, output: returned.and(output), invoked, returned }
    })
    .collect()
}

#[track_caller]
fn expect(outcome: &Outcome, good: bool, what: &str) {
    match outcome.verdict {
        Verdict::Linearizable { .. } => assert!(good, "{what}: missed what is wrong"),
        Verdict::NotLinearizable { .. } => assert!(!good, "{what}: there is an order"),
        Verdict::Unknown { why } => panic!("{what}: {why}: {:?}", outcome.stats),
    }
}

/// Steps that a second is long enough for, by far.
const LIMITS: Limits = Limits { steps_max: 3_000_000, memory_bytes_max: 1 << 30 };

#[test]
fn fifty_clients_on_few_keys_get_their_verdicts_in_few_states() {
    for (keys, lost, puts, gets) in
        [(10, 0, 5, 45), (10, 10, 5, 45), (1, 0, 5, 45), (1, 10, 5, 45), (2, 20, 20, 30)]
    {
        let shape = Shape { clients: 50, count: 2000, keys, lost, puts, gets };
        for seed in 0..3 {
            for good in [true, false] {
                let ops = key_value(seed, shape, good);
                let outcome = check::check(&Kv::of(&ops), &ops, LIMITS, &|| false);
                let what = format!("{keys} keys, {lost} lost, seed {seed}, {good}");
                println!("{what}: {:?}", outcome.stats);
                expect(&outcome, good, &what);
            }
        }
    }
}

#[test]
fn every_third_answer_of_fifty_clients_of_etcd_may_be_lost() {
    for lost in [30, 40] {
        let shape = Shape { clients: 50, count: 2000, keys: 10, lost, puts: 30, gets: 40 };
        for seed in 0..4 {
            for good in [true, false] {
                let ops = etcd(seed, shape, good);
                let outcome = check::etcd::check(Etcd::new(), &ops, LIMITS, &|| false).outcome;
                let what = format!("{lost} lost, seed {seed}, {good}");
                println!("{what}: {:?}", outcome.stats);
                expect(&outcome, good, &what);
            }
        }
    }
}

#[test]
fn lost_writes_of_fifty_clients_of_etcd_do_not_multiply() {
    for lost in [0, 10, 20] {
        let shape = Shape { clients: 50, count: 2000, keys: 10, lost, puts: 30, gets: 40 };
        for seed in 0..3 {
            for good in [true, false] {
                let ops = etcd(seed, shape, good);
                let outcome = check::etcd::check(Etcd::new(), &ops, LIMITS, &|| false).outcome;
                let what = format!("{lost} lost, seed {seed}, {good}");
                println!("{what}: {:?}", outcome.stats);
                expect(&outcome, good, &what);
            }
        }
    }
}
