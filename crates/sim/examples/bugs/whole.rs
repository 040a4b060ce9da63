//! The storms over whole replicas; their names collide with those of the consensus storms.

#[path = "../../../replica/tests/it/cluster.rs"]
mod cluster;
#[path = "../../../replica/tests/it/storm.rs"]
pub mod storm;
