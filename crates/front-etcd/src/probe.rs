//! `/health`, `/livez`, `/readyz`, `/version`, `/metrics`.

use super::maintenance::{CORRUPT, ETCD_VERSION, alarm_name};
use super::watch::Hub;
use super::{methods, refusal};
use door::{Door, Refusal};
use later::{Asker, Later, promise};
use net::{CallStats, Host, HttpReply, Page};
use std::rc::Rc;

const TEXT: &str = "text/plain; charset=utf-8";
/// Why a member that has started answers nobody yet.
const BEHIND: &str = "RESTARTED AND NOT CAUGHT UP";
const JSON: &str = "application/json";

fn reply(code: u16, content_type: &'static str, body: impl Into<String>) -> HttpReply {
    HttpReply::whole(code, content_type, body.into())
}

pub(super) fn serve(door: &Rc<dyn Door>, method: &str, target: &str) -> Later<HttpReply> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if method != "GET" {
        let gateway = path.starts_with("/v3/");
        let text = "the JSON gateway is not implemented, use gRPC\n";
        let refused = reply(501, TEXT, text);
        return Later::now(if gateway {
            refused
        } else {
            reply(405, TEXT, "Method Not Allowed\n")
        });
    }
    match path {
        "/version" => Later::now(reply(
            200,
            JSON,
            format!(
                "{{\"etcdserver\":\"{ETCD_VERSION}\",\"etcdcluster\":\"3.7.0\",\
                 \"storage\":\"3.7.0\"}}"
            ),
        )),
        "/health" => health(door, query),
        _ => match checks_of(path) {
            Some(checks) => checked(door, (checks, path.starts_with("/livez")), query),
            None => Later::now(reply(404, TEXT, "404 page not found\n")),
        },
    }
}

/// All values of a query parameter.
fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = query.split('&').map(|part| part.split_once('=').unwrap_or((part, "")));
    pairs.filter(move |(key, _)| *key == name).map(|(_, value)| value)
}

/// etcd's `/health` (`etcdhttp/health.go`): alarms, then the leader, then a linearizable read.
fn health(door: &Rc<dyn Door>, query: &str) -> Later<HttpReply> {
    let answer = |reason: &str| {
        let healthy = reason.is_empty();
        let end = if healthy { "" } else { "\n" };
        let body = format!("{{\"health\":\"{healthy}\",\"reason\":\"{reason}\"}}{end}");
        reply(if healthy { 200 } else { 503 }, TEXT, body)
    };
    let now = |reason: &str| Later::now(answer(reason));
    let alarms = door.alarms().into_iter().map(|(_, kind)| alarm_name(kind));
    let mut counted = alarms.filter(|alarm| !values(query, "exclude").any(|v| v == *alarm));
    if let Some(alarm) = counted.next() {
        return now(&format!("ALARM {alarm}"));
    }
    let status = door.status();
    if let Some(why) = status.halted {
        let plain = why.replace(['"', '\\', '\n'], "'");
        return now(&format!("HALTED {plain}"));
    }
    if status.diverged {
        return now("STATE DIVERGED");
    }
    if values(query, "serializable").any(|value| value == "true") {
        return now(if door.is_current() { "" } else { BEHIND });
    }
    if status.leader.is_none() {
        return now("RAFT NO LEADER");
    }
    if !door.is_current() {
        return now(BEHIND);
    }
    let (read, later) = promise(Asker::nobody(), move |result: Result<(), Refusal>| match result {
        Ok(()) => answer(""),
        Err(refusal) => answer(&format!("RANGE ERROR:{}", refusal::status(&refusal).text)),
    });
    // As etcd's linearizable read, but that a long entry which is being applied makes nobody ill.
    door.confirm(read);
    later
}

