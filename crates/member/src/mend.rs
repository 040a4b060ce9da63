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

/// What a member retains of these revisions, as it is said to the one that asks. Nothing of what is
/// longer than an answer may be, and nothing where a part cannot be read here either.
pub fn answer(view: &View, revisions: &Range<i64>, values: &mut dyn Values) -> Vec<u8> {
    let mut out = Vec::new();
    let found = view.versions_between(revisions.start, revisions.end, values);
    let Some(versions) = found else {
        let _why = values.take_trouble();
        return out;
    };
    let mut one = Vec::new();
    for version in versions {
        one.clear();
        version.encode(&mut one);
        out.put_bytes(&one);
        if out.len() > MEND_BYTES_MAX {
            return Vec::new();
        }
    }
    out
}

/// Takes what a peer answered; whether nothing is missing of these revisions any more. `view` says
/// what is to be there.
///
/// # Errors
/// Bytes that are no versions.
pub fn take(
    archive: &Archive,
    view: &View,
    revisions: &Range<i64>,
    bytes: &[u8],
) -> Result<bool, DecodeError> {
    let (mut get, mut versions) = (Get::new(bytes), Vec::new());
    while get.remaining() > 0 {
        versions.push(Version::decode(get.bytes()?)?);
    }
    let wanted = view.settled_between(revisions.start, revisions.end);
    Ok(archive.wounds().give(revisions, &wanted, versions))
}
