//! Long answers to unary calls: written as their client takes them, and no further.

use super::super::methods;
use super::super::writer::CHUNK_BYTES;
use super::client::{Client, status};
use super::{Stage, op, put, until, with_all};
use api::Message;
use api::etcdserverpb as pb;
use base::Blob;
use bytes::BytesMut;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use mvcc::{Command, PutRequest};
use net::{FRAME_HEAD_BYTES, KeepAlive, Limits, Service as _, frame};
use std::rc::Rc;

const KEYS: usize = 1200;
const VALUE_BYTES: usize = 4000;
/// A chunk overshoots by one item.
const ITEM_BYTES: usize = VALUE_BYTES + 100;
/// The window that a client has without asking for more.
const WINDOW: usize = 65_535;
/// What an answer has here at most: what its client has room for, and a chunk. The one that is
/// ready after it is not handed over yet.
const HELD_BYTES_MAX: usize = WINDOW + CHUNK_BYTES + ITEM_BYTES;

fn with_keys<F: Future<Output = ()>>(test: impl FnOnce(Stage) -> F) {
    with_all(Limits::default(), KeepAlive::default(), |stage| {
        for n in 0..KEYS {
            let key = Blob::from(format!("k{n:06}").as_bytes());
            let value = Blob::from(vec![n as u8; VALUE_BYTES]);
            stage.door.apply(&Command::Put(PutRequest { key, value, ..PutRequest::default() }));
        }
        test(stage)
    });
}

fn all() -> pb::RangeRequest {
    pb::RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() }
}

async fn begun(client: &mut Client, headers: &[(&'static str, &str)]) -> RecvStream {
    let response = client.begin("KV/Range", headers, frame(&all())).await.unwrap();
    assert_eq!(status(response.headers()), None);
    response.into_body()
}

/// Takes all that comes without giving window for more, until that is so much.
async fn take(body: &mut RecvStream, bytes: usize) -> usize {
    let mut taken = 0;
    while taken < bytes {
        taken += body.data().await.unwrap().unwrap().len();
    }
    taken
}

/// Takes what comes, for as long as something does; how it ends.
async fn rest(body: &mut RecvStream, all: &mut BytesMut) -> Result<(u32, String), Reason> {
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| error.reason().expect("it is cut off"))?;
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    Ok(status(&body.trailers().await.unwrap().unwrap()).unwrap())
}

/// All of an answer that comes when it does.
fn whole(response: ResponseFuture) -> tokio::task::JoinHandle<pb::RangeResponse> {
    tokio::task::spawn_local(async move {
        let (mut body, mut all) = (response.await.unwrap().into_body(), BytesMut::new());
        assert_eq!(rest(&mut body, &mut all).await, Ok((0, String::new())));
        pb::RangeResponse::decode(&all[FRAME_HEAD_BYTES..]).unwrap()
    })
}

fn is_all(range: &pb::RangeResponse) {
    assert_eq!((range.kvs.len(), range.count, range.more), (KEYS, KEYS as i64, false));
    assert_eq!(range.header.unwrap().revision, 1 + KEYS as i64);
    for (n, kv) in range.kvs.iter().enumerate() {
        assert_eq!(kv.key, format!("k{n:06}"));
        assert!(kv.value.len() == VALUE_BYTES && kv.value.iter().all(|byte| *byte == n as u8));
    }
}

/// How calls of ranges ended, by code.
fn ended(stage: &Stage, code: &str) -> u64 {
    let mut text = String::new();
    stage.front.stats().write(methods::table(), &mut text);
    let start = format!(
        "grpc_server_handled_total{{grpc_code=\"{code}\",grpc_method=\"Range\",\
         grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}} "
    );
    let count = text.lines().find_map(|line| line.strip_prefix(&start));
    count.map_or(0, |count| count.parse().unwrap())
}

#[test]
fn a_client_that_reads_in_small_steps_gets_all_and_little_is_held_for_it() {
    with_keys(|stage| async move {
        let mut client = Client::connect(stage.address).await;
        let mut body = begun(&mut client, &[]).await;
        let mut answer = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            let held = stage.server.unsent();
            assert!(held <= HELD_BYTES_MAX, "{held}");
            for part in data.chunks(1000) {
                body.flow_control().release_capacity(part.len()).unwrap();
                tokio::task::yield_now().await;
            }
            answer.extend_from_slice(&data);
        }
        assert_eq!(status(&body.trailers().await.unwrap().unwrap()), Some((0, String::new())));
        is_all(&pb::RangeResponse::decode(&answer[FRAME_HEAD_BYTES..]).unwrap());
        assert_eq!(ended(&stage, "OK"), 1);
        until(|| stage.server.unsent() == 0).await;
    });
}

