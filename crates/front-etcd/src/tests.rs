//! The request layer end to end: a real socket and an h2 client against a store in memory.

mod apart;
mod bounds;
mod client;
mod departures;
#[path = "../../door/tests/it/fake.rs"]
mod fake;
mod long;
mod probes;
mod queues;
mod streams;
mod watches;
mod writer;

use api::etcdserverpb as pb;
use client::Client;
use fake::FakeDoor;
use later::Later;
use net::{Host, HttpReply, HttpRequest, KeepAlive, Limits, Server, Service};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Runs `test` against a fresh server on this thread.
fn with_server<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr) -> F) {
    with_door(Limits::default(), |address, _| test(address));
}

/// The election timeout the server under test believes in.
const ELECTION_TIMEOUT: Duration = Duration::from_millis(20);

/// As [`with_server`], with its limits, and its door within reach.
fn with_door<F: Future<Output = ()>>(
    limits: Limits,
    test: impl FnOnce(SocketAddr, Rc<FakeDoor>) -> F,
) {
    let keep_alive = KeepAlive::default();
    with_all(limits, keep_alive, |stage| test(stage.address, stage.door));
}

/// Adds nothing of its own.
struct Nobody;

impl Host for Nobody {
    fn metrics(&self) -> String {
        String::new()
    }

    fn page(&self, _: &HttpRequest) -> Option<Later<HttpReply>> {
        None
    }
}

/// A server under test and what it is made of.
struct Stage {
    address: SocketAddr,
    door: Rc<FakeDoor>,
    front: Rc<super::Front>,
    server: Rc<Server>,
}

/// As [`with_door`], with everything within reach.
fn with_all<F: Future<Output = ()>>(
    limits: Limits,
    keep_alive: KeepAlive,
    test: impl FnOnce(Stage) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = FakeDoor::new();
        let front = super::Front::new(door.clone(), Rc::new(Nobody), limits);
        let (looks, reads) = (Rc::clone(&front), Rc::clone(&door));
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(ELECTION_TIMEOUT).await;
                looks.look();
            }
        });
        tokio::task::spawn_local(std::future::poll_fn(move |cx| reads.turn(cx)));
        front.hub.set_progress_interval(Duration::from_millis(100));
        let service = Rc::clone(&front) as Rc<dyn Service>;
        let server = Server::new(service, limits, keep_alive);
        tokio::task::spawn_local(Rc::clone(&server).serve(listener));
        let limit = Duration::from_secs(120);
        let test = test(Stage { address, door, front, server });
        tokio::time::timeout(limit, test).await.expect("the test ends in time");
    });
}

/// Waits until it holds; the test's own limit bounds it.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn put(key: &str, value: impl Into<bytes::Bytes>) -> pb::PutRequest {
    pb::PutRequest { key: key.to_string().into(), value: value.into(), ..Default::default() }
}

#[test]
fn a_put_is_read_back_and_its_header_names_the_revision() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        let answer: pb::PutResponse = client.call("KV/Put", &put("k", "v")).await.unwrap();
        assert_eq!(answer.header.unwrap().revision, 2);
        let get = pb::RangeRequest { key: "k".into(), ..Default::default() };
        let answer: pb::RangeResponse = client.call("KV/Range", &get).await.unwrap();
        assert_eq!(answer.count, 1);
        assert_eq!(&answer.kvs[0].value[..], b"v");
        let header = answer.header.unwrap();
        assert_eq!((header.cluster_id, header.member_id, header.revision), (7, 1, 2));
    });
}

#[test]
fn refusals_carry_etcds_code_and_text() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        let refused = client.call::<pb::PutResponse>("KV/Put", &put("", "v")).await.unwrap_err();
        assert_eq!(refused, (3, "etcdserver: key is not provided".to_string()));
        let future = pb::RangeRequest { key: "k".into(), revision: 99, ..Default::default() };
        let refused = client.call::<pb::RangeResponse>("KV/Range", &future).await.unwrap_err();
        let text = "etcdserver: mvcc: required revision is a future revision";
        assert_eq!(refused, (11, text.to_string()));
        let refused = client.call::<pb::PutResponse>("KV/Nope", &put("", "")).await.unwrap_err();
        assert_eq!(refused.0, 12);
        let big = put("k", vec![0; 1_600_000]);
        let refused = client.call::<pb::PutResponse>("KV/Put", &big).await.unwrap_err();
        assert_eq!(refused, (3, "etcdserver: request is too large".to_string()));
    });
}

