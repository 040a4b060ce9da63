//! How the work of an entry is cut never shows: any budgets give the state, the answers, the
//! changes and the hashes of one that is applied in one go.

#[path = "words/drive.rs"]
mod drive;

use base::codec::DecodeError;
use base::{Blob, ClusterTime, LogIndex, Prng};
use drive::Drive;
use mvcc::{
    AlarmAction, AlarmKind, Applied, Budget, Caller, Command, Compare, CompareOp, CompareTarget,
    DeleteRequest, HashKvWork, InMemory, IndexFile, KeyRange, KeyValue, Limits, Progress,
    PutRequest, RangeRequest, RangeResponse, RangeWork, ReadTxnWork, RequestOp, Settled, Settling,
    SortOrder, SortTarget, Store, TxnRequest, Version, View,
};

const KEYS: u64 = 40;

fn key(p: &mut Prng) -> Blob {
    Blob::from(format!("k{:02}", p.below(KEYS)).as_bytes())
}

fn end(p: &mut Prng) -> Blob {
    match p.below(5) {
        0 => Blob::from(&b"\0"[..]),
        1 => Blob::default(),
        _ => key(p),
    }
}

fn put(p: &mut Prng) -> PutRequest {
    let long = if p.below(8) == 0 { 3000 } else { 8 };
    PutRequest {
        key: key(p),
        value: Blob::from(vec![p.below(256) as u8; p.below(long) as usize]),
        lease: if p.below(3) == 0 { 1 + p.below(4) as i64 } else { 0 },
        prev_kv: p.below(3) == 0,
        ..PutRequest::default()
    }
}

fn delete(p: &mut Prng) -> DeleteRequest {
    DeleteRequest { key: key(p), range_end: end(p), prev_kv: p.below(2) == 0 }
}

pub fn range(p: &mut Prng, revision: i64) -> RangeRequest {
    let targets = [
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ];
    let orders = [SortOrder::None, SortOrder::Ascend, SortOrder::Descend];
    let old = |p: &mut Prng| if p.below(3) == 0 { revision - p.below(30) as i64 } else { 0 };
    let filter = |p: &mut Prng| if p.below(4) == 0 { old(p).max(0) } else { 0 };
    RangeRequest {
        key: key(p),
        range_end: end(p),
        limit: if p.below(2) == 0 { p.below(12) as i64 } else { 0 },
        revision: old(p),
        sort_order: orders[p.below(3) as usize],
        sort_target: targets[p.below(5) as usize],
        keys_only: p.below(4) == 0,
        count_only: p.below(5) == 0,
        min_mod_revision: filter(p),
        max_mod_revision: filter(p),
        min_create_revision: filter(p),
        max_create_revision: filter(p),
        serializable: false,
    }
}

fn compare(p: &mut Prng) -> Compare {
    let ops = [CompareOp::Equal, CompareOp::Greater, CompareOp::Less, CompareOp::NotEqual];
    let target = match p.below(4) {
        0 => CompareTarget::Version(p.below(3) as i64),
        1 => CompareTarget::Mod(p.below(60) as i64),
        2 => CompareTarget::Value(Blob::from([p.below(256) as u8].as_slice())),
        _ => CompareTarget::Lease(p.below(3) as i64),
    };
    Compare { key: key(p), range_end: end(p), op: ops[p.below(4) as usize], target }
}

fn txn(p: &mut Prng, revision: i64, depth: u32) -> TxnRequest {
    let branch = |p: &mut Prng| {
        let ops = (0..p.below(4)).map(|_| match p.below(8) {
            0..=2 => RequestOp::Put(put(p)),
            3 | 4 => RequestOp::Range(range(p, revision)),
            5 => RequestOp::Delete(delete(p)),
            _ if depth < 3 => RequestOp::Txn(txn(p, revision, depth + 1)),
            _ => RequestOp::Put(put(p)),
        });
        ops.collect()
    };
    TxnRequest {
        compare: (0..p.below(3)).map(|_| compare(p)).collect(),
        success: branch(p),
        failure: branch(p),
    }
}

