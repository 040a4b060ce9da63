//! Entries that end thousands of keys, so that every index has many nodes: what they do is what
//! they would do key by key, in slices of any size and beside views of any age.

use base::{Blob, ClusterTime, LogIndex, Prng};
use mvcc::{
    Applied, Budget, Caller, Changes, Command, DeleteRequest, Event, EventKind, InMemory, KeyRange,
    KeyValue, Limits, Progress, PutRequest, RangeRequest, RequestOp, Response, ResponseOp, Store,
    TxnRequest, View,
};
use std::collections::BTreeMap;

type Twin = BTreeMap<Blob, KeyValue>;

struct Node {
    store: Store,
    index: u64,
}

impl Node {
    fn new() -> Self {
        Self { store: Store::new(Limits::default()), index: 0 }
    }

    fn apply(&mut self, command: &Command, mut budget: impl FnMut() -> Budget) -> Applied {
        self.index += 1;
        let at = (LogIndex(self.index), ClusterTime(self.index));
        let request = Some((Caller::nobody(), command.clone()));
        let mut progress = self.store.begin(at, request, &mut InMemory, &mut budget());
        loop {
            match progress {
                Progress::Done(done) => {
                    let applied = done.applied.expect("it has a command");
                    assert!(applied.result.is_ok(), "{:?}", applied.result);
                    return applied;
                }
                Progress::Running(job) => {
                    progress = self.store.run(job, &mut InMemory, &mut budget())
                }
            }
        }
    }

    /// What is derived as the work goes is what a restored member counts out anew.
    fn assert_restores(&self) {
        let restored = Store::restore(self.store.limits(), self.store.checkpoint_records());
        let restored = restored.expect("its own checkpoint");
        assert_eq!(restored.content_hash(), self.store.content_hash());
        assert_eq!(restored.size_bytes(), self.store.size_bytes());
        for lease in self.store.leases_page(None, usize::MAX) {
            assert_eq!(
                restored.lease_keys_page(lease, None, usize::MAX),
                self.store.lease_keys_page(lease, None, usize::MAX)
            );
        }
    }
}

fn all(view: &View) -> Vec<KeyValue> {
    let (key, range_end) = (Blob::from(&b"\0"[..]), Blob::from(&b"\0"[..]));
    let request = RangeRequest { key, range_end, ..RangeRequest::default() };
    view.read(&request).expect("it is valid").kvs
}

/// The hashes are those of a build that looked each key up by itself.
#[test]
fn a_removal_of_many_keys_has_the_hash_that_it_always_had() {
    let delete = Command::Delete(DeleteRequest {
        key: Blob::from(&b"/registry/"[..]),
        range_end: Blob::from(&b"/registry0"[..]),
        prev_kv: false,
    });
    let revoke = Command::LeaseRevoke { id: 7, renewal: None };
    for (removal, lease, chain) in
        [(delete, 0, 0xb98d_6f37_56aa_dee0), (revoke, 7, 0x6d03_ec65_533b_172a)]
    {
        for units in [1, 7, 300, 1000, u64::MAX] {
            let mut node = Node::new();
            let mut apply = |command: &Command| node.apply(command, || Budget::new(units));
            if lease != 0 {
                apply(&Command::LeaseGrant { id: lease, ttl: 600 });
            }
            for n in 0..3000 {
                let key = Blob::from(format!("/registry/pods/default/{n:08}").as_bytes());
                let value = Blob::from([7; 8].as_slice());
                apply(&Command::Put(PutRequest { key, value, lease, ..PutRequest::default() }));
            }
            let changes = apply(&removal).changes.expect("it made a revision");
            assert_eq!(changes.events.len(), 3000);
            assert_eq!(node.store.chain_hash(), chain, "in slices of {units}");
            assert!(all(&node.store).is_empty(), "nothing lives");
            node.assert_restores();
        }
    }
}

fn key(p: &mut Prng) -> Blob {
    let head = ["a/", "a/b/c/", "m", "registry/pods/"][p.below(4) as usize];
    Blob::from(format!("{head}{:04}", p.below(1500)).as_bytes())
}

fn delete(p: &mut Prng) -> DeleteRequest {
    let range_end = match p.below(4) {
        0 => Blob::from(&b"\0"[..]),
        1 => Blob::default(),
        _ => key(p),
    };
    DeleteRequest { key: key(p), range_end, prev_kv: p.below(2) == 0 }
}

fn command(p: &mut Prng) -> Command {
    match p.below(4) {
        0 => Command::LeaseRevoke { id: 1 + p.below(3) as i64, renewal: None },
        1 => {
            let deletes = (0..1 + p.below(4)).map(|_| RequestOp::Delete(delete(p)));
            Command::Txn(TxnRequest { success: deletes.collect(), ..TxnRequest::default() })
        }
        _ => Command::Delete(delete(p)),
    }
}

/// An event, and what was before it.
type Ended = (Event, KeyValue);

