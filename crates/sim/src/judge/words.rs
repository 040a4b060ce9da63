//! What the committed configuration says of members, against what they say: an URL names the
//! member and the start that said it first.

use super::Judge;
use base::{LogIndex, Nanos, NodeId};
use cluster::Configuration;

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
            foreign || start < start_of(member.id, known)
        });
        if let Some(member) = wrong {
            let what = format!("{} at {index}: {:?}", member.id, member.client_urls);
            self.blame(at, "the last word of a member stays", what);
        }
    }
}
