//! What a newcomer asks the running members, and what it is told: one question, one answer.

use crate::hello::PROTOCOL;
use crate::open::Born;
use base::NodeId;
use base::codec::{DecodeError, Get, Put};
use base::limits::URLS_MAX;
use cluster::Configuration;

/// The question: whose peer URLs are these?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub peer_urls: Vec<String>,
    /// The birth of the directory that is to be made.
    pub birth: u64,
}

/// Why a newcomer is not told who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum No {
    /// Another member, or this one a little later, may know.
    NotYet(String),
    Never(String),
}

impl Ask {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(PROTOCOL);
        out.put_u64(self.birth);
        out.put_u32(self.peer_urls.len() as u32);
        self.peer_urls.iter().for_each(|url| out.put_bytes(url.as_bytes()));
    }

    /// # Errors
    /// Bytes that are no question of this protocol version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut get = Get::new(bytes);
        let protocol = get.u32()?;
        if protocol != PROTOCOL {
            let value = u64::from(protocol);
            return Err(DecodeError::Unknown { what: "protocol version", value });
        }
        let birth = get.u64()?;
        let count = get.u32()?;
        if count as usize > URLS_MAX {
            return Err(DecodeError::Invalid { what: "number of peer URLs" });
        }
        let urls = (0..count).map(|_| Ok(get.str()?.to_string()));
        let peer_urls = urls.collect::<Result<_, DecodeError>>()?;
        get.finish()?;
        Ok(Self { peer_urls, birth })
    }
}

/// The answer's payload.
pub fn encode_answer(answer: &Result<Born, No>, out: &mut Vec<u8>) {
    match answer {
        Ok(born) => {
            out.put_u8(1);
            out.put_u64(born.cluster);
            out.put_u64(born.member.0);
            out.put_bytes(&born.config.encode());
        }
        Err(no) => {
            let (kind, text) = match no {
                No::NotYet(text) => (2, text),
                No::Never(text) => (3, text),
            };
            out.put_u8(kind);
            out.put_bytes(text.as_bytes());
        }
    }
}

/// The inverse of [`encode_answer`].
///
/// # Errors
/// Bytes that are no answer.
pub fn decode_answer(bytes: &[u8]) -> Result<Result<Born, No>, DecodeError> {
    let mut get = Get::new(bytes);
    let answer = match get.u8()? {
        1 => Ok(Born {
            cluster: get.u64()?,
            member: NodeId(get.u64()?),
            config: Configuration::decode(get.bytes()?)?,
        }),
        2 => Err(No::NotYet(get.str()?.to_string())),
        3 => Err(No::Never(get.str()?.to_string())),
        n => return Err(DecodeError::Unknown { what: "answer", value: u64::from(n) }),
    };
    get.finish()?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_urls_are_read_as_a_member_may_have() {
        for (more, fits) in [(0, true), (1, false)] {
            let peer_urls = vec!["http://h:1".to_string(); URLS_MAX + more];
            let mut bytes = Vec::new();
            Ask { peer_urls, birth: 9 }.encode(&mut bytes);
            assert_eq!(Ask::decode(&bytes).is_ok(), fits, "{more} more");
        }
    }

    #[test]
    fn question_and_answers_survive_their_encoding() {
        let ask = Ask { peer_urls: vec!["http://h:1".to_string()], birth: 9 };
        let mut bytes = Vec::new();
        ask.encode(&mut bytes);
        assert_eq!(Ask::decode(&bytes), Ok(ask));
        bytes[0] ^= 64;
        assert!(Ask::decode(&bytes).is_err(), "another version of the protocol");
        let config = crate::sample::configuration(&[], "majority(a)");
        let born = Born { cluster: 3, member: NodeId(4), config };
        for answer in [Ok(born), Err(No::NotYet("a".into())), Err(No::Never("b".into()))] {
            let mut bytes = Vec::new();
            encode_answer(&answer, &mut bytes);
            assert_eq!(decode_answer(&bytes), Ok(answer));
        }
        assert!(decode_answer(b"\x09").is_err());
    }
}
