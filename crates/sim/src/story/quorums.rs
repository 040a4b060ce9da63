//! A story of formulas.

use super::{Story, names, others, word, world};
use crate::knobs::Knobs;
use crate::world::{Told, World};
use quorum::{Names, NodeSet, SystemSpec};

pub(super) fn wrong_formula(story: &mut Story) {
    story.say("Four members, and \"two are enough\":");
    let two = World::scripted(4, "2 of (n1, n2, n3, n4)", Knobs::calm());
    let why = two.err().unwrap_or_default();
    story.say(format!("  {why}"));
    story.check("it does not come to be: two sets that do not meet", why.contains("no member"));
    story.say("Five members, and the folk formula ceil(N/2)+1 = 4; two of them stop.");
    let folk = "4 of (n1, n2, n3, n4, n5)";
    let majority = "majority(n1, n2, n3, n4, n5)";
    for (text, answers) in [(majority, true), (folk, false)] {
        let mut w = world(5, text);
        let all = others(5, &[]);
        let Some(leader) = w.until_leader(&all) else {
            return story.check("a leader is elected", false);
        };
        let gone = [(leader + 1) % 5, (leader + 2) % 5];
        gone.iter().for_each(|node| w.halt(*node, true));
        w.wait(5000);
        let told = w.put(leader, "k");
        story.say(format!("{text} without {}: a write is {}.", names(&gone), word(&told)));
        let expected = if answers { Told::Done } else { Told::NotApplied };
        let what = if answers { "three of five go on" } else { "four of five wastes a failure" };
        story.check(what, told == expected);
        for node in gone {
            let back = w.boot(node);
            story.check("a stopped member starts again", back.is_ok());
        }
        story.end(&mut w);
    }
}

/// A system, members that stop and leave a quorum, and one more that is too many.
struct Case {
    nodes: usize,
    quorum: &'static str,
    gone: &'static [usize],
    last: usize,
}

const CASES: [Case; 5] = [
    Case {
        nodes: 9,
        quorum: "zones(eu{n1, n2, n3}, us{n4, n5, n6}, ap{n7, n8, n9})",
        gone: &[2, 5, 6, 7, 8],
        last: 4,
    },
    Case { nodes: 6, quorum: "grid(n1 n2 n3 / n4 n5 n6)", gone: &[4, 5], last: 1 },
    Case { nodes: 4, quorum: "weighted{n1: 3, n2: 1, n3: 1, n4: 2}", gone: &[1, 2], last: 3 },
    Case { nodes: 6, quorum: "wall(n1 / n2 n3 / n4 n5 n6)", gone: &[0, 4, 5], last: 2 },
    Case { nodes: 7, quorum: "tree(n1 n2 n3 n4 n5 n6 n7)", gone: &[2, 4, 5, 6], last: 3 },
];

pub(super) fn any_quorum(story: &mut Story) {
    for case in CASES {
        story.say(format!("{}:", case.quorum));
        let spec = SystemSpec::parse(case.quorum).expect("a story's quorum is in the language");
        let slots = Names::in_order((0..case.nodes).map(crate::plan::name));
        let mut w = world(case.nodes, case.quorum);
        case.gone.iter().for_each(|node| w.halt(*node, true));
        let left = others(case.nodes, case.gone);
        let Some(leader) = w.until_leader(&left) else {
            return story.check("those that are left elect a leader", false);
        };
        let told = w.put(leader, "k");
        let acked = w.acknowledged().map_or(NodeSet::EMPTY, |(_, acked, _)| acked);
        story.say(format!(
            "  without {}: {}.",
            names(case.gone),
            spec.commit.explain(&slots, acked)
        ));
        story.check("a write is answered", told == Told::Done);
        let system = spec.compile(&slots).expect("a story's quorum is safe");
        story.check("who holds it is a quorum", system.commit().is_quorum(acked));
        w.halt(case.last, true);
        let rest = left.iter().filter(|node| **node != case.last);
        let rest: NodeSet = rest.map(|node| *node as u8).collect();
        let asked = others(case.nodes, case.gone).into_iter().find(|node| *node != case.last);
        let told = w.put(asked.expect("somebody is left"), "k");
        let who = names(&[case.last]);
        story.say(format!("  {who} stops too: {}.", spec.commit.explain(&slots, rest)));
        story.check("a write is not answered", told != Told::Done);
        for node in case.gone.iter().chain([&case.last]) {
            story.check("a stopped member starts again", w.boot(*node).is_ok());
        }
        story.end(&mut w);
    }
}
