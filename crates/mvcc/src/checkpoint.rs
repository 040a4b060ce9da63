//! A view as a sequence of bounded records, and back. History is not written: it is what the
//! retained versions say.

mod restore;

use crate::codec::put_count;
use crate::layers::Layers;
use crate::lease::Lease;
use crate::response_codec::key_value;
use crate::types::KeyValue;
use crate::values::{File, InMemory, IndexFile, Values};
use crate::version::Record;
use crate::view::View;
use crate::walk::{Step, Walk};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::codec::Put;

/// A record ends once it is this long; one larger version makes one larger record.
pub const RECORD_BYTES_TARGET: usize = 64 << 10;

#[derive(Clone, Debug)]
enum Stage {
    Header,
    Files,
    /// So many of those that have not settled are written.
    Unsettled(usize),
    Versions(Walk),
    Leases(Option<i64>),
    End,
}

/// Iterator of checkpoint records; owns its view, so it can leave the thread.
pub struct CheckpointRecords<V = InMemory> {
    view: View,
    stage: Stage,
    is_manifest: bool,
    values: V,
    missed: bool,
}

impl<V> CheckpointRecords<V> {
    /// Whether the records ended before all was told, as a version was not at hand, and who was
    /// asked for it.
    pub fn missed(&mut self) -> Option<&mut V> {
        self.missed.then_some(&mut self.values)
    }
}

/// Whether this record, the second one of a checkpoint, names files.
pub fn names_files(record: &[u8]) -> bool {
    record.first() == Some(&b'F')
}

impl View {
    /// As [`View::checkpoint_records`], where what has settled is in files: those are named, and
    /// what is in memory is written. None where a part of it is in memory alone.
    pub fn manifest_records(&self) -> Option<CheckpointRecords> {
        let _files = self.layers.files()?;
        let (view, stage, values) = (self.clone(), Stage::Header, InMemory);
        Some(CheckpointRecords { view, stage, is_manifest: true, values, missed: false })
    }

    /// The files that it goes by; none where a part of what has settled is in memory alone.
    pub fn files(&self) -> Option<(IndexFile, Vec<File>)> {
        let (index, files) = self.layers.files()?;
        Some((index, files.map(|(file, _)| file.clone()).collect()))
    }

    /// The files that it goes by, to tell by them whether it is there still.
    pub fn held_files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.layers.held_files()
    }

    /// All of it as records of about [`RECORD_BYTES_TARGET`] bytes, made one by one: a header, then
    /// versions in the order in which they were made, and leases
    /// (`docs/design/checkpoint-format.md`). All is in memory.
    pub fn checkpoint_records(&self) -> CheckpointRecords {
        self.checkpoint_records_of(InMemory)
    }

    /// The same of a store that has a part of its versions in files.
    pub fn checkpoint_records_of<V: Values>(&self, values: V) -> CheckpointRecords<V> {
        let (view, stage) = (self.clone(), Stage::Header);
        CheckpointRecords { view, stage, is_manifest: false, values, missed: false }
    }

    fn header(&self) -> Vec<u8> {
        self.check();
        let mut out = Vec::new();
        out.put_u8(b'H');
        out.put_u8(restore::FORMAT);
        out.put_i64(self.revision);
        out.put_i64(self.compact_revision);
        out.put_i64(self.sweep.done);
        out.put_i64(self.sweep.target);
        let upto = self.sweep.upto.clone();
        let (key, (revision, sub)) = upto.unwrap_or_default();
        out.put_bytes(&key);
        out.put_i64(revision);
        out.put_u32(sub);
        out.put_u64(self.applied.0);
        out.put_u64(self.now.0);
        out.put_u64(self.chain);
        out.put_u64(self.content_hash());
        out.put_u64(self.versions);
        out.put_u64(self.leases.len() as u64);
        put_count(self.alarms.len(), &mut out);
        for (member, kind) in &self.alarms {
            out.put_u64(*member);
            out.put_u8(*kind as u8);
        }
        self.space.encode(&mut out);
        out
    }
}

