//! What one long entry costs: `cargo bench -p mvcc --bench long_apply -- [KEYS] [BYTES] [CASE]`.
//! KEYS keys (1,000,000) with values of BYTES (256) are put; then one entry ends them all: a delete
//! of the range, a revocation of the lease they are attached to, and both once more while an older
//! view is held and a watcher wants the changes. It goes in slices as on a member. Time is this
//! thread's CPU time, which a busy machine does not stretch; the longest slice is by the clock.
//! Memory is the peak of resident pages above what the data took (Linux; no allocator of its own,
//! since that would take `unsafe`). At the end, what must not pay for it: single puts and gets.

use base::{Blob, ClusterTime, LogIndex};
use mvcc::{
    Applied, Budget, Caller, Command, DeleteRequest, Discard, InMemory, Limits, Progress,
    PutRequest, Recent, Store,
};
use std::time::{Duration, Instant};

/// Units of a step, as a member gives them.
const BUDGET: u64 = 1000;
const LEASE: i64 = 7;
const SMALL: u64 = 200_000;

struct Machine {
    store: Store,
    index: u64,
}

/// What one entry took.
struct Took {
    applied: Applied,
    discard: Discard,
    slices: Vec<Duration>,
}

impl Machine {
    fn new() -> Self {
        let limits = Limits { quota_bytes: 0, ..Limits::default() };
        Self { store: Store::new(limits), index: 0 }
    }

    fn apply(&mut self, command: Command) -> Took {
        self.index += 1;
        let at = (LogIndex(self.index), ClusterTime(self.index));
        let mut slices = Vec::new();
        let mut start = Instant::now();
        let request = Some((Caller::nobody(), command));
        let mut progress = self.store.begin(at, request, &mut InMemory, &mut Budget::new(BUDGET));
        loop {
            slices.push(start.elapsed());
            match progress {
                Progress::Done(done) => {
                    let applied = done.applied.expect("it has a command");
                    assert!(applied.result.is_ok(), "{:?}", applied.result);
                    return Took { applied, discard: done.discard, slices };
                }
                Progress::Running(job) => {
                    start = Instant::now();
                    progress = self.store.run(job, &mut InMemory, &mut Budget::new(BUDGET));
                }
            }
        }
    }

    fn load(&mut self, keys: u64, bytes: usize, lease: i64) {
        if lease != 0 {
            self.apply(Command::LeaseGrant { id: lease, ttl: 600 });
        }
        for n in 0..keys {
            let key = key(n);
            let value = Blob::from(vec![7; bytes]);
            self.apply(Command::Put(PutRequest { key, value, lease, ..PutRequest::default() }));
        }
    }
}

fn key(n: u64) -> Blob {
    Blob::from(format!("/registry/pods/default/{n:08}").as_bytes())
}

/// CPU nanoseconds of this thread so far.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let ns = text.split_whitespace().next().and_then(|ns| ns.parse().ok());
    ns.expect("a number")
}

/// Resident MiB now (`VmRSS`) or at the peak (`VmHWM`).
fn resident(what: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = text.lines().find_map(|line| line.strip_prefix(what)).expect("it is told");
    let kib = line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<f64>();
    kib.expect("a number") / 1024.0
}

fn long(name: &str, keys: u64, bytes: usize, lease: i64, held: bool) {
    let mut machine = Machine::new();
    machine.load(keys, bytes, lease);
    let view = held.then(|| machine.store.view());
    // From here on the peak is that of the entry alone.
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux takes it");
    let (before, start) = (resident("VmRSS:"), cpu());
    let took = machine.apply(match lease {
        0 => Command::Delete(DeleteRequest {
            key: Blob::from(&b"/registry/"[..]),
            range_end: Blob::from(&b"/registry0"[..]),
            prev_kv: false,
        }),
        id => Command::LeaseRevoke { id, renewal: None },
    });
    let (apply, peak) = (cpu() - start, resident("VmHWM:") - before);
    let changes = took.applied.changes.expect("it made a revision");
    assert_eq!(changes.events.len() as u64, keys, "each key was ended");
    let mut slices: Vec<f64> = took.slices.iter().map(|slice| slice.as_secs_f64() * 1e3).collect();
    slices.sort_unstable_by(f64::total_cmp);
    let (median, longest) = (slices[slices.len() / 2], slices[slices.len() - 1]);
    let start = cpu();
    let mut recent = Recent::new(1 << 20);
    if held {
        recent.push(std::slice::from_ref(&changes));
    }
    let told = cpu() - start;
    let start = cpu();
    drop((took.discard, view));
    let dropped = cpu() - start;
    let each = |ns: f64| ns / keys as f64;
    println!(
        "{name:<18} {:>5.0} ns a key, {:>5} slices of {median:.2} ms, longest {longest:>5.2}, \
         peak {peak:>4.0} MiB; watchers' list {:>3.0} ns, discard {:>3.0} ns; chain {:016x}",
        each(apply),
        slices.len(),
        each(told),
        each(dropped),
        machine.store.chain_hash(),
    );
}

fn small(name: &str, mut each: impl FnMut(&mut Machine, u64), machine: &mut Machine) {
    let start = cpu();
    (0..SMALL).for_each(|n| each(machine, n));
    println!("{name:<22} {:>6.0} ns each", (cpu() - start) / SMALL as f64);
}

/// One key at a time: what must not pay for the long ones.
fn short() {
    let mut machine = Machine::new();
    let put = |machine: &mut Machine, key: Blob, lease| {
        let value = Blob::from([7; 256].as_slice());
        machine.apply(Command::Put(PutRequest { key, value, lease, ..PutRequest::default() }));
    };
    let scattered = |n: u64| key(n * 48_271 % SMALL);
    small("put, new keys", |m, n| put(m, key(n), 0), &mut machine);
    small("put, keys again", |m, n| put(m, scattered(n), 0), &mut machine);
    small(
        "get",
        |m, n| {
            let request = mvcc::RangeRequest { key: scattered(n), ..Default::default() };
            assert_eq!(m.store.read(&request).expect("it is valid").count, 1);
        },
        &mut machine,
    );
    machine.apply(Command::LeaseGrant { id: LEASE, ttl: 600 });
    small("put, attached", |m, n| put(m, scattered(n), LEASE), &mut machine);
    small("put, detached", |m, n| put(m, scattered(n), 0), &mut machine);
    let delete = |n| DeleteRequest { key: scattered(n), ..DeleteRequest::default() };
    small("delete of one", |m, n| drop(m.apply(Command::Delete(delete(n)))), &mut machine);
}

const CASES: [(&str, i64, bool); 4] = [
    ("delete", 0, false),
    ("revoke", LEASE, false),
    ("delete, view held", 0, true),
    ("revoke, view held", LEASE, true),
];

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse().ok());
    let keys: u64 = numbers.next().unwrap_or(1_000_000);
    let bytes = usize::try_from(numbers.next().unwrap_or(256)).expect("fits memory");
    let case = numbers.next().map(|case| usize::try_from(case).expect("a case's number"));
    if let Some(case) = case {
        return match CASES.get(case) {
            Some((name, lease, held)) => long(name, keys, bytes, *lease, *held),
            None => short(),
        };
    }
    println!("{keys} keys with values of {bytes} bytes");
    let program = std::env::current_exe().expect("its own file");
    // Each in a process of its own: what one has freed would serve the next.
    for case in 0..=CASES.len() {
        let numbers = [keys, bytes as u64, case as u64].map(|number| number.to_string());
        let status = std::process::Command::new(&program).args(numbers).status();
        assert!(status.expect("it starts").success(), "it ends well");
    }
}
