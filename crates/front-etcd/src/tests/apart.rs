//! What is read and written apart: it holds up nobody, and ends when nobody waits for it.

use super::client::Client;
use super::{FakeDoor, create, put, until, with_door};
use api::Message;
use api::etcdserverpb as pb;
use api::etcdserverpb::watch_request::RequestUnion;
use base::Blob;
use base::limits::{PERMITS_MAX, SORTED_STREAMS_MAX};
use bytes::Bytes;
use door::Door as _;
use mvcc::{Command, DeleteRequest, PutRequest, RequestOp, TxnRequest};
use net::{FRAME_HEAD_BYTES, Limits, frame};
use std::net::SocketAddr;

fn from(key: &str, start_revision: i64) -> pb::WatchRequest {
    let key = key.to_string().into();
    create(pb::WatchCreateRequest { key, start_revision, ..Default::default() })
}

async fn write(client: &mut Client, key: &str, value: impl Into<Bytes>) {
    let _: pb::PutResponse = client.call("KV/Put", &put(key, value)).await.unwrap();
}

/// More revisions of `k` than are read at once.
fn long_history(door: &FakeDoor) {
    for n in 0..200 {
        let (key, value) = (Blob::from(&b"k"[..]), Blob::from(format!("{n}").as_bytes()));
        door.apply(&Command::Put(PutRequest { key, value, ..PutRequest::default() }));
    }
}

/// A client of a door with a long history, which keeps works until it is told to do them.
async fn before_a_long_history(address: SocketAddr, door: &FakeDoor) -> Client {
    long_history(door);
    door.idle.set(true);
    Client::connect(address).await
}

fn progress() -> pb::WatchRequest {
    let ask = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
    pb::WatchRequest { request_union: Some(ask) }
}

#[test]
fn who_lags_delays_no_fresh_event_and_no_promise_comes_before_it_has_caught_up() {
    with_door(Limits::default(), |address, door| async move {
        let mut client = before_a_long_history(address, &door).await;
        let mut watch = client.watch().await;
        watch.send(&from("k", 2));
        watch.send(&from("a", 0));
        for id in [0, 1] {
            let created = watch.next().await;
            assert!(created.created && created.watch_id == id, "{created:?}");
        }
        until(|| door.works() == 1).await;
        watch.send(&progress());
        for revision in 202..212 {
            write(&mut client, "a", "fresh").await;
            let fresh = watch.next().await;
            assert_eq!((fresh.watch_id, fresh.events.len()), (1, 1), "{fresh:?}");
            assert_eq!(fresh.header.unwrap().revision, revision);
            assert_eq!(door.works(), 1, "one at a time, and it waits");
        }
        door.work();
        let caught = watch.next().await;
        assert_eq!((caught.watch_id, caught.events.len()), (0, 200));
        let revisions = caught.events.iter().map(|e| e.kv.as_ref().unwrap().mod_revision);
        assert!(revisions.eq(2..202), "all of them, in order");
        let promise = watch.next().await;
        assert_eq!((promise.watch_id, promise.header.unwrap().revision), (-1, 211));
        write(&mut client, "k", "fresh").await;
        let fresh = watch.next().await;
        assert_eq!((fresh.watch_id, fresh.events.len()), (0, 1), "it is live from here on");
        assert_eq!(door.works(), 0);
    });
}

#[test]
fn changes_are_listened_for_while_there_is_a_stream_and_none_is_missed_at_its_opening() {
    with_door(Limits::default(), |address, door| async move {
        assert!(!door.listens.get());
        let mut client = Client::connect(address).await;
        for round in 0..3 {
            write(&mut client, "a", "nobody hears of it").await;
            let mut watch = client.watch().await;
            watch.send(&from("a", 0));
            assert!(watch.next().await.created && door.listens.get());
            write(&mut client, "a", "fresh").await;
            let fresh = watch.next().await;
            assert_eq!(fresh.header.unwrap().revision, 3 + 2 * round);
            assert_eq!(fresh.events.len(), 1);
            drop(watch);
            until(|| !door.listens.get()).await;
        }
    });
}

#[test]
fn works_of_all_streams_are_few_and_every_stream_has_its_turn() {
    with_door(Limits::default(), |address, door| async move {
        let mut client = before_a_long_history(address, &door).await;
        let mut watches = Vec::new();
        for _ in 0..2 * PERMITS_MAX + 3 {
            let mut watch = client.watch().await;
            watch.send(&from("k", 2));
            assert!(watch.next().await.created);
            watches.push(watch);
        }
        for at_once in [PERMITS_MAX, PERMITS_MAX, 3] {
            until(|| door.works() == at_once).await;
            door.work();
        }
        for watch in &mut watches {
            assert_eq!(watch.next().await.events.len(), 200);
        }
        assert_eq!(door.works(), 0);
    });
}

