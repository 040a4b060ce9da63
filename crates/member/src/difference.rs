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
    use crate::sample::configuration;
    use base::NodeId;
    use cluster::BallotRule;

    fn made(change: impl Fn(&mut Configuration)) -> Configuration {
        let mut config = configuration(&["a", "b", "c"], "majority(a, b, c)");
        let limits = [("quota_bytes", 5), ("max_txn_ops", 128)];
        config.limits = limits.map(|(name, value)| (name.to_string(), value)).to_vec();
        change(&mut config);
        config
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let same = made(|_| {});
        assert_eq!(difference(&same, &made(|_| {})), None);
        assert_eq!(difference(&same, &made(|c| c.members[0].id = NodeId(9))), None);
        type Case<'a> = (&'a str, &'a dyn Fn(&mut Configuration));
        let cases: [Case<'_>; 8] = [
            ("quorum \"majority(a, b, c)\" here, \"all of (a, b, c)\" there", &|c| {
                c.quorum = "all of (a, b, c)".to_string();
            }),
            ("ballot rules of different builds", &|c| c.rule = BallotRule::TermAndNode),
            ("limit quota_bytes: 5 here, 7 there", &|c| c.limits[0].1 = 7),
            ("limit max_txn_ops: 128 here, 9 there", &|c| c.limits[1].1 = 9),
            ("limit max_txn_ops: 128 here, none there", &|c| {
                c.limits.pop();
            }),
            ("limit more: none here, 1 there", &|c| c.limits.push(("more".to_string(), 1))),
            ("initial members a, b, c here, a, b there", &|c| {
                c.members.pop();
            }),
            ("peer URLs of c: http://h:3 here, http://h:4 there", &|c| {
                c.members[2].peer_urls = vec!["http://h:4".to_string()];
            }),
        ];
        for (text, change) in cases {
            assert_eq!(difference(&same, &made(change)).as_deref(), Some(text));
        }
    }
}
