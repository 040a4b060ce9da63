//! Checkpoint files: written once, verified whole, read in chunks.

use crate::digest::Digest;
use crate::disk::{read_up_to, remove_all, sync_names};
use crate::draft::Draft;
use crate::frame::{self, Form};
use crate::{StoreError, StoreErrorKind, disk};
use base::codec::{DecodeError, Get, Put};
use base::limits::CHECKPOINT_META_BYTES_MAX as META_BYTES_MAX;
use base::{Ballot, LogIndex, NodeId, Term, planted};
use crc32c::{crc32c, crc32c_append};
use wal::{Disk, DiskFile, Shape, remove_named};

const FORM: Form = Form { magic: b"QCKPT\0\0\0", version: 1 };
const BLOCK_TAG: u32 = u32::from_le_bytes(*b"QCBK");
const FOOTER_TAG: [u8; 4] = *b"QCFT";
const BLOCK_HEADER_BYTES: usize = 16;
/// Blocks and records.
type Footer = frame::Footer<2>;
/// Meta besides its two byte strings.
const META_FIXED_BYTES: usize = 56;
/// A block is closed when its body reaches this many bytes.
const BLOCK_BYTES: usize = 1 << 20;

pub(crate) const CHECKPOINT: Shape = Shape { prefix: "checkpoint-", groups: 3, suffix: ".qc" };
/// One that is being written.
const HALF: Shape = Shape { prefix: "checkpoint-", groups: 3, suffix: ".tmp" };

/// The state a checkpoint stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointMeta {
    /// The last entry applied, and its ballot.
    pub index: LogIndex,
    pub ballot: Ballot,
    pub revision: i64,
    pub chain_hash: u64,
    pub content_hash: u64,
    /// The configuration in force at `index`, encoded.
    pub config: Vec<u8>,
    /// What else the replica keeps: dedupe window, cluster time.
    pub extra: Vec<u8>,
}

impl CheckpointMeta {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64(self.index.0);
        out.put_ballot(self.ballot);
        out.put_i64(self.revision);
        out.put_u64(self.chain_hash);
        out.put_u64(self.content_hash);
        out.put_bytes(&self.config);
        out.put_bytes(&self.extra);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut get = Get::new(bytes);
        let meta = Self {
            index: get.index()?,
            ballot: get.ballot()?,
            revision: get.i64()?,
            chain_hash: get.u64()?,
            content_hash: get.u64()?,
            config: get.bytes()?.to_vec(),
            extra: get.bytes()?.to_vec(),
        };
        get.finish()?;
        Ok(meta)
    }
}

/// A complete, durable checkpoint file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    pub name: String,
    pub index: LogIndex,
    pub ballot: Ballot,
    /// Whole length in bytes.
    pub len: u64,
    /// Digest of the content, from the footer.
    pub digest: u64,
}

pub(crate) fn stem(index: LogIndex, ballot: Ballot) -> String {
    format!("{:016x}-{:016x}-{:016x}", index.0, ballot.term.0, ballot.node.0)
}

pub(crate) fn checkpoint_name(index: LogIndex, ballot: Ballot) -> String {
    format!("checkpoint-{}.qc", stem(index, ballot))
}

fn parse_name(name: &str) -> Option<(LogIndex, Ballot)> {
    let parts = name.strip_prefix("checkpoint-")?.strip_suffix(".qc")?;
    let mut fields = parts.split('-').map(|hex| u64::from_str_radix(hex, 16).ok());
    let (index, term, node) = (fields.next()??, fields.next()??, fields.next()??);
    let ballot = Ballot { term: Term(term), node: NodeId(node) };
    (checkpoint_name(LogIndex(index), ballot) == name).then_some((LogIndex(index), ballot))
}

