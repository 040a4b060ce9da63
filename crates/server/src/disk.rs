//! Everything that touches files: the log thread, checkpoints, identity.

pub mod files;
pub mod identity;
pub mod log;
pub mod open;

pub use files::Files;
pub use log::Log;
