//! Pages of the history put together are all of it, and each is as long as it may be.

use base::{Blob, ClusterTime, LogIndex, Prng};
use mvcc::{
    Changes, Command, DeleteRequest, Error, HistoryPage, InMemory, KeyRange, Limits, PutRequest,
    RequestOp, Store, TxnRequest,
};
use std::sync::Arc;

fn key(n: u64) -> Blob {
    Blob::from([b'a' + n as u8].as_slice())
}

fn put(n: u64) -> PutRequest {
    PutRequest { key: key(n), ..PutRequest::default() }
}

/// Some of its revisions have many events, and some one key twice.
fn command(p: &mut Prng, revision: i64) -> Command {
    match p.below(9) {
        0 => {
            let (from, end) = (p.below(5), key(6));
            Command::Delete(DeleteRequest { key: key(from), range_end: end, prev_kv: false })
        }
        1 => {
            let from_key =
                DeleteRequest { key: key(3), range_end: Blob::from(&b"\0"[..]), prev_kv: false };
            let success = vec![RequestOp::Delete(from_key), RequestOp::Put(put(4))];
            Command::Txn(TxnRequest { success, ..TxnRequest::default() })
        }
        2 => {
            let success = (0..1 + p.below(5)).map(|n| RequestOp::Put(put(n))).collect();
            Command::Txn(TxnRequest { success, ..TxnRequest::default() })
        }
        3 if p.below(8) == 0 => Command::Compact { revision: revision - p.below(20) as i64 },
        _ => Command::Put(put(p.below(6))),
    }
}

fn events(changes: &[Arc<Changes>]) -> usize {
    changes.iter().map(|changes| changes.events.len()).sum()
}

/// Of a store that has all in memory.
fn stretch(
    store: &Store,
    from: i64,
    range: &KeyRange,
    events_max: usize,
) -> Result<HistoryPage, Error> {
    let page = store.history_stretch(from, range, events_max, &mut InMemory)?;
    Ok(page.expect("all is in memory"))
}

#[test]
fn stretches_put_together_are_the_history_and_none_could_be_longer() {
    let ranges = [("c", ""), ("e", ""), ("no", ""), ("a", "d"), ("a", "\0"), ("z", "\0")];
    let ranges = ranges.map(|(key, end)| KeyRange::new(key.as_bytes(), end.as_bytes()));
    let mut cut = 0;
    for seed in 0..12 {
        let mut p = Prng::new(seed);
        let mut store = Store::new(Limits::default());
        for index in 1..=80 {
            let command = command(&mut p, store.revision());
            let _ = store.apply(LogIndex(index), ClusterTime(index), &command);
        }
        let (first, end) = (store.compact_revision().max(1), store.revision() + 1);
        for range in &ranges {
            // Of one key, what changed it; of a range, whatever was made.
            let wanted = if range.single().is_some() {
                store.history(first, range, usize::MAX).unwrap()
            } else {
                let all = KeyRange::new(&b"\0"[..], &b"\0"[..]);
                store.history(first, &all, usize::MAX).unwrap()
            };
            for max in [0, 1, 2, 3, 7, usize::MAX] {
                let (mut next, mut found) = (first, Vec::new());
                while next < end {
                    let page = stretch(&store, next, range, max).unwrap();
                    assert!(next < page.next && page.next <= end);
                    assert!(
                        page.changes.iter().all(|one| (next..page.next).contains(&one.revision))
                    );
                    assert!(page.changes.len() <= 1 || events(&page.changes) <= max);
                    found.extend(page.changes.iter().cloned());
                    match wanted.get(found.len()) {
                        None => assert_eq!(page.next, end, "all was told: nobody asks again"),
                        Some(more) => {
                            assert!(events(&page.changes) + more.events.len() > max);
                            cut += 1;
                        }
                    }
                    next = page.next;
                }
                assert_eq!(found, wanted, "seed {seed}: {range:?} by {max}");
            }
            let head = stretch(&store, end, range, 9).unwrap();
            assert_eq!((head.changes.len(), head.next), (0, end));
            let later = stretch(&store, end + 5, range, 9).unwrap();
            assert_eq!((later.changes.len(), later.next), (0, end + 5), "nobody goes back");
        }
    }
    assert!(cut > 1000, "{cut}");
}

#[test]
fn what_is_compacted_is_no_history_and_the_compact_revision_is() {
    let mut store = Store::new(Limits::default());
    for index in 1..=6 {
        let _ = store.apply(LogIndex(index), ClusterTime(1), &Command::Put(put(index % 2)));
    }
    let compact = Command::Compact { revision: 5 };
    assert!(store.apply(LogIndex(7), ClusterTime(1), &compact).result.is_ok());
    for (start, end) in [("a", ""), ("a", "z")] {
        let range = KeyRange::new(start.as_bytes(), end.as_bytes());
        for from in [1, 3, 4] {
            assert_eq!(store.history(from, &range, 9).err(), Some(Error::Compacted));
            assert_eq!(store.history_page(from, &range, 9, 9).err(), Some(Error::Compacted));
            assert_eq!(stretch(&store, from, &range, 9).err(), Some(Error::Compacted));
        }
        let pages = [store.history_page(5, &range, 9, 9), stretch(&store, 5, &range, 9)];
        for page in pages {
            let page = page.unwrap();
            assert_eq!((&page.changes, page.next), (&store.history(5, &range, 9).unwrap(), 8));
        }
    }
}
