//! The disk in memory as its crashes leave it, and the one of the operating system.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use wal::{DirLock, Disk, DiskFile, MemDisk, RealDisk, SEGMENT, WalErrorKind};

const NAME: &str = "segment-0000000000000001.qj";

fn names(disk: &MemDisk) -> Vec<String> {
    disk.clone().list().unwrap()
}

/// A file of 2048 durable `a`, open.
fn of_a(disk: &MemDisk) -> Box<dyn DiskFile> {
    let mut file = disk.clone().create(NAME).unwrap();
    file.write_at(0, &[b'a'; 2048]).unwrap();
    file.sync().unwrap();
    disk.clone().sync_dir().unwrap();
    file
}

/// Whether a piece is all new, all old, or torn.
fn piece(image: &[u8]) -> Option<bool> {
    let new = image.iter().filter(|byte| **byte == b'b').count();
    (new == 0 || new == image.len()).then_some(new > 0)
}

#[test]
fn a_write_that_was_not_synced_is_lost_kept_cut_or_kept_in_some_sectors() {
    let disk = MemDisk::new();
    let mut file = of_a(&disk);
    file.write_at(300, &[b'b'; 1500]).unwrap();
    assert!(disk.bytes(NAME).unwrap()[300..1800].iter().all(|byte| *byte == b'b'));
    let (mut lost, mut kept, mut cut) = (0, 0, 0);
    let mut sectors = BTreeSet::new();
    for seed in 0..600 {
        let crashed = disk.crash(seed);
        let image = crashed.bytes(NAME).unwrap();
        assert_eq!(image.len(), 2048);
        assert_eq!((piece(&image[..300]), piece(&image[1800..])), (Some(false), Some(false)));
        let prefix = image[300..].iter().take_while(|byte| **byte == b'b').count();
        assert!(image[300 + prefix..].contains(&b'a'));
        let pieces = [300..512, 512..1024, 1024..1536, 1536..1800].map(|at| piece(&image[at]));
        match pieces {
            [Some(false), Some(false), Some(false), Some(false)] => lost += 1,
            [Some(true), Some(true), Some(true), Some(true)] => kept += 1,
            [Some(a), Some(b), Some(c), Some(d)] => _ = sectors.insert([a, b, c, d]),
            _ => {
                assert_eq!(piece(&image[300 + prefix..1800]), Some(false), "seed {seed}");
                cut += 1;
            }
        }
        // What a crash leaves is durable.
        assert_eq!(crashed.crash(!seed).bytes(NAME), Some(image));
    }
    assert!(lost > 100 && kept > 100 && cut > 100, "{lost} lost, {kept} kept, {cut} cut");
    assert_eq!(sectors.len(), 14, "every choice of four sectors but none and all");
}

#[test]
fn what_was_synced_survives_and_a_new_length_may() {
    let disk = MemDisk::new();
    let mut file = of_a(&disk);
    file.set_len(700).unwrap();
    assert_eq!((file.len().unwrap(), disk.bytes(NAME).unwrap().len()), (700, 700));
    let lens = |disk: &MemDisk| -> BTreeSet<usize> {
        (0..50).map(|seed| disk.crash(seed).bytes(NAME).unwrap().len()).collect()
    };
    assert_eq!(lens(&disk), [700, 2048].into());
    file.sync().unwrap();
    assert_eq!(lens(&disk), [700].into());
    // Emptied by a second creation, or not yet.
    disk.clone().create(NAME).unwrap();
    assert_eq!(disk.bytes(NAME).unwrap(), b"");
    assert_eq!(lens(&disk), [0, 700].into());
}

#[test]
fn changes_of_names_survive_a_power_loss_as_a_prefix_of_their_order() {
    let mut disk = MemDisk::new();
    disk.create("a").unwrap();
    disk.sync_dir().unwrap();
    disk.create("b").unwrap();
    disk.rename("b", "c").unwrap();
    disk.lose("a").unwrap();
    assert_eq!(names(&disk), ["c"]);
    let left: BTreeSet<Vec<String>> = (0..50).map(|seed| names(&disk.crash(seed))).collect();
    let prefixes = [vec!["a"], vec!["a", "b"], vec!["a", "c"], vec!["c"]];
    assert_eq!(left, prefixes.map(|names| names.iter().map(|n| (*n).to_owned()).collect()).into());
    for seed in 0..50 {
        let crashed = disk.crash(seed);
        assert_eq!(names(&crashed.crash(!seed)), names(&crashed), "durable after the first");
    }
    assert_eq!(names(&disk.fork().crash(1)), ["c"], "a killed process loses nothing");
    disk.sync_dir().unwrap();
    assert!((0..50).all(|seed| names(&disk.crash(seed)) == ["c"]));
}

