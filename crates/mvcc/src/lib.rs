//! The data model: etcd's keys, revisions, transactions, leases and watches, as a pure machine.
//!
//! [`Store::apply`] is a function of the log only: the same commands at the same indexes and
//! cluster times give the same answers, events and hashes on every member. [`View`] is an
//! immutable picture of one moment, cheap to clone and free to read from any thread.
//!
//! It decides what a command does, what it answers, what is refused and what a watcher sees. It
//! never decides in which order commands come, what time it is, when a lease that has ended is
//! revoked or what is compacted: that comes in as commands.
#![no_std]
#![deny(missing_docs)]
extern crate alloc;
#[cfg(test)]
extern crate self as mvcc;
#[cfg(test)]
extern crate std;

#[cfg(test)]
#[path = "../tests/words/drive.rs"]
mod drive;

mod budget;
mod caller;
mod check;
mod checkpoint;
mod codec;
mod command;
mod digest;
mod discard;
mod hand;
mod hash;
mod hash_kv;
mod history;
mod index;
mod interest;
mod key_range;
mod key_value;
mod layers;
mod lease;
mod made;
mod map;
mod range;
mod recent;
mod removal;
mod response_codec;
mod settle;
mod shelf;
mod sorter;
mod space;
mod store;
mod sweep;
mod table;
mod txn;
mod types;
mod values;
mod version;
mod view;
mod walk;

pub use budget::Budget;
pub use caller::Caller;
pub use check::operations_max;
pub use checkpoint::{CheckpointRecords, RECORD_BYTES_TARGET, names_files};
pub use command::{AlarmAction, AlarmKind, Command, Error, Response};
pub use discard::Discard;
pub use hand::{Both, Fetch, FetchOutcome, Fetched, Hand};
pub use hash::HashKv;
pub use hash_kv::HashKvWork;
pub use history::HistoryPage;
pub use interest::{Interest, Mark};
pub use key_range::KeyRange;
pub use key_value::VERSION_OVERHEAD_BYTES;
pub use lease::LeaseTtl;
pub use range::{Counted, RangeWork};
pub use recent::{FREED_HERE_MAX, Recent};
pub use settle::{Kept, NotAtHand, Settled, Settling, Worn};
pub use store::{Applied, Done, Job, Limits, Progress, Store};
pub use txn::ReadTxnWork;
pub use types::{
    Changes, Compare, CompareOp, CompareTarget, DeleteRequest, DeleteResponse, Event, EventKind,
    KeyValue, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp, ResponseOp,
    SortOrder, SortTarget, TxnOp, TxnRequest, TxnResponse,
};
pub use values::{Age, File, InMemory, IndexFile, Values, Version, Wanted};
pub use version::{After, Before};
pub use view::View;
