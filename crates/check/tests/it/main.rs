//! Tests of the checker through its public face.

mod brute;
mod corpus;
mod etcd;
mod fuzz;
mod hard;
mod report;
mod store;
mod watch;
