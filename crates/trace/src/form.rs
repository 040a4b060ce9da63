//! How ids and sets are written. All of them are texts: a number of 64 bits is not safe in every
//! reader of JSON.

use base::{Ballot, Incarnation, NodeId, RequestId};
use quorum::NodeSet;
use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use std::fmt;
use std::fmt::Display;

/// A text that is parsed where it stands; borrowed and owned input are both fine.
struct Text<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text)
            .ok_or_else(|| E::custom(format_args!("{text:?} is no {}", self.expected)))
    }
}

macro_rules! form {
    ($name:ident, $type:ty, $expected:literal, $show:expr, $parse:expr) => {
        pub mod $name {
            use super::*;

            pub fn serialize<S: Serializer>(value: &$type, out: S) -> Result<S::Ok, S::Error> {
                let show: fn(&$type) -> String = $show;
                out.serialize_str(&show(value))
            }

            pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                from.deserialize_str(Text::<$type> { expected: $expected, parse: $parse })
            }
        }
    };
}

form!(ballot, Ballot, "ballot (term.node)", shown, |text| {
    let (term, node) = text.split_once('.')?;
    Some(Ballot::new(term.parse().ok()?, node.parse().ok()?))
});

form!(request, RequestId, "request (origin/incarnation/sequence)", shown, |text| {
    let mut parts = text.split('/');
    let mut next = || parts.next()?.parse::<u64>().ok();
    let (origin, incarnation, seq) = (next()?, next()?, next()?);
    let id = RequestId { origin: NodeId(origin), incarnation: Incarnation(incarnation), seq };
    parts.next().is_none().then_some(id)
});

form!(set, NodeSet, "set (hexadecimal bits)", |set| format!("{:x}", set.bits()), |text| {
    let bits = hex(text)?;
    Some((0..64).filter(|slot| bits >> slot & 1 == 1).collect())
});

form!(hash, u64, "hash (16 hexadecimal digits)", |hash| format!("{hash:016x}"), hex);

fn shown<T: Display>(value: &T) -> String {
    value.to_string()
}

/// No sign, no prefix: only digits.
fn hex(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits { u64::from_str_radix(text, 16).ok() } else { None }
}

/// The request that an entry came from, where there is one.
pub mod maybe_request {
    use super::*;

    pub fn serialize<S: Serializer>(id: &Option<RequestId>, out: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => request::serialize(id, out),
            None => out.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<RequestId>, D::Error> {
        request::deserialize(from).map(Some)
    }
}
