//! From flags to the first configuration, and to what is asked of a directory that has one.
//!
//! Identifiers are etcd's: a member's is the first eight bytes of the SHA-1 of its sorted peer
//! URLs and the token, a cluster's of the sorted member ids (and of the quorum system, when it
//! is not a plain majority).

use crate::config::{Config, ConfigError, InitialMember, Url, resolve, same_urls};
use base::NodeId;
use base::limits::MEMBERS_MAX;
use cluster::{BallotRule, Configuration, Member};
use member::Born;
use member::limits::{LIMIT_QUOTA, LIMIT_TXN_OPS};
use member::wanted::{Name, Wanted};
use sha1::{Digest as _, Sha1};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Computes the first configuration from `--initial-cluster` and its relatives.
///
/// # Errors
/// An initial cluster that does not name this member with its advertised URLs, or a quorum
/// expression that is unreadable, names strangers, or is unsafe.
pub fn from_flags(config: &Config) -> Result<Born, ConfigError> {
    let mut initial = config.initial_cluster.clone();
    initial.sort_by(|a, b| a.name.cmp(&b.name));
    let me = initial.iter().find(|member| member.name == config.name).ok_or_else(|| {
        let names: Vec<&str> = initial.iter().map(|member| member.name.as_str()).collect();
        ConfigError(format!(
            "--name {:?} is not in --initial-cluster, which names {}",
            config.name,
            names.join(", ")
        ))
    })?;
    let mut advertised = config.advertise_peer_urls.clone();
    advertised.sort();
    if !same_patiently(&me.peer_urls, &advertised) {
        return Err(ConfigError(format!(
            "--initial-cluster gives {} {}, but --initial-advertise-peer-urls is {}",
            config.name,
            join(&me.peer_urls),
            join(&advertised)
        )));
    }
    refuse_shared_urls(&initial)?;
    let mut members = Vec::new();
    for (slot, member) in initial.iter().enumerate() {
        let slot = u8::try_from(slot).ok().filter(|slot| usize::from(*slot) < MEMBERS_MAX);
        members.push(Member {
            id: member_id(&member.peer_urls, &config.cluster_token),
            slot: slot
                .ok_or_else(|| ConfigError(format!("more than {MEMBERS_MAX} initial members")))?,
            name: member.name.clone(),
            learner: false,
            peer_urls: member.peer_urls.iter().map(ToString::to_string).collect(),
            client_urls: Vec::new(),
            life: base::Life::UNKNOWN,
        });
    }
    let majority = || quorum::majority_text(members.iter().map(|member| &member.name));
    let configuration = checked(Configuration {
        protocol: cluster::Protocol::Raft,
        quorum: config.quorum.clone().unwrap_or_else(majority),
        members,
        joint: None,
        rule: BallotRule::SharedTerms,
        limits: vec![
            (LIMIT_QUOTA.to_string(), config.quota_backend_bytes),
            (LIMIT_TXN_OPS.to_string(), config.max_txn_ops as u64),
        ],
        change: cluster::ChangeState::default(),
    })?;
    let member = configuration.members.iter().find(|member| member.name == config.name);
    Ok(Born {
        cluster: cluster_id(&configuration, config.quorum.as_deref()),
        member: member.expect("found above").id,
        config: configuration,
    })
}

/// How long a name that is to be compared may take to become known: pods start before theirs is.
const LOOKUP_MAX: Duration = Duration::from_secs(30);
const LOOKUP_PAUSE: Duration = Duration::from_secs(1);

/// Whether both lists name the same places; a name that nobody knows yet is asked for again, as
/// etcd does. Blocks.
fn same_patiently(a: &[Url], b: &[Url]) -> bool {
    let until = Instant::now() + LOOKUP_MAX;
    loop {
        let mut unknown = false;
        let same = same_urls(a, b, |url| {
            let found = resolve(url);
            unknown |= found.is_empty();
            found
        });
        if same || !unknown || Instant::now() >= until {
            return same;
        }
        std::thread::sleep(LOOKUP_PAUSE);
    }
}

/// One URL for two members would give one of them the other's messages, or one id to both.
fn refuse_shared_urls(initial: &[InitialMember]) -> Result<(), ConfigError> {
    let mut owners: BTreeMap<Url, &str> = BTreeMap::new();
    for member in initial {
        for url in &member.peer_urls {
            if url.is_wildcard() {
                let name = &member.name;
                let text = format!("--initial-cluster sends the others of {name} to {url}");
                return Err(ConfigError(text + ", which means every address of a machine"));
            }
            if let Some(other) = owners.insert(url.canonical(), &member.name) {
                let name = &member.name;
                let text = format!("--initial-cluster gives {url} to both {other} and {name}");
                return Err(ConfigError(text));
            }
        }
    }
    Ok(())
}

