//! What a leader writes into the configuration of what members say of themselves, and what
//! clients are told of it: names, and where clients are served.

use crate::announced::Word;
use base::limits::{MEMBER_TEXT_BYTES_MAX, URLS_MAX};
use base::{Life, Nanos, NodeId, Token, planted};
use cluster::{Change, Configuration, Member, label};
use consensus::raft::Raft;
use mvcc::Caller;
use replica::Event;

/// How soon what a member says of itself is known to all.
pub const PUBLISH_INTERVAL: Nanos = Nanos::from_millis(50);
/// The token of what a member asks of itself; nobody waits for that.
pub const OWN: Token = Token(0);

/// When it is looked next for what is to be published. A member that is down is then known to
/// those who have not met it since they started.
#[derive(Debug, Default)]
pub struct Publisher {
    look_at: Nanos,
    /// What was asked for last is not answered yet.
    waits: bool,
}

impl Publisher {
    /// When a leader looks next, by the clock of [`Publisher::look`]; nobody else does.
    pub fn due(&self, raft: &Raft) -> Option<Nanos> {
        raft.is_leader().then_some(self.look_at)
    }

    /// The change that is to be asked for at this member at `now`, if one is, under [`OWN`]: none
    /// before the last one was answered, or beside another change. `said` is what is known of
    /// members.
    pub fn look<'a>(
        &mut self,
        now: Nanos,
        raft: &Raft,
        said: impl Fn(NodeId) -> Option<&'a Word>,
    ) -> Option<Event> {
        if now < self.look_at || !raft.is_leader() {
            return None;
        }
        self.look_at = now.plus(PUBLISH_INTERVAL);
        assert!(self.look_at >= now, "it is looked once for each interval");
        // What is asked for during a hand-over the next leader would do, which may know better.
        let firm = raft.leader_ready() && raft.takes_proposals();
        if self.waits || !firm || !raft.config_is_committed() {
            return None;
        }
        let change = news(raft.config(), said)?;
        self.waits = true;
        Some(Event::Change { token: OWN, caller: Caller::nobody(), change })
    }

    /// There was a reply to [`OWN`], whatever it says.
    pub fn answered(&mut self) {
        assert!(self.waits, "what is answered was asked for");
        self.waits = false;
    }
}

/// The first word of a member that its configuration does not say yet.
fn news<'a>(config: &Configuration, said: impl Fn(NodeId) -> Option<&'a Word>) -> Option<Change> {
    if config.joint.is_some() {
        return None;
    }
    config.members.iter().find_map(|member| {
        let word = said(member.id).filter(|word| counts(word, member.life) && fits(word))?;
        let (name, client_urls) = (word.name.clone(), word.client_urls.clone());
        let new = member.client_urls != client_urls;
        new.then_some(Change::Publish { id: member.id, name, client_urls })
    })
}

/// Whether a word is of the start that is written down. One of an earlier start would take back
/// what another leader published, which has met the member since; one of a later start could be
/// taken back so, by a leader that knows of no such start.
fn counts(word: &Word, written: Life) -> bool {
    let same = planted!(StaleWordPublished) && word.life.birth == written.birth;
    word.life == written || same
}

/// Whether a configuration may hold it: nobody could read one with more.
fn fits(word: &Word) -> bool {
    let mut texts = word.client_urls.iter().chain([&word.name]);
    word.client_urls.len() <= URLS_MAX && texts.all(|text| text.len() <= MEMBER_TEXT_BYTES_MAX)
}

/// What clients are told of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Empty while it has said none.
    pub name: String,
    pub client_urls: Vec<String>,
}

