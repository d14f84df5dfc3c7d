//! Text for a terminal and for a URL.

use crate::api::is_active;
use std::fmt::Write as _;

/// The text, with every character written out as `\u{…}` that could act on a terminal: control
/// characters, bidirectional marks, invisible ones. For people; it cannot be read back.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_active(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The text, shown; a dash if there is none.
pub(super) fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).map_or_else(|| "-".to_owned(), shown)
}

/// The text as a value in the query of a URL, or as a part of a path.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_written_out() {
        assert_eq!(shown("laptop-é漢"), "laptop-é漢");
        assert_eq!(shown("\u{1b}[2Jx\r\n"), "\\u{1b}[2Jx\\u{d}\\u{a}");
        assert_eq!(
            shown("a\u{202e}gpj.exe\u{9b}1m\u{200b}"),
            "a\\u{202e}gpj.exe\\u{9b}1m\\u{200b}"
        );
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_acts_is_left(text in ".*") {
            proptest::prop_assert!(!shown(&text).chars().any(is_active));
            proptest::prop_assert!(!shown(&text).contains('\n'));
        }

        #[test]
        fn encoded_text_is_a_plain_part_of_a_url(text in ".*") {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~%".contains(c);
            proptest::prop_assert!(percent_encoded(&text).chars().all(is_plain));
        }
    }

    #[test]
    fn urls_carry_any_text() {
        assert_eq!(percent_encoded("A b&c=é/%"), "A%20b%26c%3D%C3%A9%2F%25");
    }
}
