//! One running member: its threads, and the handle that embeds it.
//!
//! The voter owns the replica by value and does nothing that grows with data or clients: it steps,
//! hands effects out and shows a picture of how it stands. Links to peers run beside it on its
//! thread. Clients are served by the desk on another one, what is long by a pool.

mod asked;
mod effects;
mod fetcher;
mod handle;
mod helpers;
pub mod input;
mod merger;
mod scrubber;
mod show;
pub mod start;
mod stop;
mod voter;

pub use crate::desk::MakeFront;
pub use crate::error::StartError;
pub use handle::{Handle, Phase};

use crate::config::Config;
use crate::disk::Wrap;

/// Why a member ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As asked, in order.
    Stopped,
    /// As asked, at once.
    Killed,
    /// This member was removed from its cluster; the text is for the operator.
    Removed(String),
    /// The disk failed or state was unusable; the text is for the operator.
    Failed(String),
}

/// A member of a cluster, to be started.
pub struct Node;

impl Node {
    /// Starts a member on threads of its own and returns once it listens; `front` makes what its
    /// clients talk to.
    ///
    /// # Errors
    /// Everything that keeps it from starting, in one sentence for the operator.
    pub fn start(config: Config, front: MakeFront) -> Result<Handle, StartError> {
        start::spawn(config, front, None)
    }

    /// As [`Node::start`], with `wrap` in front of its disks.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn start_on(config: Config, wrap: Wrap, front: MakeFront) -> Result<Handle, StartError> {
        start::spawn(config, front, Some(wrap))
    }
}
