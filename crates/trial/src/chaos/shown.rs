//! Reads each member's own state, again and again, also across its restarts: what it showed it
//! never takes back, and a watch from now on hears nothing that was shown before.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::etcdserverpb as pb;
use api::etcdserverpb::watch_request::RequestUnion;
use client::{Channel, method};

use super::load::Shared;

const ASK_EVERY: Duration = Duration::from_millis(2);
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// A watch is opened anew that often, or when its member has gone.
const WATCH: Duration = Duration::from_millis(700);

/// What members showed.
#[derive(Default)]
pub struct Shown {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Highest revision of each member's own state.
    highest: BTreeMap<usize, i64>,
    wrong: Vec<(usize, String)>,
    answers: u64,
}

impl Shown {
    /// What was taken back, except by a member whose directory was lost; and how much was read.
    pub fn judge(&self, lost: Option<usize>) -> (Vec<String>, u64) {
        let state = self.lock();
        let wrong = state.wrong.iter().filter(|(at, _)| Some(*at) != lost);
        (wrong.map(|(_, what)| what.clone()).collect(), state.answers)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    fn highest(&self, at: usize) -> i64 {
        self.lock().highest.get(&at).copied().unwrap_or(0)
    }

    /// An answer to a question that was asked when `before` had been shown.
    fn learn(&self, at: usize, before: i64, revision: i64) {
        let mut state = self.lock();
        state.answers += 1;
        if revision < before {
            let what = format!("member {at} (from 0) showed revision {revision} after {before}");
            state.wrong.push((at, what));
        }
        let highest = state.highest.entry(at).or_default();
        *highest = (*highest).max(revision);
    }

    fn blame(&self, at: usize, what: String) {
        self.lock().wrong.push((at, what));
    }

    /// Asks one member until the round stops.
    pub async fn read(self: Arc<Self>, at: usize, shared: Arc<Shared>) {
        let channel = Channel::new(&shared.endpoints[at]);
        let (key, range_end) = (b"\0".to_vec().into(), b"\0".to_vec().into());
        let request = pb::RangeRequest {
            key,
            range_end,
            serializable: true,
            count_only: true,
            ..Default::default()
        };
        while !shared.stop.load(Ordering::Relaxed) {
            let before = self.highest(at);
            let answer: Result<pb::RangeResponse, _> =
                channel.call_within(ANSWER_MAX, method::kv::RANGE, &request).await;
            if let Some(header) = answer.ok().and_then(|range| range.header) {
                self.learn(at, before, header.revision);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Watches from now on at one member, again and again, until the round stops.
    pub async fn watch(self: Arc<Self>, at: usize, shared: Arc<Shared>) {
        let channel = Channel::new(&shared.endpoints[at]);
        while !shared.stop.load(Ordering::Relaxed) {
            // Its end is that of the connection, of the round, or of the time for one.
            let _ = tokio::time::timeout(WATCH, self.hear(at, &channel)).await;
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn hear(&self, at: usize, channel: &Channel) -> Result<(), client::Failure> {
        let before = self.highest(at);
        let call = channel.prepare(method::watch::WATCH);
        let mut stream = channel.stream::<pb::WatchResponse>(&call).await?;
        let (key, range_end) = (b"\0".to_vec().into(), b"\0".to_vec().into());
        let create = pb::WatchCreateRequest { key, range_end, ..Default::default() };
        let request_union = Some(RequestUnion::CreateRequest(create));
        stream.send(&pb::WatchRequest { request_union })?;
        let mut seen = before;
        while let Some(answer) = stream.next().await? {
            let revision = answer.header.as_ref().map_or(0, |header| header.revision);
            if answer.created {
                self.learn(at, before, revision);
                seen = seen.max(revision);
            }
            let old = answer.events.iter().filter_map(|event| event.kv.as_ref());
            if let Some(old) = old.map(|kv| kv.mod_revision).find(|at| *at <= seen) {
                let what = format!("a watch from {seen} on at member {at} (from 0) heard {old}");
                self.blame(at, what);
            }
        }
        Ok(())
    }
}
