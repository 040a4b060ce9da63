//! What every file here is read, named and removed with.

use crate::{StoreError, StoreErrorKind};
use base::planted;
use std::io::{self, ErrorKind};
use wal::{Disk, DiskFile, Ours};

/// A place that cannot be read is damaged, as one with flipped bits is; a system that is short of
/// something says nothing of the file.
fn unreadable(name: &str, offset: u64, error: &io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::OutOfMemory | ErrorKind::Interrupted | ErrorKind::WouldBlock => {
            StoreError::io(name, "read", error)
        }
        _ => StoreError::corrupt(name, offset, format!("cannot be read: {error}")),
    }
}

/// Reads `len` bytes, or fewer at the end of the file. Errors: `Io`, `Corrupt` for what cannot be
/// read.
pub(crate) fn read_up_to(
    file: &mut dyn DiskFile,
    name: &str,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, StoreError> {
    // Never allocate for bytes that are not there: `len` may come from damaged bytes.
    let there = file.len().map_err(|e| StoreError::io(name, "length", &e))?.saturating_sub(offset);
    let len = len.min(usize::try_from(there).unwrap_or(usize::MAX));
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        let read = file.read_at(at, &mut bytes[done..]);
        let n = read.map_err(|error| unreadable(name, at, &error))?;
        if n == 0 {
            break;
        }
        done += n;
    }
    bytes.truncate(done);
    Ok(bytes)
}

pub(crate) fn read_all(disk: &mut dyn Disk, name: &str) -> Result<Vec<u8>, StoreError> {
    let mut file = open(disk, name)?;
    read_up_to(file.as_mut(), name, 0, usize::MAX)
}

pub(crate) fn open(disk: &mut dyn Disk, name: &str) -> Result<Box<dyn DiskFile>, StoreError> {
    disk.open(name).map_err(|e| StoreError::io(name, "open", &e))
}

/// Opens a file that is named elsewhere and so has to be there. Errors: `Io`, `Corrupt` when it is
/// gone.
pub(crate) fn open_known(disk: &mut dyn Disk, name: &str) -> Result<Box<dyn DiskFile>, StoreError> {
    disk.open(name).map_err(|error| match error.kind() {
        ErrorKind::NotFound => StoreError::corrupt(name, 0, "is gone"),
        _ => StoreError::io(name, "open", &error),
    })
}

/// Reads what does not verify once more: a wrong read is no damage.
pub(crate) fn again<T>(mut read: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    match read() {
        Err(error) if error.kind == StoreErrorKind::Corrupt => read(),
        other => other,
    }
}

/// Gives a synced file its final name, durably.
pub(crate) fn publish(disk: &mut dyn Disk, tmp: &str, name: &str) -> Result<(), StoreError> {
    disk.rename(tmp, name)
        .and_then(|()| if planted!(NamesNotSynced) { Ok(()) } else { disk.sync_dir() })
        .map_err(|e| StoreError::io(name, "rename into place", &e))
}

pub(crate) fn names(disk: &mut dyn Disk) -> Result<Vec<String>, StoreError> {
    disk.list().map_err(|e| StoreError::io("", "list", &e))
}

pub(crate) fn sync_names(disk: &mut dyn Disk) -> Result<(), StoreError> {
    disk.sync_dir().map_err(|e| StoreError::io("", "sync the directory", &e))
}

/// Removes every file that is proven to be ours and one `of` those to go; not durable yet. Their
/// names. Errors: `Io`.
pub(crate) fn remove_all(
    disk: &mut dyn Disk,
    of: impl Fn(&str) -> Option<Ours>,
) -> Result<Vec<String>, StoreError> {
    let mut gone = names(disk)?;
    gone.retain(|name| of(name).is_some());
    for ours in gone.iter().filter_map(|name| of(name)) {
        disk.remove(&ours).map_err(|e| StoreError::io(ours.name(), "remove", &e))?;
    }
    Ok(gone)
}
