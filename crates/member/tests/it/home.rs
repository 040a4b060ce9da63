//! The three directories of a member on one disk, so that one count steps through all.

use base::{Life, NodeId};
use cluster::{BallotRule, ChangeState, Configuration, Member};
use member::{Archive, Born, Draws, How, Known, Opened, Refused, Wanted};
use std::io;
use store::{Home, OnDamage};
use wal::{Disk, MemDisk, Options};

pub const SMALL: Options = Options { segment_bytes: 1024, prefill_bytes: 0, spares_max: 1 };

#[derive(Clone, Default)]
pub struct Place(pub MemDisk);

impl Home for Place {
    fn disk(&self, part: &str) -> io::Result<Box<dyn Disk>> {
        Ok(Box::new(self.0.part(part)))
    }
    fn has(&self, part: &str) -> bool {
        self.0.has_part(part)
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
    let (archive, reserve_bytes) = (Archive::new(0), 4096);
    let on_damage = OnDamage::Repair;
    let how = How { wanted, options: SMALL, on_damage, draws, archive, reserve_bytes };
    member::open::open(place, known, &how)
}
