//! What one member can do: capacities, latency, zone.

use std::fmt;

use num_traits::{One, Zero};

use crate::ratio::{self, Ratio};

/// One member's figures. Capacities are operations a second (any unit, if all use the same),
/// latency is in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub write_capacity: Ratio,
    pub read_capacity: Ratio,
    /// Time to answer, round trip included.
    pub latency: Ratio,
    /// Where it fails together with others.
    pub zone: Option<String>,
}

/// What is wrong with a `--node` text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeError(pub String);

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NodeError {}

impl Node {
    /// Capacities and latency of 1, no zone.
    pub fn unit(name: &str) -> Self {
        let one = Ratio::one();
        Self {
            name: name.to_owned(),
            write_capacity: one.clone(),
            read_capacity: one.clone(),
            latency: one,
            zone: None,
        }
    }

    /// Reads `a`, `a:cap=2000`, `a:cap=WRITE/READ,latency=1s,zone=eu`. Latency units: us, ms, s.
    pub fn parse(text: &str) -> Result<Self, NodeError> {
        let (name, figures) = text.split_once(':').unwrap_or((text, ""));
        let mut node = Self::unit(name.trim());
        if node.name.is_empty() {
            return Err(NodeError(format!("`{text}` names no member")));
        }
        for figure in figures.split(',').map(str::trim).filter(|figure| !figure.is_empty()) {
            let bad = || NodeError(format!("`{figure}` of member `{}` is not read", node.name));
            let (key, value) = figure.split_once('=').ok_or_else(bad)?;
            match key.trim() {
                "cap" => {
                    let (write, read) = value.split_once('/').unwrap_or((value, value));
                    let write = ratio::parse(write).filter(|cap| !cap.is_zero());
                    let read = ratio::parse(read).filter(|cap| !cap.is_zero());
                    let both = write.zip(read).ok_or_else(bad)?;
                    (node.write_capacity, node.read_capacity) = both;
                }
                "latency" => node.latency = seconds(value.trim()).ok_or_else(bad)?,
                "zone" => node.zone = Some(value.trim().to_owned()),
                _ => {
                    return Err(NodeError(format!(
                        "`{key}` of member `{}` is unknown; known: cap, latency, zone",
                        node.name
                    )));
                }
            }
        }
        Ok(node)
    }

    /// Whether a strategy need not tell them apart.
    pub(crate) fn costs_like(&self, other: &Node) -> bool {
        self.write_capacity == other.write_capacity
            && self.read_capacity == other.read_capacity
            && self.latency == other.latency
    }
}

/// `1.5s`, `20ms`, `300us` in seconds.
pub fn seconds(text: &str) -> Option<Ratio> {
    for (unit, parts) in [("ms", 1_000), ("us", 1_000_000), ("s", 1)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Some(ratio::parse(number)? / ratio::whole(parts));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::ratio;

    #[test]
    fn figures_are_read_in_any_order_and_default_to_one() {
        let node = Node::parse("a:zone=eu, latency=20ms,cap=2000/4000").unwrap();
        assert_eq!((node.name.as_str(), node.zone.as_deref()), ("a", Some("eu")));
        assert_eq!(node.latency, ratio(1, 50));
        assert_eq!((node.write_capacity, node.read_capacity), (ratio(2000, 1), ratio(4000, 1)));
        assert_eq!(Node::parse("b").unwrap(), Node::unit("b"));
    }

    #[test]
    fn a_figure_that_is_not_read_is_named() {
        for text in ["a:cap=0", "a:cap=x", "a:latency=5", "a:speed=1", "a:cap", ":cap=1"] {
            assert!(Node::parse(text).is_err(), "{text}");
        }
        let error = Node::parse("a:speed=1").unwrap_err().to_string();
        assert_eq!(error, "`speed` of member `a` is unknown; known: cap, latency, zone");
    }
}
