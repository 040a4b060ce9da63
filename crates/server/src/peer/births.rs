//! Which data directory each peer had when it was first met.
//!
//! A member whose directory was emptied has forgotten its votes. If it came back under its old
//! id it could vote twice in one term, so it is refused until it is replaced under a new id.

use base::NodeId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const FILE: &str = "known-births";

/// Births by member, durable before they are relied on.
pub struct Births {
    path: PathBuf,
    known: RefCell<BTreeMap<u64, u64>>,
}

impl Births {
    /// # Errors
    /// Those of the file system, and `InvalidData` for a file that is not ours.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut known = BTreeMap::new();
        for line in text.lines() {
            let pair = line.split_once(' ').and_then(|(member, birth)| {
                let member = u64::from_str_radix(member, 16).ok()?;
                Some((member, u64::from_str_radix(birth, 16).ok()?))
            });
            let Some((member, birth)) = pair else {
                let text = format!("{}: cannot read {line:?}", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            };
            known.insert(member, birth);
        }
        Ok(Self { path, known: RefCell::new(known) })
    }

    /// Remembers a first meeting; says why a later one must be refused.
    pub fn check(&self, member: NodeId, birth: u64) -> Result<(), String> {
        let known = self.known.borrow().get(&member.0).copied();
        match known {
            Some(old) if old == birth => Ok(()),
            Some(old) => Err(format!(
                "member {:x} was born as {old:x} and is back as {birth:x}: its data directory \
                 was emptied or replaced, so it has forgotten its votes; restore the directory, \
                 or remove the member and add it under a new id",
                member.0
            )),
            None => {
                self.known.borrow_mut().insert(member.0, birth);
                self.save().map_err(|error| format!("{}: {error}", self.path.display()))
            }
        }
    }

    /// A copy for another thread.
    pub fn snapshot(&self) -> BTreeMap<u64, u64> {
        self.known.borrow().clone()
    }

    fn save(&self) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let mut file = fs::File::create(&temporary)?;
        for (member, birth) in self.known.borrow().iter() {
            writeln!(file, "{member:016x} {birth:016x}")?;
        }
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        match self.path.parent() {
            Some(dir) => fs::File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    }
}
