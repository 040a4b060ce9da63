//! What members ask of each other where a disk has damaged values, and how long that is waited for.

use crate::archive::Archive;
use base::Nanos;
use base::codec::{DecodeError, Get, Put};
use base::limits::MEND_BYTES_MAX;
use mvcc::{Values, Version, View};
use std::ops::Range;

/// How often an entry's values are looked for before the member gives up, and the pause between:
/// other members may give what is damaged meanwhile.
pub const FETCH_TRIES: u32 = 20;
pub const FETCH_PAUSE: Nanos = Nanos::from_millis(500);

/// What is asked for, as it is said to the peer.
pub fn encode_ask(revisions: &Range<i64>, out: &mut Vec<u8>) {
    out.put_i64(revisions.start);
    out.put_i64(revisions.end);
}

/// The inverse of [`encode_ask`].
///
/// # Errors
/// Bytes that ask for nothing.
pub fn decode_ask(bytes: &[u8]) -> Result<Range<i64>, DecodeError> {
    let mut get = Get::new(bytes);
    let revisions = get.i64()?..get.i64()?;
    get.finish()?;
    if revisions.is_empty() || revisions.start < 0 {
        return Err(DecodeError::Invalid { what: "revisions" });
    }
    Ok(revisions)
}

/// What a member retains of these revisions, as it is said to the one that asks: of the first of
/// them, as far as an answer goes and they can be read here, and which one is next.
pub fn answer(view: &View, revisions: &Range<i64>, values: &mut dyn Values) -> Vec<u8> {
    let Range { start, end } = *revisions;
    let (versions, next) = view.versions_between(start, end, MEND_BYTES_MAX, values);
    let _why = values.take_trouble();
    let (mut out, mut one) = (Vec::new(), Vec::new());
    out.put_i64(next);
    for version in versions {
        one.clear();
        version.encode(&mut one);
        out.put_bytes(&one);
    }
    out
}

/// Takes what a peer answered: from which revision on it is to be asked for the rest. `view` says
/// what is to be there.
///
/// # Errors
/// Bytes that are no answer.
pub fn take(
    archive: &Archive,
    view: &View,
    revisions: &Range<i64>,
    bytes: &[u8],
) -> Result<Taken, DecodeError> {
    let (mut get, mut versions) = (Get::new(bytes), Vec::new());
    let next = get.i64()?;
    while get.remaining() > 0 {
        versions.push(Version::decode(get.bytes()?)?);
    }
    let given = revisions.start..next.min(revisions.end);
    let wanted = view.settled_between(given.start, given.end);
    let needed = (&wanted[..], view.compact_revision());
    if !given.is_empty() && archive.wounds().give(&given, needed, versions) {
        return Ok(Taken { gave: true, next: given.end });
    }
    // It cannot read these itself, and may read some behind them.
    let part = (revisions.end - revisions.start) / PARTS;
    Ok(Taken { gave: false, next: revisions.start + part.max(1) })
}

/// In how many places, about, a peer is asked for what it cannot give from its start on.
const PARTS: i64 = 64;

/// What came of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether something is not missing any more.
    pub gave: bool,
    /// The revision from which on the same peer may have more.
    pub next: i64,
}
