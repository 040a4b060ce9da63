//! A configuration as bytes (`docs/design/configuration.md`). Decoders are bounded and never panic.

use super::{BallotRule, Configuration, Member, Protocol};
use crate::change::ChangeState;
use crate::lists::{get_len, get_strings, put_len, put_strings};
use alloc::string::String;
use alloc::vec::Vec;
use base::codec::{DecodeError, Get, Put};
use base::crc::{crc32c, crc32c_append};
use base::limits::{LIMITS_MAX, MEMBERS_MAX};
use base::{Life, NodeId};
use quorum::NODES_MAX;

/// What a cluster is born with; a change makes it [`VERSION_CHANGED`].
const VERSION: u8 = 1;
const VERSION_CHANGED: u8 = 2;
/// With members marked out.
const VERSION_MARKED: u8 = 3;
/// With the lives of members, and the list of those marked out even when it is empty.
const VERSION_LIVES: u8 = 4;
/// As that, with the slot given last.
const VERSION_SLOTTED: u8 = 5;
/// As that, with the protocol; without it, the protocol is Raft.
const VERSION_PROTOCOL: u8 = 6;

impl Protocol {
    const fn code(self) -> u8 {
        match self {
            Self::Raft => 1,
        }
    }

    fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            1 => Ok(Self::Raft),
            _ => Err(DecodeError::Unknown { what: "protocol", value: u64::from(code) }),
        }
    }
}

impl BallotRule {
    const fn code(self) -> u8 {
        match self {
            Self::SharedTerms => 1,
            Self::TermAndNode => 2,
        }
    }

    fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            1 => Ok(Self::SharedTerms),
            2 => Ok(Self::TermAndNode),
            _ => Err(DecodeError::Unknown { what: "ballot rule", value: u64::from(code) }),
        }
    }
}

impl Configuration {
    /// Equal configurations have equal hashes; compared in the peer handshake.
    pub fn hash(&self) -> u64 {
        let bytes = self.encode();
        let low = crc32c(&bytes);
        let high = crc32c_append(low ^ 0x5155_4F52, &bytes);
        (u64::from(high) << 32) | u64::from(low)
    }

    /// The lowest that says all of it: one content has one encoding.
    fn version(&self) -> u8 {
        let changed = self.change != ChangeState::default();
        match (changed, self.change.out.is_empty()) {
            _ if self.protocol != Protocol::Raft => VERSION_PROTOCOL,
            _ if self.change.slot_last.is_some() => VERSION_SLOTTED,
            _ if self.change.founding || self.is_founded() => VERSION_LIVES,
            (false, _) => VERSION,
            (true, true) => VERSION_CHANGED,
            (true, false) => VERSION_MARKED,
        }
    }

    /// The bytes of a config entry, a checkpoint and the bootstrap record. Equal configurations
    /// have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let version = self.version();
        let change = &self.change;
        let plain = *change == ChangeState::default();
        assert!(version >= VERSION_CHANGED || plain, "a version without changes loses none");
        assert!(version >= VERSION_LIVES || !self.is_founded(), "nor one without lives");
        assert!(version >= VERSION_SLOTTED || change.slot_last.is_none(), "nor one without slot");
        out.put_u8(version);
        if version >= VERSION_PROTOCOL {
            out.put_u8(self.protocol.code());
        }
        out.put_u8(self.rule.code());
        out.put_bytes(self.quorum.as_bytes());
        out.put_u8(u8::from(self.joint.is_some()));
        if let Some(joint) = &self.joint {
            out.put_bytes(joint.as_bytes());
        }
        put_len(&mut out, self.members.len());
        for m in &self.members {
            out.put_u64(m.id.0);
            out.put_u8(m.slot);
            out.put_u8(u8::from(m.learner));
            out.put_bytes(m.name.as_bytes());
            put_strings(&mut out, &m.peer_urls);
            put_strings(&mut out, &m.client_urls);
        }
        put_len(&mut out, self.limits.len());
        for (name, value) in &self.limits {
            out.put_bytes(name.as_bytes());
            out.put_u64(*value);
        }
        if version >= VERSION_CHANGED {
            self.change.encode(&mut out, version >= VERSION_MARKED);
        }
        if version >= VERSION_LIVES {
            out.put_u8(u8::from(self.change.founding));
            self.members.iter().for_each(|m| out.put_life(m.life));
        }
        if version >= VERSION_SLOTTED {
            self.put_slot_last(version, &mut out);
        }
        out
    }

    /// From version 6 on there may be none.
    fn put_slot_last(&self, version: u8, out: &mut Vec<u8>) {
        if version >= VERSION_PROTOCOL {
            out.put_u8(u8::from(self.change.slot_last.is_some()));
        }
        out.extend(self.change.slot_last);
    }

    /// Reads a whole configuration; its quorum texts are checked by [`Configuration::compile`],
    /// not here.
    ///
    /// # Errors
    /// A version, protocol or ballot rule this build does not know, by name; bytes that end too
    /// early or go on; a content that has another encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut get = Get::new(bytes);
        let version = get.u8()?;
        if !(VERSION..=VERSION_PROTOCOL).contains(&version) {
            let value = u64::from(version);
            return Err(DecodeError::Unknown { what: "configuration version", value });
        }
        let protocol = match version {
            VERSION_PROTOCOL => Protocol::from_code(get.u8()?)?,
            _ => Protocol::Raft,
        };
        let rule = BallotRule::from_code(get.u8()?)?;
        let quorum = String::from(get.str()?);
        let joint = if get.bool()? { Some(String::from(get.str()?)) } else { None };
        let mut members = Vec::new();
        for _ in 0..get_len(&mut get, MEMBERS_MAX)? {
            members.push(get_member(&mut get)?);
        }
        let mut limits = Vec::new();
        for _ in 0..get_len(&mut get, LIMITS_MAX)? {
            limits.push((String::from(get.str()?), get.u64()?));
        }
        let mut change = match version {
            VERSION => ChangeState::default(),
            _ => ChangeState::decode(&mut get, version >= VERSION_MARKED)?,
        };
        if version >= VERSION_LIVES {
            change.founding = get.bool()?;
            for member in &mut members {
                member.life = get.life()?;
            }
        }
        if version == VERSION_SLOTTED || (version >= VERSION_PROTOCOL && get.bool()?) {
            change.slot_last = Some(get_slot(&mut get)?);
        }
        get.finish()?;
        let config = Self { protocol, members, quorum, joint, rule, limits, change };
        if config.version() != version {
            return Err(DecodeError::Invalid { what: "configuration version" });
        }
        Ok(config)
    }
}

/// A member without its life, which stands further on.
fn get_member(get: &mut Get<'_>) -> Result<Member, DecodeError> {
    let id = NodeId(get.u64()?);
    let slot = get.u8()?;
    let learner = get.bool()?;
    let name = String::from(get.str()?);
    let peer_urls = get_strings(get)?;
    let client_urls = get_strings(get)?;
    Ok(Member { id, slot, name, learner, peer_urls, client_urls, life: Life::UNKNOWN })
}

fn get_slot(get: &mut Get<'_>) -> Result<u8, DecodeError> {
    let slot = get.u8()?;
    if usize::from(slot) >= NODES_MAX {
        return Err(DecodeError::Invalid { what: "slot given last" });
    }
    Ok(slot)
}
