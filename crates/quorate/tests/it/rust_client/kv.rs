//! put, get, delete, compact.

use super::*;
use etcd_client::{CompactionOptions, DeleteOptions, PutOptions, SortOrder, SortTarget};

/// Puts `value` and returns the revision that this made.
async fn put(client: &mut Client, key: &str, value: &str) -> i64 {
    let put = client.put(key, value, None).await.expect("a put");
    revision(put.header())
}

#[test]
fn puts_return_headers_and_what_was_before() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let first = client.put("rput/a", "1", None).await.unwrap();
        assert!(first.prev_key().is_none());
        let header = first.header().expect("a header");
        assert!(header.cluster_id() != 0 && header.member_id() != 0 && header.raft_term() > 0);
        let with_previous = || Some(PutOptions::new().with_prev_key());
        let second = client.put("rput/a", "2", with_previous()).await.unwrap();
        let before = second.prev_key().expect("what was before");
        assert_eq!((before.value(), before.version(), before.lease()), (&b"1"[..], 1, 0));
        assert_eq!(before.mod_revision(), header.revision());
        assert_eq!(before.create_revision(), header.revision());
        assert!(revision(second.header()) > header.revision());
        let absent = client.put("rput/b", "1", with_previous()).await.unwrap();
        assert!(absent.prev_key().is_none());
        // Keep the value, take the lease; then keep the lease, take a value.
        let lease = client.lease_grant(600, None).await.unwrap().id();
        let keep = PutOptions::new().with_ignore_value().with_lease(lease);
        client.put("rput/a", "", Some(keep)).await.unwrap();
        let keep = PutOptions::new().with_ignore_lease();
        client.put("rput/a", "3", Some(keep)).await.unwrap();
        let get = client.get("rput/a", None).await.unwrap();
        let kv = &get.kvs()[0];
        assert_eq!((kv.value(), kv.version(), kv.lease()), (&b"3"[..], 4, lease));
        assert_eq!(kv.create_revision(), header.revision());
    });
}

#[test]
fn refused_puts_and_deletes_have_etcds_codes_and_texts() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        assert_refused(client.put("", "v", None).await, EMPTY_KEY);
        assert_refused(client.delete("", None).await, EMPTY_KEY);
        assert_refused(client.get("", None).await, EMPTY_KEY);
        let value = PutOptions::new().with_ignore_value();
        assert_refused(client.put("rref/none", "", Some(value.clone())).await, NO_KEY);
        let provided = (INVALID_ARGUMENT, "etcdserver: value is provided");
        assert_refused(client.put("rref/none", "v", Some(value)).await, provided);
        let lease = PutOptions::new().with_ignore_lease();
        assert_refused(client.put("rref/none", "v", Some(lease.clone())).await, NO_KEY);
        let provided = (INVALID_ARGUMENT, "etcdserver: lease is provided");
        assert_refused(client.put("rref/none", "v", Some(lease.with_lease(1))).await, provided);
        let unknown = PutOptions::new().with_lease(i64::MAX);
        assert_refused(client.put("rref/none", "v", Some(unknown)).await, NO_LEASE);
        let large = (INVALID_ARGUMENT, "etcdserver: request is too large");
        assert_refused(client.put("rref/none", vec![0; 3 * 512 * 1024], None).await, large);
        assert!(below(&mut client, "rref/").await.is_empty());
        // Just below the limit is fine, there and back.
        let long = vec![b'x'; 3 * 512 * 1024 - 1024];
        client.put("rref/long", long.clone(), None).await.unwrap();
        assert_eq!(client.get("rref/long", None).await.unwrap().kvs()[0].value(), long);
    });
}

