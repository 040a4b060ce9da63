//! Histories of operations, and whether an order of them exists that explains every answer.
//!
//! An *operation* has an invocation, perhaps an answer, and takes effect at one moment between
//! the two (Herlihy and Wing, TOPLAS 1990). [`check`] searches for those moments. It gives a
//! verdict or says that it does not know; it never guesses. The crate has no clock: whoever wants
//! a time limit passes a `cancel` function.
//!
//! This crate shares no code with the store that it checks.

mod engine;
pub mod etcd;
mod hash;
mod history;
mod map;
mod model;
pub mod models;
pub mod parse;
pub mod report;

pub use engine::{Limits, Outcome, Stats, Verdict, Why, check};
pub use hash::{Fold, FoldState};
pub use history::{History, OpId, Operation};
pub use model::Model;
