//! Names that nobody gave.

use alloc::string::String;
use base::NodeId;

/// The name of a member that has not said its own.
pub fn label(id: NodeId) -> String {
    alloc::format!("m{:016x}", id.0)
}
