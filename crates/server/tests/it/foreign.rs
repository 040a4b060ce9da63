//! What was not made by the member is not touched by it, whatever kind of start it makes.

use crate::cluster::{Cluster, WAIT, outside, until};
use front_etcd::Front;
use server::config::Config;
use server::node::Node;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Everything below a directory, with its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.insert(path.clone(), Vec::new());
            all.extend(contents(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).expect("readable"));
        }
    }
    all
}

/// Names that are nearly ours, in every folder.
fn fill(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let hex = "0000000000000001";
    let names = [
        "notes.txt".to_string(),
        "segment-1.qj".to_string(),
        format!("segment-{hex}.qj.bak"),
        format!("my.damaged-{hex}"),
        format!("spare-+{}.qj", &hex[1..]),
        "checkpoint-notes.tmp".to_string(),
        "incoming-mail".to_string(),
        format!("copy-checkpoint-{hex}-{hex}-{hex}.qc"),
        format!("incoming-{hex}-{hex}-{hex}.part"),
    ];
    let mut foreign = BTreeMap::new();
    for part in ["", "journal", "checkpoints", "mine"] {
        let dir = dir.join(part);
        std::fs::create_dir_all(&dir).expect("made");
        for name in &names {
            let path = dir.join(name);
            std::fs::write(&path, name).expect("written");
            foreign.insert(path, name.clone().into_bytes());
        }
    }
    foreign
}

#[track_caller]
fn untouched(dir: &Path, foreign: &BTreeMap<PathBuf, Vec<u8>>) {
    let now = contents(dir);
    for (path, bytes) in foreign {
        assert_eq!(now.get(path), Some(bytes), "{}", path.display());
    }
}

fn refusal(config: &Config) -> String {
    match Node::start(config.clone(), Front::service) {
        Ok(_) => panic!("it must not start"),
        Err(error) => error.to_string(),
    }
}

fn small(config: &mut Config) {
    config.checkpoint_bytes_min = 1;
    config.snapshot_count = 50;
    config.snapshot_catchup_entries = 5;
}

#[test]
fn a_directory_that_has_lost_its_identity_is_refused_and_nothing_in_it_changes() {
    // One checkpoint and no more: a helper thread that writes another outlives a member that is
    // killed inside this process.
    let mut cluster = Cluster::start_with("lost-identity", &["solo"], |config| {
        config.checkpoint_bytes_min = 1;
        config.snapshot_count = 150;
    });
    (0..200).for_each(|n| cluster.put(0, &format!("k{n}"), "v"));
    cluster.await_checkpoint(0);
    cluster.kill(0);
    let dir = cluster.configs[0].data_dir.clone();
    fill(&dir);
    let identity = std::fs::read(dir.join("identity")).expect("there");
    std::fs::remove_file(dir.join("identity")).expect("removed");
    let before = contents(&dir);
    let text = refusal(&cluster.configs[0]);
    assert!(text.contains("no identity file but holds journal/segment-"), "{text}");
    assert_eq!(contents(&dir), before);
    // Also where only one of its parts is left.
    for part in ["journal", "checkpoints"] {
        let away = dir.with_extension(part);
        std::fs::rename(dir.join(part), &away).expect("moved away");
        let text = refusal(&cluster.configs[0]);
        assert!(text.contains("no identity file but holds"), "{text}");
        assert!(!dir.join(part).exists(), "nothing is made either");
        std::fs::rename(&away, dir.join(part)).expect("moved back");
    }
    assert_eq!(contents(&dir), before);
    std::fs::write(dir.join("identity"), identity).expect("put back");
    cluster.restart(0);
    assert_eq!(cluster.all(0).kvs.len(), 200);
}

