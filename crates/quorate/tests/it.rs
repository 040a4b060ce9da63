//! The binary under real clients: every test starts real processes on loopback.

#[path = "it/member.rs"]
mod member;

#[path = "it/etcdctl.rs"]
mod etcdctl;

#[path = "it/restart.rs"]
mod restart;
