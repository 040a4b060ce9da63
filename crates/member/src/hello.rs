//! The handshake: both sides say who they are, and the first difference is named.

use crate::difference::difference;
use base::codec::{DecodeError, Get, Put};
use base::limits::URLS_MAX;
use base::{Birth, Incarnation, Life, NodeId};
use cluster::Configuration;
use std::sync::Arc;

const MAGIC: u64 = u64::from_le_bytes(*b"quorate\n");
/// Version of what members say to each other after the handshake.
pub const PROTOCOL: u32 = 10;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Messages, dialer to acceptor.
    Stream,
    /// One checkpoint, dialer to acceptor, or questions for damaged values.
    Bulk,
}

/// Who a member is, as its data directory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub purpose: Purpose,
    pub protocol: u32,
    pub cluster: u64,
    pub member: NodeId,
    /// Whom the sender believes to be talking to.
    pub to: NodeId,
    pub incarnation: Incarnation,
    /// Drawn once when the data directory was made: another one means another directory.
    pub birth: u64,
    /// The bootstrap configuration: also what cannot be reconciled is named.
    pub config: Arc<Configuration>,
    /// Where the sender serves clients; the bootstrap configuration cannot know it.
    pub client_urls: Vec<String>,
    /// Its name, and where members reach it: the configuration of a member that lags behind knows
    /// neither.
    pub name: String,
    pub peer_urls: Vec<String>,
}

