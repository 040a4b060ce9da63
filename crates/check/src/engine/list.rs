//! Numbers below a bound in a fixed order; taking out and putting back in reverse is O(1)
//! (Knuth's dancing links).

/// The bound itself is the sentinel that stands at both ends.
pub struct List {
    next: Vec<u32>,
    prev: Vec<u32>,
}

impl List {
    /// Holds `order`, a permutation of `0..order.len()`.
    pub fn new(order: &[u32]) -> Self {
        let end = u32::try_from(order.len()).expect("fewer than 2^32 operations");
        let mut list = Self { next: vec![end; order.len() + 1], prev: vec![end; order.len() + 1] };
        let mut last = end;
        for &item in order {
            assert!(item < end, "a permutation");
            list.next[last as usize] = item;
            list.prev[item as usize] = last;
            last = item;
        }
        list.next[last as usize] = end;
        list.prev[end as usize] = last;
        list
    }

    /// The first item, or the bound if the list is empty.
    pub fn first(&self) -> u32 {
        self.next[self.next.len() - 1]
    }

    /// The item after `item`, or the bound.
    pub fn after(&self, item: u32) -> u32 {
        self.next[item as usize]
    }

    pub fn take_out(&mut self, item: u32) {
        let (prev, next) = (self.prev[item as usize], self.next[item as usize]);
        self.next[prev as usize] = next;
        self.prev[next as usize] = prev;
    }

    /// Undoes the latest [`Self::take_out`] not yet undone, which must be of `item`.
    pub fn put_back(&mut self, item: u32) {
        let (prev, next) = (self.prev[item as usize], self.next[item as usize]);
        self.next[prev as usize] = item;
        self.prev[next as usize] = item;
    }
}
