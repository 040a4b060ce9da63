//! Asks members who leads, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::etcdserverpb as pb;
use client::{Channel, method};

use super::load::Shared;

const ASK_EVERY: Duration = Duration::from_millis(30);
const ANSWER_MAX: Duration = Duration::from_millis(150);

/// What members said of themselves.
#[derive(Default)]
pub struct Leaders {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Members that said they lead, by term.
    by_term: BTreeMap<u64, BTreeSet<usize>>,
    /// The latest term each member claimed to lead in and has not been seen to leave.
    claims: BTreeMap<usize, u64>,
}

impl Leaders {
    /// The member that claims the highest term.
    pub fn current(&self) -> Option<usize> {
        let state = self.lock();
        state.claims.iter().max_by_key(|(_, term)| **term).map(|(at, _)| *at)
    }

    /// The member's process is gone.
    pub fn forget(&self, at: usize) {
        self.lock().claims.remove(&at);
    }

    /// How often another member led than before.
    pub fn changes(&self) -> u64 {
        let state = self.lock();
        let leaders: Vec<_> = state.by_term.values().filter_map(|who| who.first()).collect();
        leaders.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64
    }

    /// Terms with two leaders, in words.
    pub fn rivals(&self) -> Vec<String> {
        let state = self.lock();
        let rivals = state.by_term.iter().filter(|(_, who)| who.len() > 1);
        rivals.map(|(term, who)| format!("term {term} had the leaders {who:?} (from 0)")).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    fn learn(&self, at: usize, term: u64, leads: bool) {
        let mut state = self.lock();
        if leads {
            state.by_term.entry(term).or_default().insert(at);
            state.claims.insert(at, term);
        } else {
            state.claims.remove(&at);
        }
    }

    /// Asks one member until the round stops.
    pub async fn watch(self: Arc<Self>, at: usize, shared: Arc<Shared>) {
        let channel = Channel::new(&shared.endpoints[at]);
        while !shared.stop.load(Ordering::Relaxed) {
            let life = shared.lives[at].load(Ordering::SeqCst);
            let request = pb::StatusRequest::default();
            let answer: Result<pb::StatusResponse, _> =
                channel.call_within(ANSWER_MAX, method::maintenance::STATUS, &request).await;
            let same = life == shared.lives[at].load(Ordering::SeqCst);
            if let Ok(status) = answer
                && same
            {
                let me = status.header.map_or(0, |header| header.member_id);
                self.learn(at, status.raft_term, status.leader != 0 && status.leader == me);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}
