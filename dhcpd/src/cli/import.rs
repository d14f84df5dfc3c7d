//! `vestibule registrations import`: a file into a running server, all of it or nothing.
//!
//! It promises that no line is imported before all of them were read here and looked at by the server,
//! that every bad line is named with its number, and that the same file may be imported again: what is
//! there already is not written twice. Only what changes at the server between the look and the import can
//! end it in the middle; then it says so, and importing again goes on.

use super::client::{Asked, Client};
use super::commands::understood;
use super::portable::{self, Format};
use super::registrations::PROGRESS_EVERY;
use super::show::shown;
use super::{Failure, ImportArguments};
use crate::api::{BODY_BYTES_MAX, ImportView, PortableRegistration, imported, json_text};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write;
use vestibule_core::HardwareAddress;
use vestibule_core::limits::IMPORT_ENTRIES_MAX;

/// Bad lines that are named; the rest is counted.
const BAD_LINES_NAMED_MAX: usize = 1000;

/// Bytes of the entries that are sent at once; the rest of a body is for what stands around them.
const BATCH_BYTES_MAX: usize = BODY_BYTES_MAX - 1024;

/// What is sent at once, each with its line.
#[derive(Default)]
struct Batch {
    lines: Vec<u64>,
    entries: Vec<Value>,
    bytes: usize,
}

/// One pass through the file.
struct Pass<'a> {
    client: &'a Client,
    complaints: &'a mut dyn Write,
    dry_run: bool,
    sum: ImportView,
    bad: usize,
    sent: usize,
}

/// `vestibule registrations import`
pub(super) fn import(
    client: &Client,
    wanted: &ImportArguments,
    as_json: bool,
    out: &mut dyn Write,
    complaints: &mut dyn Write,
) -> Result<(), Failure> {
    let format = Format::of(wanted.format, &wanted.file)?;
    let mut look = Pass::new(client, complaints, true);
    look.through(wanted, format)?;
    let (sum, bad) = (look.sum, look.bad);
    if bad > 0 && !wanted.keep_going {
        return Err(Failure::Refused(format!(
            "{bad} bad lines in {}; nothing was imported (--keep-going imports the rest)",
            wanted.file.display()
        )));
    }
    let sum = if wanted.dry_run {
        sum
    } else {
        let mut quiet = std::io::sink();
        // The bad lines were named by the look; what is bad only now is told.
        let complaints: &mut dyn Write = if bad > 0 { &mut quiet } else { complaints };
        let mut pass = Pass::new(client, complaints, false);
        pass.through(wanted, format)?;
        if pass.bad > bad {
            return Err(Failure::Refused(format!(
                "the server changed while {} was imported: {} entries are in, and some are not; import it again",
                wanted.file.display(),
                pass.sum.created + pass.sum.changed
            )));
        }
        pass.sum
    };
    if as_json {
        let mut answer = serde_json::to_value(sum).unwrap_or_default();
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("bad".to_owned(), bad.into());
            answer.insert("dry-run".to_owned(), wanted.dry_run.into());
        }
        writeln!(out, "{}", json_text(&answer))?;
    } else {
        let done = if wanted.dry_run { "would be imported" } else { "imported" };
        writeln!(
            out,
            "{done}: {} new, {} changed, {} as they were, {} ended already",
            sum.created, sum.changed, sum.unchanged, sum.ended
        )?;
    }
    if bad > 0 {
        return Err(Failure::Refused(format!("{bad} bad lines were left out")));
    }
    Ok(())
}

impl<'a> Pass<'a> {
    fn new(client: &'a Client, complaints: &'a mut dyn Write, dry_run: bool) -> Self {
        Self { client, complaints, dry_run, sum: ImportView::default(), bad: 0, sent: 0 }
    }

    fn through(&mut self, wanted: &ImportArguments, format: Format) -> Result<(), Failure> {
        let mut lines_of: HashMap<HardwareAddress, u64> = HashMap::new();
        let mut batch = Batch::default();
        for entry in portable::entries(&wanted.file, format)? {
            let entry = entry?;
            let read = entry.registration.and_then(|registration| {
                let mac =
                    imported(registration.clone()).map_err(|problem| problem.detail)?.hardware;
                match lines_of.insert(mac, entry.line) {
                    Some(first) => Err(format!("{mac} stands on line {first} too")),
                    None => Ok(registration),
                }
            });
            match read {
                Ok(registration) => self.add(&mut batch, entry.line, &registration)?,
                Err(wrong) => self.bad_line(entry.line, &wrong)?,
            }
        }
        self.send(&mut batch)
    }

    fn add(
        &mut self,
        batch: &mut Batch,
        line: u64,
        registration: &PortableRegistration,
    ) -> Result<(), Failure> {
        let value = serde_json::to_value(registration)
            .map_err(|error| Failure::Usage(format!("line {line}: {error}")))?;
        let bytes = value.to_string().len() + 1;
        if batch.bytes + bytes > BATCH_BYTES_MAX || batch.entries.len() >= IMPORT_ENTRIES_MAX {
            self.send(batch)?;
        }
        batch.lines.push(line);
        batch.entries.push(value);
        batch.bytes += bytes;
        Ok(())
    }

    /// Sends a batch, without the entries that the server does not take.
    fn send(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        let Batch { mut lines, mut entries, .. } = std::mem::take(batch);
        while !entries.is_empty() {
            let body = json!({ "dry-run": self.dry_run, "registrations": entries });
            match self.client.post_or_problem("/v1/registrations/import", &body)? {
                Asked::Answered(answer) => {
                    let view: ImportView = understood(answer)?;
                    self.sum.created += view.created;
                    self.sum.changed += view.changed;
                    self.sum.unchanged += view.unchanged;
                    self.sum.ended += view.ended;
                    self.tell(entries.len())?;
                    break;
                }
                Asked::Problem { text, position: Some(position) } if position < entries.len() => {
                    let line = lines.remove(position);
                    entries.remove(position);
                    self.bad_line(line, &text)?;
                }
                Asked::Problem { text, .. } => return Err(Failure::Refused(text)),
            }
        }
        Ok(())
    }

    fn tell(&mut self, count: usize) -> Result<(), Failure> {
        let before = self.sent;
        self.sent += count;
        if before / PROGRESS_EVERY != self.sent / PROGRESS_EVERY {
            let done = if self.dry_run { "checked" } else { "imported" };
            writeln!(self.complaints, "{} registrations {done}", self.sent)?;
        }
        Ok(())
    }

    fn bad_line(&mut self, line: u64, wrong: &str) -> Result<(), Failure> {
        self.bad += 1;
        match self.bad {
            ..=BAD_LINES_NAMED_MAX => writeln!(self.complaints, "line {line}: {}", shown(wrong))?,
            bad if bad == BAD_LINES_NAMED_MAX + 1 => {
                writeln!(self.complaints, "more bad lines are only counted")?;
            }
            _ => {}
        }
        Ok(())
    }
}
