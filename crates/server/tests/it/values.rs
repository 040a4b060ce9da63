//! Values that have left memory: read from files, by every road, and mended by other members.

use crate::cluster::{Cluster, eventually, get, until};
use base::Blob;
use mvcc::{Command, PutRequest, RangeRequest, Response};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

const KEYS: usize = 400;

/// Nothing that has settled stays in memory, and it settles soon.
fn cold(test: &str, names: &[&str]) -> Cluster {
    Cluster::start_with(test, names, |config| {
        config.settle_versions = 50;
        config.cache_bytes = 0;
        config.checkpoint_bytes_min = 1;
        config.snapshot_count = 60;
        config.scrub_interval = Duration::from_secs(1);
    })
}

fn key(n: usize) -> String {
    format!("k{n:04}")
}

fn value(n: usize) -> String {
    format!("{n:04}").repeat(100)
}

fn fill(cluster: &Cluster) {
    (0..KEYS).for_each(|n| cluster.put(0, &key(n), &value(n)));
}

fn gauge(cluster: &Cluster, at: usize, name: &str) -> f64 {
    let page = get(cluster.node(at).client_addr, "/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
    line.trim().parse().expect("a number")
}

fn files(cluster: &Cluster, at: usize, end: &str) -> Vec<PathBuf> {
    let dir = cluster.configs[at].data_dir.join("values");
    let Ok(all) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut all: Vec<_> = all.filter_map(|entry| Some(entry.ok()?.path())).collect();
    all.retain(|path| path.to_string_lossy().ends_with(end));
    all.sort();
    all
}

fn settled(cluster: &Cluster, at: usize) {
    until("most of it has settled in files", || {
        gauge(cluster, at, "quorate_value_file_bytes ") > 0.7 * (KEYS * 400) as f64
    });
}

/// Flips a bit of a file in its middle; false where it is gone by now.
fn flip(path: &PathBuf) -> bool {
    let Ok(file) = File::options().read(true).write(true).open(path) else { return false };
    let at = file.metadata().expect("it is open").len() / 3;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is that long");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
    true
}

/// What one member has of a key.
fn local(cluster: &Cluster, at: usize, n: usize) -> Result<String, String> {
    let key = Blob::from(key(n).as_bytes());
    let request = RangeRequest { key, serializable: true, ..RangeRequest::default() };
    let found = cluster.node(at).remote().range(request)?;
    let kv = found.kvs.first().ok_or("no such key")?;
    Ok(String::from_utf8(kv.value.to_vec()).expect("text"))
}

fn put_looking_back(cluster: &Cluster, at: usize, n: usize) -> String {
    let put = |value: String| PutRequest {
        key: Blob::from(key(n).as_bytes()),
        value: Blob::from(value.as_bytes()),
        prev_kv: true,
        ..PutRequest::default()
    };
    let propose = || cluster.node(at).remote().propose(Command::Put(put(value(n))));
    let answer = eventually("a put that looks back", propose);
    let Response::Put(answer) = answer else { panic!("{answer:?}") };
    let before = answer.prev_kv.expect("it was there");
    String::from_utf8(before.value.to_vec()).expect("text")
}

#[test]
fn what_has_left_memory_is_read_looked_back_at_and_there_after_a_restart() {
    let mut cluster = cold("values", &["a"]);
    fill(&cluster);
    settled(&cluster, 0);
    for round in 0..2 {
        let all = cluster.all(0);
        assert_eq!(all.kvs.len(), KEYS, "round {round}");
        for n in (0..KEYS).step_by(7) {
            assert_eq!(local(&cluster, 0, n).expect("it is there"), value(n));
        }
        assert_eq!(put_looking_back(&cluster, 0, 3 + round), value(3 + round));
        cluster.await_checkpoint(0);
        cluster.kill(0);
        cluster.restart(0);
        assert!(cluster.node(0).wait_ready(crate::cluster::WAIT));
    }
    let indexes = files(&cluster, 0, ".qx").len();
    assert!((1..=3).contains(&indexes), "{indexes}");
}

#[test]
fn damaged_values_are_fetched_from_another_member_and_served_meanwhile() {
    let cluster = cold("mended", &["a", "b", "c"]);
    fill(&cluster);
    settled(&cluster, 0);
    // In the middle of each file, whatever is there.
    let hurt = files(&cluster, 0, ".qv");
    assert!(!hurt.is_empty());
    assert!(hurt.iter().filter(|path| flip(path)).count() > 0);
    for n in 0..KEYS {
        let read = eventually("what was damaged", || local(&cluster, 0, n));
        assert_eq!(read, value(n));
    }
    assert_eq!(put_looking_back(&cluster, 0, 17), value(17));
    // With what was given it goes into new files, once something is written.
    until("all of it is in sound files", || {
        cluster.put(0, "other", "v");
        gauge(&cluster, 0, "quorate_damaged_ranges ") == 0.0
            && gauge(&cluster, 0, "quorate_scrub_passes_total ") > 0.0
    });
    for n in 0..KEYS {
        assert_eq!(local(&cluster, 0, n).expect("it is whole"), value(n));
    }
}

/// How many keys are read, and how many are refused by the name of a file that was hurt.
fn read_all(cluster: &Cluster, hurt: &[PathBuf]) -> (usize, usize) {
    let (mut good, mut bad) = (0, 0);
    for n in 0..KEYS {
        match local(cluster, 0, n) {
            Ok(read) => {
                assert_eq!(read, value(n));
                good += 1;
            }
            Err(why) => {
                let name = |path: &PathBuf| {
                    path.file_name().is_some_and(|name| why.contains(&*name.to_string_lossy()))
                };
                assert!(why.contains("cannot be read") && hurt.iter().any(name), "{why}");
                bad += 1;
            }
        }
    }
    (good, bad)
}

#[test]
fn where_nobody_has_it_a_value_is_refused_by_name_and_nothing_else() {
    let cluster = cold("unreadable", &["a"]);
    fill(&cluster);
    settled(&cluster, 0);
    let (mut good, mut bad, mut hurt) = (0, 0, Vec::new());
    // A merge under way may have read a file before it is hit: then its successor is sound.
    until("a value is refused", || {
        let first = files(&cluster, 0, ".qv").into_iter().find(|path| !hurt.contains(path));
        hurt.extend(first.filter(flip));
        (good, bad) = read_all(&cluster, &hurt);
        bad > 0
    });
    assert!(bad > 0 && good > KEYS / 2, "{good} good, {bad} bad");
    cluster.put(0, "other", "it goes on");
}

/// A checkpoint is of no use without its index: the member is repaired by the others.
#[test]
fn a_member_whose_indexes_are_damaged_while_it_is_down_starts_and_has_everything_again() {
    let mut cluster = cold("index", &["a", "b", "c"]);
    fill(&cluster);
    settled(&cluster, 1);
    cluster.await_checkpoint(1);
    cluster.kill(1);
    let hurt = files(&cluster, 1, ".qx");
    assert!(!hurt.is_empty());
    for path in hurt {
        std::fs::write(path, b"no index").expect("written over");
    }
    cluster.restart(1);
    until("all of it is there", || {
        (0..KEYS).step_by(37).all(|n| local(&cluster, 1, n).is_ok_and(|found| found == value(n)))
    });
    cluster.put(1, &key(0), "after");
}
