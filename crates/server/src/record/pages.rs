//! `GET /debug/trace?from=SEQ&max=N`: the recording as lines, page by page.

use super::Recording;
use base::NodeId;
use base::limits::PAGE_EVENTS_MAX;
use cluster::{Configuration, Member};
use std::fmt::Display;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use trace::{Head, VERSION};

/// Where the pages are.
pub(crate) const PATH: &str = "/debug/trace";

/// The first line of every page: what the cluster began with, and who tells.
pub(crate) fn head(first: &Configuration, own: (NodeId, &str), started: Instant) -> Head {
    let (own, name) = own;
    let mut members: Vec<&Member> = first.members.iter().filter(|m| !m.learner).collect();
    members.sort_by_key(|member| member.slot);
    let name_of = |member: &&Member| match member.id {
        id if id == own => name.to_owned(),
        _ => member.name.clone(),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let began = now.saturating_sub(started.elapsed());
    Head {
        trace: VERSION,
        names: members.iter().map(name_of).collect(),
        quorum: first.quorum.clone(),
        rule: trace::rule(first.rule).to_owned(),
        member: Some(name.to_owned()),
        began: u64::try_from(began.as_micros()).ok(),
        ..Head::default()
    }
}

/// From an event's number on, and how many of them.
struct Asked {
    from: u64,
    max: usize,
}

impl Asked {
    fn read(query: &str) -> Result<Self, String> {
        let mut asked = Self { from: 1, max: PAGE_EVENTS_MAX };
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let wrong = |why: &dyn Display| format!("{key}={value}: {why}");
            match key {
                "from" => asked.from = value.parse().map_err(|why| wrong(&why))?,
                "max" => asked.max = value.parse().map_err(|why| wrong(&why))?,
                _ => return Err(wrong(&"only from and max can be asked for")),
            }
        }
        asked.max = asked.max.min(PAGE_EVENTS_MAX);
        Ok(asked)
    }
}

/// A status of HTTP and a page, or why there is none.
pub(crate) fn page(recording: &Recording, query: &str) -> (u16, String) {
    let asked = match Asked::read(query) {
        Ok(asked) => asked,
        Err(why) => return (400, format!("{why}\n")),
    };
    let Some(page) = recording.ring().as_ref().map(|ring| ring.page(asked.from, asked.max)) else {
        let name = recording.head.member.as_deref().unwrap_or_default();
        return (404, format!("{name} does not record: start it with --record N\n"));
    };
    let mut lines = String::new();
    trace::write_head(&recording.head, &mut lines);
    page.events.iter().for_each(|event| trace::write(event, &mut lines));
    (200, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_so_many_events_whoever_asks_for_more() {
        let max = |query: &str| Asked::read(query).map(|asked| asked.max);
        assert_eq!(max(""), Ok(PAGE_EVENTS_MAX));
        assert_eq!(max("max=7"), Ok(7));
        assert_eq!(max(&format!("from=3&max={}", PAGE_EVENTS_MAX + 1)), Ok(PAGE_EVENTS_MAX));
        assert!(max("max=-1").is_err() && max("most=1").is_err());
    }
}
