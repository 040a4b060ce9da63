//! Everything that touches files: the log thread, notes, checkpoints, opening.

pub mod files;
pub mod log;
pub mod notes;
pub mod open;
pub mod place;
mod room;

pub use files::Files;
pub use log::Log;
pub use notes::Notes;
pub use place::{Place, Wrap};
pub use room::{Room, Watch};
