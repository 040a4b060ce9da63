//! The value and index files of one directory.

use crate::disk::{names, remove_all, sync_names};
use crate::index::{self, HALF_INDEX, INDEX, IndexFile};
use crate::values::{self, HALF_VALUES, VALUES, ValueFile};
use crate::{StoreError, StoreErrorKind};
use std::collections::BTreeSet;
use wal::{Disk, Ours, Shape};

/// What a directory holds, by what header and footer say: blocks are verified when they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    /// By first revision, then by generation.
    pub values: Vec<ValueFile>,
    /// Oldest first.
    pub indexes: Vec<IndexFile>,
    /// What is wrong with the others, by file.
    pub damaged: Vec<StoreError>,
}

/// All value and index files; a damaged one hides no other. Errors: `Io`.
pub fn list_shelf(disk: &mut dyn Disk) -> Result<Shelf, StoreError> {
    let mut shelf = Shelf::default();
    // Names have their numbers in order.
    for name in names(disk)? {
        let damage = if VALUES.own(&name).is_some() {
            values::describe(disk, &name).map(|file| shelf.values.push(file)).err()
        } else if INDEX.own(&name).is_some() {
            index::describe(disk, &name).map(|file| shelf.indexes.push(file)).err()
        } else {
            None
        };
        match damage {
            Some(error) if error.kind == StoreErrorKind::Io => return Err(error),
            damage => shelf.damaged.extend(damage),
        }
    }
    Ok(shelf)
}

fn of(shapes: [Shape; 2], name: &str) -> Option<Ours> {
    shapes.iter().find_map(|shape| shape.own(name))
}

/// Removes half-written files, durably; for start-up, while nothing is written. Errors: `Io`.
pub fn clean_shelf(disk: &mut dyn Disk) -> Result<(), StoreError> {
    let gone = remove_all(disk, |name| of([HALF_VALUES, HALF_INDEX], name))?;
    if gone.is_empty() { Ok(()) } else { sync_names(disk) }
}

/// Removes, durably, all value and index files but those that `keep` names, damaged or not. Names
/// of those that went. Errors: `Io`.
pub fn keep_on_shelf(
    disk: &mut dyn Disk,
    keep: &BTreeSet<String>,
) -> Result<Vec<String>, StoreError> {
    let other = |name: &str| of([VALUES, INDEX], name).filter(|file| !keep.contains(file.name()));
    let gone = remove_all(disk, other)?;
    if !gone.is_empty() {
        sync_names(disk)?;
    }
    Ok(gone)
}
