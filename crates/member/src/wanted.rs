//! What whoever starts a member asks for, held against what its directory says.
//!
//! After the first start the directory decides, as in etcd. What only a first start reads is
//! compared with it, and is told where it differs; two differences are no leftovers but dangers.

use base::NodeId;
use cluster::{Configuration, Member};

/// The id that a first start would give to a member of these peer URLs.
pub type IdOf = Box<dyn Fn(&[String]) -> NodeId>;

/// What is asked for, in plain texts; empty where nothing is.
#[derive(Default)]
pub struct Wanted {
    /// Of the member.
    pub name: Option<Name>,
    pub quorum: Option<String>,
    /// Where members are to reach it, unless that was left out.
    pub peer_urls: Option<Vec<String>>,
    /// Names and peer URLs of the first members, unless that was left out.
    pub cluster: Option<Vec<(String, Vec<String>)>>,
    /// Where something is said that ids are made of.
    pub id_of: Option<IdOf>,
    /// Replicated limits that were given: how they are asked for, their name and value.
    pub limits: Vec<(&'static str, &'static str, u64)>,
}

/// A name, and whether it was given or is what everybody has who gives none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub text: String,
    pub given: bool,
}

impl Wanted {
    /// Says what has no effect any more, if there is anything. `born` is the bootstrap
    /// configuration of the directory of `member`, `now` the last one of its log.
    ///
    /// # Errors
    /// Another quorum system than the cluster began with or has now, or the name of another of
    /// its members, whose directory this one would be taken for. Who came in under a name that was
    /// taken then has none of its own, and may go on to say it.
    pub fn compare(
        &self,
        member: NodeId,
        born: &Configuration,
        now: &Configuration,
    ) -> Result<Option<String>, String> {
        let me = now.member(member).or_else(|| born.member(member));
        let name = me.map_or("", |me| me.name.as_str());
        let mut idle = Vec::new();
        if let Some(said) = self.name.as_ref().filter(|said| said.text != name) {
            let others = |m: &Member| m.id != member && m.name == said.text;
            let nameless = name == cluster::label(member);
            if !nameless && now.members.iter().any(others) {
                return Err(format!(
                    "the directory belongs to member {name:?} ({:x}), and --name {:?} is another \
                     of its cluster",
                    member.0, said.text
                ));
            }
            if said.given {
                idle.push(format!("--name (this is {name:?})"));
            }
        }
        if let Some(text) = self.quorum.as_ref().filter(|text| !is_quorum_of(text, &[born, now])) {
            let (first, last) = (&born.quorum, now.joint.as_ref().unwrap_or(&now.quorum));
            if born.member(member).is_some() {
                return Err(format!(
                    "--quorum {text:?} is neither what this cluster began with, {first:?}, nor \
                     what it has now, {last:?}: change it with `quorate quorum set`, and drop the \
                     flag"
                ));
            }
            idle.push(format!("--quorum (it is {last:?})"));
        }
        idle.extend(self.idle(member, born, now));
        let line = format!("no effect after the first start: {}", idle.join(", "));
        Ok((!idle.is_empty()).then_some(line))
    }

