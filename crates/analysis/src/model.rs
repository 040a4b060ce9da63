//! A system with the figures of its members.

use std::fmt;

use quorum::{Family, Names, NodeSet, SystemSpec, interchangeable};

use crate::Node;

/// Both families over the same slots, a member's figures for each slot. The pair need not be
/// safe: what it would cost can be asked of any pair.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) names: Names,
    pub(crate) elect: Family,
    pub(crate) commit: Family,
    /// By slot.
    pub(crate) nodes: Vec<Node>,
    /// Members that neither a family nor a figure tells apart.
    pub(crate) classes: Vec<NodeSet>,
    /// Slots, the fastest first.
    pub(crate) by_latency: Vec<u8>,
    witnesses: NodeSet,
}

/// The text does not parse, or a figure is of nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelError(pub String);

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ModelError {}

impl Model {
    /// Parses a system text; members without figures are unit nodes.
    ///
    /// # Errors
    /// The parse error under the text with a caret, or a figure whose member is not in the text.
    pub fn parse(text: &str, figures: &[Node]) -> Result<Self, ModelError> {
        let spec = SystemSpec::parse(text).map_err(|error| ModelError(error.caret(text)))?;
        let names = spec.infer_names();
        let (elect, commit) =
            spec.families(&names).map_err(|error| ModelError(error.to_string()))?;
        let witnesses = spec.witnesses().into_iter().filter_map(|name| names.slot(name)).collect();
        Ok(Self { witnesses, ..Self::new(names.clone(), elect, commit, figures)? })
    }

    /// Members that vote and keep no data.
    pub fn witnesses(&self) -> NodeSet {
        self.witnesses
    }

    /// Families over the slots of `names`.
    pub fn new(
        names: Names,
        elect: Family,
        commit: Family,
        figures: &[Node],
    ) -> Result<Self, ModelError> {
        if let Some(node) = figures.iter().find(|node| names.slot(&node.name).is_none()) {
            return Err(ModelError(format!("member `{}` is not in the system", node.name)));
        }
        let support = elect.support().union(commit.support());
        let highest = support.iter().last().expect("a family has members");
        let node = |slot: u8| {
            let name = names.name(slot).unwrap_or_default();
            let given = figures.iter().find(|node| node.name == name);
            given.cloned().unwrap_or_else(|| Node::unit(name))
        };
        let nodes: Vec<Node> = (0..=highest).map(node).collect();
        let mut classes = Vec::new();
        for class in interchangeable(&[&elect, &commit]) {
            let mut open = class;
            while let Some(first) = open.iter().next() {
                let like = |slot: &u8| nodes[*slot as usize].costs_like(&nodes[first as usize]);
                let alike: NodeSet = open.iter().filter(like).collect();
                open = open.minus(alike);
                classes.push(alike);
            }
        }
        let mut by_latency: Vec<u8> = (0..=highest).collect();
        by_latency.sort_by(|a, b| nodes[*a as usize].latency.cmp(&nodes[*b as usize].latency));
        Ok(Self { names, elect, commit, nodes, classes, by_latency, witnesses: NodeSet::EMPTY })
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The read side.
    pub fn elect(&self) -> &Family {
        &self.elect
    }

    /// The write side.
    pub fn commit(&self) -> &Family {
        &self.commit
    }

    /// By slot.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn members(&self) -> NodeSet {
        self.elect.support().union(self.commit.support())
    }

    /// (zone, its members) in order of the first member, when any member has a zone.
    pub fn zones(&self) -> Vec<(String, NodeSet)> {
        let mut zones: Vec<(String, NodeSet)> = Vec::new();
        for slot in self.members().iter() {
            let Some(zone) = &self.nodes[slot as usize].zone else { continue };
            let alone: NodeSet = [slot].into_iter().collect();
            match zones.iter_mut().find(|(name, _)| name == zone) {
                Some((_, members)) => *members = members.union(alone),
                None => zones.push((zone.clone(), alone)),
            }
        }
        zones
    }
}
