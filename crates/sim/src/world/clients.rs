//! Clients: one operation at a time each, other members when one refuses, and unknown outcomes
//! that stay unknown.

use super::World;
use super::change::newcomer_of;
use crate::agenda::What;
use crate::client::{Ask, Asker, Op, Outcome};
use base::{LogIndex, Nanos, Token};
use mvcc::{Caller, Command, Response};
use replica::{Event, Reply};

/// Members tried before a client takes no for an answer.
const ATTEMPTS_MAX: u8 = 6;
/// Pause before the next member is tried.
const RETRY: Nanos = Nanos::from_millis(30);

/// A client that asks one member only.
const HERE: u16 = u16::MAX;

impl World {
    pub(super) fn client_delay(&mut self) -> Nanos {
        Nanos(50_000 + self.random.client.below(500_000))
    }

    /// A client begins its next operation.
    pub(super) fn client(&mut self, client: u16) {
        if self.closing || self.ops.len() as u32 >= self.plan.ops {
            return;
        }
        let number = self.ops.len() as u32;
        let doors = self.doors();
        let knobs = &self.plan.knobs;
        let place = &mut self.clients[usize::from(client)];
        let ask = Asker {
            random: &mut self.random.client,
            weights: &knobs.op_weights,
            keys: knobs.keys,
            value_bytes_max: knobs.value_bytes_max,
        }
        .ask(number, &place.memory);
        if self.random.client.below(4) == 0 {
            let door = self.random.client.below(doors.len() as u64) as usize;
            place.node = doors[door];
        }
        let node = place.node;
        self.begin(client, ask, node);
    }

    /// Sends an operation to a member; its number.
    pub(super) fn begin(&mut self, client: u16, ask: Ask, node: u8) -> u32 {
        let number = self.ops.len() as u32;
        let op = Op {
            client,
            ask,
            invoked: self.now,
            node,
            attempt: 0,
            outcome: Outcome::Waiting,
            floor: self.judge.floor,
            effect: None,
            returned: Nanos::ZERO,
            found: None,
        };
        self.tracer.node(self.now, usize::from(node), || {
            let (client, number) = (u64::from(client), u64::from(number));
            trace::What::Invoke { client, op: number, ask: brief(&op.ask) }
        });
        self.ops.push(op);
        let timeout = self.plan.knobs.client_timeout;
        self.agenda.push(self.now.plus(timeout), What::GiveUp { op: number });
        let delay = self.client_delay();
        let lost = self.random.client.below(1_000_000) < self.plan.knobs.client_loss_ppm;
        if lost && !self.closing {
            self.stats.fault("request-lost");
        } else {
            self.agenda.push(self.now.plus(delay), What::Request { op: number, attempt: 0 });
        }
        number
    }

    /// A request reaches its member.
    pub(super) fn request(&mut self, number: u32, attempt: u8) {
        let op = &self.ops[number as usize];
        if op.outcome != Outcome::Waiting || op.attempt != attempt {
            return;
        }
        let node = usize::from(op.node);
        if !self.nodes[node].runs() {
            return self.try_another(number); // nobody listens: definitely not applied
        }
        let token = Token(u64::from(number) + 1);
        let event = match op.ask.clone() {
            Ask::Write(command) => {
                Event::Propose { token, caller: crate::client::caller(number), command }
            }
            Ask::Range(request) => Event::Read { token, request },
            Ask::ReadTxn(request) => Event::ReadTxn { token, request },
            Ask::Change(change) => Event::Change { token, caller: Caller::nobody(), change },
        };
        let life = self.nodes[node].life;
        self.give(node, life, event);
    }

    /// Sends an operation to one member and to no other.
    pub(super) fn begin_here(&mut self, node: usize, ask: Ask) -> u32 {
        let number = self.begin(HERE, ask, node as u8);
        self.ops[number as usize].invoked = self.now;
        number
    }

    pub(super) fn op_count(&self) -> u32 {
        self.ops.len() as u32
    }

    /// The member after this one, as far as clients know.
    fn next_door(&self, node: u8) -> u8 {
        let doors = self.doors();
        doors.iter().copied().find(|door| *door > node).unwrap_or(doors[0])
    }

    fn try_another(&mut self, number: u32) {
        let next = self.next_door(self.ops[number as usize].node);
        let op = &mut self.ops[number as usize];
        if op.client == HERE {
            return self.settle(number, Outcome::Refused);
        }
        op.attempt += 1;
        if op.attempt >= ATTEMPTS_MAX {
            return self.settle(number, Outcome::Refused);
        }
        op.node = next;
        if let Some(client) = self.clients.get_mut(usize::from(op.client)) {
            client.node = op.node;
        }
        let attempt = op.attempt;
        let at = self.now.plus(RETRY).plus(self.client_delay());
        self.agenda.push(at, What::Request { op: number, attempt });
    }

