//! Files as a test has them: in a map. What is asked for is not at hand before it was fetched.

use mvcc::{Age, File, Values, Version, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::vec::Vec;

#[derive(Default)]
pub struct Drive {
    files: BTreeMap<(i64, u64), Vec<Version>>,
    generation: u64,
    /// By first revision of their file, and age; those of a run by the age that it begins at.
    at_hand: BTreeSet<(i64, bool, Age)>,
    asked: BTreeSet<(i64, bool, Age)>,
    /// How often something had to be fetched.
    pub fetches: usize,
}

impl Drive {
    /// A file of these versions, each as it comes back from its bytes.
    pub fn put(&mut self, first: i64, end: i64, versions: &[Version]) -> File {
        self.generation += 1;
        let (generation, mut len) = (self.generation, 0);
        let again = |version: &Version| {
            let mut bytes = Vec::new();
            version.encode(&mut bytes);
            len += bytes.len() as u64;
            let read = Version::decode(&bytes).expect("it was just written");
            assert_eq!(read, *version);
            read
        };
        let kept: Vec<Version> = versions.iter().map(again).collect();
        self.files.insert((first, generation), kept);
        File { first, end, generation, versions: versions.len() as u64, len, digest: 0 }
    }

    /// Has at hand what was asked for; false when that was nothing.
    pub fn fetch(&mut self) -> bool {
        self.fetches += 1;
        let any = !self.asked.is_empty();
        self.at_hand.append(&mut self.asked);
        any
    }

    /// Nothing is at hand any more.
    pub fn forget(&mut self) {
        self.at_hand.clear();
        self.asked.clear();
    }

    fn is_at_hand(&mut self, what: (i64, bool, Age)) -> bool {
        let there = self.at_hand.contains(&what);
        if !there {
            self.asked.insert(what);
        }
        there
    }

    fn of(&self, file: &File) -> &[Version] {
        self.files.get(&(file.first, file.generation)).expect("a file that is held is there")
    }
}

impl Values for Drive {
    fn version(&mut self, file: &Arc<File>, wanted: Wanted) -> Option<Version> {
        if !self.is_at_hand((file.first, false, wanted.age)) {
            return None;
        }
        let all = self.of(file);
        let at = all.binary_search_by_key(&wanted.age, Version::age).expect("it is there");
        assert_eq!(all[at].hash(), wanted.hash, "and is what is wanted");
        Some(all[at].clone())
    }

    /// Three at a time.
    fn versions(&mut self, file: &Arc<File>, from: Age) -> Option<Vec<Version>> {
        if !self.is_at_hand((file.first, true, from)) {
            return None;
        }
        let all = self.of(file);
        let at = all.partition_point(|version| version.age() < from);
        Some(all[at..].iter().take(3).cloned().collect())
    }
}