impl Shown {
    /// Of a `member` as the configuration in force has it, and as the last committed one does, if
    /// it stands there. Client URLs that are not committed are those that it `said` itself; the
    /// member that is asked (`own`) knows its own at any time.
    pub fn of(member: &Member, committed: Option<&Member>, said: Option<&Word>, own: bool) -> Self {
        let unnamed = member.name == label(member.id);
        let name = match said {
            Some(word) if unnamed => word.name.clone(),
            None if unnamed => String::new(),
            _ => member.name.clone(),
        };
        let kept = &committed.unwrap_or(member).client_urls;
        let client_urls = match said {
            Some(word) if own || kept.is_empty() => &word.client_urls,
            _ => kept,
        };
        Self { name, client_urls: client_urls.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::configuration;
    use base::{Birth, Incarnation};

    fn life(birth: u64, start: u64) -> Life {
        Life { birth: Birth(birth), incarnation: Incarnation(start << 32) }
    }

    fn word(url: &str, start: u64) -> Word {
        let client_urls = vec![url.to_string()];
        Word { name: "said".to_string(), client_urls, life: life(1, start) }
    }

    /// What is published of member `a` of two, which has said `word`, where `written` is its life.
    fn published(word: &Word, written: Life) -> Option<Vec<String>> {
        let mut config = configuration(&["a", "b"], "majority(a, b)");
        config.members[0].life = written;
        let said = |id: NodeId| (id == config.members[0].id).then_some(word);
        match news(&config, said) {
            Some(Change::Publish { id, name, client_urls }) => {
                assert_eq!((id, name), (config.members[0].id, word.name.clone()));
                Some(client_urls)
            }
            None => None,
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_word_that_the_configuration_does_not_say_is_published() {
        let mut config = configuration(&["a", "b", "c"], "majority(a, b, c)");
        config.members.iter_mut().for_each(|member| member.life = life(1, 1));
        let words = ["http://a", "http://b", "http://c"].map(|url| word(url, 1));
        let at = |id: NodeId| (2..).zip(&words[1..]).find(|(n, _)| NodeId(*n) == id);
        let said = |id: NodeId| if id == NodeId(1) { None } else { at(id).map(|(_, w)| w) };
        for (id, url) in [(2, "http://b"), (3, "http://c")] {
            let change = news(&config, said).expect("one is left");
            let Change::Publish { id: whose, client_urls, .. } = change else { panic!() };
            assert_eq!((whose, &client_urls[..]), (NodeId(id), &[url.to_string()][..]));
            let member = config.members.iter_mut().find(|m| m.id == whose).expect("a member");
            member.client_urls = client_urls;
        }
        assert_eq!(news(&config, said), None, "who has said nothing keeps what it had");
        config.members[0].client_urls = vec!["http://old".to_string()];
        assert_eq!(news(&config, said), None);
        config.members[2].client_urls.clear();
        assert!(news(&config, said).is_some());
        config.joint = Some("majority(a, b)".to_string());
        assert_eq!(news(&config, said), None, "a change that is under way comes first");
    }

    #[test]
    fn a_word_is_published_once_its_start_is_written_down_and_until_a_later_one_is() {
        let said = word("http://new", 5);
        for (written, may) in [
            (Life::UNKNOWN, false),
            (life(1, 4), false),
            (life(1, 5), true),
            (life(1, 6), false),
            (life(2, 5), false),
        ] {
            assert_eq!(published(&said, written).is_some(), may, "{written:?}");
        }
    }

    #[test]
    fn what_is_published_is_read_again_and_what_no_configuration_holds_is_not_published() {
        let mut said = word("", 1);
        said.client_urls = vec!["u".repeat(MEMBER_TEXT_BYTES_MAX); URLS_MAX];
        let mut config = configuration(&["a"], "majority(a)");
        config.members[0].client_urls = published(&said, said.life).expect("it fits");
        assert_eq!(Configuration::decode(&config.encode()), Ok(config.clone()));
        let mut longer = said.clone();
        longer.client_urls[0].push('u');
        assert_eq!(published(&longer, said.life), None);
        let mut named = word("http://a", 1);
        named.name = "n".repeat(MEMBER_TEXT_BYTES_MAX + 1);
        assert_eq!(published(&named, said.life), None);
        said.client_urls.push("one more".to_string());
        assert_eq!(published(&said, said.life), None);
        config.members[0].client_urls = said.client_urls;
        assert!(Configuration::decode(&config.encode()).is_err(), "this is why");
    }

    #[test]
    fn who_has_not_said_its_name_has_none_and_uncommitted_urls_are_its_own_word() {
        let config = configuration(&["a"], "majority(a)");
        let mut member = config.members[0].clone();
        let said = word("http://said", 1);
        let urls = |shown: Shown| shown.client_urls;
        let of = |member: &Member, committed, said, own| Shown::of(member, committed, said, own);
        assert_eq!(of(&member, None, None, false).name, "a");
        assert_eq!(of(&member, None, Some(&said), false).name, "a", "a name is for good");
        assert_eq!(urls(of(&member, None, None, false)), [""; 0]);
        assert_eq!(urls(of(&member, None, Some(&said), false)), ["http://said"]);
        let committed = member.clone();
        member.client_urls = vec!["http://next".to_string()];
        assert_eq!(urls(of(&member, Some(&committed), None, false)), [""; 0], "not committed");
        let committed = member.clone();
        assert_eq!(urls(of(&member, Some(&committed), Some(&said), false)), ["http://next"]);
        assert_eq!(urls(of(&member, Some(&committed), Some(&said), true)), ["http://said"]);
        member.name = label(member.id);
        assert_eq!(of(&member, None, None, false).name, "");
        assert_eq!(of(&member, None, Some(&said), false).name, "said");
    }
}
