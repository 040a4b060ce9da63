//! Automatic compaction: at which revision, and when. The flags are etcd's
//! (`--auto-compaction-mode`, `--auto-compaction-retention`); the head is sampled, and what is
//! older than asked for is let go of by whoever leads then.

use base::Nanos;
use std::collections::VecDeque;

/// How often the mode that counts revisions looks, as in etcd.
pub const REVISION_INTERVAL: Nanos = Nanos::from_millis(300_000);
/// Samples for each span of the periodic mode, as in etcd for spans up to an hour.
const SAMPLES_PER_SPAN: u64 = 10;
/// Time from one sample to the next, at least and at most.
const SAMPLE_INTERVAL_MIN: Nanos = Nanos::from_millis(1_000);
const SAMPLE_INTERVAL_MAX: Nanos = Nanos::from_millis(3_600_000);

/// What history is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// All of it.
    #[default]
    Off,
    /// That of the last `span`, and a tenth of it more, or an hour if that is less.
    Periodic { span: Nanos },
    /// The last `keep` revisions, looked at once for each `every`.
    Revision { keep: i64, every: Nanos },
}

/// What a member sees of itself when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The newest revision here.
    pub revision: i64,
    /// History up to here is gone already.
    pub compacted: i64,
    pub leads: bool,
}

/// Compacts as the rule says for as long as its member runs. A start remembers no samples.
#[derive(Clone, Debug)]
pub struct Compactor {
    rule: Rule,
    look_at: Nanos,
    /// Heads and when they were seen, the oldest first.
    samples: VecDeque<(Nanos, i64)>,
}

impl Compactor {
    /// Of a member that starts at `now`, by the clock of every other call.
    pub fn new(rule: Rule, now: Nanos) -> Self {
        let look_at = now.plus(pause(rule).unwrap_or_default());
        Self { rule, look_at, samples: VecDeque::new() }
    }

    /// When it looks next; never where all history is kept.
    pub fn due(&self) -> Option<Nanos> {
        pause(self.rule).map(|_| self.look_at)
    }

    /// The revision to compact at now, if there is one: above what is compacted, and no history
    /// that is to be kept. Only who leads asks for it; the others sample, since they may lead next.
    pub fn look(&mut self, now: Nanos, seen: Seen) -> Option<i64> {
        let pause = pause(self.rule)?;
        if now < self.look_at {
            return None;
        }
        self.look_at = now.plus(pause);
        let revision = match self.rule {
            Rule::Off => return None,
            Rule::Revision { keep, .. } => {
                assert!(keep > 0, "no more than all but the newest is let go of");
                seen.revision.checked_sub(keep)?
            }
            Rule::Periodic { span } => self.sampled(now, span, seen.revision)?,
        };
        assert!(revision <= seen.revision, "no revision is compacted before there is one");
        (seen.leads && revision > seen.compacted).then_some(revision)
    }

    /// The newest head that was seen at least `span` ago; it and older ones are forgotten.
    fn sampled(&mut self, now: Nanos, span: Nanos, head: i64) -> Option<i64> {
        assert!(self.samples.back().is_none_or(|(at, _)| *at <= now), "time does not go back");
        self.samples.push_back((now, head));
        let mut old = None;
        while let Some((at, revision)) = self.samples.front().copied()
            && now.since(at) >= span
        {
            self.samples.pop_front();
            old = Some(revision);
        }
        old
    }
}

