//! The expression tree. All sugar is gone: what is left is names and weighted sums.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::Names;
use crate::spelling::write_name;

/// A parsed family over names. `Display` prints it in the same language.
#[derive(Clone, Debug)]
pub struct Expr {
    /// Where it starts in the text it was parsed from, in characters from 1.
    pub(crate) column: usize,
    pub(crate) kind: Kind,
    /// What the text called it; for sentences, never for decisions.
    pub(crate) word: Option<Word>,
}

/// A gate by the name its text gave it.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// A zone and its label.
    Zone(Box<str>),
    Zones,
    /// Two of three, of two of three.
    Groups,
    /// One of these whole: rows, columns or lines.
    Whole(&'static str),
    /// One member of each of these.
    Each(&'static str),
    /// A full row and one of each row below, from the top row down.
    Wall,
    Wheel,
    Tree,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Name(Box<str>),
    /// A member that votes and keeps no data.
    Witness(Box<str>),
    /// True when the weights of the true items reach `need`; 1 <= need <= sum of weights.
    Sum {
        need: u32,
        items: Vec<(Expr, u32)>,
    },
}

impl Expr {
    pub(crate) const fn new(column: usize, kind: Kind) -> Self {
        Self { column, kind, word: None }
    }

    #[must_use]
    pub(crate) fn called(mut self, word: Word) -> Self {
        self.word = Some(word);
        self
    }

    /// A strict majority of the names, as the text `majority(...)` would give.
    ///
    /// # Panics
    /// On an empty list.
    pub fn majority<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        let names = names.into_iter().map(|n| Expr::new(1, Kind::Name(n.as_ref().into())));
        Self::more_than_half(names.collect())
    }

    /// As [`Expr::majority`], of names and whether each is marked `witness(..)`.
    ///
    /// # Panics
    /// On an empty list.
    pub fn majority_marked<'a>(names: impl IntoIterator<Item = (&'a str, bool)>) -> Self {
        let member = |(name, marked): (&str, bool)| {
            let kind = if marked { Kind::Witness } else { Kind::Name };
            Expr::new(1, kind(name.into()))
        };
        Self::more_than_half(names.into_iter().map(member).collect())
    }

    fn more_than_half(items: Vec<Expr>) -> Self {
        Self::at_least(1, items.len() as u32 / 2 + 1, items)
    }

    pub(crate) fn at_least(column: usize, need: u32, items: Vec<Expr>) -> Self {
        assert!(need >= 1 && need as usize <= items.len(), "a threshold is between one and all");
        let mut items = items;
        if items.len() == 1 {
            return items.remove(0);
        }
        let items = items.into_iter().map(|item| (item, 1)).collect();
        Self::new(column, Kind::Sum { need, items })
    }

    pub(crate) fn all(column: usize, items: Vec<Expr>) -> Self {
        Self::at_least(column, items.len() as u32, items)
    }

    pub(crate) fn any(column: usize, items: Vec<Expr>) -> Self {
        Self::at_least(column, 1, items)
    }

    /// More than half of the weight; `None` without items.
    pub(crate) fn most_weight(column: usize, items: Vec<(Expr, u32)>) -> Option<Self> {
        let total: u32 = items.iter().map(|(_, weight)| weight).sum();
        let even = items.windows(2).all(|pair| pair[0].1 == pair[1].1);
        if items.is_empty() {
            return None;
        }
        if even {
            let items: Vec<Expr> = items.into_iter().map(|(item, _)| item).collect();
            return Some(Self::at_least(column, items.len() as u32 / 2 + 1, items));
        }
        assert!(items.iter().all(|(_, weight)| *weight > 0), "who weighs nothing has no vote");
        Some(Self::new(column, Kind::Sum { need: total / 2 + 1, items }))
    }

    /// The sets that meet every quorum of this one.
    #[must_use]
    pub fn dual(&self) -> Self {
        let kind = match &self.kind {
            Kind::Sum { need, items } => {
                let total: u32 = items.iter().map(|(_, weight)| weight).sum();
                assert!((1..=total).contains(need), "a gate is neither always true nor never");
                let items = items.iter().map(|(item, weight)| (item.dual(), *weight));
                Kind::Sum { need: total - need + 1, items: items.collect() }
            }
            name => name.clone(),
        };
        Self::new(self.column, kind)
    }

    /// Every name, in order of appearance, once.
    pub fn names(&self) -> Vec<&str> {
        let mut out = Vec::new();
        self.collect(&mut out, false);
        out
    }

    /// The names marked `witness(..)`: members that vote and keep no data. Whoever is marked
    /// anywhere is a witness everywhere.
    pub fn witnesses(&self) -> Vec<&str> {
        let mut out = Vec::new();
        self.collect(&mut out, true);
        out
    }

    /// The member, when this is one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Name(name) | Kind::Witness(name) => Some(name),
            Kind::Sum { .. } => None,
        }
    }

    fn collect<'a>(&'a self, out: &mut Vec<&'a str>, witnesses: bool) {
        match &self.kind {
            Kind::Name(_) if witnesses => {}
            Kind::Name(name) | Kind::Witness(name) => {
                if !out.contains(&&**name) {
                    out.push(name);
                }
            }
            Kind::Sum { items, .. } => {
                for (item, _) in items {
                    item.collect(out, witnesses);
                }
            }
        }
    }

    /// Slots by order of appearance: what a report uses when there is no cluster.
    pub fn infer_names(&self) -> Names {
        Names::in_order(self.names())
    }

    /// Nodes of the tree.
    pub(crate) fn size(&self) -> usize {
        match &self.kind {
            Kind::Name(_) | Kind::Witness(_) => 1,
            Kind::Sum { items, .. } => 1 + items.iter().map(|(i, _)| i.size()).sum::<usize>(),
        }
    }

    pub(crate) fn depth(&self) -> usize {
        match &self.kind {
            Kind::Name(_) | Kind::Witness(_) => 1,
            Kind::Sum { items, .. } => 1 + items.iter().map(|(i, _)| i.depth()).max().unwrap_or(0),
        }
    }
}

/// Structural: columns and words do not count.
impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Name(a), Kind::Name(b)) | (Kind::Witness(a), Kind::Witness(b)) => a == b,
            (Kind::Sum { need: m, items: a }, Kind::Sum { need: n, items: b }) => m == n && a == b,
            _ => false,
        }
    }
}

impl Eq for Expr {}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (need, items) = match &self.kind {
            Kind::Name(name) => return write_name(f, name),
            Kind::Witness(name) => {
                f.write_str("witness(")?;
                write_name(f, name)?;
                return f.write_str(")");
            }
            Kind::Sum { need, items } => (*need, items),
        };
        let weighted = items.iter().any(|(_, weight)| *weight != 1);
        let count = items.len() as u32;
        if weighted {
            f.write_str("weighted{")?;
        } else if need == count / 2 + 1 && count > 2 {
            f.write_str("majority(")?;
        } else if need == 1 {
            f.write_str("any of (")?;
        } else if need == count {
            f.write_str("all of (")?;
        } else {
            write!(f, "{need} of (")?;
        }
        for (i, (item, weight)) in items.iter().enumerate() {
            write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
            if weighted {
                write!(f, ":{weight}")?;
            }
        }
        if weighted { write!(f, "}} >= {need}") } else { f.write_str(")") }
    }
}
