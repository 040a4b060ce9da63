//! One of the two servers: its processes, one connection, its watch streams.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::Message;
use api::etcdserverpb as pb;
use bytes::Bytes;
use client::{Channel, Failure, frame, method};

use super::answer::{self, Answer};
use super::probe;
use super::step::{Body, Step};
use super::watch::Streams;
use crate::cluster::{Cluster, Program};

/// Longer than any request of the trial may take on a busy machine.
pub(super) const CALL_MAX: Duration = Duration::from_secs(30);
/// So long after its connection broke, a process that goes on is taken to be alive.
const END_MAX: Duration = Duration::from_secs(10);
/// Characters of a log's last line that are shown.
const LOG_MAX: usize = 400;
const END_POLL: Duration = Duration::from_millis(10);
/// What both servers are started with, small enough that the limits are met.
pub const TXN_OPS_MAX: usize = 12;
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// How a pair of servers is started; both the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    pub members: usize,
    pub heartbeat_ms: u64,
    pub election_ms: u64,
}

impl Setup {
    /// The defaults of both.
    pub const fn of(members: usize) -> Self {
        Self { members, heartbeat_ms: 100, election_ms: 1_000 }
    }
}

/// A server under comparison.
pub struct Side {
    pub(super) channel: Channel,
    cluster: Cluster,
    pub(super) streams: Streams,
    /// The newest revision any answer named.
    pub(super) current: i64,
}

impl Side {
    /// Starts a fresh server; requests go to the last of its members.
    ///
    /// # Errors
    /// The server does not start.
    pub fn start(program: &Program, setup: Setup) -> Result<Self> {
        let ops = format!("--max-txn-ops={TXN_OPS_MAX}");
        let bytes = format!("--max-request-bytes={REQUEST_BYTES_MAX}");
        let heartbeat = format!("--heartbeat-interval={}", setup.heartbeat_ms);
        let election = format!("--election-timeout={}", setup.election_ms);
        let mut flags = vec![&ops[..], &bytes[..], &heartbeat[..], &election[..]];
        if matches!(program, Program::Etcd) {
            // Not under trial, and this way it leaves the disk to the other.
            flags.extend(["--unsafe-no-fsync", "--log-level=error"]);
        } else {
            flags.push("--log-level=error");
        }
        let cluster = Cluster::start(program, setup.members, &flags)?;
        let channel = Channel::new(&cluster.endpoint(setup.members - 1));
        let keeps_compacted = matches!(program, Program::Etcd);
        let streams = Streams::new(keeps_compacted);
        Ok(Self { channel, cluster, streams, current: 1 })
    }

    /// Sends one resolved step and makes its answer comparable.
    ///
    /// # Errors
    /// The system call that asks after the processes.
    pub async fn perform(&mut self, step: &Step) -> Result<Answer> {
        let mut answer = self.dispatch(step).await;
        self.current = self.current.max(answer.revision);
        if let (Step::Compact(compact), None) = (step, &answer.refused) {
            self.streams.compacted = compact.revision;
        }
        if answer.text.starts_with("connect:") || answer.text.starts_with("broken:") {
            answer.ended = self.end().await?;
        }
        Ok(answer)
    }

