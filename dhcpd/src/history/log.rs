//! The log: what has come since the last archive was written, and the table of what is open.
//!
//! A log begins with the table and goes on with changes. Each frame of it is whole or not there, and says
//! how far in the journal it has come, so after a power cut the history goes on from the last frame that
//! can be read and reads the rest from the journal again.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::archive::temporary;
use super::encoding;
use super::interval::Interval;
use super::table::{DigestKey, ENTRY_BYTES, Open, Table};
use crate::store::bytes::Reader;
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"VSTBHLOG";
const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 80;

/// From how many bytes on a frame of the table is full.
const FRAME_BYTES: usize = 64 * 1024;

/// Bytes of one frame at most, as far as a reader believes.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

const PUT: u8 = 1;
const ENTRY: u8 = 2;
const NO_ENTRY: u8 = 3;
const POSITION: u8 = 4;

/// What the history is tied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The store whose history it is.
    pub(super) store: [u8; 16],
    pub(super) key: DigestKey,
}

/// Changes, as one frame.
#[derive(Debug, Default)]
pub(super) struct Changes {
    bytes: Vec<u8>,
}

impl Changes {
    pub(super) fn put(&mut self, interval: &Interval) {
        let bytes = encoding::encode(interval);
        let Ok(length) = u16::try_from(bytes.len()) else { return };
        self.bytes.push(PUT);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&bytes);
    }

    pub(super) fn entry(&mut self, address: Ipv4Addr, open: Option<Open>) {
        self.bytes.push(if open.is_some() { ENTRY } else { NO_ENTRY });
        self.bytes.extend_from_slice(&address.octets());
        if let Some(open) = open {
            self.bytes.extend_from_slice(&open.pack());
        }
    }

    pub(super) fn position(&mut self, frame_number: u64) {
        self.bytes.push(POSITION);
        self.bytes.extend_from_slice(&frame_number.to_le_bytes());
    }
}

/// What a log says.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) number: u64,
    pub(super) identity: Option<Identity>,
    pub(super) table: Table,
    pub(super) intervals: Vec<Interval>,
    /// The journal's frame up to which it has come.
    pub(super) position: u64,
    /// Bytes that can be read.
    pub(super) bytes: u64,
}

/// A log that is written to.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) number: u64,
    path: PathBuf,
    file: File,
    pub(super) bytes: u64,
    /// Whether something has been written since the last sync.
    is_dirty: bool,
}

