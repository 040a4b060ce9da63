//! Sizes with a unit, as people write them.

use server::config::ConfigError;

/// That of a flag, if it is given.
///
/// # Errors
/// What is wrong with it, by its name.
pub fn given(flag: &str, text: Option<&str>) -> Result<Option<u64>, ConfigError> {
    let wrong = |text: &str, why| ConfigError(format!("--{flag}={text}: {why}"));
    text.map(|text| parse(text).map_err(|why| wrong(text, why))).transpose()
}

/// `512MiB`, `2GiB`, `100KiB`; a bare number counts bytes.
///
/// # Errors
/// What is wrong with `text`, in words.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "" | "B" => 1,
        "K" | "KiB" | "KB" => 1 << 10,
        "M" | "MiB" | "MB" => 1 << 20,
        "G" | "GiB" | "GB" => 1_u64 << 30,
        _ => return Err("a size such as 512MiB or 2GiB is expected".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a whole number is expected".to_owned())?;
    number.checked_mul(scale).ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse("3MiB"), Ok(3 << 20));
        assert_eq!(parse("10"), Ok(10));
        for wrong in ["", "MiB", "5x", "18446744073709551615GiB"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
