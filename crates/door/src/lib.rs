//! The store as any front sees it: what can be asked, what is answered, and how it is refused.
//!
//! It decides what a refusal says (outcome, reason, who could help), which revisions a watcher is
//! sent next, whose read has the next turn and which barriers share a round, and how locks and
//! elections are made of transactions. A front decodes, asks here and
//! encodes. The door knows no protocol: no protobuf, no HTTP, no text of etcd; and it does nothing
//! itself: no clock, thread, socket or file. What answers is a [`Door`]; all of its questions are
//! answered on the thread that asks, from a picture of the member that may be a moment old.
#![no_std]
#![deny(missing_docs)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod answer;
mod apart;
mod ask;
mod cursor;
mod facts;
mod feed;
mod query;
mod reads;
pub mod recipe;
mod refusal;
mod rounds;
mod sight;
mod weight;
mod work;

pub use answer::Answer;
pub use apart::apart;
pub use ask::{ChangeListener, Door};
pub use base::limits::{AT_ONCE_BYTES_MAX, COUNTED_BYTES_MAX, LONG_MAX, READS_WAITING_MAX};
pub use cursor::{Batch, Bounds, Cursor, Lags, Part, Place, Wanted};
pub use facts::{Header, LeaseInfo, MemberInfo, Status};
pub use feed::{Errand, Feed, FeedLimits, StreamId, Told};
pub use mvcc::Caller;
pub use query::{Found, Freshness, Query, Reading};
pub use reads::{Finding, Read, Reads, Stage};
pub use refusal::{Outcome, Reason, Refusal};
pub use rounds::{ROUND_WAIT_MAX, Rounds};
pub use sight::Sight;
pub use weight::response_bytes;
pub use work::{Made, Work, frees, steps};
