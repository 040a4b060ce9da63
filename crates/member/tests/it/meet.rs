//! Who may come in, who is told to stop, and what a newcomer is told.

use crate::home::{Place, born, cluster, start};
use base::{Ballot, Birth, Incarnation, Life, LogIndex, Nanos, NodeId};
use cluster::Configuration;
use consensus::raft::{Recovered, Settings};
use member::hello::{Hello, Purpose};
use member::join::{Ask, No};
use member::meet::Said;
use member::{Peers, Unwelcome, Unwritten};
use replica::{Replica, ReplicaRecovered, ReplicaSettings};
use std::ops::Deref;
use std::sync::Arc;
use store::Home;

/// A machine whose last committed configuration is `config`.
pub fn committed(config: Configuration, own: Life) -> Replica {
    let raft = Settings {
        id: NodeId(1),
        birth: own.birth,
        incarnation: own.incarnation,
        election_timeout_min: Nanos::from_millis(1000),
        heartbeat_interval: Nanos::from_millis(100),
        seed: 1,
        append_bytes_max: 1 << 20,
        inflight_bytes_max: 1 << 23,
    };
    let settings = ReplicaSettings {
        raft,
        pending_max: 10,
        pending_bytes_max: 1 << 20,
        request_timeout: Nanos::from_millis(5000),
        leaderless_wait: Nanos::from_millis(2000),
        catchup_entries: 10,
        apply_budget: 1000,
        settle_versions: 20,
        settle_bytes: usize::MAX,
        trace: false,
    };
    let mut store = mvcc::Store::new(mvcc::Limits::default());
    store.advance(LogIndex(9), base::ClusterTime::ZERO);
    let raft = Recovered {
        ballot: Ballot::new(2, 0),
        base: LogIndex(9),
        base_ballot: Ballot::new(2, 1),
        base_config: config,
        commit: LogIndex(9),
        entries: Vec::new(),
    };
    let recovered = ReplicaRecovered { raft, store, extra: Vec::new(), known: LogIndex(9) };
    member::open::revive(settings, recovered, None).unwrap()
}

/// What a member knows of the others, and where it writes that down.
struct Here(Peers, Place);

impl Here {
    fn admit(&mut self, hello: &Hello) -> Result<(), Unwelcome> {
        let looked = self.0.admit(hello)?;
        self.write(looked)
    }

    fn meet(&mut self, member: NodeId, life: Life) -> Result<(), Unwelcome> {
        let looked = self.0.meet(member, life)?;
        self.write(looked)
    }

    fn write(&mut self, looked: Option<Unwritten>) -> Result<(), Unwelcome> {
        if let Some(unwritten) = looked {
            let written = unwritten.write(self.1.disk("").unwrap().as_mut())?;
            self.0.keep(written);
        }
        Ok(())
    }
}

impl Deref for Here {
    type Target = Peers;

    fn deref(&self) -> &Peers {
        &self.0
    }
}

/// Member 1 of three after a start on `place`, which goes by `config`.
fn peers(place: &Place, mark: u32, config: &Configuration) -> Here {
    let opened = start(place, mark).unwrap();
    let own =
        Life { birth: Birth(opened.identity.birth), incarnation: opened.identity.incarnation };
    let said = Said {
        name: "n1".to_string(),
        client_urls: vec!["http://c1".to_string()],
        peer_urls: vec!["http://n1".to_string()],
    };
    let first = Arc::new(opened.bootstrap);
    let mut peers = Peers::new(opened.identity, first, said);
    let replica = committed(config.clone(), own);
    assert!(peers.follow(replica.raft()) && !peers.follow(replica.raft()), "once");
    Here(peers, Place(place.0.clone()))
}

fn life(birth: u64, start: u64) -> Life {
    Life { birth: Birth(birth), incarnation: Incarnation(start << 32) }
}

/// What member `id` of the same cluster says.
fn hello(id: u64, life: Life) -> Hello {
    Hello {
        purpose: Purpose::Stream,
        protocol: member::hello::PROTOCOL,
        cluster: 7,
        member: NodeId(id),
        to: NodeId(1),
        incarnation: life.incarnation,
        birth: life.birth.0,
        config: Arc::new(born().config),
        client_urls: Vec::new(),
        name: format!("n{id}"),
        peer_urls: Vec::new(),
    }
}