/// Writes a checkpoint: tmp file, sync, rename, sync of the directory. Durable on return.
/// Errors: `Io`, `Invalid` (a record above 4 GiB, a meta above 64 MiB).
pub fn write_checkpoint(
    disk: &mut dyn Disk,
    meta: &CheckpointMeta,
    records: impl IntoIterator<Item = Vec<u8>>,
) -> Result<CheckpointFile, StoreError> {
    let tmp = format!("checkpoint-{}.tmp", stem(meta.index, meta.ballot));
    let mut writer = Writer { draft: Draft::begin(disk, HALF, tmp)?, blocks: 0, records: 0 };
    writer.header(meta)?;
    let (mut body, mut count) = (Vec::new(), 0);
    for record in records {
        if u32::try_from(record.len() + 4).is_err() {
            return Err(writer.draft.invalid("a record above 4 GiB"));
        }
        let full = body.len() + 4 + record.len() > BLOCK_BYTES;
        if full && count > 0 {
            writer.block(&body, count)?;
            body.clear();
            count = 0;
        }
        body.put_bytes(&record);
        count += 1;
    }
    if count > 0 {
        writer.block(&body, count)?;
    }
    let name = checkpoint_name(meta.index, meta.ballot);
    let footer = (FOOTER_TAG, [writer.blocks, writer.records], 0);
    let (len, digest) = writer.draft.finish(disk, &name, footer)?;
    Ok(CheckpointFile { name, index: meta.index, ballot: meta.ballot, len, digest })
}

struct Writer {
    draft: Draft,
    blocks: u64,
    records: u64,
}

impl Writer {
    fn header(&mut self, meta: &CheckpointMeta) -> Result<(), StoreError> {
        // The reader refuses a longer one: it must never become the newest checkpoint.
        if meta.config.len() + meta.extra.len() > META_BYTES_MAX - META_FIXED_BYTES {
            return Err(self.draft.invalid(format!("meta above {META_BYTES_MAX} bytes")));
        }
        let encoded = meta.encode();
        assert!(encoded.len() <= META_BYTES_MAX, "the bound was checked");
        let mut out = FORM.begin();
        out.put_bytes(&encoded);
        frame::seal(&mut out);
        self.draft.write(&out)
    }

    fn block(&mut self, body: &[u8], count: u32) -> Result<(), StoreError> {
        let len = u32::try_from(body.len()).expect("records are bounded by the caller");
        let mut head = Vec::with_capacity(BLOCK_HEADER_BYTES);
        head.put_u32(BLOCK_TAG);
        head.put_u32(len);
        head.put_u32(count);
        head.put_u32(block_crc(self.blocks, len, count, body));
        self.draft.write(&head)?;
        self.draft.write(body)?;
        self.blocks += 1;
        self.records += u64::from(count);
        Ok(())
    }
}

fn block_crc(block: u64, len: u32, count: u32, body: &[u8]) -> u32 {
    let mut crc = crc32c(&block.to_le_bytes());
    crc = crc32c_append(crc, &len.to_le_bytes());
    crc = crc32c_append(crc, &count.to_le_bytes());
    crc32c_append(crc, body)
}

/// What a directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Oldest first, each with a footer that verifies.
    pub checkpoints: Vec<CheckpointFile>,
    /// What is wrong with the others, by file.
    pub damaged: Vec<StoreError>,
}

/// All checkpoints; a damaged one hides no other. Errors: `Io`.
pub fn list(disk: &mut dyn Disk) -> Result<Listing, StoreError> {
    let mut listing = Listing::default();
    for (index, ballot, name) in names(disk)? {
        match describe(disk, index, ballot, name) {
            Ok(checkpoint) => listing.checkpoints.push(checkpoint),
            Err(error) if error.kind == StoreErrorKind::Io => return Err(error),
            Err(error) => listing.damaged.push(error),
        }
    }
    Ok(listing)
}

/// Index, ballot and name of every complete checkpoint, oldest first.
pub(crate) fn names(disk: &mut dyn Disk) -> Result<Vec<(LogIndex, Ballot, String)>, StoreError> {
    let names = disk::names(disk)?;
    let parsed = |name: String| parse_name(&name).map(|(index, ballot)| (index, ballot, name));
    let mut found: Vec<_> = names.into_iter().filter_map(parsed).collect();
    found.sort();
    Ok(found)
}

