//! Watches: several on one stream, from any revision, with filters, progress and fragments.

use super::*;
use etcd_client::{
    DeleteOptions, EventType, PutOptions, Txn, TxnOp, WatchFilterType, WatchOptions, WatchResponse,
    WatchStream,
};

const COMPACTED_TEXT: &str = "etcdserver: mvcc: required revision has been compacted";

async fn next(stream: &mut WatchStream) -> WatchResponse {
    let message = within("a watch response", stream.message()).await;
    message.expect("no error").expect("not the end")
}

/// Opens a watch and waits until it is registered.
async fn open(client: &mut Client, key: &str, options: WatchOptions) -> (WatchStream, i64) {
    let mut stream =
        within("a watch", client.watch(key, Some(options))).await.expect("a watch stream");
    let created = next(&mut stream).await;
    assert!(created.created() && !created.canceled() && created.events().is_empty());
    let id = created.watch_id();
    (stream, id)
}

/// `+key=value` or `-key` of each event, `<value` for what was before.
fn events(response: &WatchResponse) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let one = |event: &etcd_client::Event| {
        let kv = event.kv().expect("a key");
        let before = event.prev_kv().map(|kv| format!("<{}", text(kv.value())));
        let now = match event.event_type() {
            EventType::Put => format!("+{}={}", text(kv.key()), text(kv.value())),
            EventType::Delete => format!("-{}", text(kv.key())),
        };
        now + &before.unwrap_or_default()
    };
    response.events().iter().map(one).collect()
}

/// The next `count` events, in however many responses they come.
async fn next_events(stream: &mut WatchStream, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.extend(events(&next(stream).await));
    }
    seen
}

async fn put(client: &mut Client, key: &str, value: &str) -> i64 {
    revision(client.put(key, value, None).await.expect("a put").header())
}

#[test]
fn a_live_watch_tells_each_revision_once_and_in_one_piece() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let mut at = client_at(&cluster, 1).await;
        let prefix = WatchOptions::new().with_prefix().with_prev_key();
        let (mut stream, id) = open(&mut at, "rw/", prefix).await;
        assert_eq!(id, 0, "the first id of a stream");
        let created = put(&mut client, "rw/a", "1").await;
        let response = next(&mut stream).await;
        assert_eq!(events(&response), ["+rw/a=1"]);
        assert_eq!((revision(response.header()), response.watch_id()), (created, id));
        let changed = put(&mut client, "rw/a", "2").await;
        let response = next(&mut stream).await;
        assert_eq!(events(&response), ["+rw/a=2<1"]);
        assert_eq!(revision(response.header()), changed);
        let kv = response.events()[0].kv().expect("a key").clone();
        assert_eq!((kv.create_revision(), kv.mod_revision(), kv.version()), (created, changed, 2));
        put(&mut client, "rx", "outside").await;
        let ops = [
            TxnOp::put("rw/c", "3", None),
            TxnOp::put("rx", "outside", None),
            TxnOp::put("rw/b", "4", None),
            TxnOp::delete("rw/a", None),
        ];
        let txn = client.txn(Txn::new().and_then(ops)).await.unwrap();
        let response = next(&mut stream).await;
        assert_eq!(events(&response), ["+rw/c=3", "+rw/b=4", "-rw/a<2"]);
        assert_eq!(revision(response.header()), revision(txn.header()));
        let gone = response.events()[2].kv().expect("a key").clone();
        assert_eq!(gone.mod_revision(), revision(txn.header()));
        assert_eq!((gone.create_revision(), gone.version(), gone.value()), (0, 0, &b""[..]));
    });
}

