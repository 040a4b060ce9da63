//! A disk that runs full under a running member.

use crate::cluster::{Cluster, until};
use base::Blob;
use front_etcd::Front;
use mvcc::{Command, DeleteRequest, PutRequest, RangeRequest};
use server::disk::Wrap;
use server::node::Node;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wal::{Disk, DiskFile, Ours, RealDisk};

/// Writes that make a file longer find no room while it is told so.
struct Full<D>(D, Arc<AtomicBool>);

impl Disk for Full<RealDisk> {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Full(self.0.open(name)?, Arc::clone(&self.1))))
    }
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Full(self.0.create(name)?, Arc::clone(&self.1))))
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&mut self, file: &Ours) -> io::Result<()> {
        self.0.remove(file)
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        self.0.sync_dir()
    }
}

impl DiskFile for Full<Box<dyn DiskFile>> {
    fn len(&mut self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, into)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) && offset + bytes.len() as u64 > self.0.len()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_at(offset, bytes)
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

fn put(cluster: &Cluster, key: &str, bytes: usize) -> Result<(), String> {
    let (key, value) = (Blob::from(key.as_bytes()), Blob::from(vec![7; bytes]));
    let put = PutRequest { key, value, ..PutRequest::default() };
    cluster.node(0).remote().propose(Command::Put(put)).map(|_| ())
}

fn has(cluster: &Cluster, key: &str) -> bool {
    let request = RangeRequest { key: Blob::from(key.as_bytes()), ..RangeRequest::default() };
    cluster.node(0).remote().range(request).expect("reads need no room").count == 1
}

#[test]
fn a_disk_that_is_full_refuses_what_grows_and_nothing_else_until_it_has_room() {
    let full = Arc::new(AtomicBool::new(false));
    let wrap: Wrap = {
        let full = Arc::clone(&full);
        Arc::new(move |_: &str, disk: RealDisk| Box::new(Full(disk, Arc::clone(&full))) as _)
    };
    let mut cluster = Cluster::start_with("room", &["a"], |_| {});
    let config = cluster.configs[0].clone();
    cluster.kill(0);
    let node = Node::start_on(config, wrap, Front::service).expect("it starts");
    cluster.nodes[0] = Some(node);
    until("a leader", || put(&cluster, "before", 9).is_ok());
    full.store(true, Ordering::SeqCst);
    // What the journal has made ahead is used up first.
    let mut acknowledged = Vec::new();
    let refused = (0..200).find_map(|n| {
        let key = format!("large-{n}");
        let done = put(&cluster, &key, 1 << 20);
        if done.is_ok() {
            acknowledged.push(key);
        }
        done.err()
    });
    let refused = refused.expect("it fills");
    assert!(refused.contains("space exceeded (not-applied)") || refused.contains("timed out"));
    until("what grows is refused at once", || {
        put(&cluster, "more", 9).is_err_and(|why| why.contains("database space exceeded"))
    });
    assert!(has(&cluster, "before"), "and reads go on");
    full.store(false, Ordering::SeqCst);
    until("it goes on by itself", || put(&cluster, "after", 9).is_ok());
    assert!(acknowledged.iter().all(|key| has(&cluster, key)), "nothing is lost");
    cluster.kill(0);
    cluster.restart(0);
    until("it is there again", || put(&cluster, "again", 9).is_ok());
    assert!(acknowledged.iter().all(|key| has(&cluster, key)) && has(&cluster, "after"));
}

#[test]
fn a_disk_that_is_low_raises_the_alarm_and_takes_what_makes_room() {
    let cluster = Cluster::start_with("low", &["a"], |config| {
        config.min_free_bytes = Some(u64::MAX);
    });
    let refused = |why: String| why.contains("database space exceeded (not-applied)");
    until("what grows is refused", || put(&cluster, "k", 9).is_err_and(refused));
    let (key, range_end) = (Blob::from(&b"k"[..]), Blob::default());
    let delete = DeleteRequest { key, range_end, prev_kv: false };
    cluster.node(0).remote().propose(Command::Delete(delete)).expect("it makes room");
    let page = crate::cluster::get(cluster.node(0).client_addr, "/metrics");
    assert!(page.contains("quorate_disk_low 1"), "{page}");
}
