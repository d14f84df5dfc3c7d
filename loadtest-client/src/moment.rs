//! Moments as people and other programs read them: RFC 3339, in UTC, to the millisecond.

use std::fmt;
use time::OffsetDateTime;
use time::macros::format_description;

/// Milliseconds since the Unix epoch. Prints as `2026-11-21T14:39:53.120Z`; what no calendar has, as
/// its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let nanoseconds = i128::from(self.0) * 1_000_000;
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds);
        match time.ok().and_then(|time| time.format(format).ok()) {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} ms since 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_in_utc_and_one_beyond_the_calendar_a_number() {
        assert_eq!(Moment(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Moment(1_795_271_993_120).to_string(), "2026-11-21T14:39:53.120Z");
        assert_eq!(Moment(u64::MAX).to_string(), "18446744073709551615 ms since 1970");
    }
}
