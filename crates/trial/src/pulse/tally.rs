//! What became of the requests a row sent, and rounds of several at once.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

/// Requests of a round.
pub const AT_ONCE: usize = 8;
/// After a round with a failure, so that a server that refuses is not asked without pause.
const PAUSE: Duration = Duration::from_millis(100);

/// Requests of one kind.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub asked: usize,
    pub slowest: Duration,
    pub bytes: u64,
    pub failures: BTreeMap<String, usize>,
}

impl Tally {
    /// Notes one answer and its size.
    pub fn note(&mut self, took: Duration, answer: Result<u64>) {
        self.asked += 1;
        self.slowest = self.slowest.max(took);
        match answer {
            Ok(bytes) => self.bytes += bytes,
            Err(why) => *self.failures.entry(format!("{why:#}")).or_default() += 1,
        }
    }

    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// How many, how long, how much.
    pub fn text(&self, what: &str) -> String {
        let mut text =
            format!("{} {what}, slowest {:.2} s", self.asked, self.slowest.as_secs_f64());
        if self.bytes > 1 << 20 {
            text.push_str(&format!(", {} MiB read", self.bytes >> 20));
        }
        text
    }

    /// What went wrong, with the commonest reason.
    pub fn wrong(&self, what: &str) -> Option<String> {
        let (why, _) = self.failures.iter().max_by_key(|(_, count)| **count)?;
        Some(format!("{} of {} {what} failed ({why})", self.failed(), self.asked))
    }
}

/// Eight requests at once, and again, until `least` has passed.
///
/// # Errors
/// A request that panicked.
pub async fn rounds<F>(least: Duration, ask: impl Fn() -> F) -> Result<Tally>
where
    F: Future<Output = Result<u64>> + Send + 'static,
{
    let (began, mut tally) = (Instant::now(), Tally::default());
    while tally.asked == 0 || began.elapsed() < least {
        let failed = tally.failed();
        let mut open = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (sent, request) = (Instant::now(), ask());
            open.spawn(async move {
                let answer = request.await;
                (sent.elapsed(), answer)
            });
        }
        while let Some(ended) = open.join_next().await {
            let (took, answer) = ended?;
            tally.note(took, answer);
        }
        if tally.failed() > failed {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commonest_failure_is_named_and_success_is_not() {
        let mut tally = Tally::default();
        tally.note(Duration::from_millis(2_500), Ok(3 << 20));
        assert_eq!(tally.wrong("ranges"), None);
        assert_eq!(tally.text("ranges"), "1 ranges, slowest 2.50 s, 3 MiB read");
        for why in ["full", "gone", "full"] {
            tally.note(Duration::ZERO, Err(anyhow::anyhow!(why)));
        }
        assert_eq!(tally.wrong("ranges").as_deref(), Some("3 of 4 ranges failed (full)"));
    }

    #[test]
    fn a_round_is_whole_even_when_no_time_is_asked_for() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ask = || async { Ok(1) };
        let tally = runtime.expect("a runtime").block_on(rounds(Duration::ZERO, ask));
        let tally = tally.expect("nothing panics");
        assert_eq!((tally.asked, tally.bytes, tally.failed()), (AT_ONCE, AT_ONCE as u64, 0));
    }
}
