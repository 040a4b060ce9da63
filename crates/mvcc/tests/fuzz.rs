//! Every decoder of this room under arbitrary and damaged bytes: refused, or read back exactly.

use base::codec::{DecodeError, Get};
use base::{Blob, ClusterTime, LogIndex, Prng};
use mvcc::*;
use proptest::prelude::*;

fn blob(p: &mut Prng) -> Blob {
    let len = p.below(6) as usize;
    Blob::from((0..len).map(|_| b'a' + p.below(4) as u8).collect::<Vec<_>>())
}

fn number(p: &mut Prng) -> i64 {
    match p.below(10) {
        0 => i64::MAX,
        1 => i64::MIN,
        2 => p.next_u64() as i64,
        _ => p.below(9) as i64 - 2,
    }
}

fn flag(p: &mut Prng) -> bool {
    p.below(2) == 0
}

fn put(p: &mut Prng) -> PutRequest {
    PutRequest {
        key: blob(p),
        value: blob(p),
        lease: number(p),
        prev_kv: flag(p),
        ignore_value: flag(p),
        ignore_lease: flag(p),
    }
}

fn range(p: &mut Prng) -> RangeRequest {
    RangeRequest {
        key: blob(p),
        range_end: blob(p),
        limit: number(p),
        revision: number(p),
        sort_order: SortOrder::from_number(p.below(3) as i32).unwrap(),
        sort_target: SortTarget::from_number(p.below(5) as i32).unwrap(),
        keys_only: flag(p),
        count_only: flag(p),
        min_mod_revision: number(p),
        max_mod_revision: number(p),
        min_create_revision: number(p),
        max_create_revision: number(p),
        serializable: flag(p),
    }
}

fn delete(p: &mut Prng) -> DeleteRequest {
    DeleteRequest { key: blob(p), range_end: blob(p), prev_kv: flag(p) }
}

fn compare(p: &mut Prng) -> Compare {
    let ops = [CompareOp::Equal, CompareOp::Greater, CompareOp::Less, CompareOp::NotEqual];
    let target = match p.below(5) {
        0 => CompareTarget::Version(number(p)),
        1 => CompareTarget::Create(number(p)),
        2 => CompareTarget::Mod(number(p)),
        3 => CompareTarget::Lease(number(p)),
        _ => CompareTarget::Value(blob(p)),
    };
    Compare { key: blob(p), range_end: blob(p), op: ops[p.below(4) as usize], target }
}

fn txn(p: &mut Prng, depth: usize) -> TxnRequest {
    let op = |p: &mut Prng| match p.below(if depth > 0 { 4 } else { 3 }) {
        0 => RequestOp::Range(range(p)),
        1 => RequestOp::Put(put(p)),
        2 => RequestOp::Delete(delete(p)),
        _ => RequestOp::Txn(txn(p, depth - 1)),
    };
    TxnRequest {
        compare: (0..p.below(3)).map(|_| compare(p)).collect(),
        success: (0..p.below(3)).map(|_| op(p)).collect(),
        failure: (0..p.below(3)).map(|_| op(p)).collect(),
    }
}

