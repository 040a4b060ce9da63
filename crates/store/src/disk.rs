//! What every file here is read, named and removed with.

use crate::{StoreError, StoreErrorKind};
use base::planted;
use wal::{Disk, DiskFile, Ours};

/// Reads `len` bytes, or fewer at the end of the file. Errors: `Io`.
pub(crate) fn read_up_to(
    file: &mut dyn DiskFile,
    name: &str,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, StoreError> {
    let fail = |e: std::io::Error| StoreError::io(name, "read", &e);
    // Never allocate for bytes that are not there: `len` may come from damaged bytes.
    let there = file.len().map_err(fail)?.saturating_sub(offset);
    let len = len.min(usize::try_from(there).unwrap_or(usize::MAX));
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        let n = file.read_at(offset + done as u64, &mut bytes[done..]).map_err(fail)?;
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