/// What `/livez` and `/readyz` look at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    const LIVE: [Self; 1] = [Self::SerializableRead];
    const READY: [Self; 4] =
        [Self::DataCorruption, Self::SerializableRead, Self::LinearizableRead, Self::NonLearner];

    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    /// Why it fails, if it does; `read` is the outcome of the linearizable read.
    fn failure(self, door: &dyn Door, read: &Result<(), String>) -> Option<String> {
        match self {
            Self::DataCorruption | Self::SerializableRead if door.status().halted.is_some() => {
                Some(format!("halted: {}", door.status().halted.unwrap_or_default()))
            }
            Self::DataCorruption if door.status().diverged => Some("state diverged".into()),
            Self::DataCorruption => {
                let corrupt = door.alarms().iter().any(|(_, kind)| alarm_name(*kind) == CORRUPT);
                corrupt.then(|| format!("alarm activated: {CORRUPT}"))
            }
            // Reading the own state cannot fail while the member answers at all.
            Self::SerializableRead => (!door.is_current()).then(|| BEHIND.to_lowercase()),
            Self::LinearizableRead => read.clone().err(),
            Self::NonLearner => door.status().learner.then(|| "not supported for learner".into()),
        }
    }
}

/// The checks behind a path: all of a kind, or one of them.
fn checks_of(path: &str) -> Option<Vec<Check>> {
    let (all, rest): (&[Check], _) = match path.strip_prefix("/livez") {
        Some(rest) => (&Check::LIVE, rest),
        None => (&Check::READY, path.strip_prefix("/readyz")?),
    };
    match rest.strip_prefix('/') {
        None => rest.is_empty().then(|| all.to_vec()),
        Some(name) => Some(vec![*all.iter().find(|check| check.name() == name)?]),
    }
}

/// Lists the checks when asked to (`?verbose`) and when one fails.
fn checked(
    door: &Rc<dyn Door>,
    (mut checks, live): (Vec<Check>, bool),
    query: &str,
) -> Later<HttpReply> {
    checks.retain(|check| !values(query, "exclude").any(|name| name == check.name()));
    let verbose = values(query, "verbose").next().is_some();
    let (reads, node) = (checks.contains(&Check::LinearizableRead), door.clone());
    let finish = move |read: Result<(), Refusal>| {
        let read = read.map_err(|refusal| refusal::status(&refusal).text.into_owned());
        let (mut lines, mut failed) = (String::new(), false);
        for check in checks {
            let name = check.name();
            // It lives, also before it stands where it stood.
            let failure = check.failure(&*node, &read).filter(|_| !live);
            let line = match failure {
                None => format!("[+]{name} ok\n"),
                Some(why) => {
                    failed = true;
                    format!("[-]{name} failed: {why}\n")
                }
            };
            lines.push_str(&line);
        }
        match (failed, verbose) {
            (true, _) => reply(503, TEXT, lines + "\n"),
            (false, true) => reply(200, TEXT, lines + "ok\n"),
            (false, false) => reply(200, TEXT, "ok\n"),
        }
    };
    if !reads {
        return Later::now(finish(Ok(())));
    }
    let (read, later) = promise(Asker::nobody(), finish);
    door.barrier(read);
    later
}

/// `/metrics`: what the front knows, then what only the member does.
pub(super) fn metrics(door: &dyn Door, hub: &Hub, stats: &CallStats, host: &dyn Host) -> HttpReply {
    let (status, header) = (door.status(), door.header());
    let page = Page::default();
    page.gauge("etcd_server_has_leader", u8::from(status.leader.is_some()));
    page.gauge("etcd_server_is_leader", u8::from(status.leader == Some(header.member)));
    page.gauge("etcd_server_is_learner", u8::from(status.learner));
    page.gauge("quorate_halted", u8::from(status.halted.is_some()));
    page.gauge("etcd_server_proposals_committed_total", status.commit);
    page.gauge("etcd_server_proposals_applied_total", status.applied);
    page.gauge("etcd_server_quota_backend_bytes", status.quota_bytes);
    page.gauge("etcd_mvcc_db_total_size_in_bytes", status.size_bytes);
    page.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", status.size_bytes);
    if door.is_current() {
        page.gauge("etcd_debugging_mvcc_current_revision", header.revision);
    }
    page.gauge("etcd_debugging_mvcc_watch_stream_total", hub.streams());
    page.line("# TYPE etcd_server_version gauge");
    page.line(format_args!("etcd_server_version{{server_version=\"{ETCD_VERSION}\"}} 1"));
    page.line("# TYPE etcd_cluster_version gauge");
    page.line("etcd_cluster_version{cluster_version=\"3.7\"} 1");
    let mut text = page.into_text();
    stats.write(methods::table(), &mut text);
    text.push_str(&host.metrics());
    reply(200, "text/plain; version=0.0.4", text)
}
