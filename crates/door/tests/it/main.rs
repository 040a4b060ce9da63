//! The door from outside: a second front, and a member without a cluster behind it.

#[allow(dead_code)]
mod fake;
mod line;
mod lines;
