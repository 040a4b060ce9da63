//! A block of versions in memory.

use super::layout::{VERSION_HEAD_BYTES, get_age};
use super::{Age, Interval};
use base::Blob;
use base::codec::{DecodeError, Get};
use std::ops::Range;
use std::sync::Arc;

/// Where a version is within the bytes of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    age: Age,
    start: u32,
    end: u32,
}

impl Place {
    fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The versions of one block. A clone shares them: a cache may keep the block, or the bytes and
/// the range of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionBlock {
    bytes: Blob,
    places: Arc<[Place]>,
}

impl VersionBlock {
    /// Splits a body that verified. Errors where no writer of this interval makes such a one.
    pub(super) fn of(body: &[u8], count: u32, interval: Interval) -> Result<Self, DecodeError> {
        let wrong = DecodeError::Invalid { what: "versions" };
        let count = usize::try_from(count).map_err(|_| wrong)?;
        if count == 0 || count > body.len() / VERSION_HEAD_BYTES {
            return Err(wrong);
        }
        let at = |rest: usize| u32::try_from(body.len() - rest).map_err(|_| wrong);
        let mut get = Get::new(body);
        let mut places: Vec<Place> = Vec::with_capacity(count);
        for _ in 0..count {
            let age = get_age(&mut get)?;
            let version = get.bytes()?;
            let end = at(get.remaining())?;
            let start = at(get.remaining() + version.len())?;
            let rises = places.last().is_none_or(|last| last.age < age);
            if !rises || !(interval.first..interval.end).contains(&age.0) {
                return Err(wrong);
            }
            places.push(Place { age, start, end });
        }
        get.finish()?;
        Ok(Self { bytes: Blob::from(body), places: places.into() })
    }

    /// Number of versions; at least one.
    #[expect(clippy::len_without_is_empty, reason = "no block is empty")]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Ages of the first version and the last.
    pub fn ages(&self) -> (Age, Age) {
        let (first, last) = (self.places.first(), self.places.last());
        (first.expect("no block is empty").age, last.expect("no block is empty").age)
    }

    /// The `n`th version, in order of age.
    pub(super) fn nth(&self, n: usize) -> Option<(Age, &[u8])> {
        self.places.get(n).map(|place| (place.age, &self.bytes[place.range()]))
    }

    /// How many versions are before this age.
    pub(super) fn before(&self, age: Age) -> usize {
        self.places.partition_point(|place| place.age < age)
    }

    /// In order of age.
    pub fn versions(&self) -> impl Iterator<Item = (Age, &[u8])> {
        self.places.iter().map(|place| (place.age, &self.bytes[place.range()]))
    }

    /// The version of this age, if it is here.
    pub fn version(&self, age: Age) -> Option<&[u8]> {
        self.range(age).map(|at| &self.bytes[at])
    }

    /// Where in [`VersionBlock::bytes`] the version of this age is, if it is here.
    pub fn range(&self, age: Age) -> Option<Range<usize>> {
        let at = self.places.binary_search_by_key(&age, |place| place.age).ok()?;
        Some(self.places[at].range())
    }

    /// All of it, shared.
    pub fn bytes(&self) -> &Blob {
        &self.bytes
    }

    /// Bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.places.len() * size_of::<Place>()
    }
}
