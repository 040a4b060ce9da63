//! `/health`, `/livez`, `/readyz`, `/version`, `/metrics`.

use super::engine::{Engine, Failure};
use super::maintenance::ETCD_VERSION;
use crate::grpc::{HttpDone, HttpReply};
use std::rc::Rc;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

fn reply(code: u16, content_type: &'static str, body: impl Into<String>) -> HttpReply {
    HttpReply { code, content_type, body: body.into() }
}

pub(super) fn serve(engine: &Rc<dyn Engine>, method: &str, target: &str, done: HttpDone) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if method != "GET" && method != "HEAD" {
        let text = "only GET is served here; the JSON gateway is not implemented, use gRPC\n";
        return done(reply(if path.starts_with("/v3/") { 501 } else { 405 }, TEXT, text));
    }
    match path {
        "/version" => done(reply(
            200,
            JSON,
            format!(
                "{{\"etcdserver\":\"{ETCD_VERSION}\",\"etcdcluster\":\"3.7.0\",\
                 \"storage\":\"3.7.0\"}}"
            ),
        )),
        "/metrics" => done(reply(200, "text/plain; version=0.0.4", metrics(&**engine))),
        "/health" => health(engine, query, done),
        "/livez" => done(reply(200, TEXT, "ok\n")),
        "/readyz" => ready(engine, done),
        _ => done(reply(404, TEXT, "404 page not found\n")),
    }
}

fn alarm_named(query: &str, kind: i32) -> bool {
    let name = if kind == 1 { "NOSPACE" } else { "CORRUPT" };
    query.split('&').any(|part| part.strip_prefix("exclude=").is_some_and(|v| v == name))
}

fn health(engine: &Rc<dyn Engine>, query: &str, done: HttpDone) {
    let answer = |healthy: bool, reason: &str| {
        let body = format!("{{\"health\":\"{healthy}\",\"reason\":\"{reason}\"}}");
        reply(if healthy { 200 } else { 503 }, JSON, body)
    };
    if let Some((_, kind)) = engine.alarms().into_iter().find(|(_, k)| !alarm_named(query, *k)) {
        let reason = if kind == 1 { "ALARM NOSPACE" } else { "ALARM CORRUPT" };
        return done(answer(false, reason));
    }
    if query.split('&').any(|part| part == "serializable=true") {
        return done(answer(true, ""));
    }
    if engine.status().leader == 0 {
        return done(answer(false, "RAFT NO LEADER"));
    }
    let callback = move |result: Result<(), Failure>| match result {
        Ok(()) => done(answer(true, "")),
        Err(_) => done(answer(false, "QGET ERROR")),
    };
    engine.barrier(Box::new(callback));
}

fn ready(engine: &Rc<dyn Engine>, done: HttpDone) {
    let callback = move |result: Result<(), Failure>| match result {
        Ok(()) => done(reply(200, TEXT, "ok\n")),
        Err(_) => done(reply(503, TEXT, "[-]linearizable_read failed\n")),
    };
    engine.barrier(Box::new(callback));
}

fn metrics(engine: &dyn Engine) -> String {
    let (status, header) = (engine.status(), engine.header());
    let is_leader = u8::from(status.leader == header.member_id);
    let mut out = format!(
        "etcd_server_has_leader {}\netcd_server_is_leader {is_leader}\n\
         etcd_server_is_learner {}\netcd_server_proposals_applied_total {}\n\
         etcd_server_proposals_committed_total {}\netcd_server_quota_backend_bytes {}\n\
         etcd_mvcc_db_total_size_in_bytes {}\netcd_mvcc_db_total_size_in_use_in_bytes {}\n\
         etcd_debugging_mvcc_current_revision {}\n",
        u8::from(status.leader != 0),
        u8::from(status.learner),
        status.raft_applied_index,
        status.raft_index,
        status.db_size_quota,
        status.db_size,
        status.db_size_in_use,
        header.revision,
    );
    out.push_str(&engine.metrics());
    out
}
