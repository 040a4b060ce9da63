//! Going through a stretch of history for one watcher, a few events at a time.

use super::batch::Batch;
use super::wanted::{Bounds, Wanted, estimate};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::planted;
use mvcc::{Changes, HistoryPage};

/// A stretch of history on its way to become a batch: it may stop anywhere, also inside a
/// revision, and holds no more than references.
#[derive(Debug)]
pub(crate) struct Search {
    page: HistoryPage,
    /// The last revision there is.
    end: i64,
    /// Which change is looked at, and which of its events is next.
    at: (usize, usize),
    /// It has an event of the range, and one that is wanted.
    met: (bool, bool),
    /// Changes that touch the range.
    touched: usize,
    /// The last of them that is gone through.
    last: Option<i64>,
    changes: Vec<Arc<Changes>>,
    /// Which event is the first that is wanted.
    first: usize,
    count: usize,
    bytes: usize,
    /// The next change that touches the range is for the next batch.
    is_full: bool,
}

/// What came of a search.
pub(super) struct Found {
    /// The first revision that was not gone through.
    pub(super) next: i64,
    /// Nothing is left up to the end.
    pub(super) is_complete: bool,
    pub(super) batch: Option<Batch>,
}

impl Search {
    pub(super) fn new(page: HistoryPage, end: i64) -> Self {
        Self {
            page,
            end,
            at: (0, 0),
            met: (false, false),
            touched: 0,
            last: None,
            changes: Vec::new(),
            first: 0,
            count: 0,
            bytes: 0,
            is_full: false,
        }
    }

    /// Events to look at.
    pub(crate) fn events(&self) -> usize {
        self.page.changes.iter().map(|changes| changes.events.len()).sum()
    }

    /// Of what is wanted and was found so far: an estimate, where versions before are wanted too.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Goes on, as long as something is left of `looks`, which events cost; true once it is done.
    pub(crate) fn run(&mut self, wanted: &Wanted, bounds: &Bounds, looks: &mut usize) -> bool {
        while let Some(changes) = self.page.changes.get(self.at.0) {
            while let Some(event) = changes.events.get(self.at.1) {
                if *looks == 0 {
                    return false;
                }
                *looks -= 1;
                self.at.1 += 1;
                if !wanted.range.matches(&event.kv.key) {
                    continue;
                }
                if self.is_full {
                    return self.stop();
                }
                self.met.0 = true;
                if wanted.has(event.kind) {
                    if self.count == 0 {
                        self.first = self.at.1 - 1;
                    }
                    self.met.1 = true;
                    self.count += 1;
                    self.bytes += estimate(wanted, event);
                }
            }
            if self.met.1 {
                self.changes.push(Arc::clone(changes));
            }
            if self.met.0 {
                self.touched += 1;
                self.last = Some(changes.revision);
            }
            self.is_full = self.bytes >= bounds.bytes_target;
            self.met = (false, false);
            self.at = (self.at.0 + 1, 0);
            if self.touched == bounds.revisions_max {
                return self.stop();
            }
        }
        true
    }

    /// What lies behind the last that was taken is for the next batch.
    fn stop(&mut self) -> bool {
        let last = self.last.expect("what is full has something");
        self.page.next = last + 1;
        true
    }

    /// `synced`: it has been up to date before.
    pub(super) fn found(self, wanted: &Wanted, synced: bool) -> Found {
        let Self { page, end, changes, first, count, bytes, last, .. } = self;
        assert_eq!(count == 0, bytes == 0, "an event has bytes");
        let mut next = page.next;
        if planted!(ProgressBeforeEvents) {
            next = next.max(end + 1);
        }
        let is_complete = next > end;
        assert_eq!(changes.is_empty(), bytes == 0, "an event has bytes");
        let last = last.unwrap_or(next - 1);
        assert!(last < next, "history never goes backwards");
        let revision = if is_complete && !synced { end } else { last };
        let batch = (count > 0).then(|| {
            let first = (0, first);
            Batch { changes, first, count, bytes, revision, wanted: wanted.clone() }
        });
        Found { next, is_complete, batch }
    }
}
