//! `puts [KEYS]`: puts per second through the machine, alone and while a picture of the state
//! before each batch is held, as a server holds one.

use base::{Blob, ClusterTime, LogIndex};
use mvcc::{Command, Limits, PutRequest, RangeRequest, RequestOp, Store, TxnRequest};
use std::time::Instant;

fn put(n: u64) -> PutRequest {
    let key = Blob::from(format!("/registry/pods/default/{:08}", n % 100_000).as_bytes());
    PutRequest { key, value: Blob::from([7; 100].as_slice()), ..PutRequest::default() }
}

fn timed(name: &str, count: u64, mut each: impl FnMut(u64)) {
    let start = Instant::now();
    (0..count).for_each(&mut each);
    let rate = count as f64 / start.elapsed().as_secs_f64();
    println!("{name:<28} {rate:>12.0} a second");
}

fn main() {
    let keys: u64 = std::env::args().nth(1).map_or(100_000, |text| text.parse().expect("a number"));
    let mut store = Store::new(Limits { quota_bytes: 0, ..Limits::default() });
    let mut index = 0;
    let mut apply = |store: &mut Store, command: &Command| {
        index += 1;
        let at = LogIndex(index);
        assert!(store.apply(at, ClusterTime(index), command).result.is_ok());
    };
    let puts: Vec<Command> = (0..keys).map(|n| Command::Put(put(n * 7919 % keys))).collect();
    timed("first puts", keys, |n| apply(&mut store, &puts[n as usize]));
    timed("puts", keys, |n| apply(&mut store, &puts[n as usize]));
    let mut held = store.view();
    timed("puts, a view held", keys, |n| {
        if n % 16 == 0 {
            held = store.view();
        }
        apply(&mut store, &puts[n as usize]);
    });
    drop(held);
    let txns: Vec<Command> = (0..keys)
        .map(|n| {
            let key = put(n).key;
            let read = RangeRequest { key, ..RangeRequest::default() };
            let success = vec![RequestOp::Put(put(n)), RequestOp::Range(read)];
            Command::Txn(TxnRequest { success, ..TxnRequest::default() })
        })
        .collect();
    timed("transactions", keys, |n| apply(&mut store, &txns[n as usize]));
}