/// Elections that share terms where the quorum system allows it, ballots with a node otherwise.
fn checked(configuration: Configuration) -> Result<Configuration, ConfigError> {
    let other = Configuration { rule: BallotRule::TermAndNode, ..configuration.clone() };
    match (configuration.clone().compile(), other.clone().compile()) {
        (Ok(_), _) => Ok(configuration),
        (Err(_), Ok(_)) => Ok(other),
        (Err(error), Err(_)) => Err(ConfigError(format!("--quorum: {error}"))),
    }
}

fn join(urls: &[Url]) -> String {
    urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn first_eight(digest: &[u8]) -> u64 {
    let (head, _) = digest.split_first_chunk::<8>().expect("SHA-1 has twenty bytes");
    u64::from_be_bytes(*head)
}

fn member_id(urls: &[Url], token: &str) -> NodeId {
    id_of(&urls.iter().map(ToString::to_string).collect::<Vec<_>>(), token)
}

fn id_of(urls: &[String], token: &str) -> NodeId {
    let mut texts = urls.to_vec();
    texts.sort();
    let digest = Sha1::digest((texts.concat() + token).as_bytes());
    NodeId(first_eight(digest.as_slice()))
}

fn cluster_id(config: &Configuration, quorum: Option<&str>) -> u64 {
    let mut ids: Vec<u64> = config.members.iter().map(|member| member.id.0).collect();
    ids.sort_unstable();
    let mut bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_be_bytes()).collect();
    bytes.extend_from_slice(quorum.unwrap_or("").as_bytes());
    first_eight(Sha1::digest(&bytes).as_slice())
}

/// A directory that is real etcd's is left alone.
///
/// # Errors
/// Names what was found there.
pub fn refuse_foreign_directory(config: &Config) -> Result<(), ConfigError> {
    let member = config.data_dir.join("member");
    if member.is_dir() {
        return Err(ConfigError(format!(
            "{} holds the data of an etcd member ({} exists); use another --data-dir",
            config.data_dir.display(),
            member.display()
        )));
    }
    Ok(())
}

