//! What one command costs in the data's machine: `cargo run --release -p quorate --example puts
//! [KEYS]`. Commands per second of this thread's CPU time, which a busy machine does not stretch:
//! puts, puts while a view is held as a server holds one, a put and a read in a transaction; what
//! reading a put's bytes takes beside it; and units of work per second of a long delete.

use base::codec::Get;
use base::{Blob, ClusterTime, LogIndex};
use mvcc::{
    Budget, Caller, Command, DeleteRequest, Limits, Progress, PutRequest, RangeRequest, RequestOp,
    Store, TxnRequest,
};

const BUDGET: u64 = 1000;

fn put(n: u64) -> PutRequest {
    let key = Blob::from(format!("/registry/pods/default/{n:08}").as_bytes());
    PutRequest { key, value: Blob::from([7; 100].as_slice()), ..PutRequest::default() }
}

/// CPU seconds of this thread so far.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let ns = text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok());
    ns.expect("a number") / 1e9
}

fn timed(name: &str, count: u64, mut each: impl FnMut(u64)) {
    let start = cpu();
    (0..count).for_each(&mut each);
    println!("{name:<28} {:>12.0} a second", count as f64 / (cpu() - start));
}

struct Machine {
    store: Store,
    index: u64,
}

impl Machine {
    /// Slices that it took.
    fn apply(&mut self, command: Command, budget: u64) -> u64 {
        self.index += 1;
        let at = (LogIndex(self.index), ClusterTime(self.index));
        let request = Some((Caller::nobody(), command));
        let mut progress =
            self.store.begin(at, request, &mut mvcc::InMemory, &mut Budget::new(budget));
        let mut slices = 1;
        loop {
            match progress {
                Progress::Done(done) => {
                    assert!(done.applied.expect("it has a command").result.is_ok());
                    return slices;
                }
                Progress::Running(job) => {
                    slices += 1;
                    progress = self.store.run(job, &mut mvcc::InMemory, &mut Budget::new(budget));
                }
            }
        }
    }
}

fn main() {
    let keys: u64 = std::env::args().nth(1).map_or(100_000, |text| text.parse().expect("a number"));
    let store = Store::new(Limits { quota_bytes: 0, ..Limits::default() });
    let mut machine = Machine { store, index: 0 };
    let of = |n: u64| Command::Put(put(n * 7919 % keys));
    timed("first puts", keys, |n| _ = machine.apply(of(n), BUDGET));
    timed("puts", keys, |n| _ = machine.apply(of(n), BUDGET));
    let mut held = machine.store.view();
    timed("puts, a view held", keys, |n| {
        if n % 16 == 0 {
            held = machine.store.view();
        }
        machine.apply(of(n), BUDGET);
    });
    drop(held);
    timed("puts begun as jobs", keys / 10, |n| {
        let success = vec![RequestOp::Put(put(n)), RequestOp::Put(put(n + keys / 2))];
        machine.apply(Command::Txn(TxnRequest { success, ..TxnRequest::default() }), 1);
    });
    timed("transactions", keys, |n| {
        let key = put(n * 7919 % keys).key;
        let read = RangeRequest { key, ..RangeRequest::default() };
        let success = vec![RequestOp::Put(put(n * 7919 % keys)), RequestOp::Range(read)];
        machine.apply(Command::Txn(TxnRequest { success, ..TxnRequest::default() }), BUDGET);
    });
    let mut bytes = Vec::new();
    of(1).encode(&mut bytes);
    timed("a put's bytes read", keys, |_| {
        drop(Command::decode(&mut Get::new(&bytes)).expect("its own bytes"));
    });
    timed("a put made", keys, |n| drop(of(n)));
    let delete = DeleteRequest {
        key: Blob::from(&b"/"[..]),
        range_end: Blob::from(&b"0"[..]),
        prev_kv: false,
    };
    let start = cpu();
    let slices = machine.apply(Command::Delete(delete), BUDGET);
    let spent = cpu() - start;
    println!("{keys} keys deleted in {slices} slices of {:.2} ms", spent * 1e3 / slices as f64);
}