/// The configuration in which the directories of these members are written down.
fn written(lives: &[(u64, Life)]) -> Configuration {
    let mut config = cluster(3);
    for (id, life) in lives {
        config.members[*id as usize - 1].life = *life;
    }
    config
}

#[test]
fn whom_a_member_lets_in_it_remembers_over_any_crash_from_then_on() {
    for operation in 0.. {
        let mut let_in = false;
        for seed in 0..4 {
            let place = Place::default();
            let mut here = peers(&place, 1, &cluster(3));
            place.0.fail_from(place.0.changes() + operation);
            let_in = here.admit(&hello(2, life(5, 3))).is_ok();
            let mut again = peers(&Place(place.0.crash(seed)), 2, &cluster(3));
            let other = again.admit(&hello(2, life(6, 1)));
            if let_in {
                let Err(Unwelcome::Other(text)) = other else { panic!("{other:?}") };
                assert!(text.contains("forgotten its votes"), "{text}");
                let earlier = again.admit(&hello(2, life(5, 2)));
                assert!(matches!(earlier, Err(Unwelcome::PutBack(_))), "{earlier:?}");
                assert_eq!(again.meet(NodeId(2), life(5, 4)), Ok(()));
            }
        }
        if let_in {
            assert!(operation >= 3, "{operation} operations");
            return;
        }
    }
}

#[test]
fn who_was_looked_at_is_not_known_before_that_is_written_and_kept() {
    let place = Place::default();
    let mut here = peers(&place, 1, &cluster(3));
    let first = here.0.admit(&hello(2, life(5, 3))).unwrap().expect("a first meeting");
    assert!(here.0.admit(&hello(2, life(5, 3))).unwrap().is_some(), "still one");
    let written = first.write(place.disk("").unwrap().as_mut()).unwrap();
    assert_eq!(here.seen().allows(NodeId(2), life(6, 1)), Ok(()), "it goes by nothing yet");
    here.0.keep(written);
    assert!(here.seen().allows(NodeId(2), life(6, 1)).is_err());
    assert!(here.0.admit(&hello(2, life(5, 3))).unwrap().is_none(), "it is known");
}

#[test]
#[should_panic(expected = "one file is written after the other")]
fn of_two_that_were_looked_at_together_only_one_may_be_kept() {
    let place = Place::default();
    let mut here = peers(&place, 1, &cluster(3));
    let two = [2, 3].map(|id| here.0.admit(&hello(id, life(5, 3))).unwrap().expect("a first"));
    for met in two {
        let written = met.write(place.disk("").unwrap().as_mut()).unwrap();
        here.0.keep(written);
    }
}

#[test]
fn what_it_cannot_write_down_it_does_not_rely_on_and_tries_again() {
    let place = Place::default();
    let mut here = peers(&place, 1, &cluster(3));
    place.0.fail_from(place.0.changes());
    let refused = here.admit(&hello(2, life(5, 3)));
    assert!(matches!(refused, Err(Unwelcome::Unremembered(_))), "{refused:?}");
    assert_eq!(here.seen().allows(NodeId(2), life(6, 1)), Ok(()), "it was not met");
    place.0.fail_from(u64::MAX);
    assert_eq!(here.admit(&hello(2, life(5, 3))), Ok(()));
    assert!(here.seen().allows(NodeId(2), life(6, 1)).is_err(), "now it was");
    assert_eq!(here.seen().allows(NodeId(2), life(5, 9)), Ok(()));
}

#[test]
fn a_stranger_and_a_member_of_another_cluster_are_refused_before_they_are_remembered() {
    let place = Place::default();
    let mut here = peers(&place, 1, &cluster(3));
    let before = place.0.changes();
    for strange in [
        Hello { cluster: 8, ..hello(2, life(5, 3)) },
        Hello { to: NodeId(3), ..hello(2, life(5, 3)) },
        Hello { config: Arc::new(cluster(5)), ..hello(2, life(5, 3)) },
    ] {
        let refused = here.admit(&strange);
        assert!(matches!(refused, Err(Unwelcome::Other(_))), "{refused:?}");
    }
    assert_eq!(place.0.changes(), before, "nothing is written for them");
}

