//! One line of the log: a checksum, and an event or a mark. Text, so that it can be read by eye.
//!
//! ```text
//! 1a2b3c4d e 17 registered {"id":17,…}     an event
//! 1a2b3c4d m 4711                           every event up to this frame of the journal is above
//! 1a2b3c4d r 65536                          ids up to this one may have been told
//! 1a2b3c4d c 4711 17                        ended in order: last frame, last id
//! ```
//!
//! The checksum is CRC-32C over everything after its blank, without the line feed.

use std::fmt::Write as _;
use vestibule_core::EventKind;

/// Bytes of one line at most, its line feed included: a host name and an owner of 256 bytes, each
/// written out as escapes, and a registration's addresses fit.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// An event.
    Event {
        /// Its id, from 1.
        id: u64,
        /// Its kind.
        kind: EventKind,
        /// It, as JSON.
        json: &'a str,
    },
    /// Every event up to this frame stands above.
    Mark(u64),
    /// Ids up to this one are set aside.
    Reserve(u64),
    /// The process ended in order.
    Clean {
        /// The last frame.
        frame_number: u64,
        /// The last id.
        id: u64,
    },
}

/// Why a line cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// The checksum is missing or wrong.
    Checksum,
    /// It is none of the kinds of lines, or one of a later version.
    Unknown,
}

impl Line<'_> {
    /// Appends the line with its line feed.
    pub fn append(&self, text: &mut String) {
        let start = text.len();
        // Writing into a String cannot fail.
        let _ = match self {
            Self::Event { id, kind, json } => write!(text, "{:08x} e {id} {kind} {json}", 0),
            Self::Mark(frame) => write!(text, "{:08x} m {frame}", 0),
            Self::Reserve(id) => write!(text, "{:08x} r {id}", 0),
            Self::Clean { frame_number, id } => write!(text, "{:08x} c {frame_number} {id}", 0),
        };
        let rest = text.get(start + PREFIX..).unwrap_or_default();
        let checksum = format!("{:08x}", crc32c::crc32c(rest.as_bytes()));
        text.replace_range(start..start + PREFIX - 1, &checksum);
        text.push('\n');
    }
}

/// Bytes of the checksum and the blank behind it.
const PREFIX: usize = 9;

/// Reads a line without its line feed.
///
/// # Errors
/// [`LineError`]
pub fn parse_line(bytes: &[u8]) -> Result<Line<'_>, LineError> {
    let (checksum, rest) = bytes.split_at_checked(PREFIX).ok_or(LineError::Checksum)?;
    let checksum = std::str::from_utf8(checksum)
        .ok()
        .and_then(|text| text.strip_suffix(' '))
        .filter(|text| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        .and_then(|text| u32::from_str_radix(text, 16).ok())
        .ok_or(LineError::Checksum)?;
    if checksum != crc32c::crc32c(rest) {
        return Err(LineError::Checksum);
    }
    let rest = std::str::from_utf8(rest).map_err(|_| LineError::Unknown)?;
    let (what, rest) = rest.split_once(' ').ok_or(LineError::Unknown)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| LineError::Unknown);
    match what {
        "e" => {
            let mut parts = rest.splitn(3, ' ');
            let (Some(id), Some(kind), Some(json)) = (parts.next(), parts.next(), parts.next())
            else {
                return Err(LineError::Unknown);
            };
            let kind = EventKind::of_name(kind).ok_or(LineError::Unknown)?;
            Ok(Line::Event { id: number(id)?, kind, json })
        }
        "m" => Ok(Line::Mark(number(rest)?)),
        "r" => Ok(Line::Reserve(number(rest)?)),
        "c" => {
            let (frame, id) = rest.split_once(' ').ok_or(LineError::Unknown)?;
            Ok(Line::Clean { frame_number: number(frame)?, id: number(id)? })
        }
        _ => Err(LineError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    const LINES: [Line<'static>; 4] = [
        Line::Event { id: 17, kind: EventKind::Registered, json: r#"{"id":17,"x":"a b"}"# },
        Line::Mark(4711),
        Line::Reserve(65_536),
        Line::Clean { frame_number: 4711, id: 17 },
    ];

    #[test]
    fn lines_read_back_the_same_and_no_changed_byte_goes_unseen() {
        for line in LINES {
            let mut text = String::new();
            line.append(&mut text);
            let bytes = text.strip_suffix('\n').unwrap().as_bytes();
            assert_eq!(parse_line(bytes), Ok(line));
            for place in 0..bytes.len() {
                let mut changed = bytes.to_vec();
                changed[place] ^= 1;
                assert!(parse_line(&changed).is_err(), "{text} {place}");
            }
            for length in 0..bytes.len() {
                assert!(parse_line(&bytes[..length]).is_err(), "{text} {length}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, rest in "[emrcx] ?[0-9]{0,22} ?.*") {
            let _ = parse_line(&bytes);
            let with_checksum = format!("{:08x} {rest}", crc32c::crc32c(rest.as_bytes()));
            if let Ok(line) = parse_line(with_checksum.as_bytes()) {
                let mut text = String::new();
                line.append(&mut text);
                proptest::prop_assert!(parse_line(text.trim_end_matches('\n').as_bytes()) == Ok(line));
            }
        }
    }
}
