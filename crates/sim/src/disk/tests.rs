use super::*;

fn file(disk: &mut SimDisk, name: &str) -> Box<dyn DiskFile> {
    disk.create(name).expect("room")
}

fn bytes(disk: &mut SimDisk, name: &str) -> Vec<u8> {
    let mut file = disk.open(name).expect("there");
    let mut out = vec![0; file.len().expect("length") as usize];
    file.read_at(0, &mut out).expect("readable");
    out
}

#[test]
fn what_is_not_synced_is_lost_with_the_power_and_what_is_stays() {
    let mut disk = SimDisk::new(1);
    let mut f = file(&mut disk, "a");
    f.write_at(0, b"first").expect("write");
    f.sync().expect("sync");
    disk.sync_dir().expect("sync");
    f.write_at(5, b" second").expect("write");
    disk.machine().power_off(Loss::Whole);
    assert_eq!(bytes(&mut disk, "a"), b"first");
    assert_eq!(disk.machine().counts.lost_whole, 1);
}

#[test]
fn a_sync_that_fails_once_loses_its_pages_though_the_next_one_succeeds() {
    let mut disk = SimDisk::new(1);
    let mut f = file(&mut disk, "a");
    f.sync().expect("sync");
    disk.sync_dir().expect("sync");
    f.write_at(0, b"gone").expect("write");
    disk.machine().fail_sync_once();
    assert!(f.sync().is_err());
    f.sync().expect("the second sync says yes");
    assert_eq!(bytes(&mut disk, "a"), b"gone", "the page cache still shows it");
    disk.machine().power_off(Loss::Whole);
    assert_eq!(bytes(&mut disk, "a"), b"");
}

#[test]
fn a_directory_sees_only_its_own_names() {
    let root = SimDisk::new(1);
    let mut a = root.dir("a/");
    let mut b = root.dir("b/");
    file(&mut a, "x");
    assert_eq!(a.list().expect("list"), ["x"]);
    assert!(b.list().expect("list").is_empty());
}

#[test]
fn a_full_disk_refuses_growth_and_an_old_image_comes_back_whole() {
    let mut disk = SimDisk::new(1);
    let mut f = file(&mut disk, "a");
    f.write_at(0, b"old").expect("write");
    f.sync().expect("sync");
    disk.sync_dir().expect("sync");
    let image = disk.machine().image();
    f.write_at(0, b"new and longer").expect("write");
    f.sync().expect("sync");
    disk.machine().set_full(true);
    assert!(f.write_at(14, b"more").is_err());
    disk.machine().restore(&image);
    assert_eq!(bytes(&mut disk, "a"), b"old");
}

#[test]
fn a_recovery_after_a_failed_sync_vouches_only_for_what_it_wrote_again() {
    let root = SimDisk::new(1);
    let options = wal::Options { segment_bytes: 4096, prefill_bytes: 0, spares_max: 0 };
    let owner = wal::Owner::default();
    let mut journal = wal::Journal::create(root.clone(), options, owner, 7).expect("new");
    let record = wal::Record {
        kind: 1,
        index: base::LogIndex(1),
        ballot: base::Ballot::new(1, 1),
        payload: base::Blob::from(&b"x"[..]),
    };
    let batch = wal::Batch {
        ballot: base::Ballot::new(1, 1),
        truncate_from: None,
        entries: std::slice::from_ref(&record),
        commit: base::LogIndex::ZERO,
    };
    journal.append(&[batch]).expect("room");
    root.machine().fail_sync_once();
    journal.sync().expect_err("the sync fails");
    drop(journal);
    root.machine().power_off(Loss::None);
    let (journal, found) = wal::Journal::open(root.clone(), options).expect("sound");
    assert_eq!(found.records.len(), 1, "the page cache shows the batch");
    drop(journal);
    root.machine().power_off(Loss::Whole);
    let (_, again) = wal::Journal::open(root.clone(), options).expect("still sound");
    assert_eq!(again.records, found.records, "a recovery's word survives a power loss");
}

#[test]
fn a_received_checkpoint_whose_sync_failed_is_never_taken_as_durable() {
    let root = SimDisk::new(1);
    let mut there = SimDisk::new(2);
    let meta = store::CheckpointMeta { index: base::LogIndex(3), ..Default::default() };
    let offer = store::write_checkpoint(&mut there, &meta, vec![b"x".to_vec()]).expect("new");
    let mut whole = vec![0; offer.len as usize];
    let mut file = there.open(&offer.name).expect("it is there");
    assert_eq!(file.read_at(0, &mut whole).expect("readable"), whole.len());
    let receive = |root: &SimDisk| {
        let mut dir = root.clone();
        let mut part = store::Incoming::begin(&mut dir, &offer).expect("room");
        let from = part.offset();
        part.write(from, &whole[from as usize..]).expect("room");
        part.finish(&mut dir)
    };
    root.machine().fail_sync_once();
    receive(&root).expect_err("the sync fails");
    receive(&root).expect("the second attempt succeeds");
    root.machine().power_off(Loss::Whole);
    let mut dir = root.clone();
    let found = store::latest(&mut dir).expect("sound").expect("durable");
    store::read_checkpoint(&mut dir, &found.name).expect("whole");
}
