//! A story of formulas.

use super::{Story, names, others, word, world};
use crate::knobs::Knobs;
use crate::world::{Told, World};

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
