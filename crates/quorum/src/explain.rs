//! Why a set decides, or does not, in the words of the text its family was written in.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::expr::{Expr, Kind, Word};
use crate::{Names, NodeSet};

type Item = (Expr, u32);

impl Expr {
    /// One sentence about `set`, whose slots are those of `names`: "eu has 2 of 3, us has 2 of 3:
    /// two zones of three are enough". It says what is missing when the set is no quorum.
    pub fn explain(&self, names: &Names, set: NodeSet) -> String {
        Teller { names, set }.tell(self)
    }
}

struct Teller<'a> {
    names: &'a Names,
    set: NodeSet,
}

impl Teller<'_> {
    fn has(&self, expr: &Expr) -> bool {
        match &expr.kind {
            Kind::Name(name) | Kind::Witness(name) => {
                self.names.slot(name).is_some_and(|slot| self.set.contains(slot))
            }
            Kind::Sum { need, items } => self.weight(items) >= *need,
        }
    }

    /// Weight of the items that are true.
    fn weight(&self, items: &[Item]) -> u32 {
        items.iter().filter(|(item, _)| self.has(item)).map(|(_, weight)| weight).sum()
    }

    fn tell(&self, expr: &Expr) -> String {
        let Kind::Sum { need, items } = &expr.kind else {
            let name = expr.name().unwrap_or_default();
            return format!("{name} is {}", if self.has(expr) { "there" } else { "missing" });
        };
        let all = *need == total(items);
        match &expr.word {
            Some(Word::Zones) => self.parts(*need, items, "zone"),
            Some(Word::Groups) => self.parts(*need, items, "group"),
            Some(Word::Whole(noun)) => self.whole(items, noun),
            Some(Word::Each(noun)) => self.each(items, noun),
            Some(Word::Wall) => self.wall(items),
            Some(Word::Wheel) => self.wheel(items),
            Some(Word::Tree) => self.tree(expr),
            Some(Word::Zone(_)) | None if items.iter().all(|(i, _)| i.name().is_some()) => {
                self.count(*need, items)
            }
            _ if all => self.each_part(items, " and "),
            _ if *need == 1 => match items.iter().find(|(item, _)| self.has(item)) {
                Some((item, _)) => self.tell(item),
                None => self.each_part(items, "; or "),
            },
            _ => self.parts(*need, items, "part"),
        }
    }

    fn each_part(&self, items: &[Item], between: &str) -> String {
        let parts: Vec<String> = items.iter().map(|(item, _)| self.tell(item)).collect();
        parts.join(between)
    }

    /// Members by number or by weight.
    fn count(&self, need: u32, items: &[Item]) -> String {
        let weighted = items.iter().any(|(_, weight)| *weight != 1);
        let there = items.iter().filter(|(item, _)| self.has(item));
        let who: Vec<String> = there
            .map(|(item, weight)| match (item.name().unwrap_or_default(), weighted) {
                (name, true) => format!("{name} ({weight})"),
                (name, false) => name.to_string(),
            })
            .collect();
        let who = if who.is_empty() { "nobody".to_string() } else { list(&who) };
        let (have, all) = (self.weight(items), total(items));
        let unit = if weighted { " votes" } else { "" };
        let are = if need == 1 { "is" } else { "are" };
        let majority = need == all / 2 + 1;
        let end = if have < need {
            format!("{need} {are} needed")
        } else if need == all {
            "all are needed".to_string()
        } else if majority {
            format!("{need} {are} a majority")
        } else {
            format!("{need} {are} enough")
        };
        format!("{who}: {have} of {all}{unit}, {end}")
    }

    /// Zones, groups: each by what it has.
    fn parts(&self, need: u32, items: &[Item], noun: &str) -> String {
        let (have, all) = (self.weight(items), total(items));
        let decided = have >= need;
        let shown = items.iter().filter(|(item, _)| !decided || self.has(item));
        let told: Vec<String> = shown.map(|(item, _)| self.part(item)).collect();
        let (plural, are) = if need == 1 { ("", "is") } else { ("s", "are") };
        let (need, all) = (number(need), number(all));
        let end = if !decided {
            let plural = if have == 1 { "" } else { "s" };
            format!("{} {noun}{plural} of {all}, {need} {are} needed", number(have))
        } else if need == all {
            format!("every {noun} is needed and there")
        } else {
            format!("{need} {noun}{plural} of {all} {are} enough")
        };
        format!("{}: {end}", told.join(", "))
    }

    /// One zone or group: `eu has 2 of 3`.
    fn part(&self, part: &Expr) -> String {
        let label = match &part.word {
            Some(Word::Zone(label)) => label.to_string(),
            _ => part.names().join(" "),
        };
        match &part.kind {
            Kind::Sum { items, .. } if items.iter().all(|(item, _)| item.name().is_some()) => {
                let unit = if items.iter().any(|(_, w)| *w != 1) { " votes" } else { "" };
                format!("{label} has {} of {}{unit}", self.weight(items), total(items))
            }
            Kind::Sum { .. } => format!("{label} ({})", self.tell(part)),
            _ => format!("{label} is {}", if self.has(part) { "there" } else { "missing" }),
        }
    }

    /// Members of an item that are not in the set.
    fn lacks<'a>(&self, item: &'a Expr) -> Vec<&'a str> {
        let there = |name: &str| self.names.slot(name).is_some_and(|slot| self.set.contains(slot));
        item.names().into_iter().filter(|name| !there(name)).collect()
    }

    /// One whole row, column or line.
    fn whole(&self, items: &[Item], noun: &str) -> String {
        if let Some((item, _)) = items.iter().find(|(item, _)| self.has(item)) {
            return format!("the {noun} {} is whole", item.names().join(" "));
        }
        let near = items.iter().min_by_key(|(item, _)| self.lacks(item).len());
        let (near, _) = near.expect("a gate has items");
        let lacks = self.lacks(near).join(", ");
        format!("no {noun} is whole, {} lacks {lacks}", near.names().join(" "))
    }

    /// One member of each row.
    fn each(&self, items: &[Item], noun: &str) -> String {
        let empty: Vec<String> = items
            .iter()
            .filter(|(item, _)| !self.has(item))
            .map(|(item, _)| item.names().join(" "))
            .collect();
        if empty.is_empty() {
            format!("every {noun} has one")
        } else {
            format!("the {noun} {} has nobody", empty.join(" / "))
        }
    }

    /// A full row and one of each row below; the alternatives stand from the top down.
    fn wall(&self, items: &[Item]) -> String {
        let (bottom, _) = items.last().expect("a gate has items");
        if let Some((item, _)) = items.iter().find(|(item, _)| self.has(item)) {
            let row = self.top(item, bottom).names().join(" ");
            return if core::ptr::eq(item, bottom) {
                format!("the row {row}, the lowest, is whole")
            } else {
                format!("the row {row} is whole and every row below has one")
            };
        }
        let near = items.iter().min_by_key(|(item, _)| self.wanting(item, bottom).len());
        let (near, _) = near.expect("a gate has items");
        let row = self.top(near, bottom).names().join(" ");
        let wanting = self.wanting(near, bottom).join(", ");
        format!("no row is whole with one of every row below it, the row {row} wants {wanting}")
    }

    /// The full row of one alternative of a wall.
    fn top<'a>(&self, item: &'a Expr, bottom: &Expr) -> &'a Expr {
        match &item.kind {
            Kind::Sum { items, .. } if !core::ptr::eq(item, bottom) => &items[0].0,
            _ => item,
        }
    }

    /// Whom one alternative of a wall lacks: members of its row, and one of each row below.
    fn wanting(&self, item: &Expr, bottom: &Expr) -> Vec<String> {
        let row = self.lacks(self.top(item, bottom)).into_iter().map(ToString::to_string);
        let mut out: Vec<String> = row.collect();
        if let Kind::Sum { items, .. } = &item.kind
            && !core::ptr::eq(item, bottom)
        {
            let empty = items[1..].iter().filter(|(below, _)| !self.has(below));
            out.extend(empty.map(|(below, _)| format!("one of {}", below.names().join(" "))));
        }
        out
    }

    /// The hub and one of the rim, or the whole rim.
    fn wheel(&self, items: &[Item]) -> String {
        let [(spoke, _), (rim, _)] = items else { return self.each_part(items, "; or ") };
        let hub = spoke.names().first().map_or(String::new(), ToString::to_string);
        let lacks = self.lacks(rim);
        let on_rim = rim.names().into_iter().find(|name| !lacks.contains(name));
        match on_rim {
            Some(one) if self.has(spoke) => format!("the hub {hub} and {one} of the rim"),
            _ if lacks.is_empty() => "the whole rim".to_string(),
            None => format!("the hub {hub} needs one of the rim"),
            _ => format!("the hub {hub} is missing, and the rim lacks {}", lacks.join(", ")),
        }
    }

    /// A path to a leaf; a lost node is made up for by both its sides.
    fn tree(&self, expr: &Expr) -> String {
        if self.has(expr) {
            return self.path(expr);
        }
        let root = expr.names().first().map_or(String::new(), ToString::to_string);
        let lacks = self.lacks(expr).join(", ");
        format!("no path from {root} to a leaf, with {lacks} missing")
    }

    fn path(&self, expr: &Expr) -> String {
        let mut nodes = Vec::new();
        let mut at = expr;
        loop {
            let Kind::Sum { items, .. } = &at.kind else {
                nodes.push(at.name().unwrap_or_default());
                return format!("the path {}", nodes.join(" "));
            };
            let (root, sides) = (&items[0].0, &items[1..]);
            if self.has(root) {
                nodes.push(root.name().unwrap_or_default());
                let side = sides.iter().find(|(side, _)| self.has(side));
                at = &side.expect("two of three are true").0;
                continue;
            }
            let lost = root.name().unwrap_or_default();
            let both: Vec<String> = sides.iter().map(|(side, _)| self.path(side)).collect();
            let instead = format!("{} in place of {lost}", both.join(" and "));
            return if nodes.is_empty() {
                instead
            } else {
                format!("the path {}, then {instead}", nodes.join(" "))
            };
        }
    }
}

fn total(items: &[Item]) -> u32 {
    items.iter().map(|(_, weight)| weight).sum()
}

/// `a, b and c`.
fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn number(n: u32) -> String {
    const WORDS: [&str; 11] =
        ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    WORDS.get(n as usize).map_or_else(|| n.to_string(), |word| (*word).to_string())
}
