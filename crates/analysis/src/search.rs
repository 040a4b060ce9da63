//! The best system over given members: every way to write a family that names each member once.

use std::collections::BTreeSet;

use quorum::{Family, Names, Protocol, check_pair};

use crate::model::Model;
use crate::node::Node;
use crate::strategy::{Goal, NoStrategy, Strategy};
use crate::workload::Workload;

/// Systems looked at before the search stops.
const CANDIDATES_MAX: usize = 200_000;

/// What the search may answer with.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub goal: Goal,
    /// Any so many members may fail, for both roles.
    pub resilience: usize,
    /// Only pairs that are safe for it; elect always meets commit.
    pub protocol: Protocol,
}

/// The best of all that was looked at.
#[derive(Clone, Debug)]
pub struct Found {
    /// `elect = ...; commit = ...`.
    pub text: String,
    pub model: Model,
    pub strategy: Strategy,
    /// Systems looked at, those too fragile or unsafe included.
    pub candidates: usize,
    /// Whether these are all there are.
    pub complete: bool,
}

/// Looks at every elect family in which each member appears once, with its dual as commit
/// family, and answers with the one whose best strategy is best.
///
/// # Errors
/// [`NoStrategy::Impossible`] when no system is within the limits.
pub fn search(nodes: &[Node], work: &Workload, wanted: &Wanted) -> Result<Found, NoStrategy> {
    let (trees, complete) = all_trees(nodes);
    let names = Names::in_order(nodes.iter().map(|node| node.name.as_str()));
    let mut best: Option<(f64, &Tree, Model)> = None;
    for tree in &trees {
        // Each member once: the smallest blocking set of either role adds up from below.
        let survives = tree.least_quorum().min(tree.least_blocking()) - 1;
        if survives < wanted.resilience {
            continue;
        }
        let elect = tree.family(&names);
        let commit = elect.dual();
        let bound = best.as_ref().map(|(least, ..)| *least);
        if check_pair(&elect, &commit, wanted.protocol).is_err() {
            continue;
        }
        let Ok(model) = Model::new(names.clone(), elect, commit, nodes) else { continue };
        let Some(cost) = Strategy::estimate(&model, work, &wanted.goal) else { continue };
        // A tie keeps the earlier and simpler one.
        if bound.is_none_or(|least| cost < least * (1.0 - 1e-9)) {
            best = Some((cost, tree, model));
        }
    }
    let (_, tree, model) = best.ok_or(NoStrategy::Impossible)?;
    let strategy = Strategy::best(&model, work, &wanted.goal)?;
    let text = tree.text(nodes);
    let text = format!("elect = {text}; commit = dual({text})");
    Ok(Found { text, model, strategy, candidates: trees.len(), complete })
}

/// A family in which each member appears once. Two trees are equal exactly when their families
/// are: an `or` holds no `or`, an `and` no `and`, and children are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tree {
    Member(u8),
    Gate { need: usize, items: Vec<Tree> },
}

impl Tree {
    fn text(&self, nodes: &[Node]) -> String {
        match self {
            Tree::Member(slot) => name(&nodes[*slot as usize].name),
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

    fn family(&self, names: &Names) -> Family {
        let numbered = |slot: u8| names.name(slot).expect("every member has a name").to_owned();
        let expr = quorum::Expr::parse(&self.text_with(&numbered)).expect("the text is our own");
        Family::compile(&expr, names).expect("every name has a slot")
    }

    fn text_with(&self, of: &dyn Fn(u8) -> String) -> String {
        match self {
            Tree::Member(slot) => name(&of(*slot)),
            Tree::Gate { need, items } => {
                let items: Vec<String> = items.iter().map(|item| item.text_with(of)).collect();
                format!("{need} of ({})", items.join(", "))
            }
        }
    }

    fn least_quorum(&self) -> usize {
        self.least(|need, _| need)
    }

    fn least_blocking(&self) -> usize {
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

/// A name as the language writes it.
fn name(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    let reserved = matches!(text, "and" | "or" | "of");
    if plain && !reserved {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Every tree over the members, flat ones first, one for all that exchange equal members; and
/// whether these are all.
fn all_trees(nodes: &[Node]) -> (Vec<Tree>, bool) {
    let kind = |at: usize| {
        nodes.iter().position(|node| node.costs_like(&nodes[at])).expect("it is like itself")
    };
    let kinds: Vec<usize> = (0..nodes.len()).map(kind).collect();
    let members: Vec<u8> = (0..nodes.len() as u8).collect();
    let mut maker = Maker { kinds, left: CANDIDATES_MAX };
    let mut trees = maker.trees(&members);
    trees.sort_by_key(Tree::depth);
    let mut seen: BTreeSet<Tree> = BTreeSet::new();
    trees.retain(|tree| seen.insert(maker.kind_tree(tree)));
    (trees, maker.left > 0)
}

impl Tree {
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
    /// Trees that may still be made.
    left: usize,
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
    fn trees(&mut self, members: &[u8]) -> Vec<Tree> {
        if let [member] = members {
            return vec![Tree::Member(*member)];
        }
        let mut out = Vec::new();
        let mut seen: BTreeSet<Tree> = BTreeSet::new();
        let mut splits: BTreeSet<Vec<Vec<usize>>> = BTreeSet::new();
        for split in partitions(members) {
            let mut kinds: Vec<Vec<usize>> = split
                .iter()
                .map(|part| part.iter().map(|member| self.kinds[*member as usize]).collect())
                .collect();
            kinds.iter_mut().for_each(|part: &mut Vec<usize>| part.sort_unstable());
            kinds.sort();
            if split.len() < 2 || !splits.insert(kinds) {
                continue;
            }
            let choices: Vec<Vec<Tree>> = split.iter().map(|part| self.trees(part)).collect();
            for items in products(&choices) {
                for need in 1..=items.len() {
                    let same = |item: &Tree| match item {
                        Tree::Member(_) => false,
                        Tree::Gate { need: below, items: inner } => {
                            let (or, and) = (*below == 1, *below == inner.len());
                            need == 1 && or || need == items.len() && and
                        }
                    };
                    if self.left == 0 {
                        return out;
                    }
                    if items.iter().any(same) {
                        continue;
                    }
                    let tree = Tree::Gate { need, items: items.clone() };
                    if seen.insert(self.kind_tree(&tree)) {
                        self.left -= 1;
                        out.push(tree);
                    }
                }
            }
        }
        out
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
fn products(choices: &[Vec<Tree>]) -> Vec<Vec<Tree>> {
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
            let names = Names::in_order((0..count).map(|i| format!("n{i}")));
            let families: BTreeSet<Vec<quorum::NodeSet>> = made
                .iter()
                .map(|tree| {
                    let mut quorums = tree.family(&names).minimal_quorums();
                    quorums.sort();
                    quorums
                })
                .collect();
            assert_eq!(families.len(), trees, "no two are the same family");
        }
    }

    #[test]
    fn members_that_are_alike_are_not_told_apart() {
        // Without labels: 3 flat and 2 nested over three members.
        assert_eq!(all_trees(&nodes(3, true)).0.len(), 5);
    }

    #[test]
    fn what_a_tree_survives_is_what_its_family_survives() {
        let names = Names::in_order((0..4).map(|i| format!("n{i}")));
        for tree in all_trees(&nodes(4, false)).0 {
            let family = tree.family(&names);
            assert_eq!(tree.least_blocking(), family.resilience() + 1);
            assert_eq!(tree.least_quorum(), family.dual().resilience() + 1);
        }
    }
}