#[test]
fn a_large_value_crosses_flow_control_both_ways() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        let value = vec![0xa5_u8; 1_400_000];
        let _: pb::PutResponse = client.call("KV/Put", &put("k", value.clone())).await.unwrap();
        let get = pb::RangeRequest { key: "k".into(), ..Default::default() };
        let answer: pb::RangeResponse = client.call("KV/Range", &get).await.unwrap();
        assert!(answer.kvs[0].value[..] == value[..]);
    });
}

fn create(create: pb::WatchCreateRequest) -> pb::WatchRequest {
    use pb::watch_request::RequestUnion;
    pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

#[test]
fn a_watch_gets_history_then_live_events_then_progress() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        let _: pb::PutResponse = client.call("KV/Put", &put("a", "1")).await.unwrap();
        let mut watch = client.watch().await;
        let request = pb::WatchCreateRequest {
            key: "a".into(),
            start_revision: 2,
            prev_kv: true,
            ..Default::default()
        };
        watch.send(&create(request));
        let created = watch.next().await;
        assert!(created.created && created.watch_id == 0 && created.events.is_empty());
        let old = watch.next().await;
        assert_eq!(&old.events[0].kv.as_ref().unwrap().value[..], b"1");
        let _: pb::PutResponse = client.call("KV/Put", &put("a", "2")).await.unwrap();
        let live = watch.next().await;
        assert_eq!(live.header.unwrap().revision, 3);
        assert_eq!(&live.events[0].prev_kv.as_ref().unwrap().value[..], b"1");
        let _: pb::PutResponse = client.call("KV/Put", &put("other", "x")).await.unwrap();
        use pb::watch_request::RequestUnion;
        let ask = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
        watch.send(&pb::WatchRequest { request_union: Some(ask) });
        let progress = watch.next().await;
        assert_eq!((progress.watch_id, progress.header.unwrap().revision), (-1, 4));
        assert!(progress.events.is_empty());
    });
}

#[test]
fn a_watch_below_the_compact_revision_is_cancelled_with_it() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        for value in ["1", "2", "3"] {
            let _: pb::PutResponse = client.call("KV/Put", &put("a", value)).await.unwrap();
        }
        let compact = pb::CompactionRequest { revision: 3, physical: false };
        let _: pb::CompactionResponse = client.call("KV/Compact", &compact).await.unwrap();
        let mut watch = client.watch().await;
        let request =
            pb::WatchCreateRequest { key: "a".into(), start_revision: 2, ..Default::default() };
        watch.send(&create(request));
        assert!(watch.next().await.created);
        let cancelled = watch.next().await;
        assert!(cancelled.canceled);
        assert_eq!(cancelled.compact_revision, 3);
    });
}

#[test]
fn http_probes_share_the_port_and_nonsense_only_closes_its_connection() {
    with_server(|address| async move {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        assert!(text.ends_with("{\"health\":\"true\",\"reason\":\"\"}"), "{text}");
        let nonsense: [&[u8]; 2] = [b"\x00\xff\x13nonsense\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nxx"];
        for bytes in nonsense {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(bytes).await.unwrap();
            socket.shutdown().await.unwrap();
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
        }
        let mut client = Client::connect(address).await;
        let _: pb::PutResponse = client.call("KV/Put", &put("k", "v")).await.unwrap();
    });
}

#[test]
fn a_connection_that_never_finishes_its_greeting_is_closed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits::default();
        let front = super::Front::new(FakeDoor::new(), Rc::new(Nobody), limits);
        let server = Server::new(front as Rc<dyn Service>, limits, KeepAlive::default());
        tokio::task::spawn_local(server.serve(listener));
        let halves = [&b""[..], b"PRI", b"PRI * HTTP/2.0\r\n", b"GET /health HT"];
        let mut sockets = Vec::new();
        for half in halves {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(half).await.unwrap();
            sockets.push(socket);
        }
        // Time passes by itself from here on whenever nothing else is to be done.
        tokio::time::pause();
        for (socket, half) in sockets.iter_mut().zip(halves) {
            let mut rest = Vec::new();
            let closed = socket.read_to_end(&mut rest);
            let closed = tokio::time::timeout(Duration::from_secs(600), closed).await;
            assert!(closed.is_ok(), "{}", String::from_utf8_lossy(half));
        }
    });
}

