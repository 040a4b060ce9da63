//! The binary under real clients: every test starts real processes on loopback.
//!
//! Quorate is the default subject. With `QUORATE_IT_ETCD` set to the path of an etcd binary the
//! same tests run against that etcd, which is how the expected answers were confirmed; the few
//! wanted differences go through `member::ours`.

mod etcdctl;
mod interactive;
mod member;
mod members;
mod offline;
mod python;
mod restart;
mod rust_client;
mod trace;
