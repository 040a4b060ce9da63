//! The three directories of a member on one disk, so that one count steps through all.

use base::{Life, NodeId};
use cluster::{BallotRule, ChangeState, Configuration, Member};
use member::{Born, Draws, How, Known, Opened, Refused, Wanted};
use std::io;
use store::{Home, OnDamage};
use wal::{Disk, DiskFile, MemDisk, Options, Ours};

pub const SMALL: Options = Options { segment_bytes: 1024, prefill_bytes: 0, spares_max: 1 };

#[derive(Clone, Default)]
pub struct Place(pub MemDisk);

struct Part(MemDisk, String);

impl Home for Place {
    fn disk(&self, part: &str) -> io::Result<Box<dyn Disk>> {
        Ok(Box::new(Part(self.0.clone(), format!("{part}/"))))
    }
    fn has(&self, part: &str) -> bool {
        let mut all = self.0.clone();
        all.list().unwrap().iter().any(|name| name.starts_with(&format!("{part}/")))
    }
}

impl Disk for Part {
    fn list(&mut self) -> io::Result<Vec<String>> {
        let names = self.0.list()?.into_iter();
        Ok(names.filter_map(|n| n.strip_prefix(&self.1).map(str::to_owned)).collect())
    }
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.open(&format!("{}{name}", self.1))
    }
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.create(&format!("{}{name}", self.1))
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(&format!("{}{from}", self.1), &format!("{}{to}", self.1))
    }
    fn remove(&mut self, file: &Ours) -> io::Result<()> {
        self.0.lose(&format!("{}{}", self.1, file.name()))
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        self.0.sync_dir()
    }
}

/// Members `n1`, `n2`, ... under a majority.
pub fn cluster(members: u64) -> Configuration {
    let names: Vec<String> = (1..=members).map(|id| format!("n{id}")).collect();
    let member = |(id, name): (u64, &String)| Member {
        id: NodeId(id),
        slot: id as u8 - 1,
        name: name.clone(),
        learner: false,
        peer_urls: vec![format!("http://{name}")],
        client_urls: Vec::new(),
        life: Life::UNKNOWN,
    };
    Configuration {
        members: (1..).zip(&names).map(member).collect(),
        quorum: format!("majority({})", names.join(", ")),
        joint: None,
        rule: BallotRule::SharedTerms,
        protocol: cluster::Protocol::Raft,
        limits: Vec::new(),
        change: ChangeState::default(),
    }
}

/// What member 1 of three is born with.
pub fn born() -> Born {
    Born { cluster: 7, member: NodeId(1), config: cluster(3) }
}

pub fn start(place: &Place, mark: u32) -> Result<Opened, Refused> {
    start_wanting(place, mark, &Wanted::default())
}

pub fn start_wanting(place: &Place, mark: u32, wanted: &Wanted) -> Result<Opened, Refused> {
    start_as(place, mark, wanted, born())
}

pub fn start_as(place: &Place, mark: u32, wanted: &Wanted, born: Born) -> Result<Opened, Refused> {
    let known = match member::open::identify(place)? {
        Some(known) => known,
        None => Known::begin(born, 100 + u64::from(mark)),
    };
    let draws = Draws { mark, key: 1000 + u64::from(mark) };
    let how = How { wanted, options: SMALL, on_damage: OnDamage::Repair, draws };
    member::open::open(place, known, &how)
}
