//! A segment as it is written today, kept as bytes: a build that reads it no more says so here.

use base::{Ballot, Blob, LogIndex, NodeId};
use wal::{Batch, Disk, Journal, MemDisk, Options, Owner, Record};

const NAME: &str = "segment-0000000000000001.qj";
const OPTIONS: Options = Options { segment_bytes: 4096, prefill_bytes: 0, spares_max: 0 };
const OWNER: Owner = Owner { cluster: 7, member: NodeId(3) };
const KEY: u64 = 0xfeed;

/// The header of the segment, and its batch; what is between them is zero.
const SEGMENT: &[(usize, &str)] = &[
    (
        0,
        "
    514a5345470000000100000000020000edfe00000000000001000000000000000000000000000000
    01",
    ),
    (
        80,
        "
    070000000000000003",
    ),
    (
        508,
        "
    a2ea216b514a42540100010001000000000000000100000000000000000000000000000002000000
    0000000003000000000000000100000000000000ffffffffffffffff4b00000002000000a2ea216b
    33c609279134c5fd0000000001000000050000000100000000000000020000000000000003000000
    00000000666972737401000000060000000200000000000000020000000000000003000000000000
    007365636f6e640000000000",
    ),
];

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn kept() -> Vec<u8> {
    let mut all = Vec::new();
    for (at, hex) in SEGMENT {
        assert!(all.len() <= *at, "in order");
        all.resize(*at, 0);
        all.extend(bytes_of(hex));
    }
    all
}

fn records() -> Vec<Record> {
    let one = |index: u64, text: &[u8]| {
        let ballot = Ballot::new(2, 3);
        Record { kind: 1, index: LogIndex(index), ballot, payload: Blob::from(text) }
    };
    vec![one(1, b"first"), one(2, b"second")]
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_segment_with_a_batch_is_written_as_it_was_and_read() {
    let disk = MemDisk::new();
    let mut journal = Journal::create(disk.clone(), OPTIONS, OWNER, KEY).unwrap();
    let (ballot, commit) = (Ballot::new(2, 3), LogIndex(1));
    let batch = Batch { ballot, truncate_from: None, entries: &records(), commit };
    journal.append(&[batch]).unwrap();
    journal.sync().unwrap();
    drop(journal);
    assert_eq!(hex_of(&disk.bytes(NAME).unwrap()), hex_of(&kept()));
    let mut disk = MemDisk::new();
    disk.create(NAME).unwrap().write_at(0, &kept()).unwrap();
    let (journal, found) = Journal::open(disk, OPTIONS).unwrap();
    assert_eq!((journal.key(), found.owner), (KEY, OWNER));
    assert_eq!((found.ballot, found.commit, found.cut), (ballot, commit, None));
    assert_eq!(found.records, records());
}
