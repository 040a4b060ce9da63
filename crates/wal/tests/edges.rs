//! The journal and its disks one property at a time, at exact boundaries.

#[path = "edges/damage.rs"]
mod damage;
#[path = "edges/disk.rs"]
mod disk;
#[path = "edges/reading.rs"]
mod reading;
#[path = "edges/watched.rs"]
mod watched;
#[path = "edges/writing.rs"]
mod writing;
