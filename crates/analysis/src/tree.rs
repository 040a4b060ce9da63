//! Families in which each member appears once, and all of them over given members.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::node::Node;
use crate::table::Table;

/// Systems made before the search goes on with those it has.
const CANDIDATES_MAX: usize = 400_000;

/// A family in which each member appears once. Two trees are equal exactly when their families
/// are: an `or` holds no `or`, an `and` no `and`, and children are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tree {
    Member(u8),
    Gate { need: usize, items: Vec<Tree> },
}

impl Tree {
    pub fn text(&self, nodes: &[Node]) -> String {
        match self {
            Tree::Member(slot) => quorum::quoted(&nodes[*slot as usize].name),
            Tree::Gate { need, items } => {
                let items: Vec<String> = items.iter().map(|item| item.text(nodes)).collect();
                let (joint, count) = (items.join(", "), items.len());
                match *need {
                    1 => format!("({})", items.join(" or ")),
                    need if need == count => format!("({})", items.join(" and ")),
                    need => format!("{need} of ({joint})"),
                }
            }
        }
    }

    /// Which sets of the first `members` members hold a quorum.
    pub fn table(&self, members: usize) -> Table {
        match self {
            Tree::Member(slot) => Table::member(members, *slot),
            Tree::Gate { need, items } => {
                let items: Vec<Table> = items.iter().map(|item| item.table(members)).collect();
                Table::at_least(*need, &items)
            }
        }
    }

    pub fn least_quorum(&self) -> usize {
        self.least(|need, _| need)
    }

    pub fn least_blocking(&self) -> usize {
        self.least(|need, count| count - need + 1)
    }

    /// Members of a smallest set that holds `pick(need, items)` items of each gate.
    fn least(&self, pick: fn(usize, usize) -> usize) -> usize {
        match self {
            Tree::Member(_) => 1,
            Tree::Gate { need, items } => {
                let mut sizes: Vec<usize> = items.iter().map(|item| item.least(pick)).collect();
                sizes.sort_unstable();
                sizes.iter().take(pick(*need, items.len())).sum()
            }
        }
    }
}

/// Every tree over the members, flat ones first, one for all that exchange equal members; and
/// whether these are all.
pub(crate) fn all_trees(nodes: &[Node]) -> (Vec<Tree>, bool) {
    let kind = |at: usize| {
        nodes.iter().position(|node| node.costs_like(&nodes[at])).expect("it is like itself")
    };
    let kinds: Vec<usize> = (0..nodes.len()).map(kind).collect();
    let members: Vec<u8> = (0..nodes.len() as u8).collect();
    let alike = kinds.iter().enumerate().any(|(at, kind)| at != *kind);
    let mut maker = Maker { kinds, alike, left: CANDIDATES_MAX, made: BTreeMap::new() };
    let mut trees = maker.trees(&members).to_vec();
    trees.sort_by_key(Tree::depth);
    (trees, maker.left > 0)
}

impl Tree {
    /// Whether a gate above, `need` of `count`, would be the same gate: `or` in `or`, `and` in
    /// `and`.
    fn merges(&self, need: usize, count: usize) -> bool {
        match self {
            Tree::Member(_) => false,
            Tree::Gate { need: below, items } => {
                need == 1 && *below == 1 || need == count && *below == items.len()
            }
        }
    }

    fn depth(&self) -> usize {
        match self {
            Tree::Member(_) => 0,
            Tree::Gate { items, .. } => 1 + items.iter().map(Tree::depth).max().unwrap_or(0),
        }
    }
}

struct Maker {
    /// For each member the first one with equal figures.
    kinds: Vec<usize>,
    /// Whether any two are equal.
    alike: bool,
    /// Trees that may still be made.
    left: usize,
    /// By members.
    made: BTreeMap<Vec<u8>, Rc<[Tree]>>,
}

impl Maker {
    /// The tree with members replaced by their kind, sorted: equal for trees that differ by
    /// exchanging equal members.
    fn kind_tree(&self, tree: &Tree) -> Tree {
        match tree {
            Tree::Member(slot) => Tree::Member(self.kinds[*slot as usize] as u8),
            Tree::Gate { need, items } => {
                let mut items: Vec<Tree> = items.iter().map(|item| self.kind_tree(item)).collect();
                items.sort();
                Tree::Gate { need: *need, items }
            }
        }
    }

