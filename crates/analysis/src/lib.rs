//! What a quorum system costs and what it survives: load, capacity, latency, network cost,
//! availability, resilience, and the search for a better system. Results are exact fractions.
//!
//! The model is that of Whittaker et al., "Read-Write Quorum Systems Made Practical" (PaPoC
//! 2021): a *strategy* contacts quorums with given probabilities, the *load* of a member is the
//! share of its capacity one operation takes, and *capacity* is what the busiest member allows.
//! Reads use elect sets (phase 1, the read side), writes use commit sets (phase 2).
//!
//! It decides what is best under a stated workload, and says where it only searched. It never
//! decides what a cluster does: nothing here is on the path of a request, and whether a system is
//! safe is asked of `quorum`.

pub mod availability;
pub mod chance;
mod column;
mod counts;
mod exact;
mod generate;
mod goal;
mod model;
mod node;
mod program;
pub mod ratio;
pub mod report;
pub mod search;
mod simplex;
mod strategy;
pub mod svg;
mod table;
mod tree;
mod workload;

pub use goal::{Goal, Limits, Objective};
pub use model::{Model, ModelError};
pub use node::{Node, NodeError, seconds};
pub use ratio::Ratio;
pub use strategy::{Choice, NoStrategy, Strategy};
pub use workload::{Workload, WorkloadError};
