//! Real members in one process: real sockets, real files, real clocks.

mod checkpoints;
mod cluster;
mod departures;
mod disk;
mod ends;
mod foreign;
mod halt;
mod inputs;
mod maintenance;
mod members;
mod metrics;
mod notes;
mod peers;
mod reads;
mod record;
mod repair;
mod restart;
mod room;
mod values;
mod witness;
