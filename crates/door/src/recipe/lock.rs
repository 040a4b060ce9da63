//! A lock: held by the oldest key under its name.

use super::line::{Held, Line};
use super::{Heard, Lost, Recipe, Step};
use base::Blob;
use mvcc::{Command, DeleteRequest};

/// Waits for a lock. It is held for as long as the key is there, and so for as long as the lease.
#[derive(Debug)]
pub struct Lock(Line);

impl Lock {
    /// `name` says which lock; who asks again under the same lease finds its own place.
    pub fn new(name: &[u8], lease: i64) -> Self {
        Self(Line::new(name, Blob::default(), lease))
    }
}

impl Recipe for Lock {
    type Gain = Held;

    fn begin(&mut self) -> Step<Held> {
        self.0.begin()
    }

    fn next(&mut self, heard: Heard) -> Result<Step<Held>, Lost> {
        self.0.next(heard)
    }
}

/// Gives a lock up, or a place in its line.
pub fn unlock(key: Blob) -> Command {
    Command::Delete(DeleteRequest { key, ..DeleteRequest::default() })
}