#[test]
fn every_form_of_range_counts_limits_and_says_if_there_is_more() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        for key in ["a", "b", "c", "d"] {
            put(&mut client, &format!("rget/{key}"), key).await;
        }
        let all = GetOptions::new().with_prefix();
        let get = client.get("rget/", Some(all.clone().with_limit(3))).await.unwrap();
        assert_eq!(pairs(get.kvs()), ["rget/a=a", "rget/b=b", "rget/c=c"]);
        assert_eq!((get.count(), get.more()), (4, true));
        let get = client.get("rget/", Some(all.clone().with_limit(4))).await.unwrap();
        assert_eq!((get.kvs().len(), get.count(), get.more()), (4, 4, false));
        let range = GetOptions::new().with_range("rget/d");
        let get = client.get("rget/b", Some(range)).await.unwrap();
        assert_eq!(pairs(get.kvs()), ["rget/b=b", "rget/c=c"]);
        let empty = GetOptions::new().with_range("rget/a");
        let get = client.get("rget/b", Some(empty)).await.unwrap();
        assert_eq!((get.kvs().len(), get.count(), get.more()), (0, 0, false));
        let from = GetOptions::new().with_from_key().with_limit(2);
        let get = client.get("rget/c", Some(from)).await.unwrap();
        assert_eq!(pairs(get.kvs()), ["rget/c=c", "rget/d=d"]);
        let everything = GetOptions::new().with_all_keys().with_count_only();
        let get = client.get("", Some(everything)).await.unwrap();
        assert!(get.count() >= 4 && get.kvs().is_empty() && !get.more());
        let count = client.get("rget/", Some(all.clone().with_count_only())).await.unwrap();
        assert_eq!((count.kvs().len(), count.count(), count.more()), (0, 4, false));
        let keys = client.get("rget/", Some(all.clone().with_keys_only())).await.unwrap();
        assert_eq!(pairs(keys.kvs()), ["rget/a=", "rget/b=", "rget/c=", "rget/d="]);
        assert!(keys.kvs().iter().all(|kv| kv.version() == 1 && kv.mod_revision() > 0));
        let one = client.get("rget/none", None).await.unwrap();
        assert_eq!((one.kvs().len(), one.count(), one.more()), (0, 0, false));
    });
}

#[test]
fn ranges_sort_filter_and_read_the_past() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let c = put(&mut client, "rsort/c", "2").await;
        let a = put(&mut client, "rsort/a", "3").await;
        let b = put(&mut client, "rsort/b", "1").await;
        let c_again = put(&mut client, "rsort/c", "2").await;
        let all = GetOptions::new().with_prefix();
        let mut keys = async |options: GetOptions| -> String {
            let get = client.get("rsort/", Some(options)).await.expect("a read");
            let key = |kv: &KeyValue| kv.key_str().expect("text")["rsort/".len()..].to_owned();
            get.kvs().iter().map(key).collect()
        };
        for (target, ascending) in [
            (SortTarget::Key, "abc"),
            (SortTarget::Value, "bca"),
            (SortTarget::Create, "cab"),
            (SortTarget::Mod, "abc"),
        ] {
            let sorted = all.clone().with_sort(target, SortOrder::Ascend);
            assert_eq!(keys(sorted).await, ascending, "{target:?}");
            let sorted = all.clone().with_sort(target, SortOrder::Descend);
            let descending: String = ascending.chars().rev().collect();
            assert_eq!(keys(sorted.clone()).await, descending, "{target:?}");
            assert_eq!(keys(sorted.with_limit(2)).await, descending[..2], "{target:?}");
        }
        let highest = all.clone().with_sort(SortTarget::Version, SortOrder::Descend).with_limit(1);
        assert_eq!(keys(highest).await, "c");
        assert_eq!(keys(all.clone().with_min_mod_revision(b)).await, "bc");
        assert_eq!(keys(all.clone().with_max_mod_revision(b)).await, "ab");
        assert_eq!(keys(all.clone().with_min_create_revision(a)).await, "ab");
        assert_eq!(keys(all.clone().with_max_create_revision(a)).await, "ac");
        assert_eq!(keys(all.clone().with_revision(a)).await, "ac");
        assert_eq!(keys(all.clone().with_revision(c - 1)).await, "");
        // The header tells of now, not of the revision that was read.
        let old = client.get("rsort/c", Some(GetOptions::new().with_revision(c))).await.unwrap();
        assert!(revision(old.header()) >= c_again);
        let kv = &old.kvs()[0];
        assert_eq!((kv.mod_revision(), kv.create_revision(), kv.version()), (c, c, 1));
        let future = GetOptions::new().with_revision(i64::MAX);
        assert_refused(client.get("rsort/c", Some(future)).await, FUTURE);
    });
}

#[test]
fn a_members_own_state_shows_what_it_answered() {
    run(async {
        let cluster = Cluster::shared();
        for at in 0..3 {
            let mut client = client_at(&cluster, at).await;
            let wrote = put(&mut client, "rser/a", &at.to_string()).await;
            let local = GetOptions::new().with_serializable();
            let get = client.get("rser/a", Some(local)).await.unwrap();
            assert_eq!(get.kvs()[0].mod_revision(), wrote);
            // A linearizable read through the next member sees it too.
            let mut other = client_at(&cluster, (at + 1) % 3).await;
            let get = other.get("rser/a", None).await.unwrap();
            assert_eq!(get.kvs()[0].mod_revision(), wrote);
        }
    });
}