#[test]
fn who_has_left_is_told_so_whatever_it_says() {
    let place = Place::default();
    let mut config = written(&[(1, life(1, 1)), (2, life(5, 3))]);
    config.members.remove(2);
    config.quorum = "majority(n1, n2)".to_string();
    config.change.request.seq = 1;
    config.change.removed = vec![(NodeId(44), "late".to_string())];
    let mut here = peers(&place, 1, &config);
    for (id, name) in [(3, "n3"), (44, "late")] {
        let Err(Unwelcome::Gone(text)) = here.admit(&hello(id, life(9, 9))) else {
            panic!("{name} has left")
        };
        assert_eq!(text, format!("member {name} ({id:x}) was removed from cluster 7"));
    }
    assert_eq!(here.gone().len(), 2);
    assert_eq!(here.admit(&hello(2, life(5, 3))), Ok(()));
}

#[test]
fn before_the_first_change_nobody_has_left() {
    let mut lagging = cluster(3);
    lagging.members.remove(2);
    lagging.quorum = "majority(n1, n2)".to_string();
    let mut here = peers(&Place::default(), 1, &lagging);
    assert!(here.gone().is_empty() && here.admit(&hello(3, life(9, 1))).is_ok());
}

#[test]
fn what_the_configuration_says_counts_at_a_member_that_met_nobody() {
    let mut here = peers(&Place::default(), 1, &written(&[(1, life(1, 1)), (2, life(5, 3))]));
    assert!(matches!(here.meet(NodeId(2), life(6, 1)), Err(Unwelcome::Other(_))));
    assert!(matches!(here.meet(NodeId(2), life(5, 2)), Err(Unwelcome::PutBack(_))));
    assert_eq!(here.meet(NodeId(2), life(5, 4)), Ok(()));
    assert!(matches!(here.meet(NodeId(2), life(5, 3)), Err(Unwelcome::PutBack(_))), "met since");
}

#[test]
fn a_newcomer_hears_who_it_is_and_one_that_lost_its_directory_hears_that() {
    let place = Place::default();
    let mut here = peers(&place, 1, &written(&[(1, life(1, 1)), (2, life(5, 3))]));
    let ask = |id: u64, birth| Ask { peer_urls: vec![format!("http://n{id}")], birth };
    let asked = |here: &Peers, id, birth| here.introduce(&ask(id, birth), &<[String]>::to_vec);
    let born = asked(&here, 3, 70).unwrap();
    assert_eq!((born.cluster, born.member, born.config), (7, NodeId(3), cluster(3)));
    assert!(asked(&here, 3, 71).is_ok(), "nobody has met it yet");
    assert_eq!(here.meet(NodeId(3), life(70, 1)), Ok(()));
    assert!(asked(&here, 3, 71).is_ok(), "it was emptied before it was written down");
    let lost = asked(&here, 2, 6).unwrap_err();
    assert!(matches!(&lost, No::Never(text) if text.contains("member replace n2")), "{lost:?}");
    // While nobody is written down whoever was met first is the member.
    let mut early = peers(&Place::default(), 1, &cluster(3));
    assert_eq!(early.meet(NodeId(3), life(70, 1)), Ok(()));
    assert!(asked(&early, 3, 70).is_ok() && asked(&early, 3, 71).is_err());
    let unknown = asked(&here, 9, 1).unwrap_err();
    assert!(matches!(&unknown, No::NotYet(text) if text.contains("http://n9")), "{unknown:?}");
}

#[test]
fn a_member_says_what_its_directory_says() {
    let place = Place::default();
    let here = peers(&place, 4, &cluster(3));
    let said = here.hello(Purpose::Bulk, NodeId(2));
    assert_eq!((said.cluster, said.member, said.to), (7, NodeId(1), NodeId(2)));
    assert_eq!((said.birth, said.incarnation.number()), (104, 1));
    assert_eq!((said.name.as_str(), &said.client_urls[0][..]), ("n1", "http://c1"));
    assert_eq!(*said.config, cluster(3));
}

#[test]
fn a_member_that_forswore_its_directory_does_not_start_from_it() {
    let place = Place::default();
    let mut here = peers(&place, 1, &cluster(3));
    let void = here.forswear("it was put back");
    here.write(Some(void)).unwrap();
    let refused = start(&Place(place.0.crash(5)), 2).err().expect("for good");
    assert_eq!(refused.to_string(), "it was put back");
}
