//! An election: led by the owner of the oldest key under its name.

use super::line::{Held, Line};
use super::prefix::{oldest, prefix_end};
use super::{Heard, Lost, Recipe, Step};
use base::Blob;
use mvcc::{EventKind, KeyValue, RangeRequest};

/// Waits to be the leader. What a leader may do then is [`Held::proclaim`] and [`Held::resign`].
#[derive(Debug)]
pub struct Campaign(Line);

impl Campaign {
    /// `value` is what the leader is known by.
    pub fn new(name: &[u8], value: Blob, lease: i64) -> Self {
        Self(Line::new(name, value, lease))
    }
}

impl Recipe for Campaign {
    type Gain = Held;

    fn begin(&mut self) -> Step<Held> {
        self.0.begin()
    }

    fn next(&mut self, heard: Heard) -> Result<Step<Held>, Lost> {
        self.0.next(heard)
    }
}

/// Asks who leads: the key found, if any, is the leader's.
pub fn leader(name: &[u8]) -> RangeRequest {
    oldest(&prefix(name))
}

fn prefix(name: &[u8]) -> Blob {
    Blob::from([name, b"/"].concat())
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Looking,
    /// Nobody leads: the first to come does.
    Empty,
    /// A leader was found and is told; what it says next is watched from this revision on.
    Telling {
        from: i64,
    },
    Following,
}

/// Tells of every leader there is from now on, and of everything a leader proclaims; it ends
/// never. Leaders that came and went between two looks may be left out.
#[derive(Debug)]
pub struct Observe {
    prefix: Blob,
    stage: Stage,
    /// The leader's key.
    key: Blob,
}

impl Observe {
    /// `name` says which election.
    pub fn new(name: &[u8]) -> Self {
        Self { prefix: prefix(name), stage: Stage::Looking, key: Blob::default() }
    }

    fn tell(&mut self, kv: KeyValue, from: i64) -> Step<KeyValue> {
        let looked = matches!(self.stage, Stage::Looking | Stage::Empty);
        assert!(looked, "a leader is found by looking");
        self.key = kv.key.clone();
        self.stage = Stage::Telling { from };
        Step::Tell(kv)
    }
}

impl Recipe for Observe {
    type Gain = KeyValue;

    fn begin(&mut self) -> Step<KeyValue> {
        self.stage = Stage::Looking;
        Step::Read(oldest(&self.prefix))
    }

    fn next(&mut self, heard: Heard) -> Result<Step<KeyValue>, Lost> {
        Ok(match (&self.stage, heard) {
            (Stage::Looking, Heard::Read(found)) => {
                let from = found.revision + 1;
                match found.kvs.into_iter().next() {
                    Some(kv) => self.tell(kv, from),
                    None => {
                        self.stage = Stage::Empty;
                        let (key, range_end) = (self.prefix.clone(), prefix_end(&self.prefix));
                        Step::Watch { key, range_end, from }
                    }
                }
            }
            (Stage::Empty, Heard::Event(event)) if event.kind == EventKind::Put => {
                let from = event.kv.mod_revision + 1;
                self.tell((*event.kv).clone(), from)
            }
            (Stage::Empty, Heard::Event(_)) => Step::Await,
            (Stage::Telling { from }, Heard::Told) => {
                let (key, from) = (self.key.clone(), *from);
                self.stage = Stage::Following;
                // What was proclaimed since then is the watch's first event.
                Step::Watch { key, range_end: Blob::default(), from }
            }
            (Stage::Following, Heard::Told) => Step::Await,
            (Stage::Following, Heard::Event(event)) if event.kind == EventKind::Put => {
                Step::Tell((*event.kv).clone())
            }
            (Stage::Following, Heard::Event(_))
            | (Stage::Empty | Stage::Following, Heard::Compacted) => self.begin(),
            _ => return Err(Lost::Nonsense),
        })
    }
}
