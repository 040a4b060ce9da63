//! One follower driven by hand: when it sends a write to its leader, and when again.

use base::limits::COMMAND_BYTES_MAX;
use base::{Ballot, Blob, Incarnation, LogIndex, Nanos, NodeId, Token};
use cluster::{BallotRule, Configuration, Member};
use consensus::raft::{Body, Message, Recovered, Settings};
use mvcc::{Caller, Command, PutRequest};
use replica::{
    Effects, Event, PeerBody, PeerMessage, RefusalReason, Replica, ReplicaRecovered,
    ReplicaSettings, Reply,
};

const ME: NodeId = NodeId(2);
const RETRY: u64 = 1000;
const PENDING_BYTES_MAX: usize = 128 << 20;

struct Follower {
    replica: Replica,
    ms: u64,
    token: u64,
    /// The last answer to a client.
    last: Option<Reply>,
    /// The longest message sent.
    longest: usize,
    /// Numbers of the read rounds that were asked for.
    rounds: Vec<u64>,
    refused: Vec<(u64, RefusalReason)>,
    /// Sequence numbers of forwards, with the millisecond and the leader they went to.
    forwards: Vec<(u64, NodeId, u64)>,
}

fn configuration() -> Configuration {
    let member = |id: u64| Member {
        id: NodeId(id),
        slot: id as u8,
        name: format!("n{id}"),
        learner: false,
        peer_urls: vec![],
        client_urls: vec![],
        life: base::Life::UNKNOWN,
    };
    Configuration {
        protocol: cluster::Protocol::Raft,
        members: (1..=3).map(member).collect(),
        quorum: "majority(n1, n2, n3)".into(),
        joint: None,
        rule: BallotRule::SharedTerms,
        limits: vec![],
        change: Default::default(),
    }
}

impl Follower {
    fn new() -> Self {
        let settings = ReplicaSettings {
            raft: Settings {
                id: ME,
                birth: base::Birth(1),
                incarnation: Incarnation(1),
                election_timeout_min: Nanos::from_millis(RETRY),
                heartbeat_interval: Nanos::from_millis(100),
                seed: 1,
                append_bytes_max: 1 << 20,
                inflight_bytes_max: 1 << 20,
            },
            pending_max: 100_000,
            pending_bytes_max: PENDING_BYTES_MAX,
            request_timeout: Nanos::from_millis(60_000),
            leaderless_wait: Nanos::from_millis(30_000),
            catchup_entries: 100,
            apply_budget: 1000,
            settle_versions: 20,
            settle_bytes: usize::MAX,
            trace: false,
        };
        let raft = Recovered {
            ballot: Ballot::ZERO,
            base: LogIndex::ZERO,
            base_ballot: Ballot::ZERO,
            base_config: configuration(),
            entries: vec![],
            commit: LogIndex::ZERO,
        };
        let store = mvcc::Store::new(mvcc::Limits::default());
        let recovered = ReplicaRecovered { raft, store, extra: vec![], known: LogIndex::ZERO };
        let replica = Replica::new(settings, recovered, Nanos(0)).unwrap();
        Self {
            replica,
            ms: 0,
            token: 0,
            last: None,
            longest: 0,
            rounds: vec![],
            refused: vec![],
            forwards: vec![],
        }
    }

    fn step(&mut self, event: Event) {
        let (mut out, mut events) = (Effects::default(), vec![event]);
        while let Some(event) = events.pop() {
            self.replica.step(Nanos::from_millis(self.ms), event, &mut out);
            let durable = out.persist.drain(..).map(|p| p.ticket).next_back();
            events.extend(durable.map(Event::Persisted));
        }
        self.refused.extend(out.replies.iter().filter_map(|(token, reply)| match reply {
            Reply::Refused(refusal) => Some((token.0, refusal.reason)),
            _ => None,
        }));
        self.last = out.replies.pop().map(|(_, reply)| reply).or(self.last.take());
        for message in out.send {
            let mut bytes = vec![];
            message.encode(&mut bytes);
            self.longest = self.longest.max(bytes.len());
            if let PeerBody::Raft(Message { body: Body::ReadIndex { seq, .. }, .. }) = message.body
            {
                self.rounds.push(seq);
            } else if let PeerBody::Forward(items) = message.body {
                let seqs = items.iter().map(|item| (item.id.seq, message.to, self.ms));
                self.forwards.extend(seqs);
            }
        }
    }

