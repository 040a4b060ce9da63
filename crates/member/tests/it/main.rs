//! Directories of members on a disk in memory, whole, broken off and damaged.

mod checkpoints;
mod home;
mod meet;
mod mending;
mod open;
mod publish;
mod shelf;
mod twins;
