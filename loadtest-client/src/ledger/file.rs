//! The ledger as a file: one JSON object a line, appended.
//!
//! It promises that a line is whole or, as the last one of a writer that was killed, counts as not
//! written and is taken away by the next writer; that it never cuts a file that is no ledger; and that
//! it reads what every earlier version has written. `docs/load-ledger.md` describes the format.

use super::{Holding, Ledger, Violation};
use crate::message::Hardware;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;

/// Bytes of the longest line that is read.
pub const LINE_LENGTH_MAX: usize = 1024;
/// Bytes that wait to be written at most.
const WAITING_MAX: usize = 64 << 10;
/// How every line begins.
const BEGINNING: &[u8] = b"{\"at\":";

/// An ACK, or the end of a lease before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", from = "Line")]
pub struct Entry {
    /// When it arrived or ended, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Whose lease it is.
    pub client: Hardware,
    /// The address.
    pub address: Ipv4Addr,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// When the lease ends, reckoned from the arrival of the ACK. A server reckons from a moment
    /// before that, so the last second of it is nobody's promise.
    pub ends: u64,
    /// The relay that it came through; unknown in files of versions before this field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub giaddr: Option<Ipv4Addr>,
    /// How it ended at `at`; `None`: it was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// How a lease ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Its client gave it back.
    Released,
    /// Its client found the address in use.
    Declined,
    /// A server refused it.
    Refused,
}

/// A line of any version.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Line {
    at: u64,
    client: Hardware,
    address: Ipv4Addr,
    server: Ipv4Addr,
    ends: u64,
    #[serde(default)]
    giaddr: Option<Ipv4Addr>,
    #[serde(default)]
    ended: Option<Ended>,
    /// How the first version said it.
    #[serde(default)]
    released: bool,
}

impl From<Line> for Entry {
    fn from(line: Line) -> Self {
        let Line { at, client, address, server, ends, giaddr, ended, released } = line;
        let ended = ended.or(released.then_some(Ended::Released));
        Self { at, client, address, server, ends, giaddr, ended }
    }
}

impl Ledger {
    /// Reads a ledger file: what is held by it, and every violation in it. A file that is not there
    /// is an empty one.
    ///
    /// # Errors
    /// As [`Self::read`], but for a file that is not there.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<Violation>)> {
        match Self::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Default::default()),
            read => read,
        }
    }

    /// Reads a ledger file: what is held by it, and every violation in it.
    ///
    /// # Errors
    /// The file cannot be read, or a line that is not the cut-off last one is no entry.
    pub fn read(path: &Path) -> io::Result<(Self, Vec<Violation>)> {
        let mut reader = BufReader::new(File::open(path)?);
        let mut ledger = Self::default();
        let mut violations = Vec::new();
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let limit = LINE_LENGTH_MAX as u64 + 1;
            io::Read::take(&mut reader, limit).read_until(b'\n', &mut line)?;
            if line.len() > LINE_LENGTH_MAX {
                return Err(broken(number, "it is too long"));
            }
            // Whoever wrote it was killed in the middle of the line, or this is the end.
            if line.last() != Some(&b'\n') {
                break;
            }
            let entry: Entry = serde_json::from_slice(&line)
                .map_err(|error| broken(number, &error.to_string()))?;
            if entry.ended.is_some() {
                ledger.ended(entry.client);
                continue;
            }
            let Entry { at, client, address, server, ends, giaddr, .. } = entry;
            let holding = Holding { client, server, giaddr, ends };
            violations.extend(ledger.acknowledged(at, address, holding, None));
        }
        Ok((ledger, violations))
    }
}

