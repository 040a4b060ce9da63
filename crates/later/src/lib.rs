//! A value that is there now or comes later, on one thread: what a handler returns.
//!
//! It decides what becomes of an answer that nobody waits for any more, and of one that never
//! comes. It runs nothing and wakes only who asked to be woken: no clock, no thread, no task. A
//! value that is there at once costs no memory, one that comes later a single piece of it, which
//! also holds what is to be made of the value on its way.
#![no_std]
#![deny(missing_docs)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod asker;
mod promise;
mod value;

pub use asker::{Asker, Asking};
pub use promise::Promise;
pub use value::{Later, Receiver, promise};