/// Time from one look to the next.
fn pause(rule: Rule) -> Option<Nanos> {
    match rule {
        Rule::Off => None,
        Rule::Revision { every, .. } => Some(every),
        Rule::Periodic { span } => {
            let part = Nanos(span.0 / SAMPLES_PER_SPAN);
            Some(part.clamp(SAMPLE_INTERVAL_MIN, SAMPLE_INTERVAL_MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn minutes(n: u64) -> Nanos {
        Nanos::from_millis(n * MINUTE)
    }

    fn leads(revision: i64) -> Seen {
        Seen { revision, compacted: 0, leads: true }
    }

    #[test]
    fn all_history_is_kept_where_nothing_else_is_asked_for() {
        let mut off = Compactor::new(Rule::default(), Nanos::ZERO);
        assert_eq!(off.due(), None);
        assert_eq!(off.look(Nanos(u64::MAX), leads(1_000_000)), None);
    }

    #[test]
    fn every_five_minutes_all_but_the_last_revisions_are_let_go_of() {
        let rule = Rule::Revision { keep: 100, every: REVISION_INTERVAL };
        let mut compactor = Compactor::new(rule, minutes(1));
        assert_eq!(compactor.due(), Some(minutes(6)));
        assert_eq!(compactor.look(Nanos(minutes(6).0 - 1), leads(500)), None, "too early");
        assert_eq!(compactor.look(minutes(6), leads(500)), Some(400));
        assert_eq!(compactor.due(), Some(minutes(11)));
        assert_eq!(compactor.look(minutes(7), leads(900)), None);
        assert_eq!(compactor.look(minutes(11), leads(100)), None, "nothing is below the first");
        assert_eq!(compactor.look(minutes(16), leads(101)), Some(1));
        assert_eq!(compactor.look(minutes(21), leads(0)), None);
        let done = Seen { compacted: 400, ..leads(500) };
        assert_eq!(compactor.look(minutes(26), done), None, "somebody was there before");
        assert_eq!(compactor.look(minutes(31), Seen { revision: 501, ..done }), Some(401));
        let follows = Seen { leads: false, ..leads(900) };
        assert_eq!(compactor.look(minutes(36), follows), None);
        let huge = Rule::Revision { keep: i64::MAX, every: Nanos(1) };
        assert_eq!(Compactor::new(huge, Nanos::ZERO).look(Nanos(9), leads(5)), None);
        assert_eq!(Compactor::new(huge, Nanos::ZERO).look(Nanos(9), leads(-5)), None, "no panic");
    }

    #[test]
    fn the_history_of_a_span_is_kept_and_what_was_there_before_it_is_let_go_of() {
        let mut compactor = Compactor::new(Rule::Periodic { span: minutes(60) }, Nanos::ZERO);
        let mut at = Vec::new();
        for minute in 1..=90 {
            // One revision a minute, so a head says when it was seen.
            if let Some(revision) = compactor.look(minutes(minute), leads(minute as i64)) {
                at.push((minute, revision));
            }
        }
        assert_eq!(at, [(66, 6), (72, 12), (78, 18), (84, 24), (90, 30)]);
        assert!(compactor.samples.len() <= 10, "no more than one span is remembered");
    }

    #[test]
    fn who_does_not_lead_samples_too_and_who_stood_still_lets_go_of_all_that_is_due() {
        let mut compactor = Compactor::new(Rule::Periodic { span: minutes(10) }, Nanos::ZERO);
        for minute in 1..=14 {
            let seen = Seen { leads: false, ..leads(minute as i64) };
            assert_eq!(compactor.look(minutes(minute), seen), None);
        }
        assert_eq!(compactor.look(minutes(15), leads(15)), Some(5));
        assert_eq!(compactor.look(minutes(100), leads(100)), Some(15), "the newest of the old");
        assert_eq!(compactor.look(minutes(101), leads(101)), None, "there is one of 100 only");
        let done = Seen { compacted: 100, ..leads(110) };
        assert_eq!(compactor.look(minutes(110), done), None, "a client was there before");
        assert_eq!(compactor.look(minutes(111), leads(111)), Some(101));
    }

    #[test]
    fn samples_are_a_tenth_of_the_span_apart_a_second_at_least_and_an_hour_at_most() {
        let apart = |span: Nanos| {
            let rule = Rule::Periodic { span };
            Compactor::new(rule, Nanos::ZERO).due().expect("it looks")
        };
        assert_eq!(apart(minutes(10)), minutes(1));
        assert_eq!(apart(minutes(600)), minutes(60));
        assert_eq!(apart(minutes(6000)), minutes(60));
        assert_eq!(apart(Nanos::from_millis(10_000)), SAMPLE_INTERVAL_MIN);
        assert_eq!(apart(Nanos(1)), SAMPLE_INTERVAL_MIN);
        assert_eq!(apart(Nanos(u64::MAX)), SAMPLE_INTERVAL_MAX);
        let mut short = Compactor::new(Rule::Periodic { span: Nanos(1) }, Nanos::ZERO);
        assert_eq!(short.look(Nanos::from_millis(1_000), leads(7)), None, "it was seen just now");
        assert_eq!(short.look(Nanos::from_millis(2_000), leads(8)), Some(7));
    }
}
