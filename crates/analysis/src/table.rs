//! A family over a few members as a bit for every set of them.

/// Bit s of the words is whether the set s (bit m: member m) holds a quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    members: usize,
    words: Vec<u64>,
}

/// Bits whose number has bit m set, for the members inside a word.
const WITH: [u64; 6] = [
    0xAAAA_AAAA_AAAA_AAAA,
    0xCCCC_CCCC_CCCC_CCCC,
    0xF0F0_F0F0_F0F0_F0F0,
    0xFF00_FF00_FF00_FF00,
    0xFFFF_0000_FFFF_0000,
    0xFFFF_FFFF_0000_0000,
];

impl Table {
    /// The sets that hold `member`, of `members` at most 20.
    pub fn member(members: usize, member: u8) -> Self {
        assert!((member as usize) < members && members <= 20, "a table is small");
        let word = |at: usize| match WITH.get(member as usize) {
            Some(bits) => *bits,
            None if at >> (member - 6) & 1 == 1 => u64::MAX,
            None => 0,
        };
        let words = (0..(1usize << members).div_ceil(64)).map(word).collect();
        Self { members, words }.trimmed()
    }

    /// Below six members a word has bits to spare; they stay 0.
    fn trimmed(mut self) -> Self {
        if self.members < 6 {
            self.words[0] &= (1 << (1 << self.members)) - 1;
        }
        self
    }

    /// The sets that are in at least `need` of the items.
    pub fn at_least(need: usize, items: &[Table]) -> Self {
        let first = items.first().expect("a gate has items");
        let word = |at: usize| {
            // reached[j]: in at least j of the items so far.
            let mut reached = vec![0u64; need + 1];
            reached[0] = u64::MAX;
            for item in items {
                for j in (1..=need).rev() {
                    reached[j] |= reached[j - 1] & item.words[at];
                }
            }
            reached[need]
        };
        Self { members: first.members, words: (0..first.words.len()).map(word).collect() }
    }

    pub fn holds(&self, set: usize) -> bool {
        self.words[set / 64] >> (set % 64) & 1 == 1
    }

    /// Every set that holds a quorum.
    pub fn sets(&self) -> impl Iterator<Item = usize> {
        (0..1usize << self.members).filter(|set| self.holds(*set))
    }

    /// The sets whose complement holds none.
    pub fn dual(&self) -> Self {
        let spare = 64usize.saturating_sub(1 << self.members);
        let words = self.words.iter().rev().map(|word| !(word.reverse_bits() >> spare)).collect();
        Self { members: self.members, words }.trimmed()
    }

    /// Whether every set of this table is one of `other`.
    pub fn within(&self, other: &Table) -> bool {
        self.words.iter().zip(&other.words).all(|(mine, theirs)| mine & !theirs == 0)
    }

    /// The sets that are in the table after any one of their members has gone.
    pub fn after_any_loss(&self) -> Self {
        let mut out = self.clone();
        for member in 0..self.members {
            for at in 0..self.words.len() {
                // A set with the member looks at the one without; others keep theirs.
                let (with, less) = match WITH.get(member) {
                    Some(with) => (*with, self.words[at] << (1 << member)),
                    None if at >> (member - 6) & 1 == 1 => {
                        (u64::MAX, self.words[at - (1 << (member - 6))])
                    }
                    None => (0, 0),
                };
                out.words[at] &= !with | less;
            }
        }
        out
    }

    /// The member whose answer makes a quorum when those of `set` answer in `order`.
    pub fn slowest(&self, set: usize, order: &[u8]) -> u8 {
        let mut answered = 0;
        for member in order.iter().filter(|member| set >> **member & 1 == 1) {
            answered |= 1 << member;
            if self.holds(answered) {
                return *member;
            }
        }
        order.last().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_any_width_hold_what_counting_says() {
        for members in [2usize, 5, 6, 8] {
            let alone: Vec<Table> = (0..members as u8).map(|m| Table::member(members, m)).collect();
            for need in 1..=members {
                let table = Table::at_least(need, &alone);
                let dual = table.dual();
                let spare = table.after_any_loss();
                for set in 0..1usize << members {
                    let size = set.count_ones() as usize;
                    assert_eq!(table.holds(set), size >= need);
                    assert_eq!(dual.holds(set), size > members - need);
                    assert_eq!(spare.holds(set), size > need);
                }
                assert_eq!(table.within(&dual), need > members - need);
            }
        }
    }
}
