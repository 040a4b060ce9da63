//! Clients that put, compare-and-swap and read, and write down what they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use api::etcdserverpb as pb;
use base::Prng;
use bytes::BytesMut;
use client::{Channel, Failure, Outcome, frame, method};

use super::history::{Answer, Input, Op, Recorder, Seen};

/// Keys of a round: few, so that clients meet.
pub const KEYS: usize = 8;
const PAUSE_MICROS_MAX: u64 = 4_000;

/// The name of a key.
pub fn key(n: usize) -> String {
    format!("chaos/{n}")
}

/// The number in a key's name.
pub fn key_number(name: &[u8]) -> Option<usize> {
    std::str::from_utf8(name).ok()?.strip_prefix("chaos/")?.parse().ok()
}

/// What the clients of a round share.
pub struct Shared {
    pub recorder: Recorder,
    pub stop: AtomicBool,
    pub endpoints: Vec<String>,
    /// How often each member was killed: its process has another state after that.
    pub lives: Vec<AtomicU32>,
}

impl Shared {
    pub fn new(endpoints: Vec<String>) -> Arc<Self> {
        let lives = endpoints.iter().map(|_| AtomicU32::new(0)).collect();
        let (recorder, stop) = (Recorder::default(), AtomicBool::new(false));
        Arc::new(Self { recorder, stop, endpoints, lives })
    }
}

/// One client: a connection to each member, one request at a time.
pub struct Client {
    id: u32,
    shared: Arc<Shared>,
    channels: Vec<Channel>,
    random: Prng,
    member: usize,
    writes: u64,
    /// What the client last heard of each key's `mod_revision`.
    known: [i64; KEYS],
}

impl Client {
    pub fn new(id: u32, seed: u64, shared: Arc<Shared>) -> Self {
        let channels: Vec<_> = shared.endpoints.iter().map(|e| Channel::new(e)).collect();
        let mut random = Prng::new(seed ^ (u64::from(id) << 32));
        random.next_u64();
        let member = id as usize % channels.len();
        Self { id, shared, channels, random, member, writes: 0, known: [0; KEYS] }
    }

