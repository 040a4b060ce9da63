//! What a process costs, as the kernel counts it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// When cancelled work must have ended.
const CANCELLED_AFTER: Duration = Duration::from_millis(100);
/// How long is looked at whether it has.
pub const CANCELLED_WINDOW: Duration = Duration::from_millis(500);

/// A process under observation.
#[derive(Clone, Debug)]
pub struct Vitals {
    pid: u32,
}

/// CPU time of each thread, in nanoseconds; a tick of `/proc/pid/stat` is too coarse.
pub type Cpu = BTreeMap<String, u64>;

impl Vitals {
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid)
    }

    /// Resident memory, in bytes.
    ///
    /// # Errors
    /// The process has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.status_kib("VmRSS:").map(|kib| kib << 10)
    }

    /// The most that was resident since [`Self::reset_peak`], in bytes.
    ///
    /// # Errors
    /// The process has ended.
    pub fn peak_bytes(&self) -> Result<u64> {
        self.status_kib("VmHWM:").map(|kib| kib << 10)
    }

    /// Forgets the peak (proc(5), `clear_refs`).
    ///
    /// # Errors
    /// The kernel does not let us: then no peak can be measured.
    pub fn reset_peak(&self) -> Result<()> {
        let path = self.path("clear_refs");
        std::fs::write(&path, "5").with_context(|| format!("{path}: cannot reset the peak"))
    }

    fn status_kib(&self, field: &str) -> Result<u64> {
        let path = self.path("status");
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        number.with_context(|| format!("{path} has no {field}"))
    }

    /// What its threads have used so far.
    ///
    /// # Errors
    /// The process has ended, or the kernel keeps no such account.
    pub fn cpu(&self) -> Result<Cpu> {
        let folder = self.path("task");
        let mut cpu = Cpu::new();
        for entry in std::fs::read_dir(&folder).with_context(|| folder.clone())? {
            let entry = entry?;
            // A thread may end while we look.
            let Ok(text) = std::fs::read_to_string(entry.path().join("schedstat")) else {
                continue;
            };
            let used = text.split_whitespace().next().and_then(|word| word.parse().ok());
            let used = used.with_context(|| format!("{folder}: no schedstat"))?;
            cpu.insert(entry.file_name().to_string_lossy().into_owned(), used);
        }
        anyhow::ensure!(!cpu.is_empty(), "{folder}: no thread with a schedstat");
        Ok(cpu)
    }

    /// The CPU it uses from 100 to 600 ms after `cancelled`; waits that long.
    ///
    /// # Errors
    /// As [`Self::cpu`].
    pub fn cpu_after(&self, cancelled: Instant) -> Result<Duration> {
        wait_until(cancelled + CANCELLED_AFTER);
        let (from, before) = (Instant::now(), self.cpu()?);
        wait_until(cancelled + CANCELLED_AFTER + CANCELLED_WINDOW);
        let used = spent(&before, &self.cpu()?);
        // Where we woke up late, the window was another one; what counts is the share.
        Ok(used.mul_f64(CANCELLED_WINDOW.as_secs_f64() / from.elapsed().as_secs_f64()))
    }
}

fn wait_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// CPU between two looks; threads that began meanwhile count whole, those that ended do not.
pub fn spent(before: &Cpu, after: &Cpu) -> Duration {
    let of = |(thread, used): (&String, &u64)| {
        used.saturating_sub(before.get(thread).copied().unwrap_or(0))
    };
    Duration::from_nanos(after.iter().map(of).sum())
}

/// Time all cores together were busy since the machine started, time stolen from it included.
///
/// # Errors
/// No `/proc`.
pub fn machine_busy() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let ticks = busy_ticks(&stat).context("/proc/stat has no sum of all cores")?;
    Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

/// user, nice, system, irq, softirq and steal of proc(5).
fn busy_ticks(stat: &str) -> Option<u64> {
    let sum = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Option<Vec<u64>> = sum.split_whitespace().map(|f| f.parse().ok()).collect();
    let fields = fields?;
    [0, 1, 2, 5, 6, 7].into_iter().map(|at| fields.get(at).copied()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_time_leaves_out_idling_and_waiting_for_disks() {
        let stat = "cpu  10 20 30 4000 500 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(busy_ticks(stat), Some(10 + 20 + 30 + 6 + 7 + 8));
        assert_eq!(busy_ticks("cpu0 1 2 3\n"), None);
        assert_eq!(busy_ticks("cpu  1 2 3\n"), None, "half a line is no number");
    }

    #[test]
    fn threads_that_began_count_whole_and_those_that_ended_are_left_out() {
        let cpu = |threads: &[(&str, u64)]| -> Cpu {
            threads.iter().map(|(name, used)| ((*name).to_owned(), *used)).collect()
        };
        let before = cpu(&[("1", 100), ("2", 50)]);
        let after = cpu(&[("1", 130), ("3", 7)]);
        assert_eq!(spent(&before, &after), Duration::from_nanos(37));
    }

    #[test]
    fn a_peak_is_seen_after_it_is_over_and_forgotten_on_demand() {
        const BYTES: usize = 64 << 20;
        let me = Vitals::new(std::process::id());
        me.reset_peak().expect("our own process");
        let before = me.peak_bytes().expect("our own process");
        let block = std::hint::black_box(vec![1u8; BYTES]);
        drop(block);
        let grown = me.peak_bytes().expect("our own process").saturating_sub(before);
        assert!(grown > (BYTES / 2) as u64, "{grown}");
        assert!(me.resident_bytes().expect("our own process") > 0);
        assert!(!me.cpu().expect("our own process").is_empty());
    }
}
