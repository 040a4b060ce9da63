//! Everything that touches files: the log thread, checkpoints, opening.

pub mod files;
pub mod log;
pub mod open;
pub mod place;

pub use files::Files;
pub use log::Log;
pub use place::{Place, Wrap};
