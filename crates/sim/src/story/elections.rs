//! Stories of leaders.

use super::{Story, names, others, word, world};
use crate::world::Told;

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

/// Raft section 5.4.2, figure 8: an entry of an earlier term on a majority may still be lost, so
/// it counts only once an entry of the leader's own term covers it.
pub(super) fn figure_8(story: &mut Story) {
    let mut w = world(5, "majority(n1, n2, n3, n4, n5)");
    let all = others(5, &[]);
    let Some(first) = w.until_leader(&all) else {
        return story.check("a leader is elected", false);
    };
    w.wait(500);
    let friend = (first + 1) % 5;
    let rest = others(5, &[first, friend]);
    // Only the friend hears the next entry.
    w.cut_pairs(|from, to| from == first && rest.contains(&to));
    w.put_later(first, "k");
    w.wait(100);
    let (entry, ballot) = (w.picture(first).last, w.picture(first).ballot);
    story.say(format!("n{} puts entry {entry} of ballot {ballot} on two disks:", first + 1));
    story.show(&w, 5);
    story.check("it is not committed", w.picture(first).commit < entry);
    w.halt(first, true);
    w.halt(friend, true);
    w.mend_all();
    let Some(second) = w.until_leader(&rest) else {
        return story.check("the others elect a leader", false);
    };
    story.say(format!("Both lose their power; n{} is elected by the other three:", second + 1));
    story.show(&w, 5);
    let committed = w.picture(second).commit;
    story.check("it commits another entry at that place", committed >= entry);
    let started = w.boot(first).and_then(|()| w.boot(friend));
    story.check("the two start again", started.is_ok());
    w.wait(4000);
    story.say("The two are back:");
    story.show(&w, 5);
    let after = w.picture(first);
    story.check("their entry of the earlier ballot is replaced", after.ballot > ballot);
    story.check("and nothing committed was touched", after.commit >= committed);
    story.end(&mut w);
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
