//! The watch service's promises, over a real socket.

use super::client::{Client, Watch};
use super::{create, put, with_door, with_server};
use api::etcdserverpb as pb;
use api::etcdserverpb::watch_create_request::FilterType;
use api::etcdserverpb::watch_request::RequestUnion;
use api::mvccpb::event::EventType;
use base::Blob;
use mvcc::{Command, PutRequest};
use net::Limits;
use std::time::Duration;

fn from(key: &str, start_revision: i64) -> pb::WatchCreateRequest {
    let key = key.to_string().into();
    pb::WatchCreateRequest { key, start_revision, ..Default::default() }
}

async fn write(client: &mut Client, key: &str, value: &str) {
    let _: pb::PutResponse =
        client.call("KV/Put", &put(key, value.as_bytes().to_vec())).await.unwrap();
}

async fn delete(client: &mut Client, key: &str) {
    let request = pb::DeleteRangeRequest { key: key.to_string().into(), ..Default::default() };
    let _: pb::DeleteRangeResponse = client.call("KV/DeleteRange", &request).await.unwrap();
}

async fn open(client: &mut Client, request: pb::WatchCreateRequest) -> Watch {
    let mut watch = client.watch().await;
    watch.send(&create(request));
    let created = watch.next().await;
    assert!(created.created && !created.canceled, "{created:?}");
    watch
}

#[test]
fn filters_drop_puts_or_deletes_and_nothing_else() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        write(&mut client, "a", "1").await;
        delete(&mut client, "a").await;
        write(&mut client, "a", "2").await;
        for (filter, kept) in
            [(FilterType::Noput, EventType::Delete), (FilterType::Nodelete, EventType::Put)]
        {
            let request = pb::WatchCreateRequest { filters: vec![filter as i32], ..from("a", 2) };
            let mut watch = open(&mut client, request).await;
            let events = watch.next().await.events;
            let expected = if kept == EventType::Put { 2 } else { 1 };
            assert_eq!(events.len(), expected, "{filter:?}");
            assert!(events.iter().all(|event| event.r#type == kept as i32), "{filter:?}");
        }
    });
}

#[test]
fn a_revision_is_split_only_for_a_watcher_that_asked_for_fragments() {
    let limits = Limits { request_bytes_max: 1000, ..Limits::default() };
    with_door(limits, |address, door| async move {
        // One revision of 1 MiB of events, above the message limit of half a MiB and a bit.
        let puts = (0..16).map(|n| {
            mvcc::RequestOp::Put(PutRequest {
                key: Blob::from(format!("k{n:02}").into_bytes()),
                value: Blob::from(vec![7; 64 << 10]),
                lease: 0,
                prev_kv: false,
                ignore_value: false,
                ignore_lease: false,
            })
        });
        let success = puts.collect();
        door.apply(&Command::Txn(mvcc::TxnRequest { success, ..Default::default() }));
        let mut client = Client::connect(address).await;
        let all = pb::WatchCreateRequest { range_end: "l".into(), ..from("k", 2) };
        let mut whole = open(&mut client, all.clone()).await;
        let answer = whole.next().await;
        assert_eq!((answer.events.len(), answer.fragment), (16, false));
        let mut parts = open(&mut client, pb::WatchCreateRequest { fragment: true, ..all }).await;
        let (mut events, mut answers) = (0, 0);
        loop {
            let answer = parts.next().await;
            assert_eq!(answer.header.unwrap().revision, 2, "all parts are one revision");
            events += answer.events.len();
            answers += 1;
            if !answer.fragment {
                break;
            }
        }
        assert_eq!(events, 16);
        assert!(answers >= 2, "it had to be split");
    });
}

#[test]
fn a_cancelled_watcher_gets_one_last_answer_and_an_unknown_id_none() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        let mut watch = open(&mut client, from("a", 0)).await;
        watch.send(&create(from("b", 0)));
        assert_eq!(watch.next().await.watch_id, 1);
        for id in [77, 0] {
            let union = RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: id });
            watch.send(&pb::WatchRequest { request_union: Some(union) });
        }
        let last = watch.next().await;
        assert_eq!((last.watch_id, last.canceled, last.created), (0, true, false));
        assert_eq!((last.compact_revision, last.cancel_reason.as_str()), (0, ""));
        write(&mut client, "a", "1").await;
        write(&mut client, "b", "1").await;
        let answer = watch.next().await;
        assert_eq!((answer.watch_id, answer.events.len()), (1, 1), "only the other one is left");
    });
}

#[test]
fn quiet_watchers_hear_of_progress_when_they_asked_for_it() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        write(&mut client, "a", "1").await;
        let mut silent = open(&mut client, from("a", 0)).await;
        let request = pb::WatchCreateRequest { progress_notify: true, ..from("a", 0) };
        let mut watch = open(&mut client, request).await;
        write(&mut client, "other", "1").await;
        // The interval may have passed before the write, too.
        let mut promised = 2;
        while promised < 3 {
            let notice = watch.next().await;
            assert_eq!((notice.watch_id, notice.events.len()), (0, 0));
            let revision = notice.header.unwrap().revision;
            assert!((promised..=3).contains(&revision), "{revision} after {promised}");
            promised = revision;
        }
        // By now the interval has passed for the other stream too.
        write(&mut client, "a", "2").await;
        assert_eq!(silent.next().await.events.len(), 1, "no notice came before the event");
    });
}