    /// A fresh etcd serves before its storage has the version it will have.
    ///
    /// # Errors
    /// It does not answer, or does not learn it in time.
    pub async fn await_storage_version(&self) -> Result<()> {
        let deadline = Instant::now() + CALL_MAX;
        loop {
            let path = method::maintenance::STATUS;
            let request = pb::StatusRequest::default();
            let status: pb::StatusResponse =
                self.channel.call_within(CALL_MAX, path, &request).await?;
            let minor = status.version.rsplit_once('.').map_or("", |(minor, _)| minor);
            if status.storage_version.starts_with(minor) && !minor.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "etcd has no storage version");
            tokio::time::sleep(END_POLL).await;
        }
    }

    /// Kills every member but the one that is asked.
    pub fn kill_others(&mut self) {
        (0..self.cluster.len() - 1).for_each(|at| self.cluster.kill(at));
    }

    /// One step that needs no watch stream.
    ///
    /// # Panics
    /// For a step that does.
    pub async fn one(&self, step: &Step) -> Answer {
        match step {
            Step::Compact(_) | Step::Range(_) | Step::Put(_) | Step::Delete(_) | Step::Txn(_) => {
                self.kv(step).await
            }
            Step::RangeStream(request) => self.range_stream(request).await,
            Step::Raw { path, body, .. } => self.raw(path, body).await,
            Step::Probe { target } => probe::get(self.channel.authority(), target).await,
            Step::Grant(_)
            | Step::GrantAny { .. }
            | Step::Revoke(_)
            | Step::KeepAlive(_)
            | Step::TimeToLive(_)
            | Step::Leases
            | Step::Expire { .. } => self.lease(step).await,
            Step::HashKv(_)
            | Step::Hash
            | Step::Status
            | Step::Alarm(_)
            | Step::Defragment
            | Step::Members { .. }
            | Step::MoveLeader { .. } => self.maintenance(step).await,
            Step::Watch { .. } | Step::WatchEnd => unreachable!("streams have a state"),
        }
    }

    /// How a member ended after its connection broke, if it did: the connection goes first.
    async fn end(&mut self) -> Result<Option<String>> {
        let deadline = Instant::now() + END_MAX;
        while Instant::now() < deadline {
            for at in 0..self.cluster.len() {
                if let Some(status) = self.cluster.ended(at)? {
                    let log = std::fs::read_to_string(self.cluster.log(at)).unwrap_or_default();
                    let last = log.lines().rev().find(|line| !line.trim().is_empty());
                    let last: String = last.unwrap_or_default().chars().take(LOG_MAX).collect();
                    return Ok(Some(format!("{status}, {last}")));
                }
            }
            tokio::time::sleep(END_POLL).await;
        }
        Ok(None)
    }

    async fn dispatch(&mut self, step: &Step) -> Answer {
        match step {
            Step::Compact(_) => match self.streams.settle().await {
                Ok(()) => self.one(step).await,
                Err(failure) => Answer::failed(&failure),
            },
            Step::Watch { stream, request } => {
                self.streams.perform(&self.channel, *stream, request).await
            }
            Step::WatchEnd => {
                let fragments = self.streams.fragments();
                Answer { fragments, ..self.streams.end(self.current).await }
            }
            _ => self.one(step).await,
        }
    }

    /// One unary call; `settle` makes the answer comparable and gives its header.
    pub(super) async fn unary<A: Message + Default + Debug>(
        &self,
        path: &str,
        request: &impl Message,
        settle: impl FnOnce(&mut A) -> Option<pb::ResponseHeader>,
    ) -> Answer {
        match self.channel.call_within::<A>(CALL_MAX, path, request).await {
            Err(failure) => Answer::failed(&failure),
            Ok(mut message) => {
                let header = settle(&mut message);
                Answer::ok(&message, header)
            }
        }
    }

    async fn kv(&self, step: &Step) -> Answer {
        match step {
            Step::Range(request) => {
                self.unary(method::kv::RANGE, request, |a: &mut pb::RangeResponse| {
                    answer::range(request, a);
                    a.header
                })
                .await
            }
            Step::Put(request) => {
                self.unary(method::kv::PUT, request, |a: &mut pb::PutResponse| {
                    answer::blank(&mut a.header);
                    a.header
                })
                .await
            }
            Step::Delete(request) => {
                let path = method::kv::DELETE_RANGE;
                self.unary(path, request, |a: &mut pb::DeleteRangeResponse| {
                    answer::blank(&mut a.header);
                    a.header
                })
                .await
            }
            Step::Txn(request) => {
                self.unary(method::kv::TXN, request, |a: &mut pb::TxnResponse| {
                    answer::txn(request, a);
                    a.header
                })
                .await
            }
            Step::Compact(request) => {
                self.unary(method::kv::COMPACT, request, |a: &mut pb::CompactionResponse| {
                    answer::blank(&mut a.header);
                    a.header
                })
                .await
            }
            _ => unreachable!("the dispatcher knows the service"),
        }
    }

    /// The chunks are merged: how many there are is no contract, that only the last has a header
    /// is.
    async fn range_stream(&self, request: &pb::RangeRequest) -> Answer {
        let work = async {
            let call = self.channel.prepare("/etcdserverpb.KV/RangeStream");
            let mut stream = self.channel.stream::<pb::RangeStreamResponse>(&call).await?;
            stream.send(request)?;
            stream.finish()?;
            let mut whole = pb::RangeResponse::default();
            let mut early_header = false;
            while let Some(chunk) = stream.next().await? {
                early_header |= whole.header.is_some();
                let part = chunk.range_response.unwrap_or_default();
                whole.header = part.header.or(whole.header);
                whole.kvs.extend(part.kvs);
                whole.more |= part.more;
                whole.count += part.count;
            }
            Ok::<_, Failure>((whole, early_header))
        };
        match tokio::time::timeout(CALL_MAX, work).await {
            Err(_) => Answer::failed(&Failure::Timeout),
            Ok(Err(failure)) => Answer::failed(&failure),
            Ok(Ok((mut whole, early_header))) => {
                answer::range(request, &mut whole);
                let mut answer = Answer::ok(&whole, whole.header);
                if early_header {
                    answer.text.push_str(" with a header before the last chunk");
                }
                answer
            }
        }
    }

    async fn raw(&self, path: &str, body: &Body) -> Answer {
        let message = match body {
            Body::Bytes(bytes) => framed(bytes),
            Body::Wire(bytes) => Bytes::from_static(bytes),
            Body::Put { key, value_bytes } => frame::encode(&pb::PutRequest {
                key: key.clone(),
                value: vec![b'x'; *value_bytes].into(),
                ..pb::PutRequest::default()
            }),
            Body::BigRead { key, value_bytes } => {
                let range = pb::RangeRequest {
                    key: key.clone(),
                    range_end: vec![b'z'; *value_bytes].into(),
                    count_only: true,
                    ..pb::RangeRequest::default()
                };
                if path.ends_with("/Range") {
                    frame::encode(&range)
                } else {
                    let request = Some(pb::request_op::Request::RequestRange(range));
                    let success = vec![pb::RequestOp { request }];
                    frame::encode(&pb::TxnRequest { success, ..pb::TxnRequest::default() })
                }
            }
        };
        let call = self.channel.prepare(path);
        match tokio::time::timeout(CALL_MAX, self.channel.raw(&call, message)).await {
            Err(_) => Answer::failed(&Failure::Timeout),
            Ok(Err(failure)) => Answer::failed(&failure),
            Ok(Ok(_)) => Answer { text: "answered".into(), ..Answer::default() },
        }
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut out = frame::start(message.len());
    out.extend_from_slice(message);
    out.freeze()
}

