//! Clients: one operation at a time each, other members when one refuses, and unknown outcomes
//! that stay unknown.

use super::World;
use super::change::newcomer_of;
use crate::agenda::What;
use crate::client::{Answer, Ask, Asker, Op, Outcome};
use base::{LogIndex, Nanos, Token};
use door::{Found, Reason};
use member::room::refuses;
use mvcc::{Caller, Command, Response};
use replica::{Event, Reply};

/// Members tried before a client takes no for an answer.
const ATTEMPTS_MAX: u8 = 6;
/// Pause before the next member is tried.
const RETRY: Nanos = Nanos::from_millis(30);

/// One in so many asks how the cluster is, in place of what it would have asked.
const PROBE_IN: u64 = 50;

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
        let probes = self.random.client.below(PROBE_IN) == 0;
        let ask = if probes { Ask::Confirm } else { ask };
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
        if self.nodes[node].up().is_none_or(crate::node::Member::drains) {
            return self.try_another(number); // nobody listens: definitely not applied
        }
        if let Some(query) = op.ask.query() {
            return self.read(number, query);
        }
        if let (Ask::Write(command), Some(member)) = (&op.ask, self.nodes[node].up()) {
            let leads = member.replica.raft().is_leader();
            if refuses(member.chores.stuck, leads, command) {
                self.stats.fault("stuck-refused");
                return self.try_another(number); // definitely not applied
            }
        }
        let token = Token(u64::from(number) + 1);
        let event = match op.ask.clone() {
            Ask::Write(command) => {
                Event::Propose { token, caller: crate::client::caller(number), command }
            }
            Ask::Range(_) | Ask::ReadTxn(_) => unreachable!("it is a query"),
            Ask::Confirm => Event::Confirm { token },
            Ask::Change(change) => Event::Change { token, caller: Caller::nobody(), change },
        };
        let life = self.nodes[node].life;
        self.take_call(node, number);
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
        let Some((number, answer)) = self.answers.take(answer) else { return };
        if self.ops[number as usize].outcome != Outcome::Waiting {
            return;
        }
        match answer {
            Answer::Reply(Reply::Refused(_)) => self.try_another(number),
            Answer::Reply(Reply::Unknown(_)) => self.settle(number, Outcome::Unknown),
            Answer::Reply(reply) => self.replied(number, &reply),
            Answer::Found(Ok(found)) => self.told_found(number, &found),
            // An answer too: the revision is compacted, or not there yet.
            Answer::Found(Err(refusal)) if matches!(refusal.reason, Reason::Store(_)) => {
                self.ops[number as usize].returned = self.now;
                self.settle(number, Outcome::Done);
            }
            Answer::Found(Err(_)) => self.try_another(number),
        }
    }

    fn replied(&mut self, number: u32, reply: &Reply) {
        let op = &mut self.ops[number as usize];
        op.returned = self.now;
        self.judge.heard(op, reply);
        let failed =
            matches!(reply, Reply::Applied { result: Err(_), .. } | Reply::ChangeRefused(_));
        self.change_told(number, reply);
        self.remember(number, reply);
        self.settle(number, if failed { Outcome::Refused } else { Outcome::Done });
    }

    fn told_found(&mut self, number: u32, found: &Found) {
        let op = &mut self.ops[number as usize];
        op.returned = self.now;
        self.judge.heard_found(op, found);
        let range = if let Found::Range(range) = found { Some(range) } else { None };
        op.found = range.and_then(|range| range.kvs.first()).map(|kv| kv.value.clone());
        if let Some(client) = self.clients.get_mut(usize::from(op.client)) {
            let memory = &mut client.memory;
            memory.hears_of(self.judge.floor.revision);
            if let Some(range) = range {
                memory.revision = memory.revision.max(range.revision);
                let first = range.kvs.first().map(|kv| (kv.key.clone(), kv.mod_revision));
                memory.seen = first.or(memory.seen.take());
            }
        }
        self.settle(number, Outcome::Done);
    }

    fn remember(&mut self, number: u32, reply: &Reply) {
        let op = &self.ops[number as usize];
        let floor = self.judge.floor.revision;
        let Some(client) = self.clients.get_mut(usize::from(op.client)) else { return };
        let memory = &mut client.memory;
        memory.hears_of(floor);
        let response = match reply {
            Reply::Applied { index, result: Ok(response) } if *index > LogIndex::ZERO => response,
            _ => return,
        };
        match response {
            Response::LeaseGrant { id, .. } => memory.leases.push(*id),
            Response::LeaseRenew { ttls } => {
                memory.leases.retain(|id| !ttls.contains(&(*id, 0)));
            }
            Response::Put(put) => memory.revision = memory.revision.max(put.revision),
            _ => {}
        }
        match &op.ask {
            Ask::Write(Command::Compact { revision }) => memory.compacted = *revision,
            Ask::Write(Command::LeaseRevoke { id, .. }) => {
                let id = *id;
                memory.leases.retain(|lease| *lease != id);
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
            (op.client, op.ask.changes_nothing())
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
        self.answered(number);
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
        Ask::Confirm => "confirm".to_owned(),
        Ask::Change(change) => format!("{change:?}"),
    }
}