#[test]
fn a_first_start_that_broke_off_before_the_identity_is_begun_again() {
    let mut cluster = Cluster::start("broke-off", &["solo"]);
    cluster.kill(0);
    let dir = cluster.configs[0].data_dir.clone();
    std::fs::remove_dir_all(&dir).expect("removed");
    std::fs::create_dir_all(dir.join("journal")).expect("made");
    let foreign = fill(&dir);
    // As far as a start comes before it writes the identity, and a moment earlier.
    let disk = || wal::RealDisk::new(dir.join("journal")).expect("a directory");
    let owner = wal::Owner { cluster: 1, member: base::NodeId(2) };
    drop(wal::Journal::create(disk(), wal::Options::default(), owner, 7).expect("made"));
    let segment = dir.join("journal/segment-0000000000000001.qj");
    let begun = std::fs::read(&segment).expect("made");
    std::fs::write(dir.join("identity.tmp"), "half").expect("written");
    cluster.restart(0);
    cluster.put(0, "k", "v");
    untouched(&dir, &foreign);
    cluster.kill(0);
    std::fs::remove_dir_all(&dir).expect("removed");
    std::fs::create_dir_all(dir.join("journal")).expect("made");
    std::fs::write(dir.join("journal/spare-0000000000000001.qj"), &begun[..99]).expect("written");
    cluster.restart(0);
    cluster.put(0, "k", "v");
    cluster.kill(0);
    // One byte behind the header may have been a vote.
    std::fs::remove_file(dir.join("identity")).expect("removed");
    let mut touched = begun;
    touched[700] = 1;
    std::fs::write(&segment, touched).expect("written");
    assert!(refusal(&cluster.configs[0]).contains("no identity file but holds journal/segment-"));
}

#[test]
fn no_kind_of_start_touches_files_of_others() {
    let mut cluster = Cluster::start_with("foreign", &["a", "b", "c"], small);
    let dirs: Vec<PathBuf> = cluster.configs.iter().map(|c| c.data_dir.clone()).collect();
    let mut foreign: Vec<_> = dirs.iter().map(|dir| fill(dir)).collect();
    let behind = (cluster.leader() + 1) % 3;
    cluster.kill(behind);
    let other = (behind + 1) % 3;
    (0..300).for_each(|n| cluster.put(other, &format!("k{n:03}"), "v"));
    (0..3).filter(|at| *at != behind).for_each(|at| cluster.await_checkpoint(at));
    // An ordinary start, which takes a checkpoint from the leader.
    cluster.restart(behind);
    assert_eq!(cluster.all(behind).kvs.len(), 300);
    // A start that repairs: a byte in the middle of the journal.
    cluster.kill(behind);
    let journal = dirs[behind].join("journal");
    let segments = std::fs::read_dir(&journal).expect("there").flatten().map(|e| e.path());
    let is = |p: &PathBuf| p.extension().is_some_and(|e| e == "qj");
    let len = |p: &PathBuf| std::fs::metadata(p).map_or(0, |m| m.len());
    let segment = segments.filter(|p| is(p) && len(p) > 4096).min().expect("a segment");
    let mut bytes = std::fs::read(&segment).expect("there");
    bytes[600] ^= 1;
    std::fs::write(&segment, bytes).expect("written");
    cluster.restart(behind);
    assert_eq!(cluster.all(behind).kvs.len(), 300);
    until("the end of the repair", || {
        cluster.node(behind).status().is_some_and(|status| !status.repairing)
    });
    // A start whose newest checkpoint is damaged, and one more.
    cluster.await_checkpoint(behind);
    cluster.kill(behind);
    let ours = |p: &PathBuf| {
        p.file_name().is_some_and(|name| name.to_string_lossy().starts_with("checkpoint-"))
    };
    let newest = cluster.checkpoints(behind).into_iter().rfind(ours).expect("a checkpoint");
    let mut bytes = std::fs::read(&newest).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).expect("written");
    for _ in 0..2 {
        cluster.restart(behind);
        assert_eq!(cluster.all(behind).kvs.len(), 300);
        cluster.kill(behind);
    }
    cluster.restart(behind);
    // A start that joins.
    let newcomer = cluster.newcomer("d");
    foreign.push(fill(&newcomer.data_dir));
    let peer_ur_ls = newcomer.advertise_peer_urls.iter().map(ToString::to_string).collect();
    outside(async {
        let request = api::etcdserverpb::MemberAddRequest { peer_ur_ls, is_learner: false };
        let path = "/etcdserverpb.Cluster/MemberAdd";
        let channel = cluster.channel(other);
        let end = std::time::Instant::now() + WAIT;
        while let Err(error) =
            channel.call::<api::etcdserverpb::MemberAddResponse>(path, &request).await
        {
            assert!(std::time::Instant::now() < end, "{error:?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let dir = newcomer.data_dir.clone();
    let new = cluster.join(newcomer);
    assert_eq!(cluster.all(new).kvs.len(), 300);
    for (dir, foreign) in dirs.iter().chain([&dir]).zip(&foreign) {
        untouched(dir, foreign);
    }
}
