//! Loads a cluster quickly: full transactions, many at once on a few connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::etcdserverpb as pb;
use base::Prng;
use bytes::Bytes;
use client::{Channel, frame, method};
use tokio::task::JoinSet;

use super::stage::Stage;

/// Operations of a transaction: etcd's `--max-txn-ops`.
const OPS_MAX: u64 = 128;
const CHANNELS: usize = 4;
/// Requests under way at once.
const TXNS_OPEN: usize = 32;
const PUTS_OPEN: usize = 256;
const FILL_MAX: Duration = Duration::from_secs(600);

/// Keys of one kind: `prefix` and eight digits.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    pub prefix: &'static str,
    pub count: u64,
    pub value_bytes: usize,
    pub lease: i64,
}

impl Keys {
    fn put(&self, n: u64, seed: u64) -> pb::PutRequest {
        let value = value(n ^ (seed << 32), self.value_bytes);
        pb::PutRequest {
            key: key(self.prefix, n).into(),
            value: value.into(),
            lease: self.lease,
            ..Default::default()
        }
    }
}

/// The name of a key.
pub fn key(prefix: &str, n: u64) -> String {
    format!("{prefix}{n:08}")
}

/// Bytes that differ from key to key, from their first on: sorting by value is then no walk in
/// the order of keys.
fn value(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Prng::new(seed);
    let mut value = Vec::with_capacity(bytes + 8);
    while value.len() < bytes {
        value.extend_from_slice(&random.next_u64().to_le_bytes());
    }
    value.truncate(bytes);
    value
}

/// Writes every key once, in transactions; `seed` makes the values of a second pass others.
///
/// # Errors
/// A write that was not answered, or keys that are missing afterwards.
pub fn keys(stage: &Stage, keys: Keys, seed: u64) -> Result<()> {
    let txn = move |n: u64| {
        let puts = (n * OPS_MAX..keys.count.min((n + 1) * OPS_MAX)).map(|n| keys.put(n, seed));
        let op = |put| pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) };
        let success = puts.map(op).collect();
        frame::encode(&pb::TxnRequest { success, ..Default::default() })
    };
    let count = keys.count.div_ceil(OPS_MAX);
    send(stage, (method::kv::TXN, count, TXNS_OPEN), txn).context(keys.prefix)?;
    let (found, _) = stage.count(keys.prefix)?;
    ensure!(found == keys.count, "{} of {} {} are there", found, keys.count, keys.prefix);
    Ok(())
}

/// So many puts over the keys, one revision each.
///
/// # Errors
/// A put that was not answered.
pub fn puts(stage: &Stage, keys: Keys, count: u64) -> Result<()> {
    let put = move |n: u64| frame::encode(&keys.put(n % keys.count, n / keys.count));
    send(stage, (method::kv::PUT, count, PUTS_OPEN), put).context(keys.prefix)
}

/// Sends requests `0..count` to the leader, `open` at a time.
fn send(
    stage: &Stage,
    (path, count, open): (&'static str, u64, usize),
    request: impl Fn(u64) -> Bytes + Send + Sync + 'static,
) -> Result<()> {
    let began = Instant::now();
    let endpoint = stage.endpoint();
    let work = async move {
        let (next, request) = (Arc::new(AtomicU64::new(0)), Arc::new(request));
        let channels: Vec<_> = (0..CHANNELS).map(|_| Arc::new(Channel::new(&endpoint))).collect();
        let mut workers = JoinSet::new();
        for n in 0..open {
            let (next, request) = (Arc::clone(&next), Arc::clone(&request));
            let channel = Arc::clone(&channels[n % CHANNELS]);
            workers.spawn(async move {
                let call = channel.prepare(path);
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return Ok(());
                    }
                    channel.raw(&call, request(n)).await?;
                }
            });
        }
        while let Some(ended) = workers.join_next().await {
            ended?.map_err(|why: client::Failure| anyhow::anyhow!("loading: {why}"))?;
        }
        Ok(())
    };
    let done = stage.within(FILL_MAX, work)?;
    done.with_context(|| format!("{count} requests: not within {} s", FILL_MAX.as_secs()))?;
    eprintln!("  {count} requests in {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_length_and_differ_in_their_first_bytes() {
        let values: std::collections::BTreeSet<Vec<u8>> =
            (0..1_000).map(|n| value(n, 1_024)[..8].to_vec()).collect();
        assert_eq!(values.len(), 1_000);
        for bytes in [0, 1, 8, 100, 1_024] {
            assert_eq!(value(7, bytes).len(), bytes);
        }
    }

    #[test]
    fn keys_stand_in_the_order_of_their_numbers() {
        assert_eq!(key("a/", 7), "a/00000007");
        assert!(key("a/", 99) < key("a/", 100));
    }
}
