//! Files as they are written today, kept as bytes: a build that reads them no more says so here.

use super::identity;
use base::{Ballot, LogIndex};
use store::{CheckpointMeta, latest, read_checkpoint, read_identity};
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
