//! Who this data directory belongs to.

use crate::disk::{again, read_all};
use crate::frame::{Form, seal};
use crate::reserve::replace;
use crate::{StoreError, disk};
use base::codec::{DecodeError, Get, Put};
use base::limits::PEERS_MET_MAX;
use base::{Incarnation, NodeId};
use wal::Disk;

const NAME: &str = "identity";
const FORM: Form = Form { magic: b"QIDNT\0\0\0", version: 3 };

/// A peer as this member knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    pub member: NodeId,
    /// As first met.
    pub birth: u64,
    /// The highest one met.
    pub incarnation: Incarnation,
}

/// Born at bootstrap or join; rewritten at each start with the next incarnation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Covers the bootstrap configuration.
    pub cluster: u64,
    pub member: NodeId,
    /// Random at creation: an emptied directory comes back with another one, and is refused.
    pub birth: u64,
    pub incarnation: Incarnation,
    /// The bootstrap configuration, encoded.
    pub config: Vec<u8>,
    pub peers: Vec<Met>,
    /// Why this directory may never be started again; empty when it may.
    pub void: String,
    /// The key of the journal, if none of a repair's is in force; zero when it is not known.
    pub journal_key: u64,
}

impl Identity {
    fn encode(&self) -> Vec<u8> {
        let mut out = FORM.begin();
        out.put_u64(self.cluster);
        out.put_u64(self.member.0);
        out.put_u64(self.birth);
        out.put_u64(self.incarnation.0);
        out.put_bytes(&self.config);
        out.put_u32(u32::try_from(self.peers.len()).expect("members are few"));
        for met in &self.peers {
            out.put_u64(met.member.0);
            out.put_u64(met.birth);
            out.put_u64(met.incarnation.0);
        }
        out.put_bytes(self.void.as_bytes());
        out.put_u64(self.journal_key);
        seal(&mut out);
        out
    }

    fn decode(mut get: Get<'_>) -> Result<Self, DecodeError> {
        let mut identity = Self {
            cluster: get.u64()?,
            member: NodeId(get.u64()?),
            birth: get.u64()?,
            incarnation: Incarnation(get.u64()?),
            config: get.bytes()?.to_vec(),
            peers: Vec::new(),
            void: String::new(),
            journal_key: 0,
        };
        let met = get.u32()? as usize;
        if met > PEERS_MET_MAX {
            return Err(DecodeError::Invalid { what: "number of peers met" });
        }
        for _ in 0..met {
            let (member, birth) = (NodeId(get.u64()?), get.u64()?);
            identity.peers.push(Met { member, birth, incarnation: Incarnation(get.u64()?) });
        }
        identity.void = get.str()?.to_owned();
        identity.journal_key = get.u64()?;
        get.finish()?;
        Ok(identity)
    }
}

/// The identity, or `None` in a directory that has never had one. Errors: `Io`, `Corrupt`,
/// `Unknown`.
pub fn read_identity(disk: &mut dyn Disk) -> Result<Option<Identity>, StoreError> {
    again(|| read_once(disk))
}

fn read_once(disk: &mut dyn Disk) -> Result<Option<Identity>, StoreError> {
    if !disk::names(disk)?.iter().any(|n| n == NAME) {
        return Ok(None);
    }
    let bytes = read_all(disk, NAME)?;
    let (fields, _) = FORM.open(NAME, &bytes)?;
    Identity::decode(fields).map(Some).map_err(|e| StoreError::corrupt(NAME, 12, e.to_string()))
}

/// Replaces the identity atomically and durably. Errors: `Io`, `NoRoom`.
pub fn write_identity(disk: &mut dyn Disk, identity: &Identity) -> Result<(), StoreError> {
    replace(disk, ("identity.tmp", NAME), &identity.encode())
}
