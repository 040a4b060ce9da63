//! A small etcd v3 client over `h2`, for loads, tours and trials.
//!
//! A [`Channel`] is one HTTP/2 connection to one endpoint, made when first used and made again
//! after it broke; many calls share it. It never retries, never moves to another endpoint and
//! hides no error: what a caller may conclude from a failure is [`Failure::outcome`]. Every
//! future must run inside a tokio runtime, because the connection is driven by a task of it.

mod channel;
mod duplex;
mod failure;
pub mod frame;
pub mod method;

pub use channel::{Call, Channel, authority};
pub use duplex::Duplex;
pub use failure::{Failure, Outcome, Status};
