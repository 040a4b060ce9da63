//! Opens a data directory as `member::open` decides: takes its lock, asks the cluster that is
//! joined, and says what there is to say.

use super::Place;
use super::room::RESERVE_BYTES;
use crate::bootstrap;
use crate::config::{ClusterState, Config, ConfigError};
use crate::entropy::entropy;
use crate::error::StartError;
use crate::peer::join;
use member::{Archive, Born, Draws, How, Known, Opened, Refused};
use wal::{DirLock, Options};

/// The lock of a directory, held for as long as the member lives.
///
/// # Errors
/// A directory that belongs to somebody else, is in use, or cannot be made.
pub fn claim(config: &Config, place: &Place) -> Result<DirLock, StartError> {
    bootstrap::refuse_foreign_directory(config)?;
    let dir = place.dir();
    let named = |e: &dyn std::fmt::Display| StartError::Disk(format!("{}: {e}", dir.display()));
    drop(place.disk("").map_err(|e| named(&e))?);
    DirLock::acquire(dir).map_err(|e| StartError::Disk(e.to_string()))
}

/// A directory that was claimed, ready to run from.
///
/// # Errors
/// One that is damaged, or is not what was wanted.
pub fn open(config: &Config, place: &Place, archive: Archive) -> Result<Opened, StartError> {
    let dir = place.dir();
    let named = |e: &dyn std::fmt::Display| StartError::Disk(format!("{}: {e}", dir.display()));
    let refused = |refused: Refused| match refused {
        Refused::Unwanted(text) => ConfigError(format!("{}: {text}", dir.display())).into(),
        other => named(&other),
    };
    let known = match member::open::identify(place).map_err(refused)? {
        Some(known) => known,
        None => begin(config)?,
    };
    let how = How {
        wanted: &bootstrap::wanted(config),
        options: Options::default(),
        on_damage: config.on_damage,
        draws: Draws { mark: entropy() as u32, key: entropy() },
        archive,
        reserve_bytes: RESERVE_BYTES,
    };
    let opened = member::open::open(place, known, &how).map_err(refused)?;
    opened.notes.iter().chain(&opened.idle).for_each(|note| tracing::warn!("{note}"));
    if let Some(cut) = &opened.cut {
        tracing::warn!("a torn tail was cut: {} at byte {}", cut.file, cut.offset);
    }
    Ok(opened)
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