#[test]
fn a_watch_of_the_past_catches_up_and_goes_on() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let mut first = put(&mut client, "rpast/a", "1").await;
        put(&mut client, "rpast/b", "2").await;
        client.delete("rpast/a", None).await.unwrap();
        for at in 0..3 {
            let mut client = client_at(&cluster, at).await;
            // A linearizable read: this member has applied all of the above.
            client.get("rpast/a", None).await.unwrap();
            let from = WatchOptions::new().with_prefix().with_start_revision(first);
            let (mut stream, _) = open(&mut client, "rpast/", from).await;
            let seen = next_events(&mut stream, 3).await;
            assert_eq!(seen, ["+rpast/a=1", "+rpast/b=2", "-rpast/a"]);
            let mut other = client_at(&cluster, (at + 1) % 3).await;
            put(&mut other, "rpast/a", "3").await;
            assert_eq!(events(&next(&mut stream).await), ["+rpast/a=3"]);
            // Only what this round watched may be there in the next one.
            first = put(&mut other, "rpast/a", "1").await;
            put(&mut other, "rpast/b", "2").await;
            other.delete("rpast/a", None).await.unwrap();
        }
        let range = WatchOptions::new().with_range("rpast/b").with_start_revision(first);
        let (mut stream, _) = open(&mut client, "rpast/a", range).await;
        assert_eq!(next_events(&mut stream, 2).await, ["+rpast/a=1", "-rpast/a"]);
    });
}

#[test]
fn a_watch_of_the_future_waits_for_it() {
    run(async {
        let cluster = Cluster::start(1);
        let mut client = client(&cluster).await;
        let now = put(&mut client, "k", "0").await;
        let from = WatchOptions::new().with_start_revision(now + 3);
        let (mut stream, _) = open(&mut client, "k", from).await;
        for value in ["1", "2", "3"] {
            put(&mut client, "k", value).await;
        }
        let response = next(&mut stream).await;
        assert_eq!(events(&response), ["+k=3"]);
        assert_eq!(revision(response.header()), now + 3);
    });
}

#[test]
fn filters_keep_puts_or_deletes_away() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let start = put(&mut client, "rfilter/a", "0").await;
        let filtered = |filters: &[WatchFilterType]| {
            WatchOptions::new()
                .with_prefix()
                .with_start_revision(start + 1)
                .with_filters(filters.to_vec())
        };
        let no_put = filtered(&[WatchFilterType::NoPut]);
        let no_delete = filtered(&[WatchFilterType::NoDelete]);
        let (mut deletes, _) = open(&mut client, "rfilter/", no_put).await;
        let (mut puts, _) = open(&mut client, "rfilter/", no_delete).await;
        put(&mut client, "rfilter/b", "1").await;
        client.delete("rfilter/a", None).await.unwrap();
        put(&mut client, "rfilter/b", "2").await;
        client.delete("rfilter/b", None).await.unwrap();
        assert_eq!(next_events(&mut deletes, 2).await, ["-rfilter/a", "-rfilter/b"]);
        assert_eq!(next_events(&mut puts, 2).await, ["+rfilter/b=1", "+rfilter/b=2"]);
    });
}

#[test]
fn many_watches_share_a_stream_and_are_cancelled_one_by_one() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let (mut stream, first) = open(&mut client, "rmany/a", WatchOptions::new()).await;
        let own_id = WatchOptions::new().with_watch_id(7);
        stream.watch("rmany/b", Some(own_id.clone())).await.unwrap();
        let created = next(&mut stream).await;
        assert_eq!((created.created(), created.watch_id()), (true, 7));
        stream.watch("rmany/c", None).await.unwrap();
        let third = next(&mut stream).await.watch_id();
        assert_eq!((first, third), (0, 1));
        // An id in use is refused; the watch that has it lives on.
        stream.watch("rmany/d", Some(own_id)).await.unwrap();
        let refused = next(&mut stream).await;
        assert_eq!((refused.created(), refused.canceled()), (true, true));
        assert_eq!(refused.watch_id(), -1);
        let text = "mvcc: duplicate watch ID provided on the WatchStream";
        assert_eq!(refused.cancel_reason(), text);
        put(&mut client, "rmany/b", "1").await;
        let response = next(&mut stream).await;
        assert_eq!((response.watch_id(), events(&response)), (7, vec!["+rmany/b=1".to_owned()]));
        stream.cancel(7).await.unwrap();
        let cancelled = next(&mut stream).await;
        assert_eq!((cancelled.canceled(), cancelled.watch_id()), (true, 7));
        assert_eq!(cancelled.cancel_reason(), "");
        // An unknown id is ignored; the others go on.
        stream.cancel(99).await.unwrap();
        put(&mut client, "rmany/b", "2").await;
        put(&mut client, "rmany/c", "3").await;
        let response = next(&mut stream).await;
        assert_eq!((response.watch_id(), events(&response)), (third, vec!["+rmany/c=3".into()]));
        // Two watches of one key each get the event.
        stream.watch("rmany/a", None).await.unwrap();
        let again = next(&mut stream).await.watch_id();
        put(&mut client, "rmany/a", "4").await;
        let mut told = [next(&mut stream).await.watch_id(), next(&mut stream).await.watch_id()];
        told.sort_unstable();
        assert_eq!(told, [first, again]);
    });
}

