//! What every connection of this member needs to know, and how the links follow the
//! configuration.

use super::addresses::addresses;
use super::frame::Kind;
use super::handshakes::Handshakes;
use super::link::{Host, Link, Met};
use super::members::{Members, has_place};
use crate::disk::{Files, Notes};
use crate::metrics::Metrics;
use crate::node::input::Input;
use base::NodeId;
use base::limits::REFUSALS_TOLD_MAX;
use cluster::Configuration;
use consensus::raft::Raft;
use member::{Hello, Peers, Purpose, Unwelcome, Unwritten};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

/// What every connection of this member needs to know.
pub struct Shared {
    pub cluster: u64,
    pub member: NodeId,
    /// A peer that answers nothing for this long is dialled again: the election timeout.
    pub silence_max: Duration,
    /// The bootstrap configuration.
    pub config: Arc<Configuration>,
    /// The others, as far as this member knows them.
    pub met: RefCell<Peers>,
    pub files: Files,
    pub notes: Notes,
    pub inbox: UnboundedSender<Input>,
    pub metrics: Arc<Metrics>,
    pub members: Members,
    pub handshakes: Rc<Handshakes>,
    pub state: State,
}

/// What connections learn; starts empty.
#[derive(Default)]
pub struct State {
    pub incoming: RefCell<BTreeMap<NodeId, AbortHandle>>,
    /// The configuration, or what a peer says of itself, is another than when last looked at.
    pub news: Cell<bool>,
    told: RefCell<Refusals>,
    /// One for each checkpoint that is being taken in.
    pub(super) taking: Arc<()>,
    /// Whose turn it is to be looked at and written down.
    meeting: Arc<Mutex<()>>,
}

/// Refusals that were logged lately.
#[derive(Default)]
struct Refusals {
    lines: BTreeSet<String>,
    since: Option<Instant>,
}

/// After that time a refusal is news again.
const TOLD_FOR: Duration = Duration::from_secs(60);

impl Refusals {
    fn tells(&mut self, line: &str, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= TOLD_FOR) {
            (self.lines, self.since) = (BTreeSet::new(), Some(now));
        }
        self.lines.len() < REFUSALS_TOLD_MAX && self.lines.insert(line.to_owned())
    }
}

impl Host for Shared {
    fn hello(&self, purpose: Purpose, to: NodeId) -> Hello {
        self.met.borrow().hello(purpose, to)
    }

    fn meet(self: Rc<Self>, hello: Hello) -> Met {
        Box::pin(async move {
            self.remember(|peers| peers.meet(hello.member, hello.life())).await?;
            self.learn(&hello);
            Ok(())
        })
    }

    fn send(&self, input: Input) {
        let _ = self.inbox.send(input);
    }

    fn find(&self, peer: NodeId) {
        let heard = self.state.incoming.borrow().get(&peer).is_some_and(|task| !task.is_finished());
        if heard && self.members.link(peer).is_some_and(|link| link.is_connected()) {
            self.send(Input::PeerFound(peer));
        }
    }

    fn silence_max(&self) -> Duration {
        self.silence_max
    }
}

impl Shared {
    /// Looks at a peer, and writes down what is to be remembered of it before it comes in, one at a
    /// time. Then looks again: it may have left meanwhile. Who is known waits for nobody's write.
    async fn remember(
        self: &Rc<Self>,
        look: impl Fn(&mut Peers) -> Result<Option<Unwritten>, Unwelcome>,
    ) -> Result<(), Unwelcome> {
        let mut turn = None;
        loop {
            let looked = look(&mut self.met.borrow_mut())?;
            let Some(unwritten) = looked else { return Ok(()) };
            let Some(held) = turn.take() else {
                turn = Some(Arc::clone(&self.state.meeting).lock_owned().await);
                continue;
            };
            let shared = Rc::clone(self);
            // Who waits here may give up; what is on its way to the disk does not.
            let kept = tokio::task::spawn_local(async move {
                let remembered = shared.notes.remember(unwritten).await?;
                shared.met.borrow_mut().keep(remembered);
                Ok(held)
            });
            let kept = kept.await.unwrap_or_else(|e| Err(Unwelcome::Unremembered(e.to_string())));
            turn = Some(kept?);
        }
    }

    /// Why `hello` may not come in, in words.
    pub(super) async fn refusal(self: &Rc<Self>, hello: &Hello) -> Option<(Kind, String)> {
        let Err(unwelcome) = self.remember(|peers| peers.admit(hello)).await else {
            self.learn(hello);
            return None;
        };
        Some(match unwelcome {
            Unwelcome::Gone(text) => (Kind::Gone, text),
            Unwelcome::PutBack(text) => (Kind::PutBack, text),
            Unwelcome::Unremembered(text) | Unwelcome::Other(text) => (Kind::Refuse, text),
        })
    }

