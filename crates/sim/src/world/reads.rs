//! Reads as a server's desk carries them out: never in a step of the replica. What is linearizable
//! waits for a barrier; then, as at once for what is local, a view is looked through in slices,
//! between which the member goes on. Who may see what is the door's to say.

use super::World;
use crate::agenda::What;
use crate::client::{Answer, Outcome};
use base::{Nanos, Token};
use door::{Freshness, Query, Reading, Reason, Refusal, Sight};
use mvcc::{Budget, Fetch, Fetched, Hand};
use replica::{Event, Reply};
use std::sync::Arc;

/// How long reads gather before they ask for a round.
const GATHERS_MAX: Nanos = Nanos(200_000);
/// Tokens above this are those of rounds.
pub(super) const ROUND_TOKENS: u64 = 1 << 40;
/// When it is looked again whether a paused process goes on.
const PAUSE: Nanos = Nanos::from_millis(10);

/// A read that may begin, or has begun.
pub(super) struct Look {
    op: u32,
    node: u8,
    life: u32,
    query: Query,
    /// None until it has its view.
    reading: Option<Reading>,
    /// What was fetched for it, how often; what it waits for is fetched when it goes on.
    hand: Hand,
    fetches: u32,
}

/// How often versions are fetched for a read that begins anew then; after that they are read where
/// it is.
const FETCHES_MAX: u32 = 2;

impl Look {
    fn new(op: u32, node: u8, life: u32, query: Query) -> Self {
        Self { op, node, life, query, reading: None, hand: Hand::default(), fetches: 0 }
    }
}

impl World {
    /// A request to read reaches its member.
    pub(super) fn read(&mut self, number: u32, (query, fresh): (Query, Freshness)) {
        let (node, attempt) = {
            let op = &self.ops[number as usize];
            (op.node, op.attempt)
        };
        let place = &self.nodes[usize::from(node)];
        if place.paused {
            let request = What::Request { op: number, attempt };
            return self.agenda.push(self.now.plus(PAUSE), request);
        }
        self.take_call(usize::from(node), number);
        let place = &self.nodes[usize::from(node)];
        let Some(member) = place.up() else { return };
        match Sight::of(&member.replica).admit(&query, fresh) {
            Err(refusal) => self.tell_client(number, Answer::Found(Err(refusal))),
            Ok(Freshness::Local) => {
                let (op, life) = (number, place.life);
                self.look_on(Look::new(op, node, life, query));
            }
            Ok(Freshness::Linearizable) => {
                let life = place.life;
                let member = self.nodes[usize::from(node)].up_mut().expect("it admitted the read");
                if member.rounds.join(number) {
                    let gathers = Nanos(self.random.client.below(GATHERS_MAX.0));
                    self.agenda.push(self.now.plus(gathers), What::Round { node, life });
                }
            }
        }
    }

    /// A round for all that wait, if it is time.
    pub(super) fn ask_round(&mut self, node: usize, life: u32) {
        let (now, place) = (self.now, &mut self.nodes[node]);
        if place.life != life {
            return;
        }
        let paused = place.paused;
        let Some(member) = place.up_mut() else { return };
        let Some(due) = member.rounds.due() else { return };
        let at = if paused { now.plus(PAUSE) } else { due };
        if at > now {
            return self.agenda.push(at, What::Round { node: node as u8, life });
        }
        self.rounds += 1;
        let token = Token(ROUND_TOKENS + self.rounds);
        let begun = member.rounds.begin(now, token);
        assert!(begun, "it is due");
        self.give(node, life, Event::ReadBarrier { token });
    }

    /// A round comes back, for all that waited for it.
    pub(super) fn round_came(&mut self, node: usize, token: Token, reply: &Reply) {
        let life = self.nodes[node].life;
        let Some(member) = self.nodes[node].up_mut() else { return };
        let all = member.rounds.came(token);
        if member.rounds.due().is_some() {
            self.agenda.push(self.now, What::Round { node: node as u8, life });
        }
        if all.len() > 1 {
            self.stats.fault("round-shared");
        }
        for number in all {
            self.reply(node, Token(u64::from(number) + 1), reply.clone());
        }
    }

