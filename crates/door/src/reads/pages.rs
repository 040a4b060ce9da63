//! What the pages of a list have counted: the next one, at the same revision, counts on from there.

use crate::query::{Found, Query};
use alloc::collections::VecDeque;
use base::Blob;
use base::limits::{ENDS_BYTES_MAX, PAGES_MAX};
use mvcc::{Counted, RangeRequest};

/// Fewer keys than this are looked at as soon.
const COUNT_MIN: i64 = 500;

#[derive(PartialEq, Eq)]
struct Page {
    revision: i64,
    end: Blob,
    counted: Counted,
}

/// The latest pages of lists, the newest last.
#[derive(Default)]
pub struct Pages(VecDeque<Page>);

impl Pages {
    /// What is known of the rest of a range.
    pub fn known(&self, query: &Query) -> Option<&Counted> {
        let Query::Range(RangeRequest { key, range_end, revision, .. }) = query else {
            return None;
        };
        if *revision <= 0 {
            return None; // the map has counted the newest
        }
        let same = |page: &&Page| {
            page.revision == *revision && page.end == *range_end && page.counted.from <= *key
        };
        let pages = self.0.iter().filter(same);
        pages.map(|page| &page.counted).max_by(|a, b| a.from.cmp(&b.from))
    }

    /// Remembers where a page ended, and how much is behind it.
    pub fn note(&mut self, query: &Query, found: &Found) {
        let (Query::Range(request), Found::Range(found)) = (query, found) else { return };
        if found.count < COUNT_MIN {
            return;
        }
        let Some(counted) = Counted::behind(request, found) else { return };
        let end = request.range_end.clone();
        if counted.from.len() + end.len() > ENDS_BYTES_MAX {
            return;
        }
        let revision = if request.revision > 0 { request.revision } else { found.revision };
        assert!(revision > 0, "what has keys has a revision");
        let page = Page { revision, end, counted };
        self.0.retain(|other| *other != page);
        if self.0.len() == PAGES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(page);
        assert!(self.0.len() <= PAGES_MAX, "as many as are remembered");
    }
}
