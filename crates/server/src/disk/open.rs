//! Opens a data directory as `member::open` decides: takes its lock, asks the cluster that is
//! joined, and says what there is to say.

use super::Place;
use super::room::RESERVE_BYTES;
use crate::bootstrap;
use crate::config::{ClusterState, Config, ConfigError};
use crate::entropy::entropy;
use crate::error::StartError;
use crate::peer::join;
use member::{Born, Draws, How, Known, Opened, Refused};
use wal::{DirLock, Options};

/// A directory ready to run from.
pub struct Held {
    /// Held for as long as the member lives.
    pub lock: DirLock,
    pub opened: Opened,
}

/// # Errors
/// A directory that belongs to somebody else, is in use, is damaged, or cannot be made.
pub fn open(config: &Config, place: &Place) -> Result<Held, StartError> {
    bootstrap::refuse_foreign_directory(config)?;
    let dir = place.dir();
    let named = |e: &dyn std::fmt::Display| StartError::Disk(format!("{}: {e}", dir.display()));
    let refused = |refused: Refused| match refused {
        Refused::Unwanted(text) => ConfigError(format!("{}: {text}", dir.display())).into(),
        other => named(&other),
    };
    drop(place.disk("").map_err(|e| named(&e))?);
    let lock = DirLock::acquire(dir).map_err(|e| StartError::Disk(e.to_string()))?;
    let known = match member::open::identify(place).map_err(refused)? {
        Some(known) => known,
        None => begin(config)?,
    };
    let how = How {
        wanted: &bootstrap::wanted(config),
        options: Options::default(),
        on_damage: config.on_damage,
        draws: Draws { mark: entropy() as u32, key: entropy() },
        cache_bytes: usize::try_from(config.cache_bytes).unwrap_or(usize::MAX),
        reserve_bytes: RESERVE_BYTES,
    };
    let opened = member::open::open(place, known, &how).map_err(refused)?;
    opened.notes.iter().chain(&opened.idle).for_each(|note| tracing::warn!("{note}"));
    if let Some(cut) = &opened.cut {
        tracing::warn!("a torn tail was cut: {} at byte {}", cut.file, cut.offset);
    }
    Ok(Held { lock, opened })
}

fn begin(config: &Config) -> Result<Known, StartError> {
    let birth = entropy().max(1); // Zero is no birth.
    let born = match config.cluster_state {
        ClusterState::New => bootstrap::from_flags(config)?,
        ClusterState::Existing => {
            let others = join::others(config)?;
            join::ask(config, &others, birth).map_err(|e| StartError::Join(e.to_string()))?
        }
    };
    let Born { cluster, member, config: first } = &born;
    let quorum = &first.quorum;
    tracing::info!("bootstrap: member {:x} of cluster {cluster:x}, quorum {quorum}", member.0);
    Ok(Known::begin(born, birth))
}