fn command(p: &mut Prng, revision: i64) -> Option<Command> {
    Some(match p.below(22) {
        0..=7 => Command::Put(put(p)),
        8 | 9 => Command::Delete(delete(p)),
        10..=14 => Command::Txn(txn(p, revision, 0)),
        15 => Command::Compact { revision: revision - p.below(20) as i64 },
        16 => Command::LeaseGrant { id: 1 + p.below(4) as i64, ttl: 5 },
        17 => Command::LeaseRevoke { id: 1 + p.below(4) as i64, renewal: None },
        18 => Command::LeaseRenew { ids: (0..p.below(6)).map(|_| p.below(5) as i64).collect() },
        19 => {
            let action = [AlarmAction::Get, AlarmAction::Activate, AlarmAction::Deactivate];
            let action = action[p.below(3) as usize];
            Command::Alarm { action, member: p.below(2), kind: AlarmKind::NoSpace }
        }
        _ => return None,
    })
}

/// Applies the entry in one go.
fn at_once(
    store: &mut Store,
    at: (LogIndex, ClusterTime),
    command: Option<&Command>,
) -> Option<Applied> {
    if command.is_none() {
        store.advance(at.0, at.1);
    }
    command.map(|command| store.apply(at.0, at.1, command))
}

/// Applies the entry in slices; meanwhile the store shows what it showed.
fn sliced(
    store: &mut Store,
    at: (LogIndex, ClusterTime),
    command: Option<&Command>,
    mut budget: impl FnMut() -> u64,
) -> (Option<Applied>, u64) {
    let all = KeyRange::new(&b"k"[..], &b"\0"[..]);
    let shown = |store: &Store| {
        let range = RangeRequest {
            key: Blob::from(&b"k"[..]),
            range_end: Blob::from(&b"\0"[..]),
            ..RangeRequest::default()
        };
        let history = store.history(store.compact_revision(), &all, 5);
        let hashes = (store.content_hash(), store.chain_hash(), store.size_bytes());
        (
            store.applied_index(),
            store.read(&range),
            history,
            hashes,
            store.leases_page(None, usize::MAX),
        )
    };
    let before = shown(store);
    let mut slices = 1;
    let mut progress = store.begin(
        at,
        command.cloned().map(|command| (Caller::nobody(), command)),
        &mut InMemory,
        &mut Budget::new(budget()),
    );
    loop {
        match progress {
            Progress::Done(done) => return (done.applied, slices),
            Progress::Running(job) => {
                assert_eq!(shown(store), before, "an entry shows once it is done");
                slices += 1;
                progress = store.run(job, &mut InMemory, &mut Budget::new(budget()));
            }
        }
    }
}

fn assert_equal(a: &Store, b: &Store, seed: u64) {
    assert_eq!(a.applied_index(), b.applied_index());
    assert_eq!(a.chain_hash(), b.chain_hash(), "seed {seed} at {}", a.applied_index());
    assert_eq!(a.content_hash(), b.content_hash(), "seed {seed}");
    assert_eq!(a.size_bytes(), b.size_bytes(), "seed {seed}");
    assert_eq!(a.is_sweeping(), b.is_sweeping(), "seed {seed}");
}

#[test]
fn any_budgets_give_the_state_and_the_answers_of_one_go() {
    let (mut most, mut long, mut ok) = (0, 0, 0);
    for seed in 0..240 {
        let mut p = Prng::new(seed);
        let quota_bytes = if seed % 4 == 0 { 20_000 } else { 0 };
        let limits = Limits { quota_bytes, ..Limits::default() };
        let mut whole = Store::new(limits);
        let mut cut = Store::new(limits);
        let max = [1, 2, 5, 40][seed as usize % 4];
        for index in 1..=120 {
            let command = command(&mut p, whole.revision());
            let at = (LogIndex(index), ClusterTime(index * 100_000_000));
            let one = at_once(&mut whole, at, command.as_ref());
            let (other, slices) = sliced(&mut cut, at, command.as_ref(), || 1 + p.below(max));
            (most, long) = (most.max(slices), long + u64::from(slices > 1));
            let of = |applied: Option<Applied>| applied.map(|a| (a.result, a.changes));
            let (one, other) = (of(one), of(other));
            ok += u64::from(one.as_ref().is_some_and(|(result, _)| result.is_ok()));
            assert_eq!(one, other, "seed {seed} at {index}: {command:?}");
            assert_equal(&whole, &cut, seed);
        }
        assert_eq!(
            whole.checkpoint_records().collect::<Vec<_>>(),
            cut.checkpoint_records().collect::<Vec<_>>(),
            "seed {seed}"
        );
        let restored = Store::restore(limits, cut.checkpoint_records()).expect("it is whole");
        assert_equal(&whole, &restored, seed);
    }
    assert!(most >= 45 && long > 3000 && ok > 6000, "{most} {long} {ok}");
}