    /// Works until told to stop.
    pub async fn run(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let input = self.choose();
            let connected = self.ask(input).await;
            if !connected || self.random.below(40) == 0 {
                self.member = self.random.below(self.channels.len() as u64) as usize;
            }
            let pause = if connected { self.random.below(PAUSE_MICROS_MAX) } else { 10_000 };
            tokio::time::sleep(Duration::from_micros(pause)).await;
        }
    }

    fn choose(&mut self) -> Input {
        let key = self.random.below(KEYS as u64) as usize;
        match self.random.below(10) {
            0..4 => Input::Put { key, value: self.value() },
            4..7 => Input::Cas { key, expected: self.known[key], value: self.value() },
            7..9 => Input::Read { key, serializable: false },
            _ => Input::Read { key, serializable: true },
        }
    }

    /// A value nobody else writes; now and then a long one.
    fn value(&mut self) -> String {
        self.writes += 1;
        let filler = if self.random.below(16) == 0 { self.random.below(4096) as usize } else { 0 };
        format!("{}-{}-{}", self.id, self.writes, "x".repeat(filler))
    }

    /// One request; false when it failed, so that the client may try its luck elsewhere.
    async fn ask(&mut self, input: Input) -> bool {
        let timeout = Duration::from_millis(100 + self.random.below(500));
        // Half of the time the server knows when the client gives up, half it does not.
        let told = self.random.below(2) == 0;
        let member = self.member;
        let life = self.shared.lives[member].load(Ordering::SeqCst);
        let invoked = self.shared.recorder.now();
        let work = self.answer(&input, told.then_some(timeout));
        let answer = match tokio::time::timeout(timeout, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(failure)) => conclude(&failure),
            Err(_) => conclude(&Failure::Timeout),
        };
        let returned = self.shared.recorder.now();
        let same = life == self.shared.lives[member].load(Ordering::SeqCst);
        let known = &mut self.known[input.key()];
        let answered = answer.revision().is_some();
        match &answer {
            Answer::Wrote { revision } => *known = *revision,
            Answer::Found { seen, .. } if !input.is_serializable() => {
                *known = seen.as_ref().map_or(0, |seen| seen.mod_revision);
            }
            _ => {}
        }
        self.shared.recorder.push(Op {
            client: self.id,
            member,
            life: same.then_some(life),
            input,
            answer,
            invoked,
            returned,
        });
        answered
    }

    async fn answer(&self, input: &Input, told: Option<Duration>) -> Result<Answer, Failure> {
        match input {
            Input::Put { key, value } => {
                let request = put(*key, value);
                let answer: pb::PutResponse = self.call(method::kv::PUT, &request, told).await?;
                Ok(Answer::Wrote { revision: revision(answer.header)? })
            }
            Input::Read { key, serializable } => {
                let request = range(*key, *serializable);
                let answer: pb::RangeResponse =
                    self.call(method::kv::RANGE, &request, told).await?;
                Ok(Answer::Found { revision: revision(answer.header)?, seen: seen(&answer.kvs)? })
            }
            Input::Cas { key, expected, value } => {
                let request = cas(*key, *expected, value);
                let answer: pb::TxnResponse = self.call(method::kv::TXN, &request, told).await?;
                let revision = revision(answer.header)?;
                if answer.succeeded {
                    return Ok(Answer::Wrote { revision });
                }
                let found = answer.responses.into_iter().next().and_then(|r| r.response);
                let Some(pb::response_op::Response::ResponseRange(found)) = found else {
                    return Err(Failure::Broken("a transaction without its answer".to_owned()));
                };
                Ok(Answer::Found { revision, seen: seen(&found.kvs)? })
            }
        }
    }

    async fn call<A: api::Message + Default>(
        &self,
        path: &str,
        request: &impl api::Message,
        told: Option<Duration>,
    ) -> Result<A, Failure> {
        let channel = &self.channels[self.member];
        let mut call = channel.prepare(path);
        if let Some(timeout) = told {
            call = call.with("grpc-timeout", &format!("{}m", timeout.as_millis()));
        }
        let mut answer = BytesMut::from(channel.raw(&call, frame::encode(request)).await?);
        match frame::take(&mut answer)? {
            Some(message) => frame::decode(message),
            None => Err(Failure::Broken("an answer without a whole message".to_owned())),
        }
    }
}

/// A put, as the fence at a round's end also uses it.
pub fn put(key_of: usize, value: &str) -> pb::PutRequest {
    pb::PutRequest { key: key(key_of).into(), value: value.to_owned().into(), ..Default::default() }
}

/// A read of one key.
pub fn range(key_of: usize, serializable: bool) -> pb::RangeRequest {
    pb::RangeRequest { key: key(key_of).into(), serializable, ..Default::default() }
}

fn cas(key_of: usize, expected: i64, value: &str) -> pb::TxnRequest {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    use pb::request_op::Request;
    let op = |request| pb::RequestOp { request: Some(request) };
    pb::TxnRequest {
        compare: vec![pb::Compare {
            result: CompareResult::Equal as i32,
            target: CompareTarget::Mod as i32,
            key: key(key_of).into(),
            target_union: Some(TargetUnion::ModRevision(expected)),
            ..Default::default()
        }],
        success: vec![op(Request::RequestPut(put(key_of, value)))],
        failure: vec![op(Request::RequestRange(range(key_of, false)))],
    }
}

/// The revision in an answer's header.
pub fn revision(header: Option<pb::ResponseHeader>) -> Result<i64, Failure> {
    header.map(|h| h.revision).ok_or_else(|| Failure::Broken("no header".to_owned()))
}

fn seen(kvs: &[api::mvccpb::KeyValue]) -> Result<Option<Seen>, Failure> {
    let Some(kv) = kvs.first() else { return Ok(None) };
    let value = String::from_utf8(kv.value.to_vec())
        .map_err(|_| Failure::Broken("a value nobody wrote".to_owned()))?;
    Ok(Some(Seen { value, mod_revision: kv.mod_revision, version: kv.version }))
}

/// What a failure means for a write.
pub fn conclude(failure: &Failure) -> Answer {
    let why = failure.to_string();
    match failure.outcome() {
        Outcome::NotApplied => Answer::Refused { why },
        Outcome::Unknown => Answer::Unknown { why },
    }
}
