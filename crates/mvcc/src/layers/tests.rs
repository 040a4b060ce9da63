use super::*;
use crate::KeyValue;
use alloc::collections::BTreeMap;
use alloc::vec;
use base::Prng;

/// Every version of each key, oldest first, and what is made of what settles just now.
#[derive(Default)]
struct Twin {
    layers: Layers,
    keys: BTreeMap<Blob, Vec<Facts>>,
    merged: Option<(Index, Shelf)>,
    revision: i64,
}

impl Twin {
    fn lives(&self, key: &Blob) -> bool {
        self.keys.get(key).and_then(|all| all.last()).is_some_and(|newest| !newest.tombstone)
    }

    /// One revision, with a put or an end of each of these keys.
    fn write(&mut self, keys: &[Blob], puts: bool) {
        self.revision = (self.revision + 1).max(2);
        let mod_revision = self.revision;
        let mut made = Vec::new();
        for (sub, key) in (0..).zip(keys) {
            let kv = KeyValue {
                key: key.clone(),
                mod_revision,
                create_revision: mod_revision,
                version: 1,
                ..KeyValue::default()
            };
            let record = if puts {
                Record::new(kv, sub)
            } else {
                Record::tombstone(key.clone(), mod_revision, sub)
            };
            made.push(Arc::new(record));
        }
        if puts {
            for record in &made {
                let lives = self.lives(&record.kv.key);
                self.layers.push(record.clone(), lives);
                self.keys.entry(record.kv.key.clone()).or_default().push(record.facts());
            }
        } else {
            self.layers.push_run(&made);
            for record in &made {
                self.keys.entry(record.kv.key.clone()).or_default().push(record.facts());
            }
        }
        self.layers.add_made(mod_revision, Made::new(made).unwrap());
    }

    /// A step on the way of what is fresh into the index; what is dead at `compacted` goes.
    fn settle(&mut self, compacted: i64) {
        if self.layers.settling_since().is_none() {
            self.layers.settle(self.revision, LogIndex(9));
            let kept = |versions: &mut Vec<Facts>, gone: &mut dyn FnMut(&Facts)| {
                let mut newer = None;
                versions.retain(|version| {
                    let dead = crate::removal::is_dead(version, newer.as_ref(), compacted);
                    newer = Some(*version);
                    if dead {
                        gone(version);
                    }
                    !dead
                });
            };
            self.merged = Some(self.layers.merged(|_, versions, gone| kept(versions, gone)));
        } else {
            let based = self.layers.settles;
            drop(self.layers.settled(self.merged.take().unwrap(), None));
            // What was there by then is as the merge left it.
            for (key, all) in &mut self.keys {
                let left = self.layers.versions(key);
                all.retain(|facts| facts.mod_revision > based || left.contains(facts));
            }
            self.keys.retain(|_, all| !all.is_empty());
        }
    }

    fn assert_alike(&self, p: &mut Prng, probe: &Blob) {
        let layers = &self.layers;
        let newest = |all: &Vec<Facts>| *all.last().unwrap();
        let is_live = |all: &Vec<Facts>| !newest(all).tombstone;
        for only_live in [false, true] {
            let here = layers.iter_from(probe, only_live).map(|key| (key.key(), key.newest()));
            let there = self.keys.range(probe.clone()..);
            let there = there.filter(|(_, all)| !only_live || is_live(all));
            let there: Vec<_> = there.map(|(key, all)| (key.clone(), newest(all))).collect();
            assert_eq!(here.collect::<Vec<_>>(), there, "{only_live}");
        }
        let live =
            |keys: &mut dyn Iterator<Item = &Vec<Facts>>| keys.filter(|x| is_live(x)).count();
        let before = live(&mut self.keys.range(..probe.clone()).map(|(_, all)| all));
        assert_eq!(layers.live_before(probe), before as u64);
        assert_eq!(layers.live(), live(&mut self.keys.values()) as u64);
        let at = p.below(self.revision.unsigned_abs() + 2).cast_signed();
        let all = self.keys.get(probe).cloned().unwrap_or_default();
        let then = all.iter().rev().find(|facts| facts.mod_revision <= at);
        assert_eq!(layers.at(probe, at), then.copied());
        let seen = layers.iter_from(probe, false).next().filter(|key| key.is(probe));
        assert_eq!(seen.and_then(|key| key.at(at)), then.copied());
        assert!(layers.versions(probe).iter().rev().eq(&all));
        let mut since = vec![];
        layers.each_from(probe, at, |facts| {
            since.push(*facts);
            true
        });
        assert!(since.iter().eq(all.iter().filter(|facts| facts.mod_revision >= at)));
        assert_eq!(
            layers.len(),
            layers
                .iter_from(&Blob::default(), false)
                .map(|key| { layers.versions(&key.key()).len() })
                .sum::<usize>()
        );
        for facts in all {
            let Place::Here(made) = layers.of(facts.mod_revision) else { panic!("in memory") };
            let found = made.iter().find(|record| record.age() == facts.age()).unwrap();
            assert!(found.facts() == facts && found.kv.key == *probe && layers.knows(found));
        }
    }
}

