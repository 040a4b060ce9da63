//! Checkpoints, transfers and the identity over a disk in memory.

#[path = "it/kept.rs"]
mod kept;

use base::limits::PEERS_MET_MAX;
use base::{Ballot, Incarnation, LogIndex, NodeId};
use store::{
    CheckpointMeta, Identity, Incoming, Met, StoreErrorKind, latest, read_checkpoint,
    read_identity, remove_older, write_checkpoint, write_identity,
};
use wal::{Disk, MemDisk};

fn meta(index: u64) -> CheckpointMeta {
    CheckpointMeta {
        index: LogIndex(index),
        ballot: Ballot::new(2, 1),
        revision: 9,
        config: vec![1, 2, 3],
        extra: vec![4; 10],
        ..CheckpointMeta::default()
    }
}

fn identity() -> Identity {
    Identity {
        cluster: 1,
        member: NodeId(2),
        birth: 3,
        incarnation: Incarnation(4),
        config: vec![5; 9],
        peers: vec![Met { member: NodeId(6), birth: 7, incarnation: Incarnation(3) }],
        void: "put back".to_owned(),
        journal_key: 8,
    }
}

fn records(n: usize, size: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| vec![i as u8; size]).collect()
}

#[test]
fn a_checkpoint_is_read_back_after_a_crash_and_old_ones_go() {
    let mut disk = MemDisk::new();
    for index in 1..=3 {
        write_checkpoint(&mut disk, &meta(index), records(5, 400_000)).unwrap();
    }
    remove_older(&mut disk, 2).unwrap();
    let mut disk = disk.crash(5);
    assert_eq!(store::list(&mut disk).unwrap().checkpoints.len(), 2);
    let newest = latest(&mut disk).unwrap().unwrap();
    let found = read_checkpoint(&mut disk, &newest.name).unwrap();
    assert_eq!(found, (meta(3), records(5, 400_000)));
}

#[test]
fn a_flip_of_any_byte_of_a_checkpoint_is_refused() {
    let mut disk = MemDisk::new();
    let file = write_checkpoint(&mut disk, &meta(1), records(3, 20)).unwrap();
    for at in 0..file.len {
        let mut copy = disk.fork();
        assert!(copy.flip(&file.name, at, 0x11));
        let error = read_checkpoint(&mut copy, &file.name).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Corrupt, "byte {at}: {error}");
    }
}

#[test]
fn the_zero_of_a_checkpoints_footer_is_one() {
    let mut disk = MemDisk::new();
    let file = write_checkpoint(&mut disk, &meta(1), records(3, 20)).unwrap();
    let mut bytes = disk.bytes(&file.name).unwrap();
    let end = bytes.len();
    bytes[end - 8] = 1;
    let crc = base::crc::crc32c(&bytes[end - 44..end - 4]);
    bytes[end - 4..].copy_from_slice(&crc.to_le_bytes());
    disk.create(&file.name).unwrap().write_at(0, &bytes).unwrap();
    let error = read_checkpoint(&mut disk, &file.name).unwrap_err();
    assert_eq!((error.kind, error.offset), (StoreErrorKind::Corrupt, file.len - 44));
}

#[test]
fn a_checkpoint_in_the_place_of_another_is_damage() {
    let mut disk = MemDisk::new();
    let old = write_checkpoint(&mut disk, &meta(1), records(0, 0)).unwrap();
    let new = write_checkpoint(&mut disk, &meta(2), records(0, 0)).unwrap();
    // Both are smaller than a sector, and of the same size.
    let bytes = disk.bytes(&old.name).unwrap().to_vec();
    disk.open(&new.name).unwrap().write_at(0, &bytes).unwrap();
    let error = read_checkpoint(&mut disk, &new.name).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("holds the checkpoint at 1"), "{error}");
}

#[test]
fn a_transfer_resumes_and_a_damaged_one_is_removed() {
    let mut from = MemDisk::new();
    let offer = write_checkpoint(&mut from, &meta(4), records(9, 50)).unwrap();
    let bytes = from.bytes(&offer.name).unwrap();
    for damage in [false, true] {
        let mut to = MemDisk::new();
        while !Incoming::begin(&mut to, &offer).unwrap().complete() {
            let mut part = Incoming::begin(&mut to, &offer).unwrap();
            let at = part.offset();
            let rest = &bytes[at as usize..];
            let mut chunk = rest[..rest.len().min(64)].to_vec();
            chunk[0] ^= u8::from(damage);
            assert_eq!(part.write(at + 1, &chunk).unwrap_err().kind, StoreErrorKind::Invalid);
            part.write(at, &chunk).unwrap();
        }
        let done = Incoming::begin(&mut to, &offer).unwrap().finish(&mut to);
        if damage {
            assert_eq!(done.unwrap_err().kind, StoreErrorKind::Corrupt);
            assert!(to.list().unwrap().is_empty());
        } else {
            assert_eq!(done.unwrap(), offer);
            let mut to = to.crash(3);
            assert_eq!(read_checkpoint(&mut to, &offer.name).unwrap().1, records(9, 50));
        }
    }
}

