//! The form of a value file.

use super::{Age, Interval};
use crate::StoreError;
use crate::blocks::Kind;
use crate::disk::read_up_to;
use crate::frame::{self, Form};
use base::codec::{DecodeError, Get, Put};
use wal::{DiskFile, Shape};

pub(crate) const VALUES: Shape = Shape { prefix: "values-", groups: 2, suffix: ".qv" };
/// One that is being written.
pub(crate) const HALF_VALUES: Shape = Shape { prefix: "values-", groups: 2, suffix: ".tmp" };

pub(super) const FORM: Form = Form { magic: b"QVALU\0\0\0", version: 1 };
pub(super) const HEADER_BYTES: usize = 40;

/// A read of one version costs one of these.
pub(super) const VERSIONS: Kind = Kind { tag: *b"QVBK", body_bytes: 8 << 10 };
pub(super) const KEYS: Kind = Kind { tag: *b"QVKS", body_bytes: 64 << 10 };
pub(super) const TABLE: Kind = Kind { tag: *b"QVTB", body_bytes: 64 << 10 };

/// Before a version: its age, and its length.
pub(super) const VERSION_HEAD_BYTES: usize = 16;
/// Of the block table.
pub(super) const ENTRY_BYTES: usize = 20;

pub(super) const FOOTER_TAG: [u8; 4] = *b"QVFT";
/// Blocks before the table, versions, pieces, where the key section begins, and the table.
pub(super) type Footer = frame::Footer<5>;

/// All of a header but its checksum.
pub(super) fn header(interval: Interval) -> Vec<u8> {
    let mut out = FORM.begin();
    out.put_i64(interval.first);
    out.put_i64(interval.end);
    out.put_u64(interval.generation);
    assert_eq!(out.len() + 4, HEADER_BYTES, "the layout of the format page");
    out
}

/// The checksum of this header.
pub(super) fn seal_of(interval: Interval) -> u32 {
    frame::seal(&mut header(interval))
}

/// What a file says it is, which must be what its name says, and its seal. Errors: `Io`,
/// `Corrupt`, `Unknown`.
pub(super) fn read_header(
    file: &mut dyn DiskFile,
    name: &str,
) -> Result<(Interval, u32), StoreError> {
    let bytes = read_up_to(file, name, 0, HEADER_BYTES)?;
    let (mut get, seal) = FORM.open(name, &bytes)?;
    let mut decode = || {
        let (first, end) = (get.i64()?, get.i64()?);
        Ok::<_, DecodeError>(Interval { first, end, generation: get.u64()? })
    };
    let interval = decode().map_err(|e| StoreError::corrupt(name, 12, format!("header: {e}")))?;
    if !interval.is_sound() || interval.name() != name {
        let what = format!("holds what should be in {}", interval.name());
        return Err(StoreError::corrupt(name, 12, what));
    }
    Ok((interval, seal))
}

pub(super) fn put_age(out: &mut Vec<u8>, age: Age) {
    out.put_i64(age.0);
    out.put_u32(age.1);
}

pub(super) fn get_age(get: &mut Get<'_>) -> Result<Age, DecodeError> {
    Ok((get.i64()?, get.u32()?))
}
