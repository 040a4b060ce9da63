//! Requests, directories and flags that must be refused, by etcd's code and text or by name.

use crate::cluster::{Cluster, outside};
use api::Message;
use api::etcdserverpb as pb;
use bytes::Bytes;
use client::{Channel, Failure, Outcome, method};
use front_etcd::Front;
use server::config::Config;
use server::node::{End, Node, StartError};

async fn refused(to: &Channel, path: &str, request: &impl Message) -> (u16, String) {
    match to.call::<pb::PutResponse>(path, request).await {
        Err(failure @ Failure::Status(_)) => {
            assert_eq!(failure.outcome(), Outcome::NotApplied, "{failure:?}");
            let Failure::Status(status) = failure else { unreachable!("matched above") };
            (status.code, status.text)
        }
        other => panic!("a refusal, got {other:?}"),
    }
}

fn put(key: &str, value: Vec<u8>) -> pb::PutRequest {
    pb::PutRequest { key: key.to_string().into(), value: value.into(), ..Default::default() }
}

fn op(key: &str) -> pb::RequestOp {
    let request = pb::request_op::Request::RequestPut(put(key, vec![1]));
    pb::RequestOp { request: Some(request) }
}

fn txn(success: Vec<pb::RequestOp>) -> pb::TxnRequest {
    pb::TxnRequest { success, ..Default::default() }
}

#[test]
fn requests_that_cannot_be_get_etcds_code_and_text() {
    let cluster = Cluster::start("requests", &["solo"]);
    (0..3).for_each(|n| cluster.put(0, "k", &n.to_string()));
    let is = |code: u16, text: &str| (code, text.to_string());
    outside(async {
        let to = cluster.channel(0);
        let compact = pb::CompactionRequest { revision: 3, physical: false };
        to.call::<pb::CompactionResponse>(method::kv::COMPACT, &compact).await.expect("compacts");
        let large = is(3, "etcdserver: request is too large");
        assert_eq!(refused(&to, method::kv::PUT, &put("k", vec![0; 1_573_000])).await, large);
        let frame = "grpc: received message larger than max (2097166 vs. 2097152)";
        let over = put("k", vec![0; 2_097_158]);
        assert_eq!(over.encoded_len(), 2_097_166);
        let answer = to.call::<pb::PutResponse>(method::kv::PUT, &over).await;
        let Err(Failure::Status(status)) = answer else { panic!("a refusal, got {answer:?}") };
        assert_eq!((status.code, status.text), is(8, frame));
        let empty = is(3, "etcdserver: key is not provided");
        assert_eq!(refused(&to, method::kv::PUT, &put("", vec![])).await, empty);
        let leased = pb::PutRequest { lease: 4711, ..put("k", vec![]) };
        let no_lease = is(5, "etcdserver: requested lease not found");
        assert_eq!(refused(&to, method::kv::PUT, &leased).await, no_lease);
        let revoke = pb::LeaseRevokeRequest { id: 4711 };
        assert_eq!(refused(&to, method::lease::REVOKE, &revoke).await, no_lease);
        let twice = is(3, "etcdserver: duplicate key given in txn request");
        assert_eq!(refused(&to, method::kv::TXN, &txn(vec![op("k"), op("k")])).await, twice);
        let many = txn((0..129).map(|n| op(&format!("k{n}"))).collect());
        let too_many = is(3, "etcdserver: too many operations in txn request");
        assert_eq!(refused(&to, method::kv::TXN, &many).await, too_many);
        let range = |revision| pb::RangeRequest { key: "k".into(), revision, ..Default::default() };
        let future = is(11, "etcdserver: mvcc: required revision is a future revision");
        assert_eq!(refused(&to, method::kv::RANGE, &range(99)).await, future);
        let gone = is(11, "etcdserver: mvcc: required revision has been compacted");
        assert_eq!(refused(&to, method::kv::RANGE, &range(2)).await, gone);
        assert_eq!(refused(&to, method::kv::COMPACT, &compact).await, gone);
        let compact = pb::CompactionRequest { revision: 99, physical: false };
        assert_eq!(refused(&to, method::kv::COMPACT, &compact).await, future);
    });
    cluster.put(0, "k", "it lives");
}