#[test]
fn slow_readers_hold_a_window_each_and_no_place_and_others_are_served() {
    with_keys(|stage| async move {
        let mut clients = Vec::new();
        for _ in 0..2 * door::LONG_MAX {
            let mut client = Client::connect(stage.address).await;
            let mut body = begun(&mut client, &[]).await;
            take(&mut body, WINDOW).await;
            clients.push((client, body));
        }
        let held = stage.server.unsent();
        assert!(held <= clients.len() * HELD_BYTES_MAX, "{held}");
        let mut other = Client::connect(stage.address).await;
        is_all(&other.call("KV/Range", &all()).await.unwrap());
        assert_eq!(stage.door.works(), 0);
    });
}

#[test]
fn a_connection_that_is_owed_much_waits_with_long_answers_and_not_with_short_ones() {
    with_keys(|stage| async move {
        let mut client = Client::connect(stage.address).await;
        let begin = |client: &mut Client| client.begin("KV/Range", &[], frame(&all()));
        let began = |count| {
            let made = stage.door.reads_made.get() + count;
            let door = Rc::clone(&stage.door);
            until(move || door.reads_made.get() >= made)
        };
        // Unread, two of them are more than one connection is owed.
        let mut unread = Vec::new();
        for _ in 0..3 {
            let begun = began(1);
            unread.push(begin(&mut client));
            begun.await;
        }
        let owed = stage.server.owed();
        assert!(owed > (8 << 20) && owed < 2 * KEYS * ITEM_BYTES, "{owed}");
        let short = pb::RangeRequest { key: "none".into(), count_only: true, ..Default::default() };
        let begun = began(1);
        let short = client.begin("KV/Range", &[], frame(&short));
        begun.await;
        let mut other = Client::connect(stage.address).await;
        is_all(&other.call("KV/Range", &all()).await.unwrap());
        let mut all: Vec<_> = unread.into_iter().map(whole).collect();
        let short = whole(short);
        for answer in all.drain(..) {
            is_all(&answer.await.unwrap());
        }
        assert_eq!(short.await.unwrap().count, 0);
        until(|| stage.server.owed() == 0).await;
    });
}