/// What has settled: the file of the index, and those of the versions.
fn files(layers: &Layers) -> Vec<u8> {
    let (index, files) = layers.files().expect("a manifest names files");
    let mut out = Vec::from([b'F']);
    out.put_u64(index.index.0);
    out.put_u64(index.len);
    out.put_u64(index.digest);
    for (file, dead) in files {
        out.put_i64(file.first);
        out.put_i64(file.end);
        out.put_u64(file.generation);
        out.put_u64(file.versions);
        out.put_u64(file.len);
        out.put_u64(file.digest);
        out.put_u64(dead as u64);
    }
    out
}

fn put_record(record: &Record, out: &mut Vec<u8>) {
    put_version(&record.kv, record.sub.into(), record.tombstone, out);
}

fn put_version(kv: &KeyValue, sub: i64, tombstone: bool, out: &mut Vec<u8>) {
    key_value(kv, out);
    out.put_i64(sub);
    out.put_u8(u8::from(tombstone));
}

fn is_full(out: &[u8]) -> bool {
    out.len() >= RECORD_BYTES_TARGET
}

impl<V: Values> CheckpointRecords<V> {
    /// Fills a record with what has not settled; dead ones too: they are what ended others.
    fn unsettled(&self, done: usize, out: &mut Vec<u8>) -> Stage {
        let mut upto = done;
        for record in self.view.layers.unsettled().skip(done) {
            if out.is_empty() {
                out.put_u8(b'V');
            }
            put_record(record, out);
            upto += 1;
            if is_full(out) {
                return Stage::Unsettled(upto);
            }
        }
        Stage::Leases(None)
    }

    /// Fills a record with versions; none when one is not at hand.
    fn versions(&mut self, mut walk: Walk, out: &mut Vec<u8>) -> Option<Stage> {
        while !is_full(out) {
            let record = match walk.next(&self.view.layers, &mut self.values) {
                Step::Version(record) => record,
                Step::End => return Some(Stage::Leases(None)),
                Step::Missing => {
                    self.missed = true;
                    return None;
                }
            };
            if !self.view.is_retained(&record) {
                continue;
            }
            if out.is_empty() {
                out.put_u8(b'V');
            }
            put_record(&record, out);
        }
        Some(Stage::Versions(walk))
    }

    /// Fills a record with leases.
    fn leases(&self, after: Option<i64>, out: &mut Vec<u8>) -> Stage {
        let low = after.unwrap_or(i64::MIN);
        let rest = self.view.leases.iter_from(&low, false);
        for (id, lease) in rest.filter(|(id, _)| Some(**id) != after) {
            if out.is_empty() {
                out.put_u8(b'L');
            }
            put_lease(lease, out);
            if is_full(out) {
                return Stage::Leases(Some(*id));
            }
        }
        Stage::End
    }
}

impl<V: Values> Iterator for CheckpointRecords<V> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let mut out = Vec::new();
            let next = match core::mem::replace(&mut self.stage, Stage::End) {
                Stage::Header => {
                    out = self.view.header();
                    let whole = Stage::Versions(Walk::new((0, 0)));
                    if self.is_manifest { Stage::Files } else { whole }
                }
                Stage::Files => {
                    out = files(&self.view.layers);
                    Stage::Unsettled(0)
                }
                Stage::Unsettled(done) => self.unsettled(done, &mut out),
                Stage::Versions(walk) => self.versions(walk, &mut out)?,
                Stage::Leases(after) => self.leases(after, &mut out),
                Stage::End => return None,
            };
            self.stage = next;
            if !out.is_empty() {
                assert!(out.len() > 1, "a record holds something behind its kind");
                return Some(out);
            }
        }
    }
}

fn put_lease(lease: &Lease, out: &mut Vec<u8>) {
    out.put_i64(lease.id);
    out.put_i64(lease.ttl);
    out.put_u64(lease.deadline);
    out.put_u64(lease.renewal);
}
