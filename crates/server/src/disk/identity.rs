//! Who this data directory is: written once, and again at each start with the next incarnation.

use base::codec::{DecodeError, Get, Put};
use base::crc::crc32c;
use base::{Incarnation, NodeId};
use consensus::raft::Configuration;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

const FILE: &str = "identity";
const MAGIC: u64 = u64::from_le_bytes(*b"quorateI");
const VERSION: u8 = 1;

/// Everything a member must know before it reads its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster: u64,
    pub member: NodeId,
    /// Drawn when the directory was made.
    pub birth: u64,
    /// How many times this member has started; durable before it speaks.
    pub incarnation: Incarnation,
    /// The bootstrap configuration.
    pub config: Configuration,
}

impl Identity {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64(MAGIC);
        out.put_u8(VERSION);
        out.put_u64(self.cluster);
        out.put_u64(self.member.0);
        out.put_u64(self.birth);
        out.put_u64(self.incarnation.0);
        out.put_bytes(&self.config.encode());
        let crc = crc32c(&out);
        out.put_u32(crc);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let cut = bytes.len().checked_sub(4).ok_or(DecodeError::Truncated)?;
        let (body, sum) = bytes.split_at(cut);
        if Get::new(sum).u32()? != crc32c(body) {
            return Err(DecodeError::Invalid { what: "checksum" });
        }
        let mut get = Get::new(body);
        if get.u64()? != MAGIC {
            return Err(DecodeError::Invalid { what: "magic" });
        }
        match get.u8()? {
            VERSION => {}
            v => return Err(DecodeError::Unknown { what: "version", value: u64::from(v) }),
        }
        let identity = Self {
            cluster: get.u64()?,
            member: NodeId(get.u64()?),
            birth: get.u64()?,
            incarnation: Incarnation(get.u64()?),
            config: Configuration::decode(get.bytes()?)?,
        };
        get.finish()?;
        Ok(identity)
    }

    /// `None` when the directory was never bootstrapped.
    ///
    /// # Errors
    /// Those of the file system, and `InvalidData` for a damaged file.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Self::decode(&bytes).map(Some).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
        })
    }

    /// Atomic and durable on return.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let temporary = dir.join("identity.tmp");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&self.encode())?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join(FILE))?;
        fs::File::open(dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::raft::BallotRule;

    #[test]
    fn a_damaged_identity_is_never_believed() {
        let config = Configuration {
            members: Vec::new(),
            quorum: "a".to_string(),
            joint: None,
            rule: BallotRule::SharedTerms,
            limits: Vec::new(),
        };
        let identity = Identity {
            cluster: 1,
            member: NodeId(2),
            birth: 3,
            incarnation: Incarnation(4),
            config,
        };
        let bytes = identity.encode();
        assert_eq!(Identity::decode(&bytes), Ok(identity));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Identity::decode(&damaged).is_err(), "byte {at}");
            assert!(Identity::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