    /// What is neither as it was at first nor as it is now.
    fn idle(&self, member: NodeId, born: &Configuration, now: &Configuration) -> Vec<String> {
        let me = now.member(member).or_else(|| born.member(member));
        let mut idle = Vec::new();
        if let Some(said) = &self.peer_urls {
            let said = sorted(said.clone());
            let known = [now, born].into_iter().filter_map(|c| c.member(member));
            if !known.map(|m| sorted(m.peer_urls.clone())).any(|urls| urls == said) {
                let mine = me.map_or(String::new(), |me| me.peer_urls.join(","));
                idle.push(format!(
                    "--initial-advertise-peer-urls (members reach it at {mine}; `member update` \
                     changes it)"
                ));
            }
        }
        let is_none_of = |said| ![now, born].iter().any(|config| is_cluster_of(said, config));
        if self.cluster.as_deref().is_some_and(is_none_of) {
            idle.push("--initial-cluster (`member list` shows the members)".to_string());
        }
        if let Some(id_of) = &self.id_of
            && born.member(member).is_some_and(|me| id_of(&me.peer_urls) != member)
        {
            idle.push("--initial-cluster-token".to_string());
        }
        for (flag, name, value) in &self.limits {
            let limit = now.limits.iter().find(|(known, _)| known == name);
            if limit.is_none_or(|(_, fixed)| fixed != value) {
                idle.push(format!("{flag} (fixed at bootstrap)"));
            }
        }
        idle
    }
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// Whether `text` means the quorum system of one of these, the one being moved to included.
fn is_quorum_of(text: &str, configs: &[&Configuration]) -> bool {
    configs.iter().any(|config| {
        let with = |quorum: &str| {
            let (quorum, joint) = (quorum.to_string(), None);
            let told = Configuration { quorum, joint, ..(*config).clone() }.compile();
            told.ok().map(|compiled| compiled.system().clone())
        };
        let theirs = [Some(&config.quorum), config.joint.as_ref()];
        theirs
            .into_iter()
            .flatten()
            .any(|own| own == text || with(text).is_some_and(|system| Some(system) == with(own)))
    })
}

fn is_cluster_of(said: &[(String, Vec<String>)], config: &Configuration) -> bool {
    let line = |name: &str, urls: &[String]| format!("{name}={}", sorted(urls.to_vec()).join(","));
    let said = said.iter().map(|(name, urls)| line(name, urls)).collect();
    let is = config.members.iter().map(|m| line(&m.name, &m.peer_urls)).collect();
    sorted(said) == sorted(is)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::configuration;

    fn member(id: u64, name: &str) -> Member {
        Member {
            id: NodeId(id),
            slot: id as u8,
            name: name.to_string(),
            learner: false,
            peer_urls: vec![format!("http://h:{id}")],
            client_urls: Vec::new(),
            life: base::Life::UNKNOWN,
        }
    }

    fn three() -> Configuration {
        let limits = vec![("quota_bytes".to_string(), 5)];
        Configuration { limits, ..configuration(&["a", "b", "c"], "majority(a, b, c)") }
    }

    fn named(text: &str, given: bool) -> Wanted {
        Wanted { name: Some(Name { text: text.to_string(), given }), ..Wanted::default() }
    }

    #[test]
    fn who_asks_for_nothing_gets_what_is_there() {
        let born = three();
        assert_eq!(Wanted::default().compare(NodeId(1), &born, &born), Ok(None));
        assert_eq!(named("a", true).compare(NodeId(1), &born, &born), Ok(None));
    }

    #[test]
    fn the_directory_of_another_member_is_named() {
        let born = three();
        for given in [true, false] {
            let error = named("a", given).compare(NodeId(2), &born, &born).expect_err("of b");
            assert!(error.contains("belongs to member \"b\" (2), and --name \"a\""), "{error}");
        }
        // A name that nobody has is only told, and not where nobody gave it.
        let told = |wanted: Wanted| wanted.compare(NodeId(2), &born, &born).expect("it starts");
        assert!(told(named("x", true)).expect("told").contains("--name (this is \"b\")"));
        assert_eq!(told(named("default", false)), None);
    }

    #[test]
    fn who_came_in_under_a_name_that_was_taken_starts_again_with_it() {
        let (born, id) = (three(), NodeId(77));
        let mut now = born.clone();
        now.members.push(Member { id, slot: 9, name: cluster::label(id), ..member(1, "a") });
        let line = named("a", true).compare(id, &born, &now).expect("a is still there");
        assert!(line.expect("told").contains("--name (this is"));
        now.members.retain(|m| m.name != "a");
        assert!(named("a", true).compare(id, &born, &now).is_ok(), "a has left");
        // Whoever has a name of its own may take one that nobody has any more.
        assert!(named("a", true).compare(NodeId(2), &born, &now).is_ok());
    }

    #[test]
    fn another_quorum_than_the_first_or_the_present_one_is_refused() {
        let born = three();
        let all = "all of (a, b, c)";
        let now = Configuration { quorum: "all of (c, b, a)".to_string(), ..born.clone() };
        let of = |me, quorum: &str| {
            let quorum = Some(quorum.to_string());
            Wanted { quorum, ..Wanted::default() }.compare(NodeId(me), &born, &now)
        };
        for same in ["2 of (a, b, c)", "majority(c, b, a)", all] {
            assert_eq!(of(1, same), Ok(None), "{same}");
        }
        for other in ["elect = all of (a, b, c); commit = any of (a, b, c)", "3 of (a, b", "a"] {
            let error = of(1, other).expect_err("refused");
            assert!(error.contains("majority(a, b, c)") && error.contains("all of"), "{error}");
        }
        // Who came later had no say in it.
        let line = of(9, "a").expect("it starts").expect("told");
        assert!(line.contains("--quorum (it is \"all of (c, b, a)\")"), "{line}");
    }

    #[test]
    fn what_only_a_first_start_reads_is_told_where_it_is_neither_old_nor_new() {
        let born = three();
        let mut now = born.clone();
        now.members[0].peer_urls = vec!["http://h:9".to_string()];
        let urls = |port: u64| vec![format!("http://h:{port}")];
        let all = |port| {
            let named = [("c", 3), ("b", 2), ("a", port)];
            named.map(|(name, port)| (name.to_string(), urls(port))).to_vec()
        };
        let wanted = |port, id, quota| Wanted {
            peer_urls: Some(urls(port)),
            cluster: Some(all(port)),
            id_of: Some(Box::new(move |_: &[String]| NodeId(id))),
            limits: vec![("--quota", "quota_bytes", quota)],
            ..Wanted::default()
        };
        let line = |w: Wanted| w.compare(NodeId(1), &born, &now).expect("it starts");
        assert_eq!(line(wanted(1, 1, 5)), None, "as it was");
        assert_eq!(line(wanted(9, 1, 5)), None, "as it is");
        let told = line(wanted(8, 4, 6)).expect("all of it");
        let parts =
            ["-peer-urls (members reach it at http://h:9", "-cluster (", "-token", "--quota"];
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    }
}