#[test]
fn a_slice_does_no_more_than_its_budget_and_a_long_piece() {
    let mut store = Store::new(Limits::default());
    let at = |index| (LogIndex(index), ClusterTime(index));
    let put = |n: u64, lease| {
        let key = Blob::from(format!("k{n:05}").as_bytes());
        Command::Put(PutRequest { key, lease, ..PutRequest::default() })
    };
    let grant = Command::LeaseGrant { id: 7, ttl: 5 };
    assert!(store.apply(LogIndex(1), ClusterTime(1), &grant).result.is_ok());
    for index in 2..=3001 {
        let (at, now) = at(index);
        assert!(store.apply(at, now, &put(index, 7)).result.is_ok());
    }
    let all = (Blob::from(&b"k"[..]), Blob::from(&b"l"[..]));
    let read = RangeRequest {
        key: all.0.clone(),
        range_end: all.1.clone(),
        sort_order: SortOrder::Descend,
        sort_target: SortTarget::Value,
        ..RangeRequest::default()
    };
    let delete = DeleteRequest { key: all.0, range_end: all.1, prev_kv: false };
    let revision = store.revision();
    let long = [
        Command::LeaseRevoke { id: 7, renewal: None },
        Command::Delete(delete.clone()),
        Command::Txn(TxnRequest {
            success: vec![RequestOp::Range(read), RequestOp::Delete(delete)],
            ..TxnRequest::default()
        }),
    ];
    for command in long {
        let mut store = Store::restore(Limits::default(), store.checkpoint_records()).unwrap();
        let (applied, slices) = sliced(&mut store, at(3002), Some(&command), || 100);
        assert!(applied.expect("a command").result.is_ok());
        assert!(slices >= 30, "{slices} slices of {command:?}");
        let compact = Command::Compact { revision: revision + 1 };
        let (applied, slices) = sliced(&mut store, at(3003), Some(&compact), || 100);
        assert!(applied.expect("a command").result.is_ok());
        assert!(slices >= 20, "{slices} slices of a compaction");
        let mut slices = 0;
        for index in 3004..3100 {
            slices = slices.max(sliced(&mut store, at(index), None, || 100).1);
        }
        assert!(!store.is_sweeping() && slices >= 20, "{slices} slices of a removal");
    }
}

/// Runs to the end in slices of other budgets each.
fn to_end<T>(mut run: impl FnMut(&mut Budget) -> Option<T>, p: &mut Prng, max: u64) -> T {
    loop {
        if let Some(done) = run(&mut Budget::new(1 + p.below(max))) {
            return done;
        }
    }
}

