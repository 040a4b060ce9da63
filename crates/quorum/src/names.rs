//! Which name sits in which slot.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::spelling::write_name;
use crate::{NODES_MAX, NodeSet, Slot};

/// A two-way map between slots and member names. Slots may have gaps; names are unique.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    slots: Vec<(Slot, String)>,
}

impl Names {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names in slot order, starting at slot 0. Repeated names and names past 64 are skipped.
    pub fn in_order<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        let mut out = Self::new();
        for name in names {
            out.insert(out.slots.len() as Slot, name.as_ref());
        }
        out
    }

    /// False, and no change, when the slot or the name is taken or the slot is out of range.
    pub fn insert(&mut self, slot: Slot, name: &str) -> bool {
        let free = self.slots.iter().all(|(s, n)| *s != slot && n != name);
        let fits = (slot as usize) < NODES_MAX && free;
        if fits {
            self.slots.push((slot, name.to_string()));
            self.slots.sort_unstable_by_key(|(s, _)| *s);
            assert!(self.slots.len() <= NODES_MAX, "no more names than slots");
            assert_eq!(self.slot(name), Some(slot), "both ways lead to each other");
        }
        fits
    }

    /// Where `name` sits.
    pub fn slot(&self, name: &str) -> Option<Slot> {
        self.slots.iter().find(|(_, n)| n == name).map(|(s, _)| *s)
    }

    /// Who sits in `slot`.
    pub fn name(&self, slot: Slot) -> Option<&str> {
        self.slots.iter().find(|(s, _)| *s == slot).map(|(_, n)| n.as_str())
    }

    /// Every slot that has a name.
    pub fn all(&self) -> NodeSet {
        self.slots.iter().map(|(s, _)| *s).collect()
    }

    /// (slot, name) in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &str)> {
        self.slots.iter().map(|(s, n)| (*s, n.as_str()))
    }

    /// `{a, b, c}`; a slot without a name shows as `#7`.
    pub fn show(&self, set: NodeSet) -> String {
        let mut out = String::from("{");
        for (i, slot) in set.iter().enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            match self.name(slot) {
                Some(name) => write_name(&mut out, name).expect("writing to a string succeeds"),
                None => {
                    out.push('#');
                    out.push_str(&slot.to_string());
                }
            }
        }
        out.push('}');
        out
    }
}
