//! What a member shows of its own state never goes back, over all its starts.

use super::World;
use door::Sight;

impl World {
    /// What a client that comes at once would read. A disk that was emptied, damaged or put back
    /// may know nothing of what was shown.
    pub(super) fn begin_shown(&mut self, node: usize, fresh: bool) {
        let place = &mut self.nodes[node];
        if fresh || place.damaged || place.put_back.is_some() {
            place.shown = 0;
        }
        self.check_shown(node, None);
    }

    /// What a client would read here now, and what one begins to read.
    pub(super) fn check_shown(&mut self, node: usize, begun: Option<i64>) {
        let place = &mut self.nodes[node];
        let Some(member) = place.up() else { return };
        let replica = &member.replica;
        let open = Sight::of(replica).is_open().then(|| replica.store().revision());
        let before = place.shown;
        let mut lowest = before;
        for revision in begun.into_iter().chain(open) {
            lowest = lowest.min(revision);
            place.shown = place.shown.max(revision);
        }
        self.judge.checks += 1;
        if lowest < before {
            let what = format!("n{} shows revision {lowest} after {before}", node + 1);
            self.blame("what was shown is not taken back", what);
        }
    }
}
