//! What the lines of a feed mean, each in its place. Pure: no clock, no IO.
//!
//! A server is not believed to be well-formed or small: a line that is none, stands where it cannot, or goes
//! beyond a limit is an error, and the end of the connection. It promises that what it hands on is in order and
//! whole: a snapshot goes on when its end has come.

use crate::feed::{
    Change, Changes, Cursor, Element, Held, Hello, Line, LineTooLong, VERSION, held,
};
use std::fmt;
use std::time::{Duration, Instant};

/// Addresses of one snapshot, with the changes inside it, at most.
pub const SNAPSHOT_ADDRESSES_MAX: usize = 2 * super::book::ADDRESSES_MAX;

/// Characters of a server's words that are shown.
const SHOWN_CHARACTERS_MAX: usize = 120;

/// A line names the holder of something that it does not name.
const HOLDER_OF_NOTHING: &str = "the holder of no address";

/// What a server said that cannot be a feed.
#[derive(Debug)]
pub enum Unreadable {
    /// A line is not one of a feed.
    Line(serde_json::Error),
    /// A line has no end.
    LineTooLong,
    /// A line where it cannot be.
    Misplaced(&'static str),
    /// A snapshot beyond [`SNAPSHOT_ADDRESSES_MAX`].
    SnapshotTooLarge,
    /// Another version of the feed.
    OtherVersion(u32),
}

impl From<LineTooLong> for Unreadable {
    fn from(LineTooLong: LineTooLong) -> Self {
        Self::LineTooLong
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The error's own words could quote the line.
            Self::Line(error) => {
                write!(f, "it sent what is no line of a feed: {}", shown(&error.to_string()))
            }
            Self::LineTooLong => f.write_str("it sent a line without an end"),
            Self::Misplaced(what) => write!(f, "it sent {what}"),
            Self::SnapshotTooLarge => {
                write!(f, "it sent a snapshot of more than {SNAPSHOT_ADDRESSES_MAX} addresses")
            }
            Self::OtherVersion(version) => {
                write!(f, "it speaks version {version} of the feed: use programs of one release")
            }
        }
    }
}

/// What a feed tells the enforcer.
#[derive(Debug)]
pub enum Event {
    /// What is to be enforced.
    Hello(Box<Hello>),
    /// The whole of what the server says.
    Snapshot(Snapshot),
    /// Changes, with the moment of the oldest decision.
    Changes(Vec<Held<Change>>, Instant),
    /// The server lives.
    Alive,
}

/// A whole snapshot.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Its pages, each with the moment that its times count from.
    pub(super) pages: Vec<(Vec<Held<Element>>, Instant)>,
    /// What changed meanwhile, each with the moments of decision and of arrival.
    pub(super) changes: Vec<(Vec<Held<Change>>, Instant, Instant)>,
    addresses: usize,
}

impl Snapshot {
    fn count(&mut self, addresses: usize) -> Result<(), Unreadable> {
        self.addresses += addresses;
        if self.addresses > SNAPSHOT_ADDRESSES_MAX {
            return Err(Unreadable::SnapshotTooLarge);
        }
        Ok(())
    }
}

/// How far a connection has come.
#[derive(Debug)]
pub struct Reading {
    asked: Option<Cursor>,
    is_greeted: bool,
    snapshot: Option<Snapshot>,
    /// Up to where everything was handed on.
    cursor: Option<Cursor>,
    /// The server's newest cursor, as far as it told.
    newest: Option<Cursor>,
}

impl Reading {
    /// The beginning of a connection that asked to go on after a cursor.
    #[must_use]
    pub const fn new(asked: Option<Cursor>) -> Self {
        Self { asked, is_greeted: false, snapshot: None, cursor: None, newest: None }
    }

    /// Up to where everything was handed on; `None` if nothing was.
    #[must_use]
    pub const fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// The server's newest cursor, as far as it told.
    #[must_use]
    pub const fn newest(&self) -> Option<Cursor> {
        self.newest
    }