pub(crate) fn describe(
    disk: &mut dyn Disk,
    index: LogIndex,
    ballot: Ballot,
    name: String,
) -> Result<CheckpointFile, StoreError> {
    let mut file = disk::open(disk, &name)?;
    let footer = read_footer(file.as_mut(), &name)?;
    let (len, digest) = (footer.len, footer.digest);
    Ok(CheckpointFile { name, index, ballot, len, digest })
}

/// The newest checkpoint; what older ones look like does not matter. Its blocks are verified
/// when read. Errors: `Io`, `Corrupt` (never answered with an older one: the journal between the
/// two may be gone).
pub fn latest(disk: &mut dyn Disk) -> Result<Option<CheckpointFile>, StoreError> {
    let mut names = names(disk)?;
    if planted!(OlderCheckpoint) {
        names.retain(|(_, _, name)| read_checkpoint(disk, name).is_ok());
    }
    let newest = names.pop();
    newest.map(|(index, ballot, name)| describe(disk, index, ballot, name)).transpose()
}

/// Removes all but the newest `keep` checkpoints, damaged or not. Errors: `Io`.
pub fn remove_older(disk: &mut dyn Disk, keep: usize) -> Result<(), StoreError> {
    assert!(keep > 0, "the newest checkpoint is the state");
    keep_newest(disk, keep)
}

/// Removes all checkpoints, damaged or not, of a directory that holds no state. Errors: `Io`.
pub fn remove_all_checkpoints(disk: &mut dyn Disk) -> Result<(), StoreError> {
    keep_newest(disk, 0)
}

fn keep_newest(disk: &mut dyn Disk, keep: usize) -> Result<(), StoreError> {
    let mut all = names(disk)?;
    all.truncate(all.len().saturating_sub(keep));
    for (_, _, old) in &all {
        let removed = remove_named(disk, CHECKPOINT, old);
        removed.map_err(|e| StoreError::io(old, "remove", &e))?;
    }
    sync_names(disk)
}

/// Removes this one. Who has it open reads on. Errors: `Io`.
pub fn remove_checkpoint(disk: &mut dyn Disk, file: &CheckpointFile) -> Result<(), StoreError> {
    let removed = remove_named(disk, CHECKPOINT, &file.name);
    removed.map_err(|e| StoreError::io(&file.name, "remove", &e))
}

/// Removes half-written files; for start-up. Received parts are kept for resuming.
pub fn clean(disk: &mut dyn Disk) -> Result<(), StoreError> {
    remove_all(disk, |name| HALF.own(name)).map(|_| ())
}

/// The meta and all records, verified whole. Errors: `Io`, `Corrupt`, `Unknown`.
pub fn read_checkpoint(
    disk: &mut dyn Disk,
    name: &str,
) -> Result<(CheckpointMeta, Vec<Vec<u8>>), StoreError> {
    let mut reader = open_checkpoint(disk, name)?;
    let records = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    Ok((reader.meta().clone(), records))
}

/// Opens a checkpoint for streaming. Errors: `Io`, `Corrupt`, `Unknown`.
pub fn open_checkpoint(disk: &mut dyn Disk, name: &str) -> Result<Reader, StoreError> {
    Reader::new(disk::open(disk, name)?, name)
}

fn read_footer(file: &mut dyn DiskFile, name: &str) -> Result<Footer, StoreError> {
    let footer = Footer::read(file, name, FOOTER_TAG)?;
    if footer.seal != 0 {
        let at = footer.len - Footer::BYTES as u64;
        return Err(StoreError::corrupt(name, at, "footer: its last word is not zero"));
    }
    Ok(footer)
}

/// Streams the records of a checkpoint, verifying each block, and the whole at the end: only
/// after the iterator has returned `None` is the file known to be good.
pub struct Reader {
    file: Box<dyn DiskFile>,
    name: String,
    meta: CheckpointMeta,
    footer: Footer,
    offset: u64,
    digest: Digest,
    blocks: u64,
    records: u64,
    /// Records of the current block, last first.
    ready: Vec<Vec<u8>>,
    done: bool,
}