    /// Where it serves clients, and under which name.
    fn learn(&self, hello: &Hello) {
        if self.met.borrow_mut().learn(hello) {
            self.state.news.set(true);
        }
    }

    /// Logs a refusal once, however often the peer comes back with it, and of so many no others
    /// before some time has passed: what a stranger says is no reason to fill a log.
    pub(super) fn log_refusal(&self, from: &str, text: &str) {
        let line = format!("refused {from}: {text}");
        if self.state.told.borrow_mut().tells(&line, Instant::now()) {
            tracing::error!("{line}");
        }
    }

    /// Follows the configuration in force and the last one known to be committed: a member is
    /// spoken to until its removal is committed.
    pub fn follow(self: &Rc<Self>, raft: &Raft) {
        if !self.met.borrow_mut().follow(raft) {
            return;
        }
        self.state.news.set(true);
        let (config, committed) = (raft.config(), raft.config_at(raft.commit()));
        let gone = self.met.borrow().gone().to_vec();
        let is_gone = |id: NodeId| gone.iter().any(|(gone, _)| *gone == id);
        let is_member = |id| config.member(id).is_some() || committed.member(id).is_some();
        self.members.keep_cut_off(|id| !is_member(id) && !is_gone(id));
        let mut wanted = self.members.strangers(|id| !is_member(id) && !is_gone(id));
        for member in config.members.iter().chain(&committed.members) {
            wanted.insert(member.id, addresses(&member.peer_urls));
        }
        wanted.retain(|id, to| *id != self.member && !to.is_empty() && !is_gone(*id));
        let mut links = self.members.links.borrow_mut();
        links.retain(|id, (link, task)| {
            if let Some(to) = wanted.get(id) {
                link.readdress(to.clone());
                return true;
            }
            task.abort();
            link.disconnect();
            false
        });
        for (id, to) in wanted {
            links.entry(id).or_insert_with(|| {
                let link = Link::new(id, to);
                // Until it says so itself: where it was when this member first met the cluster.
                let first = self.config.members.iter().find(|m| m.id == id);
                link.says(first.map_or(Vec::new(), |m| addresses(&m.peer_urls)));
                let task = tokio::task::spawn_local(Rc::clone(&link).run(host(self)));
                (link, task.abort_handle())
            });
        }
        drop(links);
        self.count_links();
        for (id, _) in &gone {
            if let Some(task) = self.state.incoming.borrow_mut().remove(id) {
                task.abort();
            }
        }
    }

    /// Whether a stream of this peer may be read on: of members, and of so many others, since ids
    /// are what a stranger chooses. Nobody who has left.
    pub(super) fn has_place(&self, peer: NodeId) -> bool {
        let met = self.met.borrow();
        if met.gone().iter().any(|(gone, _)| *gone == peer) {
            return false;
        }
        let mut incoming = self.state.incoming.borrow_mut();
        incoming.retain(|_, task| !task.is_finished());
        has_place(peer, incoming.keys().copied(), |id| met.is_member(id))
    }

    /// A peer came in: it can be answered also when the configuration here does not know it, or
    /// has it elsewhere.
    pub fn learn_way_back(self: &Rc<Self>, hello: &Hello) {
        let id = hello.member;
        let to = addresses(&hello.peer_urls);
        if let Some(link) = self.members.link(id) {
            return link.says(to);
        }
        if !self.members.takes_in(id, &to) {
            return;
        }
        let link = Link::new(id, to);
        let task = tokio::task::spawn_local(Rc::clone(&link).run(host(self)));
        self.members.links.borrow_mut().insert(id, (link, task.abort_handle()));
        self.count_links();
    }

    fn count_links(&self) {
        let links = self.members.links.borrow();
        let links = links.values().map(|(link, _)| Arc::clone(&link.metrics));
        self.metrics.set_links(links.collect());
    }
}

fn host(shared: &Rc<Shared>) -> Rc<dyn Host> {
    Rc::<Shared>::clone(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once_a_minute_and_so_many_of_them() {
        let (mut told, start) = (Refusals::default(), Instant::now());
        let line = |n: usize| format!("refused host: {n}");
        for n in [0, 1, 0, 1] {
            let first = !told.lines.contains(&line(n));
            assert_eq!(told.tells(&line(n), start), first, "two kinds in turn are two lines");
        }
        assert!((2..REFUSALS_TOLD_MAX).all(|n| told.tells(&line(n), start)));
        assert!(!told.tells(&line(REFUSALS_TOLD_MAX), start + TOLD_FOR / 2));
        assert!(told.tells(&line(0), start + TOLD_FOR), "news again");
    }
}
