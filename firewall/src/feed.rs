//! The gate feed as it is on the wire: what a server tells those who enforce the gate elsewhere.
//!
//! A feed is lines of JSON, each ended by a line break. The first is a [`Line::Hello`]; then either
//! [`Line::Resumed`], or a snapshot from [`Line::SnapshotBegin`] to [`Line::SnapshotEnd`]; then changes and
//! heartbeats for as long as both sides live. `docs/gate-feed.md` describes them.
//!
//! It promises that a line means the same for as long as [`VERSION`] does, that a line names no more than
//! [`ADDRESSES_PER_LINE_MAX`] addresses, that times are always durations, since clocks differ, and that a
//! [`Splitter`] holds no more than one line of [`LINE_BYTES_MAX`] bytes, whoever sends.

use crate::Ruleset;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;
use vestibule_core::{EthernetAddress, ParseHardwareAddressError, Side};

/// The version of the feed. Who knows another one does not follow it.
pub const VERSION: u32 = 1;

/// Bytes of one line at most, its line break included. The longest ones are a hello with thousands of
/// prefixes.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Addresses in one line at most.
pub const ADDRESSES_PER_LINE_MAX: usize = 1024;

/// Which point of a feed has been reached: which life of the server, and how many changes it had told in
/// it. As text, `boot-sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    /// Another one at each start of the server.
    pub boot: u64,
    /// Counts changes.
    pub sequence: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.boot, self.sequence)
    }
}

/// A text that is no [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACursor;

impl fmt::Display for NotACursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a cursor, which is 16 hexadecimal digits, a hyphen and a number")
    }
}

impl std::error::Error for NotACursor {}

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let (boot, sequence) = text.split_once('-').ok_or(NotACursor)?;
        // The numbers' own readers take signs too.
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if boot.len() != 16 || !is_plain(boot) || !is_plain(sequence) {
            return Err(NotACursor);
        }
        let boot = u64::from_str_radix(boot, 16).map_err(|_| NotACursor)?;
        let sequence = sequence.parse().map_err(|_| NotACursor)?;
        Ok(Self { boot, sequence })
    }
}

impl TryFrom<String> for Cursor {
    type Error = NotACursor;

    fn try_from(text: String) -> Result<Self, NotACursor> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

/// The side of the gate that an address is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedSide {
    /// Forwarded like anybody.
    Registered,
    /// Led to the portal.
    Unregistered,
}

impl From<Side> for FeedSide {
    fn from(side: Side) -> Self {
        match side {
            Side::Registered => Self::Registered,
            Side::Unregistered => Self::Unregistered,
        }
    }
}

impl From<FeedSide> for Side {
    fn from(side: FeedSide) -> Self {
        match side {
            FeedSide::Registered => Self::Registered,
            FeedSide::Unregistered => Self::Unregistered,
        }
    }
}

/// One address of a snapshot: `["10.20.0.17","registered",3599000,60000]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element(
    /// The address.
    pub Ipv4Addr,
    /// Its side.
    pub FeedSide,
    /// For how many more milliseconds.
    pub u64,
    /// For how many milliseconds its holder has been on this side, as far as the server knows.
    pub u64,
);

/// One change: `["10.20.0.17","registered",3599000,true]`, or `["10.20.0.17",null,0,true]` for an address
/// that is in neither set any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change(
    /// The address.
    pub Ipv4Addr,
    /// Its side now.
    pub Option<FeedSide>,
    /// For how many more milliseconds; 0 if it has no side.
    pub u64,
    /// Whether its holder may be another one than before, or nobody, so that tracked flows have to go.
    pub bool,
);

/// Who holds an address of the same line and is let through with IPv6 by this Ethernet address for as long as
/// the address is registered: `[0,"02:00:5e:00:53:01"]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder(
    /// The position of the address in the line's list, from 0.
    pub u32,
    /// The Ethernet address.
    pub FeedEthernet,
);

/// An Ethernet address as it stands in a line: `02:00:5e:00:53:01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FeedEthernet(pub EthernetAddress);

