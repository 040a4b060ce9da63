//! What a key and a version cost in memory once they have settled in files, counted by the
//! allocator.

use base::{Blob, ClusterTime, LogIndex, Prng};
use mvcc::{Command, File, Limits, PutRequest, Store};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KEYS: u64 = 100_000;
/// Beside its own bytes.
const KEY_BYTES_MAX: u64 = 48;
const VERSION_BYTES_MAX: u64 = 24;

fn key(n: u64) -> Blob {
    Blob::from(format!("/registry/pods/default/{n:08}").as_bytes())
}

/// Puts each key so often, at random, and settles all of it: bytes that stay.
fn settled(versions: u64) -> u64 {
    let mut p = Prng::new(versions);
    let region = Region::new(ALLOCATOR);
    let mut store = Store::new(Limits { quota_bytes: 0, ..Limits::default() });
    let (mut index, mut generation) = (0, 0);
    for round in 0..versions {
        let from = p.below(KEYS);
        for n in 0..KEYS {
            // A walk over all of them that is no order: the step has no factor of their number.
            let put = PutRequest {
                key: key((from + n * 61_681) % KEYS),
                value: Blob::from(&[7; 64][..]),
                ..PutRequest::default()
            };
            index += 1;
            drop(store.apply(LogIndex(index), ClusterTime(round), &Command::Put(put)));
        }
        let mut settled = store.settle(1).expect("much is fresh").merge();
        let put = |first, end, versions: &[mvcc::Version]| {
            generation += 1;
            let versions = versions.len() as u64;
            Ok::<_, ()>(File { first, end, generation, versions, len: 1, digest: 0 })
        };
        settled.store(usize::MAX, put).expect("whatever it is");
        drop(store.settled(settled));
    }
    let stats = region.change();
    let stay = stats.bytes_allocated - stats.bytes_deallocated;
    assert!(store.view().files().is_none(), "the index is in memory alone");
    u64::try_from(stay).expect("what stays was allocated")
}

#[test]
fn a_key_costs_no_more_than_its_bytes_and_48_and_a_version_24() {
    let own = key(0).len() as u64;
    let one = settled(1);
    let of_key = one / KEYS;
    assert!(of_key > 8, "it is counted: {of_key}");
    assert!(one <= KEYS * (own + KEY_BYTES_MAX), "{of_key} bytes a key of {own}");
    let five = settled(5);
    let of_version = five.saturating_sub(one) / (4 * KEYS);
    assert!(of_version > 4, "it is counted: {of_version}");
    assert!(five - one <= 4 * KEYS * VERSION_BYTES_MAX, "{of_version} bytes a version");
    println!("{of_key} bytes a key of {own}, {of_version} a version");
}
