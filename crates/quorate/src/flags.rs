//! One table of flags: etcd's names with single or double dash, `ETCD_*` variables, and what
//! happens to each. Safety and security flags without support are refused, never ignored.

mod duration;

use server::config::{
    AutoCompaction, ClusterState, Config, ConfigError, KeepAlive, OnDamage, Url,
    parse_initial_cluster, parse_urls,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Support {
    /// Takes effect.
    Used,
    /// Known to etcd, touches safety or security, not supported: refused unless it is off.
    Refused,
    /// Known to etcd, harmless to leave out: a warning.
    Warned,
}

struct Flag {
    name: &'static str,
    support: Support,
    /// A Go boolean: `--flag` alone means true and never takes the next argument.
    boolean: bool,
    help: &'static str,
}

const fn used(name: &'static str, help: &'static str) -> Flag {
    Flag { name, support: Support::Used, boolean: false, help }
}
const fn refused(name: &'static str) -> Flag {
    Flag { name, support: Support::Refused, boolean: false, help: "" }
}
const fn refused_switch(name: &'static str) -> Flag {
    Flag { name, support: Support::Refused, boolean: true, help: "" }
}
const fn warned(name: &'static str) -> Flag {
    Flag { name, support: Support::Warned, boolean: false, help: "" }
}
const fn warned_switch(name: &'static str) -> Flag {
    Flag { name, support: Support::Warned, boolean: true, help: "" }
}

const FLAGS: &[Flag] = &[
    used("name", "this member's name (default: default)"),
    used("data-dir", "where everything durable lives (default: <name>.quorate)"),
    used("listen-client-urls", "comma-separated (default: http://localhost:2379)"),
    used("advertise-client-urls", "what clients are told (default: listen-client-urls)"),
    used("listen-peer-urls", "comma-separated (default: http://localhost:2380)"),
    used("initial-advertise-peer-urls", "what members are told (default: listen-peer-urls)"),
    used("initial-cluster", "name=url,name=url of every first member"),
    used("initial-cluster-state", "new or existing"),
    used("initial-cluster-token", "keeps clusters apart (default: etcd-cluster)"),
    used("quorum", "quorum system over member names, e.g. \"2 of (a, b, c)\""),
    used("heartbeat-interval", "milliseconds (default: 100)"),
    used("election-timeout", "milliseconds (default: 1000)"),
    used("snapshot-count", "log entries between checkpoints, at least (default: 10000)"),
    used("snapshot-catchup-entries", "entries kept for slow members (default: 5000)"),
    used("checkpoint-bytes-min", "journal bytes between checkpoints, at least (default: 64 MiB)"),
    used("cache-bytes", "cache of older values, e.g. 64MiB, beside new ones (default: 256MiB)"),
    used("min-free-bytes", "a disk with less free is low, 0: never (default: 256MiB, at most 5%)"),
    used(
        "scrub-interval",
        "data files are checked for damage within it, 0s: never (default: 168h)",
    ),
    used("quota-backend-bytes", "space quota, 0 means the default of 2 GiB"),
    used("auto-compaction-mode", "periodic or revision"),
    used("auto-compaction-retention", "hours or a duration, or a number of revisions; 0: off"),
    used("max-txn-ops", "operations in one transaction (default: 128)"),
    used("max-request-bytes", "bytes in one request (default: 1572864)"),
    used("watch-progress-notify-interval", "how often quiet watchers hear (default: 10m)"),
    used("experimental-watch-progress-notify-interval", "its older name"),
    used("grpc-keepalive-interval", "silent clients are pinged after it, 0s: never (default: 2h)"),
    used("grpc-keepalive-timeout", "and closed without an answer after it (default: 20s)"),
    used("grpc-keepalive-min-time", "clients' own pings may not come closer (default: 5s)"),
    used("stop-grace", "longest a planned stop waits for leader and clients (default: 5s)"),
    used("repair", "a damaged member fetches what it lost: auto or refuse (default: auto)"),
    used("record", "trace events kept for `quorate trace`, at most 1000000 (default: 0, none)"),
    used("log-level", "debug, info, warn or error (default: info)"),
    refused("cert-file"),
    refused("key-file"),
    refused("client-cert-file"),
    refused("client-key-file"),
    refused("trusted-ca-file"),
    refused("client-crl-file"),
    refused_switch("client-cert-auth"),
    refused_switch("auto-tls"),
    refused("client-cert-allowed-hostname"),
    refused("peer-cert-file"),
    refused("peer-key-file"),
    refused("peer-client-cert-file"),
    refused("peer-client-key-file"),
    refused("peer-trusted-ca-file"),
    refused("peer-crl-file"),
    refused_switch("peer-client-cert-auth"),
    refused_switch("peer-auto-tls"),
    refused("peer-cert-allowed-cn"),
    refused("peer-cert-allowed-hostname"),
    refused("cipher-suites"),
    refused("tls-min-version"),
    refused("tls-max-version"),
    refused("auth-token"),
    refused("host-whitelist"),
    refused_switch("unsafe-no-fsync"),
    refused_switch("force-new-cluster"),
    refused("config-file"),
    refused("discovery"),
    refused("discovery-srv"),
    refused("discovery-endpoints"),
    refused("discovery-token"),
    refused_switch("socket-reuse-port"),
    warned("wal-dir"),
    warned("max-snapshots"),
    warned("max-wals"),
    warned("max-learners"),
    warned("max-concurrent-streams"),
    warned("auth-token-ttl"),
    warned("bcrypt-cost"),
    warned("cors"),
    warned("logger"),
    warned("log-outputs"),
    warned("log-format"),
    warned_switch("enable-log-rotation"),
    warned("log-rotation-config-json"),
    warned_switch("pre-vote"),
    warned_switch("strict-reconfig-check"),
    warned_switch("enable-v2"),
    warned_switch("enable-grpc-gateway"),
    warned_switch("enable-pprof"),
    warned("metrics"),
    warned("listen-metrics-urls"),
    warned("listen-client-http-urls"),
    warned("backend-batch-interval"),
    warned("backend-batch-limit"),
    warned("backend-bbolt-freelist-type"),
    warned("compaction-batch-limit"),
    warned("compaction-sleep-interval"),
    warned("warning-apply-duration"),
    warned("warning-unary-request-duration"),
    warned("corrupt-check-time"),
    warned("compact-hash-check-time"),
    warned_switch("compact-hash-check-enabled"),
    warned("feature-gates"),
    warned_switch("initial-election-tick-advance"),
    warned_switch("memory-mlock"),
    warned_switch("socket-reuse-address"),
    warned("bootstrap-defrag-threshold-megabytes"),
    warned("downgrade-check-time"),
    warned_switch("enable-distributed-tracing"),
    warned_switch("experimental-initial-corrupt-check"),
    warned("experimental-corrupt-check-time"),
];

/// What the flags and the environment said.
#[derive(Debug, Default)]
pub struct Parsed {
    values: BTreeMap<&'static str, String>,
    pub warnings: Vec<String>,
    pub help: bool,
}

fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// Text of `serve --help`.
pub fn help() -> String {
    let mut text = String::from(
        "Runs one member until SIGTERM or Ctrl-C: leadership is handed over, clients are sent to\n\
         other members, and what is pending is answered, for --stop-grace at most.\n\
         Without flags: a durable single member on 2379 and 2380.\n\n\
         Usage: quorate serve [--FLAG VALUE | --FLAG=VALUE]...\n\n\
         Flags are etcd's, with one dash or two. Each is also read from ETCD_<NAME>\n\
         (ETCD_DATA_DIR for --data-dir); flags win. Exit code 2: flags that cannot be used.\n\n",
    );
    for flag in FLAGS.iter().filter(|flag| flag.support == Support::Used) {
        let _ = writeln!(text, "  --{:<43} {}", flag.name, flag.help);
    }
    text
}

/// Reads arguments, then fills what they left open from the environment.
///
/// # Errors
/// Unknown flags, missing values, and unsupported safety or security flags, by name.
pub fn parse(
    args: &[String],
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Parsed, ConfigError> {
    let mut parsed = Parsed::default();
    let mut args = args.iter().peekable();
    while let Some(arg) = args.next() {
        let Some(body) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
            return Err(ConfigError(format!("unexpected argument {arg:?}: flags start with --")));
        };
        if matches!(body, "help" | "h") {
            parsed.help = true;
            continue;
        }
        let (name, inline) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (body, None),
        };
        let flag = find(name).ok_or_else(|| ConfigError(format!("unknown flag --{name}")))?;
        let value = match inline {
            Some(value) => value,
            None if flag.boolean => "true".to_string(),
            None => args
                .next()
                .cloned()
                .ok_or_else(|| ConfigError(format!("flag --{name} needs a value")))?,
        };
        parsed.accept(flag, value, &format!("flag --{name}"))?;
    }
    for (variable, value) in env {
        let Some(name) = variable.strip_prefix("ETCD_") else { continue };
        let name = name.to_ascii_lowercase().replace('_', "-");
        match find(&name) {
            Some(flag) if parsed.values.contains_key(flag.name) || value.is_empty() => {}
            Some(flag) => parsed.accept(flag, value, &format!("variable {variable}"))?,
            None => parsed.warnings.push(format!("unknown variable {variable} is ignored")),
        }
    }
    Ok(parsed)
}