/// Both servers, always given the same.
pub struct Pair {
    pub quorate: Side,
    pub etcd: Side,
    /// The longest that a step took which starts the time of a lease or reads it.
    pub slowest: Duration,
}

impl Pair {
    /// # Errors
    /// One of them does not start.
    pub fn start(quorate: &Program, setup: Setup) -> Result<Self> {
        let (ours, theirs) = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| Side::start(&Program::Etcd, setup));
            let ours = Side::start(quorate, setup);
            (ours, theirs.join().expect("starting a process does not panic"))
        });
        let quorate = ours.context("start quorate")?;
        Ok(Self { quorate, etcd: theirs.context("start etcd")?, slowest: Duration::ZERO })
    }

    /// One resolved step on both at once.
    ///
    /// # Errors
    /// A system call.
    pub async fn perform(&mut self, step: &Step) -> Result<(Answer, Answer)> {
        let began = Instant::now();
        let (ours, theirs) = tokio::join!(self.quorate.perform(step), self.etcd.perform(step));
        if matches!(step, Step::Grant(_) | Step::KeepAlive(_) | Step::TimeToLive(_)) {
            self.slowest = self.slowest.max(began.elapsed());
        }
        Ok((ours.context("quorate")?, theirs.context("etcd")?))
    }
}
