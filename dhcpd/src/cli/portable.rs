//! Registrations in files: CSV (RFC 4180) with a line of headings, or one JSON object a line.
//!
//! Both are read and written entry by entry, so that memory does not grow with the file. A reader never
//! stops at a bad entry: it says what is wrong with it and goes on with the next.

use super::Failure;
use super::show::shown;
use crate::api::{PortableRegistration, json_text};
use clap::ValueEnum;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::path::Path;

/// Bytes of a file at most: ten times what two million registrations usually take.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Bytes of one entry at most; all its fields at their longest are below.
const ENTRY_BYTES_MAX: u64 = 64 * 1024;

/// The columns of a CSV file, in the order in which they are written.
pub(super) const COLUMNS: [&str; 9] = [
    "mac",
    "owner",
    "role",
    "sponsor",
    "note",
    "registered",
    "expires",
    "suspended-since",
    "suspended-reason",
];

/// How registrations stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Comma-separated values, with a line of headings
    Csv,
    /// One JSON object a line
    Json,
}

impl Format {
    /// The one that is named, else the one that the file's name ends in.
    pub(super) fn of(named: Option<Self>, file: &Path) -> Result<Self, Failure> {
        let ending = file.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase);
        match (named, ending.as_deref()) {
            (Some(format), _) => Ok(format),
            (None, Some("csv")) => Ok(Self::Csv),
            (None, Some("json" | "jsonl" | "ndjson")) => Ok(Self::Json),
            (None, _) => Err(Failure::Usage(format!(
                "{} ends in neither .csv nor .json: say --format csv or --format json",
                file.display()
            ))),
        }
    }
}

/// One entry of a file: the line on which it begins, and what stands there or what is wrong with it.
pub(super) struct Entry {
    pub(super) line: u64,
    pub(super) registration: Result<PortableRegistration, String>,
}

/// The entries of a file, from its beginning.
pub(super) fn entries(
    file: &Path,
    format: Format,
) -> Result<Box<dyn Iterator<Item = Result<Entry, Failure>>>, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::Usage(format!("{} cannot be read: {error}", file.display()))
    };
    let opened = File::open(file).map_err(cannot)?;
    let metadata = opened.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Failure::Usage(format!(
            "{} is no regular file, and it is read more than once: save what it gives to a file first",
            file.display()
        )));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "{} has more than {FILE_BYTES_MAX} bytes: split it",
            file.display()
        )));
    }
    match format {
        Format::Csv => Ok(Box::new(csv_entries(opened)?)),
        Format::Json => Ok(Box::new(JsonEntries { lines: BufReader::new(opened), line: 0 })),
    }
}

fn csv_entries(file: File) -> Result<impl Iterator<Item = Result<Entry, Failure>>, Failure> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let headings = reader.byte_headers().map_err(|error| unreadable(&error))?.clone();
    let mut columns = Vec::new();
    for heading in &headings {
        // What spreadsheets write before the first one: a byte order mark.
        let heading = heading.strip_prefix(b"\xef\xbb\xbf").unwrap_or(heading);
        let text = String::from_utf8_lossy(heading).to_lowercase();
        let known = COLUMNS.iter().position(|column| **column == *text);
        let Some(known) = known.filter(|known| !columns.contains(known)) else {
            return Err(Failure::Usage(format!(
                "line 1: {:?} is no column, or stands twice; the columns are {}",
                shown(&text),
                COLUMNS.join(", ")
            )));
        };
        columns.push(known);
    }
    if !columns.contains(&0) {
        return Err(Failure::Usage("line 1: there is no column mac".to_owned()));
    }
    let mut record = csv::ByteRecord::new();
    Ok(std::iter::from_fn(move || match reader.read_byte_record(&mut record) {
        Ok(false) => None,
        Ok(true) => {
            let line = record.position().map_or(0, csv::Position::line);
            Some(Ok(Entry { line, registration: registration_of(&record, &columns) }))
        }
        Err(error) => match error.kind() {
            csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
                let line = pos.as_ref().map_or(0, csv::Position::line);
                let wrong = format!("it has {len} fields, and line 1 has {expected_len}");
                Some(Ok(Entry { line, registration: Err(wrong) }))
            }
            _ => Some(Err(unreadable(&error))),
        },
    }))
}

fn registration_of(
    record: &csv::ByteRecord,
    columns: &[usize],
) -> Result<PortableRegistration, String> {
    let mut registration = PortableRegistration::default();
    for (field, column) in record.iter().zip(columns) {
        if field.len() as u64 > ENTRY_BYTES_MAX {
            return Err("a field is too long; is a quotation mark missing?".to_owned());
        }
        let text = std::str::from_utf8(field).map_err(|_| "it is not UTF-8".to_owned())?;
        let value = (!text.is_empty()).then(|| text.to_owned());
        match column {
            0 => registration.mac = value.unwrap_or_default(),
            1 => registration.owner = value,
            2 => registration.role = value,
            3 => registration.sponsor = value,
            4 => registration.note = value,
            5 => registration.registered = value,
            6 => registration.expires = value,
            7 => registration.suspended_since = value,
            _ => registration.suspended_reason = value,
        }
    }
    Ok(registration)
}

fn unreadable(error: &csv::Error) -> Failure {
    Failure::Usage(format!("the file cannot be read: {error}"))
}

/// See [`entries`].
struct JsonEntries {
    lines: BufReader<File>,
    line: u64,
}

impl Iterator for JsonEntries {
    type Item = Result<Entry, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut bytes = Vec::new();
            let read = self.lines.by_ref().take(ENTRY_BYTES_MAX).read_until(b'\n', &mut bytes);
            match read {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    return Some(Err(Failure::Usage(format!("the file cannot be read: {error}"))));
                }
            }
            self.line += 1;
            let line = self.line;
            if bytes.len() as u64 == ENTRY_BYTES_MAX && !bytes.ends_with(b"\n") {
                let wrong = "it is too long".to_owned();
                let skipped = self.lines.skip_until(b'\n');
                return Some(match skipped {
                    Ok(_) => Ok(Entry { line, registration: Err(wrong) }),
                    Err(error) => Err(Failure::Usage(format!("the file cannot be read: {error}"))),
                });
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let registration = serde_json::from_slice(&bytes).map_err(|error| error.to_string());
            return Some(Ok(Entry { line, registration }));
        }
    }
}

/// Writes the line of headings, if the format has one.
pub(super) fn write_headings(out: &mut dyn Write, format: Format) -> Result<(), Failure> {
    match format {
        Format::Csv => Ok(writeln!(out, "{}", COLUMNS.join(","))?),
        Format::Json => Ok(()),
    }
}

/// Writes one entry.
pub(super) fn write_entry(
    out: &mut dyn Write,
    format: Format,
    entry: &PortableRegistration,
) -> Result<(), Failure> {
    if format == Format::Json {
        return Ok(writeln!(out, "{}", json_text(entry))?);
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut writer = csv::WriterBuilder::new().from_writer(out);
    let fields = [
        entry.mac.clone(),
        text(&entry.owner),
        text(&entry.role),
        text(&entry.sponsor),
        text(&entry.note),
        text(&entry.registered),
        text(&entry.expires),
        text(&entry.suspended_since),
        text(&entry.suspended_reason),
    ];
    let written = writer.write_record(fields).and_then(|()| Ok(writer.flush()?));
    written.map_err(|error| Failure::Output(error.into()))
}
