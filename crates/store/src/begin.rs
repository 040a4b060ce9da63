//! A directory without an identity: nothing, what a first start left that broke off, or the rest
//! of a member.

use crate::checkpoint::CHECKPOINT;
use crate::index::INDEX;
use crate::repair::REPAIR;
use crate::values::VALUES;
use crate::{StoreError, StoreErrorKind, is_aside};
use wal::{Disk, Ours, SEGMENT};

/// The files of a directory that has no identity.
#[derive(Debug, Default, PartialEq, Eq)]
struct Remains {
    /// What only a member that lived can have left, by path below the data directory.
    of_a_life: Vec<String>,
    /// The journal of a start that broke off before the identity was written: it vouches for
    /// nothing, and no vote, no entry was ever in it.
    unused: Option<Ours>,
}

/// Looks at the parts that are there, and changes nothing. Errors: `Io`.
fn remains(
    root: &mut dyn Disk,
    journal: Option<&mut dyn Disk>,
    [checkpoints, values]: [Option<&mut dyn Disk>; 2],
) -> Result<Remains, StoreError> {
    let list = |disk: &mut dyn Disk| disk.list().map_err(|e| StoreError::io("", "list", &e));
    let mut found = Remains::default();
    found.of_a_life.extend(list(root)?.into_iter().filter(|name| REPAIR.own(name).is_some()));
    if let Some(journal) = journal {
        let names = list(journal)?;
        let segments: Vec<Ours> = names.iter().filter_map(|name| SEGMENT.own(name)).collect();
        let mut unused = |file: &Ours| {
            let read = wal::is_unused(journal, file.name());
            let io = |e: wal::WalError| {
                StoreError::new(StoreErrorKind::Io, file.name(), 0, e.to_string())
            };
            read.map_err(io)
        };
        match &segments[..] {
            [only] if unused(only)? => found.unused = Some(only.clone()),
            all => {
                found.of_a_life.extend(all.iter().map(|file| format!("journal/{}", file.name())))
            }
        }
        let aside = names.iter().filter(|name| is_aside(name));
        found.of_a_life.extend(aside.map(|name| format!("journal/{name}")));
    }
    if let Some(checkpoints) = checkpoints {
        let names = list(checkpoints)?;
        let ours = names.iter().filter(|n| CHECKPOINT.own(n).is_some() || is_aside(n));
        found.of_a_life.extend(ours.map(|name| format!("checkpoints/{name}")));
    }
    if let Some(values) = values {
        let names = list(values)?;
        let ours = names.iter().filter(|n| VALUES.own(n).is_some() || INDEX.own(n).is_some());
        found.of_a_life.extend(ours.map(|name| format!("values/{name}")));
    }
    Ok(found)
}

/// Looks at the parts that are there and makes way for a first start. What only a member that
/// lived can have left is returned by name, and then nothing has changed. `others` are those of
/// checkpoints and of values. Errors: `Io`.
pub fn clear(
    root: &mut dyn Disk,
    mut journal: Option<&mut dyn Disk>,
    others: [Option<&mut dyn Disk>; 2],
) -> Result<Vec<String>, StoreError> {
    let again = journal.as_mut().map(|disk| &mut **disk as &mut dyn Disk);
    let found = remains(root, again, others)?;
    if let (true, Some(unused), Some(journal)) = (found.of_a_life.is_empty(), found.unused, journal)
    {
        let removed = journal.remove(&unused).and_then(|()| journal.sync_dir());
        removed.map_err(|e| StoreError::io(unused.name(), "remove", &e))?;
    }
    Ok(found.of_a_life)
}
