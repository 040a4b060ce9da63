//! How long one apply takes when it compacts: `cargo run --release -p quorate --example compact
//! [REVISIONS] [KEYS]`. Prints milliseconds of the command itself, and the longest of the applies
//! after it: by the clock, and of this thread's CPU time, which a busy machine does not stretch.

use base::{Blob, ClusterTime, LogIndex};
use mvcc::{Command, Limits, PutRequest, Store};
use std::time::Instant;

fn put(key: u64, index: u64) -> Command {
    let key = Blob::from(format!("/registry/{key:08}").as_bytes());
    let value = Blob::from(vec![index as u8; 256]);
    Command::Put(PutRequest { key, value, ..PutRequest::default() })
}

/// CPU time of this thread so far in milliseconds; 0 where the system does not tell.
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok());
    ns.unwrap_or(0.0) / 1e6
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|a| a.parse().expect("a number"));
    let revisions: u64 = numbers.next().unwrap_or(1_000_000);
    let keys: u64 = numbers.next().unwrap_or(100_000);
    let limits = Limits { quota_bytes: 0, ..Limits::default() };
    let mut store = Store::new(limits);
    let mut index = 0;
    let mut apply = |store: &mut Store, command: &Command| {
        index += 1;
        let (start, cpu) = (Instant::now(), cpu_ms());
        let done = store.apply(LogIndex(index), ClusterTime(index), command);
        assert!(done.result.is_ok(), "{:?}", done.result);
        (start.elapsed().as_secs_f64() * 1e3, cpu_ms() - cpu)
    };
    let mut step = 1;
    let start = Instant::now();
    for _ in 0..revisions {
        step = (step * 48_271) % 2_147_483_647;
        apply(&mut store, &put(step % keys, step));
    }
    println!("{revisions} puts on {keys} keys: {:.1} s", start.elapsed().as_secs_f64());
    let before = store.size_bytes();
    let (ms, cpu) = apply(&mut store, &Command::Compact { revision: revisions as i64 });
    println!("compact command: {ms:.3} ms, CPU {cpu:.3} ms");
    let (mut longest, mut longest_cpu, mut sum, mut applies) = (0.0f64, 0.0f64, 0.0, 0u64);
    let settled = |store: &Store| store.size_bytes();
    let mut quiet = 0;
    while quiet < 1000 {
        let size = settled(&store);
        step = (step * 48_271) % 2_147_483_647;
        let (ms, cpu) = apply(&mut store, &put(step % keys, step));
        longest = longest.max(ms);
        longest_cpu = longest_cpu.max(cpu);
        sum += cpu;
        applies += 1;
        quiet = if settled(&store) < size { 0 } else { quiet + 1 };
    }
    let after = store.size_bytes();
    let mean = sum / applies as f64;
    println!("then {applies} puts: longest {longest:.3} ms, CPU {longest_cpu:.3}, mean {mean:.3}");
    println!("bytes {before} -> {after}");
}
