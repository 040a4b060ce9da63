//! Scenarios told line by line. Every fact in them is read from the world, and every promise is
//! checked; none is the script's own belief.

mod disks;
mod elections;
mod quorums;

use crate::knobs::Knobs;
use crate::world::{Told, World};

/// A story that was told.
#[derive(Clone, Debug, Default)]
pub struct Story {
    pub lines: Vec<String>,
    /// The first thing that was not as promised.
    pub broken: Option<String>,
}

type Teller = fn(&mut Story);

const TELLERS: &[Teller] = &[
    elections::split_brain,
    elections::lost_quorum,
    elections::figure_8,
    elections::stale_leader_read,
    elections::chained_partition,
    quorums::wrong_formula,
    quorums::any_quorum,
    disks::torn_journal,
    disks::forgotten_vote,
    disks::slow_disk_leader,
];

/// Name and subject of every story.
pub const ALL: &[(&str, &str)] = &[
    ("split-brain", "a leader cut off with a minority decides nothing"),
    ("lost-quorum", "without a quorum a write is refused, and who is missing is named"),
    ("figure-8", "an entry of an earlier ballot is not committed by counting"),
    ("stale-leader-read", "a deposed leader cannot answer a linearizable read"),
    ("chained-partition", "members in a chain keep one leader"),
    ("wrong-formula", "a quorum too small elects two leaders; one too large wastes a failure"),
    ("any-quorum", "zones, a grid, weights, a wall: each decision in the words of its family"),
    ("torn-journal", "a torn tail is cut; damage before it is refused"),
    ("forgotten-vote", "an emptied member under its old id is refused"),
    ("slow-disk-leader", "a leader whose disk is slow commits without itself"),
];

/// Tells a story; none when there is no such name.
pub fn tell(name: &str) -> Option<Story> {
    let at = ALL.iter().position(|(known, _)| *known == name)?;
    let mut story = Story::default();
    TELLERS[at](&mut story);
    Some(story)
}

impl Story {
    fn say(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// Something that must hold; said either way.
    fn check(&mut self, what: &str, holds: bool) {
        self.lines.push(format!("  {} {what}", if holds { "ok   " } else { "BROKEN" }));
        if !holds && self.broken.is_none() {
            self.broken = Some(what.to_owned());
        }
    }

    /// A table of the members as they stand.
    fn show(&mut self, world: &World, nodes: usize) {
        for node in 0..nodes {
            let p = world.picture(node);
            self.lines.push(format!(
                "    {:<3} {:<13} ballot {:<6} log {:<4} durable {:<4} commit {:<4} revision {}",
                p.name,
                p.state,
                p.ballot.to_string(),
                p.last.0,
                p.durable.0,
                p.commit.0,
                p.revision
            ));
        }
    }

    fn end(&mut self, world: &mut World) {
        match world.conclude() {
            None => self.check("the faults end: one leader, equal states, no lease left", true),
            Some(why) => self.check(&why, false),
        }
    }
}

/// A calm world; the quorum texts of stories are safe.
fn world(nodes: usize, quorum: &str) -> World {
    World::scripted(nodes, quorum, Knobs::calm()).expect("a story's quorum is safe")
}

fn others(nodes: usize, not: &[usize]) -> Vec<usize> {
    (0..nodes).filter(|node| !not.contains(node)).collect()
}

fn names(nodes: &[usize]) -> String {
    nodes.iter().map(|node| crate::plan::name(*node)).collect::<Vec<_>>().join(", ")
}

fn word(told: &Told) -> &'static str {
    match told {
        Told::Done => "answered",
        Told::NotApplied => "refused, not applied",
        Told::Unknown => "unknown: it may be applied later",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_story_ends_as_promised() {
        for (name, _) in ALL {
            let story = tell(name).expect("it has a name");
            let lines = story.lines.join("\n");
            assert_eq!(story.broken, None, "{name}:\n{lines}");
            assert!(lines.contains("ok "), "{name} checks something");
        }
    }
}