impl Reader {
    pub(crate) fn new(mut file: Box<dyn DiskFile>, name: &str) -> Result<Self, StoreError> {
        let footer = read_footer(file.as_mut(), name)?;
        let cut = |e: DecodeError| StoreError::corrupt(name, 0, format!("header: {e}"));
        let head = read_up_to(file.as_mut(), name, 0, 16)?;
        let len = Get::new(&head[head.len().min(12)..]).u32().map_err(cut)? as usize;
        if !head.starts_with(FORM.magic) || len > META_BYTES_MAX {
            return Err(StoreError::corrupt(name, 0, "not a checkpoint header"));
        }
        let bytes = read_up_to(file.as_mut(), name, 0, 16 + len + 4)?;
        let (mut get, _) = FORM.open(name, &bytes)?;
        let meta = get.bytes().and_then(CheckpointMeta::decode).map_err(cut)?;
        // A misdirected write may put another checkpoint here, whole if it is small.
        if parse_name(name).is_some_and(|named| named != (meta.index, meta.ballot)) {
            let what = format!("holds the checkpoint at {} of {}", meta.index, meta.ballot);
            return Err(StoreError::corrupt(name, 16, what));
        }
        let mut digest = Digest::default();
        digest.add(&bytes);
        Ok(Self {
            file,
            name: name.to_owned(),
            meta,
            footer,
            offset: bytes.len() as u64,
            digest,
            blocks: 0,
            records: 0,
            ready: Vec::new(),
            done: false,
        })
    }

    pub fn meta(&self) -> &CheckpointMeta {
        &self.meta
    }

    /// The digest the footer states; true once the iterator has ended without an error.
    pub(crate) fn digest_stated(&self) -> u64 {
        self.footer.digest
    }

    fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::corrupt(&self.name, self.offset, what)
    }

    /// Loads the next block; false at the verified end.
    fn block(&mut self) -> Result<bool, StoreError> {
        let end = self.footer.len - Footer::BYTES as u64;
        if self.offset >= end {
            let whole = std::mem::take(&mut self.digest).finish() == self.footer.digest;
            let counted = [self.blocks, self.records] == self.footer.counts;
            if !whole || !counted || self.offset != end {
                return Err(self.corrupt("the whole does not match its footer"));
            }
            return Ok(false);
        }
        let head = read_up_to(self.file.as_mut(), &self.name, self.offset, BLOCK_HEADER_BYTES)?;
        let parsed = (|| {
            let mut get = Get::new(&head);
            Ok::<_, DecodeError>((get.u32()?, get.u32()?, get.u32()?, get.u32()?))
        })();
        let (tag, len, count, crc) =
            parsed.map_err(|e| self.corrupt(format!("block header: {e}")))?;
        let at = self.offset + BLOCK_HEADER_BYTES as u64;
        if tag != BLOCK_TAG || at + u64::from(len) > end {
            return Err(self.corrupt(format!("block {} has no valid header", self.blocks)));
        }
        let body = read_up_to(self.file.as_mut(), &self.name, at, len as usize)?;
        if body.len() != len as usize || block_crc(self.blocks, len, count, &body) != crc {
            return Err(self.corrupt(format!("block {} checksum", self.blocks)));
        }
        self.ready =
            split(&body, count).map_err(|e| self.corrupt(format!("records of a block: {e}")))?;
        self.digest.add(&head);
        self.digest.add(&body);
        self.offset = at + u64::from(len);
        self.blocks += 1;
        self.records += u64::from(count);
        Ok(true)
    }
}

/// The records of a block body, last first.
fn split(body: &[u8], count: u32) -> Result<Vec<Vec<u8>>, DecodeError> {
    let mut get = Get::new(body);
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(get.bytes()?.to_vec());
    }
    get.finish()?;
    records.reverse();
    Ok(records)
}

impl Iterator for Reader {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ready.pop() {
                return Some(Ok(record));
            }
            if self.done {
                return None;
            }
            match self.block() {
                Ok(true) => {}
                Ok(false) => self.done = true,
                Err(e) => {
                    self.done = true;
                    return Some(Err(e));
                }
            }
        }
    }
}
