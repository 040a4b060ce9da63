//! Files as they are written today, kept as bytes: a build that reads them no more says so here.

use super::identity;
use base::{Ballot, LogIndex};
use std::sync::Arc;
use store::{CheckpointMeta, latest, read_checkpoint, read_identity};
use store::{IndexFile, IndexReader, IndexWriter};
use store::{Interval, ValueFile, ValueReader, ValueTable, ValueWriter};
use store::{write_checkpoint, write_identity};
use wal::{Disk, MemDisk};

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn disk_with(name: &str, kept: &str) -> MemDisk {
    let mut disk = MemDisk::new();
    disk.create(name).unwrap().write_at(0, &bytes_of(kept)).unwrap();
    disk
}

const IDENTITY: &str = "
    5149444e540000000300000001000000000000000200000000000000030000000000000004000000
    00000000090000000505050505050505050100000006000000000000000700000000000000030000
    000000000008000000707574206261636b080000000000000023541d3f";

#[test]
fn an_identity_of_version_3_is_read() {
    let identity = identity();
    let mut disk = MemDisk::new();
    write_identity(&mut disk, &identity).unwrap();
    assert_eq!(hex_of(&disk.bytes("identity").unwrap()), hex_of(&bytes_of(IDENTITY)));
    let found = read_identity(&mut disk_with("identity", IDENTITY)).unwrap();
    assert_eq!(found, Some(identity));
}

const CHECKPOINT: &str = "
    51434b50540000000100000040000000070000000000000002000000000000000100000000000000
    09000000000000000a000000000000000b0000000000000003000000010203050000000404040404
    dba865d65143424b130000000200000063289aac050000006669727374060000007365636f6e6451
    43465401000000000000000200000000000000a300000000000000f1cfec7d81b71c570000000019
    0d4422";

#[test]
fn a_checkpoint_of_the_present_version_is_read() {
    let meta = CheckpointMeta {
        index: LogIndex(7),
        ballot: Ballot::new(2, 1),
        revision: 9,
        chain_hash: 10,
        content_hash: 11,
        config: vec![1, 2, 3],
        extra: vec![4; 5],
    };
    let records = vec![b"first".to_vec(), b"second".to_vec()];
    let mut disk = MemDisk::new();
    let file = write_checkpoint(&mut disk, &meta, records.clone()).unwrap();
    assert_eq!(hex_of(&disk.bytes(&file.name).unwrap()), hex_of(&bytes_of(CHECKPOINT)));
    let mut kept = disk_with(&file.name, CHECKPOINT);
    assert_eq!(latest(&mut kept).unwrap(), Some(file.clone()));
    assert_eq!(read_checkpoint(&mut kept, &file.name).unwrap(), (meta, records));
}

/// Made by hand from the format page; without the bytes of its long version.
const VALUES: &str = "
    5156414c55000000010000000700000000000000140000000000000002000000000000001203a1e4
    5156424bf310aa4b2500000002000000000000000000000007000000000000000000000005000000
    6669727374070000000000000003000000000000005156424b5db98f1a1020000001000000010000
    00000000001300000000000000000000000020000051564b530a194bc61300000002000000020000
    0000000000040000006c65616607000000616e6f74686572515654429f7493cc2800000002000000
    03000000000000000700000000000000000000002800000000000000130000000000000000000000
    6500000000000000515646540300000000000000030000000000000002000000000000008d200000
    00000000b8200000000000003c21000000000000fdb63ebbcff8e5561203a1e471342d1f";

#[test]
fn values_of_the_present_version_are_read() {
    let interval = Interval { first: 7, end: 20, generation: 2 };
    let versions =
        [((7, 0), b"first".to_vec()), ((7, 3), b"".to_vec()), ((19, 0), vec![6; 8 << 10])];
    let mut disk = MemDisk::new();
    let mut writer = ValueWriter::begin(&mut disk, interval).unwrap();
    for (age, version) in &versions {
        writer.put(*age, version).unwrap();
    }
    writer.piece(b"leaf").unwrap();
    writer.piece(b"another").unwrap();
    let file = writer.finish(&mut disk).unwrap();
    assert_eq!(file, ValueFile { interval, versions: 3, len: 8508, digest: 0x56e5_f8cf_bb3e_b6fd });
    let name = "values-0000000000000007-0000000000000002.qv";
    let bytes = disk.bytes(name).unwrap();
    let long = bytes.windows(8 << 10).position(|window| *window == versions[2].1).unwrap();
    let around = [&bytes[..long], &bytes[long + (8 << 10)..]].concat();
    assert_eq!(hex_of(&around), hex_of(&bytes_of(VALUES)));
    let mut kept = bytes_of(VALUES);
    kept.splice(long..long, versions[2].1.iter().copied());
    let mut disk = disk_with(name, &hex_of(&kept));
    let table = Arc::new(ValueTable::open(&mut disk, &file).unwrap());
    assert_eq!((table.blocks(), table.pieces()), (2, Some(2)));
    let mut reader = ValueReader::open(&mut disk, table).unwrap();
    for (age, version) in &versions {
        let block = reader.block_of(*age).unwrap().unwrap();
        assert_eq!(block.version(*age), Some(&version[..]));
    }
    let pieces: Vec<_> = reader.pieces().unwrap().map(|piece| piece.unwrap().to_vec()).collect();
    assert_eq!(pieces, [&b"leaf"[..], b"another"]);
    reader.verify().unwrap();
}

/// Made by hand from the format page.
const INDEX: &str = "
    51494e4458000000010000004d00000000000000040000006d65746179abcc0851585043ad934bb6
    13000000020000000000000000000000040000006c65616607000000616e6f746865725158465401
    0000000000000002000000000000007700000000000000682e8ab43012dfc979abcc0836d29f96";

#[test]
fn an_index_of_the_present_version_is_read() {
    let mut disk = MemDisk::new();
    let mut writer = IndexWriter::begin(&mut disk, LogIndex(77), b"meta").unwrap();
    writer.piece(b"leaf").unwrap();
    writer.piece(b"another").unwrap();
    let file = writer.finish(&mut disk).unwrap();
    assert_eq!(
        file,
        IndexFile { index: LogIndex(77), pieces: 2, len: 119, digest: 0xc9df_1230_b48a_2e68 }
    );
    let name = "index-000000000000004d.qx";
    assert_eq!(file.name(), name);
    assert_eq!(hex_of(&disk.bytes(name).unwrap()), hex_of(&bytes_of(INDEX)));
    let mut kept = disk_with(name, INDEX);
    let mut reader = IndexReader::open(&mut kept, LogIndex(77)).unwrap();
    let pieces: Vec<_> = reader.by_ref().map(|piece| piece.unwrap().to_vec()).collect();
    assert_eq!(pieces, [&b"leaf"[..], b"another"]);
    assert_eq!((reader.meta(), reader.about()), (&b"meta"[..], &file));
}