#[test]
fn catching_up_ends_with_its_watcher_and_with_its_stream() {
    with_door(Limits::default(), |address, door| async move {
        let mut client = before_a_long_history(address, &door).await;
        let mut watch = client.watch().await;
        watch.send(&from("k", 2));
        watch.send(&from("k", 3));
        assert!(watch.next().await.created && watch.next().await.created);
        until(|| door.works() == 1).await;
        let cancel = RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 0 });
        watch.send(&pb::WatchRequest { request_union: Some(cancel) });
        assert!(watch.next().await.canceled);
        // Another one begins, for whoever is left.
        until(|| door.works() == 1).await;
        door.work();
        let caught = watch.next().await;
        assert_eq!((caught.watch_id, caught.events.len()), (1, 199));
        watch.send(&from("k", 2));
        assert!(watch.next().await.created);
        until(|| door.works() == 1).await;
        drop(watch);
        until(|| door.works() == 0).await;
    });
}

#[test]
fn a_long_live_batch_is_written_apart_and_what_follows_it_waits_for_it() {
    with_door(Limits::default(), |address, door| async move {
        let mut client = Client::connect(address).await;
        let mut watch = client.watch().await;
        watch.send(&from("k", 0));
        watch.send(&from("a", 0));
        assert!(watch.next().await.created && watch.next().await.created);
        door.idle.set(true);
        write(&mut client, "k", vec![7; 100_000]).await;
        until(|| door.works() == 1).await;
        write(&mut client, "k", "next").await;
        write(&mut client, "a", vec![7; 10_000]).await;
        let other = watch.next().await;
        assert_eq!((other.watch_id, other.events.len()), (1, 1), "it does not wait");
        door.work();
        for revision in [2, 3] {
            let answer = watch.next().await;
            assert_eq!((answer.watch_id, answer.header.unwrap().revision), (0, revision));
        }
    });
}

/// Puts so many keys of `value_bytes` each, in transactions of 100, and removes them all at once.
fn fill_and_remove(door: &FakeDoor, keys: usize, value_bytes: usize) {
    let value = Blob::from(vec![7; value_bytes]);
    for first in (0..keys).step_by(100) {
        let put = |n: usize| {
            let key = Blob::from(format!("k{n:06}").as_bytes());
            RequestOp::Put(PutRequest { key, value: value.clone(), ..PutRequest::default() })
        };
        let success = (first..first + 100).map(put).collect();
        door.batch(&[Command::Txn(TxnRequest { success, ..TxnRequest::default() })]);
    }
    let (key, range_end) = (Blob::from(&b"k"[..]), Blob::from(&b"l"[..]));
    door.batch(&[Command::Delete(DeleteRequest { key, range_end, prev_kv: false })]);
}

/// A watcher of removals of `k...` who wants to know what was before.
fn looks_back(fragment: bool) -> pb::WatchRequest {
    create(pb::WatchCreateRequest {
        key: "k".into(),
        range_end: "l".into(),
        filters: vec![pb::watch_create_request::FilterType::Noput as i32],
        prev_kv: true,
        fragment,
        ..Default::default()
    })
}

#[test]
fn a_large_removal_is_written_apart_in_chunks_for_as_many_as_have_a_permit() {
    const KEYS: usize = 2_000;
    with_door(Limits::default(), |address, door| async move {
        let mut clients = Vec::new();
        for _ in 0..PERMITS_MAX + 3 {
            let mut client = Client::connect(address).await;
            let mut watch = client.watch().await;
            watch.send(&looks_back(false));
            assert!(watch.next().await.created);
            clients.push((client, watch));
        }
        door.idle.set(true);
        fill_and_remove(&door, KEYS, 1_000);
        // Two megabytes for each of them, and nothing of that is made before a work is done.
        let reads = clients.into_iter().map(|(client, watch)| {
            tokio::task::spawn_local(async move {
                let (_client, mut watch) = (client, watch);
                let removed = watch.next().await;
                assert!(!removed.fragment && removed.header.unwrap().revision == 22);
                let before = |event: &api::mvccpb::Event| event.prev_kv.clone().unwrap().value;
                assert!(removed.events.iter().all(|event| before(event).len() == 1_000));
                assert_eq!(removed.events.len(), KEYS);
            })
        });
        let reads: Vec<_> = reads.collect();
        let (mut rounds, is_done) = (0, || reads.iter().all(|read| read.is_finished()));
        loop {
            until(|| door.works() > 0 || is_done()).await;
            if is_done() {
                break;
            }
            assert!(door.works() <= PERMITS_MAX);
            door.work();
            rounds += 1;
        }
        assert!(rounds >= 2 * KEYS * 1_000 / base::limits::CHUNK_BYTES, "{rounds}");
        for read in reads {
            read.await.unwrap();
        }
    });
}

