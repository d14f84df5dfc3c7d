//! Numbers as people read them: grouped by thousands, with a unit, and no more digits than are true.
//!
//! Counts are exact. Measured figures have three significant digits, ratios two. What is no number
//! is written as `unknown`.

use std::time::Duration;
use time::OffsetDateTime;
use time::macros::format_description;

/// What is written for a figure that is no number.
pub(crate) const UNKNOWN: &str = "unknown";

/// A count, exactly: `1,234,567`.
pub(crate) fn count(count: u64) -> String {
    grouped(&count.to_string())
}

/// `1 relay`, `2 relays`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A count in at most eleven characters, for the columns of a terminal: rounded from a thousand million on.
pub(crate) fn count_short(number: u64) -> String {
    match number {
        0..1_000_000_000 => count(number),
        1_000_000_000..1_000_000_000_000_000 => format!("{} G", measured(real(number) / 1e9)),
        _ => format!("{} P", measured(real(number) / 1e15)),
    }
}

/// A measured figure: three significant digits.
pub(crate) fn measured(value: f64) -> String {
    significant(value, 3)
}

/// How many times as much: two significant digits.
pub(crate) fn ratio(value: f64) -> String {
    format!("× {}", significant(value, 2))
}

/// A time: `850 µs`, `12.3 ms`, `4.00 s`, `3.50 min`.
pub(crate) fn microseconds(microseconds: u64) -> String {
    if microseconds < 1000 {
        format!("{microseconds} µs")
    } else {
        microseconds_measured(real(microseconds))
    }
}

/// The same for a time that was computed.
pub(crate) fn microseconds_measured(microseconds: f64) -> String {
    let (divisor, unit) = match microseconds {
        value if !value.is_finite() => return UNKNOWN.to_owned(),
        value if value < 999.5 => (1.0, "µs"),
        value if value < 999_500.0 => (1e3, "ms"),
        value if value < 120e6 => (1e6, "s"),
        value if value < 7_200e6 => (60e6, "min"),
        value if value < 172_800e6 => (3600e6, "h"),
        _ => (86_400e6, "d"),
    };
    format!("{} {unit}", measured(microseconds / divisor))
}

/// A time in seconds, in the same way.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds == 0.0 { "0 s".to_owned() } else { microseconds_measured(seconds * 1e6) }
}

/// An amount of memory: `512 bytes`, `1.50 MiB`.
pub(crate) fn bytes(bytes: f64) -> String {
    let (divisor, unit) = match bytes.abs() {
        size if size < 1024.0 => (1.0, "bytes"),
        size if size < 1_048_576.0 => (1024.0, "KiB"),
        size if size < 1_073_741_824.0 => (1_048_576.0, "MiB"),
        _ => (1_073_741_824.0, "GiB"),
    };
    format!("{} {unit}", measured(bytes / divisor))
}

/// A part of a whole: never `0 %` if there is any, never `100 %` if some is missing.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return UNKNOWN.to_owned();
    }
    let percent = real(part) / real(whole) * 100.0;
    if part < whole && percent > 99.94 {
        "over 99.9 %".to_owned()
    } else if part > 0 && percent < 0.001 {
        "under 0.001 %".to_owned()
    } else {
        format!("{} %", significant(percent, 2 + usize::from(percent > 99.0)))
    }
}

/// A time of day, in UTC.
pub(crate) fn day_and_time(unix_milliseconds: u64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    OffsetDateTime::UNIX_EPOCH
        .checked_add(
            Duration::from_millis(unix_milliseconds).try_into().unwrap_or(time::Duration::MAX),
        )
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

/// A count to reckon with.
pub(crate) const fn real(count: u64) -> f64 {
    count as f64
}

fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return UNKNOWN.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    // The formatter of powers of ten rounds to the digit and then knows the magnitude, so that 999.6
    // becomes 1,000 and not 1000.
    let power = format!("{value:.*e}", digits.saturating_sub(1));
    let (rounded, exponent) = match power.split_once('e') {
        Some((_, exponent)) => {
            (power.parse().unwrap_or(value), exponent.parse::<i32>().unwrap_or(0))
        }
        None => (value, 0),
    };
    if !(-6..=18).contains(&exponent) {
        return power;
    }
    let decimals = i32::try_from(digits).unwrap_or(0).saturating_sub(1).saturating_sub(exponent);
    let plain = format!("{rounded:.*}", usize::try_from(decimals).unwrap_or(0));
    match plain.split_once('.') {
        Some((whole, fraction)) => format!("{}.{fraction}", grouped(whole)),
        None => grouped(&plain),
    }
}

fn grouped(digits: &str) -> String {
    let (sign, digits) =
        digits.strip_prefix('-').map_or(("", digits), |magnitude| ("−", magnitude));
    let mut grouped = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_and_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "relay", "relays"), "1 relay");
        assert_eq!(counted(0, "relay", "relays"), "0 relays");
        assert_eq!(count_short(999_999_999), "999,999,999");
        assert_eq!(count_short(1_234_567_890), "1.23 G");
        assert!(count_short(u64::MAX).chars().count() <= 11);
    }

    #[test]
    fn measured_figures_have_the_digits_that_are_true() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_345, "0.0123"),
            (1.0, "1.00"),
            (12.345, "12.3"),
            (999.6, "1,000"),
            (225_123.0, "225,000"),
            (-1234.0, "−1,230"),
            (f64::NAN, UNKNOWN),
            (f64::INFINITY, UNKNOWN),
            (1e300, "1.00e300"),
            (1e-300, "1.00e-300"),
        ] {
            assert_eq!(measured(value), text, "{value}");
        }
        assert_eq!(ratio(0.0756), "× 0.076");
        assert_eq!(ratio(1.0), "× 1.0");
        assert_eq!(ratio(123.0), "× 120");
    }

    #[test]
    fn times_sizes_and_parts_have_units() {
        for (value, text) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1000, "1.00 ms"),
            (12_345, "12.3 ms"),
            (999_999, "1.00 s"),
            (60_000_000, "60.0 s"),
            (180_000_000, "3.00 min"),
            (1 << 40, "12.7 d"),
        ] {
            assert_eq!(microseconds(value), text);
        }
        assert_eq!(seconds(0.0), "0 s");
        assert_eq!(seconds(f64::NAN), UNKNOWN);
        assert_eq!(bytes(1536.0 * 1024.0), "1.50 MiB");
        for (part, whole, text) in [
            (0, 5, "0 %"),
            (5, 5, "100 %"),
            (1, 3, "33 %"),
            (999_999, 1_000_000, "over 99.9 %"),
            (1, u64::MAX, "under 0.001 %"),
            (1, 0, UNKNOWN),
        ] {
            assert_eq!(percent(part, whole), text);
        }
    }

    #[test]
    fn a_time_of_day_is_in_utc() {
        assert_eq!(day_and_time(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(day_and_time(1_795_183_200_000), "2026-11-20 14:00:00 UTC");
        assert_eq!(day_and_time(u64::MAX), UNKNOWN);
    }
}
