//! From flags to the first configuration, and from a data directory back to it.
//!
//! Identifiers are etcd's: a member's is the first eight bytes of the SHA-1 of its sorted peer
//! URLs and the token, a cluster's of the sorted member ids (and of the quorum system, when it
//! is not a plain majority).

use crate::config::{Config, ConfigError, InitialMember, Url};
use base::NodeId;
use consensus::raft::{BallotRule, Configuration, Member};
use sha1::{Digest as _, Sha1};
use std::collections::BTreeMap;

/// What a member is born with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    pub cluster: u64,
    pub member: NodeId,
    pub config: Configuration,
}

/// Names of the replicated limits.
pub const LIMIT_QUOTA: &str = "quota_bytes";
pub const LIMIT_TXN_OPS: &str = "max_txn_ops";

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
    if me.peer_urls != advertised {
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
        });
    }
    let names: Vec<String> = members.iter().map(|member| quoted(&member.name)).collect();
    let majority = format!("majority({})", names.join(", "));
    let configuration = checked(Configuration {
        quorum: config.quorum.clone().unwrap_or(majority),
        members,
        joint: None,
        rule: BallotRule::SharedTerms,
        limits: vec![
            (LIMIT_QUOTA.to_string(), config.quota_backend_bytes),
            (LIMIT_TXN_OPS.to_string(), config.max_txn_ops as u64),
        ],
        change: consensus::raft::ChangeState::default(),
    })?;
    let member = configuration.members.iter().find(|member| member.name == config.name);
    Ok(Bootstrap {
        cluster: cluster_id(&configuration, config.quorum.as_deref()),
        member: member.expect("found above").id,
        config: configuration,
    })
}

/// One URL for two members would give one of them the other's messages, or one id to both.
fn refuse_shared_urls(initial: &[InitialMember]) -> Result<(), ConfigError> {
    let mut owners: BTreeMap<&Url, &str> = BTreeMap::new();
    for member in initial {
        for url in &member.peer_urls {
            if let Some(other) = owners.insert(url, &member.name) {
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
    let error = match configuration.system() {
        Ok(_) => return Ok(configuration),
        Err(error) => error,
    };
    let other = Configuration { rule: BallotRule::TermAndNode, ..configuration };
    match other.system() {
        Ok(_) => Ok(other),
        Err(_) => Err(ConfigError(format!("--quorum: {error}"))),
    }
}

/// A name as the quorum language reads it.
fn quoted(name: &str) -> String {
    let words = ["and", "or", "of", "all", "any", "zones", "grid", "row", "cover", "wall", "joint"];
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let first = |c: char| c.is_ascii_alphabetic();
    if name.starts_with(first) && name.chars().all(plain) && !words.contains(&name) {
        name.to_string()
    } else {
        format!("\"{name}\"")
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
    let mut texts: Vec<String> = urls.iter().map(ToString::to_string).collect();
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

/// Flags after bootstrap are only compared: one warning per difference, none takes effect.
///
/// # Errors
/// The directory belongs to another member or another cluster.
pub fn compare(
    config: &Config,
    stored_cluster: u64,
    stored_member: NodeId,
    stored: &Configuration,
) -> Result<Vec<String>, ConfigError> {
    let dir = config.data_dir.display();
    if stored.members.iter().all(|member| member.id != stored_member) {
        return Ok(Vec::new()); // it joined later: the flags name another cluster by now
    }
    let member = stored.members.iter().find(|member| member.id == stored_member);
    let name = member.map_or("", |member| member.name.as_str());
    if name != config.name {
        return Err(ConfigError(format!(
            "{dir} belongs to member {name:?} ({:x}) of cluster {stored_cluster:x}, not to {:?}",
            stored_member.0, config.name
        )));
    }
    let flags = match from_flags(config) {
        Ok(flags) => flags,
        Err(error) => return Ok(vec![format!("bootstrap flags are ignored: {error}")]),
    };
    // One member alone may be the absence of the flag rather than another cluster.
    let given = config.initial_cluster.len() > 1 || stored.members.len() == 1;
    if given && flags.member != stored_member {
        return Err(ConfigError(format!(
            "{dir} belongs to member {:x}, the flags name member {:x}",
            stored_member.0, flags.member.0
        )));
    }
    let mut warnings = Vec::new();
    if given && flags.config.quorum != stored.quorum {
        let (a, b) = (&flags.config.quorum, &stored.quorum);
        warnings.push(format!("--quorum {a:?} has no effect: the cluster runs {b:?}"));
    }
    if given && flags.config.limits != stored.limits {
        warnings.push("quota and transaction limits were fixed at bootstrap".to_string());
    }
    if given && warnings.is_empty() && flags.cluster != stored_cluster {
        return Err(ConfigError(format!(
            "{dir} belongs to cluster {stored_cluster:x}, the flags make cluster {:x}",
            flags.cluster
        )));
    }
    Ok(warnings)
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
    fn a_directory_of_another_member_is_named() {
        let mine = config(THREE, None);
        let boot = from_flags(&mine).expect("valid");
        let other = boot.config.members[1].id;
        let error = compare(&mine, boot.cluster, other, &boot.config).expect_err("refused");
        assert!(error.0.contains("belongs to member \"b\""), "{error}");
        assert_eq!(compare(&mine, boot.cluster, boot.member, &boot.config), Ok(vec![]));
    }
}
