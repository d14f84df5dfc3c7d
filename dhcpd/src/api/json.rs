//! JSON that is safe to show, and times in RFC 3339.
//!
//! Host names, owners and circuit IDs come from strangers. JSON itself escapes only the control
//! characters below U+0020; this also writes as `\uXXXX` whatever could act on a terminal (C1 controls,
//! bidirectional marks, invisible characters) or, if the text is pasted into a page, on a browser
//! (`<`, `>`, `&`). For a program that reads the JSON nothing changes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};
use std::io;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use vestibule_core::Timestamp;

/// The value as JSON.
pub(crate) fn text<T: Serialize>(value: &T) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, SafeFormatter);
    match value.serialize(&mut serializer) {
        // What serde_json writes is UTF-8, and what it is given here are numbers, text and lists.
        Ok(()) => String::from_utf8(bytes).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// An answer with JSON.
pub(super) fn response<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let mut response = (status, text(value)).into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The time as RFC 3339 in UTC with milliseconds; `None` if it is later than the year 9999, which
/// stands for "never".
#[must_use]
pub fn time_text(time: Timestamp) -> Option<String> {
    let nanoseconds = i128::from(time.milliseconds()) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .ok()?
        .format(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        ))
        .ok()
}

/// Reads a time of RFC 3339, in any offset, to the millisecond; `None` if it is none, or lies before
/// 1970.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let milliseconds = u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()?;
    (time.unix_timestamp() >= 0).then(|| Timestamp::from_milliseconds(milliseconds))
}

/// Whether a character can do more than be seen: on a terminal, in a page, or to the order of its
/// neighbours.
#[must_use]
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

struct SafeFormatter;

impl Formatter for SafeFormatter {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut plain = fragment;
        while let Some(place) = plain.find(|c| is_active(c) || matches!(c, '<' | '>' | '&')) {
            let (before, rest) = plain.split_at(place);
            CompactFormatter.write_string_fragment(writer, before)?;
            let mut characters = rest.chars();
            if let Some(c) = characters.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            plain = characters.as_str();
        }
        CompactFormatter.write_string_fragment(writer, plain)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn text_that_acts_is_escaped_and_reads_back_the_same() {
        let nasty = "</script>&\u{1b}[2J\u{9b}31m\u{202e}txt\u{200b}\u{2028}\"\\\u{e0041}é漢\u{7f}";
        let written = text(&nasty);
        assert!(written.chars().all(|c| !is_active(c) && !"<>&".contains(c)), "{written}");
        assert!(written.contains("é漢"), "ordinary text stays readable: {written}");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), nasty);
    }

    proptest::proptest! {
        #[test]
        fn any_text_reads_back_the_same_and_does_nothing(nasty in ".*") {
            let written = text(&nasty);
            proptest::prop_assert!(written.chars().all(|c| !is_active(c) && !"<>&".contains(c)));
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&written).ok(), Some(nasty));
        }

        #[test]
        fn times_read_back_the_same(milliseconds in 0..253_402_300_800_000_u64) {
            let time = Timestamp::from_milliseconds(milliseconds);
            let read = time_text(time).and_then(|text| parse_time(&text));
            proptest::prop_assert_eq!(read, Some(time));
        }
    }

    #[test]
    fn times_are_written_in_utc_with_milliseconds() {
        assert_eq!(time_text(Timestamp::ZERO).unwrap(), "1970-01-01T00:00:00.000Z");
        let time = Timestamp::from_milliseconds(1_795_179_600_123);
        let written = time_text(time).unwrap();
        assert_eq!(written, "2026-11-20T13:00:00.123Z");
        assert_eq!(parse_time(&written), Some(time));
        assert_eq!(time_text(Timestamp::FOREVER), None);
    }

    #[test]
    fn times_are_read_in_any_offset() {
        let time = Some(Timestamp::from_seconds(1_795_179_600));
        assert_eq!(parse_time("2026-11-20T13:00:00Z"), time);
        assert_eq!(parse_time("2026-11-20T14:00:00+01:00"), time);
        for text in ["", "tomorrow", "2026-11-20", "2026-11-20 25:00:00Z", "1969-12-31T23:59:59Z"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