impl TryFrom<String> for FeedEthernet {
    type Error = ParseHardwareAddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl From<FeedEthernet> for String {
    fn from(address: FeedEthernet) -> Self {
        address.0.to_string()
    }
}

/// What is said of an address, with its holder if that is let through by an Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<T> {
    /// What is said.
    pub what: T,
    /// The holder.
    pub holder: Option<EthernetAddress>,
}

/// Without a holder that is let through.
impl<T> From<T> for Held<T> {
    fn from(what: T) -> Self {
        Self { what, holder: None }
    }
}

/// A list of a line with its holders; `None` if one of them holds nothing of it.
#[must_use]
pub fn held<T>(list: Vec<T>, holders: &[Holder]) -> Option<Vec<Held<T>>> {
    let mut list: Vec<Held<T>> = list.into_iter().map(Held::from).collect();
    for Holder(position, FeedEthernet(holder)) in holders {
        list.get_mut(usize::try_from(*position).ok()?)?.holder = Some(*holder);
    }
    Some(list)
}

/// The holders of a list, as they stand in a line.
#[must_use]
pub fn holders(list: impl Iterator<Item = Option<EthernetAddress>>) -> Vec<Holder> {
    list.zip(0..)
        .filter_map(|(holder, position)| Some(Holder(position, FeedEthernet(holder?))))
        .collect()
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hello {
    /// [`VERSION`].
    pub version: u32,
    /// The server's name.
    pub server: String,
    /// `local` if the server enforces the gate on its own host as well, `feed` if only followers do.
    pub gate_mode: String,
    /// The server's newest cursor.
    pub cursor: Cursor,
    /// The server's clock, RFC 3339: for people, who see from it whether clocks differ.
    pub time: String,
    /// What the table is made from: a follower needs no copy of the configuration.
    pub ruleset: Ruleset,
}

/// Changes that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Changes {
    /// What the feed has come to with the last of them.
    pub cursor: Cursor,
    /// Microseconds since the oldest of them was decided, when the line was written.
    pub age_microseconds: u64,
    /// In the order of the decisions; at most [`ADDRESSES_PER_LINE_MAX`].
    pub changes: Vec<Change>,
    /// Who of them is let through by an Ethernet address. Programs before this was possible pass over it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// Who speaks, and what is to be enforced.
    Hello(Box<Hello>),
    /// Goes on after the cursor that was asked for.
    Resumed {
        /// That cursor.
        cursor: Cursor,
    },
    /// The whole of the sets follows: nothing of this server's that was known before is true, but it stays
    /// in force until the end of the snapshot.
    SnapshotBegin {},
    /// Addresses of the snapshot; at most [`ADDRESSES_PER_LINE_MAX`].
    Elements {
        /// They.
        elements: Vec<Element>,
        /// As in [`Changes`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        holders: Vec<Holder>,
    },
    /// The snapshot is whole. Changes between its beginning and its end belong to it.
    SnapshotEnd {
        /// What the feed has come to with it.
        cursor: Cursor,
    },
    /// Changes.
    Changes(Changes),
    /// Nothing is new, or not all of it has been told: once a second.
    Heartbeat {
        /// The server's newest cursor.
        cursor: Cursor,
        /// The server's clock, RFC 3339.
        time: String,
    },
    /// The server closes the feed.
    End {
        /// Why, for people.
        reason: String,
    },
}

/// Cuts a stream of bytes into lines, in bounded memory.
#[derive(Debug, Default)]
pub struct Splitter {
    /// A line's beginning.
    rest: Vec<u8>,
}

/// A line that is longer than [`LINE_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong;