/// What etcd's server does with a range, on a list of all its live keys.
fn plain(view: &View, r: &RangeRequest) -> RangeResponse {
    let (key, range_end) = (r.key.clone(), r.range_end.clone());
    let revision = r.revision.max(0);
    let all = RangeRequest { key, range_end, revision, ..RangeRequest::default() };
    let mut kvs = view.read(&all).expect("it was read before").kvs;
    let mut out = RangeResponse { revision: view.revision(), ..RangeResponse::default() };
    out.count = kvs.len() as i64;
    if r.count_only {
        return out;
    }
    let limit = usize::try_from(r.limit).unwrap_or(0);
    let filters =
        [r.min_mod_revision, r.max_mod_revision, r.min_create_revision, r.max_create_revision];
    let by_key = r.sort_order == SortOrder::Ascend && r.sort_target == SortTarget::Key;
    if limit > 0 && filters == [0; 4] && (r.sort_order == SortOrder::None || by_key) {
        kvs.truncate(limit + 1);
    }
    let within = |x: i64, min: i64, max: i64| (min == 0 || x >= min) && (max == 0 || x <= max);
    kvs.retain(|kv| {
        within(kv.mod_revision, r.min_mod_revision, r.max_mod_revision)
            && within(kv.create_revision, r.min_create_revision, r.max_create_revision)
    });
    let number = |kv: &KeyValue| match r.sort_target {
        SortTarget::Version => kv.version,
        SortTarget::Create => kv.create_revision,
        SortTarget::Mod => kv.mod_revision,
        SortTarget::Key | SortTarget::Value => 0,
    };
    let by = |a: &KeyValue, b: &KeyValue| match r.sort_target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Value => a.value.cmp(&b.value),
        _ => number(a).cmp(&number(b)),
    };
    match r.sort_order {
        SortOrder::Descend => kvs.sort_by(|a, b| by(b, a)),
        _ => kvs.sort_by(by),
    }
    out.more = limit > 0 && kvs.len() > limit;
    if limit > 0 {
        kvs.truncate(limit);
    }
    if r.keys_only {
        for kv in &mut kvs {
            kv.value = Blob::default();
            kv.lease = if r.sort_target == SortTarget::Value { kv.lease } else { 0 };
        }
    }
    RangeResponse { kvs, ..out }
}

#[test]
fn reads_of_a_view_are_equal_at_any_budget_and_as_etcd_makes_them() {
    let (mut full, mut limited, mut old) = (0, 0, 0);
    for seed in 0..60 {
        let mut p = Prng::new(1000 + seed);
        let mut store = Store::new(Limits::default());
        for index in 1..=150 {
            let command = command(&mut p, store.revision());
            let (at, now) = (LogIndex(index), ClusterTime(index));
            match command {
                Some(command) => drop(store.apply(at, now, &command)),
                None => store.advance(at, now),
            }
            if index % 10 != 0 {
                continue;
            }
            let view = store.view();
            for _ in 0..12 {
                let max = [1, 3, 50][p.below(3) as usize];
                let request = range(&mut p, view.revision());
                let whole = view.read(&request);
                let cut = RangeWork::start(&view, &request).map(|mut work| {
                    to_end(|budget| work.run(&view, &mut InMemory, budget), &mut p, max)
                });
                assert_eq!(cut, whole, "seed {seed}: {request:?}");
                if let Ok(whole) = whole {
                    full += u64::from(whole.kvs.len() > 8);
                    limited += u64::from(whole.more);
                    old += u64::from(request.revision > 0);
                    assert_eq!(whole, plain(&view, &request), "seed {seed}: {request:?}");
                }
                let revision = view.revision() - p.below(40) as i64;
                let cut = HashKvWork::start(&view, revision).map(|mut work| {
                    to_end(|budget| work.run(&view, &mut InMemory, budget), &mut p, max)
                });
                assert_eq!(cut, view.hash_kv(revision), "seed {seed}");
                let reads = |p: &mut Prng| {
                    let reads = (0..p.below(5)).map(|_| RequestOp::Range(range(p, revision + 3)));
                    reads.collect()
                };
                let txn = TxnRequest {
                    compare: (0..p.below(3)).map(|_| compare(&mut p)).collect(),
                    success: reads(&mut p),
                    failure: reads(&mut p),
                };
                let cut = ReadTxnWork::start(&view, &txn, 128).and_then(|mut work| {
                    to_end(|budget| work.run(&mut InMemory, budget), &mut p, max)
                });
                assert_eq!(cut, view.read_txn(&txn, 128), "seed {seed}: {txn:?}");
            }
        }
    }
    assert!(full > 60 && limited > 100 && old > 400, "{full} {limited} {old}");
}

