//! Stories of leaders.

use super::{Story, names, others, word, world};
use crate::knobs::Knobs;
use crate::world::{Told, World};

pub(super) fn split_brain(story: &mut Story) {
    let mut w = world(5, "majority(n1, n2, n3, n4, n5)");
    let all = others(5, &[]);
    let Some(old) = w.until_leader(&all) else { return story.check("a leader is elected", false) };
    let friend = (old + 1) % 5;
    let minority = [old, friend];
    let majority = others(5, &minority);
    story.say(format!("n{} leads five members. The network parts:", old + 1));
    story.say(format!("  {} | {}", names(&minority), names(&majority)));
    w.part(&minority);
    let lost = w.put_later(old, "k");
    w.wait(300);
    story.say(format!("A client writes k at n{}, which still leads:", old + 1));
    story.show(&w, 5);
    let before = w.picture(old);
    story.check("the entry is in its log and is not committed", before.last > before.commit);
    let Some(new) = w.until_leader(&majority) else {
        return story.check("the other side elects a leader", false);
    };
    story.say(format!("The other side elects n{}:", new + 1));
    let told = w.put(new, "k");
    story.check("the other side's write is answered", told == Told::Done);
    w.wait(2000);
    story.show(&w, 5);
    let (a, b) = (w.picture(old), w.picture(new));
    story.check("the two have different ballots", a.ballot < b.ballot);
    story.check("the old leader has stepped down by itself", !a.leads);
    w.mend_all();
    let told = w.told(lost);
    w.wait(3000);
    story.say(format!("The network heals. The write at n{}: {}.", old + 1, word(&told)));
    // Its member offers it again to the new leader, under the same id.
    let more = i64::from(told == Told::Done);
    let same = w.picture(old).revision == b.revision + more;
    story.check("it is a revision if it was answered, and none if not", same);
    story.end(&mut w);
}

pub(super) fn lost_quorum(story: &mut Story) {
    let mut w = world(3, "majority(n1, n2, n3)");
    let Some(leader) = w.until_leader(&[0, 1, 2]) else {
        return story.check("a leader is elected", false);
    };
    let told = w.put(leader, "k");
    story.check("with all three a write is answered", told == Told::Done);
    let gone = others(3, &[leader]);
    gone.iter().for_each(|node| w.halt(*node, true));
    story.say(format!("{} lose their power. n{} is alone.", names(&gone), leader + 1));
    w.wait(5000);
    let told = w.put(leader, "k");
    story.say(format!("A write at n{}: {}.", leader + 1, word(&told)));
    story.check("it is refused, and never applied", told == Told::NotApplied);
    let told = w.get(leader, "k", false);
    story.check("a linearizable read is refused too", told == Told::NotApplied);
    let told = w.get(leader, "k", true);
    story.check("a serializable read is answered from what is here", told == Told::Done);
    let back = w.boot(gone[0]);
    story.say(format!("n{} is back.", gone[0] + 1));
    story.check("it starts from its own disk", back.is_ok());
    let pair = [leader, gone[0]];
    let lead = w.until_leader(&pair);
    story.check("two of three elect a leader", lead.is_some());
    let told = w.put(lead.unwrap_or(leader), "k");
    story.check("a write is answered again", told == Told::Done);
    story.end(&mut w);
}