#[test]
fn ranges_and_revisions_that_make_no_sense_are_cancelled_at_once() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let empty = WatchOptions::new().with_range("rnone/a");
        let negative = WatchOptions::new().with_start_revision(-1);
        for (options, reason) in
            [(empty, "mvcc: watcher range is empty"), (negative, COMPACTED_TEXT)]
        {
            let mut stream = client.watch("rnone/b", Some(options)).await.unwrap();
            let answer = next(&mut stream).await;
            assert_eq!((answer.created(), answer.canceled()), (true, true), "{answer:?}");
            assert_eq!((answer.watch_id(), answer.cancel_reason()), (-1, reason));
            // The stream itself is fine.
            stream.watch("rnone/a", None).await.unwrap();
            assert!(next(&mut stream).await.created());
        }
    });
}

#[test]
fn progress_is_told_on_request_and_never_ahead_of_events() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client_at(&cluster, 2).await;
        let start = put(&mut client, "rprog/a", "0").await;
        let from = WatchOptions::new().with_prefix().with_start_revision(start);
        let (mut stream, id) = open(&mut client, "rprog/", from).await;
        assert_eq!(events(&next(&mut stream).await), ["+rprog/a=0"]);
        for n in 0..50 {
            let made = put(&mut client, "rprog/a", &n.to_string()).await;
            stream.request_progress().await.unwrap();
            let response = next(&mut stream).await;
            assert_eq!(response.watch_id(), id, "the event comes before the promise");
            assert_eq!(events(&response), [format!("+rprog/a={n}")]);
            let progress = next(&mut stream).await;
            assert_eq!((progress.watch_id(), progress.events().len()), (-1, 0));
            assert!(revision(progress.header()) >= made, "{progress:?}");
        }
    });
}

#[test]
fn quiet_watches_hear_of_progress_by_themselves() {
    run(async {
        let flags = ["--watch-progress-notify-interval", "200ms"];
        let cluster = Cluster::start_with(1, &flags);
        let mut client = client(&cluster).await;
        let notify = WatchOptions::new().with_progress_notify();
        let (mut stream, id) = open(&mut client, "quiet", notify).await;
        let elsewhere = put(&mut client, "elsewhere", "1").await;
        loop {
            let progress = next(&mut stream).await;
            assert_eq!((progress.watch_id(), progress.events().len()), (id, 0));
            if revision(progress.header()) == elsewhere {
                break;
            }
        }
        put(&mut client, "quiet", "1").await;
        let mut response = next(&mut stream).await;
        while response.events().is_empty() {
            response = next(&mut stream).await;
        }
        assert_eq!(events(&response), ["+quiet=1"]);
    });
}