#[test]
fn changes_are_counted_and_fail_from_the_one_that_was_named() {
    let mut disk = MemDisk::new();
    assert_eq!(disk.changes(), 0);
    let mut file = of_a(&disk);
    assert_eq!(disk.changes(), 4, "creation, write, sync, sync of the directory");
    assert_eq!((disk.list().unwrap().len(), file.read_at(0, &mut [0; 9]).unwrap()), (1, 9));
    assert_eq!(disk.changes(), 4, "reading is none");
    disk.fail_from(5);
    file.write_at(0, b"b").unwrap();
    assert_eq!(file.write_at(1, b"b").unwrap_err().to_string(), "planned disk failure");
    file.sync().unwrap_err();
    disk.sync_dir().unwrap_err();
    assert_eq!(disk.bytes(NAME).unwrap()[..2], *b"ba");
    let may: BTreeSet<Vec<u8>> =
        (0..99).map(|seed| disk.crash(seed).bytes(NAME).unwrap()[..3].to_vec()).collect();
    assert_eq!(may, [*b"aaa", *b"baa", *b"aba", *b"bba"].map(|image| image.to_vec()).into());
}

#[test]
fn a_flip_is_of_one_byte_at_rest_and_taken_back_by_another() {
    let disk = MemDisk::new();
    of_a(&disk);
    assert!(disk.flip(NAME, 2047, 3));
    assert_eq!(disk.crash(1).bytes(NAME).unwrap()[2046..], [b'a', b'a' ^ 3]);
    assert!(disk.flip(NAME, 2047, 3));
    assert_eq!(disk.bytes(NAME).unwrap(), [b'a'; 2048]);
    assert!(!disk.flip(NAME, 2048, 1) && !disk.flip("other", 0, 1));
}

#[test]
fn reads_end_with_the_file_and_writes_reach_behind_it() {
    let disk = MemDisk::new();
    let mut file = of_a(&disk);
    file.write_at(2050, b"bb").unwrap();
    let mut into = [b'x'; 9];
    assert_eq!(file.read_at(2046, &mut into).unwrap(), 6);
    assert_eq!(into, *b"aa\0\0bbxxx");
    for offset in [2052, 2053, u64::MAX] {
        assert_eq!(file.read_at(offset, &mut into).unwrap(), 0);
    }
    assert_eq!(disk.clone().open("other").err().unwrap().kind(), ErrorKind::NotFound);
    disk.clone().rename("other", NAME).unwrap_err();
    disk.clone().lose("other").unwrap_err();
}

#[test]
fn a_directory_of_a_disk_removes_and_syncs_its_own() {
    let disk = MemDisk::new();
    let mut part = disk.part("a");
    part.create(NAME).unwrap();
    part.sync_dir().unwrap();
    assert!((0..9).all(|seed| names(&disk.crash(seed)) == [format!("a/{NAME}")]));
    part.remove(&SEGMENT.own(NAME).unwrap()).unwrap();
    assert!(names(&disk).is_empty());
}

/// A directory for one test, gone with it.
struct Dir(std::path::PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("quorate-wal-{name}-{}", std::process::id())))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_real_disk_does_what_the_one_in_memory_does() {
    let dir = Dir::new("disk");
    let mut disk = RealDisk::new(dir.0.join("two/levels")).unwrap();
    assert_eq!(disk.path(), dir.0.join("two/levels"));
    std::fs::create_dir(disk.path().join("a-directory")).unwrap();
    let mut file = disk.create("b").unwrap();
    file.write_at(2, b"xyz").unwrap();
    let mut into = [1; 9];
    assert_eq!(file.read_at(0, &mut into).unwrap(), 5);
    assert_eq!(into, *b"\0\0xyz\x01\x01\x01\x01");
    file.set_len(4).unwrap();
    file.sync().unwrap();
    assert_eq!((file.len().unwrap(), file.read_at(3, &mut into).unwrap()), (4, 1));
    disk.create("a").unwrap();
    assert_eq!(disk.list().unwrap(), ["a", "b"], "files, sorted");
    disk.rename("b", NAME).unwrap();
    assert_eq!(disk.open(NAME).unwrap().len().unwrap(), 4);
    assert_eq!(disk.create("a").unwrap().len().unwrap(), 0);
    disk.remove(&SEGMENT.own(NAME).unwrap()).unwrap();
    assert_eq!(disk.list().unwrap(), ["a"]);
    assert_eq!(disk.open(NAME).err().unwrap().kind(), ErrorKind::NotFound);
    disk.sync_dir().unwrap();
    std::fs::remove_dir_all(disk.path()).unwrap();
    disk.sync_dir().unwrap_err();
}

#[test]
fn what_the_operating_system_refuses_is_an_error() {
    // A device that takes everything can neither be made durable nor be cut.
    let mut null = RealDisk::new("/dev").unwrap().open("null").unwrap();
    null.write_at(0, b"x").unwrap();
    assert_eq!(null.sync().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(null.set_len(1).unwrap_err().kind(), ErrorKind::InvalidInput);
    let dir = Dir::new("refused");
    let mut file = RealDisk::new(&dir.0).unwrap().create("a").unwrap();
    let error = file.read_at(u64::MAX, &mut [0; 9]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_lock_says_why_it_is_not_given() {
    let dir = Dir::new("lock");
    let missing = DirLock::acquire(&dir.0).unwrap_err();
    assert_eq!(missing.kind, WalErrorKind::Io);
    assert!(missing.what.starts_with("open the lock file: "), "{missing}");
    std::fs::create_dir(&dir.0).unwrap();
    let _first = DirLock::acquire(&dir.0).unwrap();
    let name = dir.0.join("lock").display().to_string();
    assert_eq!(
        DirLock::acquire(&dir.0).unwrap_err().to_string(),
        format!("locked: {name} at byte 0: another process uses this data directory")
    );
}
