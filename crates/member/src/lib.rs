//! What a member decides that is not consensus, for whoever carries it out: the server with
//! threads and sockets, the simulator in virtual time.
//!
//! It decides whose directory it is and what its files say together ([`open`]), which peers may
//! come in and what is remembered of them first ([`meet`]), what the journal writes together and
//! when it vouches for that ([`lane`]), what a checkpoint holds and proves ([`checkpoints`]), when
//! one is due ([`due`]) and whom it is sent to ([`transfers`]), which files of what has settled are
//! needed ([`archive`]), what of them is in memory ([`cache`]) and what others give where they are
//! damaged ([`wounds`], [`mend`], [`scrub`]), what is done where disks run full ([`room`]), what a
//! leader publishes of members ([`publish`]), in which order a member stops ([`stop`]), and when
//! history is let go of ([`compaction`]).
//!
//! It works over [`wal::Disk`] and [`store::Home`] and never looks at a clock, starts a thread,
//! opens a socket or draws a number: time is [`base::Nanos`] of the caller's own clock, and random
//! numbers are arguments. It knows no flag and no front.

pub mod announced;
pub mod archive;
mod births;
pub mod cache;
pub mod checkpoints;
pub mod compaction;
mod difference;
pub mod due;
pub mod hello;
pub mod join;
pub mod lane;
pub mod limits;
pub mod meet;
pub mod mend;
pub mod open;
pub mod publish;
mod ranges;
pub mod room;
#[cfg(test)]
mod sample;
pub mod scrub;
pub mod shelf;
pub mod stop;
pub mod transfers;
mod unwelcome;
pub mod wanted;
pub mod wounds;

pub use announced::Word;
pub use archive::Archive;
pub use cache::{Cache, CacheStats};
pub use checkpoints::Incoming;
pub use compaction::Compactor;
pub use due::{CheckpointState, Policy, Unfit};
pub use hello::{Hello, Purpose};
pub use lane::{Job, Lane};
pub use meet::{Peers, Remembered, Unwritten};
pub use open::{Born, Draws, How, Known, Opened, Refused};
pub use publish::Publisher;
pub use scrub::{Scrub, Scrubbed};
pub use stop::Stop;
pub use transfers::{Sending, Transfers};
pub use unwelcome::Unwelcome;
pub use wanted::Wanted;
pub use wounds::Wounds;
