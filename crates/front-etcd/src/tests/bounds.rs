//! What clients may hold, waste and leave behind.

use super::client::{Client, status};
use super::{create, put, until, with_all, with_door};
use api::etcdserverpb as pb;
use base::limits::{
    ANSWER_OVERHEAD_BYTES, AT_ONCE_BYTES_MAX, CONNECTION_UNSENT_BYTES_MAX, ROOMLESS_BYTES_MAX,
};
use net::{KeepAlive, Limits, frame};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
const GOAWAY: u8 = 7;
const ENHANCE_YOUR_CALM: u8 = 11;

fn all_keys() -> pb::RangeRequest {
    pb::RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() }
}

/// A connection that has said its greeting, and no more.
async fn greeted(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(&[PREFACE, &SETTINGS].concat()).await.unwrap();
    socket
}

/// Reads frames until the server closes; the reason of its last GOAWAY, if there was one.
async fn last_word(socket: &mut TcpStream) -> Option<u8> {
    let mut reason = None;
    let mut head = [0; 9];
    while socket.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        if socket.read_exact(&mut payload).await.is_err() {
            break;
        }
        if head[3] == GOAWAY {
            reason = Some(payload[7]);
        }
    }
    reason
}

#[test]
fn a_client_that_answers_no_ping_is_closed_and_one_that_does_stays() {
    let short = Duration::from_millis(100);
    let keep_alive = KeepAlive { interval: short, timeout: short, ..KeepAlive::default() };
    with_all(Limits::default(), keep_alive, |stage| async move {
        let address = stage.address;
        let mut alive = Client::connect(address).await;
        let mut watch = alive.watch().await;
        watch.send(&create(pb::WatchCreateRequest { key: "k".into(), ..Default::default() }));
        assert!(watch.next().await.created);
        let mut frozen = greeted(address).await;
        let since = Instant::now();
        assert_eq!(last_word(&mut frozen).await, None);
        assert!(since.elapsed() >= 2 * short);
        tokio::time::sleep(4 * short).await;
        let _: pb::PutResponse = alive.call("KV/Put", &put("k", "v")).await.unwrap();
        assert_eq!(watch.next().await.events.len(), 1, "its streams are those it had");
    });
}

#[test]
fn a_client_that_pings_too_fast_is_told_to_be_calm() {
    with_door(Limits::default(), |address, _| async move {
        let mut hasty = greeted(address).await;
        hasty.write_all(&PING.repeat(4)).await.unwrap();
        assert_eq!(last_word(&mut hasty).await, Some(ENHANCE_YOUR_CALM));
    });
}

#[test]
fn a_client_that_opens_and_resets_without_end_is_told_to_be_calm_and_others_are_served() {
    with_door(Limits::default(), |address, _| async move {
        let mut other = Client::connect(address).await;
        for n in 0..4 {
            let _: pb::PutResponse =
                other.call("KV/Put", &put(&format!("k{n}"), vec![0; 500_000])).await.unwrap();
        }
        let attack = tokio::task::spawn_local(async move {
            let mut wild = Client::connect(address).await;
            let body = frame(&all_keys());
            for n in 0.. {
                if let Err(error) = wild.try_begin("KV/Range", body.clone()).map(drop) {
                    return (n, error);
                }
                if n % 100 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            unreachable!("it does not go on for ever")
        });
        let mut longest = Duration::ZERO;
        while !attack.is_finished() {
            let since = Instant::now();
            let _: pb::PutResponse = other.call("KV/Put", &put("k", "v")).await.unwrap();
            longest = longest.max(since.elapsed());
        }
        let (calls, error) = attack.await.unwrap();
        assert!(calls > 4_000, "a burst of timeouts is not an attack: {calls}");
        assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM), "{error}");
        assert!(longest < Duration::from_secs(1), "{longest:?}");
    });
}

