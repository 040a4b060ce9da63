//! The Rust `etcd-client`, unchanged. Expected codes and texts are those of etcd 3.7.

mod admin;
mod failover;
mod kv;
mod lease;
mod txn;
mod watch;

use super::interactive::WAIT_MAX;
use super::member::Cluster;
use etcd_client::{Client, Error, GetOptions, KeyValue, ResponseHeader};
use std::future::Future;

pub const INVALID_ARGUMENT: i32 = 3;
pub const NOT_FOUND: i32 = 5;
pub const FAILED_PRECONDITION: i32 = 9;
pub const OUT_OF_RANGE: i32 = 11;
pub const UNIMPLEMENTED: i32 = 12;

pub const COMPACTED: (i32, &str) =
    (OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted");
pub const FUTURE: (i32, &str) =
    (OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision");
pub const NO_LEASE: (i32, &str) = (NOT_FOUND, "etcdserver: requested lease not found");
pub const EMPTY_KEY: (i32, &str) = (INVALID_ARGUMENT, "etcdserver: key is not provided");
pub const NO_KEY: (i32, &str) = (INVALID_ARGUMENT, "etcdserver: key not found");
pub const DUPLICATE: (i32, &str) =
    (INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request");

/// Runs a test's future on a runtime of its own.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

/// The outcome of a future that must be ready in time.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(WAIT_MAX, future).await;
    result.unwrap_or_else(|_| panic!("{what}: not within {WAIT_MAX:?}"))
}

/// A client of all members: its requests go to any of them.
pub async fn client(cluster: &Cluster) -> Client {
    let endpoints: Vec<_> = (0..cluster.len()).map(|at| cluster.endpoint(at)).collect();
    within("connect", Client::connect(endpoints, None)).await.expect("connected")
}

/// A client of one member.
pub async fn client_at(cluster: &Cluster, at: usize) -> Client {
    let connect = Client::connect([cluster.endpoint(at)], None);
    within("connect", connect).await.expect("connected")
}

/// The gRPC code and text of a refusal.
#[track_caller]
pub fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> (i32, String) {
    match result {
        Err(Error::GRpcStatus(status)) => (status.code() as i32, status.message().to_owned()),
        other => panic!("a refusal was expected: {other:?}"),
    }
}

#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, expected: (i32, &str)) {
    let (code, text) = refusal(result);
    assert_eq!((code, text.as_str()), expected);
}

/// The revision in a header that must be there.
#[track_caller]
pub fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.expect("a header").revision()
}

/// `key=value` of each pair, in order.
pub fn pairs(kvs: &[KeyValue]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    kvs.iter().map(|kv| format!("{}={}", text(kv.key()), text(kv.value()))).collect()
}

/// All pairs below a prefix.
pub async fn below(client: &mut Client, prefix: &str) -> Vec<String> {
    let get = client.get(prefix, Some(GetOptions::new().with_prefix())).await.expect("a read");
    pairs(get.kvs())
}