#[test]
fn a_watch_of_compacted_history_is_told_where_history_begins() {
    run(async {
        let cluster = Cluster::start(1);
        let mut client = client(&cluster).await;
        for value in ["1", "2", "3", "4"] {
            put(&mut client, "k", value).await;
        }
        client.compact(4, None).await.unwrap();
        let from = |revision| WatchOptions::new().with_start_revision(revision);
        let (mut stream, id) = open(&mut client, "k", from(2)).await;
        let cancelled = next(&mut stream).await;
        assert_eq!((cancelled.canceled(), cancelled.watch_id()), (true, id));
        assert_eq!((cancelled.compact_revision(), cancelled.events().len()), (4, 0));
        assert_eq!(cancelled.cancel_reason(), "");
        assert_eq!(revision(cancelled.header()), 0, "as in etcd");
        stream.watch("k", Some(from(4))).await.unwrap();
        assert!(next(&mut stream).await.created());
        assert_eq!(next_events(&mut stream, 2).await, ["+k=3", "+k=4"]);
    });
}

#[test]
fn a_revision_larger_than_a_message_comes_in_fragments() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let value = vec![b'x'; 1024 * 1024];
        let mut last = 0;
        for n in 0..5 {
            let put = client.put(format!("rfrag/{n}"), value.clone(), None).await.unwrap();
            last = revision(put.header());
        }
        // "From now" would be the watching member's now, which may be before the last put.
        let options = WatchOptions::new().with_prefix().with_prev_key().with_fragment();
        let options = options.with_start_revision(last + 1);
        let (mut stream, _) = open(&mut client, "rfrag/", options).await;
        let all = DeleteOptions::new().with_prefix();
        let deleted = client.delete("rfrag/", Some(all)).await.unwrap();
        let (mut parts, mut keys) = (0, Vec::new());
        while keys.len() < 5 {
            let part = next(&mut stream).await;
            assert_eq!(revision(part.header()), revision(deleted.header()));
            assert!(part.events().len() < 5, "5 MiB are too much for one message");
            for event in part.events() {
                assert_eq!(event.prev_kv().map(|kv| kv.value().len()), Some(value.len()));
                keys.push(event.kv().expect("a key").key_str().expect("text").to_owned());
            }
            parts += 1;
        }
        assert_eq!(keys, ["rfrag/0", "rfrag/1", "rfrag/2", "rfrag/3", "rfrag/4"]);
        assert!(parts > 1);
    });
}

#[test]
fn a_watch_at_every_member_sees_all_writes_in_the_same_order() {
    run(async {
        let cluster = Cluster::shared();
        let mut streams = Vec::new();
        for at in 0..3 {
            let mut client = client_at(&cluster, at).await;
            let prefix = WatchOptions::new().with_prefix();
            streams.push(open(&mut client, "rorder/", prefix).await.0);
        }
        let mut client = client(&cluster).await;
        let lease = client.lease_grant(600, None).await.unwrap().id();
        for n in 0..100 {
            let leased = Some(PutOptions::new().with_lease(lease));
            client.put(format!("rorder/{}", n % 7), n.to_string(), leased).await.unwrap();
        }
        client.lease_revoke(lease).await.unwrap();
        let mut orders = Vec::new();
        for stream in &mut streams {
            let mut seen = Vec::new();
            while seen.len() < 107 {
                let response = next(stream).await;
                let revision = |event: &etcd_client::Event| {
                    event.kv().map(KeyValue::mod_revision).expect("a key")
                };
                let revisions = response.events().iter().map(revision);
                seen.extend(revisions.zip(events(&response)));
            }
            orders.push(seen);
        }
        assert!(orders[0].is_sorted_by_key(|(revision, _)| *revision), "{:?}", orders[0]);
        assert_eq!(orders[0][99].1, "+rorder/1=99");
        let last: Vec<_> = orders[0][100..].iter().map(|(_, event)| event.as_str()).collect();
        let expected: Vec<_> = (0..7).map(|n| format!("-rorder/{n}")).collect();
        assert_eq!(last, expected, "revoked in one revision, in order of keys");
        assert!(orders.iter().all(|order| *order == orders[0]));
    });
}