    /// Every tree over `members`, none twice up to exchanging equal members.
    fn trees(&mut self, members: &[u8]) -> Rc<[Tree]> {
        if let [member] = members {
            return Rc::new([Tree::Member(*member)]);
        }
        if let Some(made) = self.made.get(members) {
            return Rc::clone(made);
        }
        let mut out = Vec::new();
        let mut seen: BTreeSet<Tree> = BTreeSet::new();
        let mut splits: BTreeSet<Vec<Vec<usize>>> = BTreeSet::new();
        for split in partitions(members) {
            if split.len() < 2 || self.alike && !splits.insert(self.kinds_of(&split)) {
                continue;
            }
            let choices: Vec<Rc<[Tree]>> = split.iter().map(|part| self.trees(part)).collect();
            for items in products(&choices) {
                for need in 1..=items.len() {
                    if self.left == 0 || items.iter().any(|item| item.merges(need, items.len())) {
                        continue;
                    }
                    let tree = Tree::Gate { need, items: items.clone() };
                    if !self.alike || seen.insert(self.kind_tree(&tree)) {
                        self.left -= 1;
                        out.push(tree);
                    }
                }
            }
        }
        let out: Rc<[Tree]> = out.into();
        self.made.insert(members.to_vec(), Rc::clone(&out));
        out
    }

    fn kinds_of(&self, split: &[Vec<u8>]) -> Vec<Vec<usize>> {
        let of = |part: &Vec<u8>| {
            let mut kinds: Vec<usize> =
                part.iter().map(|member| self.kinds[*member as usize]).collect();
            kinds.sort_unstable();
            kinds
        };
        let mut kinds: Vec<Vec<usize>> = split.iter().map(of).collect();
        kinds.sort();
        kinds
    }
}

/// Every way to split `members` into groups, the coarsest last.
fn partitions(members: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let Some((first, rest)) = members.split_first() else { return vec![Vec::new()] };
    let mut out = Vec::new();
    for partition in partitions(rest) {
        let mut alone = vec![vec![*first]];
        alone.extend(partition.iter().cloned());
        out.push(alone);
        for at in 0..partition.len() {
            let mut joined = partition.clone();
            joined[at].insert(0, *first);
            out.push(joined);
        }
    }
    out
}

/// One of each, in every combination.
fn products(choices: &[Rc<[Tree]>]) -> Vec<Vec<Tree>> {
    let mut out: Vec<Vec<Tree>> = vec![Vec::new()];
    for options in choices {
        let extend = |items: &Vec<Tree>| {
            let items = items.clone();
            options.iter().map(move |option| {
                let mut longer = items.clone();
                longer.push(option.clone());
                longer
            })
        };
        out = out.iter().flat_map(|items| extend(items).collect::<Vec<_>>()).collect();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize, alike: bool) -> Vec<Node> {
        let figures = |i: usize| if alike { String::new() } else { format!(":cap={}", i + 1) };
        let node = |i: usize| Node::parse(&format!("n{i}{}", figures(i))).unwrap();
        (0..count).map(node).collect()
    }

    #[test]
    fn every_family_that_names_each_member_once_is_made_once() {
        // Two members: or, and. Three: 3 flat, 3 x 2 nested.
        for (count, trees) in [(1, 1), (2, 2), (3, 9), (4, 74)] {
            let (made, complete) = all_trees(&nodes(count, false));
            assert!(complete);
            assert_eq!(made.len(), trees);
            let tables: BTreeSet<Vec<usize>> =
                made.iter().map(|tree| tree.table(count).sets().collect()).collect();
            assert_eq!(tables.len(), trees, "no two are the same family");
        }
    }

    #[test]
    fn members_that_are_alike_are_not_told_apart() {
        // Without labels: 3 flat and 2 nested over three members.
        assert_eq!(all_trees(&nodes(3, true)).0.len(), 5);
    }

    #[test]
    fn a_trees_table_and_losses_are_those_of_its_text() {
        let nodes = nodes(4, false);
        for tree in all_trees(&nodes).0 {
            let expr = quorum::Expr::parse(&tree.text(&nodes)).unwrap();
            let names = quorum::Names::in_order(nodes.iter().map(|node| node.name.as_str()));
            let family = quorum::Family::compile(&expr, &names).unwrap();
            let table = tree.table(4);
            for set in 0..16usize {
                let held = family.is_quorum(quorum::NodeSet::from_bits(set as u64));
                assert_eq!(table.holds(set), held);
            }
            assert_eq!(tree.least_blocking(), family.resilience() + 1);
            assert_eq!(tree.least_quorum(), family.dual().resilience() + 1);
        }
    }
}
