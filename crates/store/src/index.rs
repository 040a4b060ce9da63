//! Index files: an index as it stands in memory, in opaque pieces
//! (`docs/design/value-format.md`). One that is damaged is lost: value files say all it says.

use crate::block::Source;
use crate::blocks::{Blocks, Kind};
use crate::digest::Digest;
use crate::disk::{self, again, read_up_to};
use crate::draft::Draft;
use crate::frame::{self, Form};
use crate::run::Run;
use crate::{StoreError, StoreErrorKind};
use base::codec::{DecodeError, Get, Put};
use base::limits::INDEX_META_BYTES_MAX;
use base::{Blob, LogIndex};
use wal::{Disk, DiskFile, Shape};

pub(crate) const INDEX: Shape = Shape { prefix: "index-", groups: 1, suffix: ".qx" };
/// One that is being written.
pub(crate) const HALF_INDEX: Shape = Shape { prefix: "index-", groups: 1, suffix: ".tmp" };

const FORM: Form = Form { magic: b"QINDX\0\0\0", version: 1 };
/// What stands before the meta: magic, version, log index, length of the meta.
const FIXED_BYTES: usize = 24;
const PIECES: Kind = Kind { tag: *b"QXPC", body_bytes: 64 << 10 };
const FOOTER_TAG: [u8; 4] = *b"QXFT";
/// Blocks and pieces.
type Footer = frame::Footer<2>;

/// A finished file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexFile {
    /// The place in the log that it is of.
    pub index: LogIndex,
    pub pieces: u64,
    /// Whole length in bytes.
    pub len: u64,
    /// Of every byte before the footer.
    pub digest: u64,
}

impl IndexFile {
    pub fn name(&self) -> String {
        name_of(self.index)
    }
}

fn name_of(index: LogIndex) -> String {
    format!("index-{:016x}.qx", index.0)
}

/// A file being written.
pub struct IndexWriter {
    blocks: Blocks,
    index: LogIndex,
    pieces: u64,
}

impl IndexWriter {
    /// Errors: `Io`, `Invalid` (a meta above `INDEX_META_BYTES_MAX`; nothing was begun).
    pub fn begin(disk: &mut dyn Disk, index: LogIndex, meta: &[u8]) -> Result<Self, StoreError> {
        // The reader refuses a longer one.
        if meta.len() > INDEX_META_BYTES_MAX {
            let what = format!("meta above {INDEX_META_BYTES_MAX} bytes");
            return Err(StoreError::new(StoreErrorKind::Invalid, &name_of(index), 0, what));
        }
        let mut header = FORM.begin();
        header.put_u64(index.0);
        header.put_bytes(meta);
        assert_eq!(header.len(), FIXED_BYTES + meta.len(), "the layout of the format page");
        let draft = Draft::begin(disk, HALF_INDEX, format!("index-{:016x}.tmp", index.0))?;
        Ok(Self { blocks: Blocks::begin(disk, draft, header, PIECES)?, index, pieces: 0 })
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.blocks.offset()
    }

    /// The next piece. Errors: `Io` (then it is to be discarded), `Invalid` (above
    /// `STORED_BYTES_MAX`; nothing was added).
    pub fn piece(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.blocks.piece(piece)?;
        self.pieces += 1;
        Ok(())
    }

    /// Gives it its name; durable on return. Where that fails, what was written is removed, as far
    /// as that goes. Errors: `Io`.
    pub fn finish(self, disk: &mut dyn Disk) -> Result<IndexFile, StoreError> {
        let Self { blocks, index, pieces } = self;
        let last = |blocks: &mut Blocks| {
            blocks.close()?;
            Ok([blocks.number(), pieces])
        };
        let (len, digest) = blocks.finish(disk, (&name_of(index), FOOTER_TAG), last)?;
        Ok(IndexFile { index, pieces, len, digest })
    }