    /// An answer reaches its client.
    pub(super) fn answer(&mut self, answer: u32) {
        let Some((number, reply)) = self.answers.take(answer) else { return };
        if self.ops[number as usize].outcome != Outcome::Waiting {
            return;
        }
        match &reply {
            Reply::Refused(_) => return self.try_another(number),
            Reply::Unknown(_) => return self.settle(number, Outcome::Unknown),
            _ => {}
        }
        let op = &mut self.ops[number as usize];
        op.returned = self.now;
        if let Reply::Range(Ok(range)) = &reply {
            op.found = range.kvs.first().map(|kv| kv.value.clone());
        }
        self.judge.heard(op, &reply);
        let failed =
            matches!(&reply, Reply::Applied { result: Err(_), .. } | Reply::ChangeRefused(_));
        self.change_told(number, &reply);
        self.remember(number, &reply);
        self.settle(number, if failed { Outcome::Refused } else { Outcome::Done });
    }

    fn remember(&mut self, number: u32, reply: &Reply) {
        let op = &self.ops[number as usize];
        let floor = self.judge.floor.revision;
        let Some(client) = self.clients.get_mut(usize::from(op.client)) else { return };
        let memory = &mut client.memory;
        memory.revision = memory.revision.max(floor.min(memory.revision + 50));
        match reply {
            Reply::Applied { index, result: Ok(response) } if *index > LogIndex::ZERO => {
                match response {
                    Response::LeaseGrant { id, .. } => memory.leases.push(*id),
                    Response::LeaseRenew { ttls } => {
                        memory.leases.retain(|id| !ttls.contains(&(*id, 0)));
                    }
                    Response::Put(put) => memory.revision = memory.revision.max(put.revision),
                    _ => {}
                }
                if let Ask::Write(Command::Compact { revision }) = &op.ask {
                    memory.compacted = *revision;
                }
                if let Ask::Write(Command::LeaseRevoke { id, .. }) = &op.ask {
                    let id = *id;
                    memory.leases.retain(|lease| *lease != id);
                }
            }
            Reply::Range(Ok(range)) => {
                memory.revision = memory.revision.max(range.revision);
                if let Some(kv) = range.kvs.first() {
                    memory.seen = Some((kv.key.clone(), kv.mod_revision));
                }
            }
            _ => {}
        }
    }

    pub(super) fn give_up(&mut self, number: u32) {
        if self.ops[number as usize].outcome == Outcome::Waiting {
            let op = &self.ops[number as usize];
            let next = self.next_door(op.node);
            if let Some(client) = self.clients.get_mut(usize::from(op.client)) {
                client.node = next;
            }
            self.settle(number, Outcome::Unknown);
        }
    }

    fn settle(&mut self, number: u32, outcome: Outcome) {
        let (client, reads) = {
            let op = &mut self.ops[number as usize];
            // A read that was not answered changed nothing, whoever knows.
            op.outcome = outcome;
            (op.client, matches!(op.ask, Ask::Range(_) | Ask::ReadTxn(_)))
        };
        if let Ask::Change(change) = &self.ops[number as usize].ask {
            if outcome == Outcome::Unknown {
                self.stats.change("change-unknown");
            }
            if outcome == Outcome::Refused
                && let Some(id) = newcomer_of(change)
            {
                self.judge.newcomer_refused(self.now, id);
            }
        }
        match outcome {
            Outcome::Done => self.stats.ops_done += 1,
            Outcome::Refused => self.stats.ops_refused += 1,
            _ => self.stats.ops_unknown += 1,
        }
        self.tracer.mix(u64::from(number) << 8 | outcome as u64);
        self.tracer.line(self.now, || trace::What::Return {
            client: u64::from(client),
            op: u64::from(number),
            outcome: outcome.word().into(),
            read: reads,
        });
        if let Some(revision) = self.ops[number as usize].effect
            && outcome == Outcome::Refused
        {
            let what = format!("operation {number} was refused and is revision {revision}");
            self.blame("refused is not applied", what);
        }
        if usize::from(client) < self.clients.len() {
            let think = Nanos(self.random.client.below(self.plan.knobs.think_max.0.max(1)));
            self.agenda.push(self.now.plus(think), What::Client(client));
        }
    }

    pub(super) fn outcome(&self, op: u32) -> Outcome {
        self.ops[op as usize].outcome
    }
}

/// An operation in a few words.
fn brief(ask: &Ask) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match ask {
        Ask::Write(Command::Put(put)) => format!("put {}", text(&put.key)),
        Ask::Write(Command::Delete(delete)) => format!("delete {}", text(&delete.key)),
        Ask::Write(Command::Txn(_)) => "txn".to_owned(),
        Ask::Write(Command::Compact { revision }) => format!("compact {revision}"),
        Ask::Write(Command::LeaseGrant { id, ttl }) => format!("grant {id} for {ttl} s"),
        Ask::Write(Command::LeaseRevoke { id, .. }) => format!("revoke {id}"),
        Ask::Write(Command::LeaseRenew { ids }) => format!("keep alive {ids:?}"),
        Ask::Write(Command::Alarm { .. }) => "alarm".to_owned(),
        Ask::Range(range) => format!("range {}", text(&range.key)),
        Ask::ReadTxn(_) => "read txn".to_owned(),
        Ask::Change(change) => format!("{change:?}"),
    }
}
