//! A disk that fails under a running member.

use crate::cluster::{Cluster, WAIT, outside, until};
use api::etcdserverpb as pb;
use client::{Failure, Outcome, method};
use front_etcd::Front;
use server::disk::Wrap;
use server::node::{End, Node, Phase};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use wal::{Disk, DiskFile, Ours, RealDisk};

/// Fails every sync of the journal once it is told to, and counts what is tried afterwards.
#[derive(Clone, Default)]
struct Fault(Arc<Counters>);

#[derive(Default)]
struct Counters {
    broken: AtomicBool,
    /// The next sync panics.
    mad: AtomicBool,
    failed_syncs: AtomicU64,
    /// Journal writes and syncs tried after the first failed sync.
    after: AtomicU64,
    /// Zeros that the helper wrote into files made ahead; bytes.
    ahead: AtomicU64,
    /// Zeros that the log thread wrote itself to begin a segment; bytes.
    inline: AtomicU64,
    /// Files made ahead that are durable, and so is their name.
    made: AtomicU64,
}

impl Fault {
    fn wrap(&self) -> Wrap {
        let fault = self.clone();
        Arc::new(move |part: &str, disk: RealDisk| -> Box<dyn Disk> {
            if part == "journal" {
                Box::new(FaultyDisk { disk, fault: fault.clone() })
            } else {
                Box::new(disk)
            }
        })
    }

    fn failed(&self) -> bool {
        self.0.failed_syncs.load(Ordering::SeqCst) > 0
    }

    fn is_helper() -> bool {
        std::thread::current().name() == Some("quorate-spare")
    }

    fn note(&self) {
        if self.failed() {
            self.0.after.fetch_add(1, Ordering::SeqCst);
        }
    }
}

struct FaultyDisk {
    disk: RealDisk,
    fault: Fault,
}

struct FaultyFile {
    file: Box<dyn DiskFile>,
    fault: Fault,
    spare: bool,
}

impl FaultyDisk {
    fn file(&self, name: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let spare = name.starts_with("spare-");
        Box::new(FaultyFile { file, fault: self.fault.clone(), spare })
    }
}

