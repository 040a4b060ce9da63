//! The dispatcher: one call in, one engine request out.

use super::cut::Cuts;
use super::engine::{Engine, Failure};
use super::methods::{self, Method};
use super::reads::Reads;
use super::watch::Hub;
use super::{cluster, convert, lease, maintenance, probe, range_stream, refusal};
use crate::grpc::{
    CallStats, Caller, GrpcLimits, HttpDone, Kind, Metadata, RequestStream, Responder, Service,
    Status, StreamSender,
};
use api::Message;
use api::error::{Code, EtcdError};
use api::etcdserverpb as pb;
use bytes::Bytes;
use mvcc::{Command, Error, Response};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// etcd's v3 API over one engine.
pub struct Front {
    pub(super) engine: Rc<dyn Engine>,
    pub(super) limits: GrpcLimits,
    pub(super) hub: Rc<Hub>,
    reads: Rc<Reads>,
    me: Weak<Self>,
    cuts: Rc<Cuts>,
    stats: Rc<CallStats>,
}

impl Front {
    /// Also registers the watch hub with the engine: build it before anything is served.
    pub fn new(engine: Rc<dyn Engine>, limits: GrpcLimits) -> Rc<Self> {
        let hub = Hub::new(engine.clone(), limits.message_bytes_max());
        let (reads, cuts) = (Rc::default(), Rc::new(Cuts::new()));
        let stats = CallStats::new(methods::table().len());
        Rc::new_cyclic(|me| Self { engine, limits, hub, reads, me: me.clone(), cuts, stats })
    }

    /// Serves reads that had to wait. Cuts streams that want a leader after three of these without
    /// one, and all within one when the state is proven wrong. Must be called inside a `LocalSet`,
    /// once.
    pub fn monitor(&self, election_timeout: Duration) {
        tokio::task::spawn_local(Rc::clone(&self.reads).pump());
        let cuts = Rc::clone(&self.cuts);
        tokio::task::spawn_local(cuts.monitor(self.engine.clone(), election_timeout));
    }

    /// `--watch-progress-notify-interval`, for watch streams opened from now on.
    pub fn set_watch_progress_interval(&self, interval: Duration) {
        self.hub.set_progress_interval(interval);
    }

    /// Why a call ends before it begins, if so.
    fn refused(&self, method: Method, metadata: Metadata) -> Option<Status> {
        let no_data = || {
            let failure = self.engine.serves_no_data().filter(|_| method.needs_data());
            failure.filter(|failure| *failure != Failure::Corrupt || !method.compares_data())
        };
        let failure = match no_data() {
            Some(failure) => failure,
            None if metadata.has_leader && self.engine.status().leader == 0 => {
                Failure::NoLeader(self.engine.why())
            }
            None => return None,
        };
        Some(refusal::status(failure))
    }

    /// Runs `serve` once this member shows at least what it showed before its start; with why not,
    /// when it does not get there within the time that a read may take.
    fn when_current(
        &self,
        method: Method,
        caller: Caller,
        serve: impl FnOnce(&Self, Result<(), Status>) + 'static,
    ) {
        let waits = method.shows_revision() && self.engine.serves_no_data().is_none();
        if !waits || self.engine.is_current() {
            return serve(self, Ok(()));
        }
        let me = self.me.clone();
        let done = move |result: Result<(), Failure>| {
            // Without its front the member has ended, and the call with it.
            if let Some(front) = me.upgrade() {
                serve(&front, result.map_err(refusal::status));
            }
        };
        self.engine.when_current(caller, Box::new(done));
    }

