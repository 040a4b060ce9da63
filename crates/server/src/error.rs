//! Why a member did not start.

use crate::config::ConfigError;

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The cluster to join could not be reached, or did not take the member.
    #[error("{0}")]
    Join(String),
    #[error("{0}")]
    Disk(String),
    #[error("cannot listen on {0}: {1} (--listen-client-urls and --listen-peer-urls say where)")]
    Listen(String, std::io::Error),
    #[error("{0}")]
    System(#[from] std::io::Error),
}
