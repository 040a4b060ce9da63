//! The hard state of a member that repairs a damaged disk, and what it keeps aside meanwhile
//! (`docs/design/repair.md`).

use crate::checkpoint::CHECKPOINT;
use crate::disk::{again, read_all, remove_all};
use crate::frame::{Form, seal};
use crate::reserve::replace;
use crate::{Home, StoreError, disk};
use base::codec::{DecodeError, Get, Put};
use base::{Ballot, LogIndex};
use wal::{ASIDE, Disk, Ours, SEGMENT, Shape, remove_named};

const NAME: &str = "repair";
const FORM: Form = Form { magic: b"QREPR\0\0\0", version: 1 };
pub(crate) const REPAIR: Shape = Shape { prefix: NAME, groups: 0, suffix: "" };

/// What the member promised and acknowledged at most when its disk was damaged. While the file
/// is there the member says nothing that rests on its journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Term and vote in one.
    pub ballot: Ballot,
    /// No entry of that term above this was acknowledged.
    pub index: LogIndex,
    /// The journal that was begun for the repair.
    pub key: u64,
    /// The incarnation that found the damage.
    pub since: u64,
    /// What was found, for the operator.
    pub damage: String,
}

impl Repair {
    fn encode(&self) -> Vec<u8> {
        let mut out = FORM.begin();
        out.put_ballot(self.ballot);
        out.put_u64(self.index.0);
        out.put_u64(self.key);
        out.put_u64(self.since);
        out.put_bytes(self.damage.as_bytes());
        seal(&mut out);
        out
    }

    fn decode(mut get: Get<'_>) -> Result<Self, DecodeError> {
        let (ballot, index) = (get.ballot()?, get.index()?);
        let (key, since) = (get.u64()?, get.u64()?);
        let damage = get.str()?.to_owned();
        get.finish()?;
        Ok(Self { ballot, index, key, since, damage })
    }

    /// What is set aside gets this behind its name.
    pub(crate) fn suffix(&self) -> String {
        format!("{ASIDE}{:x}", self.since)
    }
}

/// Whether a file name is of something that was set aside.
pub fn is_aside(name: &str) -> bool {
    aside(name).is_some()
}

fn aside(name: &str) -> Option<Ours> {
    SEGMENT.aside(name).or_else(|| CHECKPOINT.aside(name))
}

/// The repair under way, if there is one. Errors: `Io`, `Corrupt`, `Unknown`.
pub(crate) fn read_repair(disk: &mut dyn Disk) -> Result<Option<Repair>, StoreError> {
    again(|| read_once(disk))
}

fn read_once(disk: &mut dyn Disk) -> Result<Option<Repair>, StoreError> {
    if !disk::names(disk)?.iter().any(|n| n == NAME) {
        return Ok(None);
    }
    let bytes = read_all(disk, NAME)?;
    let (fields, _) = FORM.open(NAME, &bytes)?;
    let decoded = Repair::decode(fields);
    decoded.map(Some).map_err(|e| StoreError::corrupt(NAME, 12, e.to_string()))
}

/// Atomic and durable. Errors: `Io`, `NoRoom`.
pub(crate) fn write_repair(disk: &mut dyn Disk, repair: &Repair) -> Result<(), StoreError> {
    replace(disk, ("repair.tmp", NAME), &repair.encode())
}

/// The repair is over: durable on return. Only then may the member vote. What was set aside is
/// removed, at the next start if not now. Errors: `Io`.
pub fn end_repair(home: &dyn Home) -> Result<(), StoreError> {
    let fail = |e| StoreError::io(NAME, "remove", &e);
    let mut root = home.disk("").map_err(fail)?;
    remove_named(root.as_mut(), REPAIR, NAME).and_then(|()| root.sync_dir()).map_err(fail)?;
    for part in ["journal", "checkpoints"] {
        if let Ok(mut disk) = home.disk(part) {
            let _ = sweep(disk.as_mut());
        }
    }
    Ok(())
}

/// Removes what was set aside in one directory. Errors: `Io`.
pub(crate) fn sweep(disk: &mut dyn Disk) -> Result<(), StoreError> {
    remove_all(disk, aside).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreErrorKind;
    use wal::MemDisk;

    struct Everywhere(MemDisk);

    impl Home for Everywhere {
        fn disk(&self, _: &str) -> std::io::Result<Box<dyn Disk>> {
            Ok(Box::new(self.0.clone()))
        }
        fn has(&self, _: &str) -> bool {
            true
        }
    }

    #[test]
    fn the_hard_state_of_a_repair_survives_a_crash_and_damage_to_it_is_refused() {
        let mut disk = MemDisk::new();
        assert_eq!(read_repair(&mut disk), Ok(None));
        let repair = Repair {
            ballot: Ballot::new(3, 2),
            index: LogIndex(9),
            key: 7,
            since: 4,
            damage: "segment-1 at byte 5".to_owned(),
        };
        write_repair(&mut disk, &repair).unwrap();
        let mut after = disk.crash(1);
        assert_eq!(read_repair(&mut after), Ok(Some(repair)));
        let len = after.bytes(NAME).unwrap().len() as u64;
        for at in 0..len {
            let mut copy = after.fork();
            assert!(copy.flip(NAME, at, 1));
            assert_eq!(read_repair(&mut copy).unwrap_err().kind, StoreErrorKind::Corrupt);
        }
        end_repair(&Everywhere(after.clone())).unwrap();
        assert_eq!(read_repair(&mut after.crash(1)), Ok(None));
    }
}