#[test]
fn an_identity_is_read_back_and_damage_is_refused() {
    let mut disk = MemDisk::new();
    assert_eq!(read_identity(&mut disk).unwrap(), None);
    let identity = identity();
    write_identity(&mut disk, &identity).unwrap();
    assert_eq!(read_identity(&mut disk.crash(1)).unwrap(), Some(identity));
    for at in 0..disk.bytes("identity").unwrap().len() as u64 {
        let mut copy = disk.fork();
        copy.flip("identity", at, 4);
        assert_eq!(read_identity(&mut copy).unwrap_err().kind, StoreErrorKind::Corrupt);
    }
}

/// Nobody outside this tree has written one, so no older version is read.
#[test]
fn an_identity_of_any_other_version_is_refused_by_name() {
    for version in [1u32, 2, 4] {
        let mut disk = MemDisk::new();
        write_identity(&mut disk, &Identity::default()).unwrap();
        let mut bytes = disk.bytes("identity").unwrap();
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        let content = bytes.len() - 4;
        let crc = base::crc::crc32c(&bytes[..content]);
        bytes[content..].copy_from_slice(&crc.to_le_bytes());
        disk.create("identity").unwrap().write_at(0, &bytes).unwrap();
        let refused = read_identity(&mut disk).unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Unknown);
        assert!(refused.to_string().contains(&format!("version {version}")), "{refused}");
    }
}

#[test]
fn a_meta_that_could_not_be_read_back_is_not_written() {
    let mut disk = MemDisk::new();
    let fits = CheckpointMeta { extra: vec![1; (64 << 20) - 56 - 3], ..meta(1) };
    let file = write_checkpoint(&mut disk, &fits, records(1, 1)).unwrap();
    assert!(read_checkpoint(&mut disk, &file.name).unwrap().0 == fits);
    let above = CheckpointMeta { extra: vec![1; (64 << 20) - 56 - 2], ..meta(2) };
    let error = write_checkpoint(&mut disk, &above, records(1, 1)).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Invalid);
    assert_eq!(latest(&mut disk).unwrap(), Some(file));
}

#[test]
fn a_damaged_old_checkpoint_is_named_and_hides_no_intact_newer_one() {
    let mut disk = MemDisk::new();
    let files: Vec<_> = (1..=3)
        .map(|index| write_checkpoint(&mut disk, &meta(index), records(3, 20)).unwrap())
        .collect();
    assert!(disk.flip(&files[1].name, files[1].len - 1, 0x40), "its footer");
    let listing = store::list(&mut disk).unwrap();
    assert_eq!(listing.checkpoints, [files[0].clone(), files[2].clone()]);
    let damaged: Vec<&str> = listing.damaged.iter().map(|error| error.file.as_str()).collect();
    assert_eq!(damaged, [&files[1].name]);
    assert_eq!(latest(&mut disk).unwrap(), Some(files[2].clone()));
    remove_older(&mut disk, 1).unwrap();
    let left = store::list(&mut disk).unwrap();
    assert_eq!((left.checkpoints.len(), left.damaged.len()), (1, 0));
    assert_eq!(left.checkpoints[0], files[2]);
}

#[test]
fn a_damaged_newest_checkpoint_is_an_error_and_never_replaced_by_an_older_one() {
    let mut disk = MemDisk::new();
    let old = write_checkpoint(&mut disk, &meta(1), records(3, 20)).unwrap();
    let new = write_checkpoint(&mut disk, &meta(2), records(3, 20)).unwrap();
    assert!(disk.flip(&new.name, new.len - 1, 0x40));
    let error = latest(&mut disk).unwrap_err();
    assert_eq!((error.kind, &error.file), (StoreErrorKind::Corrupt, &new.name));
    assert_eq!(store::list(&mut disk).unwrap().checkpoints, [old]);
}

#[test]
fn an_identity_that_met_more_peers_than_are_remembered_is_damage() {
    let met = |n| store::Met { member: NodeId(n), ..store::Met::default() };
    for (count, read) in [(PEERS_MET_MAX, true), (PEERS_MET_MAX + 1, false)] {
        let mut disk = MemDisk::new();
        let peers = (1..=count as u64).map(met).collect();
        let identity = Identity { cluster: 1, peers, ..Identity::default() };
        store::write_identity(&mut disk, &identity).unwrap();
        match store::read_identity(&mut disk) {
            Ok(found) => assert!(read && found.unwrap().peers.len() == count),
            Err(error) => assert!(!read && error.kind == StoreErrorKind::Corrupt, "{error}"),
        }
    }
}
