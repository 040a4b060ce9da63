//! Processor time of this process, from `/proc`.

use std::time::Duration;

/// Processor time used so far by every living thread of this process.
///
/// `schedstat` counts nanoseconds; where the kernel lacks it, `stat` counts hundredths of a
/// second. `None` where there is no `/proc`.
pub fn used() -> Option<Duration> {
    let mut nanos = 0u64;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let path = task.ok()?.path().join("schedstat");
        match std::fs::read_to_string(path) {
            Ok(text) => nanos += text.split_whitespace().next()?.parse::<u64>().ok()?,
            Err(_) => return from_stat(&std::fs::read_to_string("/proc/self/stat").ok()?),
        }
    }
    Some(Duration::from_nanos(nanos))
}

/// Fields 14 and 15 of `stat` are user and system time; the name before them may hold spaces.
fn from_stat(text: &str) -> Option<Duration> {
    let after_name = &text[text.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let text = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(from_stat(text), Some(Duration::from_secs(2)));
    }

    #[test]
    fn this_process_has_used_some_time() {
        assert!(used().is_some());
    }
}