    /// Whoever waited for a barrier is told of it by another thread than the one that votes.
    pub(super) fn passed_barrier(&mut self, number: u32, query: Query) {
        let op = &self.ops[number as usize];
        let (op, node) = (number, op.node);
        let life = self.nodes[usize::from(node)].life;
        self.look_later(Look::new(op, node, life, query));
    }

    fn look_later(&mut self, look: Look) {
        let wait = Nanos(1 + self.random.client.below(self.plan.knobs.read_pause.0));
        let look = self.looks.put(look);
        self.agenda.push(self.now.plus(wait), What::Look(look));
    }

    /// The time for a slice has come.
    pub(super) fn look(&mut self, look: u32) {
        if let Some(look) = self.looks.take(look) {
            self.look_on(look);
        }
    }

    fn look_on(&mut self, mut look: Look) {
        let (op, place) = (&self.ops[look.op as usize], &self.nodes[usize::from(look.node)]);
        if op.outcome != Outcome::Waiting || op.node != look.node || place.life != look.life {
            return; // its client has given up, or its process is gone
        }
        if place.paused {
            let look = self.looks.put(look);
            return self.agenda.push(self.now.plus(PAUSE), What::Look(look));
        }
        let node = usize::from(look.node);
        if look.hand.waits() {
            match self.fetch(node, look.hand.asked()) {
                Ok(fetched) => look.hand.take(fetched),
                Err(refusal) => return self.found(look.op, Answer::Found(Err(refusal))),
            }
        }
        let mut reading = match look.reading.take() {
            Some(reading) => reading,
            None => match self.begin_reading(&look) {
                Some(Ok(reading)) => reading,
                Some(Err(refusal)) => return self.found(look.op, Answer::Found(Err(refusal))),
                None => return,
            },
        };
        let budget = &mut Budget::new(self.plan.knobs.read_budget);
        let Some(member) = self.nodes[node].up_mut() else { return };
        let found = if look.fetches < FETCHES_MAX {
            reading.run(&mut look.hand.beside(&mut member.archive.cache()), budget)
        } else {
            reading.run(&mut member.shelf, budget)
        };
        match found {
            Some(found) => {
                if let Err(Refusal { reason: Reason::Unreadable(why), .. }) = &found {
                    self.unreadable(node, why);
                }
                self.found(look.op, Answer::Found(found));
            }
            None if look.hand.waits() => {
                self.stats.fault("read-fetched");
                let fetches = look.fetches + 1;
                self.look_later(Look { reading: None, fetches, ..look });
            }
            None => {
                self.stats.fault("read-slice");
                self.look_later(Look { reading: Some(reading), ..look });
            }
        }
    }

    /// Reads versions that have left memory.
    fn fetch(&mut self, node: usize, all: Vec<Fetch>) -> Result<Fetched, Refusal> {
        let member = self.nodes[node].up_mut().expect("its life goes on");
        Fetch::read_all(all, &mut member.shelf).map_err(|(_, why)| {
            self.unreadable(node, &why);
            Refusal::not_applied(Reason::Unreadable(why))
        })
    }

    /// A value cannot be read, and is named: that is so only where a disk is damaged.
    pub(super) fn unreadable(&mut self, node: usize, why: &str) {
        self.stats.fault("unreadable");
        self.begin_mending(node);
        let place = &self.nodes[node];
        if !place.damaged && !place.misreads {
            let what = format!("{}: {why}", place.name);
            self.blame("a sound disk is read", what);
        }
    }

    fn begin_reading(&mut self, look: &Look) -> Option<Result<Reading, door::Refusal>> {
        let node = usize::from(look.node);
        let replica = &self.nodes[node].up()?.replica;
        let view = Arc::new(replica.store().view());
        let revision = view.revision();
        let begun = Sight::of(replica).begin(&look.query, view);
        if begun.is_ok() {
            let id = self.nodes[node].id;
            self.judge.shows_data(self.now, id, || format!("reads for {:?}", look.query));
            self.check_shown(node, Some(revision));
        }
        Some(begun)
    }

    /// A read ends: what was found is judged before its client sees it.
    fn found(&mut self, number: u32, answer: Answer) {
        if let Answer::Found(found) = &answer {
            self.judge.found(self.now, &self.ops[number as usize], found);
        }
        self.tell_client(number, answer);
    }
}