/// Raft section 5.4.2, figure 8: an entry of an earlier term that is on a majority may still be
/// lost, so it counts only once an entry of the leader's own term covers it.
pub(super) fn figure_8(story: &mut Story) {
    let knobs = Knobs { append_bytes_max: 1, ..Knobs::calm() };
    let text = "majority(n1, n2, n3, n4, n5)";
    let mut w = World::scripted(5, text, knobs).expect("a majority is safe");
    let all = others(5, &[]);
    let Some(a) = w.until_leader(&all) else { return story.check("a leader is elected", false) };
    w.wait(500);
    let b = (a + 1) % 5;
    let rest = others(5, &[a, b]);
    w.cut_pairs(|from, to| from == a && rest.contains(&to));
    w.put_later(a, "k");
    w.wait(100);
    let (entry, ballot) = (w.picture(a).last, w.picture(a).ballot);
    story.say(format!("n{} puts entry {entry} of ballot {ballot} on two disks, and stops.", a + 1));
    w.halt(a, true);
    w.halt(b, true);
    w.mend_all();
    let Some(e) = until_leads(&mut w, &rest) else {
        return story.check("the others elect a leader", false);
    };
    w.cut_pairs(|from, _| from == e);
    w.wait(50);
    let other = w.picture(e).ballot;
    story.say(format!(
        "n{} leads ballot {other} and puts its own entry {entry} on one disk.",
        e + 1
    ));
    story.check("its entry is not committed", w.picture(e).commit < entry);
    w.halt(e, true);
    w.mend_all();
    let back = w.boot(a).and_then(|()| w.boot(b));
    story.check("the first two start again", back.is_ok());
    let others_left = others(5, &[e]);
    let Some(again) = until_leads(&mut w, &others_left) else {
        return story.check("they elect a leader", false);
    };
    let third = rest.iter().copied().find(|n| *n != e).unwrap_or(e);
    // Only one more member hears it, and only until it has the old entry.
    w.cut_pairs(|from, to| from == again && to != third);
    for _ in 0..2000 {
        if w.picture(third).durable >= entry {
            break;
        }
        w.wait(1);
    }
    w.cut_pairs(|from, _| from == third);
    story.say(format!("n{} leads again; the old entry reaches n{}:", again + 1, third + 1));
    story.show(&w, 5);
    let holders = [a, b, third].iter().filter(|n| w.picture(**n).durable >= entry).count();
    story.check("three of five disks hold the entry of the earlier ballot", holders == 3);
    story.check("it is not committed by counting them", w.picture(again).commit < entry);
    w.halt(a, true);
    w.halt(b, true);
    w.mend_all();
    let back = w.boot(e);
    story.check("the second leader starts again", back.is_ok());
    let Some(last) = w.until_leader(&rest) else {
        return story.check("it is elected without the first two", false);
    };
    story.say(format!("The first two stop; n{} leads and overwrites it:", last + 1));
    story.show(&w, 5);
    story.check("another entry is committed at that place", w.picture(last).commit >= entry);
    story.end(&mut w);
}

/// Waits until a member leads, and not a moment longer.
fn until_leads(w: &mut World, among: &[usize]) -> Option<usize> {
    for _ in 0..30_000 {
        if let Some(leader) = among.iter().find(|n| w.picture(**n).leads) {
            return Some(*leader);
        }
        w.pause_for(base::Nanos(100_000));
    }
    None
}

pub(super) fn stale_leader_read(story: &mut Story) {
    let mut w = world(3, "majority(n1, n2, n3)");
    let Some(old) = w.until_leader(&[0, 1, 2]) else {
        return story.check("a leader is elected", false);
    };
    w.put(old, "k");
    let rest = others(3, &[old]);
    story.say(format!("n{} leads and is cut off; {} elect another.", old + 1, names(&rest)));
    w.part(&[old]);
    let Some(new) = w.until_leader(&rest) else {
        return story.check("the others elect a leader", false);
    };
    let told = w.put(new, "k");
    story.check("the new leader commits a newer value", told == Told::Done);
    story.show(&w, 3);
    let told = w.get(old, "k", false);
    story.say(format!("A linearizable read at n{}: {}.", old + 1, word(&told)));
    story.check("the old leader does not answer it", told != Told::Done);
    let told = w.get(old, "k", true);
    story.check("a serializable read is answered, at its older revision", told == Told::Done);
    let older = w.picture(old).revision < w.picture(new).revision;
    story.check("its revision says how old it is", older);
    w.mend_all();
    story.end(&mut w);
}

pub(super) fn chained_partition(story: &mut Story) {
    let mut w = world(3, "majority(n1, n2, n3)");
    let Some(leader) = w.until_leader(&[0, 1, 2]) else {
        return story.check("a leader is elected", false);
    };
    let middle = (leader + 1) % 3;
    let far = (leader + 2) % 3;
    story.say(format!(
        "The link between n{} (which leads) and n{} is cut; both hear n{}.",
        leader + 1,
        far + 1,
        middle + 1
    ));
    w.cut_pairs(|a, b| a != middle && b != middle);
    let before = w.stats.elections;
    w.wait(20_000);
    story.show(&w, 3);
    let changes = w.stats.elections - before;
    story.say(format!("In 20 s leadership changes {changes} times."));
    story.check("at most once: a follower that hears its leader grants no vote", changes <= 1);
    let told = w.put(middle, "k");
    story.check("writes are answered all along", told == Told::Done);
    w.mend_all();
    story.end(&mut w);
}