#[test]
fn a_read_of_any_size_is_served_and_an_unknown_service_is_named() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        let end = vec![b'z'; 1_600_000];
        let (key, range_end) = ("k".into(), end.into());
        let range = pb::RangeRequest { key, range_end, ..Default::default() };
        let read = op(pb::request_op::Request::RequestRange(range));
        let txn = pb::TxnRequest { success: vec![read], ..Default::default() };
        let answer: pb::TxnResponse = client.call("KV/Txn", &txn).await.unwrap();
        assert!(answer.succeeded);
        let refused = client.call::<pb::PutResponse>("Nope/Put", &put("", "")).await.unwrap_err();
        assert_eq!(refused, (12, "unknown service etcdserverpb.Nope".to_string()));
    });
}

fn op(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

#[test]
fn of_several_faults_in_a_transaction_the_client_is_told_the_one_etcd_tells() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        let empty = || op(pb::request_op::Request::RequestPut(put("", "v")));
        let long =
            pb::TxnRequest { success: (0..129).map(|_| empty()).collect(), ..Default::default() };
        let refused = client.call::<pb::TxnResponse>("KV/Txn", &long).await.unwrap_err();
        assert_eq!(refused, (3, "etcdserver: too many operations in txn request".to_string()));
        let nested = op(pb::request_op::Request::RequestTxn(long));
        let outer = pb::TxnRequest { success: vec![nested], ..Default::default() };
        let refused = client.call::<pb::TxnResponse>("KV/Txn", &outer).await.unwrap_err();
        assert_eq!(refused, (3, "etcdserver: too many operations in txn request".to_string()));
    });
}

#[test]
fn a_comparison_of_a_later_version_holds_and_a_later_target_equals_anything() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        let _: pb::PutResponse = client.call("KV/Put", &put("k", "v")).await.unwrap();
        // (key, result, target) and whether etcd lets it hold.
        let rows = [
            ("k", 9, 0, true),
            ("none", 9, 0, true),
            ("k", 9, 3, true),
            ("none", 9, 3, false),
            ("k", 0, 9, true),
            ("none", 0, 9, true),
            ("k", 1, 9, false),
            ("k", 3, 9, false),
        ];
        for (key, result, target, holds) in rows {
            let compare = pb::Compare { key: key.into(), result, target, ..Default::default() };
            let txn = pb::TxnRequest { compare: vec![compare], ..Default::default() };
            let answer: pb::TxnResponse = client.call("KV/Txn", &txn).await.unwrap();
            assert_eq!(answer.succeeded, holds, "{key} {result} {target}");
        }
    });
}

#[test]
fn a_member_whose_state_differs_serves_no_stale_reads_either_and_still_tells_its_hash() {
    with_door(Limits::default(), |address, door| async move {
        let mut client = Client::connect(address).await;
        let _: pb::PutResponse = client.call("KV/Put", &put("k", "v")).await.unwrap();
        door.diverged.set(true);
        let corrupt = (15, "etcdserver: corrupt cluster".to_string());
        let get = pb::RangeRequest { key: "k".into(), serializable: true, ..Default::default() };
        let refused = client.call::<pb::RangeResponse>("KV/Range", &get).await.unwrap_err();
        assert_eq!(refused, corrupt);
        let range = pb::request_op::Request::RequestRange(get);
        let txn = pb::TxnRequest { success: vec![op(range)], ..Default::default() };
        let refused = client.call::<pb::TxnResponse>("KV/Txn", &txn).await.unwrap_err();
        assert_eq!(refused, corrupt);
        let _: pb::HashKvResponse =
            client.call("Maintenance/HashKV", &pb::HashKvRequest::default()).await.unwrap();
    });
}