#[test]
fn answers_of_writes_that_nobody_takes_are_written_down_as_far_as_there_is_room() {
    with_all(Limits::default(), KeepAlive::default(), |stage| async move {
        let mut other = Client::connect(stage.address).await;
        let _: pb::PutResponse = other.call("KV/Put", &put("k", vec![0; 100_000])).await.unwrap();
        let socket = TcpStream::connect(stage.address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let wide = (1 << 31) - 1;
        builder.initial_window_size(wide).initial_connection_window_size(wide);
        let (send, mut connection) = builder.handshake::<_, bytes::Bytes>(socket).await.unwrap();
        let mut greedy = Client::new(send);
        let range = pb::RangeRequest { key: "k".into(), ..Default::default() };
        let ops = [
            pb::request_op::Request::RequestRange(range),
            pb::request_op::Request::RequestPut(put("x", "v")),
        ];
        let success = ops.map(|request| pb::RequestOp { request: Some(request) }).into();
        let body = frame(&pb::TxnRequest { success, ..Default::default() });
        let calls: Vec<_> = (0..400).map(|_| greedy.begin("KV/Txn", &[], body.clone())).collect();
        // It says what it has to say, and hears nothing from then on.
        let made = || stage.server.unsent() >= CONNECTION_UNSENT_BYTES_MAX;
        while !made() {
            let said = tokio::time::timeout(Duration::from_millis(5), &mut connection).await;
            assert!(said.is_err(), "the connection stands");
        }
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(1) {
            let _: pb::PutResponse = other.call("KV/Put", &put("y", "v")).await.unwrap();
        }
        let unsent = stage.server.unsent();
        let short = calls.len() * (ROOMLESS_BYTES_MAX + ANSWER_OVERHEAD_BYTES);
        let bound = CONNECTION_UNSENT_BYTES_MAX + AT_ONCE_BYTES_MAX + short;
        assert!(unsent < bound, "{unsent} of 40 MB of answers");
        drop(calls);
    });
}

#[test]
fn a_client_that_never_reads_holds_little_and_is_closed_and_others_are_served() {
    with_all(Limits::default(), KeepAlive::default(), |stage| async move {
        let (address, door) = (stage.address, stage.door);
        let mut other = Client::connect(address).await;
        for n in 0..8 {
            let _: pb::PutResponse =
                other.call("KV/Put", &put(&format!("k{n}"), vec![0; 1_300_000])).await.unwrap();
        }
        let before = door.reads_made.get();
        let socket = TcpStream::connect(address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let wide = (1 << 31) - 1;
        builder.initial_window_size(wide).initial_connection_window_size(wide);
        let (send, mut connection) = builder.handshake::<_, bytes::Bytes>(socket).await.unwrap();
        let mut greedy = Client::new(send);
        let body = frame(&all_keys());
        let calls: Vec<_> = (0..100).map(|_| greedy.begin("KV/Range", &[], body.clone())).collect();
        // It says what it has to say, and hears nothing from then on.
        while door.reads_made.get() == before {
            let said = tokio::time::timeout(Duration::from_millis(5), &mut connection).await;
            assert!(said.is_err(), "the connection stands");
        }
        let since = Instant::now();
        let mut longest = Duration::ZERO;
        while since.elapsed() < Duration::from_secs(3) {
            let since = Instant::now();
            let _: pb::PutResponse = other.call("KV/Put", &put("k", "v")).await.unwrap();
            longest = longest.max(since.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(longest < Duration::from_secs(1), "{longest:?}");
        let (unsent, owed) = (stage.server.unsent(), stage.server.owed());
        assert!(unsent < CONNECTION_UNSENT_BYTES_MAX, "{unsent} of 1 GB that was asked for");
        assert!(owed <= 16 << 20, "{owed} bytes of answers of 10 MB were promised");
        let connections = || stage.server.connections();
        assert_eq!(connections(), 3, "the listener's and two clients'");
        until(|| connections() == 2).await;
        drop(calls);
    });
}

#[test]
fn the_stream_too_many_ends_the_oldest_idle_one_by_name() {
    let limits = Limits { streams_max: 4, ..Limits::default() };
    with_door(limits, |address, _| async move {
        let mut client = Client::connect(address).await;
        let mut watches = Vec::new();
        for key in ["a", "b", "c", "d"] {
            let mut watch = client.watch().await;
            watch.send(&create(pb::WatchCreateRequest { key: key.into(), ..Default::default() }));
            assert!(watch.next().await.created);
            watches.push(watch);
        }
        let mut other = Client::connect(address).await;
        for (watch, key) in watches.iter_mut().zip(["a", "b", "c", "d"]) {
            let _: pb::PutResponse = other.call("KV/Put", &put(key, "v")).await.unwrap();
            assert_eq!(watch.next().await.events.len(), 1);
        }
        let refused = client.call::<pb::PutResponse>("KV/Put", &put("x", "v")).await.unwrap_err();
        assert_eq!(refused.0, 8, "none is idle yet: {refused:?}");
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let _: pb::PutResponse = client.call("KV/Put", &put("b", "v")).await.unwrap();
        let (code, text) = watches[0].end().await;
        assert_eq!(code, 8);
        assert!(text.contains("4 are open, this was the oldest idle stream"), "{text}");
        assert_eq!(watches[1].next().await.events.len(), 1, "the others go on");
    });
}

#[test]
fn watches_opened_and_reset_at_once_leave_nothing_behind() {
    with_all(Limits::default(), KeepAlive::default(), |stage| async move {
        let mut client = Client::connect(stage.address).await;
        for n in 0..4_000 {
            drop(client.watch().await);
            if n % 20 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        until(|| stage.front.hub.streams() == 0).await;
        assert!(stage.front.hub.noted() < 1_000, "{} notes", stage.front.hub.noted());
    });
}

#[test]
fn a_watch_that_takes_no_requests_and_has_no_watcher_ends() {
    with_door(Limits::default(), |address, _| async move {
        let mut client = Client::connect(address).await;
        let mut watch = client.watch().await;
        watch.send(&create(pb::WatchCreateRequest { key: "k".into(), ..Default::default() }));
        assert!(watch.next().await.created);
        use pb::watch_request::RequestUnion;
        let cancel = RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 0 });
        watch.send(&pb::WatchRequest { request_union: Some(cancel) });
        watch.half_close();
        assert_eq!(watch.end().await, (0, String::new()));
    });
}

#[test]
fn a_call_refused_for_its_number_says_so_in_its_headers() {
    let limits = Limits { streams_max: 1, ..Limits::default() };
    with_door(limits, |address, _| async move {
        let mut client = Client::connect(address).await;
        let mut watch = client.watch().await;
        watch.send(&create(pb::WatchCreateRequest { key: "k".into(), ..Default::default() }));
        assert!(watch.next().await.created);
        let mut other = Client::connect(address).await;
        let _: pb::PutResponse = other.call("KV/Put", &put("k", "v")).await.unwrap();
        assert_eq!(watch.next().await.events.len(), 1, "so it is not idle");
        let body = frame(&put("x", "v"));
        let refused = client.call_with::<pb::PutResponse>("KV/Put", &[], body).await.unwrap_err();
        assert_eq!(status(&refused).unwrap().0, 8);
        assert_eq!(refused["quorate-outcome"], "not-applied");
    });
}