impl Disk for FaultyDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open(name)?;
        Ok(self.file(name, file))
    }
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.create(name)?;
        Ok(self.file(name, file))
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&mut self, file: &Ours) -> io::Result<()> {
        self.disk.remove(file)
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        self.disk.sync_dir()?;
        if Fault::is_helper() {
            self.fault.0.made.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

impl DiskFile for FaultyFile {
    fn len(&mut self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.fault.note();
        if self.spare && bytes.iter().all(|byte| *byte == 0) {
            let ahead = Fault::is_helper();
            let counter = if ahead { &self.fault.0.ahead } else { &self.fault.0.inline };
            counter.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        }
        self.file.write_at(offset, bytes)
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.fault.note();
        assert!(!self.fault.0.mad.load(Ordering::SeqCst), "a bug below the journal");
        if self.fault.0.broken.load(Ordering::SeqCst) {
            self.fault.0.failed_syncs.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::other("the disk is gone"));
        }
        self.file.sync()
    }
}

/// A cluster of one, on a disk that can be made to fail.
fn solo(name: &str) -> (Cluster, Fault) {
    let mut cluster = Cluster::start(name, &["solo"]);
    cluster.kill(0);
    let fault = Fault::default();
    let node =
        Node::start_on(cluster.configs[0].clone(), fault.wrap(), Front::service).expect("starts");
    assert!(node.wait_ready(WAIT));
    cluster.nodes[0] = Some(node);
    (cluster, fault)
}

fn put(key: &str) -> pb::PutRequest {
    pb::PutRequest { key: key.to_string().into(), value: "v".into(), ..Default::default() }
}

#[test]
fn a_failed_fsync_stops_the_member_unacknowledged_and_is_never_tried_again() {
    let (mut cluster, fault) = solo("poison");
    cluster.put(0, "before", "v");
    outside(async {
        let to = cluster.channel(0);
        to.connect().await.expect("it listens");
        fault.0.broken.store(true, Ordering::SeqCst);
        for key in ["first", "later"] {
            match to.call::<pb::PutResponse>(method::kv::PUT, &put(key)).await {
                Ok(_) => panic!("{key} was acknowledged on a broken disk"),
                Err(failure @ Failure::Status(_)) if key == "first" => {
                    assert_eq!(failure.outcome(), Outcome::Unknown, "{failure:?}");
                }
                Err(_) => {}
            }
        }
    });
    let end = cluster.nodes[0].take().expect("there").stop();
    let End::Failed(text) = end else { panic!("it must fail, not end as {end:?}") };
    assert!(text.contains("the disk is gone"), "{text}");
    assert_eq!(fault.0.failed_syncs.load(Ordering::SeqCst), 1, "no second try");
    assert_eq!(fault.0.after.load(Ordering::SeqCst), 0, "nothing was written afterwards");
    cluster.restart(0);
    let keys: Vec<_> = cluster.all(0).kvs.iter().map(|kv| kv.key.to_vec()).collect();
    assert!(keys.contains(&b"before".to_vec()), "what was acknowledged is there");
    assert!(!keys.contains(&b"later".to_vec()), "what came after the failure is not");
}

#[test]
fn a_panic_of_the_log_thread_ends_the_member_and_says_so() {
    let (mut cluster, fault) = solo("mad");
    let node = cluster.nodes[0].take().expect("there");
    fault.0.mad.store(true, Ordering::SeqCst);
    let put = mvcc::PutRequest { key: base::Blob::from(&b"k"[..]), ..Default::default() };
    let outcome = node.remote().propose(mvcc::Command::Put(put));
    assert!(outcome.is_err(), "{outcome:?}");
    let phase = node.phase();
    until("the end", || matches!(&*phase.borrow(), Phase::Ended(_)));
    let End::Failed(text) = node.stop() else { panic!("it must fail") };
    assert_eq!(text, "the log thread panicked");
}

#[test]
fn a_leader_whose_disk_fails_leaves_and_the_others_go_on() {
    let mut cluster = Cluster::start("poison-leader", &["a", "b", "c"]);
    let faults: Vec<Fault> = (0..3).map(|_| Fault::default()).collect();
    for (at, fault) in faults.iter().enumerate() {
        cluster.kill(at);
        let node = Node::start_on(cluster.configs[at].clone(), fault.wrap(), Front::service)
            .expect("starts");
        cluster.nodes[at] = Some(node);
    }
    let leader = cluster.leader();
    cluster.put(leader, "before", "v");
    faults[leader].0.broken.store(true, Ordering::SeqCst);
    // The others may have it durable before the broken disk says no: then it is acknowledged.
    let doubtful = cluster.try_put(leader, "doubtful", "v");
    if let Err(error) = &doubtful {
        assert!(error.contains("(unknown)") || error.contains("has ended"), "{error}");
    }
    let other = (leader + 1) % 3;
    cluster.put(other, "after", "v");
    let keys: Vec<_> = cluster.all(other).kvs.iter().map(|kv| kv.key.to_vec()).collect();
    assert!(keys.contains(&b"before".to_vec()) && keys.contains(&b"after".to_vec()));
    assert!(keys.contains(&b"doubtful".to_vec()) || doubtful.is_err(), "acknowledged and lost");
    let phase = cluster.node(leader).phase();
    until("the end of the leader", || matches!(&*phase.borrow(), Phase::Ended(_)));
    let end = cluster.nodes[leader].take().expect("there").stop();
    assert!(matches!(end, End::Failed(_)), "{end:?}");
}

#[test]
fn a_busy_journal_has_its_next_segment_made_ahead() {
    let (cluster, fault) = solo("spares");
    let value = "x".repeat(1 << 20);
    (0..8).for_each(|n| cluster.put(0, &n.to_string(), &value));
    assert_eq!(fault.0.ahead.load(Ordering::SeqCst), 0, "a quiet member writes no spare");
    let mut n = 0;
    until("a spare", || {
        if n < 30 {
            cluster.put(0, &n.to_string(), &value);
            n += 1;
        }
        fault.0.made.load(Ordering::SeqCst) > 0
    });
    assert!(fault.0.ahead.load(Ordering::SeqCst) >= 64 << 20, "a whole segment");
    assert_eq!(fault.0.inline.load(Ordering::SeqCst), 0);
    // Goes on in the segment made ahead; the first one has room for less than this.
    (0..40).for_each(|n| cluster.put(0, &n.to_string(), &value));
    assert_eq!(fault.0.inline.load(Ordering::SeqCst), 0, "no client waited for zeros");
    assert_eq!(cluster.all(0).kvs.len(), 40);
    let segments = std::fs::read_dir(cluster.configs[0].data_dir.join("journal")).expect("there");
    let names = segments.map(|entry| entry.expect("an entry").file_name().into_string());
    let used = names.flatten().filter(|name| name.starts_with("segment-")).count();
    assert!(used >= 2, "it rolled over");
}
