//! Members whose disk was damaged or put back.

use crate::cluster::{Cluster, WAIT, outside, until};
use api::etcdserverpb as pb;
use client::method;
use front_etcd::Front;
use server::config::OnDamage;
use server::node::{End, Node, Phase};
use std::path::{Path, PathBuf};

const HEADER_BYTES: usize = 88;

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("readable");
    bytes[at] ^= 0x40;
    std::fs::write(path, bytes).expect("writable");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// The last segment, and where its batches begin: all of them, and those with records.
fn batches(data: &Path) -> (PathBuf, Vec<usize>, Vec<usize>) {
    let name = |path: &PathBuf| path.file_name().expect("named").to_string_lossy().into_owned();
    let mut segments = files(&data.join("journal")).into_iter();
    let segment = segments.rfind(|path| name(path).starts_with("segment-")).expect("a segment");
    let bytes = std::fs::read(&segment).expect("readable");
    let starts = (0..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(b"QJBT"));
    let all: Vec<usize> = starts.collect();
    let full = all.iter().copied().filter(|at| bytes[at + 6] == 1).collect();
    (segment, all, full)
}

/// Three members with some writes; the one returned is no leader, is down, and its journal ends
/// in the mark of an idle moment.
fn with_one_down(test: &str, change: impl Fn(&mut server::config::Config)) -> (Cluster, usize) {
    let mut cluster = Cluster::start_with(test, &["a", "b", "c"], change);
    for n in 0..40 {
        cluster.put(n % 3, &format!("k{n:02}"), &"v".repeat(100));
    }
    let idle = |data: &Path| {
        let (_, all, full) = batches(data);
        full.len() > 20 && all.last() > full.last()
    };
    loop {
        let victim = (cluster.leader() + 1) % 3;
        let data = cluster.configs[victim].data_dir.clone();
        until("the idle mark", || idle(&data));
        cluster.kill(victim);
        // A vote may have come in between.
        if idle(&data) {
            return (cluster, victim);
        }
        cluster.restart(victim);
    }
}

fn hash_kv(cluster: &Cluster, at: usize) -> (u32, i64) {
    outside(async {
        let request = pb::HashKvRequest::default();
        let hash: pb::HashKvResponse =
            cluster.channel(at).call(method::maintenance::HASH_KV, &request).await.expect("a hash");
        (hash.hash, hash.hash_revision)
    })
}

fn is_repaired(cluster: &Cluster, at: usize) -> bool {
    cluster.node(at).status().is_some_and(|status| !status.repairing)
}

fn assert_repaired(cluster: &Cluster, at: usize) {
    until("the repair", || is_repaired(cluster, at));
    let other = (at + 1) % 3;
    let (here, there) = (cluster.all(at), cluster.all(other));
    assert_eq!(here.kvs, there.kvs);
    assert_eq!(hash_kv(cluster, at), hash_kv(cluster, other));
    let data = &cluster.configs[at].data_dir;
    assert!(!data.join("repair").exists(), "the end is durable");
    let aside = |dir: &str| {
        let names = files(&data.join(dir));
        names.iter().filter(|path| path.to_string_lossy().contains(".damaged-")).count()
    };
    assert_eq!((aside("journal"), aside("checkpoints")), (0, 0), "nothing is kept any more");
}

#[test]
fn a_flipped_byte_in_the_middle_of_a_journal_is_repaired_from_the_others() {
    let (mut cluster, victim) = with_one_down("repair", |_| {});
    let (segment, _, full) = batches(&cluster.configs[victim].data_dir);
    flip(&segment, full[full.len() / 2] + HEADER_BYTES + 40);
    cluster.put((victim + 1) % 3, "meanwhile", "v");
    cluster.restart(victim);
    assert_repaired(&cluster, victim);
    // It counts again: with another member gone it makes the quorum.
    let third = (0..3).find(|at| *at != victim && *at != cluster.leader()).expect("a third");
    cluster.kill(third);
    cluster.put(victim, "after", "v");
    // And what it repaired is durable.
    cluster.kill(victim);
    cluster.restart(third);
    cluster.restart(victim);
    assert!(cluster.node(victim).wait_ready(WAIT) && is_repaired(&cluster, victim));
    assert_eq!(cluster.all(victim).kvs.len(), 42);
}

#[test]
fn a_member_that_repairs_makes_no_quorum() {
    let (mut cluster, victim) = with_one_down("repair-alone", |config| {
        (config.election_timeout_ms, config.heartbeat_interval_ms) = (200, 20);
    });
    let leader = cluster.leader();
    let third = (0..3).find(|at| *at != victim && *at != leader).expect("a third");
    cluster.kill(third);
    // A leader that still led would know all it once acknowledged to be committed, and end it.
    cluster.try_put(leader, "j", "v").expect_err("one member of three is no quorum");
    let (segment, _, full) = batches(&cluster.configs[victim].data_dir);
    flip(&segment, full[full.len() / 2] + HEADER_BYTES + 40);
    cluster.restart(victim);
    cluster.try_put(leader, "k", "v").expect_err("one sound member of three is no quorum");
    assert!(!is_repaired(&cluster, victim));
    assert!(cluster.configs[victim].data_dir.join("repair").exists());
    cluster.kill(victim);
    cluster.restart(victim);
    assert!(!is_repaired(&cluster, victim), "a restart does not end it");
    cluster.restart(third);
    assert_repaired(&cluster, victim);
}