/// Puts all into files that a merge left in memory, and makes anew what is worn.
fn store_in(drive: &mut Drive, settled: &mut Settled) {
    let put = |first, end, versions: &[Version]| Ok::<_, ()>(drive.put(first, end, versions));
    settled.store(100, put).expect("a map takes everything");
    while let Some(worn) = settled.worn() {
        let (mut kept, mut versions) = (settled.kept(&worn), Vec::new());
        loop {
            match kept.next(settled, drive) {
                Ok(Some(version)) => versions.push(version),
                Ok(None) => break,
                Err(_) => assert!(drive.fetch(), "what is not at hand was asked for"),
            }
        }
        let file = drive.put(worn.first, worn.end, &versions);
        settled.renewed(&worn, file);
    }
}

/// Applies the entry to a store that has a part of its versions in files.
fn cold(
    store: &mut Store,
    at: (LogIndex, ClusterTime),
    command: Option<&Command>,
    drive: &mut Drive,
    mut budget: impl FnMut() -> u64,
) -> Option<Applied> {
    let request = command.cloned().map(|command| (Caller::nobody(), command));
    let mut progress = store.begin(at, request, drive, &mut Budget::new(budget()));
    for _ in 0..100_000 {
        match progress {
            Progress::Done(done) => return done.applied,
            Progress::Running(job) => {
                drive.fetch();
                progress = store.run(job, drive, &mut Budget::new(budget()));
            }
        }
    }
    panic!("it goes on for ever: {command:?}");
}

/// Runs to the end, with what is missing fetched in between.
fn fetched<T>(
    mut run: impl FnMut(&mut Drive, &mut Budget) -> Option<T>,
    drive: &mut Drive,
    p: &mut Prng,
) -> T {
    for _ in 0..100_000 {
        if let Some(done) = run(drive, &mut Budget::new(1 + p.below(40))) {
            return done;
        }
        drive.fetch();
    }
    panic!("it goes on for ever")
}

#[test]
fn what_is_in_files_is_read_as_if_it_were_in_memory() {
    let (mut fetches, mut stored, mut ok, mut reopens) = (0, 0, 0, 0);
    for seed in 0..120 {
        let mut p = Prng::new(2000 + seed);
        let limits = Limits::default();
        let (mut whole, mut store) = (Store::new(limits), Store::new(limits));
        let (mut drive, mut settling, mut indexes) = (Drive::default(), None, Vec::new());
        let max = [1, 5, 40, 4000][seed as usize % 4];
        for index in 1..=120 {
            let command = command(&mut p, whole.revision());
            let at = (LogIndex(index), ClusterTime(index * 100_000_000));
            let one = at_once(&mut whole, at, command.as_ref());
            let other = cold(&mut store, at, command.as_ref(), &mut drive, || 1 + p.below(max));
            let of = |applied: Option<Applied>| applied.map(|a| (a.result, a.changes));
            let (one, other) = (of(one), of(other));
            ok += u64::from(one.as_ref().is_some_and(|(result, _)| result.is_ok()));
            assert_eq!(one, other, "seed {seed} at {index}: {command:?}");
            assert_equal(&whole, &store, seed);
            if p.below(3) == 0 {
                drive.forget();
            }
            settling = match settling.take() {
                None => store.settle(1 + p.below(9) as usize),
                Some(begun) if p.below(2) == 0 => Some(begun),
                Some(begun) => {
                    let mut settled = Settling::merge(&begun);
                    store_in(&mut drive, &mut settled);
                    if p.below(5) > 0 {
                        indexes.push(index_of(&mut settled));
                    }
                    drop(store.settled(settled));
                    stored += 1;
                    None
                }
            };
            if p.below(12) == 0
                && let Some(records) = store.manifest_records()
            {
                // It starts again; what was merged just then is lost.
                let records = records.collect::<Vec<_>>();
                store = reopened(&records, &indexes).expect("it is whole");
                (settling, reopens) = (None, reopens + 1);
                assert_equal(&whole, &store, seed);
                let leases = |store: &Store| {
                    let keys = |id: &i64| store.lease_keys_page(*id, None, usize::MAX);
                    store.leases_page(None, usize::MAX).iter().map(keys).collect::<Vec<_>>()
                };
                assert_eq!(leases(&whole), leases(&store), "seed {seed}");
                assert_damage_is_noticed(&records, &indexes, &mut p);
            }
            if index % 10 == 0 {
                assert_reads(&whole.view(), &store.view(), &mut drive, &mut p);
            }
        }
        fetches += drive.fetches;
    }
    assert!(fetches > 10_000 && stored > 1000 && ok > 6000, "{fetches} {stored} {ok}");
    assert!(reopens > 400, "{reopens}");
}

