//! What a change and its state look like as bytes. Decoders are bounded and never panic.

use super::{Change, ChangeError, ChangeState, Newcomer};
use crate::lists::{get_len, get_strings, put_strings};
use alloc::string::String;
use alloc::vec::Vec;
use base::NodeId;
use base::codec::{DecodeError, Get, Put};
use base::limits::{MEMBERS_MAX, REMOVED_MAX};

impl ChangeState {
    /// `marks`: whether the list of members marked out follows.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, marks: bool) {
        out.put_request_id(self.request);
        out.put_u64(self.promote.unwrap_or(NodeId::ZERO).0);
        out.put_u64(self.remove.unwrap_or(NodeId::ZERO).0);
        put_text(out, self.quorum.as_deref());
        out.put_u32(u32::try_from(self.removed.len()).expect("bounded by REMOVED_MAX"));
        for (id, name) in &self.removed {
            out.put_u64(id.0);
            out.put_bytes(name.as_bytes());
        }
        assert!(marks || self.out.is_empty(), "a version without marks loses none");
        if marks {
            out.put_u32(u32::try_from(self.out.len()).expect("members are few"));
            self.out.iter().for_each(|id| out.put_u64(id.0));
        }
    }

    /// `marks`: as in [`ChangeState::encode`].
    pub(crate) fn decode(get: &mut Get<'_>, marks: bool) -> Result<Self, DecodeError> {
        let request = get.request_id()?;
        let promote = Some(NodeId(get.u64()?)).filter(|id| *id != NodeId::ZERO);
        let remove = Some(NodeId(get.u64()?)).filter(|id| *id != NodeId::ZERO);
        let quorum = get_text(get)?;
        let mut removed = Vec::new();
        for _ in 0..get_len(get, REMOVED_MAX)? {
            removed.push((NodeId(get.u64()?), String::from(get.str()?)));
        }
        let mut out = Vec::new();
        if marks {
            for _ in 0..get_len(get, MEMBERS_MAX)? {
                out.push(NodeId(get.u64()?));
            }
        }
        Ok(Self {
            request,
            promote,
            remove,
            quorum,
            removed,
            out,
            founding: false,
            slot_last: None,
        })
    }
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    out.put_u8(u8::from(text.is_some()));
    if let Some(text) = text {
        out.put_bytes(text.as_bytes());
    }
}

fn get_text(get: &mut Get<'_>) -> Result<Option<String>, DecodeError> {
    if get.bool()? { Ok(Some(String::from(get.str()?))) } else { Ok(None) }
}

impl Newcomer {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.id.0);
        out.put_bytes(self.name.as_bytes());
        put_strings(out, &self.peer_urls);
    }

    fn decode(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        let (id, name) = (NodeId(get.u64()?), String::from(get.str()?));
        Ok(Self { id, name, peer_urls: get_strings(get)? })
    }
}

impl Change {
    /// Appends kind and fields to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Add { member, learner, quorum } => {
                out.put_u8(1);
                member.encode(out);
                out.put_u8(u8::from(*learner));
                put_text(out, quorum.as_deref());
            }
            Self::Promote { id, quorum } | Self::Remove { id, quorum } => {
                out.put_u8(if matches!(self, Self::Promote { .. }) { 2 } else { 3 });
                out.put_u64(id.0);
                put_text(out, quorum.as_deref());
            }
            Self::Update { id, peer_urls } => {
                out.put_u8(4);
                out.put_u64(id.0);
                put_strings(out, peer_urls);
            }
            Self::Replace { old, member, quorum } => {
                out.put_u8(5);
                out.put_u64(old.0);
                member.encode(out);
                put_text(out, quorum.as_deref());
            }
            Self::Quorum { text } => {
                out.put_u8(6);
                out.put_bytes(text.as_bytes());
            }
            Self::Publish { id, name, client_urls } => {
                out.put_u8(7);
                out.put_u64(id.0);
                out.put_bytes(name.as_bytes());
                put_strings(out, client_urls);
            }
        }
    }

    /// Never panics, whatever the bytes are.
    ///
    /// # Errors
    /// Bytes that end too early, a kind that is not known, a list or text that is too long.
    pub fn decode(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        let id = |get: &mut Get<'_>| Ok::<_, DecodeError>(NodeId(get.u64()?));
        Ok(match get.u8()? {
            1 => {
                let (member, learner) = (Newcomer::decode(get)?, get.bool()?);
                Self::Add { member, learner, quorum: get_text(get)? }
            }
            2 => Self::Promote { id: id(get)?, quorum: get_text(get)? },
            3 => Self::Remove { id: id(get)?, quorum: get_text(get)? },
            4 => Self::Update { id: id(get)?, peer_urls: get_strings(get)? },
            5 => {
                let (old, member) = (id(get)?, Newcomer::decode(get)?);
                Self::Replace { old, member, quorum: get_text(get)? }
            }
            6 => Self::Quorum { text: String::from(get.str()?) },
            7 => {
                let (id, name) = (id(get)?, String::from(get.str()?));
                Self::Publish { id, name, client_urls: get_strings(get)? }
            }
            n => return Err(DecodeError::Unknown { what: "change", value: u64::from(n) }),
        })
    }
}

impl ChangeError {
    /// Appends kind and text to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, text) = match self {
            Self::MemberNotFound => (1, ""),
            Self::IdExists => (2, ""),
            Self::PeerUrlsExist => (3, ""),
            Self::NotLearner => (4, ""),
            Self::LearnerNotReady => (5, ""),
            Self::TooManyLearners => (6, ""),
            Self::NotEnoughStarted(why) => (7, &why[..]),
            Self::Pending(why) => (8, &why[..]),
            Self::Invalid(why) => (9, &why[..]),
        };
        out.put_u8(kind);
        out.put_bytes(text.as_bytes());
    }

    /// Never panics, whatever the bytes are.
    ///
    /// # Errors
    /// Bytes that end too early, a kind that is not known, a list or text that is too long.
    pub fn decode(get: &mut Get<'_>) -> Result<Self, DecodeError> {
        let (kind, text) = (get.u8()?, String::from(get.str()?));
        Ok(match kind {
            1 => Self::MemberNotFound,
            2 => Self::IdExists,
            3 => Self::PeerUrlsExist,
            4 => Self::NotLearner,
            5 => Self::LearnerNotReady,
            6 => Self::TooManyLearners,
            7 => Self::NotEnoughStarted(text),
            8 => Self::Pending(text),
            9 => Self::Invalid(text),
            n => return Err(DecodeError::Unknown { what: "change error", value: u64::from(n) }),
        })
    }
}
