//! The desk as its fronts see it.

use super::{Desk, Pending, knows};
use crate::config::Url;
use crate::node::input::Input;
use base::NodeId;
use base::codec::Length;
use base::limits::{MEMBER_TEXT_BYTES_MAX, URLS_MAX};
use cluster::Change;
use door::{
    Answer, Caller, ChangeListener, Door, Freshness, Header, Made, MemberInfo, Query, Read,
    Reading, Reason, Refusal, Stage, Status, Work,
};
use later::Promise;
use member::room::refuses;
use mvcc::{AlarmKind, Command, Error, Response, Values, View};
use replica::Event;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The change with its URLs in one spelling and order; none that is empty, unreadable or leads
/// nowhere. Members refuse to read a longer list from each other.
fn checked(mut change: Change) -> Result<Change, Refusal> {
    let urls = match &mut change {
        Change::Add { member, .. } | Change::Replace { member, .. } => &mut member.peer_urls,
        Change::Update { peer_urls, .. } => peer_urls,
        Change::Promote { .. }
        | Change::Remove { .. }
        | Change::Quorum { .. }
        | Change::Publish { .. } => return Ok(change),
    };
    let bad = || Refusal::not_applied(Reason::BadUrl);
    if urls.len() > URLS_MAX || urls.iter().any(|text| text.len() > MEMBER_TEXT_BYTES_MAX) {
        return Err(bad());
    }
    let parsed = urls.iter().map(|text| Url::parse(text)).collect::<Result<Vec<_>, _>>();
    let mut parsed = parsed.map_err(|_| bad())?;
    parsed.sort();
    if parsed.is_empty() || parsed.iter().any(Url::is_wildcard) {
        return Err(bad());
    }
    *urls = parsed.iter().map(ToString::to_string).collect();
    Ok(change)
}

impl Stage for Desk {
    fn begin(&self, query: &Query) -> Result<Reading, Refusal> {
        let (view, sight) = self.newest_with(|picture| picture.sight.clone());
        sight.begin(query, view).map_err(|refusal| self.knowing(refusal))
    }

    fn header(&self) -> Header {
        Door::header(self)
    }

    fn at_hand(&self) -> Box<dyn Values> {
        Door::at_hand(self)
    }

    fn run(&self, work: Box<dyn Work>, answer: Promise<Made>) {
        self.pool.run(work, answer);
    }
}

impl Door for Desk {
    fn write(&self, caller: Caller, command: Command, answer: Answer<Response>) {
        let leads = self.board.look(|picture| picture.leads);
        if refuses(self.room.is_stuck(), leads, &command) {
            return answer.keep(Err(Refusal::from(Error::NoSpace)));
        }
        let mut bytes = Length::default();
        command.encode(&mut bytes);
        let event = |token| Event::Propose { token, caller, command };
        self.ask(Pending::Write(answer), bytes.0, event);
    }

    fn read(&self, _: Caller, fresh: Freshness, read: Read) {
        match self.board.look(|picture| picture.sight.admit(read.query(), fresh)) {
            Ok(Freshness::Local) => self.reads.serve(read),
            Ok(Freshness::Linearizable) => self.ask_barrier(Pending::Read(read)),
            Err(refusal) => read.refuse(self.knowing(refusal)),
        }
    }

    fn barrier(&self, answer: Answer<()>) {
        self.ask_barrier(Pending::Barrier(answer));
    }

    fn confirm(&self, answer: Answer<()>) {
        self.ask(Pending::Barrier(answer), 0, |token| Event::Confirm { token });
    }

    fn when_current(&self, answer: Answer<()>) {
        if self.is_current() {
            return answer.keep(Ok(()));
        }
        self.ask(Pending::Standing(answer), 0, |token| Event::ReadBarrier { token });
    }

    fn change(&self, caller: Caller, change: Change, answer: Answer<Vec<MemberInfo>>) {
        match checked(change) {
            Ok(change) => {
                let event = |token| Event::Change { token, caller, change };
                self.ask(Pending::Change(answer), 0, event);
            }
            Err(refusal) => answer.keep(Err(refusal)),
        }
    }

    fn move_leader(&self, _: Caller, target: NodeId, answer: Answer<()>) {
        let refused = self.board.look(|picture| match () {
            () if !picture.leads => Some(Reason::NotLeader),
            () if !picture.facts.may_lead.contains(&target) => Some(Reason::BadTransferee),
            () => None,
        });
        if let Some(reason) = refused {
            return answer.keep(Err(Refusal::not_applied(reason)));
        }
        if target == self.member {
            return answer.keep(Ok(()));
        }
        let transfer = Event::TransferLeader { to: Some(target) };
        let _ = self.voter.send(Input::Event(transfer));
        let until = Instant::now() + 2 * Duration::from_millis(self.config.election_timeout_ms);
        let Some(desk) = self.me.upgrade() else { return answer.keep(Err(Refusal::stopped())) };
        tokio::task::spawn_local(async move {
            while Instant::now() < until && answer.is_wanted() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if desk.board.look(|picture| picture.status.leader) == Some(target) {
                    return answer.keep(Ok(()));
                }
            }
            answer.keep(Err(Refusal::unknown(Reason::TransferTimeout)));
        });
    }

    fn on_changes(&self, listener: ChangeListener) {
        self.listeners.borrow_mut().push(listener);
    }

    fn listen(&self, wanted: bool) {
        self.board.listen(wanted);
    }

    fn run(&self, work: Box<dyn Work>, answer: Promise<Made>) {
        self.pool.run(work, answer);
    }

    fn at_hand(&self) -> Box<dyn Values> {
        Box::new(self.archive.cache())
    }

    fn view(&self) -> View {
        (*self.newest()).clone()
    }

    fn header(&self) -> Header {
        let (term, revision) = self.board.look(|picture| (picture.term, picture.revision));
        self.shown.set(self.shown.get().max(revision));
        Header { cluster: self.cluster, member: self.member, revision: self.shown.get(), term }
    }

    fn status(&self) -> Status {
        self.board.look(|picture| picture.status.clone())
    }

    fn members(&self) -> Vec<MemberInfo> {
        self.board.look(|picture| picture.facts.clone()).members.clone()
    }

    fn quorum(&self) -> (String, Option<String>) {
        let facts = self.board.look(|picture| picture.facts.clone());
        (facts.quorum.clone(), facts.joint.clone())
    }

    fn alarms(&self) -> Vec<(NodeId, AlarmKind)> {
        self.newest().alarms().into_iter().map(|(id, kind)| (NodeId(id), kind)).collect()
    }

    fn knows(&self) -> (Option<String>, Vec<String>) {
        self.board.look(knows)
    }

    fn serves_no_data(&self) -> Option<Refusal> {
        let no_data = self.board.look(|picture| picture.sight.no_data());
        no_data.map(|refusal| self.knowing(refusal))
    }

    fn is_current(&self) -> bool {
        self.board.look(|picture| picture.sight.current)
    }

    fn txn_ops_max(&self) -> usize {
        self.board.look(|picture| picture.sight.ops_max)
    }

    fn lease_ttl_min(&self) -> i64 {
        self.config.lease_ttl_min()
    }

    fn fresh_id(&self) -> i64 {
        let mut random = self.random.borrow_mut();
        loop {
            let id = (random.next_u64() >> 1).cast_signed();
            if id != 0 {
                return id;
            }
        }
    }
}

/// Shares the desk with its fronts.
pub(super) fn door(desk: &Rc<Desk>) -> Rc<dyn Door> {
    Rc::clone(desk) as Rc<dyn Door>
}
