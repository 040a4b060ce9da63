//! Stories of disks.

use super::{Story, others, word, world};
use crate::world::Told;

pub(super) fn torn_journal(story: &mut Story) {
    let mut w = world(3, "majority(n1, n2, n3)");
    let Some(leader) = w.until_leader(&[0, 1, 2]) else {
        return story.check("a leader is elected", false);
    };
    for _ in 0..20 {
        w.put(leader, "k");
    }
    let victim = (leader + 1) % 3;
    w.slow_disk(victim, 200);
    w.put(leader, "k");
    w.wait(2);
    story.say(format!("The power of n{} goes in the middle of a write.", victim + 1));
    w.tear(victim);
    w.slow_disk(victim, 1);
    let before = w.picture(victim);
    let back = w.boot(victim);
    story.check("it starts: what it never acknowledged may be cut", back.is_ok());
    let after = w.picture(victim);
    let kept = format!("all {} entries it acknowledged are there", before.durable.0);
    story.check(&kept, after.last >= before.durable);
    w.wait(2000);
    w.halt(victim, false);
    let place = w.rot(victim, 7).unwrap_or_default();
    story.say(format!("One bit of n{} rots: {place}.", victim + 1));
    let back = w.boot(victim);
    story.check("damage before the tail is found, and the member starts", back.is_ok());
    let repairs = w.picture(victim).state == "asks around" && w.is_repairing(victim);
    story.check("it repairs: no vote and no acknowledgement until it is whole", repairs);
    let told = w.put(leader, "k");
    story.check("the others go on", told == Told::Done);
    w.wait(3000);
    story.show(&w, 3);
    story.check("it has fetched what it lost and votes again", !w.is_repairing(victim));
    story.end(&mut w);
}

pub(super) fn forgotten_vote(story: &mut Story) {
    let mut w = world(3, "majority(n1, n2, n3)");
    let Some(leader) = w.until_leader(&[0, 1, 2]) else {
        return story.check("a leader is elected", false);
    };
    w.put(leader, "k");
    let (a, b) = ((leader + 1) % 3, (leader + 2) % 3);
    let promise = w.picture(a).ballot;
    story.say(format!("n{} has promised ballot {promise}. Its disk is emptied.", a + 1));
    w.halt(a, true);
    w.erase(a);
    let back = w.boot(a);
    story.check("it starts, as a new directory would", back.is_ok());
    story.check("it has forgotten its vote", w.picture(a).ballot < promise);
    w.halt(leader, true);
    story.say(format!(
        "n{} stops: only n{} and the emptied n{} are left.",
        leader + 1,
        b + 1,
        a + 1
    ));
    w.wait(10_000);
    story.show(&w, 3);
    let refusals = w.fault_counts().faults.get("peer-refused").copied().unwrap_or(0);
    story.say(format!("n{} refuses it {refusals} times: it was born as somebody else.", b + 1));
    story.check("its messages are refused", refusals > 0);
    let elected = others(3, &[leader]).iter().any(|node| w.picture(*node).leads);
    story.check("no leader is elected with a vote that was forgotten", !elected);
    let back = w.boot(leader);
    story.check("the third member starts again", back.is_ok());
    let told = w.until_leader(&[leader, b]).map(|n| w.put(n, "k"));
    story.check("the two who remember go on", told == Some(Told::Done));
    story.end(&mut w);
}

pub(super) fn slow_disk_leader(story: &mut Story) {
    let mut w = world(3, "majority(n1, n2, n3)");
    let Some(leader) = w.until_leader(&[0, 1, 2]) else {
        return story.check("a leader is elected", false);
    };
    w.wait(500);
    w.slow_disk(leader, 2000);
    story.say(format!("The disk of n{}, which leads, takes two seconds a write.", leader + 1));
    // In a pause its journal says that it ends with what is committed: what is shown next must not
    // make that untrue.
    let told = w.put(leader, "k");
    story.check("the first write after a pause waits for its disk", told == Told::Done);
    let began = w.now;
    let told = w.put(leader, "l");
    let took = w.now.since(began).0 / 1_000_000;
    story.say(format!("The next write is {} after {took} ms.", word(&told)));
    story.show(&w, 3);
    let picture = w.picture(leader);
    story.check("it is answered within a tenth of that", told == Told::Done && took < 200);
    story.check("its own disk does not hold it yet", picture.durable < picture.commit);
    w.slow_disk(leader, 1);
    w.wait(3000);
    story.end(&mut w);
}