#[test]
fn a_streamed_range_is_the_same_range_in_parts() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        for n in 0..40 {
            put(&mut client, &format!("rstream/{n:02}"), &"x".repeat(n)).await;
        }
        let all = GetOptions::new().with_prefix();
        let whole = client.get("rstream/", Some(all.clone())).await.unwrap();
        let mut kv = client.kv_client();
        let mut stream = kv.get_stream("rstream/", Some(all)).await.unwrap();
        let (mut parts, mut got, mut count) = (0, Vec::new(), 0);
        while let Some(part) = within("a part", stream.message()).await.unwrap() {
            parts += 1;
            got.extend(pairs(part.kvs()));
            count = part.count();
        }
        assert_eq!(got, pairs(whole.kvs()));
        assert_eq!((count, got.len()), (40, 40));
        assert!(parts > 1, "40 keys come in several parts");
        // The refusal may come instead of the stream or inside it.
        let refused = match kv.get_stream("", None).await {
            Ok(mut stream) => within("a refusal", stream.message()).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert_refused(refused, EMPTY_KEY);
    });
}

#[test]
fn deletes_count_and_return_what_they_took() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        for key in ["a", "b", "c", "d"] {
            put(&mut client, &format!("~rdel/{key}"), key).await;
        }
        let none = client.delete("~rdel/none", None).await.unwrap();
        assert_eq!((none.deleted(), none.prev_kvs().len()), (0, 0));
        let one = client.delete("~rdel/a", None).await.unwrap();
        assert_eq!((one.deleted(), one.prev_kvs().len()), (1, 0));
        let range = DeleteOptions::new().with_range("~rdel/d").with_prev_key();
        let two = client.delete("~rdel/b", Some(range)).await.unwrap();
        assert_eq!(two.deleted(), 2);
        assert_eq!(pairs(two.prev_kvs()), ["~rdel/b=b", "~rdel/c=c"]);
        let before = revision(two.header());
        let old = GetOptions::new().with_prefix().with_revision(before - 1);
        assert_eq!(client.get("~rdel/", Some(old)).await.unwrap().count(), 3);
        let prefix = DeleteOptions::new().with_prefix();
        assert_eq!(client.delete("~rdel/", Some(prefix)).await.unwrap().deleted(), 1);
        // Created anew, a key starts over.
        let again = put(&mut client, "~rdel/a", "again").await;
        let get = client.get("~rdel/a", None).await.unwrap();
        let kv = &get.kvs()[0];
        assert_eq!((kv.version(), kv.create_revision()), (1, again));
        let from = DeleteOptions::new().with_from_key();
        assert_eq!(client.delete("~rdel/", Some(from)).await.unwrap().deleted(), 1);
    });
}

#[test]
fn revisions_count_changes_and_compaction_takes_them_in_order() {
    run(async {
        let cluster = Cluster::start(1);
        let mut client = client(&cluster).await;
        assert_eq!(revision(client.get("k", None).await.unwrap().header()), 1);
        assert_eq!(put(&mut client, "k", "1").await, 2);
        assert_eq!(put(&mut client, "k", "1").await, 3, "the same value is a change");
        let nothing = client.delete("none", None).await.unwrap();
        assert_eq!(revision(nothing.header()), 3, "nothing deleted, nothing changed");
        assert_eq!(revision(client.delete("k", None).await.unwrap().header()), 4);
        put(&mut client, "k", "5").await;
        put(&mut client, "k", "6").await;
        let compact = client.compact(4, None).await.unwrap();
        assert_eq!(revision(compact.header()), 6);
        assert_refused(client.compact(4, None).await, COMPACTED);
        assert_refused(client.compact(-1, None).await, COMPACTED);
        assert_refused(client.compact(7, None).await, FUTURE);
        let at = |revision| Some(GetOptions::new().with_revision(revision));
        assert_refused(client.get("k", at(3)).await, COMPACTED);
        assert!(client.get("k", at(4)).await.unwrap().kvs().is_empty(), "the delete at 4");
        assert_eq!(pairs(client.get("k", at(5)).await.unwrap().kvs()), ["k=5"]);
        assert_refused(client.get("k", at(7)).await, FUTURE);
        let physical = CompactionOptions::new().with_physical();
        client.compact(6, Some(physical)).await.unwrap();
        assert_refused(client.get("k", at(5)).await, COMPACTED);
        assert_eq!(pairs(client.get("k", None).await.unwrap().kvs()), ["k=6"]);
        assert_eq!(pairs(client.get("k", at(-1)).await.unwrap().kvs()), ["k=6"]);
    });
}
