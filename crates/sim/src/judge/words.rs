//! What the committed configuration says of members, against what they say: a name is for good,
//! and an URL names the member and the start that said it first.

use super::Judge;
use base::{LogIndex, Nanos, NodeId};
use cluster::{Configuration, label};

/// Where a member serves clients since a start of its machine.
pub fn client_url(id: NodeId, start: u32) -> String {
    format!("http://c{id}:{start}")
}

/// The start that said this first.
fn start_of(id: NodeId, urls: &[String]) -> Option<u32> {
    let [url] = urls else { return None };
    url.strip_prefix(&format!("http://c{id}:"))?.parse().ok()
}

impl Judge {
    /// A member's word stands there as it said it, and none that it said before comes back.
    pub(super) fn words_applied(&mut self, at: Nanos, index: LogIndex, next: &Configuration) {
        self.checks += 1;
        let before = &self.configs.committed().config;
        let wrong = next.members.iter().find(|member| {
            let start = start_of(member.id, &member.client_urls);
            let known = before.member(member.id).map_or(&[][..], |m| &m.client_urls[..]);
            let foreign = start.is_none() && !member.client_urls.is_empty();
            let names = [format!("n{}", member.id), label(member.id)];
            let named = before.member(member.id).is_some_and(|m| m.name == names[0]);
            let renamed = !names[..2 - usize::from(named)].contains(&member.name);
            foreign || renamed || start < start_of(member.id, known)
        });
        if let Some(member) = wrong {
            let (name, urls) = (&member.name, &member.client_urls);
            let what = format!("{} at {index}: {name}, {urls:?}", member.id);
            self.blame(at, "the last word of a member stays", what);
        }
    }
}