fn refusal(config: &Config) -> String {
    match Node::start(config.clone(), Front::service) {
        Ok(_) => panic!("it must not start"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_directory_of_somebody_else_is_refused_by_name() {
    let mut cluster = Cluster::start("directories", &["a", "b", "c"]);
    cluster.put(0, "k", "v");
    (0..3).for_each(|at| cluster.kill(at));
    let (a, b) = (cluster.configs[0].clone(), cluster.configs[1].clone());
    let of_b = Config { data_dir: b.data_dir.clone(), ..a.clone() };
    let text = refusal(&of_b);
    assert!(text.contains("belongs to member \"b\""), "{text}");
    let etcd = Config { data_dir: a.data_dir.join("etcd"), ..a.clone() };
    std::fs::create_dir_all(etcd.data_dir.join("member/wal")).expect("made");
    let text = refusal(&etcd);
    assert!(text.contains("holds the data of an etcd member"), "{text}");
    // A journal and an identity that do not belong together: somebody copied a part.
    let swapped = a.data_dir.join("journal");
    std::fs::remove_dir_all(&swapped).expect("removed");
    std::fs::rename(b.data_dir.join("journal"), &swapped).expect("moved");
    let text = refusal(&a);
    assert!(text.contains("the journal belongs to member"), "{text}");
    let existing = Config {
        data_dir: a.data_dir.join("fresh"),
        cluster_state: server::config::ClusterState::Existing,
        ..a.clone()
    };
    let error = Node::start(existing, Front::service).err().expect("nothing to join");
    assert!(matches!(error, StartError::Join(_)), "{error}");
}

#[test]
fn flags_that_only_a_first_start_reads_do_not_keep_a_member_from_starting_again() {
    let mut cluster = Cluster::start("flags", &["a", "b", "c"]);
    cluster.put(0, "k", "v");
    let moved = server::config::free_ports(1).expect("a port")[0];
    let id = cluster.node(2).id.0;
    let mut urls = cluster.configs[2].advertise_peer_urls.clone();
    urls[0].port = moved;
    let peer_ur_ls = vec![urls[0].to_string()];
    outside(async {
        let request = pb::MemberUpdateRequest { id, peer_ur_ls };
        let path = "/etcdserverpb.Cluster/MemberUpdate";
        let done = cluster.channel(0).call::<pb::MemberUpdateResponse>(path, &request).await;
        done.expect("updated");
    });
    // That member, and another one, with the new URL in all their flags.
    for at in [2, 0] {
        cluster.kill(at);
        let config = &mut cluster.configs[at];
        config.initial_cluster[2].peer_urls.clone_from(&urls);
        if at == 2 {
            config.listen_peer_urls.clone_from(&urls);
            config.advertise_peer_urls.clone_from(&urls);
        }
        cluster.restart(at);
        cluster.put(at, "k", "again");
    }
    // Without any of them, and with others.
    cluster.kill(1);
    let single = Config::single("default");
    let config = &mut cluster.configs[1];
    (config.name, config.initial_cluster) = (single.name, single.initial_cluster);
    config.advertise_peer_urls = single.advertise_peer_urls;
    cluster.restart(1);
    cluster.put(1, "k", "without flags");
    cluster.kill(1);
    let config = &mut cluster.configs[1];
    config.cluster_token = "other".to_string();
    config.name = "renamed".to_string();
    config.quota_backend_bytes += 1;
    cluster.restart(1);
    cluster.put(1, "k", "with other flags");
    // But the quorum system is no flag that may differ in silence.
    cluster.kill(1);
    cluster.configs[1].quorum = Some("all of (a, b, c)".to_string());
    let text = refusal(&cluster.configs[1]);
    assert!(text.contains("--quorum") && text.contains("majority(a, b, c)"), "{text}");
}

#[test]
fn a_member_with_another_quorum_in_its_flags_is_told_the_difference() {
    use std::time::{Duration, Instant};
    let mut cluster = Cluster::start("expression", &["a", "b", "c"]);
    cluster.kill(2);
    let data_dir = cluster.configs[2].data_dir.join("fresh");
    let quorum = Some("all of (a, b, c)".to_string());
    let other =
        Node::start(Config { data_dir, quorum, ..cluster.configs[2].clone() }, Front::service);
    let other = other.expect("it starts, and nobody talks to it");
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        assert_eq!(other.status().expect("runs").leader, None, "it must find no leader");
        std::thread::sleep(Duration::from_millis(50));
    }
    cluster.put(0, "k", "the others go on");
    assert_eq!(other.stop(), End::Stopped);
}

#[test]
fn frames_that_are_none_get_what_the_real_etcd_answers() {
    let cluster = Cluster::start("frames", &["solo"]);
    const NONE: &str =
        "cardinality violation: received no request message from non-client-streaming RPC";
    const MANY: &str =
        "cardinality violation: received multiple request messages for non-client-streaming RPC";
    const FLAG: &str = "grpc: compressed flag set with identity or empty encoding";
    const FORMAT: &str = "grpc: received unexpected payload format 7";
    const CUT: &str = "unexpected EOF";
    let one = b"\0\0\0\0\x03\x0a\x01x";
    let (two, more) = ([&one[..], &one[..]].concat(), [&one[..], b"\0\0"].concat());
    // Bytes after the headers; the refusals of a unary call and of a stream of answers.
    type Refusal = Option<(u16, &'static str)>;
    let cases: [(&[u8], Refusal, Refusal); 8] = [
        (b"", Some((2, "EOF")), Some((13, NONE))),
        (b"\0\0\0", Some((2, "EOF")), Some((13, NONE))),
        (b"\0\0\0\0\x05\x0a", Some((2, CUT)), Some((13, CUT))),
        (b"\x01\0\0\0\x03\x0a\x01x", Some((13, FLAG)), Some((13, FLAG))),
        (b"\x07\0\0\0\x03\x0a\x01x", Some((13, FORMAT)), Some((13, FORMAT))),
        (one, None, None),
        (&two, None, Some((13, MANY))),
        (&more, None, None),
    ];
    outside(async {
        let to = cluster.channel(0);
        for (wire, unary, stream) in cases {
            for (path, expected) in [(method::kv::RANGE, unary), (RANGE_STREAM, stream)] {
                let body = Bytes::copy_from_slice(wire);
                let refused = match to.raw(&to.prepare(path), body).await {
                    Ok(_) => None,
                    Err(Failure::Status(status)) => Some((status.code, status.text)),
                    Err(other) => panic!("{path} {wire:?}: {other}"),
                };
                let expected = expected.map(|(code, text)| (code, text.to_owned()));
                assert_eq!(refused, expected, "{path} {wire:?}");
            }
        }
    });
}

const RANGE_STREAM: &str = "/etcdserverpb.KV/RangeStream";

#[test]
fn a_member_with_more_urls_than_members_read_from_each_other_is_refused_at_the_door() {
    let cluster = Cluster::start("urls", &["a", "b", "c"]);
    let follower = (cluster.leader() + 1) % 3;
    outside(async {
        let to = cluster.channel(follower);
        let bad = (3, "etcdserver: given member URLs are invalid".to_string());
        let many = (0..65).map(|n| format!("http://127.0.0.1:{}", 1000 + n)).collect();
        let long = vec![format!("http://{}:1", "h".repeat(2000))];
        for peer_ur_ls in [many, long] {
            let add = pb::MemberAddRequest { peer_ur_ls, is_learner: true };
            assert_eq!(refused(&to, method::cluster::MEMBER_ADD, &add).await, bad);
        }
    });
}

#[test]
fn an_answer_that_would_fill_the_memory_is_refused_and_the_member_lives() {
    let cluster = Cluster::start("answer", &["solo"]);
    let value = "x".repeat(1_300_000);
    (0..35).for_each(|n| cluster.put(0, &format!("k{n}"), &value));
    let all = Bytes::from_static(b"\0");
    let range = pb::RangeRequest { key: all.clone(), range_end: all, ..Default::default() };
    let op = pb::RequestOp { request: Some(pb::request_op::Request::RequestRange(range)) };
    outside(async {
        let to = cluster.channel(0);
        let answer = to.call::<pb::TxnResponse>(method::kv::TXN, &txn(vec![op; 128])).await;
        let Err(Failure::Status(status)) = answer else { panic!("a refusal, got {answer:?}") };
        assert_eq!(status.text, "etcdserver: too many operations in txn request");
    });
    assert_eq!(cluster.all(0).count, 35);
}

#[test]
fn a_first_start_that_cannot_listen_leaves_nothing_behind() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let root = std::env::temp_dir().join(format!("quorate-busy-port-{}", std::process::id()));
    let mut config = server::config::local_cluster(&["a"], &root).expect("free ports").remove(0);
    let free = config.listen_client_urls.clone();
    let busy = format!("http://{}", taken.local_addr().expect("bound"));
    config.listen_client_urls = vec![server::config::Url::parse(&busy).expect("a URL")];
    match Node::start(config.clone(), Front::service) {
        Err(StartError::Listen(url, _)) => assert_eq!(url, busy),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it listens on a port that is taken"),
    }
    let nonsense = Config { quorum: Some("1 of (a, b)".to_string()), ..config.clone() };
    assert!(matches!(Node::start(nonsense, Front::service), Err(StartError::Config(_))));
    assert!(!config.data_dir.exists(), "the next start may be told better");
    // Named twice, as some scripts do, it is one.
    config.listen_client_urls = [&free[..], &free[..]].concat();
    let node = Node::start(config, Front::service).expect("it starts");
    drop(node);
    let _ = std::fs::remove_dir_all(&root);
}