    /// Sends a write and answers with `reply` once it applied here.
    pub(super) fn submit<M: Message + 'static>(
        &self,
        command: Result<Command, EtcdError>,
        responder: Responder,
        reply: impl FnOnce(pb::ResponseHeader, Response) -> Option<M> + 'static,
    ) {
        let command = match command {
            Ok(command) => command,
            Err(error) => return responder.fail(&Status::from(error).outcome("not-applied")),
        };
        let (engine, caller) = (self.engine.clone(), responder.caller());
        if !caller.may_write() {
            // Its answers lie here unread; those of writes cannot wait for room.
            return responder.fail(&refusal::status(Failure::Overloaded(engine.why())));
        }
        let done = move |result: Result<Response, Failure>| match result {
            Err(failure) => responder.fail(&refusal::status(failure)),
            Ok(response) => match reply(convert::header(engine.header()), response) {
                Some(message) => responder.ok(&message),
                None => {
                    let text = "answer of another kind than the request";
                    responder.fail(&Status::new(Code::Internal, text));
                }
            },
        };
        self.engine.submit(caller, command, Box::new(done));
    }

    fn range(&self, request: &pb::RangeRequest, responder: Responder) {
        let request = match convert::range_request(request) {
            Ok(request) => request,
            Err(error) => return responder.fail(&error.into()),
        };
        let serializable = request.serializable;
        self.read(serializable, responder, move |engine, responder| {
            match engine.view().range(&request) {
                Err(error) => responder.fail(&store_failure(error)),
                Ok(response) => {
                    let mut header = convert::header(engine.header());
                    header.revision = response.revision;
                    responder.ok(&convert::range_response(&response, Some(header)));
                }
            }
        });
    }

    /// Reads from the state of this member: as it is, or once everything committed before the
    /// call is in it. The state may be later than that by the time the read has its turn.
    fn read(
        &self,
        serializable: bool,
        responder: Responder,
        work: impl FnOnce(&dyn Engine, Responder) + 'static,
    ) {
        let (engine, reads) = (self.engine.clone(), Rc::clone(&self.reads));
        let caller = responder.caller();
        let serve = move |responder: Responder| {
            reads.serve(responder, move |responder| match engine.serves_no_data() {
                Some(failure) => responder.fail(&refusal::status(failure)),
                None => work(&*engine, responder),
            });
        };
        if serializable {
            return serve(responder);
        }
        let done = move |result: Result<(), Failure>| match result {
            Err(failure) => responder.fail(&refusal::status(failure)),
            Ok(()) => serve(responder),
        };
        self.engine.barrier(caller, Box::new(done));
    }

    fn put(&self, request: &pb::PutRequest, responder: Responder) {
        let command = convert::put_request(request).map(Command::Put);
        self.submit(command, responder, |mut header, response| {
            let Response::Put(put) = response else { return None };
            header.revision = put.revision;
            Some(convert::put_response(&put, Some(header)))
        });
    }

    fn delete(&self, request: &pb::DeleteRangeRequest, responder: Responder) {
        let command = convert::delete_request(request).map(Command::Delete);
        self.submit(command, responder, |mut header, response| {
            let Response::Delete(delete) = response else { return None };
            header.revision = delete.revision;
            Some(convert::delete_response(&delete, Some(header)))
        });
    }

    fn compact(&self, request: &pb::CompactionRequest, responder: Responder) {
        let command = Ok(Command::Compact { revision: request.revision });
        self.submit(command, responder, |mut header, response| {
            let Response::Compact { revision } = response else { return None };
            header.revision = header.revision.max(revision);
            Some(pb::CompactionResponse { header: Some(header) })
        });
    }

    /// A transaction that cannot write is a read: linearizable unless every range in it asks for
    /// a serializable one. One without any range is linearizable, unlike etcd's.
    fn txn(&self, request: &pb::TxnRequest, responder: Responder) {
        let request = match convert::txn_request(request, self.engine.txn_ops_max()) {
            Ok(request) => request,
            Err(error) => return responder.fail(&Status::from(error).outcome("not-applied")),
        };
        if !request.is_read_only() {
            return self.submit(Ok(Command::Txn(request)), responder, |mut header, response| {
                let Response::Txn(txn) = response else { return None };
                header.revision = txn.revision;
                Some(convert::txn_response(&txn, Some(header)))
            });
        }
        let serializable = is_serializable(&request);
        self.read(serializable, responder, move |engine, responder| {
            match engine.read_txn_local(&request) {
                Err(error) => responder.fail(&store_failure(error)),
                Ok(response) => {
                    let mut header = convert::header(engine.header());
                    header.revision = response.revision;
                    responder.ok(&convert::txn_response(&response, Some(header)));
                }
            }
        });
    }

    fn member_list(&self, request: &pb::MemberListRequest, responder: Responder) {
        let (engine, caller) = (self.engine.clone(), responder.caller());
        let done = move |result: Result<(), Failure>| match result {
            Err(failure) => responder.fail(&refusal::status(failure)),
            Ok(()) => responder.ok(&cluster::list(&*engine)),
        };
        if request.linearizable {
            self.engine.barrier(caller, Box::new(done));
        } else {
            done(Ok(()));
        }
    }

    fn call(&self, method: Method, message: Bytes, responder: Responder) -> Option<Responder> {
        /// Decodes the message or gives the responder back.
        macro_rules! decoded {
            ($request:ident => $answer:expr) => {
                match Message::decode(message) {
                    Ok($request) => {
                        $answer;
                        None
                    }
                    Err(_) => Some(responder),
                }
            };
        }
        match method {
            Method::Range => decoded!(r => self.range(&r, responder)),
            Method::Put => decoded!(r => self.put(&r, responder)),
            Method::DeleteRange => decoded!(r => self.delete(&r, responder)),
            Method::Txn => decoded!(r => self.txn(&r, responder)),
            Method::Compact => decoded!(r => self.compact(&r, responder)),
            Method::LeaseGrant => decoded!(r => lease::grant(self, &r, responder)),
            Method::LeaseRevoke => decoded!(r => lease::revoke(self, &r, responder)),
            Method::LeaseTimeToLive => decoded!(r => lease::time_to_live(self, &r, responder)),
            Method::LeaseLeases => decoded!(r => lease::leases(self, &r, responder)),
            Method::MemberList => decoded!(r => self.member_list(&r, responder)),
            Method::MemberAdd => decoded!(r => cluster::add(self, &r, responder)),
            Method::MemberRemove => decoded!(r => cluster::remove(self, &r, responder)),
            Method::MemberUpdate => decoded!(r => cluster::update(self, &r, responder)),
            Method::MemberPromote => decoded!(r => cluster::promote(self, &r, responder)),
            Method::ClusterChange => decoded!(r => cluster::own_change(self, &r, responder)),
            Method::ClusterDescribe => decoded!(r => cluster::describe(self, &r, responder)),
            Method::Alarm => decoded!(r => maintenance::alarm(self, &r, responder)),
            Method::Status => decoded!(r => maintenance::status(self, &r, responder)),
            Method::Defragment => decoded!(r => maintenance::defragment(&r, responder)),
            Method::Hash => decoded!(r => maintenance::hash(self, &r, responder)),
            Method::HashKv => decoded!(r => maintenance::hash_kv(self, &r, responder)),
            Method::MoveLeader => decoded!(r => maintenance::move_leader(self, &r, responder)),
            Method::AuthStatus => decoded!(r => maintenance::auth_status(self, &r, responder)),
            Method::HealthCheck => decoded!(r => maintenance::health(self, &r, responder)),
            Method::RangeStream | Method::Watch | Method::LeaseKeepAlive => Some(responder),
        }
    }
}

