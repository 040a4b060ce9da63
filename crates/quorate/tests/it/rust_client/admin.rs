//! Maintenance and cluster calls, and services that are not there yet.

use super::*;
use crate::member::ours;
use etcd_client::{AlarmAction, AlarmType, PutOptions};
use std::collections::BTreeSet;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(20);
const NO_SPACE: (i32, &str) = (8, "etcdserver: mvcc: database space exceeded");

#[test]
fn status_and_members_agree_on_who_is_there_and_who_leads() {
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        client.put("rstatus", "1", None).await.unwrap();
        // Members tell each other where they serve clients when they meet.
        let met = async {
            loop {
                let list = client.member_list().await.unwrap();
                if list.members().iter().all(|member| !member.client_urls().is_empty()) {
                    return list;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let list = within("all are met", met).await;
        assert_eq!(revision(list.header()), 0, "as in etcd: cluster headers carry none");
        let ids: BTreeSet<u64> = list.members().iter().map(|member| member.id()).collect();
        let names: BTreeSet<_> = list.members().iter().map(|member| member.name()).collect();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["n1", "n2", "n3"]);
        for member in list.members() {
            assert!(!member.is_learner() && member.peer_urls().len() == 1, "{member:?}");
            assert!(member.client_urls()[0].starts_with("http://127.0.0.1:"), "{member:?}");
        }
        // A busy machine may elect between two of the questions.
        let (answered, leaders) = within("all name one leader", async {
            loop {
                let (answered, leaders) = ask_all(&cluster).await;
                if leaders.len() == 1 {
                    return (answered, leaders);
                }
            }
        })
        .await;
        assert_eq!(answered, ids);
        assert!(ids.contains(&leaders.first().expect("one").0));
    });
}

/// Who answered, and which leaders of which terms were named, after a look at each status.
async fn ask_all(cluster: &Cluster) -> (BTreeSet<u64>, BTreeSet<(u64, u64)>) {
    let (mut answered, mut leaders) = (BTreeSet::new(), BTreeSet::new());
    for at in 0..3 {
        let mut client = client_at(cluster, at).await;
        client.get("rstatus", None).await.unwrap();
        let status = client.status().await.unwrap();
        assert_eq!(status.version(), ours("3.7.0", "3.7.2"));
        assert!(status.errors().is_empty() && !status.is_learner(), "{status:?}");
        assert!(status.raft_applied_index() > 0, "{status:?}");
        assert!(status.raft_index() >= status.raft_applied_index(), "{status:?}");
        assert!(status.db_size() > 0 && status.raft_used_db_size() > 0, "{status:?}");
        assert_eq!(status.db_size_quota(), 2 << 30, "the default quota");
        answered.insert(status.header().expect("a header").member_id());
        leaders.insert((status.leader(), status.raft_term()));
    }
    (answered, leaders)
}

#[test]
fn hashes_agree_at_every_revision_that_is_kept() {
    run(async {
        let cluster = Cluster::start(3);
        let mut client = client(&cluster).await;
        for n in 0..20 {
            client.put(format!("k{}", n % 5), n.to_string(), None).await.unwrap();
        }
        client.compact(10, None).await.unwrap();
        let mut seen = BTreeSet::new();
        for at in 0..3 {
            let mut client = client_at(&cluster, at).await;
            client.get("k", None).await.unwrap();
            let now = client.hash_kv(0).await.unwrap();
            let past = client.hash_kv(15).await.unwrap();
            assert_eq!((now.compact_version(), now.hash_revision()), (10, 21));
            assert_eq!((past.compact_version(), past.hash_revision()), (10, 15));
            seen.insert((now.hash(), past.hash()));
            assert_refused(client.hash_kv(9).await, COMPACTED);
            assert_refused(client.hash_kv(22).await, FUTURE);
            assert!(client.hash().await.unwrap().hash() != 0);
            assert!(client.defragment().await.unwrap().header().is_none(), "as in etcd");
        }
        assert_eq!(seen.len(), 1, "{seen:?}");
        let (now, past) = seen.first().expect("one");
        assert_ne!(now, past);
    });
}

