//! Durations as Go writes them: `5s`, `1m30s`, `500ms`, `1.5h`.

use std::time::Duration;

/// Nanoseconds of each unit. `µs` may be spelled with the micro sign or with the Greek letter.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is no duration, in the words of Go's `time.ParseDuration`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DurationError {
    /// It is not numbers with units.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number lacks its unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// There is no such unit.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Reads a duration. A negative one is zero: everything that takes a duration here waits that long.
///
/// # Errors
/// If the text is no duration, or beyond Go's 292 years.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), split_digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        rest = after;
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let Some((_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
        };
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        // Digits beyond these are less than a nanosecond of the largest unit.
        let fraction = &fraction[..fraction.len().min(18)];
        let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
        let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| invalid())? };
        total += u128::from(whole) * u128::from(*nanos) + fraction * u128::from(*nanos) / scale;
        if total > i64::MAX as u128 {
            return Err(invalid());
        }
    }
    if negative {
        return Ok(Duration::ZERO);
    }
    u64::try_from(total).map(Duration::from_nanos).map_err(|_| invalid())
}

/// Reads a duration, or a whole number of seconds.
///
/// # Errors
/// In CoreDNS's words (plugin/pkg/durations), if the text is neither.
pub(super) fn parse_argument(text: &str) -> Result<Duration, String> {
    let text = if super::number::parse(text).is_ok() { format!("{text}s") } else { text.to_owned() };
    parse(&text).map_err(|_| format!("failed to parse duration '{text}'"))
}

/// Writes a duration as Go does: `1h0m0s`, `30s`, `1.5s`, `200ms`.
pub(super) fn text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => return "0s".into(),
        1..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => return format!("{}\u{b5}s", nanos as f64 / 1e3),
        1_000_000..1_000_000_000 => return format!("{}ms", nanos as f64 / 1e6),
        _ => {}
    }
    let (minutes, seconds) = (duration.as_secs() / 60, (nanos % 60_000_000_000) as f64 / 1e9);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::{Duration, parse, text};

    #[test]
    fn reads_what_go_reads() {
        let cases = [
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("500ms", 500_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("1h1m1s1ms1us1ns", 3_661_001_001_001),
            ("2µs", 2_000),
            ("2μs", 2_000),
            ("+3ns", 3),
            ("0", 0),
            ("-0", 0),
            ("-5s", 0),
            ("0.3333333333333333333h", 1_199_999_999_999),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn writes_what_go_writes() {
        let cases = [(0, "0s"), (1_500_000, "1.5ms"), (30_000_000_000, "30s"), (90_500_000_000, "1m30.5s")];
        for (nanos, written) in cases {
            assert_eq!(text(Duration::from_nanos(nanos)), written);
        }
        assert_eq!(text(Duration::from_secs(3600)), "1h0m0s");
    }

    #[test]
    fn refuses_in_the_words_of_go() {
        let cases = [
            ("", r#"time: invalid duration """#),
            ("-", r#"time: invalid duration "-""#),
            ("abc", r#"time: invalid duration "abc""#),
            (".s", r#"time: invalid duration ".s""#),
            ("5", r#"time: missing unit in duration "5""#),
            ("1s5", r#"time: missing unit in duration "1s5""#),
            ("5x", r#"time: unknown unit "x" in duration "5x""#),
            ("1d", r#"time: unknown unit "d" in duration "1d""#),
            ("9999999999999999999999s", r#"time: invalid duration "9999999999999999999999s""#),
            ("9999999h", r#"time: invalid duration "9999999h""#),
        ];
        for (text, message) in cases {
            assert_eq!(parse(text).map_err(|error| error.to_string()), Err(message.to_owned()), "{text}");
        }
    }
}
