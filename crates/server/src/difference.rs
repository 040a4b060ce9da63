//! How two configurations differ, in words an operator can act on.

use cluster::{Configuration, Member};

fn names(members: &[Member]) -> String {
    members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The first difference between the configuration here and the one there; ids are derived from
/// the rest and not compared. `None` when only ids, if anything, differ.
pub fn difference(here: &Configuration, there: &Configuration) -> Option<String> {
    let (ours, theirs) = (names(&here.members), names(&there.members));
    if ours != theirs {
        return Some(format!("initial members {ours} here, {theirs} there"));
    }
    for (a, b) in here.members.iter().zip(&there.members) {
        if a.peer_urls != b.peer_urls {
            let (a_urls, b_urls) = (a.peer_urls.join(","), b.peer_urls.join(","));
            return Some(format!("peer URLs of {}: {a_urls} here, {b_urls} there", a.name));
        }
    }
    if here.quorum != there.quorum {
        return Some(format!("quorum {:?} here, {:?} there", here.quorum, there.quorum));
    }
    if here.protocol != there.protocol {
        return Some(format!("protocol {} here, {} there", here.protocol, there.protocol));
    }
    if here.joint != there.joint || here.rule != there.rule {
        return Some("ballot rules of different builds".to_string());
    }
    for (name, value) in &here.limits {
        match there.limits.iter().find(|(other, _)| other == name) {
            Some((_, other)) if other == value => {}
            Some((_, other)) => return Some(format!("limit {name}: {value} here, {other} there")),
            None => return Some(format!("limit {name}: {value} here, none there")),
        }
    }
    let known = |name: &String| here.limits.iter().any(|(ours, _)| ours == name);
    let more = there.limits.iter().find(|(name, _)| !known(name));
    more.map(|(name, value)| format!("limit {name}: none here, {value} there"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::from_flags;
    use crate::config::{Config, parse_initial_cluster};

    fn made(change: impl Fn(&mut Config)) -> Configuration {
        let mut config = Config::single("a");
        let text = "a=http://h:1,b=http://h:2,c=http://h:3";
        config.initial_cluster = parse_initial_cluster(text).expect("parses");
        config.advertise_peer_urls = config.initial_cluster[0].peer_urls.clone();
        change(&mut config);
        from_flags(&config).expect("valid").config
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let same = made(|_| {});
        assert_eq!(difference(&same, &made(|_| {})), None);
        assert_eq!(difference(&same, &made(|c| c.cluster_token = "other".into())), None);
        type Case<'a> = (&'a str, &'a dyn Fn(&mut Config));
        let cases: [Case<'_>; 5] = [
            ("quorum \"majority(a, b, c)\" here, \"all of (a, b, c)\" there", &|c| {
                c.quorum = Some("all of (a, b, c)".into());
            }),
            ("limit quota_bytes: 2147483648 here, 7 there", &|c| c.quota_backend_bytes = 7),
            ("limit max_txn_ops: 128 here, 9 there", &|c| c.max_txn_ops = 9),
            ("initial members a, b, c here, a, b there", &|c| {
                c.initial_cluster.pop();
            }),
            ("peer URLs of c: http://h:3 here, http://h:4 there", &|c| {
                c.initial_cluster[2].peer_urls[0].port = 4;
            }),
        ];
        for (text, change) in cases {
            assert_eq!(difference(&same, &made(change)).as_deref(), Some(text));
        }
    }
}