fn command(p: &mut Prng) -> Command {
    match p.below(8) {
        0 => Command::Put(put(p)),
        1 => Command::Delete(delete(p)),
        2 => Command::Txn(txn(p, 3)),
        3 => Command::Compact { revision: number(p) },
        4 => Command::LeaseGrant { id: number(p), ttl: number(p) },
        5 => Command::LeaseRevoke { id: number(p), renewal: flag(p).then(|| p.next_u64()) },
        6 => Command::LeaseRenew { ids: (0..p.below(4)).map(|_| number(p)).collect() },
        _ => {
            let action = [AlarmAction::Get, AlarmAction::Activate, AlarmAction::Deactivate];
            let kind = [AlarmKind::None, AlarmKind::NoSpace];
            Command::Alarm {
                action: action[p.below(3) as usize],
                member: p.below(4),
                kind: kind[p.below(2) as usize],
            }
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, p: &mut Prng) {
    for _ in 0..=p.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = p.below(bytes.len() as u64) as usize;
        match p.below(5) {
            0 => bytes[at] ^= 1 << p.below(8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, p.next_u64() as u8),
            3 => drop(bytes.remove(at)),
            _ => bytes[at..].iter_mut().take(4).for_each(|b| *b = 0xFF),
        }
    }
}

/// Decodes, and holds what was read against the bytes it came from.
fn check<T>(
    bytes: &[u8],
    decode: impl Fn(&mut Get<'_>) -> Result<T, DecodeError>,
    encode: impl Fn(&T, &mut Vec<u8>),
) -> Option<T> {
    let mut get = Get::new(bytes);
    let value = decode(&mut get).ok()?;
    let mut again = vec![];
    encode(&value, &mut again);
    assert_eq!(again.len(), bytes.len() - get.remaining());
    let mut get = Get::new(&again);
    let twice = decode(&mut get).expect("own bytes decode");
    let mut last = vec![];
    encode(&twice, &mut last);
    assert_eq!(last, again);
    Some(value)
}

fn check_all(bytes: &[u8]) {
    check(bytes, Command::decode, Command::encode);
    check(bytes, Response::decode, Response::encode);
    check(bytes, Error::decode, Error::encode);
}

/// A store that did some of everything, and the answers it gave.
fn grown(p: &mut Prng) -> (Store, Vec<Result<Response, Error>>) {
    let mut store = Store::new(Limits::default());
    let mut answers = vec![];
    for index in 1..=p.below(60) {
        let command = match p.below(3) {
            0 => command(p),
            1 => Command::Put(PutRequest { key: blob(p), value: blob(p), ..Default::default() }),
            _ => Command::LeaseGrant { id: 1 + p.below(3) as i64, ttl: p.below(100) as i64 },
        };
        let (index, now) = (LogIndex(index), ClusterTime(index * 1_000_000));
        answers.push(store.apply(index, now, &command).result);
    }
    (store, answers)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_are_refused_or_read_back(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        kind in 0u8..10,
    ) {
        check_all(&bytes);
        check_all(&[&[1, kind], &bytes[..]].concat());
        let _ = Store::restore(Limits::default(), [bytes.clone()]);
        let _ = Store::restore(Limits::default(), [[b"H\x03", &bytes[..]].concat(), bytes]);
    }

    #[test]
    fn commands_come_back_damaged_ones_do_not_panic_and_none_is_too_odd_to_apply(
        seed in any::<u64>(),
    ) {
        let mut p = Prng::new(seed);
        let wanted = command(&mut p);
        let mut bytes = vec![];
        wanted.encode(&mut bytes);
        prop_assert_eq!(check(&bytes, Command::decode, Command::encode), Some(wanted));
        mutate(&mut bytes, &mut p);
        let Some(odd) = check(&bytes, Command::decode, Command::encode) else { return Ok(()) };
        let (mut store, _) = grown(&mut p);
        let index = LogIndex(store.applied_index().0 + 1);
        let refused = store.validate(&odd);
        let result = store.apply(index, ClusterTime(0), &odd).result;
        prop_assert!(refused.is_ok() || result == Err(refused.unwrap_err()));
    }

    #[test]
    fn answers_and_checkpoints_come_back_and_damaged_ones_are_refused(seed in any::<u64>()) {
        let mut p = Prng::new(seed);
        let (store, answers) = grown(&mut p);
        for answer in answers {
            let mut bytes = vec![];
            match &answer {
                Ok(response) => {
                    response.encode(&mut bytes);
                    let back = check(&bytes, Response::decode, Response::encode);
                    prop_assert_eq!(back.as_ref(), Some(response));
                }
                Err(error) => {
                    error.encode(&mut bytes);
                    prop_assert_eq!(check(&bytes, Error::decode, Error::encode), Some(*error));
                }
            }
            mutate(&mut bytes, &mut p);
            check_all(&bytes);
        }
        let mut records = store.checkpoint_records().collect::<Vec<_>>();
        let back = Store::restore(Limits::default(), records.clone()).unwrap();
        prop_assert_eq!(back.content_hash(), store.content_hash());
        prop_assert_eq!(back.checkpoint_records().collect::<Vec<_>>(), records.clone());
        let before = records.clone();
        match p.below(3) {
            0 => {
                let at = p.below(records.len() as u64) as usize;
                drop(records.remove(at));
            }
            1 => {
                let at = p.below(records.len() as u64) as usize;
                records.insert(at, records[at].clone());
            }
            _ => {
                let at = p.below(records.len() as u64) as usize;
                mutate(&mut records[at], &mut p);
            }
        }
        // The whole header is not under the content hash: the file's own digest covers it.
        let restored = Store::restore(Limits::default(), records.clone());
        if restored.is_ok() && records != before {
            prop_assert_eq!(&records[1..], &before[1..], "damaged state was taken for good");
        }
    }
}

#[test]
fn a_deep_nest_of_transactions_is_refused_not_followed() {
    let mut bytes = vec![1, 3];
    for _ in 0..1_000_000 {
        // No compare, one operation, and it is a transaction.
        bytes.extend([0, 0, 0, 0, 1, 0, 0, 0, 4]);
    }
    assert!(Command::decode(&mut Get::new(&bytes)).is_err());
}