#[test]
fn a_last_header_that_is_lost_is_refused_with_file_offset_and_the_way_out() {
    let (cluster, victim) = with_one_down("repair-lost", |_| {});
    let (segment, _, full) = batches(&cluster.configs[victim].data_dir);
    flip(&segment, full[full.len() - 1] + 20);
    let Err(error) = Node::start(cluster.configs[victim].clone(), Front::service) else {
        panic!("it starts")
    };
    let (text, name) = (error.to_string(), segment.file_name().expect("named").to_string_lossy());
    let place = format!("{name} at byte {}", full[full.len() - 1]);
    assert!(text.contains(&place) && text.contains("quorate member replace"), "{text}");
    assert!(!cluster.configs[victim].data_dir.join("repair").exists(), "nothing was touched");
}

#[test]
fn repair_can_be_switched_off_and_is_refused_where_nobody_else_decides() {
    let (cluster, victim) = with_one_down("repair-off", |_| {});
    let (segment, _, full) = batches(&cluster.configs[victim].data_dir);
    flip(&segment, full[3] + HEADER_BYTES + 40);
    let mut config = cluster.configs[victim].clone();
    config.on_damage = OnDamage::Refuse;
    let Err(error) = Node::start(config, Front::service) else { panic!("it starts") };
    assert!(error.to_string().contains("--repair=refuse"), "{error}");

    let mut alone = Cluster::start("repair-solo", &["solo"]);
    (0..5).for_each(|n| alone.put(0, &format!("k{n}"), "v"));
    alone.kill(0);
    let (segment, _, full) = batches(&alone.configs[0].data_dir);
    flip(&segment, full[1] + HEADER_BYTES + 40);
    let Err(error) = Node::start(alone.configs[0].clone(), Front::service) else {
        panic!("it starts")
    };
    assert!(error.to_string().contains("no quorum without this member"), "{error}");
}

#[test]
fn a_damaged_checkpoint_is_made_up_for() {
    let (mut cluster, victim) = with_one_down("repair-checkpoint", |config| {
        (config.checkpoint_bytes_min, config.snapshot_count) = (1, 10);
        config.snapshot_catchup_entries = 5;
    });
    // The helper that writes one may not have come to its end.
    if cluster.checkpoints(victim).is_empty() {
        cluster.restart(victim);
        cluster.put(victim, "k00", "once more");
        cluster.await_checkpoint(victim);
        cluster.kill(victim);
    }
    let checkpoints = cluster.checkpoints(victim);
    for older in &checkpoints[..checkpoints.len() - 1] {
        std::fs::remove_file(older).expect("removed");
    }
    flip(checkpoints.last().expect("a checkpoint"), 60);
    cluster.restart(victim);
    // The journal holds everything since the beginning: nothing is lost, and it votes at once.
    assert!(is_repaired(&cluster, victim));
    cluster.put(victim, "after", "v");
    cluster.kill(victim);
    cluster.restart(victim);
    assert_repaired(&cluster, victim);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for path in files(from) {
        let to = to.join(path.file_name().expect("named"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("copied");
        }
    }
}

#[test]
fn a_directory_that_was_put_back_is_refused_and_stops_for_good() {
    let (mut cluster, victim) = with_one_down("put-back", |_| {});
    let data = cluster.configs[victim].data_dir.clone();
    let image = data.with_extension("image");
    copy(&data, &image);
    for _ in 0..2 {
        cluster.restart(victim);
        assert!(cluster.node(victim).wait_ready(WAIT));
        cluster.put(victim, "k", "v");
        cluster.kill(victim);
    }
    // What the others remember of it survives their own restart.
    for at in (0..3).filter(|at| *at != victim) {
        cluster.kill(at);
        cluster.restart(at);
    }
    std::fs::remove_dir_all(&data).expect("removed");
    copy(&image, &data);
    let node =
        Node::start(cluster.configs[victim].clone(), Front::service).expect("it cannot know");
    let phase = node.phase();
    until("the refusal", || matches!(&*phase.borrow(), Phase::Ended(_)));
    let End::Failed(text) = node.stop() else { panic!("it was put back") };
    assert!(text.contains("older image") && text.contains("quorate member replace"), "{text}");
    let Err(error) = Node::start(cluster.configs[victim].clone(), Front::service) else {
        panic!("it starts")
    };
    assert!(error.to_string().contains("older image"), "{error}");
    cluster.put((victim + 1) % 3, "the others", "go on");
}