    /// A heartbeat of the leader `id` of `term`.
    fn hears(&mut self, term: u64, id: u64) {
        let (from, ballot) = (NodeId(id), Ballot::new(term, id));
        let body = Body::Append {
            prev: LogIndex::ZERO,
            prev_ballot: Ballot::ZERO,
            commit: LogIndex::ZERO,
            round: 0,
            entries: vec![],
        };
        let body =
            PeerBody::Raft(Message { from, to: ME, life: base::Life::UNKNOWN, ballot, body });
        self.step(Event::Message(PeerMessage { from, to: ME, body }));
    }

    fn propose(&mut self) {
        self.propose_of(0);
    }

    /// A write whose value has so many bytes.
    fn propose_of(&mut self, bytes: usize) {
        self.token += 1;
        let (key, value) = (Blob::from(&b"k"[..]), Blob::from(vec![0; bytes]));
        let put = PutRequest { key, value, ..PutRequest::default() };
        self.step(Event::Propose {
            token: Token(self.token),
            caller: Caller::nobody(),
            command: Command::Put(put),
        });
    }

    fn sent(&mut self) -> Vec<(u64, NodeId, u64)> {
        std::mem::take(&mut self.forwards)
    }
}

#[test]
fn a_forward_that_comes_to_nothing_is_repeated_after_the_retry_interval() {
    let mut f = Follower::new();
    f.hears(1, 1);
    f.propose();
    assert_eq!(f.sent(), [(1, NodeId(1), 0)]);
    // The peer beats all the while.
    let mut all = vec![(1, NodeId(1), 0)];
    while f.ms < 3 * RETRY {
        f.ms += 50;
        f.hears(1, 1);
        all.extend(f.sent());
    }
    let times: Vec<u64> = all.iter().map(|(_, _, at)| *at).collect();
    assert_eq!(times, [0, RETRY, 2 * RETRY, 3 * RETRY]);
}

#[test]
fn a_forward_goes_to_a_new_leader_at_once() {
    let mut f = Follower::new();
    f.hears(1, 1);
    f.propose();
    f.ms += 20;
    f.hears(2, 3);
    assert_eq!(f.sent(), [(1, NodeId(1), 0), (1, NodeId(3), 20)]);
}

#[test]
fn every_waiting_write_is_repeated_at_its_own_time_and_only_then() {
    let mut f = Follower::new();
    f.hears(1, 1);
    for _ in 0..500 {
        f.propose();
        f.ms += 1;
        f.hears(1, 1);
    }
    let first = f.sent();
    assert_eq!(first.len(), 500);
    while f.ms < 2 * RETRY - 1 {
        f.ms += 1;
        f.hears(1, 1);
    }
    let again = f.sent();
    let wanted: Vec<_> = first.iter().map(|(seq, to, at)| (*seq, *to, at + RETRY)).collect();
    assert_eq!(again, wanted);
}

#[test]
fn without_a_leader_nothing_is_sent_and_all_goes_to_the_first_that_comes() {
    let mut f = Follower::new();
    (0..5).for_each(|_| f.propose());
    assert_eq!(f.sent(), []);
    f.ms += 10;
    f.hears(4, 3);
    let sent = f.sent();
    assert_eq!(sent, (1..=5).map(|seq| (seq, NodeId(3), 10)).collect::<Vec<_>>());
}

#[test]
fn many_large_writes_leave_in_pieces_that_fit_a_frame() {
    let mut f = Follower::new();
    (0..60).for_each(|_| f.propose_of(1_400_000));
    f.propose_of(20 << 20);
    (0..3).for_each(|_| f.propose());
    f.hears(1, 1);
    // No step offers them all, and each asks for the next at once.
    let (mut sent, mut steps) = (f.sent(), 1);
    while f.replica.deadline() <= Nanos::from_millis(f.ms) {
        f.step(Event::Tick);
        sent.extend(f.sent());
        steps += 1;
    }
    assert!((20..40).contains(&steps), "{steps}");
    assert_eq!(sent, (1..=64).map(|seq| (seq, NodeId(1), 0)).collect::<Vec<_>>());
    // The largest write goes alone; together they are 105 MB, and a frame has at most 64 MiB.
    assert!((20 << 20..21 << 20).contains(&f.longest), "{}", f.longest);
}

