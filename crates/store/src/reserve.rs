//! Bytes that are on the disk already, given up where a small file finds no room: what a start
//! writes, and whom a member has met, is never refused because others have filled the disk.

use crate::disk::{names, publish, sync_names};
use crate::{StoreError, StoreErrorKind};
use std::io;
use wal::{Disk, DiskFile, Shape, remove_named};

const NAME: &str = "reserve";
const RESERVE: Shape = Shape { prefix: NAME, groups: 0, suffix: "" };

/// Makes the reserve where it is not there, durable on return; whether it was made. Errors: `Io`,
/// `NoRoom`; then there is none.
pub fn keep_reserve(disk: &mut dyn Disk, bytes: usize) -> Result<bool, StoreError> {
    if names(disk)?.iter().any(|name| name == NAME) {
        return Ok(false);
    }
    let made = disk.create(NAME).and_then(|mut file| {
        file.write_at(0, &vec![0; bytes])?;
        file.sync()
    });
    if let Err(error) = made {
        // Half of it is no use to anybody.
        let _ = remove_named(disk, RESERVE, NAME);
        return Err(StoreError::io(NAME, "write", &error));
    }
    sync_names(disk).map(|()| true)
}

/// Replaces a small file atomically and durably. Errors: `Io`, and `NoRoom` where there is none
/// without the reserve either.
pub(crate) fn replace(
    disk: &mut dyn Disk,
    (tmp, name): (&'static str, &str),
    bytes: &[u8],
) -> Result<(), StoreError> {
    let mut given_up = 0;
    let written = write(disk, tmp, bytes).or_else(|full| {
        if full.kind != StoreErrorKind::NoRoom {
            return Err(full);
        }
        given_up = disk.open(NAME).and_then(|mut file| file.len()).unwrap_or_default();
        if remove_named(disk, RESERVE, NAME).and_then(|()| disk.sync_dir()).is_err() {
            let what = format!("{}; and no reserve is left", full.what);
            return Err(StoreError { what, ..full });
        }
        write(disk, tmp, bytes)
    });
    // Nothing of what follows may be tried again, whatever it says.
    let failed = |error: &io::Error| StoreError {
        kind: StoreErrorKind::Io,
        ..StoreError::io(tmp, "sync", error)
    };
    written?.sync().map_err(|error| failed(&error))?;
    publish(disk, tmp, name).map_err(|error| StoreError { kind: StoreErrorKind::Io, ..error })?;
    // What is left of it is kept before others take it: the disk may stay full for long.
    let parts = [given_up, given_up / 8 * 7, given_up / 2, given_up / 4];
    let parts = parts.into_iter().filter_map(|bytes| usize::try_from(bytes).ok());
    let _ = parts.filter(|bytes| *bytes > 0).find(|bytes| keep_reserve(disk, *bytes).is_ok());
    Ok(())
}

/// A file with these bytes, not synced. One that does not fit goes.
fn write(
    disk: &mut dyn Disk,
    tmp: &'static str,
    bytes: &[u8],
) -> Result<Box<dyn DiskFile>, StoreError> {
    let written = disk.create(tmp).and_then(|mut file| file.write_at(0, bytes).map(|()| file));
    written.map_err(|error| {
        let shape = Shape { prefix: tmp, groups: 0, suffix: "" };
        // The next attempt begins it anew, as does the next start.
        let _ = remove_named(disk, shape, tmp);
        StoreError::io(tmp, "write", &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal::MemDisk;

    fn written(disk: &MemDisk, bytes: &[u8]) -> Result<(), StoreError> {
        replace(&mut disk.clone(), ("note.tmp", "note"), bytes)
    }

    #[test]
    fn a_small_file_takes_the_place_of_the_reserve_where_there_is_no_other() {
        let disk = MemDisk::new();
        assert_eq!(keep_reserve(&mut disk.clone(), 300), Ok(true));
        assert_eq!(keep_reserve(&mut disk.clone(), 300), Ok(false));
        written(&disk, b"first").expect("room");
        // Each takes what the one before frees, and what is left of the reserve is kept.
        for n in 2..40 {
            disk.set_room(Some(0));
            let bytes = [n; 100];
            written(&disk, &bytes).expect("the reserve is given up");
            assert_eq!(disk.crash(1).bytes("note").as_deref(), Some(&bytes[..]));
            assert!(disk.bytes(NAME).is_some_and(|left| left.len() >= 75), "{n}");
        }
        disk.set_room(Some(0));
        let error = written(&disk, &[4; 900]).expect_err("it is larger than all that is left");
        assert_eq!((error.kind, &error.file[..]), (StoreErrorKind::NoRoom, "note.tmp"));
        disk.set_room(Some(0));
        let error = written(&disk, &[4; 900]).expect_err("nothing is left");
        assert!(error.what.ends_with("no reserve is left"), "{error}");
        assert_eq!(disk.bytes("note"), Some(vec![39; 100]), "and what was there stays");
        let half = keep_reserve(&mut disk.clone(), 300).expect_err("no room");
        assert_eq!((half.kind, disk.bytes(NAME)), (StoreErrorKind::NoRoom, None));
    }
}
