//! One member of three that is left alone: what it answers without a leader. Once in a full run.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use api::etcdserverpb as pb;
use bytes::Bytes;

use super::answer::Answer;
use super::side::{Pair, Setup, Side};
use super::step::Step;
use crate::cluster::Program;

const MEMBERS: usize = 3;
const LEASE: i64 = 7;
const LEADERLESS_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// What etcd answers to a read and to a proposal that waited for a leader in vain, and in place of
/// both quorate: a row of the wanted differences.
const READ: &str = "etcdserver: request timed out";
const PROPOSAL: &str = "status 4: context deadline exceeded";
const NO_LEADER: &str = "etcdserver: no leader";

/// Leaves one member of three alone, on both sides, and compares what it answers.
///
/// # Errors
/// A server does not start, or an unwanted difference.
pub async fn run(quorate: &Program) -> Result<()> {
    let mut pair = Pair::start(quorate, Setup::of(MEMBERS))?;
    pair.etcd.await_storage_version().await?;
    let key = Bytes::from_static(b"k");
    let grant = Step::Grant(pb::LeaseGrantRequest { ttl: 1_000, id: LEASE });
    let put = pb::PutRequest { key, lease: LEASE, ..pb::PutRequest::default() };
    for step in [grant, Step::Put(put)] {
        let (ours, theirs) = pair.perform(&step).await?;
        ensure!(ours.agrees(&theirs, pair.slowest), "{step:?}: {ours:?}, {theirs:?}");
    }
    for side in [&mut pair.quorate, &mut pair.etcd] {
        side.leave_alone().await?;
    }
    let steps = steps();
    let (ours, theirs) = tokio::join!(ask(&pair.quorate, &steps), ask(&pair.etcd, &steps));
    let mut unwanted = 0;
    for ((step, ours), theirs) in steps.iter().zip(&ours).zip(&theirs) {
        if ours.agrees(theirs, pair.slowest) || says_no_leader(&ours.text, &theirs.text) {
            continue;
        }
        println!("alone: {step:?}\n  quorate: {}\n  etcd:    {}", ours.text, theirs.text);
        unwanted += 1;
    }
    println!("one of three left alone: {} requests, {unwanted} unwanted differences", steps.len());
    if unwanted > 0 {
        bail!("without a leader the answers differ")
    }
    Ok(())
}

/// Whether they differ only in the text that tells why a request waited in vain.
fn says_no_leader(ours: &str, theirs: &str) -> bool {
    // The length of a probe's body follows its text.
    let body = |text: &str| text.rsplit_once("bytes: ").map_or("", |(_, body)| body).to_owned();
    let read = theirs.replace(READ, NO_LEADER);
    ours == read
        || (!body(ours).is_empty() && body(ours) == body(&read))
        || (theirs == PROPOSAL && ours == format!("status 14: {NO_LEADER}"))
}

fn steps() -> Vec<Step> {
    let key = Bytes::from_static(b"k");
    let range = pb::RangeRequest { key: key.clone(), ..pb::RangeRequest::default() };
    let serializable = pb::RangeRequest { serializable: true, ..range.clone() };
    let put = pb::PutRequest { key: key.clone(), ..pb::PutRequest::default() };
    let op = |request| pb::RequestOp { request: Some(request) };
    let read = op(pb::request_op::Request::RequestRange(range.clone()));
    let read_here = op(pb::request_op::Request::RequestRange(serializable.clone()));
    let write = op(pb::request_op::Request::RequestPut(put.clone()));
    let txn = |op| Step::Txn(pb::TxnRequest { success: vec![op], ..pb::TxnRequest::default() });
    let alarm = |action| Step::Alarm(pb::AlarmRequest { action, ..pb::AlarmRequest::default() });
    let left = |id| Step::TimeToLive(pb::LeaseTimeToLiveRequest { id, keys: true });
    let mut steps = vec![
        Step::RangeStream(range.clone()),
        Step::RangeStream(serializable.clone()),
        Step::Range(range),
        Step::Range(serializable),
        txn(read),
        txn(read_here),
        txn(write),
        Step::Put(put),
        Step::Delete(pb::DeleteRangeRequest { key, ..pb::DeleteRangeRequest::default() }),
        Step::Compact(pb::CompactionRequest { revision: 1, physical: false }),
        Step::Grant(pb::LeaseGrantRequest { ttl: 1_000, id: 8 }),
        Step::Revoke(pb::LeaseRevokeRequest { id: LEASE }),
        Step::KeepAlive(vec![LEASE]),
        left(LEASE),
        left(99),
        Step::Leases,
        Step::Members { linearizable: false },
        Step::Members { linearizable: true },
        Step::HashKv(pb::HashKvRequest { revision: 0 }),
        Step::Hash,
        Step::Status,
        Step::Defragment,
        Step::MoveLeader { target: 1 },
        alarm(0),
        alarm(1),
    ];
    for target in ["/health", "/health?serializable=true", "/livez", "/readyz?verbose"] {
        steps.push(Step::Probe { target });
    }
    steps
}

/// All at once: most of them wait as long as a server lets them.
async fn ask(side: &Side, steps: &[Step]) -> Vec<Answer> {
    let mut waiting: Vec<_> = steps.iter().map(|step| Box::pin(side.one(step))).collect();
    let mut answers: Vec<Option<Answer>> = vec![None; steps.len()];
    poll_fn(|context| {
        for (work, answer) in waiting.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(ready) = Pin::new(work).poll(context)
            {
                *answer = Some(ready);
            }
        }
        if answers.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.into_iter().map(|answer| answer.expect("all are ready")).collect()
}

impl Side {
    /// Kills every member but the one that is asked, and waits until that one knows no leader.
    async fn leave_alone(&mut self) -> Result<()> {
        self.kill_others();
        let deadline = Instant::now() + LEADERLESS_MAX;
        loop {
            let status = self.one(&Step::Status).await;
            // Fields of value 0 are printed, too.
            if status.text.contains("leader: 0,") {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "a leader without a quorum: {}", status.text);
            tokio::time::sleep(POLL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::says_no_leader;

    #[test]
    fn only_the_reason_of_a_wait_in_vain_may_differ() {
        let ours = "status 14: etcdserver: no leader";
        assert!(says_no_leader(ours, "status 14: etcdserver: request timed out"));
        assert!(says_no_leader(ours, "status 4: context deadline exceeded"));
        assert!(!says_no_leader(ours, "status 14: etcdserver: server stopped"));
        assert!(!says_no_leader("status 4: context deadline exceeded", ours));
        let probe = |bytes, why| format!("http 503 in {bytes} bytes: [-]linearizable_read {why}");
        let theirs = probe(60, "etcdserver: request timed out");
        assert!(says_no_leader(&probe(52, "etcdserver: no leader"), &theirs));
        assert!(!says_no_leader(&probe(52, "etcdserver: leader changed"), &theirs));
    }
}