impl Parsed {
    fn accept(&mut self, flag: &Flag, value: String, from: &str) -> Result<(), ConfigError> {
        match flag.support {
            Support::Used => {
                self.values.insert(find(flag.name).expect("came from the table").name, value);
            }
            Support::Refused if matches!(value.as_str(), "" | "false" | "simple" | "*") => {}
            Support::Refused => {
                return Err(ConfigError(format!(
                    "{from} is not supported; it touches safety or security, so it is refused \
                     rather than ignored"
                )));
            }
            Support::Warned => {
                self.warnings.push(format!("{from} is known but has no effect here"));
            }
        }
        Ok(())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// As [`Self::text`]; an empty value is none, as etcd has it of these: scripts pass what a
    /// variable holds.
    fn given(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, ConfigError> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| ConfigError(format!("--{name}: {text:?} is not a valid number"))),
        }
    }

    fn urls(&self, name: &str, default: Vec<Url>) -> Result<Vec<Url>, ConfigError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        parse_urls(text).map_err(|error| ConfigError(format!("--{name}: {error}")))
    }

    /// `debug`, `info`, `warn` or `error`.
    ///
    /// # Errors
    /// Another word.
    pub fn log_level(&self) -> Result<&str, ConfigError> {
        match self.text("log-level").unwrap_or("info") {
            level @ ("debug" | "info" | "warn" | "error") => Ok(level),
            // etcd's levels above error.
            "dpanic" | "panic" | "fatal" => Ok("error"),
            other => Err(ConfigError(format!(
                "--log-level: {other:?} is not debug, info, warn or error"
            ))),
        }
    }

    /// The server's configuration.
    ///
    /// # Errors
    /// Values that cannot be read or that no server could run with.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let base = Config::single(self.text("name").unwrap_or("default"));
        let listen_client_urls = self.urls("listen-client-urls", base.listen_client_urls)?;
        let listen_peer_urls = self.urls("listen-peer-urls", base.listen_peer_urls)?;
        let told = reachable(&listen_peer_urls);
        let advertise_peer_urls = self.urls("initial-advertise-peer-urls", told)?;
        let wildcard = listen_client_urls.iter().any(Url::is_wildcard);
        if wildcard && self.given("advertise-client-urls").is_none() {
            return Err(ConfigError(
                "--advertise-client-urls is required when --listen-client-urls names no one \
                 address: clients cannot be told to go to a wildcard"
                    .into(),
            ));
        }
        let initial_cluster = match self.text("initial-cluster") {
            Some(text) => parse_initial_cluster(text)?,
            None => vec![server::config::InitialMember {
                name: base.name.clone(),
                peer_urls: advertise_peer_urls.clone(),
            }],
        };
        let config = Config {
            data_dir: self.text("data-dir").map_or(base.data_dir, PathBuf::from),
            advertise_client_urls: match self.given("advertise-client-urls") {
                None => listen_client_urls.clone(),
                Some(_) => self.urls("advertise-client-urls", Vec::new())?,
            },
            listen_client_urls,
            listen_peer_urls,
            advertise_peer_urls,
            initial_cluster,
            cluster_state: self.cluster_state()?,
            cluster_token: self
                .text("initial-cluster-token")
                .map_or(base.cluster_token, str::to_string),
            quorum: self.text("quorum").map(str::to_string),
            heartbeat_interval_ms: self.number("heartbeat-interval", base.heartbeat_interval_ms)?,
            election_timeout_ms: self.number("election-timeout", base.election_timeout_ms)?,
            snapshot_count: self.number("snapshot-count", base.snapshot_count)?,
            snapshot_catchup_entries: self
                .number("snapshot-catchup-entries", base.snapshot_catchup_entries)?,
            checkpoint_bytes_min: self.size("checkpoint-bytes-min", base.checkpoint_bytes_min)?,
            settle_versions: base.settle_versions,
            settle_bytes: base.settle_bytes,
            cache_bytes: self.size("cache-bytes", base.cache_bytes)?,
            min_free_bytes: crate::size::given("min-free-bytes", self.text("min-free-bytes"))?,
            scrub_interval: self.duration("scrub-interval", base.scrub_interval)?,
            quota_backend_bytes: match self.number("quota-backend-bytes", 0i64)? {
                0 => base.quota_backend_bytes,
                n => u64::try_from(n).unwrap_or(u64::MAX),
            },
            auto_compaction: self.auto_compaction()?,
            max_txn_ops: self.number("max-txn-ops", base.max_txn_ops)?,
            max_request_bytes: self.number("max-request-bytes", base.max_request_bytes)?,
            on_damage: match self.text("repair") {
                None | Some("auto") => OnDamage::Repair,
                Some("refuse") => OnDamage::Refuse,
                Some(other) => {
                    return Err(ConfigError(format!("--repair={other}: auto or refuse")));
                }
            },
            watch_progress_interval: self.watch_progress_interval()?,
            keep_alive: self.keep_alive(base.keep_alive)?,
            stop_grace: self.duration("stop-grace", base.stop_grace)?,
            record: self.number("record", base.record)?,
            name: base.name,
        };
        config.validate()?;
        Ok(config)
    }

    fn cluster_state(&self) -> Result<ClusterState, ConfigError> {
        match self.text("initial-cluster-state") {
            None | Some("new") => Ok(ClusterState::New),
            Some("existing") => Ok(ClusterState::Existing),
            Some(other) => Err(ConfigError(format!(
                "--initial-cluster-state: {other:?} is neither new nor existing"
            ))),
        }
    }

    fn size(&self, name: &str, default: u64) -> Result<u64, ConfigError> {
        Ok(crate::size::given(name, self.text(name))?.unwrap_or(default))
    }

    fn duration(&self, name: &str, default: Duration) -> Result<Duration, ConfigError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        duration::parse(text).map_err(|why| ConfigError(format!("--{name}: {why}")))
    }

    fn keep_alive(&self, base: KeepAlive) -> Result<KeepAlive, ConfigError> {
        let timeout = self.duration("grpc-keepalive-timeout", base.timeout)?;
        if timeout.is_zero() {
            return Err(ConfigError("--grpc-keepalive-timeout must be above zero".into()));
        }
        Ok(KeepAlive {
            interval: self.duration("grpc-keepalive-interval", base.interval)?,
            timeout,
            min_time: self.duration("grpc-keepalive-min-time", base.min_time)?,
        })
    }

    fn watch_progress_interval(&self) -> Result<Duration, ConfigError> {
        const OLD: &str = "experimental-watch-progress-notify-interval";
        const NEW: &str = "watch-progress-notify-interval";
        let name = match (self.text(NEW), self.text(OLD)) {
            (Some(new), Some(old)) if new != old => {
                let text = format!("--{NEW}={new} contradicts --{OLD}={old}");
                return Err(ConfigError(text));
            }
            (None, Some(_)) => OLD,
            _ => NEW,
        };
        match self.duration(name, Duration::from_secs(600))? {
            Duration::ZERO => Err(ConfigError(format!("--{name}: it must be above zero"))),
            interval => Ok(interval),
        }
    }

    fn auto_compaction(&self) -> Result<AutoCompaction, ConfigError> {
        let retention = self.given("auto-compaction-retention").unwrap_or("0");
        let bad = || ConfigError(format!("--auto-compaction-retention: cannot read {retention:?}"));
        match self.text("auto-compaction-mode").unwrap_or("periodic") {
            "periodic" => {
                let span = match retention.parse::<u64>() {
                    Ok(hours) => Duration::from_secs(hours.saturating_mul(3600)),
                    Err(_) => duration::parse(retention).map_err(|why| {
                        ConfigError(format!("--auto-compaction-retention: {why}"))
                    })?,
                };
                let off = span.is_zero();
                Ok(if off { AutoCompaction::Off } else { AutoCompaction::Periodic(span) })
            }
            "revision" => match retention.parse::<i64>().map_err(|_| bad())? {
                0 => Ok(AutoCompaction::Off),
                n if n > 0 => Ok(AutoCompaction::Revision(n)),
                _ => Err(bad()),
            },
            other => Err(ConfigError(format!(
                "--auto-compaction-mode: {other:?} is neither periodic nor revision"
            ))),
        }
    }
}