#[test]
fn an_alarm_raised_by_hand_stops_writes_but_not_reads_or_deletes() {
    run(async {
        let cluster = Cluster::start(3);
        let mut client = client(&cluster).await;
        let lease = client.lease_grant(600, None).await.unwrap().id();
        let leased = Some(PutOptions::new().with_lease(lease));
        client.put("k", "1", leased).await.unwrap();
        client.put("l", "1", None).await.unwrap();
        let id = client.member_list().await.unwrap().members()[1].id();
        let options = || {
            let mut options = etcd_client::AlarmOptions::new();
            options.with_member(id);
            Some(options)
        };
        let (activate, space) = (AlarmAction::Activate, AlarmType::Nospace);
        let raised = client.alarm(activate, space, options()).await.unwrap();
        let named = |answer: &etcd_client::AlarmResponse| -> Vec<(u64, bool)> {
            let one =
                |a: &etcd_client::AlarmMember| (a.member_id(), a.alarm() == AlarmType::Nospace);
            answer.alarms().iter().map(one).collect()
        };
        assert_eq!(named(&raised), [(id, true)]);
        let list = client.alarm(AlarmAction::Get, AlarmType::None, None).await.unwrap();
        assert_eq!(named(&list), [(id, true)]);
        assert_refused(client.put("k", "2", None).await, NO_SPACE);
        assert_refused(client.lease_grant(60, None).await, NO_SPACE);
        let txn = etcd_client::Txn::new();
        let write = txn.clone().and_then([etcd_client::TxnOp::put("k", "2", None)]);
        assert_refused(client.txn(write).await, NO_SPACE);
        let read = txn.and_then([etcd_client::TxnOp::get("k", None)]);
        assert!(client.txn(read).await.unwrap().succeeded());
        assert_eq!(pairs(client.get("k", None).await.unwrap().kvs()), ["k=1"]);
        assert_eq!(client.delete("l", None).await.unwrap().deleted(), 1);
        client.compact(3, None).await.unwrap();
        assert_eq!(client.lease_keep_alive(lease).await.unwrap().0.id(), lease);
        client.lease_revoke(lease).await.unwrap();
        let disarmed = client.alarm(AlarmAction::Deactivate, space, options()).await.unwrap();
        assert_eq!(named(&disarmed), [(id, true)]);
        let list = client.alarm(AlarmAction::Get, AlarmType::None, None).await.unwrap();
        assert!(named(&list).is_empty());
        client.put("k", "2", None).await.unwrap();
    });
}

#[test]
fn leadership_moves_to_the_member_that_is_named() {
    run(async {
        let cluster = Cluster::start(3);
        let mut all = client(&cluster).await;
        all.put("k", "1", None).await.unwrap();
        let leader = all.status().await.unwrap().leader();
        let mut ids = Vec::new();
        for at in 0..3 {
            let status = client_at(&cluster, at).await.status().await.unwrap();
            ids.push(status.header().expect("a header").member_id());
        }
        let at = ids.iter().position(|id| *id == leader).expect("the leader is a member");
        let (mut first, mut second) =
            (client_at(&cluster, at).await, client_at(&cluster, (at + 1) % 3).await);
        let next = ids[(at + 1) % 3];
        let not_leader = (FAILED_PRECONDITION, "etcdserver: not leader");
        assert_refused(second.move_leader(next).await, not_leader);
        let bad = (FAILED_PRECONDITION, "etcdserver: bad leader transferee");
        assert_refused(first.move_leader(123).await, bad);
        let moved = async {
            // A hand-over has two election timeouts; a busy machine may need more.
            while let Err(why) = first.move_leader(next).await {
                assert!(why.to_string().contains("leader transfer took too long"), "{why}");
                if second.status().await.unwrap().leader() == next {
                    break;
                }
            }
            while second.status().await.unwrap().leader() != next {
                tokio::time::sleep(PAUSE).await;
            }
        };
        within("the move", moved).await;
        all.put("k", "2", None).await.unwrap();
        assert_eq!(pairs(all.get("k", None).await.unwrap().kvs()), ["k=2"]);
    });
}

#[test]
fn services_that_are_not_there_yet_answer_unimplemented_by_name() {
    if ours(false, true) {
        return;
    }
    run(async {
        let cluster = Cluster::shared();
        let mut client = client(&cluster).await;
        let missing = |answer: (i32, String), service: &str, method: &str| {
            let text = format!("unknown method {method} for service {service}");
            assert_eq!(answer, (UNIMPLEMENTED, text));
        };
        missing(refusal(client.lock("l", None).await), "v3lockpb.Lock", "Lock");
        missing(refusal(client.unlock("l").await), "v3lockpb.Lock", "Unlock");
        let campaign = refusal(client.campaign("e", "v", 1).await);
        missing(campaign, "v3electionpb.Election", "Campaign");
        missing(refusal(client.leader("e").await), "v3electionpb.Election", "Leader");
        let maintenance = "etcdserverpb.Maintenance";
        missing(refusal(client.snapshot().await), maintenance, "Snapshot");
        let gone = |answer: (i32, String)| {
            assert_eq!(answer.1, "etcdserver: member not found");
        };
        gone(refusal(client.member_remove(1).await));
        gone(refusal(client.member_update(1, ["http://127.0.0.1:1".to_owned()]).await));
        gone(refusal(client.member_promote(1).await));
        let auth = "etcdserverpb.Auth";
        missing(refusal(client.auth_enable().await), auth, "AuthEnable");
        missing(refusal(client.auth_disable().await), auth, "AuthDisable");
        missing(refusal(client.user_list().await), auth, "UserList");
        missing(refusal(client.role_list().await), auth, "RoleList");
    });
}
