//! From flags to the first configuration, and from a data directory back to it.
//!
//! Identifiers are etcd's: a member's is the first eight bytes of the SHA-1 of its sorted peer
//! URLs and the token, a cluster's of the sorted member ids (and of the quorum system, when it
//! is not a plain majority).

use crate::config::{Config, ConfigError, InitialMember, Url, resolve, same_urls};
use base::NodeId;
use cluster::{BallotRule, Configuration, Member};
use member::limits::{LIMIT_QUOTA, LIMIT_TXN_OPS};
use sha1::{Digest as _, Sha1};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a member is born with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    pub cluster: u64,
    pub member: NodeId,
    pub config: Configuration,
}

/// Computes the first configuration from `--initial-cluster` and its relatives.
///
/// # Errors
/// An initial cluster that does not name this member with its advertised URLs, or a quorum
/// expression that is unreadable, names strangers, or is unsafe.
pub fn from_flags(config: &Config) -> Result<Bootstrap, ConfigError> {
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
        let slot = u8::try_from(slot).ok().filter(|slot| *slot < 64);
        members.push(Member {
            id: member_id(&member.peer_urls, &config.cluster_token),
            slot: slot.ok_or_else(|| ConfigError("more than 64 initial members".into()))?,
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
    Ok(Bootstrap {
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
    let texts = sorted(urls.iter().cloned());
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

/// After the first start the directory decides, as in etcd: flags that only bootstrap reads are
/// compared with it, and where they differ they have no effect and the line that says so is
/// returned. `born` is the bootstrap configuration, `now` the last one of the log.
///
/// # Errors
/// What differs is no leftover but a danger: another quorum system than the cluster began with
/// or has now, or the name of another of its members, whose directory this one would be taken for.
/// Who came in under a name that was taken then has none of its own, and may go on to say it.
pub fn compare(
    config: &Config,
    member: NodeId,
    born: &Configuration,
    now: &Configuration,
) -> Result<Option<String>, ConfigError> {
    let me = now.member(member).or_else(|| born.member(member));
    let name = me.map_or("", |me| me.name.as_str());
    let nameless = name == cluster::label(member);
    let other = |m: &Member| m.id != member && m.name == config.name;
    if name != config.name && !nameless && now.members.iter().any(other) {
        let dir = config.data_dir.display();
        return Err(ConfigError(format!(
            "{dir} belongs to member {name:?} ({:x}), and --name {:?} is another of its cluster",
            member.0, config.name
        )));
    }
    let mut idle = Vec::new();
    if let Some(text) = config.quorum.as_ref().filter(|text| !is_quorum_of(text, &[born, now])) {
        let (first, last) = (&born.quorum, now.joint.as_ref().unwrap_or(&now.quorum));
        if born.member(member).is_some() {
            return Err(ConfigError(format!(
                "--quorum {text:?} is neither what this cluster began with, {first:?}, nor what \
                 it has now, {last:?}: change it with `quorate quorum set`, and drop the flag"
            )));
        }
        idle.push(format!("--quorum (it is {last:?})"));
    }
    idle.extend(idle_flags(config, member, born, now));
    let line = format!("no effect after the first start: {}", idle.join(", "));
    Ok((!idle.is_empty()).then_some(line))
}

/// What only a first start reads and is neither as it was then, nor as it is now, nor left out.
fn idle_flags(
    config: &Config,
    member: NodeId,
    born: &Configuration,
    now: &Configuration,
) -> Vec<String> {
    let me = now.member(member).or_else(|| born.member(member));
    let name = me.map_or("", |me| me.name.as_str());
    let default = Config::single(&config.name);
    let mut idle = Vec::new();
    if name != config.name && config.name != "default" {
        idle.push(format!("--name (this is {name:?})"));
    }
    let urls = |m: &Member| sorted(m.peer_urls.iter().map(String::clone));
    let said = sorted(config.advertise_peer_urls.iter().map(Url::to_string));
    let known = [now, born].iter().filter_map(|c| c.member(member)).any(|m| urls(m) == said);
    let mine = me.map_or(String::new(), |me| me.peer_urls.join(","));
    if !known && config.advertise_peer_urls != default.advertise_peer_urls {
        idle.push(format!(
            "--initial-advertise-peer-urls (members reach it at {mine}; `member update` changes it)"
        ));
    }
    let alone = config.initial_cluster.len() == 1
        && config.initial_cluster[0].peer_urls == config.advertise_peer_urls;
    if !alone && ![now, born].iter().any(|c| is_cluster_of(&config.initial_cluster, c)) {
        idle.push("--initial-cluster (`member list` shows the members)".to_string());
    }
    let first = born.member(member).filter(|_| config.cluster_token != default.cluster_token);
    if first.is_some_and(|me| id_of(&me.peer_urls, &config.cluster_token) != member) {
        idle.push("--initial-cluster-token".to_string());
    }
    let limit = |name| now.limits.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
    let (quota, ops) = (config.quota_backend_bytes, config.max_txn_ops);
    if quota != default.quota_backend_bytes && limit(LIMIT_QUOTA) != Some(quota) {
        idle.push("--quota-backend-bytes (fixed at bootstrap)".to_string());
    }
    if ops != default.max_txn_ops && limit(LIMIT_TXN_OPS) != Some(ops as u64) {
        idle.push("--max-txn-ops (fixed at bootstrap)".to_string());
    }
    idle
}

fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts
}

/// Whether `text` means the quorum system of one of these, the one being moved to included.
fn is_quorum_of(text: &str, configs: &[&Configuration]) -> bool {
    configs.iter().any(|config| {
        let with = |quorum: &str| {
            let (quorum, joint) = (quorum.to_string(), None);
            let compiled = Configuration { quorum, joint, ..(*config).clone() }.compile();
            compiled.ok().map(|compiled| compiled.system().clone())
        };
        let theirs = [Some(&config.quorum), config.joint.as_ref()];
        theirs
            .into_iter()
            .flatten()
            .any(|own| own == text || with(text).is_some_and(|system| Some(system) == with(own)))
    })
}

fn is_cluster_of(initial: &[InitialMember], config: &Configuration) -> bool {
    let said = sorted(initial.iter().map(|m| format!("{}={}", m.name, join(&m.peer_urls))));
    let members = config.members.iter();
    let is =
        members.map(|m| format!("{}={}", m.name, sorted(m.peer_urls.iter().cloned()).join(",")));
    said == sorted(is)
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
    fn a_directory_of_another_member_is_named() {
        let mine = config(THREE, None);
        let born = from_flags(&mine).expect("valid").config;
        let other = born.members[1].id;
        let error = compare(&mine, other, &born, &born).expect_err("refused");
        assert!(error.0.contains("belongs to member \"b\""), "{error}");
        assert_eq!(compare(&mine, born.members[0].id, &born, &born), Ok(None));
    }

    #[test]
    fn who_came_in_under_a_name_that_was_taken_starts_again_with_it() {
        let mine = config(THREE, None);
        let born = from_flags(&mine).expect("valid").config;
        let mut now = born.clone();
        let id = NodeId(77);
        let newcomer = Member { id, slot: 9, name: cluster::label(id), ..born.members[0].clone() };
        now.members.push(newcomer);
        let line = compare(&mine, id, &born, &now).expect("a is still there");
        assert!(line.expect("told").contains("--name (this is"));
        now.members.retain(|m| m.name != "a");
        assert!(compare(&mine, id, &born, &now).is_ok(), "a has left");
        // Whoever has a name of its own may take one that nobody has any more.
        assert!(compare(&mine, born.members[1].id, &born, &now).is_ok());
    }

    #[test]
    fn names_with_quotes_bootstrap() {
        let mut odd = config("a\"b=http://h:1,c\\=http://h:2", None);
        odd.name = "a\"b".to_string();
        let boot = from_flags(&odd).expect("it starts");
        assert_eq!(boot.config.voters().len(), 2);
    }

    #[test]
    fn flags_that_only_bootstrap_reads_are_told_in_one_line_and_ignored() {
        let mine = config(THREE, None);
        let boot = from_flags(&mine).expect("valid");
        let (me, born) = (boot.member, boot.config);
        let mut now = born.clone();
        now.members[0].peer_urls = vec!["http://h:9".to_string()];
        let line = |config: &Config| compare(config, me, &born, &now).expect("it starts");
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
    }

    #[test]
    fn another_quorum_than_the_first_or_the_present_one_is_refused_after_bootstrap_too() {
        let mine = config(THREE, None);
        let boot = from_flags(&mine).expect("valid");
        let (me, born) = (boot.member, boot.config);
        let all = "all of (a, b, c)".to_string();
        let now = Configuration { quorum: "all of (c, b, a)".to_string(), ..born.clone() };
        let of = |quorum: &str| {
            compare(&Config { quorum: Some(quorum.to_string()), ..mine.clone() }, me, &born, &now)
        };
        for same in ["2 of (a, b, c)", "majority(c, b, a)", &all] {
            assert_eq!(of(same), Ok(None), "{same}");
        }
        for other in ["elect = all of (a, b, c); commit = any of (a, b, c)", "3 of (a, b", "a"] {
            let error = of(other).expect_err("refused").0;
            assert!(error.contains("majority(a, b, c)") && error.contains("all of"), "{error}");
        }
    }
}
