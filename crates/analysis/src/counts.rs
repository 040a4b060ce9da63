//! Sets up to exchanging members of a class: how many of each class. A table over all of them.

use quorum::{Family, NodeSet};

/// Entries of a table; 20 members that all differ fit.
pub(crate) const TABLE_MAX: usize = 1 << 20;

/// All ways to take some of each class, numbered by mixed radix.
pub(crate) struct Space<'a> {
    pub classes: &'a [NodeSet],
    /// What one more member of a class adds to the number.
    pub strides: Vec<usize>,
    pub size: usize,
}

impl<'a> Space<'a> {
    /// `None` when there are more than [`TABLE_MAX`].
    pub fn new(classes: &'a [NodeSet]) -> Option<Self> {
        let mut strides = Vec::new();
        let mut size = 1usize;
        for class in classes {
            strides.push(size);
            size = size.checked_mul(class.len() + 1).filter(|size| *size <= TABLE_MAX)?;
        }
        Some(Self { classes, strides, size })
    }

    /// How many of class `at` entry `number` has.
    pub fn count(&self, number: usize, at: usize) -> usize {
        number / self.strides[at] % (self.classes[at].len() + 1)
    }

    /// The set that takes the lowest slots of each class.
    pub fn set(&self, number: usize) -> NodeSet {
        let lowest = |at: usize| self.classes[at].iter().take(self.count(number, at));
        (0..self.classes.len()).flat_map(lowest).collect()
    }

    /// The numbers with one member less.
    pub fn below(&self, number: usize) -> impl Iterator<Item = usize> {
        let has = move |at: &usize| self.count(number, *at) > 0;
        (0..self.classes.len()).filter(has).map(move |at| number - self.strides[at])
    }

    /// Which entries hold a quorum.
    pub fn quorums(&self, family: &Family) -> Vec<bool> {
        // The set of an entry is that of a smaller one and one member.
        let mut sets = vec![NodeSet::EMPTY; self.size];
        for number in 1..self.size {
            let at = self.strides.partition_point(|stride| *stride <= number) - 1;
            let count = self.count(number, at);
            let slot = self.classes[at].iter().nth(count - 1).expect("counts fit their class");
            let mut set = sets[number - self.strides[at]];
            set.insert(slot);
            sets[number] = set;
        }
        sets.into_iter().map(|set| family.is_quorum(set)).collect()
    }
}