/// What the flags ask of a directory that is not new.
pub fn wanted(config: &Config) -> Wanted {
    let default = Config::single(&config.name);
    let texts = |urls: &[Url]| urls.iter().map(Url::to_string).collect::<Vec<_>>();
    let alone = config.initial_cluster.len() == 1
        && config.initial_cluster[0].peer_urls == config.advertise_peer_urls;
    let first = config.initial_cluster.iter().map(|m| (m.name.clone(), texts(&m.peer_urls)));
    let token = Some(config.cluster_token.clone()).filter(|t| *t != default.cluster_token);
    let limits = [
        (
            "--quota-backend-bytes",
            LIMIT_QUOTA,
            config.quota_backend_bytes,
            default.quota_backend_bytes,
        ),
        ("--max-txn-ops", LIMIT_TXN_OPS, config.max_txn_ops as u64, default.max_txn_ops as u64),
    ];
    let given = limits.into_iter().filter(|(.., value, default)| value != default);
    Wanted {
        name: Some(Name { text: config.name.clone(), given: config.name != "default" }),
        quorum: config.quorum.clone(),
        peer_urls: (config.advertise_peer_urls != default.advertise_peer_urls)
            .then(|| texts(&config.advertise_peer_urls)),
        cluster: (!alone).then(|| first.collect()),
        id_of: token.map(|token| Box::new(move |urls: &[String]| id_of(urls, &token)) as _),
        limits: given.map(|(flag, name, value, _)| (flag, name, value)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_initial_cluster;

    fn config(cluster: &str, quorum: Option<&str>) -> Config {
        let mut config = Config::single("a");
        config.initial_cluster = parse_initial_cluster(cluster).expect("parses");
        config.advertise_peer_urls = config.initial_cluster[0].peer_urls.clone();
        config.quorum = quorum.map(str::to_string);
        config
    }

    const THREE: &str = "a=http://h:1,b=http://h:2,c=http://h:3";

    #[test]
    fn every_member_computes_the_same_cluster() {
        let a = from_flags(&config(THREE, None)).expect("valid");
        let mut b = config("c=http://h:3,b=http://h:2,a=http://h:1", None);
        b.name = "b".to_string();
        b.advertise_peer_urls = b.initial_cluster[1].peer_urls.clone();
        let b = from_flags(&b).expect("valid");
        assert_eq!((a.cluster, &a.config), (b.cluster, &b.config));
        assert_ne!(a.member, b.member);
    }

    #[test]
    fn an_unsafe_or_unknown_quorum_does_not_start() {
        let error = from_flags(&config(THREE, Some("1 of (a, b, c)"))).expect_err("unsafe");
        assert!(error.0.contains("quorum"), "{error}");
        assert!(from_flags(&config(THREE, Some("2 of (a, b, x)"))).is_err());
        assert!(from_flags(&config(THREE, Some("2 of (a, b"))).is_err());
        let ok =
            from_flags(&config(THREE, Some("elect = all of (a,b,c); commit = any of (a,b,c)")));
        assert!(ok.is_ok(), "{ok:?}");
    }

    #[test]
    fn strangers_and_shared_urls_are_named() {
        let error = from_flags(&config(THREE, Some("2 of (a, b, x)"))).expect_err("a stranger");
        assert!(error.0.contains('x'), "{error}");
        let error = from_flags(&config(THREE, Some("1 of (a, b, c)"))).expect_err("unsafe");
        assert!(error.0.contains('a') && error.0.contains('b'), "two sets are named: {error}");
        let error = from_flags(&config("a=http://h:1,b=http://h:1", None)).expect_err("shared");
        assert!(error.0.ends_with("gives http://h:1 to both a and b"), "{error}");
    }

    #[test]
    fn equal_addresses_in_different_spellings_bootstrap() {
        let long = config("a=http://[0:0:0:0:0:0:0:1]:1,b=http://h:2", None);
        let urls = |text: &str| crate::config::parse_urls(text).expect("URLs");
        for short in ["http://[::1]:1", "http://[::0001]:1"] {
            let config = Config { advertise_peer_urls: urls(short), ..long.clone() };
            assert!(from_flags(&config).is_ok(), "{short}");
        }
        // A name and its address: the one name that every machine knows.
        let named = config("a=http://127.0.0.1:1,b=http://h:2", None);
        let named = Config { advertise_peer_urls: urls("http://localhost:1"), ..named };
        assert!(from_flags(&named).is_ok());
        let other = Config { advertise_peer_urls: urls("http://[::2]:1"), ..long };
        let error = from_flags(&other).expect_err("another address");
        assert!(error.0.contains("--initial-advertise-peer-urls is http://[::2]:1"), "{error}");
        let twice = config("a=http://[::1]:1,b=http://[0::1]:1", None);
        assert!(from_flags(&twice).expect_err("shared").0.contains("to both a and b"));
        let nowhere = config("a=http://h:1,b=http://[0::0]:2", None);
        assert!(from_flags(&nowhere).expect_err("a wildcard").0.contains("of b to http://[0::0]"));
    }

    #[test]
    fn names_with_quotes_bootstrap() {
        let mut odd = config("a\"b=http://h:1,c\\=http://h:2", None);
        odd.name = "a\"b".to_string();
        let boot = from_flags(&odd).expect("it starts");
        assert_eq!(boot.config.voters().len(), 2);
    }

    #[test]
    fn flags_that_only_bootstrap_reads_are_asked_for_where_they_were_given() {
        let mine = config(THREE, None);
        let born = from_flags(&mine).expect("valid");
        let (me, first) = (born.member, born.config);
        let mut now = first.clone();
        now.members[0].peer_urls = vec!["http://h:9".to_string()];
        let line = |config: &Config| wanted(config).compare(me, &first, &now).expect("it starts");
        // What was true at first, what is true now, and nothing at all.
        assert_eq!(line(&mine), None);
        let moved = config("a=http://h:9,b=http://h:2,c=http://h:3", None);
        assert_eq!(line(&moved), None);
        assert_eq!(line(&Config::single("default")), None);
        let strange = Config {
            name: "x".to_string(),
            cluster_token: "other".to_string(),
            quota_backend_bytes: 7,
            max_txn_ops: 9,
            ..config("a=http://h:8,b=http://h:2,d=http://h:3", None)
        };
        let told = line(&strange).expect("differs");
        let flags =
            ["name", "initial-advertise-peer-urls", "initial-cluster (", "initial-cluster-t"];
        for flag in flags.into_iter().chain(["quota-backend-bytes", "max-txn-ops"]) {
            assert!(told.contains(&format!("--{flag}")), "{flag}: {told}");
        }
        let other = Config { quorum: Some("a".to_string()), ..mine };
        assert!(wanted(&other).compare(me, &first, &now).is_err());
    }
}