#[test]
fn writes_of_more_bytes_than_can_be_served_in_time_are_refused_at_once() {
    let mut f = Follower::new();
    f.hears(1, 1);
    let overloaded = |f: &mut Follower| {
        let last = f.last.take();
        matches!(last, Some(Reply::Refused(refusal)) if refusal.reason == RefusalReason::Overloaded)
    };
    (0..6).for_each(|_| f.propose_of(20 << 20));
    assert!(!overloaded(&mut f), "120 MiB are pending");
    f.propose_of(20 << 20);
    assert!(overloaded(&mut f));
    assert_eq!(f.sent().len(), 6, "what is refused does not leave");
    f.propose();
    assert_eq!((overloaded(&mut f), f.sent().len()), (false, 1), "a small one has room");
    f.ms += 60_000;
    f.hears(1, 1);
    f.last = None;
    f.propose_of(20 << 20);
    assert!(!overloaded(&mut f), "what was given up takes no room");
}

#[test]
fn a_command_that_fits_no_frame_is_refused_before_it_is_proposed() {
    let mut f = Follower::new();
    f.hears(1, 1);
    f.propose_of(COMMAND_BYTES_MAX);
    assert_eq!(f.sent(), []);
    let refused = matches!(&f.last, Some(Reply::Applied { result: Err(_), .. }));
    assert!(refused, "{:?}", f.last);
    f.propose_of(COMMAND_BYTES_MAX - 100);
    assert_eq!(f.sent(), [(1, NodeId(1), 0)]);
}

#[test]
fn four_rounds_of_reads_are_under_way_and_who_comes_later_waits_for_the_next() {
    let mut f = Follower::new();
    f.hears(1, 1);
    for token in 1..=6 {
        f.step(Event::ReadBarrier { token: Token(token) });
        f.ms += 1;
    }
    assert_eq!(f.rounds, [1, 2, 3, 4]);
    // Nobody confirms any of them: each is given up at its own time.
    while f.ms < 59_500 {
        f.ms += 500;
        f.hears(1, 1);
    }
    assert_eq!(f.refused, []);
    f.ms = 60_000;
    f.hears(1, 1);
    assert_eq!(f.refused, [(1, RefusalReason::Timeout)]);
    f.ms += 10;
    f.hears(1, 1);
    let mut refused: Vec<u64> = f.refused.iter().map(|(token, _)| *token).collect();
    refused.sort_unstable();
    assert_eq!(refused, [1, 2, 3, 4, 5, 6]);
    assert_eq!(f.replica.status().pending, 0);
    f.rounds.clear();
    (0..10).for_each(|_| {
        f.ms += 500;
        f.hears(1, 1);
    });
    assert_eq!(f.rounds, [], "nobody waits for them, so nobody is asked again");
}

#[test]
fn a_read_that_was_asked_waits_for_another_leader_no_longer_than_one_that_was_not() {
    let mut f = Follower::new();
    f.hears(1, 1);
    f.step(Event::ReadBarrier { token: Token(1) });
    assert_eq!(f.rounds, [1]);
    while f.ms < 20_000 {
        f.ms += 500;
        f.step(Event::Tick);
    }
    assert_eq!(f.replica.status().leader, None);
    f.step(Event::ReadBarrier { token: Token(2) });
    while f.refused.is_empty() {
        f.ms += 500;
        f.step(Event::Tick);
    }
    assert_eq!(f.refused, [(1, RefusalReason::NoLeader)]);
    assert!((31_000..=33_000).contains(&f.ms), "30 s without a leader: {}", f.ms);
    while f.refused.len() < 2 {
        f.ms += 500;
        f.step(Event::Tick);
    }
    assert_eq!(f.ms, 50_000, "each waits as long");
    assert_eq!(f.replica.status().pending, 0);
}