fn is_serializable(txn: &mvcc::TxnRequest) -> bool {
    fn ranges(txn: &mvcc::TxnRequest, every: &mut bool, any: &mut bool) {
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                mvcc::RequestOp::Range(range) => {
                    *any = true;
                    *every &= range.serializable;
                }
                mvcc::RequestOp::Txn(txn) => ranges(txn, every, any),
                mvcc::RequestOp::Put(_) | mvcc::RequestOp::Delete(_) => *every = false,
            }
        }
    }
    let (mut every, mut any) = (true, false);
    ranges(txn, &mut every, &mut any);
    every && any
}

/// True when the request would go through the log; only such a one can be too large for it.
fn is_proposed(method: Method, message: &Bytes) -> bool {
    match method {
        Method::Put | Method::DeleteRange | Method::LeaseGrant => true,
        Method::Txn => pb::TxnRequest::decode(message.clone()).is_ok_and(|txn| {
            let range = |op: &pb::RequestOp| {
                matches!(op.request, Some(pb::request_op::Request::RequestRange(_)))
            };
            !txn.success.iter().chain(&txn.failure).all(range)
        }),
        _ => false,
    }
}

fn undecodable() -> Status {
    Status::new(Code::Internal, "grpc: error unmarshalling request")
}

impl Service for Front {
    fn method(&self, path: &str) -> Option<(u16, Kind)> {
        methods::find(path)
    }

    fn stats(&self) -> &Rc<CallStats> {
        &self.stats
    }

    fn unary(&self, method: u16, metadata: Metadata, message: Bytes, responder: Responder) {
        let method = methods::method(method);
        if let Some(status) = self.refused(method, metadata) {
            return responder.fail(&status);
        }
        if message.len() > self.limits.request_bytes_max && is_proposed(method, &message) {
            return responder
                .fail(&Status::from(EtcdError::RequestTooLarge).outcome("not-applied"));
        }
        self.when_current(method, responder.caller(), move |front, current| {
            if let Err(status) = current {
                return responder.fail(&status);
            }
            if let Some(responder) = front.call(method, message, responder) {
                responder.fail(&undecodable());
            }
        });
    }

    fn server_stream(&self, method: u16, metadata: Metadata, message: Bytes, out: StreamSender) {
        if let Some(status) = self.refused(methods::method(method), metadata) {
            return out.fail(&status);
        }
        let cut = self.cuts.cut(metadata, self.engine.clone(), out.ended());
        let method = methods::method(method);
        self.when_current(method, Caller::nobody(), move |front, current| {
            match current
                .and_then(|()| pb::RangeRequest::decode(message).map_err(|_| undecodable()))
            {
                Ok(request) => range_stream::run(front, &request, cut, out),
                Err(status) => out.fail(&status),
            }
        });
    }

    fn bidi(&self, method: u16, metadata: Metadata, input: RequestStream, out: StreamSender) {
        if let Some(status) = self.refused(methods::method(method), metadata) {
            return out.fail(&status);
        }
        let cut = self.cuts.cut(metadata, self.engine.clone(), out.ended());
        let method = methods::method(method);
        self.when_current(method, Caller::nobody(), move |front, current| {
            match (current, method) {
                (Err(status), _) => out.fail(&status),
                (_, Method::Watch) => front.hub.clone().open(input, cut, out),
                (_, Method::LeaseKeepAlive) => {
                    lease::keep_alive(front.engine.clone(), input, cut, out);
                }
                _ => out.fail(&Status::unimplemented("this stream")),
            }
        });
    }

    fn http(&self, method: &str, target: &str, done: HttpDone) {
        if method == "GET" && target.split('?').next() == Some("/metrics") {
            return done(probe::metrics(&*self.engine, &self.hub, &self.stats));
        }
        probe::serve(&self.engine, method, target, done);
    }
}

/// A store error as the failure of an engine call.
pub(super) fn store_failure(error: Error) -> Status {
    refusal::status(Failure::Store(error))
}
