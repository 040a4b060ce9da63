//! Exact numbers: parsing and showing.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// An exact fraction of any size.
pub type Ratio = BigRational;

/// Digits of a number in text, so that it stays small.
const DIGITS_MAX: usize = 30;

/// `numerator / denominator`; the denominator is not 0.
pub fn ratio(numerator: i64, denominator: i64) -> Ratio {
    assert!(denominator != 0, "a fraction has a denominator");
    Ratio::new(numerator.into(), denominator.into())
}

pub fn whole(number: usize) -> Ratio {
    Ratio::from_integer(BigInt::from(number))
}

/// Reads `3`, `0.75`, `3/8`; nothing negative. `None` for anything else.
pub fn parse(text: &str) -> Option<Ratio> {
    if let Some((top, bottom)) = text.split_once('/') {
        let (top, bottom) = (decimal(top.trim())?, decimal(bottom.trim())?);
        return (!bottom.is_zero()).then(|| top / bottom);
    }
    decimal(text.trim())
}

fn decimal(text: &str) -> Option<Ratio> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{part}");
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    if !plain || digits.len() > DIGITS_MAX {
        return None;
    }
    let scale = BigInt::from(10).pow(part.len() as u32);
    Some(Ratio::new(digits.parse().ok()?, scale))
}

/// The nearest `f64`, for display and for the first pass of the solver.
pub fn to_f64(value: &Ratio) -> f64 {
    value.to_f64().unwrap_or(f64::NAN)
}

/// `5/9 (0.5556)`, `4`, `0.00075`: a fraction while it is short to read, then a decimal.
pub fn show(value: &Ratio) -> String {
    if value.is_integer() {
        return value.to_integer().to_string();
    }
    let fraction = value.to_string();
    if fraction.len() <= 9 { format!("{fraction} ({})", short(value)) } else { short(value) }
}

/// Six significant digits, without an exponent unless the number is tiny.
pub fn short(value: &Ratio) -> String {
    let number = to_f64(value);
    if value.is_zero() || value.is_integer() {
        return value.to_integer().to_string();
    }
    let size = number.abs().log10().floor() as i32;
    if size < -7 {
        return format!("{number:.3e}");
    }
    let text = format!("{number:.*}", (5 - size).clamp(0, 12) as usize);
    let trimmed = if text.contains('.') { text.trim_end_matches('0') } else { &text };
    trimmed.trim_end_matches('.').to_string()
}

/// 1 - `value`.
pub fn rest(value: &Ratio) -> Ratio {
    Ratio::one() - value
}

/// Whether `value` is a probability.
pub fn is_share(value: &Ratio) -> bool {
    !value.is_negative() && *value <= Ratio::one()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_and_fractions_are_read_exactly() {
        for (text, top, bottom) in
            [("0.1", 1, 10), ("3/8", 3, 8), ("2000", 2000, 1), (".5", 1, 2), ("1.5/3", 1, 2)]
        {
            assert_eq!(parse(text), Some(ratio(top, bottom)), "{text}");
        }
        for text in ["", "-1", "1e3", "1/0", "a", "1.2.3", "1/2/3", &"9".repeat(31)] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_is_shown_as_short_as_it_is_exact() {
        for (top, bottom, text) in [
            (4, 1, "4"),
            (5, 9, "5/9 (0.555556)"),
            (3, 4000, "3/4000 (0.00075)"),
            (100_000, 3, "100000/3 (33333.3)"),
            (123_457, 1_000_003, "0.123457"),
            (0, 5, "0"),
        ] {
            assert_eq!(show(&ratio(top, bottom)), text);
        }
    }
}
