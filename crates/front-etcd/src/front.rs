//! The dispatcher: one call in, one question at the door, one answer out.

use super::cut::{Cut, Cuts};
use super::lease::KeepAlives;
use super::methods::{self, Method};
use super::permits::Permits;
use super::range_stream::Chunks;
use super::reply::{self, Reply};
use super::watch::Hub;
use super::{bell::Bell, cluster, convert, kv, lease, maintenance, probe, refusal};
use api::Message;
use api::error::{Code, EtcdError};
use api::etcdserverpb as pb;
use bytes::Bytes;
use door::{Caller, Door, Finding, Found, Freshness, Query, Read, Reason, Refusal, response_bytes};
use later::{Asker, Later, promise};
use mvcc::{Command, Response};
use net::{
    Answer, Body, Call, CallStats, Host, HttpReply, HttpRequest, Kind, Limits, Metadata, Opening,
    Requests, Service, Source, Status,
};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// etcd's v3 API at one door.
pub struct Front {
    pub(super) door: Rc<dyn Door>,
    pub(super) limits: Limits,
    pub(super) hub: Rc<Hub>,
    pub(super) permits: Rc<Permits>,
    me: Weak<Self>,
    cuts: Rc<Cuts>,
    stats: Rc<CallStats>,
    host: Rc<dyn Host>,
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
    /// What a member serves behind its client port. It also registers for what is applied, so it
    /// is made before anything is served. What `host` tells is added to its own metrics, and its
    /// pages go before etcd's. `progress` is `--watch-progress-notify-interval`.
    pub fn service(
        door: Rc<dyn Door>,
        host: Rc<dyn Host>,
        limits: Limits,
        progress: Duration,
    ) -> Rc<dyn Service> {
        let front = Self::new(door, host, limits);
        front.hub.set_progress_interval(progress);
        front
    }

    pub(super) fn new(door: Rc<dyn Door>, host: Rc<dyn Host>, limits: Limits) -> Rc<Self> {
        let permits = Rc::<Permits>::default();
        let hub = Hub::new(door.clone(), limits.message_bytes_max(), Rc::clone(&permits));
        let stats = CallStats::new(methods::table().len());
        let cuts = Rc::default();
        Rc::new_cyclic(|me| {
            let me = me.clone();
            Self { door, limits, hub, permits, me, cuts, stats, host }
        })
    }

    /// Why a call ends before it begins, if so.
    fn refused(&self, method: Method, metadata: Metadata) -> Option<Status> {
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
    fn when_current<T: 'static>(
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
        let (door, form) = (self.door.clone(), call.form.clone());
        let (answer, later) = promise(asker, move |result: Result<Response, Refusal>| {
            let response = result.map_err(|refusal| refusal::status(&refusal))?;
            let bytes = response_bytes(&response);
            let reply = reply(convert::header(door.header()), response).ok_or_else(mismatch)?;
            reply::body((&door, &form), reply, bytes)
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
            reply::body((&door, &form), reply, bytes)
        };
        let (read, later) = Read::new(call.asker(), query, told);
        self.door.read(caller(call), fresh, read);
        later
    }

    fn call(&self, method: Method, call: &Call, message: Bytes) -> Answer {
        /// Decodes the message and has it answered.
        macro_rules! decoded {
            ($handler:path) => {
                match call.form.decode(message) {
                    Ok(request) => $handler(self, call, request),
                    Err(status) => fail(status),
                }
            };
        }
        match method {
            Method::Range => decoded!(kv::range),
            Method::Put => decoded!(kv::put),
            Method::DeleteRange => decoded!(kv::delete),
            Method::Txn => decoded!(kv::txn),
            Method::Compact => decoded!(kv::compact),
            Method::LeaseGrant => decoded!(lease::grant),
            Method::LeaseRevoke => decoded!(lease::revoke),
            Method::LeaseTimeToLive => decoded!(lease::time_to_live),
            Method::LeaseLeases => decoded!(lease::leases),
            Method::MemberList => decoded!(cluster::list),
            Method::MemberAdd => decoded!(cluster::add),
            Method::MemberRemove => decoded!(cluster::remove),
            Method::MemberUpdate => decoded!(cluster::update),
            Method::MemberPromote => decoded!(cluster::promote),
            Method::ClusterChange => decoded!(cluster::own_change),
            Method::ClusterDescribe => decoded!(cluster::describe),
            Method::Alarm => decoded!(maintenance::alarm),
            Method::Status => decoded!(maintenance::status),
            Method::Defragment => decoded!(maintenance::defragment),
            Method::Hash => decoded!(maintenance::hash),
            Method::HashKv => decoded!(maintenance::hash_kv),
            Method::MoveLeader => decoded!(maintenance::move_leader),
            Method::AuthStatus => decoded!(maintenance::auth_status),
            Method::HealthCheck => decoded!(maintenance::health),
            Method::RangeStream | Method::Watch | Method::LeaseKeepAlive => fail(no_stream()),
        }
    }

    /// What the stream that is opened by `call` ends with from this side.
    fn cut(&self, call: &Call, bell: &Rc<Bell>) -> Cut {
        self.cuts.cut(call.metadata, self.door.clone(), bell)
    }
}

/// A stream as what a call is answered with.
fn stream(source: impl Source + 'static) -> Opening {
    Later::now(Ok(Box::new(source)))
}

fn no_stream() -> Status {
    Status::new(Code::Unimplemented, "this stream is not implemented by this server")
}

impl Service for Front {
    /// To be called once every election timeout. Cuts streams that want a leader after three of
    /// these without one, and all within one when the state is proven wrong.
    fn look(&self) {
        self.cuts.look(&*self.door);
    }

