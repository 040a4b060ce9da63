//! Damaged files: found, mended from another member, and served all the while.

use crate::home::{Place, cluster};
use crate::twins::{Twins, assert_alike};
use base::{ClusterTime, LogIndex, Prng};
use member::mend::{self, Asking};
use member::{Archive, Scrub, Scrubbed, checkpoints, limits};
use mvcc::{Command, File, Store};
use store::Home;

fn name(file: &File) -> String {
    format!("values/values-{:016x}-{:016x}.qv", file.first, file.generation)
}

/// Damages files here and there: bits, sectors, what stands around versions, whole files.
fn damage(p: &mut Prng, place: &mut Place, files: &[File]) {
    for _ in 0..1 + p.below(4) {
        let file = &files[p.below(files.len() as u64) as usize];
        let name = name(file);
        let at = p.below(file.len);
        match p.below(5) {
            0 | 1 => drop(place.0.flip(&name, at, 1 << p.below(8))),
            2 if place.0.bytes(&name).is_some() => place.0.spoil(&name, at..at + 512),
            3 => drop(place.0.flip(&name, if p.below(2) == 0 { at % 40 } else { file.len - 9 }, 2)),
            _ if p.below(3) == 0 => drop(place.0.lose(&name)),
            _ => {}
        }
    }
}

fn scrub(place: &Place, archive: &Archive) {
    let mut scrub = Scrub::default();
    for steps in 0.. {
        assert!(steps < 10_000, "a pass ends");
        match scrub.step(place, archive, 4_000).expect("damage is no error") {
            Scrubbed::Some(_) => {}
            Scrubbed::All { index, checkpoint } => return assert!(index && checkpoint),
        }
    }
}

/// Asks a peer for all that is damaged; how many answers gave something.
fn ask(twins: &Twins, peer: &Twins, bytes_max: u64) -> usize {
    let mut shelf = peer.archive.reader(&peer.place).expect("a directory");
    let (mut asking, mut gave) = (Asking::new(twins.archive.wounds()), 0);
    while let Some(ask) = asking.next_ask() {
        let mut said = Vec::new();
        mend::encode_ask(&ask, &mut said);
        assert_eq!(mend::decode_ask(&said), Ok(ask));
        let answer = mend::answer(&peer.store, &ask, bytes_max as usize, &mut shelf);
        let taken = asking.take(&ask, &twins.store, &answer);
        gave += usize::from(taken.expect("as it was written"));
        assert_ne!(asking.next_ask(), Some(ask), "it goes on");
    }
    gave
}

fn member_of_none() -> Store {
    Store::new(limits::store_limits(&cluster(3)))
}

/// A member whose disk was damaged while it was down, and one that is whole, with the same data.
fn hurt(seed: u64) -> (Prng, Twins, Twins) {
    let (mut p, mut twins) = (Prng::new(seed), Twins::new());
    for _ in 0..1 + p.below(5) {
        twins.apply(&mut p, 60);
        twins.settle().expect("room");
    }
    twins.apply(&mut p, 30);
    let file = twins.checkpoint().expect("room");
    let (_, files) = twins.store.files().expect("in files");
    let mut place = Place(twins.place.0.fork());
    damage(&mut p, &mut place, &files);
    let archive = Archive::new(20_000);
    let loaded = checkpoints::load(&place, &file, &archive).expect("its values are another matter");
    let whole = std::mem::replace(&mut twins.whole, member_of_none());
    (p, Twins { whole, store: loaded.store, place, archive }, twins)
}

#[test]
fn whatever_is_damaged_is_asked_for_served_and_in_files_again() {
    let (mut asked, mut alone) = (0, 0);
    for seed in 0..300 {
        let (mut p, mut member, peer) = hurt(seed);
        scrub(&member.place, &member.archive);
        let wounds = member.archive.wounds();
        let was_hurt = !wounds.is_empty();
        // Merges go on beside the damage, of what was there before some of it is compacted.
        let early = (p.below(2) == 0).then(|| member.store.settle(1)).flatten();
        if early.is_some() {
            member.apply(&mut p, 30);
        }
        let mut gave = 0;
        if p.below(2) == 0 {
            // One that is damaged itself gives what it can.
            let (_, files) = peer.store.files().expect("in files");
            let mut place = Place(peer.place.0.fork());
            damage(&mut p, &mut place, &files);
            // And may have let go of what is retained here.
            let archive = Archive::new(0);
            let file = store::latest(place.disk("checkpoints").unwrap().as_mut()).unwrap();
            let loaded = checkpoints::load(&place, &file.expect("one"), &archive).expect("it is");
            let mut store = loaded.store;
            if p.below(2) == 0 {
                let revision = store.revision() - p.below(40) as i64;
                let index = store.applied_index().next();
                store.apply(index, ClusterTime(index.0), &Command::Compact { revision });
                (0..50)
                    .for_each(|n| store.advance(LogIndex(index.0 + n + 1), ClusterTime(index.0)));
                if let Some(settling) = store.settle_anew() {
                    drop(archive.settle(&place, &settling).map(|settled| store.settled(settled)));
                }
            }
            let half = Twins { place, archive, whole: member_of_none(), store };
            gave += ask(&member, &half, 1 + p.below(5_000));
        }
        gave += ask(&member, &peer, 1 + p.below(5_000));
        assert!(!wounds.asks(), "seed {seed}: the peer has all");
        (asked, alone) = (asked + gave, alone + usize::from(was_hurt && gave == 0));
        assert_alike(&member, &member.store);
        if let Some(early) = early {
            let settled = member.archive.settle(&member.place, &early).expect("room");
            drop(member.store.settled(settled));
        }
        member.apply(&mut p, 30);
        let settling = member.store.settle_anew().expect("something was applied");
        let settled = member.archive.settle(&member.place, &settling).expect("room");
        drop((member.store.settled(settled), settling));
        member.checkpoint().expect("room");
        assert!(wounds.is_empty(), "seed {seed}: all of it is in new files");
        assert_alike(&member, &member.store);
        scrub(&member.place, &member.archive);
        assert!(wounds.is_empty(), "seed {seed}: nothing is damaged any more");
    }
    assert!(asked > 100 && alone > 5, "{asked} {alone}");
}
