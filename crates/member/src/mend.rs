//! What members ask of each other where a disk has damaged values, and how long that is waited for.

use crate::wounds::Wounds;
use base::Nanos;
use base::codec::{DecodeError, Get, Put};
use mvcc::{Age, Values, Version, View};

/// How often an entry's values are looked for before the member gives up, and the pause between:
/// other members may give what is damaged meanwhile.
pub const FETCH_TRIES: u32 = 20;
pub const FETCH_PAUSE: Nanos = Nanos::from_millis(500);

/// What is asked for: versions from an age on and before a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    from: Age,
    end: i64,
}

/// All that is asked of one peer, a part at a time. A revision may take several: what is given of
/// it counts once all of it is there.
#[derive(Clone)]
pub struct Asking {
    next: Age,
    wounds: Wounds,
}

impl Asking {
    pub fn new(wounds: Wounds) -> Self {
        Self { next: (i64::MIN, 0), wounds }
    }

    /// What is to be asked next; none at the end.
    pub fn next_ask(&self) -> Option<Ask> {
        let revisions = self.wounds.next_ask(self.next.0)?;
        Some(Ask { from: self.next.max((revisions.start, 0)), end: revisions.end })
    }

    /// Takes what the peer answered; whether anything is not missing any more. `view` says what is
    /// to be there.
    ///
    /// # Errors
    /// Bytes that are no answer.
    pub fn take(&mut self, ask: &Ask, view: &View, bytes: &[u8]) -> Result<bool, DecodeError> {
        let (mut get, mut versions) = (Get::new(bytes), Vec::new());
        let next = (get.i64()?, get.u32()?);
        while get.remaining() > 0 {
            versions.push(Version::decode(get.bytes()?)?);
        }
        let Ask { from, end } = *ask;
        if next <= from {
            // It cannot read these itself, and may read some behind them.
            self.next = (from.0 + ((end - from.0) / PARTS).max(1), 0);
            return Ok(false);
        }
        self.next = next.min((end, 0));
        let wanted = view.settled_between(from.0, end.min(self.next.0.saturating_add(1)));
        let revisions = from.0..self.next.0;
        Ok(self.wounds.give(&revisions, (&wanted, view.compact_revision()), versions))
    }
}

/// As it is said to the peer.
pub fn encode_ask(ask: &Ask, out: &mut Vec<u8>) {
    out.put_i64(ask.from.0);
    out.put_u32(ask.from.1);
    out.put_i64(ask.end);
}

/// The inverse of [`encode_ask`].
///
/// # Errors
/// Bytes that ask for nothing.
pub fn decode_ask(bytes: &[u8]) -> Result<Ask, DecodeError> {
    let mut get = Get::new(bytes);
    let ask = Ask { from: (get.i64()?, get.u32()?), end: get.i64()? };
    get.finish()?;
    if ask.from.0 < 0 || ask.from.0 >= ask.end {
        return Err(DecodeError::Invalid { what: "revisions" });
    }
    Ok(ask)
}

/// What a member retains of what is asked for, as it is said to the one that asks: of the first of
/// it about so many bytes, as far as it can be read here, and which one is next.
pub fn answer(view: &View, ask: &Ask, bytes_max: usize, values: &mut dyn Values) -> Vec<u8> {
    let (versions, next) = view.versions_between(ask.from, ask.end, bytes_max, values);
    let _why = values.take_trouble();
    let (mut out, mut one) = (Vec::new(), Vec::new());
    out.put_i64(next.0);
    out.put_u32(next.1);
    for version in versions {
        one.clear();
        version.encode(&mut one);
        out.put_bytes(&one);
    }
    out
}

/// In how many places, about, a peer is asked for what it cannot give from its start on.
const PARTS: i64 = 64;