    /// What a line that came at `now` means; the server's reason if it closes the feed.
    ///
    /// # Errors
    /// [`Unreadable`], after which the connection is of no use.
    pub fn line(&mut self, line: &[u8], now: Instant) -> Result<Result<Event, String>, Unreadable> {
        self.parsed(serde_json::from_slice(line).map_err(Unreadable::Line)?, now)
    }

    fn parsed(&mut self, line: Line, now: Instant) -> Result<Result<Event, String>, Unreadable> {
        match line {
            Line::Hello(_) if self.is_greeted => misplaced("a second hello"),
            Line::Hello(hello) => {
                if hello.version != VERSION {
                    return Err(Unreadable::OtherVersion(hello.version));
                }
                self.is_greeted = true;
                self.newest = Some(hello.cursor);
                Ok(Ok(Event::Hello(hello)))
            }
            Line::End { reason } => Ok(Err(shown(&reason))),
            _ if !self.is_greeted => misplaced("something before the hello"),
            Line::Heartbeat { cursor, .. } => {
                self.newest = Some(cursor);
                Ok(Ok(Event::Alive))
            }
            Line::Resumed { cursor } => {
                if self.asked != Some(cursor) || self.cursor.is_some() || self.snapshot.is_some() {
                    return misplaced("a resumption that was not asked for");
                }
                self.cursor = Some(cursor);
                Ok(Ok(Event::Alive))
            }
            Line::SnapshotBegin {} => {
                if self.snapshot.is_some() {
                    return misplaced("a snapshot inside a snapshot");
                }
                self.snapshot = Some(Snapshot::default());
                Ok(Ok(Event::Alive))
            }
            Line::Elements { elements, holders } => {
                let Some(snapshot) = &mut self.snapshot else {
                    return misplaced("elements outside of a snapshot");
                };
                snapshot.count(elements.len())?;
                let Some(elements) = held(elements, &holders) else {
                    return misplaced(HOLDER_OF_NOTHING);
                };
                snapshot.pages.push((elements, now));
                Ok(Ok(Event::Alive))
            }
            Line::SnapshotEnd { cursor } => {
                let Some(snapshot) = self.snapshot.take() else {
                    return misplaced("the end of no snapshot");
                };
                self.cursor = Some(cursor);
                Ok(Ok(Event::Snapshot(snapshot)))
            }
            Line::Changes(changes) => self.changes(changes, now),
        }
    }

    fn changes(
        &mut self,
        changes: Changes,
        now: Instant,
    ) -> Result<Result<Event, String>, Unreadable> {
        let age = Duration::from_micros(changes.age_microseconds);
        let decided = now.checked_sub(age).unwrap_or(now);
        self.newest = self.newest.max(Some(changes.cursor));
        let Changes { cursor: told, changes, holders, .. } = changes;
        let Some(changes) = held(changes, &holders) else {
            return misplaced(HOLDER_OF_NOTHING);
        };
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.count(changes.len())?;
            snapshot.changes.push((changes, decided, now));
            return Ok(Ok(Event::Alive));
        }
        let Some(cursor) = self.cursor else { return misplaced("changes of nothing") };
        let expected = cursor.sequence.checked_add(changes.len() as u64);
        if told.boot != cursor.boot || Some(told.sequence) != expected {
            return misplaced("changes that do not follow");
        }
        self.cursor = Some(told);
        Ok(Ok(Event::Changes(changes, decided)))
    }
}

fn misplaced(what: &'static str) -> Result<Result<Event, String>, Unreadable> {
    Err(Unreadable::Misplaced(what))
}