impl Log {
    /// The numbers of the logs in a directory, ascending.
    pub(super) fn list(directory: &Path) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix("log-"));
            let digits = digits.filter(|digits| digits.len() == 12);
            numbers.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
        directory.join(format!("log-{number:012}"))
    }

    /// Reads a log as far as it can be read; `None` if not even its header can be.
    pub(super) fn read(directory: &Path, number: u64) -> io::Result<Option<Contents>> {
        let mut file =
            BufReader::with_capacity(256 * 1024, File::open(Self::path(directory, number))?);
        let mut header = Vec::new();
        (&mut file).take(HEADER_BYTES as u64).read_to_end(&mut header)?;
        let Some(identity) = decode_header(&header, number) else { return Ok(None) };
        let mut contents = Contents {
            number,
            identity: Some(identity),
            bytes: HEADER_BYTES as u64,
            ..Contents::default()
        };
        loop {
            let mut head = Vec::new();
            (&mut file).take(8).read_to_end(&mut head)?;
            let mut rest = Reader::new(&head);
            let (Some(length), Some(expected)) = (rest.u32(), rest.u32()) else { break };
            if length as usize > FRAME_BYTES_MAX {
                break;
            }
            let mut payload = Vec::new();
            (&mut file).take(length.into()).read_to_end(&mut payload)?;
            if payload.len() != length as usize || checksum(number, &payload) != expected {
                break;
            }
            apply(&payload, &mut contents);
            contents.bytes += 8 + u64::from(length);
        }
        Ok(Some(contents))
    }

    /// Goes on with a log that was read.
    pub(super) fn go_on(directory: &Path, contents: &Contents) -> io::Result<Self> {
        let path = Self::path(directory, contents.number);
        let file = File::options().append(true).open(&path)?;
        // What could not be read must not stand before what is written now.
        file.set_len(contents.bytes)?;
        file.sync_all()?;
        Ok(Self { number: contents.number, path, file, bytes: contents.bytes, is_dirty: false })
    }

    /// Begins a log with a table and what is in no archive; when this returns, it is durable.
    pub(super) fn begin<'a>(
        directory: &Path,
        number: u64,
        identity: &Identity,
        table: &Table,
        intervals: impl Iterator<Item = &'a Interval>,
        position: u64,
    ) -> io::Result<Self> {
        let path = Self::path(directory, number);
        let mut file = File::create(temporary(&path))?;
        file.write_all(&encode_header(identity, number))?;
        let mut log =
            Self { number, path: path.clone(), file, bytes: HEADER_BYTES as u64, is_dirty: true };
        let mut changes = Changes::default();
        for (address, open) in table.iter_from(0) {
            changes.entry(address, Some(open));
            if changes.bytes.len() >= FRAME_BYTES {
                log.append(&mut changes)?;
            }
        }
        for interval in intervals {
            changes.put(interval);
            if changes.bytes.len() >= FRAME_BYTES {
                log.append(&mut changes)?;
            }
        }
        changes.position(position);
        log.append(&mut changes)?;
        log.file.sync_all()?;
        fs::rename(temporary(&path), &path)?;
        File::open(directory)?.sync_all()?;
        log.file = File::options().append(true).open(&path)?;
        log.is_dirty = false;
        Ok(log)
    }

    /// Writes one frame, and empties the changes. It is durable with the next [`Log::sync`].
    pub(super) fn append(&mut self, changes: &mut Changes) -> io::Result<()> {
        let length = u32::try_from(changes.bytes.len()).unwrap_or(u32::MAX);
        let mut frame = length.to_le_bytes().to_vec();
        frame.extend_from_slice(&checksum(self.number, &changes.bytes).to_le_bytes());
        frame.append(&mut changes.bytes);
        self.file.write_all(&frame)?;
        self.bytes += frame.len() as u64;
        self.is_dirty = true;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.is_dirty {
            self.file.sync_data()?;
            self.is_dirty = false;
        }
        Ok(())
    }

    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(self.path)
    }
}

fn checksum(number: u64, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), payload)
}

fn apply(payload: &[u8], contents: &mut Contents) {
    let mut rest = Reader::new(payload);
    while let Some(what) = rest.u8() {
        match what {
            PUT => {
                let Some(bytes) = rest.counted() else { return };
                contents.intervals.extend(encoding::decode(bytes));
            }
            ENTRY => {
                let (Some(address), Some(packed)) = (rest.address(), rest.array::<ENTRY_BYTES>())
                else {
                    return;
                };
                contents.table.set(address, Open::unpack(&packed));
            }
            NO_ENTRY => {
                let Some(address) = rest.address() else { return };
                contents.table.set(address, None);
            }
            POSITION => {
                let Some(position) = rest.u64() else { return };
                contents.position = position;
            }
            _ => return,
        }
    }
}

fn encode_header(identity: &Identity, number: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&identity.store);
    bytes.extend_from_slice(&identity.key);
    bytes.resize(HEADER_BYTES - 4, 0);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode_header(bytes: &[u8], number: u64) -> Option<Identity> {
    let (checked, checksum) = bytes.split_at_checked(HEADER_BYTES - 4)?;
    let mut rest = Reader::new(checked);
    let is_ours = rest.array()? == MAGIC && crc32c::crc32c(checked).to_le_bytes() == *checksum;
    let (_version, reader_min) = (rest.u32()?, rest.u32()?);
    if !is_ours || reader_min > FORMAT_VERSION || rest.u64()? != number {
        return None;
    }
    Some(Identity { store: rest.array()?, key: rest.array()? })
}
