//! Where a member's files are.

use std::io;
use wal::Disk;

/// The directories of one member.
pub trait Home {
    /// The disk of one part: `""`, `journal`, `checkpoints`, `values` or `outgoing`; made where it
    /// is not there.
    fn disk(&self, part: &str) -> io::Result<Box<dyn Disk>>;
    /// Whether a part is there; nothing is made.
    fn has(&self, part: &str) -> bool;
}