/// Nobody can be sent to a wildcard: in its place etcd's default host.
fn reachable(listen: &[Url]) -> Vec<Url> {
    let mut told = listen.to_vec();
    told.iter_mut().filter(|url| url.is_wildcard()).for_each(|url| {
        url.host = "localhost".to_string();
    });
    told.dedup();
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_dash_two_dashes_inline_and_separate_values_are_the_same() {
        for args in [&["--name", "a"][..], &["-name", "a"], &["--name=a"], &["-name=a"]] {
            let parsed = parse(&strings(args), []).expect("parses");
            assert_eq!(parsed.config().expect("valid").name, "a");
        }
    }

    #[test]
    fn a_flag_beats_its_variable() {
        let env = [("ETCD_NAME".to_string(), "env".to_string())];
        let parsed = parse(&strings(&["--name", "flag"]), env.clone()).expect("parses");
        assert_eq!(parsed.config().expect("valid").name, "flag");
        let parsed = parse(&[], env).expect("parses");
        assert_eq!(parsed.config().expect("valid").name, "env");
    }

    #[test]
    fn security_flags_are_refused_known_ones_warn_and_unknown_ones_fail() {
        assert!(parse(&strings(&["--cert-file", "x"]), []).is_err());
        assert!(parse(&strings(&["--unsafe-no-fsync"]), []).is_err());
        assert!(parse(&strings(&["--client-cert-auth=false"]), []).is_ok());
        assert_eq!(parse(&strings(&["--max-wals", "3"]), []).expect("ok").warnings.len(), 1);
        assert!(parse(&strings(&["--nonsense", "3"]), []).is_err());
    }

    #[test]
    fn a_checkpoint_floor_in_bytes_is_taken_and_has_a_default() {
        let of = |args: &[&str]| {
            parse(&strings(args), []).and_then(|p| p.config()).map(|c| c.checkpoint_bytes_min)
        };
        assert_eq!(of(&["--checkpoint-bytes-min=4096"]), Ok(4096));
        assert_eq!(of(&[]), Ok(64 << 20));
        assert!(of(&["--checkpoint-bytes-min=-1"]).is_err());
    }

    fn config(args: &[&str]) -> Result<Config, ConfigError> {
        parse(&strings(args), []).and_then(|parsed| parsed.config())
    }

    #[test]
    fn clients_are_pinged_as_etcd_pings_them_unless_flags_say_otherwise() {
        let default = config(&[]).expect("valid");
        assert_eq!(default.keep_alive, KeepAlive::default());
        assert_eq!(default.stop_grace, Duration::from_secs(5));
        let args = [
            "--grpc-keepalive-interval=10s",
            "--grpc-keepalive-timeout=3s",
            "--grpc-keepalive-min-time=1s",
            "--stop-grace=1m",
        ];
        let given = config(&args).expect("valid");
        let seconds = Duration::from_secs;
        let (interval, timeout, min_time) = (seconds(10), seconds(3), seconds(1));
        assert_eq!(given.keep_alive, KeepAlive { interval, timeout, min_time });
        assert_eq!(given.stop_grace, seconds(60));
        assert!(config(&["--grpc-keepalive-timeout=0s"]).is_err());
        assert!(config(&["--stop-grace=soon"]).is_err());
    }

    #[test]
    fn the_progress_interval_has_two_names_that_must_agree() {
        let of = |args: &[&str]| config(args).map(|c| c.watch_progress_interval);
        assert_eq!(of(&[]), Ok(Duration::from_secs(600)));
        let (new, old) =
            ("watch-progress-notify-interval", "experimental-watch-progress-notify-interval");
        for name in [new, old] {
            assert_eq!(of(&[&format!("--{name}=5s")]), Ok(Duration::from_secs(5)), "{name}");
            assert!(of(&[&format!("--{name}=0s")]).is_err(), "{name}");
            assert!(of(&[&format!("--{name}=soon")]).is_err(), "{name}");
        }
        let both = |a: &str, b: &str| of(&[&format!("--{new}={a}"), &format!("--{old}={b}")]);
        assert_eq!(both("1m", "1m"), Ok(Duration::from_secs(60)));
        assert!(both("1m", "2m").expect_err("which one?").0.contains("contradicts"));
    }

    #[test]
    fn flags_that_contradict_each_other_are_named() {
        let text = |args: &[&str]| config(args).expect_err("contradictory").0;
        let wildcard = text(&["--listen-client-urls=http://0.0.0.0:2379"]);
        assert!(wildcard.contains("--advertise-client-urls is required"), "{wildcard}");
        for host in ["[0::0]", "[::ffff:0.0.0.0]", "0"] {
            let listen = format!("--listen-client-urls=http://{host}:2379");
            assert!(text(&[&listen]).contains("--advertise-client-urls is required"), "{host}");
            for flag in ["--advertise-client-urls", "--initial-advertise-peer-urls"] {
                let error = text(&[&format!("{flag}=http://{host}:2379")]);
                assert!(error.starts_with(flag) && error.contains("every address"), "{error}");
            }
        }
        let anywhere = config(&["--listen-peer-urls=http://0.0.0.0:7"]).expect("as in etcd");
        assert_eq!(anywhere.advertise_peer_urls[0].to_string(), "http://localhost:7");
        let bad = text(&["--listen-peer-urls=http://h:1,htp://i:2"]);
        assert!(bad.contains("--listen-peer-urls: \"http://h:1,htp://i:2\""), "{bad}");
        let bad = text(&["--initial-cluster=a= http://h:1,b=htp://i:2"]);
        assert!(bad.contains("\"a= http://h:1,b=htp://i:2\""), "{bad}");
        let told = ["--listen-client-urls=http://0.0.0.0:1", "--advertise-client-urls=http://h:1"];
        assert!(config(&told).is_ok());
        let hasty = text(&["--heartbeat-interval=300", "--election-timeout=1000"]);
        assert!(hasty.contains("at least 5 times heartbeat-interval"), "{hasty}");
        let mode = text(&["--auto-compaction-mode=revision", "--auto-compaction-retention=1h"]);
        assert!(mode.contains("--auto-compaction-retention"), "{mode}");
        let state = text(&["--initial-cluster-state=old"]);
        assert!(state.contains("neither new nor existing"), "{state}");
        assert!(text(&["--listen-peer-urls=https://h:1"]).contains("TLS"));
        let one = ["--listen-client-urls=http://h:1", "--listen-peer-urls=http://h:1"];
        assert!(text(&one).contains("both name http://h:1"), "{}", text(&one));
        assert!(text(&["--name="]).contains("--name must not be empty"));
        let loud = parse(&strings(&["--log-level=loud"]), []).expect("parses");
        assert!(loud.log_level().is_err_and(|why| why.0.contains("loud")));
        assert!(text(&["--record=1000001"]).contains("--record must be at most 1000000 events"));
        assert_eq!(config(&["--record=1000000"]).expect("as many as may be").record, 1_000_000);
        assert!(text(&["--max-txn-ops=many"]).contains("--max-txn-ops"));
    }

    #[test]
    fn retention_is_hours_a_duration_or_revisions() {
        let of = |args: &[&str]| {
            parse(&strings(args), []).and_then(|p| p.config()).map(|c| c.auto_compaction)
        };
        assert_eq!(of(&["--auto-compaction-retention="]), Ok(AutoCompaction::Off));
        assert_eq!(
            of(&["--auto-compaction-retention=1"]),
            Ok(AutoCompaction::Periodic(Duration::from_secs(3600)))
        );
        assert_eq!(
            of(&["--auto-compaction-retention=1m30s"]),
            Ok(AutoCompaction::Periodic(Duration::from_secs(90)))
        );
        assert_eq!(
            of(&["--auto-compaction-mode=revision", "--auto-compaction-retention=9"]),
            Ok(AutoCompaction::Revision(9))
        );
        assert!(of(&["--auto-compaction-retention=x"]).is_err());
        assert_eq!(
            of(&["--auto-compaction-retention=1.5h"]),
            Ok(AutoCompaction::Periodic(Duration::from_secs(5400)))
        );
    }
}