fn broken(number: u64, why: &str) -> io::Error {
    let message = format!("line {number} is no entry of a ledger: {why}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// A ledger file that is being written.
#[derive(Debug)]
pub struct LedgerFile {
    file: File,
    waiting: Vec<u8>,
}

impl LedgerFile {
    /// Opens a file to append to, or makes it. A last line that its writer did not end is cut off.
    ///
    /// # Errors
    /// It cannot be opened, or is no ledger.
    pub fn append(path: &Path) -> io::Result<Self> {
        let mut file = File::options().create(true).read(true).append(true).open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        let from = length.saturating_sub(LINE_LENGTH_MAX as u64);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::with_capacity(LINE_LENGTH_MAX);
        io::Read::take(&mut file, LINE_LENGTH_MAX as u64).read_to_end(&mut tail)?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        let torn = tail.get(whole..).unwrap_or_default();
        let begins = torn.iter().zip(BEGINNING).all(|(byte, expected)| byte == expected);
        if !begins || (whole == 0 && from > 0) {
            let message = "it does not end as a ledger does; name another file";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        if !torn.is_empty() {
            file.set_len(from + whole as u64)?;
        }
        Ok(Self { file, waiting: Vec::new() })
    }

    /// Notes an entry, to be written with the next [`Self::flush`].
    ///
    /// # Errors
    /// Too much waits, and it cannot be written.
    pub fn add(&mut self, entry: &Entry) -> io::Result<()> {
        serde_json::to_writer(&mut self.waiting, entry).map_err(io::Error::from)?;
        self.waiting.push(b'\n');
        if self.waiting.len() >= WAITING_MAX { self.flush() } else { Ok(()) }
    }

    /// Writes what waits, in one call.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    /// Writes one entry.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, entry: &Entry) -> io::Result<()> {
        self.add(entry)?;
        self.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);
    const GIADDR: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 20, 0, last)
    }

    fn entry(client: u32, last: u8, at: u64) -> Entry {
        Entry {
            at,
            client: Hardware::of_client(client),
            address: address(last),
            server: SERVER,
            ends: at + 60_000,
            giaddr: Some(GIADDR),
            ended: None,
        }
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        (folder, path)
    }

    fn held(path: &Path) -> Vec<Ipv4Addr> {
        let (ledger, violations) = Ledger::read(path).unwrap();
        assert_eq!(violations, []);
        ledger.held(2000).map(|(address, _)| address).collect()
    }

    #[test]
    fn a_lease_that_was_given_back_declined_or_refused_is_not_held() {
        let (_folder, path) = place();
        let mut file = LedgerFile::append(&path).unwrap();
        for (client, last) in [(1, 10), (2, 11), (3, 12), (4, 13)] {
            file.write(&entry(client, last, 1000)).unwrap();
        }
        for (client, last, ended) in
            [(2, 11, Ended::Declined), (3, 12, Ended::Released), (4, 13, Ended::Refused)]
        {
            file.write(&Entry { ended: Some(ended), ..entry(client, last, 2000) }).unwrap();
        }
        assert_eq!(held(&path), [address(10)]);
        let (ledger, _) = Ledger::read(&path).unwrap();
        assert_eq!(ledger.held(2000).next().unwrap().1.giaddr, Some(GIADDR));
    }

    #[test]
    fn a_file_is_read_up_to_where_its_writer_was_killed_and_goes_on_from_there() {
        let (_folder, path) = place();
        let mut file = LedgerFile::append(&path).unwrap();
        file.write(&entry(1, 10, 1000)).unwrap();
        for torn in ["{", "{\"at\":3000,\"client\":\"02:56"] {
            file.file.write_all(torn.as_bytes()).unwrap();
            assert_eq!(held(&path).first(), Some(&address(10)));
            file = LedgerFile::append(&path).unwrap();
            file.write(&entry(2, 11, 1500)).unwrap();
            assert_eq!(held(&path), [address(10), address(11)]);
        }
    }

    #[test]
    fn what_is_no_ledger_is_not_cut() {
        let (_folder, path) = place();
        for text in ["a letter without an end".to_owned(), format!("{{\"at\":{}", "1".repeat(2000))]
        {
            std::fs::write(&path, &text).unwrap();
            let error = LedgerFile::append(&path).unwrap_err().to_string();
            assert!(error.contains("name another file"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn what_waits_is_written_with_the_next_flush_and_is_bounded() {
        let (_folder, path) = place();
        let mut file = LedgerFile::append(&path).unwrap();
        file.add(&entry(1, 10, 1000)).unwrap();
        assert!(held(&path).is_empty());
        file.flush().unwrap();
        assert_eq!(held(&path), [address(10)]);
        for _ in 0..1000 {
            file.add(&entry(1, 10, 1000)).unwrap();
            assert!(file.waiting.len() < WAITING_MAX);
        }
        assert!(path.metadata().unwrap().len() > WAITING_MAX as u64);
    }

    #[test]
    fn entries_of_the_first_version_are_read() {
        let (_folder, path) = place();
        let line = |client: u32, last: u8, released: &str| {
            format!(
                "{{\"at\":1000,\"client\":\"{}\",\"address\":\"{}\",\"server\":\"{SERVER}\",\
                 \"ends\":61000{released}}}\n",
                Hardware::of_client(client),
                address(last)
            )
        };
        let text = line(1, 10, "") + &line(2, 11, "") + &line(2, 11, ",\"released\":true");
        std::fs::write(&path, text).unwrap();
        assert_eq!(held(&path), [address(10)]);
    }

    #[test]
    fn a_broken_line_is_named_and_a_file_that_is_not_there_is_empty() {
        let (_folder, path) = place();
        assert_eq!(Ledger::open(&path).unwrap().0.held(0).count(), 0);
        let mut file = LedgerFile::append(&path).unwrap();
        file.write(&entry(1, 10, 1000)).unwrap();
        file.file.write_all(b"what is this?\n").unwrap();
        let error = Ledger::open(&path).unwrap_err().to_string();
        assert!(error.starts_with("line 2 is no entry"), "{error}");
    }
}
