//! Durations as Go writes them, which is what etcd's flags take.

use std::time::Duration;

const FORM: &str = "a duration looks like 1h30m, 1.5h or 100ms";

/// Nanoseconds of a unit.
fn unit(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        // The sign for micro and the Greek letter are two characters.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Go's `time.ParseDuration`: decimal numbers with a unit each, `0` alone without one. Nothing
/// here waits a negative time, so what is below zero is refused.
///
/// # Errors
/// What is wrong with `text`, in words.
pub fn parse(text: &str) -> Result<Duration, String> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if body == "0" {
        return Ok(Duration::ZERO);
    }
    if body.is_empty() {
        return Err(format!("{text:?} is no duration: {FORM}"));
    }
    let mut nanos: u128 = 0;
    let mut rest = body;
    while !rest.is_empty() {
        let number = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(format!("{text:?} is no duration: {FORM}"));
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (name, next) = after.split_at(end);
        if name.is_empty() {
            return Err(format!("{text:?}: {digits} has no unit; {FORM}"));
        }
        let unit = unit(name).ok_or_else(|| {
            format!("{text:?}: unknown unit {name:?}; the units are ns, us, ms, s, m and h")
        })?;
        let part = scaled(whole, fraction, unit);
        nanos = part.and_then(|part| nanos.checked_add(part)).unwrap_or(u128::MAX);
        rest = next;
    }
    // Go counts nanoseconds in 63 bits.
    let nanos = u64::try_from(nanos).ok().filter(|n| i64::try_from(*n).is_ok());
    match nanos {
        None => Err(format!("{text:?} is longer than 292 years")),
        Some(n) if negative && n > 0 => Err(format!("{text:?} is below zero")),
        Some(n) => Ok(Duration::from_nanos(n)),
    }
}

/// `whole.fraction` units in nanoseconds, rounded down; none where it overflows.
fn scaled(whole: &str, fraction: &str, unit: u64) -> Option<u128> {
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos = whole.checked_mul(u128::from(unit))?;
    // Further digits are below a nanosecond of the longest unit.
    let fraction = &fraction[..fraction.len().min(18)];
    let digits: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10u128.pow(u32::try_from(fraction.len()).expect("18 at most"));
    nanos.checked_add(digits * u128::from(unit) / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_reads_is_read_alike() {
        // Mostly the table of Go's own test (`time/time_test.go`).
        let ns = |n: u64| Ok(Duration::from_nanos(n));
        let (s, h) = (1_000_000_000, 3_600_000_000_000);
        let cases = [
            ("0", 0),
            ("-0", 0),
            ("+0", 0),
            ("0s", 0),
            ("5s", 5 * s),
            ("1478s", 1478 * s),
            ("+5s", 5 * s),
            ("5.0s", 5 * s),
            ("5.6s", 5 * s + 600_000_000),
            ("5.s", 5 * s),
            (".5s", s / 2),
            ("1.004s", s + 4_000_000),
            ("100.00100s", 100 * s + 1_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("13ms", 13_000_000),
            ("+10m", 600 * s),
            ("1.5h", h + h / 2),
            (".5h", h / 2),
            ("3h30m", 3 * h + h / 2),
            ("10.5s4m", 250 * s + s / 2),
            ("1h15m30.918273645s", h + 15 * 60 * s + 30 * s + 918_273_645),
            ("39h9m14.425s", 39 * h + 9 * 60 * s + 14 * s + 425_000_000),
            ("52763797000ns", 52_763_797_000),
            ("0.100000000000000000000h", 360 * s),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
            ("9223372036s854ms775us807ns", 9_223_372_036_854_775_807),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), ns(nanos), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_with_the_reason() {
        let cases = [
            ("", "no duration"),
            ("3", "3 has no unit"),
            ("-", "no duration"),
            ("s", "no duration"),
            (".", "no duration"),
            ("-.", "no duration"),
            (".s", "no duration"),
            ("1.2.3s", "no duration"),
            ("3000d", "unknown unit \"d\""),
            ("1h 30m", "unknown unit \"h \""),
            ("\u{ffff}", "no duration"),
            ("9223372036854775808ns", "longer than"),
            ("9223372036854775.808us", "longer than"),
            ("99999999999999999999999999999999999999999h", "longer than"),
            ("9223372036854ms775us808ns", "longer than"),
            ("-5s", "below zero"),
        ];
        for (text, why) in cases {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
