//! One cluster life under a virtual clock: the members that ship, on disks, networks and clocks
//! that do not.
//!
//! One agenda, virtual nanoseconds, one thread, integers from one seed: a life is a function of
//! its [`Plan`]. Frames and files are real bytes, read by the decoders that ship. Every answer,
//! entry, vote and acknowledgement is checked as it happens (`judge`), against what each member
//! has really made durable and one reference history. `docs/simulator.md` tells how to use it.

mod agenda;
mod client;
mod disk;
pub mod families;
pub mod fault;
mod judge;
mod knobs;
mod ledger;
mod life;
mod minimise;
mod model;
mod node;
mod plan;
mod stats;
pub mod story;
mod tracer;
mod world;

pub use client::CHOICES;
pub use judge::Violation;
pub use knobs::{Knobs, Profile, Still};
pub use life::{Verdict, run};
pub use minimise::{Minimised, minimise};
pub use plan::{LIFE, NODES_MAX, Plan, Wishes, majority};
pub use stats::Stats;
pub use tracer::Tracer;
pub use world::{Picture, Told, World};
