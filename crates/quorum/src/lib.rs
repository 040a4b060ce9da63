//! Quorum systems as data: families, required intersections, tallies. The only crate that counts.
//!
//! A *family* is a monotone predicate over sets of members: a superset of a quorum is a quorum.
//! A *system* is a pair of families, `elect` (phase 1) and `commit` (phase 2). Which pairs must
//! meet depends on the protocol, and a pair that does not is refused with two concrete quorums
//! that miss each other ([`System::check`]). The language is described in [`Expr::parse`].
//!
//! It decides whether a set is enough, which sets are too few, and whether a system is safe. It
//! never decides who is a member, which system is in force or what is done once enough agree.
#![no_std]
#![deny(missing_docs)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod analyse;
mod cheapest;
mod commit;
mod error;
mod explain;
mod expr;
mod family;
mod meet;
mod minimal;
mod names;
mod node_set;
mod op;
mod parse;
mod program;
mod refusal;
mod rename;
pub mod report;
mod spelling;
mod system;
mod tally;
#[cfg(test)]
mod tests;
mod token;

pub use commit::commit_index;
pub use error::ParseError;
pub use expr::Expr;
pub use family::Family;
pub use meet::interchangeable;
pub use names::Names;
pub use node_set::{NODES_MAX, NodeSet, Slot};
pub use refusal::{SystemError, Unsafe, Why};
pub use rename::{majority_text, marked, quoted, renamed};
pub use system::{Dominance, Protocol, System, SystemSpec, check_pair};
pub use tally::{Tally, Verdict};