#[test]
fn progress_is_never_promised_to_a_watcher_of_the_future() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        let mut watch = open(&mut client, from("a", 4)).await;
        let ask = || {
            let union = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
            pb::WatchRequest { request_union: Some(union) }
        };
        watch.send(&ask());
        for value in ["2", "3", "4"] {
            write(&mut client, "a", value).await;
        }
        let first = watch.next().await;
        assert_eq!(first.events.len(), 1, "the first thing heard is an event: {first:?}");
        assert_eq!(first.events[0].kv.as_ref().unwrap().mod_revision, 4);
        watch.send(&ask());
        let progress = watch.next().await;
        assert_eq!((progress.watch_id, progress.header.unwrap().revision), (-1, 4));
    });
}

#[test]
fn the_previous_value_comes_with_changes_only_and_only_when_asked_for() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        write(&mut client, "a", "1").await;
        write(&mut client, "a", "2").await;
        delete(&mut client, "a").await;
        for prev_kv in [true, false] {
            let request = pb::WatchCreateRequest { prev_kv, ..from("a", 2) };
            let events = open(&mut client, request).await.next().await.events;
            let before = |n: usize| events[n].prev_kv.as_ref().map(|kv| kv.value.to_vec());
            assert_eq!(before(0), None, "it was created");
            assert_eq!(before(1), prev_kv.then(|| b"1".to_vec()));
            assert_eq!(before(2), prev_kv.then(|| b"2".to_vec()));
            let deleted = events[2].kv.as_ref().unwrap();
            assert_eq!((deleted.mod_revision, deleted.create_revision, deleted.version), (4, 0, 0));
        }
    });
}

#[test]
fn a_watcher_that_cannot_be_is_cancelled_as_it_is_created() {
    with_server(|address| async move {
        let mut client = Client::connect(address).await;
        let mut watch = client.watch().await;
        let taken = pb::WatchCreateRequest { watch_id: 5, ..from("a", 0) };
        watch.send(&create(taken.clone()));
        assert_eq!(watch.next().await.watch_id, 5);
        let empty = pb::WatchCreateRequest { range_end: "a".into(), ..from("b", 0) };
        let cases = [
            (taken, "mvcc: duplicate watch ID provided on the WatchStream"),
            (empty, "mvcc: watcher range is empty"),
            (from("a", -1), "etcdserver: mvcc: required revision has been compacted"),
        ];
        for (request, reason) in cases {
            watch.send(&create(request));
            let answer = watch.next().await;
            assert!(answer.created && answer.canceled, "{reason}");
            assert_eq!((answer.watch_id, answer.cancel_reason.as_str()), (-1, reason));
        }
    });
}

/// Resident bytes of this process.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The history is a million revisions; a queue of them would be hundreds of MiB.
#[test]
fn a_stalled_watcher_a_million_revisions_behind_costs_one_send_buffer() {
    const REVISIONS: i64 = 1_000_000;
    const WINDOW_BYTES: usize = 65_535;
    with_door(Limits::default(), |address, door| async move {
        let value = Blob::from(vec![1; 64]);
        for n in 0..REVISIONS {
            door.apply(&Command::Put(PutRequest {
                key: Blob::from(format!("k{:03}", n % 1000).into_bytes()),
                value: value.clone(),
                lease: 0,
                prev_kv: false,
                ignore_value: false,
                ignore_lease: false,
            }));
        }
        let mut client = Client::connect(address).await;
        let before = resident_bytes();
        let mut watch = client.watch().await;
        watch.send(&create(pb::WatchCreateRequest { range_end: "l".into(), ..from("k", 2) }));
        let taken = watch.fill(WINDOW_BYTES).await;
        assert_eq!(taken, WINDOW_BYTES, "bytes left against the client's window");
        // More history while it is stalled rings its bell and queues nothing.
        let mut other = Client::connect(address).await;
        for n in 0..1000 {
            write(&mut other, &format!("k{n:03}"), "later").await;
        }
        assert_eq!(watch.stall(Duration::from_millis(100)).await, 0);
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 16 << 20, "{grown} bytes for one stalled client");
        // It goes on where it stopped and misses nothing.
        watch.resume(taken).await;
        assert!(watch.next().await.created);
        let mut next = 2;
        while next <= 100_000 {
            for event in watch.next().await.events {
                assert_eq!(event.kv.unwrap().mod_revision, next);
                next += 1;
            }
        }
    });
}

#[test]
fn a_live_watcher_hears_what_its_batch_changed_and_compacted() {
    with_door(Limits::default(), |address, door| async move {
        let mut client = Client::connect(address).await;
        write(&mut client, "a", "0").await;
        let mut live = open(&mut client, from("a", 0)).await;
        let put = |value: &str| {
            let (key, value) = (Blob::from(&b"a"[..]), Blob::from(value.as_bytes()));
            Command::Put(PutRequest { key, value, ..PutRequest::default() })
        };
        for round in 0..20 {
            let newest = 2 + 3 * (round + 1);
            let compact = Command::Compact { revision: newest };
            door.batch(&[put("1"), put("2"), put("3"), compact]);
            let mut heard = Vec::new();
            while heard.len() < 3 {
                let answer = live.next().await;
                assert!(!answer.canceled, "round {round}: {answer:?}");
                let revisions = answer.events.into_iter().map(|e| e.kv.unwrap().mod_revision);
                heard.extend(revisions);
            }
            assert_eq!(heard, [newest - 2, newest - 1, newest], "round {round}");
        }
        // Who begins below the compaction is told so.
        let mut late = open(&mut client, from("a", 3)).await;
        let answer = late.next().await;
        assert!(answer.canceled && answer.compact_revision == 62, "{answer:?}");
    });
}