impl Hello {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(MAGIC);
        out.put_u32(self.protocol);
        out.put_u8(match self.purpose {
            Purpose::Stream => 1,
            Purpose::Bulk => 2,
        });
        out.put_u64(self.cluster);
        out.put_u64(self.member.0);
        out.put_u64(self.to.0);
        out.put_u64(self.incarnation.0);
        out.put_u64(self.birth);
        out.put_bytes(&self.config.encode());
        out.put_bytes(self.name.as_bytes());
        for urls in [&self.client_urls, &self.peer_urls] {
            out.put_u32(urls.len() as u32);
            urls.iter().for_each(|url| out.put_bytes(url.as_bytes()));
        }
    }

    /// # Errors
    /// Bytes that are no hello of this product.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut get = Get::new(bytes);
        if get.u64()? != MAGIC {
            return Err(DecodeError::Invalid { what: "magic, this is no quorate member" });
        }
        let protocol = get.u32()?;
        if protocol != PROTOCOL {
            // What follows has another shape.
            let value = u64::from(protocol);
            return Err(DecodeError::Unknown { what: "protocol version", value });
        }
        let purpose = match get.u8()? {
            1 => Purpose::Stream,
            2 => Purpose::Bulk,
            n => return Err(DecodeError::Unknown { what: "purpose", value: u64::from(n) }),
        };
        let mut hello = Self {
            protocol,
            purpose,
            cluster: get.u64()?,
            member: NodeId(get.u64()?),
            to: NodeId(get.u64()?),
            incarnation: Incarnation(get.u64()?),
            birth: get.u64()?,
            config: Arc::new(Configuration::decode(get.bytes()?)?),
            name: get.str()?.to_string(),
            client_urls: Vec::new(),
            peer_urls: Vec::new(),
        };
        for urls in [&mut hello.client_urls, &mut hello.peer_urls] {
            let count = get.u32()?;
            if count as usize > URLS_MAX {
                return Err(DecodeError::Invalid { what: "number of URLs" });
            }
            for _ in 0..count {
                urls.push(get.str()?.to_string());
            }
        }
        get.finish()?;
        Ok(hello)
    }

    /// Whether who answered `self` is the member that it was said to.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn is_answered_by(&self, other: &Self) -> Result<(), String> {
        if other.member != self.to {
            return Err(format!("it is member {:x}, expected {:x}", other.member.0, self.to.0));
        }
        self.difference(other).map_or(Ok(()), Err)
    }

    /// Who says this.
    pub fn life(&self) -> Life {
        Life { birth: Birth(self.birth), incarnation: self.incarnation }
    }

    /// The first difference that forbids `self` (here) to talk with `other`, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.cluster != other.cluster {
            let why = difference(&self.config, &other.config);
            let why = why.unwrap_or_else(|| "another --initial-cluster-token".to_string());
            let (here, there) = (self.cluster, other.cluster);
            return Some(format!("cluster id {here:x} here, {there:x} there: {why}"));
        }
        if self.member != other.to {
            return Some(format!("this is member {:x}, not {:x}", self.member.0, other.to.0));
        }
        if self.member == other.member {
            return Some(format!("both are member {:x}", self.member.0));
        }
        if let Some(why) = difference(&self.config, &other.config) {
            return Some(format!("bootstrap configurations differ: {why}"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::limits::*;

    fn config(quorum: &str) -> Configuration {
        let limits = vec![("quota_bytes".to_string(), 9)];
        Configuration { limits, ..crate::sample::configuration(&[], quorum) }
    }

    fn hello(member: u64, to: u64) -> Hello {
        Hello {
            purpose: Purpose::Stream,
            protocol: PROTOCOL,
            cluster: 7,
            member: NodeId(member),
            to: NodeId(to),
            incarnation: Incarnation(3),
            birth: 9,
            config: Arc::new(config("majority(a, b)")),
            client_urls: vec!["http://h:1".to_string()],
            name: "a".to_string(),
            peer_urls: vec!["http://h:2".to_string()],
        }
    }

    #[test]
    fn a_hello_survives_its_encoding_and_strangers_are_refused() {
        let mut bytes = Vec::new();
        hello(1, 2).encode(&mut bytes);
        assert_eq!(Hello::decode(&bytes), Ok(hello(1, 2)));
        bytes[0] ^= 1;
        assert!(Hello::decode(&bytes).is_err());
        assert!(Hello::decode(b"GET / HTTP/1.1").is_err());
    }

    /// All texts as long as they may be, and as many members as that leaves room for.
    #[test]
    fn the_largest_hello_fits_its_frame() {
        let long = |n: usize| "x".repeat(MEMBER_TEXT_BYTES_MAX - n.min(1));
        let urls = vec![long(0); URLS_MAX];
        let mut config = config(&"a".repeat(QUORUM_TEXT_BYTES_MAX));
        let member = |slot: usize, urls: usize| cluster::Member {
            id: NodeId(1 + slot as u64),
            slot: slot as u8,
            name: long(slot),
            learner: false,
            peer_urls: vec![long(0); urls],
            client_urls: Vec::new(),
            life: Life::UNKNOWN,
        };
        config.members = (0..MEMBERS_MAX).map(|slot| member(slot, 1)).collect();
        assert!(config.encode().len() <= BOOTSTRAP_BYTES_MAX, "64 members of one URL are taken");
        let room = |config: &Configuration| BOOTSTRAP_BYTES_MAX - config.encode().len();
        while room(&config) > MEMBER_TEXT_BYTES_MAX + 4 {
            config.members[0].peer_urls.push(long(0));
        }
        let rest = room(&config) - 4;
        config.members[0].peer_urls.push("x".repeat(rest));
        assert_eq!(config.encode().len(), BOOTSTRAP_BYTES_MAX);
        let largest = Hello {
            config: Arc::new(config),
            client_urls: urls.clone(),
            name: long(0),
            peer_urls: urls,
            ..hello(1, 2)
        };
        let mut bytes = Vec::new();
        largest.encode(&mut bytes);
        // A frame has its version and kind before them.
        assert!(bytes.len() + 2 <= HELLO_BYTES_MAX, "{}", bytes.len());
        assert_eq!(Hello::decode(&bytes), Ok(largest));
    }

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(hello(1, 2).difference(&hello(2, 1)), None);
        let other = Hello { cluster: 8, ..hello(2, 1) };
        assert!(hello(1, 2).difference(&other).expect("differs").contains("cluster id"));
        let text = hello(1, 2).difference(&other).expect("differs");
        assert!(text.ends_with("8 there: another --initial-cluster-token"), "{text}");
        let strict = Arc::new(config("all of (a, b)"));
        let other = Hello { cluster: 8, config: Arc::clone(&strict), ..hello(2, 1) };
        let text = hello(1, 2).difference(&other).expect("differs");
        let named = "quorum \"majority(a, b)\" here, \"all of (a, b)\" there";
        assert!(text.ends_with(named), "{text}");
        let other = Hello { config: strict, ..hello(2, 1) };
        let text = hello(1, 2).difference(&other).expect("differs");
        assert!(text.ends_with(named), "{text}");
        let other = Hello { to: NodeId(3), ..hello(2, 1) };
        assert_eq!(hello(1, 2).difference(&other).as_deref(), Some("this is member 1, not 3"));
        let twin = hello(1, 1).difference(&hello(1, 1));
        assert_eq!(twin.as_deref(), Some("both are member 1"));
        assert_eq!(hello(1, 2).is_answered_by(&hello(2, 1)), Ok(()));
        let text = hello(1, 2).is_answered_by(&hello(3, 1)).expect_err("another one");
        assert_eq!(text, "it is member 3, expected 2");
    }

    #[test]
    fn another_protocol_version_is_named_before_its_bytes_are_read() {
        let mut bytes = Vec::new();
        Hello { protocol: PROTOCOL + 1, ..hello(1, 2) }.encode(&mut bytes);
        bytes.truncate(12);
        let error = Hello::decode(&bytes).expect_err("unknown");
        assert!(error.to_string().contains("protocol version"), "{error}");
    }
}
