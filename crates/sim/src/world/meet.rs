//! Members meet: each decides as it ships who may come in, and the judge remembers whom it let in.

use super::World;
use crate::agenda::What;
use crate::disk::Loss;
use crate::node::{Lived, Process, Stage};
use base::{Life, Nanos, Prng};
use member::hello::{Hello, Purpose};
use member::join::{Ask, No};
use member::{Opened, Peers, Refused, Unwelcome, Unwritten};

/// What a look at a peer comes to.
type Looked = Result<Option<Unwritten>, Unwelcome>;

/// A newcomer asks again who it is.
const ASK_AGAIN: Nanos = Nanos::from_millis(200);

impl World {
    /// Members connect to every peer they reach, and each side looks at the other.
    pub(super) fn meet(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            let cut = self.links.is_cut(node, other) || self.links.is_cut(other, node);
            if other != node && !cut && self.connects(node, other) && self.connects(other, node) {
                self.find(node, other);
                self.find(other, node);
            }
        }
    }

    /// Connections to `peer` and from it stand: its member is told in a moment.
    fn find(&mut self, node: usize, peer: usize) {
        let (life, at) = (self.nodes[node].life, self.now.plus(Nanos(500_000)));
        self.agenda.push(at, What::PeerFound { node: node as u8, life, peer: peer as u8 });
    }

    /// The whole handshake of a connection, in the bytes that ship.
    fn connects(&mut self, from: usize, to: usize) -> bool {
        let (Some(dialer), Some(acceptor)) = (self.nodes[from].up(), self.nodes[to].up()) else {
            return false;
        };
        let Some(said) = self.nodes[from].lived() else { return false };
        let (from_id, to_id) = (self.nodes[from].id, self.nodes[to].id);
        let hello = dialer.peers.hello(Purpose::Stream, to_id);
        let answer = acceptor.peers.hello(Purpose::Stream, from_id);
        // In a story of wrong formulas nothing has compared them.
        if !self.plan.misled.is_empty() {
            return self.greets(from, to, said);
        }
        let (hello, answer) = (carried(&hello), carried(&answer));
        if let Err(what) = hello.is_answered_by(&answer) {
            self.blame("members of one cluster agree on what it began with", what);
            return false;
        }
        if !self.greeted(from, to, said, |peers| peers.admit(&hello)) {
            return false;
        }
        for (here, word) in [(to, &hello), (from, &answer)] {
            if let Some(member) = self.nodes[here].up_mut() {
                member.peers.learn(word);
            }
        }
        true
    }

    /// The part of a handshake that has to do with lives.
    pub(super) fn greets(&mut self, from: usize, to: usize, said: Lived) -> bool {
        let id = self.nodes[from].id;
        self.greeted(from, to, said, |peers| peers.receive(id, said.life))
    }

    /// Both sides look at each other. A frame of an earlier life is one that its connection still
    /// held.
    fn greeted(
        &mut self,
        from: usize,
        to: usize,
        said: Lived,
        look: impl Fn(&mut Peers) -> Looked,
    ) -> bool {
        let current = self.nodes[from].lived() == Some(said);
        let Some(met) = self.look_at(to, look) else { return false };
        match met {
            Ok(()) => self.let_in(to, from, said),
            Err(Unwelcome::PutBack(_)) if !current => {}
            Err(unwelcome) => {
                self.turned_away(to, from, current, unwelcome);
                return false;
            }
        }
        if !current {
            return true;
        }
        let (id, Some(there)) = (self.nodes[to].id, self.nodes[to].lived()) else { return false };
        let Some(met) = self.look_at(from, |peers| peers.meet(id, there.life)) else {
            return false;
        };
        match met {
            Ok(()) => {
                self.let_in(from, to, there);
                true
            }
            // Only who comes in is told why it may not.
            Err(unwelcome) => {
                self.not_let_in(from, &unwelcome);
                false
            }
        }
    }

    /// Looks, writes down what the look asks for, and looks again: only who is known comes in.
    fn look_at(
        &mut self,
        here: usize,
        look: impl Fn(&mut Peers) -> Looked,
    ) -> Option<Result<(), Unwelcome>> {
        let mut root = self.nodes[here].disk.dir("");
        let peers = &mut self.nodes[here].up_mut()?.peers;
        loop {
            match look(peers) {
                Ok(Some(first)) => match first.write(&mut root) {
                    Ok(written) => peers.keep(written),
                    Err(unwelcome) => return Some(Err(unwelcome)),
                },
                Ok(None) => return Some(Ok(())),
                Err(unwelcome) => return Some(Err(unwelcome)),
            }
        }
    }

    /// What `here` remembers from now on: it is durable.
    fn let_in(&mut self, here: usize, peer: usize, said: Lived) {
        let before = self.nodes[here].met.get(&(peer as u8)).copied();
        let later = before.filter(|before| before.life.birth == said.life.birth);
        if later.is_some_and(|before| before.start > said.start) {
            return;
        }
        if let (Some(before), Some(since)) = (later, self.nodes[peer].put_back)
            && before.start < since
            && said.start >= since
        {
            let what = format!("n{} met {before:?} of n{}, lets {said:?} in", here + 1, peer + 1);
            self.blame("a directory that was put back is turned away", what);
        }
        self.nodes[here].met.insert(peer as u8, said);
    }

    fn not_let_in(&mut self, here: usize, why: &Unwelcome) {
        self.stats.fault("peer-refused");
        self.nodes[here].met_unsure |= matches!(why, Unwelcome::Unremembered(_));
        if self.nodes[here].disk.machine().is_dead() {
            self.disk_failed(here, "identity");
        }
    }

    /// Who comes in is told why it may not, if it is still there.
    fn turned_away(&mut self, here: usize, peer: usize, current: bool, why: Unwelcome) {
        match why {
            Unwelcome::Gone(_) if current => self.leave(peer),
            Unwelcome::Gone(_) => {}
            Unwelcome::PutBack(text) => self.put_back(here, peer, text),
            Unwelcome::Unremembered(_) | Unwelcome::Other(_) => self.not_let_in(here, &why),
        }
    }

    /// Told that its directory was put back, a member forswears it and stops for good: starting
    /// often enough would make it look new.
    fn put_back(&mut self, here: usize, peer: usize, text: String) {
        if self.nodes[peer].put_back.is_none() {
            let what = format!("n{} says to n{}: {text}", here + 1, peer + 1);
            self.blame("only a directory that was put back is told so", what);
        }
        self.stats.fault("put-back-refused");
        let void = self.nodes[peer].up().map(|member| member.peers.forswear(&text));
        let mut root = self.nodes[peer].disk.dir("");
        let forsworn = void.is_some_and(|void| void.write(&mut root).is_ok());
        if self.nodes[peer].disk.machine().is_dead() {
            return self.disk_failed(peer, "identity");
        }
        self.stop(peer, Loss::None, "put back");
        match member::open::identify(&self.nodes[peer].disk) {
            Err(Refused::Void(text)) => self.nodes[peer].process = Process::Refused(text),
            _ if forsworn => {
                let what = format!("n{} was forsworn and starts again", peer + 1);
                self.blame("a directory that was forsworn says so", what);
            }
            // It could not write it down: it is told again.
            _ => self.restart_in(peer, Nanos::from_millis(500)),
        }
    }

    /// Whom a member met and let in stands in its file at every later start.
    pub(super) fn check_met(&mut self, node: usize, opened: &Opened) {
        let place = &mut self.nodes[node];
        let found = |slot: u8| {
            let id = base::NodeId(u64::from(slot) + 1);
            let met = opened.identity.peers.iter().find(|met| met.member == id)?;
            Some(Life { birth: base::Birth(met.birth), incarnation: met.incarnation })
        };
        let unsure = std::mem::take(&mut place.met_unsure);
        if opened.fresh || place.damaged || place.put_back.is_some() {
            return place.met.retain(|slot, met| found(*slot) == Some(met.life));
        }
        let lost = place.met.iter().find(|(slot, met)| {
            !found(**slot).is_some_and(|found| {
                found == met.life || met.life.is_before(found) || (unsure && found != met.life)
            })
        });
        if let Some((slot, met)) = lost {
            let what =
                format!("{} met {met:?} of n{}, finds {:?}", place.name, slot + 1, found(*slot));
            self.blame("whom a member met it remembers", what);
        }
    }

    /// Whether a machine knows who it is: a first member by its flags, a newcomer once a member has
    /// told it. It asks on, unless it is known that it never comes in.
    pub(super) fn introduced(&mut self, node: usize) -> bool {
        let Stage::Newcomer { asked } = self.nodes[node].stage else { return true };
        let place = &self.nodes[node];
        // Of no stream: who asks, and how often, shifts nothing else.
        let seed = self.plan.seed ^ (u64::from(place.life) << 32 | u64::from(place.slot));
        let birth = Prng::new(seed).next_u64().max(1);
        let ask = Ask { peer_urls: vec![format!("http://n{}", place.id)], birth };
        for other in 0..self.nodes.len() {
            let cut = self.links.is_cut(node, other) || self.links.is_cut(other, node);
            let Some(member) = self.nodes[other].up() else { continue };
            if other == node || cut || self.nodes[other].paused {
                continue;
            }
            match member.peers.introduce(&ask, &<[String]>::to_vec) {
                Ok(born) => {
                    let place = &mut self.nodes[node];
                    (place.born, place.stage) = (Some((born, birth)), Stage::Member);
                    return true;
                }
                Err(No::NotYet(_)) => {}
                Err(No::Never(text)) => {
                    self.never_introduced(node, text);
                    return false;
                }
            }
        }
        let never = asked != u32::MAX && self.is_refused(asked);
        if !never {
            self.restart_in(node, ASK_AGAIN);
        }
        false
    }

    /// A member whose directory was lost, and which had been written down, has to be replaced.
    fn never_introduced(&mut self, node: usize, text: String) {
        let place = &mut self.nodes[node];
        if !place.damaged {
            let what = format!("{}: {text}", place.name);
            return self.blame("a member that nobody wrote down is as new as before", what);
        }
        self.stats.fault("newcomer-refused");
        place.process = Process::Refused(text);
    }
}

/// As it comes out of the wire.
fn carried(hello: &Hello) -> Hello {
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    Hello::decode(&bytes).expect("what a member says of itself is readable")
}
