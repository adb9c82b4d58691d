//! How long ago, as people type it: `90s`, `30m`, `12h`, `7d`.

use jiff::SignedDuration;

/// Reads a whole number with a unit.
///
/// # Errors
/// What is expected, in words.
pub(crate) fn parse(text: &str) -> Result<SignedDuration, String> {
    let expected = || format!("'{text}' is not an age: write it like 90s, 30m, 12h or 7d");
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    let number = &text[..text.len() - 1];
    let number: u32 = number.parse().map_err(|_| expected())?;
    Ok(SignedDuration::from_secs(i64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_whole_numbers_with_a_unit() {
        assert_eq!(parse("90s"), Ok(SignedDuration::from_secs(90)));
        assert_eq!(parse("7d"), Ok(SignedDuration::from_hours(168)));
        for bad in ["", "7", "d", "-1h", "1.5h", "7 d", "7ä", "99999999999d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