#[test]
fn three_layers_are_one_map_whatever_has_settled_and_whatever_settles_just_now() {
    let (mut long_runs, mut settled) = (0, 0);
    for seed in 0..24 {
        let mut p = Prng::new(seed);
        let mut twin = Twin::default();
        let span = [12, 300, 900][seed as usize % 3];
        let key = |n: u64| Blob::from(alloc::format!("k{n:04}").as_bytes());
        for _ in 0..160 {
            if p.below(5) == 0 {
                // A stretch of what lives is ended at once, or some of it.
                let (from, n) = (p.below(span), p.below(span) as usize);
                let skips = p.below(3) == 0;
                let keys = (from..span).map(key).filter(|key| twin.lives(key)).take(n);
                let keys: Vec<_> = keys.filter(|_| !skips || p.below(9) > 0).collect();
                long_runs += usize::from(keys.len() > 2 * DEAD_RUN);
                if !keys.is_empty() {
                    twin.write(&keys, false);
                }
            } else if p.below(3) == 0 {
                let from = p.below(span);
                let keys: Vec<_> = (from..span).take(p.below(200) as usize + 1).map(key).collect();
                twin.write(&keys, true);
            } else {
                twin.write(&[key(p.below(span))], true);
            }
            if p.below(6) == 0 {
                let compacted = p.below(twin.revision.unsigned_abs() + 1).cast_signed();
                twin.settle(compacted);
                settled += 1;
            }
            twin.assert_alike(&mut p, &key(twin.revision.unsigned_abs() * 7 % span));
        }
        let held = (twin.layers.clone(), twin.keys.len());
        twin.write(&[key(0)], true);
        assert_eq!(held.0.iter_from(&Blob::default(), false).count(), held.1, "it is as it was");
    }
    assert!(long_runs > 100 && settled > 400, "{long_runs} {settled}");
}

/// A queue: who takes from its front leaves nothing for the next one to walk over.
#[test]
fn a_long_run_of_ends_is_stepped_over() {
    for settles in [false, true] {
        let mut twin = Twin::default();
        let keys: Vec<_> =
            (0..20_000).map(|n| Blob::from(alloc::format!("q{n:06}").as_bytes())).collect();
        twin.write(&keys, true);
        twin.settle(0);
        if settles {
            twin.settle(0);
        }
        twin.write(&keys[..19_000], false);
        let upto = twin.layers.dead_upto(&keys[DEAD_RUN]).expect("it goes on");
        assert!(*upto > keys[19_000 - 2 * DEAD_RUN] && *upto < keys[19_000], "{upto:?}");
        assert!(twin.layers.dead_upto(&keys[18_999]).is_none(), "one is no run");
        let first = twin.layers.iter_from(&keys[0], true).next().unwrap();
        assert!(first.is(&keys[19_000]));
        twin.write(&keys[19_000..], false);
        assert!(twin.layers.iter_from(&keys[0], true).next().is_none());
    }
}