/// Key by key what the command does; the events, and the values it answers.
fn plain(twin: &mut Twin, command: &Command, revision: i64) -> (Vec<Ended>, Vec<Vec<KeyValue>>) {
    let mut events = Vec::new();
    let mut end = |twin: &mut Twin, goes: &dyn Fn(&KeyValue) -> bool| {
        let keys: Vec<Blob> =
            twin.values().filter(|kv| goes(kv)).map(|kv| kv.key.clone()).collect();
        let mut ended = Vec::new();
        for key in keys {
            let before = twin.remove(&key).expect("it was just there");
            let kv = KeyValue { key, mod_revision: revision, ..KeyValue::default() }.into();
            events.push((Event { kind: EventKind::Delete, kv }, before.clone()));
            ended.push(before);
        }
        ended
    };
    let mut range = |twin: &mut Twin, request: &DeleteRequest| {
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        let ended = end(twin, &|kv| range.matches(&kv.key));
        if request.prev_kv { ended } else { Vec::new() }
    };
    let answers = match command {
        Command::Delete(request) => vec![range(twin, request)],
        Command::Txn(txn) => {
            let each = |op: &RequestOp| match op {
                RequestOp::Delete(request) => range(twin, request),
                other => panic!("no {other:?} is made here"),
            };
            txn.success.iter().map(each).collect()
        }
        Command::LeaseRevoke { id, .. } => {
            end(twin, &|kv| kv.lease == *id);
            Vec::new()
        }
        other => panic!("no {other:?} is made here"),
    };
    (events, answers)
}

fn answered(response: Response) -> Vec<Vec<KeyValue>> {
    match response {
        Response::Delete(answer) => vec![answer.prev_kvs],
        Response::Txn(answer) => {
            let each = |op| match op {
                ResponseOp::Delete(answer) => answer.prev_kvs,
                other => panic!("no {other:?} was asked for"),
            };
            answer.responses.into_iter().map(each).collect()
        }
        _ => Vec::new(),
    }
}

/// Puts until there are thousands of keys, some of them several times, many attached.
fn load(node: &mut Node, twin: &mut Twin, p: &mut Prng) {
    for id in 1..=3 {
        if node.store.lease_ttl(id, ClusterTime::ZERO).is_none() {
            node.apply(&Command::LeaseGrant { id, ttl: 600 }, Budget::endless);
        }
    }
    for _ in 0..3000 {
        let lease = [0, 0, 1, 2, 3][p.below(5) as usize];
        let value = Blob::from(vec![p.below(256) as u8; p.below(1500) as usize]);
        let put = PutRequest { key: key(p), value, lease, ..PutRequest::default() };
        let command = Command::Put(put);
        let changes = node.apply(&command, Budget::endless).changes.expect("a put changes");
        let kv = (*changes.events[0].kv).clone();
        twin.insert(kv.key.clone(), kv);
    }
}

#[test]
fn long_removals_do_what_they_would_do_key_by_key() {
    let (mut most, mut long) = (0, 0);
    for seed in 0..8 {
        let mut p = Prng::new(seed);
        let (mut node, mut twin, mut held) = (Node::new(), Twin::new(), Vec::new());
        for round in 0..36 {
            if round % 9 == 0 {
                load(&mut node, &mut twin, &mut p);
            }
            let command = command(&mut p);
            let leases = node.store.leases_page(None, usize::MAX);
            if matches!(command, Command::LeaseRevoke { id, .. } if !leases.contains(&id)) {
                continue;
            }
            if p.below(2) == 0 {
                held.push((node.store.view(), twin.values().cloned().collect::<Vec<_>>()));
            }
            let max = [1, 40, 400, 4000][p.below(4) as usize];
            let applied = node.apply(&command, || Budget::new(1 + p.below(max)));
            let revision = node.store.revision();
            let (events, answers) = plain(&mut twin, &command, revision);
            (most, long) = (most.max(events.len()), long + u32::from(events.len() > 256));
            for (event, before) in &events {
                let told = node.store.before(event);
                assert_eq!(told, Some(before.clone()), "seed {seed}");
            }
            let events: Vec<Event> = events.into_iter().map(|(event, _)| event).collect();
            let changes = (!events.is_empty()).then_some(Changes { revision, events });
            assert_eq!(applied.changes.as_deref(), changes.as_ref(), "seed {seed}: {command:?}");
            assert_eq!(answered(applied.result.expect("it is taken")), answers, "seed {seed}");
            assert!(all(&node.store).iter().eq(twin.values()), "seed {seed}: {command:?}");
            for id in node.store.leases_page(None, usize::MAX) {
                let attached = twin.values().filter(|kv| kv.lease == id).map(|kv| &kv.key);
                assert!(
                    node.store.lease_keys_page(id, None, usize::MAX).iter().eq(attached),
                    "seed {seed}, lease {id}"
                );
            }
        }
        node.assert_restores();
        assert!(held.iter().all(|(view, kvs)| all(view) == *kvs), "a held view stays as it was");
    }
    assert!(most > 2000 && long > 30, "{most} {long}");
}
