//! The shell around the replica: sockets, files, clocks and threads. Rules live in the pure
//! rooms; this crate carries out their effects, and no product crate below it has a runtime.

mod aside;
mod board;
pub mod bootstrap;
pub mod config;
mod desk;
pub mod disk;
pub mod metrics;
pub mod node;
pub mod peer;
mod pool;
pub mod record;