/// Takes what comes until the next chunk is to be made, which nobody does.
async fn until_made(stage: &Stage, body: &mut RecvStream) {
    stage.door.idle.set(true);
    let mut taken = BytesMut::new();
    tokio::select! {
        end = rest(body, &mut taken) => panic!("{end:?}"),
        () = until(|| stage.door.works() > 0) => {}
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_ends_what_is_made_for_it() {
    with_keys(|stage| async move {
        // It resets the call, or its connection ends; while a chunk is made, or lies there.
        let ways = [(false, false), (false, true), (true, false), (true, true)];
        for (n, (leaves, is_made)) in (1..).zip(ways) {
            let mut client = Client::connect(stage.address).await;
            let mut body = begun(&mut client, &[]).await;
            take(&mut body, WINDOW).await;
            if is_made {
                body.flow_control().release_capacity(WINDOW).unwrap();
                until_made(&stage, &mut body).await;
            }
            let connections = stage.server.connections();
            drop(body);
            if leaves {
                drop(client);
                until(|| stage.server.connections() < connections).await;
            }
            until(|| ended(&stage, "Canceled") == n).await;
            until(|| stage.server.unsent() + stage.server.owed() == 0).await;
            assert_eq!(stage.door.works(), 0, "it is not wanted any more");
            stage.door.idle.set(false);
        }
        assert_eq!(ended(&stage, "OK"), 0);
    });
}

#[test]
fn what_fails_or_is_late_in_the_middle_of_an_answer_is_cut_off_and_never_ends_well() {
    with_keys(|stage| async move {
        let mut client = Client::connect(stage.address).await;
        let mut body = begun(&mut client, &[]).await;
        until_made(&stage, &mut body).await;
        stage.door.lose();
        let end = rest(&mut body, &mut BytesMut::new()).await;
        assert_eq!(end, Err(Reason::INTERNAL_ERROR));
        assert_eq!((ended(&stage, "Unavailable"), ended(&stage, "OK")), (1, 0));
        stage.door.idle.set(false);
        let mut late = begun(&mut client, &[("grpc-timeout", "2S")]).await;
        take(&mut late, WINDOW).await;
        assert_eq!(rest(&mut late, &mut BytesMut::new()).await, Err(Reason::CANCEL));
        assert_eq!((ended(&stage, "DeadlineExceeded"), ended(&stage, "OK")), (1, 0));
        until(|| stage.server.unsent() + stage.server.owed() == 0).await;
    });
}

#[test]
fn what_fails_before_any_of_an_answer_was_sent_is_refused_in_its_head() {
    with_keys(|stage| async move {
        let mut client = Client::connect(stage.address).await;
        stage.door.idle.set(true);
        for (timeout, code) in [("2S", 4), ("1M", 14)] {
            let call = client.begin("KV/Range", &[("grpc-timeout", timeout)], frame(&all()));
            until(|| stage.door.works() > 0).await;
            assert_eq!(stage.server.owed(), 0, "it is looked for");
            stage.door.work();
            assert!(stage.door.works() > 0 && stage.server.owed() > 0, "and written");
            if code == 14 {
                stage.door.lose();
            }
            assert_eq!(status(call.await.unwrap().headers()).unwrap().0, code);
        }
        assert_eq!((ended(&stage, "Unavailable"), ended(&stage, "DeadlineExceeded")), (1, 1));
    });
}

#[test]
fn transactions_and_deletes_answer_at_length_too() {
    with_keys(|stage| async move {
        let mut client = Client::connect(stage.address).await;
        use pb::request_op::Request;
        use pb::response_op::Response;
        let range = || op(Request::RequestRange(all()));
        let twice = pb::TxnRequest { success: vec![range(), range()], ..Default::default() };
        let read: pb::TxnResponse = client.call("KV/Txn", &twice).await.unwrap();
        assert_eq!(read.responses.len(), 2);
        for op in read.responses {
            let Some(Response::ResponseRange(range)) = op.response else { panic!("a range") };
            assert_eq!(range.header.unwrap().revision, 1 + KEYS as i64);
            is_all(&range);
        }
        let write = op(Request::RequestPut(put("other", "v")));
        let both = pb::TxnRequest { success: vec![range(), write], ..Default::default() };
        let wrote: pb::TxnResponse = client.call("KV/Txn", &both).await.unwrap();
        assert_eq!(wrote.header.unwrap().revision, 2 + KEYS as i64);
        let (key, range_end) = ("k".into(), "l".into());
        let delete = pb::DeleteRangeRequest { key, range_end, prev_kv: true };
        let gone: pb::DeleteRangeResponse = client.call("KV/DeleteRange", &delete).await.unwrap();
        assert_eq!((gone.deleted, gone.prev_kvs.len()), (KEYS as i64, KEYS));
        assert!(gone.prev_kvs.iter().all(|kv| kv.value.len() == VALUE_BYTES));
    });
}

/// Its streams have no window at all, so that nothing is ever handed over to be sent.
#[test]
fn a_client_that_gives_no_window_is_not_owed_for_ever_and_keeps_no_member_from_stopping() {
    with_keys(|stage| async move {
        let socket = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(0);
        let (send, connection) = builder.handshake::<_, bytes::Bytes>(socket).await.unwrap();
        tokio::task::spawn_local(connection);
        let mut mute = Client::new(send);
        let answer = mute.begin("KV/Range", &[], frame(&all()));
        until(|| stage.server.owed() > 0).await;
        assert_eq!(stage.server.unsent(), 0, "none of it lies here");
        stage.server.stop();
        stage.server.closed().await;
        assert_eq!(stage.server.owed(), 0);
        let mut body = answer.await.unwrap().into_body();
        assert!(rest(&mut body, &mut BytesMut::new()).await.is_err(), "half an answer is none");
    });
}