impl Splitter {
    /// Calls `each` with every line that `bytes` complete, without its line break.
    ///
    /// # Errors
    /// [`LineTooLong`], after which the stream is of no use.
    pub fn split<E: From<LineTooLong>>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, after) = bytes.split_at(end);
            bytes = after.get(1..).unwrap_or_default();
            if self.rest.len() + line.len() >= LINE_BYTES_MAX {
                return Err(LineTooLong.into());
            }
            if self.rest.is_empty() {
                each(line)?;
            } else {
                self.rest.extend_from_slice(line);
                let whole = std::mem::take(&mut self.rest);
                each(&whole)?;
            }
        }
        if self.rest.len() + bytes.len() >= LINE_BYTES_MAX {
            return Err(LineTooLong.into());
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(line: &Line) -> String {
        serde_json::to_string(line).unwrap()
    }

    #[test]
    fn lines_are_written_as_documented() {
        let cursor = Cursor { boot: 0xf00d, sequence: 42 };
        let address = Ipv4Addr::new(10, 20, 0, 17);
        let changes = Changes {
            cursor,
            age_microseconds: 310,
            changes: vec![
                Change(address, Some(FeedSide::Registered), 3_599_000, true),
                Change(address, None, 0, true),
            ],
            holders: Vec::new(),
        };
        let text = r#"{"changes":{"cursor":"000000000000f00d-42","age-microseconds":310,"changes":[["10.20.0.17","registered",3599000,true],["10.20.0.17",null,0,true]]}}"#;
        assert_eq!(json(&Line::Changes(changes)), text);
        let elements = vec![Element(address, FeedSide::Unregistered, 1000, 5)];
        let text = r#"{"elements":{"elements":[["10.20.0.17","unregistered",1000,5]]}}"#;
        assert_eq!(json(&Line::Elements { elements: elements.clone(), holders: Vec::new() }), text);
        let holder = "02:00:5e:00:53:01".parse().unwrap();
        let held_by = holders([None, Some(holder)].into_iter());
        let text = r#"{"elements":{"elements":[["10.20.0.17","unregistered",1000,5]],"holders":[[1,"02:00:5e:00:53:01"]]}}"#;
        assert_eq!(
            json(&Line::Elements { elements: elements.clone(), holders: held_by.clone() }),
            text
        );
        assert_eq!(held(elements.clone(), &held_by), None, "it holds nothing of the list");
        let both = vec![elements[0], elements[0]];
        assert_eq!(
            held(both, &held_by).unwrap()[1],
            Held { what: elements[0], holder: Some(holder) }
        );
        assert_eq!(json(&Line::SnapshotBegin {}), r#"{"snapshot-begin":{}}"#);
        let text = r#"{"snapshot-end":{"cursor":"000000000000f00d-42"}}"#;
        assert_eq!(json(&Line::SnapshotEnd { cursor }), text);
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in
            ["", "-", "f00d-1", "000000000000f00d", "000000000000f00d-", "000000000000f00d-+1"]
        {
            assert_eq!(text.parse::<Cursor>(), Err(NotACursor), "{text}");
        }
        let too_many = "000000000000f00d-18446744073709551616";
        assert_eq!(too_many.parse::<Cursor>(), Err(NotACursor));
        assert_eq!("+00000000000f00d-1".parse::<Cursor>(), Err(NotACursor));
    }

    /// The lines that a splitter gives when a text comes in these pieces.
    fn lines(pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            splitter.split(piece, |line| {
                lines.push(line.to_vec());
                Ok::<(), LineTooLong>(())
            })?;
        }
        Ok(lines)
    }

    #[test]
    fn a_line_without_an_end_is_given_up_and_not_kept() {
        let piece = vec![b'x'; LINE_BYTES_MAX / 4];
        assert_eq!(lines(&[&piece, &piece, &piece]), Ok(Vec::new()));
        assert_eq!(lines(&[&piece, &piece, &piece, &piece]), Err(LineTooLong));
        let ended = [piece.repeat(4), b"\n".to_vec()].concat();
        assert_eq!(lines(&[&ended]), Err(LineTooLong));
    }

    proptest! {
        #[test]
        fn cursors_come_back_from_their_text(boot: u64, sequence: u64) {
            let cursor = Cursor { boot, sequence };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        /// However a stream is cut into pieces, its lines are the same.
        #[test]
        fn lines_do_not_depend_on_how_they_arrive(
            text in "[a\n]{0,60}", cuts in prop::collection::vec(0_usize..60, 0..6)
        ) {
            let text = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let mut expected: Vec<Vec<u8>> =
                text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            expected.pop();
            prop_assert_eq!(lines(&pieces), Ok(expected));
        }
    }
}
