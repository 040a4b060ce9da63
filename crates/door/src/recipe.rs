//! Locks and elections made of transactions and watches, as etcd's `client/v3/concurrency` makes
//! them, so that clients of both meet in the same queue.
//!
//! Whoever wants something puts a key of its own, bound to its lease, under a common prefix, and
//! waits until no older key is left. Each recipe is a machine that says what to ask next and is
//! told what came; it holds no connection and can be carried out by anybody.

mod election;
mod line;
mod lock;
mod prefix;

pub use election::{Campaign, Observe, leader};
pub use line::Held;
pub use lock::{Lock, unlock};
pub use prefix::prefix_end;

use base::Blob;
use mvcc::{Event, RangeRequest, RangeResponse, TxnRequest, TxnResponse};

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// A transaction that writes.
    Write(TxnRequest),
    /// A linearizable read.
    Read(RangeRequest),
    /// Watch these keys from a revision on, in place of any watch before, and tell the first
    /// event. `range_end` as in [`RangeRequest`].
    Watch {
        /// The first key.
        key: Blob,
        /// The end, not included.
        range_end: Blob,
        /// The first revision that counts.
        from: i64,
    },
    /// Tell the next event of the same watch.
    Await,
    /// Something to hand on; there is more to come.
    Tell(T),
    /// What was wanted.
    Done(T),
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The transaction's answer.
    Written(TxnResponse),
    /// What the read found.
    Read(RangeResponse),
    /// The next event of the watch.
    Event(Event),
    /// The watch cannot tell what happened: it is compacted.
    Compacted,
    /// It was handed on.
    Told,
}

/// Why a recipe ended without what was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The key is gone, with its lease or by somebody's hand.
    Expired,
    /// An answer that does not fit the question.
    Nonsense,
}

/// A recipe under way. What it is told must be what came of its last step.
pub trait Recipe {
    /// What it is for.
    type Gain;

    /// The first step.
    fn begin(&mut self) -> Step<Self::Gain>;

    /// The step after the one that this came of.
    ///
    /// # Errors
    /// Nothing can come of it any more.
    fn next(&mut self, heard: Heard) -> Result<Step<Self::Gain>, Lost>;
}

#[cfg(test)]
mod tests;