/// Every index that was kept, by its name.
type Indexes = Vec<(IndexFile, Vec<Blob>)>;

fn index_of(settled: &mut Settled) -> (IndexFile, Vec<Blob>) {
    let pieces: Vec<Blob> = settled.index_pieces().map(Blob::from).collect();
    let len = pieces.iter().map(|piece| piece.len() as u64).sum();
    let file = IndexFile { index: settled.begun(), len, digest: 7 };
    settled.indexed(file);
    (file, pieces)
}

fn reopened(records: &[Vec<u8>], indexes: &Indexes) -> Result<Store, DecodeError> {
    Store::reopen(Limits::default(), records.to_vec(), |file| {
        let found = indexes.iter().rev().find(|(known, _)| known == file);
        Ok(found.expect("it was kept").1.clone())
    })
}

/// Of another index, or of another byte in it: it is refused, or at least nothing panics.
fn assert_damage_is_noticed(records: &[Vec<u8>], indexes: &Indexes, p: &mut Prng) {
    let mut damaged = indexes.clone();
    for (_, pieces) in &mut damaged {
        for piece in pieces {
            let mut bytes = piece.to_vec();
            let at = p.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << p.below(8);
            if p.below(4) == 0 {
                bytes.truncate(p.below(bytes.len() as u64) as usize);
            }
            *piece = bytes.into();
        }
    }
    let _ = reopened(records, &damaged);
}

/// Reads of all kinds find the same in both.
fn assert_reads(whole: &View, view: &View, drive: &mut Drive, p: &mut Prng) {
    for _ in 0..6 {
        let request = range(p, view.revision());
        let found = RangeWork::start(view, &request)
            .map(|mut work| fetched(|drive, budget| work.run(view, drive, budget), drive, p));
        assert_eq!(found, whole.read(&request), "{request:?}");
    }
    let revision = view.revision() - p.below(40) as i64;
    let found = HashKvWork::start(view, revision)
        .map(|mut work| fetched(|drive, budget| work.run(view, drive, budget), drive, p));
    assert_eq!(found, whole.hash_kv(revision));
    let success = (0..p.below(5)).map(|_| RequestOp::Range(range(p, revision + 3))).collect();
    let compare = (0..p.below(3)).map(|_| compare(p)).collect();
    let txn = TxnRequest { compare, success, ..TxnRequest::default() };
    let found = ReadTxnWork::start(view, &txn, 128)
        .and_then(|mut work| fetched(|drive, budget| work.run(drive, budget), drive, p));
    assert_eq!(found, whole.read_txn(&txn, 128), "{txn:?}");
    for range in [KeyRange::new(&b"k"[..], &b"\0"[..]), KeyRange::new(key(p), Blob::default())] {
        let from = (view.compact_revision() + p.below(30) as i64).max(0);
        let events_max = 1 + p.below(9) as usize;
        let page = fetched(
            |drive, _| view.history_stretch(from, &range, events_max, drive).transpose(),
            drive,
            p,
        );
        let wanted = whole.history_stretch(from, &range, events_max, &mut InMemory);
        assert_eq!(page.clone().ok(), wanted.unwrap_or_default());
        for event in page.iter().flat_map(|page| &page.changes).flat_map(|one| &one.events) {
            let before = fetched(|drive, _| view.before_of(event, drive), drive, p);
            assert_eq!(before, whole.before(event));
        }
    }
}
