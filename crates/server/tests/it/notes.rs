//! A disk that stalls while a member writes down whom it meets.

use crate::cluster::{Cluster, WAIT, until};
use front_etcd::Front;
use server::disk::Wrap;
use server::node::Node;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use wal::{Disk, DiskFile, Ours, RealDisk};

/// Stops whoever makes a file in the data directory itself while it is shut.
#[derive(Default)]
struct Gate {
    is_shut: Mutex<(bool, usize)>,
    opened: Condvar,
}

impl Gate {
    /// Opens at the end, also when a test fails: nobody is to wait for ever.
    fn shut_until_dropped(self: &Arc<Self>) -> Shut {
        self.is_shut.lock().expect("sound").0 = true;
        Shut(Arc::clone(self))
    }

    fn waiting(&self) -> usize {
        self.is_shut.lock().expect("sound").1
    }

    fn pass(&self) {
        let mut is_shut = self.is_shut.lock().expect("sound");
        is_shut.1 += 1;
        let mut is_shut = self.opened.wait_while(is_shut, |shut| shut.0).expect("sound");
        is_shut.1 -= 1;
    }

    fn wrap(self: &Arc<Self>) -> Wrap {
        let gate = Arc::clone(self);
        Arc::new(move |part: &str, disk: RealDisk| -> Box<dyn Disk> {
            if part.is_empty() {
                Box::new(Gated { disk, gate: Arc::clone(&gate) })
            } else {
                Box::new(disk)
            }
        })
    }
}

struct Shut(Arc<Gate>);

impl Drop for Shut {
    fn drop(&mut self) {
        self.0.is_shut.lock().expect("sound").0 = false;
        self.0.opened.notify_all();
    }
}

struct Gated {
    disk: RealDisk,
    gate: Arc<Gate>,
}

impl Disk for Gated {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(name)
    }
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.gate.pass();
        self.disk.create(name)
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&mut self, file: &Ours) -> io::Result<()> {
        self.disk.remove(file)
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

#[test]
fn a_disk_that_stalls_while_a_peer_is_met_keeps_nobody_from_voting() {
    let mut cluster = Cluster::start("notes", &["a", "b", "c"]);
    cluster.kill(0);
    let gate = Arc::<Gate>::default();
    let config = cluster.configs[0].clone();
    let node = Node::start_on(config, gate.wrap(), Front::service).expect("starts");
    assert!(node.wait_ready(WAIT));
    cluster.nodes[0] = Some(node);
    cluster.put(0, "before", "v");
    // No leader: who stalls cannot take in another life of one.
    let victim = if cluster.leader() == 2 { 1 } else { 2 };
    let meets = |cluster: &Cluster, at: usize| {
        let node = cluster.node(0);
        let id = cluster.node(at).id;
        let text = crate::cluster::get(node.client_addr, "/metrics");
        let line = |line: &&str| line.starts_with("etcd_network_active_peers");
        let id = format!("{:x}", id.0);
        text.lines().filter(line).any(|line| line.contains(&id) && line.ends_with(" 1"))
    };
    until("both are met", || meets(&cluster, 1) && meets(&cluster, 2));

    let shut = gate.shut_until_dropped();
    cluster.kill(victim);
    cluster.restart(victim);
    until("it is to be written down", || gate.waiting() > 0);
    // What is asked there needs its vote, since it forwards, appends and answers.
    for n in 0..20 {
        cluster.put(0, &format!("meanwhile{n}"), "v");
    }
    assert_eq!(gate.waiting(), 1, "one file is written after the other");
    assert!(!meets(&cluster, victim), "who is not written down is not let in");
    drop(shut);
    until("it is met", || meets(&cluster, victim));
}
