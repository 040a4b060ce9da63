//! What happened in a cluster, as lines that anybody can read: one vocabulary for the simulator,
//! the live server and the terminal.
//!
//! ```text
//! {"trace":2,"names":["a","b"],"quorum":"all of (a, b)","rule":"shared-terms"}
//! {"n":1,"at":1000000,"node":"a","ev":"propose","id":"1/4294967297/1"}
//! {"n":2,"at":1000000,"node":"a","ev":"log","id":"1/4294967297/1","index":2,"ballot":"1.1"}
//! ```
//!
//! The first line is a [`Head`], every other one an [`Event`]. This crate writes and reads them,
//! and is the only one that knows their form. What a viewer concludes from them (the minimal
//! quorums in a set, who was missing) is the viewer's.
//!
//! It decides nothing, has no clock and opens no file: times and numbers are the caller's.
//!
//! # Form
//! Field names, event names and reasons are kebab-case. Times (`at`, `span`) are nanoseconds:
//! virtual ones in a life of the simulator, since its start at a member. Ids are texts as the
//! product shows them (`origin/incarnation/sequence`, ballots `term.node`). A set of members is the
//! hexadecimal text of its bits, one bit a slot of the last `config` of that member. Hashes are
//! hexadecimal.
//! [`VERSION`] grows when a reader of the version before could be misled; a new event or field does
//! not: unknown fields are skipped, an unknown event reads as [`What::Other`].
#![forbid(unsafe_code)]

mod event;
mod form;
mod merge;
mod product;
mod ring;
mod text;

pub use event::{Event, What, Word};
pub use merge::{Merger, align, merge};
pub use product::{config, product, rule};
pub use ring::{Page, Ring};
pub use text::{Head, ReadError, VERSION, read, write, write_head};
