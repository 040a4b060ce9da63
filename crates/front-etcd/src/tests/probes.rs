//! `/health`, `/livez`, `/readyz`: answers a real etcd 3.7.2 gave, and ours for what it lacks.

use super::client::Client;
use super::with_door;
use api::etcdserverpb as pb;
use base::NodeId;
use mvcc::AlarmKind;
use net::Limits;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn ask(address: SocketAddr, method: &str, target: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
}

async fn get(address: SocketAddr, target: &str) -> (u16, String) {
    ask(address, "GET", target).await
}

fn is(code: u16, body: &str) -> (u16, String) {
    (code, body.to_string())
}

const HEALTHY: &str = "{\"health\":\"true\",\"reason\":\"\"}";

#[test]
fn a_healthy_member_answers_as_etcd_does() {
    with_door(Limits::default(), |at, _| async move {
        for target in ["/health", "/health?serializable=true", "/health?exclude=NOSPACE"] {
            assert_eq!(get(at, target).await, is(200, HEALTHY), "{target}");
        }
        for target in ["/livez", "/readyz", "/livez/serializable_read", "/readyz?exclude=nothing"] {
            assert_eq!(get(at, target).await, is(200, "ok\n"), "{target}");
        }
        assert_eq!(get(at, "/livez?verbose").await, is(200, "[+]serializable_read ok\nok\n"));
        let all = "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n\
                   [+]non_learner ok\nok\n";
        assert_eq!(get(at, "/readyz?verbose").await, is(200, all));
        let some = all.replace("[+]linearizable_read ok\n", "");
        let excluded = get(at, "/readyz?verbose&exclude=linearizable_read").await;
        assert_eq!(excluded, is(200, &some));
        assert_eq!(get(at, "/readyz/other").await, is(404, "404 page not found\n"));
        assert_eq!(get(at, "/livez/linearizable_read").await.0, 404);
        for method in ["POST", "HEAD"] {
            assert_eq!(ask(at, method, "/health").await.0, 405, "{method}");
        }
        assert_eq!(ask(at, "POST", "/v3/kv/range").await.0, 501);
    });
}

#[test]
fn without_a_quorum_a_member_lives_but_is_not_ready() {
    with_door(Limits::default(), |at, door| async move {
        door.leads.set(false);
        let reason = "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n";
        assert_eq!(get(at, "/health").await, is(503, reason));
        assert_eq!(get(at, "/health?serializable=true").await, is(200, HEALTHY));
        door.cut_off.set(true);
        assert_eq!(get(at, "/livez").await, is(200, "ok\n"));
        let failed = "[-]linearizable_read failed: etcdserver: request timed out\n";
        let (code, body) = get(at, "/readyz").await;
        assert_eq!(code, 503);
        assert!(body.contains(failed) && body.contains("[+]serializable_read ok\n"), "{body}");
        assert_eq!(get(at, "/readyz/linearizable_read").await, is(503, &format!("{failed}\n")));
        assert_eq!(get(at, "/readyz?exclude=linearizable_read").await, is(200, "ok\n"));
        door.leads.set(true);
        let (code, body) = get(at, "/health").await;
        assert_eq!(code, 503);
        assert!(body.contains("RANGE ERROR:etcdserver: request timed out"), "{body}");
    });
}

#[test]
fn alarms_and_divergence_are_unhealthy_and_an_alarm_can_be_excluded() {
    with_door(Limits::default(), |at, door| async move {
        door.alarms.borrow_mut().push((NodeId(1), AlarmKind::NoSpace));
        let reason = "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n";
        assert_eq!(get(at, "/health").await, is(503, reason));
        assert_eq!(get(at, "/health?exclude=NOSPACE").await, is(200, HEALTHY));
        assert_eq!(get(at, "/readyz").await.0, 200, "space is no matter of corruption");
        door.alarms.borrow_mut().push((NodeId(1), AlarmKind::Corrupt));
        assert_eq!(get(at, "/health?exclude=NOSPACE").await.0, 503);
        assert_eq!(get(at, "/health?exclude=NOSPACE&exclude=CORRUPT").await, is(200, HEALTHY));
        let (code, body) = get(at, "/readyz/data_corruption").await;
        assert_eq!((code, body.as_str()), (503, CORRUPTED));
        door.alarms.borrow_mut().clear();
        door.diverged.set(true);
        assert_eq!(get(at, "/health?serializable=true").await.0, 503);
        assert_eq!(get(at, "/readyz").await.0, 503);
    });
}

#[test]
fn a_halted_member_says_why_in_health_and_metrics() {
    with_door(Limits::default(), |at, door| async move {
        assert!(get(at, "/metrics").await.1.contains("\nquorate_halted 0\n"));
        *door.halted.borrow_mut() = Some("entry 7: \"x\" contradicts y".into());
        let reason = "{\"health\":\"false\",\"reason\":\"HALTED entry 7: 'x' contradicts y\"}\n";
        assert_eq!(get(at, "/health").await, is(503, reason));
        assert_eq!(get(at, "/health?serializable=true").await, is(503, reason));
        let (code, body) = get(at, "/readyz").await;
        assert!(code == 503 && body.contains("halted: entry 7"), "{body}");
        assert!(get(at, "/metrics").await.1.contains("\nquorate_halted 1\n"));
    });
}

const CORRUPTED: &str = "[-]data_corruption failed: alarm activated: CORRUPT\n\n";

#[test]
fn a_restarted_member_that_is_not_where_it_was_lives_and_serves_nothing_else() {
    with_door(Limits::default(), |at, door| async move {
        door.behind.set(true);
        door.cut_off.set(true);
        assert_eq!(get(at, "/livez").await, is(200, "ok\n"));
        assert_eq!(get(at, "/health").await.0, 503);
        let reason = "{\"health\":\"false\",\"reason\":\"RESTARTED AND NOT CAUGHT UP\"}\n";
        assert_eq!(get(at, "/health?serializable=true").await, is(503, reason));
        let (code, body) = get(at, "/readyz").await;
        let failed = "[-]serializable_read failed: restarted and not caught up\n";
        assert!(code == 503 && body.contains(failed), "{body}");
        assert!(!get(at, "/metrics").await.1.contains("mvcc_current_revision"));
        let mut client = Client::connect(at).await;
        let range =
            pb::RangeRequest { key: "k".into(), serializable: true, ..pb::RangeRequest::default() };
        let refused: Result<pb::RangeResponse, _> = client.call("KV/Range", &range).await;
        assert_eq!(refused.unwrap_err().1, "etcdserver: request timed out");
        let lists = pb::LeaseLeasesRequest::default();
        let refused: Result<pb::LeaseLeasesResponse, _> =
            client.call("Lease/LeaseLeases", &lists).await;
        assert!(refused.is_err());
        // What a leader confirms is enough, before the member says so itself.
        door.cut_off.set(false);
        let _: pb::RangeResponse = client.call("KV/Range", &range).await.unwrap();
        door.behind.set(false);
        assert_eq!(get(at, "/health?serializable=true").await, is(200, HEALTHY));
    });
}
