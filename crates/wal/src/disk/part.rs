//! Several directories on one disk in memory.

use super::{Disk, DiskFile, MemDisk};
use crate::Ours;
use std::io;

/// One directory of a [`MemDisk`]: the files whose names begin with its own and a slash. One count
/// of changes, and one power loss, is of all of them.
#[derive(Clone, Debug)]
pub struct Part {
    disk: MemDisk,
    prefix: String,
}

impl MemDisk {
    /// The directory of this name.
    #[must_use]
    pub fn part(&self, name: &str) -> Part {
        Part { disk: self.clone(), prefix: format!("{name}/") }
    }

    /// Whether the directory of this name holds a file.
    #[must_use]
    pub fn has_part(&self, name: &str) -> bool {
        self.part(name).list().is_ok_and(|names| !names.is_empty())
    }
}

impl Part {
    fn whole(&self, name: &str) -> String {
        assert!(!name.contains('/'), "a directory is flat");
        format!("{}{name}", self.prefix)
    }
}

impl Disk for Part {
    fn list(&mut self) -> io::Result<Vec<String>> {
        let names = self.disk.list()?.into_iter();
        Ok(names.filter_map(|n| n.strip_prefix(&self.prefix).map(str::to_owned)).collect())
    }
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(&self.whole(name))
    }
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(&self.whole(name))
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.whole(from), &self.whole(to))
    }
    fn remove(&mut self, file: &Ours) -> io::Result<()> {
        self.disk.lose(&self.whole(file.name()))
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_one_disk_do_not_see_each_other() {
        let disk = MemDisk::new();
        let (mut a, mut b) = (disk.part("a"), disk.part("ab"));
        assert!(!disk.has_part("a"));
        a.create("one").expect("room");
        b.create("two").expect("room");
        assert_eq!(a.list().expect("names"), ["one"]);
        assert_eq!(b.list().expect("names"), ["two"]);
        assert!(disk.has_part("a") && a.open("two").is_err());
        a.rename("one", "two").expect("it is there");
        assert_eq!(
            (a.list().expect("names"), b.list().expect("names").len()),
            (vec!["two".into()], 1)
        );
    }
}
