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
    two_leaders(story);
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

/// What the refused text would do: each half of four elects, and answers, alone.
fn two_leaders(story: &mut Story) {
    story.say("The same four with the check switched off. The network parts:");
    story.say("  n1, n2 | n3, n4");
    let halves = ["all of (n1, n2)", "all of (n1, n2)", "all of (n3, n4)", "all of (n3, n4)"];
    let mut w = World::misled(&halves).expect("there are members");
    w.part(&[0, 1]);
    let mut rules = Vec::new();
    for _ in 0..2000 {
        w.wait(1);
        rules.extend(w.forgive().map(|violation| violation.rule));
    }
    story.show(&w, 4);
    let leader = |w: &World, half: [usize; 2]| half.into_iter().find(|n| w.picture(*n).leads);
    let (Some(a), Some(b)) = (leader(&w, [0, 1]), leader(&w, [2, 3])) else {
        return story.check("each half elects a leader", false);
    };
    let (one, other) = (w.picture(a).ballot, w.picture(b).ballot);
    story.check("two leaders in one term", one.term == other.term);
    for node in [a, b] {
        let before = w.picture(node).revision;
        w.put_later(node, "k");
        for _ in 0..200 {
            w.wait(1);
            rules.extend(w.forgive().map(|violation| violation.rule));
        }
        let after = w.picture(node).revision;
        story.say(format!("n{} takes a write: revision {after}.", node + 1));
        story.check("two of four commit it", after == before + 1);
    }
    let (one, other) = (w.picture(a), w.picture(b));
    let same = (one.commit, one.revision) == (other.commit, other.revision);
    story.check("one revision, two values: one of the two writes will be lost", same);
    rules.dedup();
    story.say(format!("Broken, says the judge of every life: {}.", rules.join("; ")));
    let noticed = ["one leader a ballot", "one log"].iter().all(|rule| rules.contains(rule));
    story.check("a life would have been stopped at the second leader", noticed);
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
