//! What was measured of a row, and what of it misses a bar.

use std::time::Duration;

use super::figures::Figures;

/// No put waits longer, whatever the quiet run showed.
pub const PUT_MAX: Duration = Duration::from_millis(150);
/// And none longer than so many times the quiet run's p99.9.
pub const QUIET_FACTOR: u32 = 3;
/// `/health` and serializable reads while a long entry is applied.
pub const READ_MAX: Duration = Duration::from_millis(150);
/// How long a put may wait behind an entry that touches a million keys.
pub const PUT_BEHIND_MILLION_MAX: Duration = Duration::from_secs(1);
/// Above what was resident before the row.
pub const MEMORY_BYTES_MAX: u64 = 300 << 20;
/// CPU that counts as none, of the half second that is looked at: a twentieth of one core.
pub const CANCELLED_CPU_MAX: Duration = Duration::from_millis(25);
/// The lease of the probe; who hears nothing of it for so long must take it for lost.
pub const LEASE_TTL: Duration = Duration::from_secs(5);

/// What became of the probe's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What the server said when it was gone.
    pub expired: Option<String>,
    /// The longest time between two renewals that were confirmed.
    pub unconfirmed: Duration,
}

/// Reads of one kind at one place, in the rows where a long entry is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    pub leader: Figures,
    pub others: Figures,
}

/// What is measured besides where one long entry is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apart {
    pub keys: u64,
    pub took: Duration,
    pub health: Reads,
    pub gets: Reads,
}

/// One row on one program.
#[derive(Clone, Debug)]
pub struct Measured {
    pub puts: Figures,
    pub lease: Lease,
    /// Terms that began meanwhile: every one cost a leader its office.
    pub terms: u64,
    /// The leader's peak above what was resident before.
    pub memory_bytes: u64,
    /// The leader's CPU from 100 to 600 ms after a cancel, above its idle use; the worst round.
    pub cancelled_cpu: Option<Duration>,
    pub apart: Option<Apart>,
    /// The worst lateness of a timer beside the probe that asks nobody.
    pub control: Duration,
    /// Cores that were busy with neither the servers nor the trial.
    pub others_cores: f64,
    /// What the row did, in words.
    pub note: String,
    /// What of the row's own requests was not answered as it should.
    pub wrong: Option<String>,
}

/// The quiet run's p99.9, which the bars of a program are made from.
#[derive(Clone, Copy, Debug)]
pub struct Bars {
    pub quiet_p999: Duration,
}

impl Bars {
    /// The longest a put may wait in an ordinary row.
    pub fn put_max(&self) -> Duration {
        PUT_MAX.min(self.quiet_p999 * QUIET_FACTOR)
    }

    /// The longest a put may wait behind an entry of so many keys. Few keys do not shorten what
    /// any row may take.
    pub fn put_behind_max(&self, keys: u64) -> Duration {
        let span = PUT_BEHIND_MILLION_MAX.as_secs_f64() * keys as f64 / 1e6;
        self.put_max().max(Duration::from_secs_f64(span))
    }

    /// Every bar that is missed, in words; empty when all hold.
    pub fn missed(&self, seen: &Measured) -> Vec<String> {
        let mut missed = Vec::new();
        let put_max =
            seen.apart.map_or_else(|| self.put_max(), |apart| self.put_behind_max(apart.keys));
        self.slow(&mut missed, "put", seen.puts, put_max, seen.control);
        for (name, reads) in seen.apart.iter().flat_map(Apart::reads) {
            self.slow(&mut missed, name, reads, READ_MAX, seen.control);
        }
        if let Some(why) = &seen.lease.expired {
            missed.push(format!("lease lost ({why})"));
        } else if seen.lease.unconfirmed >= LEASE_TTL {
            missed.push(format!("lease unconfirmed for {} ms", ms(seen.lease.unconfirmed)));
        }
        if seen.terms > 0 {
            missed.push(format!("{} changes of leader", seen.terms));
        }
        if seen.memory_bytes > MEMORY_BYTES_MAX {
            missed.push(format!(
                "memory +{} MiB > {}",
                mib(seen.memory_bytes),
                MEMORY_BYTES_MAX >> 20
            ));
        }
        if let Some(cpu) = seen.cancelled_cpu.filter(|cpu| *cpu > CANCELLED_CPU_MAX) {
            missed.push(format!("cancelled work goes on ({} ms CPU)", ms(cpu)));
        }
        if let Some(why) = &seen.wrong {
            missed.push(why.clone());
        }
        missed
    }

    fn slow(
        &self,
        missed: &mut Vec<String>,
        what: &str,
        seen: Figures,
        max: Duration,
        control: Duration,
    ) {
        if seen.count == 0 {
            missed.push(format!("no {what} was asked"));
        }
        if seen.failed > 0 {
            missed.push(format!("{what}: {} of {} failed", seen.failed, seen.count));
        }
        if seen.longest > max {
            // What a timer without a server shows, too, need not be the server's.
            let doubt = if seen.longest.saturating_sub(control) <= max { ", doubtful" } else { "" };
            missed.push(format!("{what} {} ms > {}{doubt}", ms(seen.longest), ms(max)));
        }
    }
}

