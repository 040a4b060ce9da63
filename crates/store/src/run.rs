//! Pieces of blocks that stand one behind the other, read in order.

use crate::StoreError;
use crate::block::{HEAD_BYTES, Source};
use crate::digest::Digest;
use base::Blob;
use base::codec::Get;
use std::ops::Range;

pub(crate) struct Run {
    tag: u32,
    /// What is not read yet, and the number of its first block.
    rest: Range<u64>,
    number: u64,
    /// Of what the caller had read before, and all blocks since.
    digest: Digest,
    pieces: u64,
    /// The block that is being read: where it begins and how far it is.
    at: u64,
    block: Vec<u8>,
    read: usize,
    left: u32,
}

impl Run {
    pub fn new((tag, number): (u32, u64), rest: Range<u64>, digest: Digest) -> Self {
        let (at, block, read, left) = (rest.start, Vec::new(), 0, 0);
        Self { tag, rest, number, digest, pieces: 0, at, block, read, left }
    }

    /// Number of the next block, pieces so far, digest of what was read.
    pub fn told(&self) -> (u64, u64, u64) {
        (self.number, self.pieces, self.digest.clone().finish())
    }

    /// The next piece; none at the end. Errors: `Io`, `Corrupt`.
    pub fn next(&mut self, source: &mut Source<'_>) -> Result<Option<Blob>, StoreError> {
        if self.left == 0 {
            if self.rest.is_empty() {
                return Ok(None);
            }
            self.at = self.rest.start;
            let block = source.next((self.tag, self.number), self.rest.clone())?;
            self.digest.add(&block.bytes);
            self.rest.start += block.bytes.len() as u64;
            self.number += 1;
            (self.read, self.left) = (HEAD_BYTES, block.head.count);
            self.block = block.bytes;
        }
        let wrong = || {
            let what = format!("block {} holds no such pieces", self.number - 1);
            StoreError::corrupt(source.name, self.at, what)
        };
        self.left -= 1;
        let mut get = Get::new(&self.block[self.read..]);
        let piece = get.blob().map_err(|_| wrong())?;
        if self.left == 0 && get.remaining() > 0 {
            return Err(wrong());
        }
        self.read = self.block.len() - get.remaining();
        self.pieces += 1;
        Ok(Some(piece))
    }
}
