//! What a series of timed requests says: count, percentiles, longest, failures.

use std::time::{Duration, Instant};

/// One request of a probe.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub sent: Instant,
    /// When it was answered, refused or given up.
    pub ended: Instant,
    pub answered: bool,
}

/// A series in short; times as its client had to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub count: usize,
    /// Refused or given up; each counts as waiting until the next one that was answered.
    pub failed: usize,
    pub p99: Duration,
    pub p999: Duration,
    pub longest: Duration,
}

/// The figures of what was sent from `from` on and before `until`; all of it has ended.
///
/// A refusal that comes quickly is no short wait: the client has to ask again. So a failed
/// request lasts until the first later answer, or to the end of the series.
pub fn figures(samples: &[Sample], from: Instant, until: Instant) -> Figures {
    let mut answered: Vec<Instant> =
        samples.iter().filter(|sample| sample.answered).map(|sample| sample.ended).collect();
    answered.sort_unstable();
    let last = samples.iter().map(|sample| sample.ended).max().unwrap_or(until).max(until);
    let counted: Vec<&Sample> =
        samples.iter().filter(|sample| sample.sent >= from && sample.sent < until).collect();
    let wait = |sample: &Sample| {
        if sample.answered {
            return sample.ended - sample.sent;
        }
        let next = answered.partition_point(|at| *at < sample.ended);
        *answered.get(next).unwrap_or(&last) - sample.sent
    };
    let mut waits: Vec<Duration> = counted.iter().map(|sample| wait(sample)).collect();
    waits.sort_unstable();
    Figures {
        count: waits.len(),
        failed: counted.iter().filter(|sample| !sample.answered).count(),
        p99: per_mille(&waits, 990),
        p999: per_mille(&waits, 999),
        longest: per_mille(&waits, 1000),
    }
}

/// The nearest rank: the least value that at least so many of 1,000 do not exceed.
/// Zero of nothing.
pub fn per_mille(sorted: &[Duration], rank: usize) -> Duration {
    assert!((1..=1000).contains(&rank), "a rank of 1,000");
    let at = (sorted.len() * rank).div_ceil(1000);
    at.checked_sub(1).map_or(Duration::ZERO, |at| sorted[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_percentile_is_the_nearest_rank_and_of_few_values_the_longest() {
        let sorted: Vec<_> = (1..=1200).map(ms).collect();
        assert_eq!(per_mille(&sorted, 500), ms(600));
        assert_eq!(per_mille(&sorted, 990), ms(1188));
        assert_eq!(per_mille(&sorted, 999), ms(1199));
        assert_eq!(per_mille(&sorted, 1000), ms(1200));
        assert_eq!(per_mille(&sorted[..100], 999), ms(100));
        assert_eq!(per_mille(&sorted[..1], 1), ms(1));
        assert_eq!(per_mille(&[], 999), Duration::ZERO);
    }

    #[test]
    fn only_what_was_sent_in_the_window_counts_and_with_its_whole_wait() {
        let start = Instant::now();
        let sample = |sent, ended| Sample {
            sent: start + ms(sent),
            ended: start + ms(ended),
            answered: true,
        };
        let samples = [sample(0, 90), sample(100, 103), sample(150, 450), sample(200, 900)];
        let seen = figures(&samples, start + ms(100), start + ms(200));
        assert_eq!((seen.count, seen.failed), (2, 0));
        assert_eq!((seen.longest, seen.p99, seen.p999), (ms(300), ms(300), ms(300)));
    }

    #[test]
    fn a_refused_put_waits_until_the_next_answer_and_without_one_to_the_end() {
        let start = Instant::now();
        let sample = |sent, ended, answered| Sample {
            sent: start + ms(sent),
            ended: start + ms(ended),
            answered,
        };
        let samples = [sample(0, 5, true), sample(50, 51, false), sample(100, 800, true)];
        let seen = figures(&samples, start, start + ms(150));
        assert_eq!((seen.count, seen.failed), (3, 1));
        assert_eq!(seen.longest, ms(750), "from 50 to 800");
        let seen = figures(&samples[..2], start, start + ms(2_000));
        assert_eq!(seen.longest, ms(1_950), "never answered");
    }

    #[test]
    fn nothing_sent_is_nothing_counted() {
        let now = Instant::now();
        assert_eq!(figures(&[], now, now + ms(1)), Figures::default());
    }
}