#[test]
fn a_short_event_is_written_apart_where_what_was_before_it_is_long() {
    with_door(Limits::default(), |address, door| async move {
        let mut client = Client::connect(address).await;
        let mut watch = client.watch().await;
        watch.send(&looks_back(false));
        assert!(watch.next().await.created);
        write(&mut client, "k", vec![7; 1_000]).await;
        write(&mut client, "k1", vec![7; 100_000]).await;
        door.idle.set(true);
        let remove =
            |key: &'static str| pb::DeleteRangeRequest { key: key.into(), ..Default::default() };
        let _: pb::DeleteRangeResponse = client.call("KV/DeleteRange", &remove("k")).await.unwrap();
        let length = |answer: &pb::WatchResponse| {
            let before = answer.events[0].prev_kv.as_ref();
            (answer.events.len(), before.map(|before| before.value.len()))
        };
        assert_eq!(length(&watch.next().await), (1, Some(1_000)), "at once");
        let _: pb::DeleteRangeResponse =
            client.call("KV/DeleteRange", &remove("k1")).await.unwrap();
        until(|| door.works() == 1).await;
        write(&mut client, "k2", "2").await;
        let _: pb::DeleteRangeResponse =
            client.call("KV/DeleteRange", &remove("k2")).await.unwrap();
        assert_eq!(door.works(), 1, "what follows waits");
        door.work();
        let long = watch.next().await;
        assert_eq!((length(&long), long.header.unwrap().revision), ((1, Some(100_000)), 5));
        let next = watch.next().await;
        assert_eq!((length(&next), next.header.unwrap().revision), ((1, Some(1)), 7));
    });
}

#[test]
fn a_message_that_was_begun_tells_what_was_before_though_it_is_compacted_meanwhile() {
    const KEYS: usize = 2_000;
    for fragment in [false, true] {
        // A part has half a MiB and a bit, a piece of it that is written at a time half of that.
        let limits = Limits { request_bytes_max: 1_000, ..Limits::default() };
        with_door(limits, |address, door| async move {
            let set = |value: &Blob| {
                let (key, value) = (Blob::from(&b"z"[..]), value.clone());
                door.apply(&Command::Put(PutRequest { key, value, ..PutRequest::default() }));
            };
            let old = Blob::from(&[7; 100][..]);
            set(&old);
            let mut client = Client::connect(address).await;
            let mut watch = client.watch().await;
            watch.send(&looks_back(fragment));
            assert!(watch.next().await.created);
            door.idle.set(true);
            fill_and_remove(&door, KEYS, 1_000);
            // What was put is looked through, then the message is begun, and nobody reads it yet.
            for _ in 0..2 {
                until(|| door.works() == 1).await;
                door.work();
            }
            set(&Blob::default());
            door.apply(&Command::Compact { revision: 24 });
            (0..16).for_each(|_| set(&Blob::default()));
            door.settle();
            assert_eq!(std::sync::Arc::strong_count(&old), 1, "no picture is held meanwhile");
            let reads = tokio::task::spawn_local(async move {
                let (_client, mut watch, mut told) = (client, watch, Vec::new());
                loop {
                    let part = watch.next().await;
                    let has = |event: &api::mvccpb::Event| event.prev_kv.is_some();
                    let known = part.events.iter().filter(|event| has(event)).count();
                    assert!(known == 0 || known == part.events.len(), "each of one view");
                    told.push((part.events.len(), known > 0));
                    if !part.fragment {
                        break told;
                    }
                }
            });
            while !reads.is_finished() {
                until(|| door.works() > 0 || reads.is_finished()).await;
                door.work();
            }
            let told = reads.await.unwrap();
            assert_eq!(told.iter().map(|(count, _)| count).sum::<usize>(), KEYS);
            let known: Vec<bool> = told.into_iter().map(|(_, known)| known).collect();
            assert!(known[0] && known.is_sorted_by(|a, b| a >= b), "{known:?}");
            assert_eq!(
                known.last() == Some(&false),
                fragment,
                "what was not begun is another view's"
            );
        });
    }
}

