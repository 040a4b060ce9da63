//! One question at the door, one answer out: what all calls have in common.

use super::bell::Bell;
use super::cut::{Cut, Cuts};
use super::methods::{self, Method};
use super::permits::Permits;
use super::reply::{self, Reply};
use super::watch::Hub;
use super::{convert, refusal};
use api::Message;
use api::error::{Code, EtcdError};
use api::etcdserverpb as pb;
use base::limits::{PERMITS_MAX, SORTED_STREAMS_MAX};
use door::{Caller, Door, Finding, Found, Freshness, Query, Read, Reason, Refusal, response_bytes};
use later::{Asker, Later, promise};
use mvcc::{Command, Response};
use net::{Answer, Body, Call, CallStats, Host, Limits, Metadata, Status};
use std::rc::{Rc, Weak};

/// etcd's v3 API at one door.
pub struct Front {
    pub(super) door: Rc<dyn Door>,
    pub(super) limits: Limits,
    pub(super) hub: Rc<Hub>,
    pub(super) permits: Rc<Permits>,
    /// For range streams that hold all that was found.
    pub(super) sorted: Rc<Permits>,
    pub(super) cuts: Rc<Cuts>,
    pub(super) stats: Rc<CallStats>,
    pub(super) host: Rc<dyn Host>,
    me: Weak<Self>,
}

/// Whose authority a call has.
pub(super) fn caller(_: &Call) -> Caller {
    Caller::nobody()
}

/// An answer that is there.
pub(super) fn now(call: &Call, message: &impl Message) -> Answer {
    Later::now(call.form.encode(message).map(Body::Whole))
}

/// A refusal that is there.
pub(super) fn fail(status: Status) -> Answer {
    Later::now(Err(status))
}

/// An answer of another kind than the request.
pub(super) fn mismatch() -> Status {
    Status::new(Code::Internal, "answer of another kind than the request")
}

impl Front {
    pub(super) fn new(door: Rc<dyn Door>, host: Rc<dyn Host>, limits: Limits) -> Rc<Self> {
        let permits = Permits::new(PERMITS_MAX);
        let sorted = Permits::new(SORTED_STREAMS_MAX);
        let hub = Hub::new(door.clone(), limits.message_bytes_max(), Rc::clone(&permits));
        let stats = CallStats::new(methods::table().len());
        let cuts = Rc::default();
        Rc::new_cyclic(|me| {
            let me = me.clone();
            Self { door, limits, hub, permits, sorted, me, cuts, stats, host }
        })
    }

    /// Why a call ends before it begins, if so.
    pub(super) fn refused(&self, method: Method, metadata: Metadata) -> Option<Status> {
        let no_data = || {
            let refusal = self.door.serves_no_data().filter(|_| method.needs_data());
            refusal.filter(|refusal| refusal.reason != Reason::Diverged || !method.compares_data())
        };
        if let Some(refusal) = no_data() {
            return Some(refusal::status(&refusal));
        }
        let leaderless = metadata.has_leader && self.door.status().leader.is_none();
        leaderless.then(|| refusal::no_leader(&*self.door))
    }

    /// Does `next` once this member shows at least what it showed before its start; or tells why
    /// it does not get there within the time that a read may take.
    pub(super) fn when_current<T: 'static>(
        &self,
        (method, asker): (Method, Asker),
        next: impl FnOnce(&Self) -> Later<Result<T, Status>> + 'static,
    ) -> Later<Result<T, Status>> {
        let waits = method.shows_revision() && self.door.serves_no_data().is_none();
        if !waits || self.door.is_current() {
            return next(self);
        }
        let (answer, current) = promise(asker.clone(), |result: Result<(), Refusal>| result);
        self.door.when_current(answer);
        let me = self.me.clone();
        current.then(asker, move |result| match (result, me.upgrade()) {
            (Ok(()), Some(front)) => next(&front),
            (Err(refusal), _) => Later::now(Err(refusal::status(&refusal))),
            // Without its front the member has ended, and the call with it.
            (Ok(()), None) => Later::now(Err(refusal::status(&Refusal::stopped()))),
        })
    }

    /// Sends a write and answers with `reply` once it applied here.
    pub(super) fn write<R: Reply + 'static>(
        &self,
        call: &Call,
        command: Result<Command, EtcdError>,
        reply: impl FnOnce(pb::ResponseHeader, Response) -> Option<R> + 'static,
    ) -> Answer {
        let command = match command {
            Ok(command) => command,
            Err(error) => return fail(refusal::unproposed(error)),
        };
        let asker = call.asker();
        if !asker.may_write() {
            // Its answers lie here unread; those of writes cannot wait for room.
            let (leader, missing) = self.door.knows();
            let refusal = Refusal::not_applied(Reason::Overloaded).knowing(leader, missing);
            return fail(refusal::status(&refusal));
        }
        let (door, form, writes_to) = (self.door.clone(), call.form.clone(), asker.clone());
        let (answer, later) = promise(asker, move |result: Result<Response, Refusal>| {
            let response = result.map_err(|refusal| refusal::status(&refusal))?;
            let bytes = response_bytes(&response);
            let reply = reply(convert::header(door.header()), response).ok_or_else(mismatch)?;
            reply::body((&door, &form), reply, bytes, writes_to.has_room())
        });
        self.door.write(caller(call), command, answer);
        later
    }

    /// Reads from the state of this member: as it is, or once everything committed before the
    /// call is in it. The state may be later than that by the time the read has its turn.
    pub(super) fn read<R: Reply + 'static>(
        &self,
        call: &Call,
        (query, fresh): (Query, Freshness),
        reply: impl FnOnce(pb::ResponseHeader, Found) -> Option<R> + 'static,
    ) -> Answer {
        let (door, form) = (self.door.clone(), call.form.clone());
        let told = move |found: Result<Finding, Refusal>| {
            let Finding { header, found, bytes } =
                found.map_err(|refusal| refusal::status(&refusal))?;
            let reply = reply(convert::header(header), found).ok_or_else(mismatch)?;
            reply::body((&door, &form), reply, bytes, true)
        };
        let (read, later) = Read::new(call.asker(), query, told);
        self.door.read(caller(call), fresh, read);
        later
    }

    /// What the stream that is opened by `call` ends with from this side.
    pub(super) fn cut(&self, call: &Call, bell: &Rc<Bell>) -> Cut {
        self.cuts.cut(call.metadata, self.door.clone(), bell)
    }
}
