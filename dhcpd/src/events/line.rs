//! One line of the log: a checksum, and an event or a mark. Text, so that it can be read by eye, but for
//! packed events.
//!
//! ```text
//! 1a2b3c4d e 17 registered {"id":17,…}     an event
//! 1a2b3c4d p 18 unregistered-seen …         an event whose JSON is made when it is read
//! 1a2b3c4d m 4711                           every event up to this frame of the journal is above
//! 1a2b3c4d r 65536                          ids up to this one may have been told
//! 1a2b3c4d c 4711 17                        ended in order: last frame, last id
//! ```
//!
//! The checksum is CRC-32C over everything after its blank, without the line feed.

use super::packed;
use std::io::Write as _;
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
    /// A packed event.
    Packed {
        /// Its id, from 1.
        id: u64,
        /// Its kind.
        kind: EventKind,
        /// It, without a line feed.
        bytes: &'a [u8],
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
    pub fn append(&self, text: &mut Vec<u8>) {
        let start = text.len();
        text.extend_from_slice(&[b' '; PREFIX]);
        // Writing into memory cannot fail.
        let _ = match self {
            Self::Event { id, kind, json } => write!(text, "e {id} {kind} {json}"),
            Self::Packed { id, kind, bytes } => {
                write!(text, "p {id} {kind} ").map(|()| text.extend_from_slice(bytes))
            }
            Self::Mark(frame) => write!(text, "m {frame}"),
            Self::Reserve(id) => write!(text, "r {id}"),
            Self::Clean { frame_number, id } => write!(text, "c {frame_number} {id}"),
        };
        let checksum = crc32c::crc32c(text.get(start + PREFIX..).unwrap_or_default());
        for (place, byte) in text.iter_mut().skip(start).take(PREFIX - 1).enumerate() {
            let digit = checksum >> (28 - 4 * place) & 0xf;
            *byte = char::from_digit(digit, 16).map_or(b'0', |digit| digit as u8);
        }
        text.push(b'\n');
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
    if let Some(rest) = rest.strip_prefix(b"p ") {
        return parse_packed(rest).ok_or(LineError::Unknown);
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

fn parse_packed(rest: &[u8]) -> Option<Line<'_>> {
    let mut parts = rest.splitn(3, |byte| *byte == b' ');
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let (id, kind) = (text()?.parse().ok()?, EventKind::of_name(text()?)?);
    let bytes = parts.next()?;
    packed::is_readable(kind, bytes).then_some(Line::Packed { id, kind, bytes })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    const LINES: [Line<'static>; 5] = [
        Line::Packed { id: 18, kind: EventKind::UnregisteredSeen, bytes: b"\x01\xff\0 x " },
        Line::Event { id: 17, kind: EventKind::Registered, json: r#"{"id":17,"x":"a b"}"# },
        Line::Mark(4711),
        Line::Reserve(65_536),
        Line::Clean { frame_number: 4711, id: 17 },
    ];

    #[test]
    fn lines_read_back_the_same_and_no_changed_byte_goes_unseen() {
        for line in LINES {
            let mut text = Vec::new();
            line.append(&mut text);
            let bytes = text.strip_suffix(b"\n").unwrap();
            assert_eq!(parse_line(bytes), Ok(line));
            for place in 0..bytes.len() {
                let mut changed = bytes.to_vec();
                changed[place] ^= 1;
                assert!(parse_line(&changed).is_err(), "{line:?} {place}");
            }
            for length in 0..bytes.len() {
                assert!(parse_line(&bytes[..length]).is_err(), "{line:?} {length}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, rest in "[empcrx] ?[0-9]{0,22} ?.*") {
            let _ = parse_line(&bytes);
            let with_checksum = format!("{:08x} {rest}", crc32c::crc32c(rest.as_bytes()));
            if let Ok(line) = parse_line(with_checksum.as_bytes()) {
                let mut text = Vec::new();
                line.append(&mut text);
                proptest::prop_assert!(parse_line(text.strip_suffix(b"\n").unwrap()) == Ok(line));
            }
        }
    }
}