    fn method(&self, path: &str) -> Result<(u16, Kind), Status> {
        methods::find(path).ok_or_else(|| methods::unknown(path))
    }

    fn stats(&self) -> &Rc<CallStats> {
        &self.stats
    }

    fn stopped(&self) -> Status {
        refusal::of(EtcdError::Stopped)
    }

    fn unary(&self, call: Call, message: Bytes) -> Answer {
        let method = methods::method(call.method);
        if let Some(status) = self.refused(method, call.metadata) {
            return fail(status);
        }
        if message.len() > self.limits.request_bytes_max && kv::is_proposed(method, &message) {
            return fail(refusal::unproposed(EtcdError::RequestTooLarge));
        }
        self.when_current((method, call.asker()), move |front| front.call(method, &call, message))
    }

    fn server_stream(&self, call: Call, message: Bytes) -> Opening {
        let method = methods::method(call.method);
        if let Some(status) = self.refused(method, call.metadata) {
            return Later::now(Err(status));
        }
        let cut = self.cut(&call, &Rc::default());
        self.when_current((method, Asker::nobody()), move |front| {
            let chunks = call.form.decode(message);
            match chunks.and_then(|request| Chunks::new(front, call, &request, cut)) {
                Ok(chunks) => stream(chunks),
                Err(status) => Later::now(Err(status)),
            }
        })
    }

    fn bidi(&self, call: Call, requests: Box<dyn Requests>) -> Opening {
        let method = methods::method(call.method);
        if let Some(status) = self.refused(method, call.metadata) {
            return Later::now(Err(status));
        }
        let bell = Rc::default();
        let cut = self.cut(&call, &bell);
        self.when_current((method, Asker::nobody()), move |front| match method {
            Method::Watch => stream(front.hub.open(call.form, requests, cut, &bell)),
            Method::LeaseKeepAlive => {
                stream(KeepAlives::new(front.door.clone(), call, requests, cut))
            }
            _ => Later::now(Err(no_stream())),
        })
    }

    fn http(&self, request: HttpRequest) -> Later<HttpReply> {
        if let Some(page) = self.host.page(&request) {
            return page;
        }
        let path = request.target.split('?').next();
        if request.method == "GET" && path == Some("/metrics") {
            let page = probe::metrics(&*self.door, &self.hub, &self.stats, &*self.host);
            return Later::now(page);
        }
        probe::serve(&self.door, &request.method, &request.target)
    }
}