impl Apart {
    /// The four series with their names.
    fn reads(&self) -> [(&'static str, Figures); 4] {
        [
            ("health at the leader", self.health.leader),
            ("health elsewhere", self.health.others),
            ("get at the leader", self.gets.leader),
            ("get elsewhere", self.gets.others),
        ]
    }
}

/// Milliseconds, with a decimal where it says something.
pub fn ms(span: Duration) -> String {
    let ms = span.as_secs_f64() * 1e3;
    if ms < 100.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

/// Whole MiB.
pub fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn puts(longest: u64) -> Figures {
        Figures { count: 100, longest: span(longest), ..Figures::default() }
    }

    fn good() -> Measured {
        Measured {
            puts: puts(20),
            lease: Lease { expired: None, unconfirmed: span(1_050) },
            terms: 0,
            memory_bytes: 0,
            cancelled_cpu: None,
            apart: None,
            control: span(2),
            others_cores: 0.0,
            note: String::new(),
            wrong: None,
        }
    }

    const BARS: Bars = Bars { quiet_p999: Duration::from_millis(10) };

    #[test]
    fn a_put_may_take_three_times_the_quiet_one_and_never_more_than_the_bound() {
        assert_eq!(BARS.put_max(), span(30));
        assert_eq!(Bars { quiet_p999: span(70) }.put_max(), span(150));
        let at = |longest| BARS.missed(&Measured { puts: puts(longest), ..good() });
        assert_eq!(at(30), Vec::<String>::new());
        assert_eq!(at(33), ["put 33.0 ms > 30.0"]);
    }

    #[test]
    fn a_miss_that_the_control_could_have_made_is_doubtful() {
        let seen = Measured { puts: puts(40), control: span(10), ..good() };
        assert_eq!(BARS.missed(&seen), ["put 40.0 ms > 30.0, doubtful"]);
        let seen = Measured { puts: puts(41), control: span(10), ..good() };
        assert_eq!(BARS.missed(&seen), ["put 41.0 ms > 30.0"]);
    }

    #[test]
    fn each_bar_is_missed_on_its_own() {
        let lease = Lease { expired: Some("TTL 0".into()), unconfirmed: span(900) };
        let silent = Lease { expired: None, unconfirmed: span(5_000) };
        let failed = Figures { failed: 3, ..puts(10) };
        for (seen, wanted) in [
            (Measured { lease, ..good() }, "lease lost (TTL 0)"),
            (Measured { lease: silent, ..good() }, "lease unconfirmed for 5000 ms"),
            (Measured { terms: 2, ..good() }, "2 changes of leader"),
            (Measured { memory_bytes: (300 << 20) + 1, ..good() }, "memory +301 MiB > 300"),
            (
                Measured { cancelled_cpu: Some(span(26)), ..good() },
                "cancelled work goes on (26.0 ms CPU)",
            ),
            (Measured { puts: failed, ..good() }, "put: 3 of 100 failed"),
            (Measured { puts: Figures::default(), ..good() }, "no put was asked"),
            (Measured { wrong: Some("a lie".into()), ..good() }, "a lie"),
        ] {
            assert_eq!(BARS.missed(&seen), [wanted]);
        }
        let at_the_bars = Measured {
            memory_bytes: 300 << 20,
            cancelled_cpu: Some(span(25)),
            lease: Lease { expired: None, unconfirmed: span(4_999) },
            ..good()
        };
        assert_eq!(BARS.missed(&at_the_bars), Vec::<String>::new());
    }

    #[test]
    fn behind_a_long_entry_puts_wait_by_its_keys_and_reads_do_not_wait() {
        assert_eq!(BARS.put_behind_max(1_000_000), span(1_000));
        assert_eq!(BARS.put_behind_max(100_000), span(100));
        assert_eq!(BARS.put_behind_max(1_000), BARS.put_max(), "as in any other row");
        let reads = Reads { leader: puts(150), others: puts(1) };
        let apart = Apart { keys: 1_000_000, took: span(900), health: reads, gets: reads };
        let seen = Measured { puts: puts(1_000), apart: Some(apart), ..good() };
        assert_eq!(BARS.missed(&seen), Vec::<String>::new());
        let slow = Reads { leader: puts(151), others: Figures { failed: 1, ..puts(1) } };
        let seen = Measured { apart: Some(Apart { gets: slow, ..apart }), ..seen };
        let wanted = ["get at the leader 151 ms > 150, doubtful", "get elsewhere: 1 of 100 failed"];
        assert_eq!(BARS.missed(&seen), wanted);
    }
}
