//! What a member shows of its own state never goes back, over all its starts.

use super::World;
use replica::Reply;

impl World {
    /// What a client that comes at once would read. A disk that was emptied, damaged or put back
    /// may know nothing of what was shown.
    pub(super) fn begin_shown(&mut self, node: usize, fresh: bool) {
        let place = &mut self.nodes[node];
        if fresh || place.damaged || place.put_back.is_some() {
            place.shown = 0;
        }
        self.check_shown(node, std::iter::empty());
    }

    /// What a client would read here now, and what was answered in this step.
    pub(super) fn check_shown<'a>(
        &mut self,
        node: usize,
        replies: impl Iterator<Item = &'a Reply>,
    ) {
        let place = &mut self.nodes[node];
        let Some(member) = place.up() else { return };
        let replica = &member.replica;
        let serves = replica.is_current() && replica.serves_no_data().is_none();
        let open = serves.then(|| replica.store().revision());
        let answered = replies.filter_map(|reply| match reply {
            Reply::Range(Ok(range)) => Some(range.revision),
            Reply::Txn(Ok(txn)) => Some(txn.revision),
            _ => None,
        });
        let before = place.shown;
        let mut lowest = before;
        for revision in answered.chain(open) {
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