#[test]
fn few_range_streams_hold_all_that_was_found_and_the_others_wait() {
    with_door(Limits::default(), |address, door| async move {
        for n in 0..100 {
            let (key, value) = (Blob::from(format!("k{n}").as_bytes()), Blob::from(&[7; 9][..]));
            door.apply(&Command::Put(PutRequest { key, value, ..PutRequest::default() }));
        }
        door.idle.set(true);
        let mut client = Client::connect(address).await;
        let sort_target = pb::range_request::SortTarget::Mod as i32;
        let (key, range_end) = ("k".into(), "l".into());
        let sorted = pb::RangeRequest { key, range_end, sort_target, ..Default::default() };
        let mut streams: Vec<_> = (0..=SORTED_STREAMS_MAX)
            .map(|_| client.begin("KV/RangeStream", &[], frame(&sorted)))
            .collect();
        until(|| door.works() == SORTED_STREAMS_MAX).await;
        let _: pb::RangeResponse = client.call("KV/Range", &sorted_once(&sorted)).await.unwrap();
        assert_eq!(door.works(), SORTED_STREAMS_MAX, "the one too many waits");
        // The places of those that leave go to the one that waited.
        let waited = streams.pop();
        drop(streams);
        until(|| door.works() == 1).await;
        drop(waited);
        until(|| door.works() == 0).await;
    });
}

/// Of one key, so it is read at once.
fn sorted_once(sorted: &pb::RangeRequest) -> pb::RangeRequest {
    pb::RangeRequest { range_end: Default::default(), ..sorted.clone() }
}

#[test]
fn a_range_stream_is_read_apart_chunk_by_chunk_from_one_picture() {
    with_door(Limits::default(), |address, door| async move {
        let keys = || (0..1000).map(|n| format!("k{n:04}"));
        for key in keys() {
            let (key, value) = (Blob::from(key.as_bytes()), Blob::from(&[7; 500][..]));
            door.apply(&Command::Put(PutRequest { key, value, ..PutRequest::default() }));
        }
        door.idle.set(true);
        let mut client = Client::connect(address).await;
        for sort_target in [0, 2] {
            let (key, range_end) = ("k".into(), "l".into());
            let all = pb::RangeRequest { key, range_end, sort_target, ..Default::default() };
            let newest = door.header().revision;
            let response = client.begin("KV/RangeStream", &[], frame(&all));
            let (mut body, mut read, mut held) = (response.await.unwrap().into_body(), vec![], 0);
            let mut buffer = bytes::BytesMut::new();
            let last = loop {
                let data = tokio::select! {
                    data = body.data() => data,
                    () = until(|| door.works() > 0) => {
                        assert_eq!(door.works(), 1, "one at a time");
                        door.apply(&Command::Put(PutRequest {
                            key: Blob::from(format!("k{held:04}+").as_bytes()),
                            ..PutRequest::default()
                        }));
                        held += 1;
                        door.work();
                        continue;
                    }
                };
                let Some(data) = data else { panic!("no chunk was the last") };
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                buffer.extend_from_slice(&data);
                let mut last = None;
                while let Some((head, rest)) = buffer.split_first_chunk::<FRAME_HEAD_BYTES>() {
                    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
                    if rest.len() < length as usize {
                        break;
                    }
                    let message = buffer.split_to(FRAME_HEAD_BYTES + length as usize);
                    let chunk = pb::RangeStreamResponse::decode(&message[FRAME_HEAD_BYTES..]);
                    let chunk = chunk.unwrap().range_response.unwrap();
                    read.extend(chunk.kvs.iter().map(|kv| kv.key.to_vec()));
                    last = chunk.header.map(|header| (chunk.count, chunk.more, header.revision));
                }
                if let Some(last) = last {
                    break last;
                }
            };
            assert!(held > 0, "nothing was made apart");
            let plus = if sort_target == 0 { 0 } else { read.len() as i64 - 1000 };
            assert_eq!(last, (1000 + plus, false, newest), "a watch goes on from what was read");
            read.retain(|key| !key.ends_with(b"+"));
            assert!(read.iter().eq(keys().map(String::into_bytes).collect::<Vec<_>>().iter()));
        }
        // Who leaves ends what is made.
        let (key, range_end) = ("k".into(), "l".into());
        let all = pb::RangeRequest { key, range_end, revision: 900, ..Default::default() };
        let response = client.begin("KV/RangeStream", &[], frame(&all));
        until(|| door.works() == 1).await;
        drop(response);
        until(|| door.works() == 0).await;
    });
}