    /// Removes what was written, after an error or when it is not wanted any more. Errors: `Io`.
    pub fn discard(self, disk: &mut dyn Disk) -> Result<(), StoreError> {
        self.blocks.discard(disk)
    }
}

/// What a file begins and ends with.
struct Ends {
    about: IndexFile,
    meta: Vec<u8>,
    blocks: u64,
    /// Of the header, and with its checksum.
    seal: u32,
    header: Vec<u8>,
}

fn read_ends(file: &mut dyn DiskFile, name: &str) -> Result<Ends, StoreError> {
    let corrupt = |what: &str| StoreError::corrupt(name, 0, what);
    let head = read_up_to(file, name, 0, FIXED_BYTES)?;
    let len = Get::new(&head[head.len().min(20)..]).u32().map_err(|_| corrupt("cut short"))?;
    if len as usize > INDEX_META_BYTES_MAX {
        return Err(corrupt("not an index header"));
    }
    let header = read_up_to(file, name, 0, FIXED_BYTES + len as usize + 4)?;
    let (mut get, seal) = FORM.open(name, &header)?;
    let mut decode = || Ok::<_, DecodeError>((get.index()?, get.bytes()?.to_vec()));
    let (index, meta) = decode().map_err(|e| corrupt(&format!("header: {e}")))?;
    if name_of(index) != name {
        return Err(StoreError::corrupt(name, 12, format!("holds the index at {index}")));
    }
    let footer = Footer::read(file, name, FOOTER_TAG)?;
    let Footer { counts: [blocks, pieces], len, digest, .. } = footer;
    if footer.seal != seal {
        return Err(StoreError::corrupt(name, len, "the footer of another file"));
    }
    let about = IndexFile { index, pieces, len, digest };
    Ok(Ends { about, meta, blocks, seal, header })
}

/// A file as it says it is itself. Errors: `Io`, `Corrupt`, `Unknown`.
pub(crate) fn describe(disk: &mut dyn Disk, name: &str) -> Result<IndexFile, StoreError> {
    let mut file = disk::open(disk, name)?;
    again(|| Ok(read_ends(file.as_mut(), name)?.about))
}

/// Streams the pieces of an index: only after the iterator has returned `None` is the file known to
/// be good. An error is the last item.
pub struct IndexReader {
    file: Box<dyn DiskFile>,
    name: String,
    ends: Ends,
    run: Run,
    ended: bool,
}

impl IndexReader {
    /// Errors: `Io`, `Corrupt`, `Unknown`.
    pub fn open(disk: &mut dyn Disk, index: LogIndex) -> Result<Self, StoreError> {
        let name = name_of(index);
        let mut file = disk::open_known(disk, &name)?;
        let ends = again(|| read_ends(file.as_mut(), &name))?;
        let mut digest = Digest::default();
        digest.add(&ends.header);
        let rest = ends.header.len() as u64..ends.about.len - Footer::BYTES as u64;
        let run = Run::new((PIECES.tag(), 0), rest, digest);
        Ok(Self { file, name, ends, run, ended: false })
    }

    pub fn about(&self) -> &IndexFile {
        &self.ends.about
    }

    pub fn meta(&self) -> &[u8] {
        &self.ends.meta
    }

    fn step(&mut self) -> Result<Option<Blob>, StoreError> {
        let Ends { about, blocks, seal, .. } = &self.ends;
        let mut source = Source { file: self.file.as_mut(), name: &self.name, seal: *seal };
        let piece = self.run.next(&mut source)?;
        if piece.is_none() && self.run.told() != (*blocks, about.pieces, about.digest) {
            let what = "the whole does not match its footer";
            return Err(StoreError::corrupt(&self.name, about.len, what));
        }
        Ok(piece)
    }
}

impl Iterator for IndexReader {
    type Item = Result<Blob, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step().transpose();
        self.ended = !matches!(step, Some(Ok(_)));
        step
    }
}
