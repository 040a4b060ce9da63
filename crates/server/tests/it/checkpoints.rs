//! A leader whose checkpoint files are gone or damaged, while a follower needs one.

use crate::cluster::Cluster;
use std::path::PathBuf;

fn helps(test: &str, hurt: impl Fn(&PathBuf)) {
    let mut cluster = Cluster::start_with(test, &["a", "b", "c"], |config| {
        config.checkpoint_bytes_min = 1;
        config.snapshot_count = 50;
        config.snapshot_catchup_entries = 5;
    });
    let behind = (cluster.leader() + 1) % 3;
    cluster.kill(behind);
    let others: Vec<usize> = (0..3).filter(|at| *at != behind).collect();
    (0..300).for_each(|n| cluster.put(others[0], &format!("k{n:03}"), "v"));
    others.iter().for_each(|at| cluster.await_checkpoint(*at));
    let applied = |at: usize| cluster.node(at).status().expect("it runs").applied;
    let before = others.clone().into_iter().map(applied).max();
    // Whoever leads then.
    for at in others {
        cluster.checkpoints(at).iter().for_each(&hurt);
    }
    cluster.restart(behind);
    // Nobody writes meanwhile: a checkpoint for another reason would help as well.
    assert_eq!(cluster.all(behind).kvs.len(), 300);
    assert!(before <= cluster.node(behind).status().map(|status| status.applied));
}

#[test]
fn a_leader_whose_checkpoints_are_gone_writes_one_for_a_follower_that_needs_it() {
    helps("checkpoints-gone", |path| std::fs::remove_file(path).expect("removed"));
}

#[test]
fn a_leader_whose_checkpoints_are_damaged_writes_one_for_a_follower_that_needs_it() {
    helps("checkpoints-damaged", |path| {
        let mut bytes = std::fs::read(path).expect("there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).expect("written");
    });
}
