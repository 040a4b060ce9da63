//! The dispatcher: which question each call is.

use super::front::{Front, fail};
use super::lease::KeepAlives;
use super::methods::{self, Method};
use super::range_stream::Chunks;
use super::{cluster, kv, lease, maintenance, probe, refusal};
use api::error::{Code, EtcdError};
use bytes::Bytes;
use door::Door;
use later::{Asker, Later};
use net::{
    Answer, Call, CallStats, Host, HttpReply, HttpRequest, Kind, Limits, Opening, Requests,
    Service, Source, Status,
};
use std::rc::Rc;
use std::time::Duration;

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