/// What a server wrote, for a log.
fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().take(SHOWN_CHARACTERS_MAX).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::FeedSide;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn cursor(sequence: u64) -> Cursor {
        Cursor { boot: 7, sequence }
    }

    fn hello() -> Line {
        let text = r#"{"hello":{"version":1,"server":"a","gate-mode":"feed","cursor":"0000000000000007-0",
            "time":"2026-11-20T13:00:00.000Z","ruleset":{"table":"vestibule","gated-prefixes":["10.20.0.0/22"],
            "gated-prefixes-ipv6":["2001:db8::/64"],"portal":"10.0.0.80","portal-redirected":true,
            "garden-prefixes":[],"lying-resolver":"10.0.0.54:53","redirect":"10.0.0.54:8080","captive":null,
            "server-addresses":["10.0.0.67"],"elements-max":100}}}"#;
        serde_json::from_str(text).unwrap()
    }

    fn changes(sequence: u64, count: u8) -> Line {
        let change =
            |last| Change(Ipv4Addr::new(10, 20, 0, last), Some(FeedSide::Registered), 9, true);
        Line::Changes(Changes {
            cursor: cursor(sequence),
            age_microseconds: 0,
            changes: (0..count).map(change).collect(),
            holders: Vec::new(),
        })
    }

    /// The error that the last of these lines is.
    fn last_error(asked: Option<Cursor>, lines: Vec<Line>) -> Option<String> {
        let mut reading = Reading::new(asked);
        let mut last = None;
        for line in lines {
            assert!(last.is_none(), "an earlier line was refused: {last:?}");
            last = match reading.parsed(line, Instant::now()) {
                Ok(Ok(_)) => None,
                Ok(Err(reason)) => Some(reason),
                Err(error) => Some(error.to_string()),
            };
        }
        last
    }

    #[test]
    fn a_feed_in_order_is_taken() {
        let elements = Line::Elements { elements: Vec::new(), holders: Vec::new() };
        let snapshot = || vec![hello(), Line::SnapshotBegin {}, elements.clone(), changes(5, 3)];
        let mut lines = snapshot();
        lines.extend([Line::SnapshotEnd { cursor: cursor(5) }, changes(7, 2), changes(7, 0)]);
        assert_eq!(last_error(None, lines), None);
        let resumed = vec![hello(), Line::Resumed { cursor: cursor(5) }, changes(6, 1)];
        assert_eq!(last_error(Some(cursor(5)), resumed), None);
    }

    #[test]
    fn a_feed_out_of_order_is_refused() {
        let resumed = |sequence| Line::Resumed { cursor: cursor(sequence) };
        let asked = Some(cursor(5));
        for (asked, lines) in [
            (None, vec![changes(1, 1)]),
            (None, vec![hello(), hello()]),
            (None, vec![hello(), changes(1, 1)]),
            (None, vec![hello(), resumed(5)]),
            (asked, vec![hello(), resumed(6)]),
            (asked, vec![hello(), resumed(5), resumed(5)]),
            (asked, vec![hello(), resumed(5), changes(7, 1)]),
            (asked, vec![hello(), resumed(5), changes(5, 1)]),
            (None, vec![hello(), Line::Elements { elements: Vec::new(), holders: Vec::new() }]),
            (None, vec![hello(), Line::SnapshotEnd { cursor: cursor(1) }]),
            (None, vec![hello(), Line::SnapshotBegin {}, Line::SnapshotBegin {}]),
        ] {
            let shown = format!("{lines:?}");
            assert!(last_error(asked, lines).is_some(), "{shown}");
        }
    }

    #[test]
    fn another_version_is_refused_and_hostile_words_are_shown_plainly() {
        let Line::Hello(mut other) = hello() else { panic!("no hello") };
        other.version = 2;
        let error = last_error(None, vec![Line::Hello(other)]).unwrap();
        assert!(error.contains("version 2"), "{error}");
        let reason = format!("\u{1b}[2J\u{202e}{}", "x".repeat(500));
        let error = last_error(None, vec![Line::End { reason }]).unwrap();
        assert!(error.contains("?[2J?xxx") && error.len() < 200, "{error}");
    }

    #[test]
    fn lines_of_a_hostile_server_are_refused_by_name() {
        let greeted = || {
            let mut reading = Reading::new(None);
            let hello = serde_json::to_vec(&hello()).unwrap();
            assert!(matches!(reading.line(&hello, Instant::now()), Ok(Ok(Event::Hello(_)))));
            reading
        };
        for line in [
            "",
            "{",
            "null",
            "[]",
            "{}",
            r#"{"resumed":{}}"#,
            r#"{"resumed":{"cursor":"0000000000000007-5"},"snapshot-begin":{}}"#,
            r#"{"elements":{"elements":[["10.20.0.1","registered",-1,0]]}}"#,
            r#"{"elements":{"elements":[["10.20.0.1","registered",1e300,0]]}}"#,
            r#"{"elements":{"elements":[["10.20.0.256","registered",1,0]]}}"#,
            r#"{"elements":{"elements":[["2001:db8::1","registered",1,0]]}}"#,
            r#"{"elements":{"elements":[["10.20.0.1","admitted",1,0]]}}"#,
            r#"{"changes":{"cursor":"7-1","age-microseconds":0,"changes":[]}}"#,
            r#"{"changes":{"cursor":"0000000000000007-1","age-microseconds":0,"changes":[["10.20.0.1",null,0]]}}"#,
            &"[".repeat(100_000),
            "{\"hello\":\u{0}}",
        ] {
            let outcome = greeted().line(line.as_bytes(), Instant::now());
            assert!(matches!(outcome, Err(Unreadable::Line(_))), "{line:.100}: {outcome:?}");
        }
        let outcome = greeted().line(b"{\"end\":{\"reason\":\"\xff\"}}", Instant::now());
        assert!(matches!(outcome, Err(Unreadable::Line(_))), "{outcome:?}");
        // Times beyond all bounds are times.
        let mut reading = greeted();
        for line in [
            r#"{"snapshot-begin":{}}"#,
            r#"{"elements":{"elements":[["10.20.0.1","registered",18446744073709551615,18446744073709551615]]}}"#,
            r#"{"snapshot-end":{"cursor":"0000000000000007-5"}}"#,
            r#"{"changes":{"cursor":"0000000000000007-6","age-microseconds":18446744073709551615,"changes":[["10.20.0.1",null,0,true]]}}"#,
        ] {
            assert!(matches!(reading.line(line.as_bytes(), Instant::now()), Ok(Ok(_))), "{line}");
        }
    }

    #[test]
    fn a_snapshot_without_an_end_is_given_up() {
        let mut reading = Reading::new(None);
        let now = Instant::now();
        reading.parsed(hello(), now).unwrap().unwrap();
        reading.parsed(Line::SnapshotBegin {}, now).unwrap().unwrap();
        let element = Element(Ipv4Addr::LOCALHOST, FeedSide::Registered, 1, 1);
        let page = Line::Elements { elements: vec![element; 200_000], holders: Vec::new() };
        let pages = (0..).find(|_| reading.parsed(page.clone(), now).is_err());
        assert_eq!(pages, Some(SNAPSHOT_ADDRESSES_MAX / 200_000));
    }

    proptest! {
        /// Whatever a server sends, the agent goes on.
        #[test]
        fn no_line_is_too_strange(lines in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                Just(serde_json::to_vec(&hello()).unwrap()),
                Just(b"{\"snapshot-begin\":{}}".to_vec()),
                Just(b"{\"snapshot-end\":{\"cursor\":\"0000000000000007-5\"}}".to_vec()),
                (0_u64..9, 0_u8..3).prop_map(|(sequence, count)| {
                    serde_json::to_vec(&changes(sequence, count)).unwrap()
                }),
            ],
            0..12,
        )) {
            let mut reading = Reading::new(Some(cursor(5)));
            for line in lines {
                if reading.line(&line, Instant::now()).is_err() {
                    break;
                }
            }
        }
    }
}
