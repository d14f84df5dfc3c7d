//! `vestibule registrations`, `suspend` and `resume`: who is registered, who is held back, and all of it
//! out of and into files.

use super::client::{Client, path_with_query};
use super::commands::{list, not_understood, understood};
use super::portable::{Format, write_entry, write_headings};
use super::show::{or_dash, percent_encoded, shown};
use super::{ExportArguments, Failure};
use crate::api::{PAGE_ENTRIES_MAX, RegistrationView, RegistrationWithAddresses, json_text};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use vestibule_core::{HardwareAddress, RegistrationState};

/// Registrations between two lines that tell how far a long work has come.
pub(super) const PROGRESS_EVERY: usize = 10_000;

/// Over the columns of `vestibule registrations list`.
const HEADINGS: [&str; 7] = ["MAC", "RANDOM", "STATE", "EXPIRES", "ROLE", "OWNER", "NOTE"];

/// `vestibule registrations list`
pub(super) fn show(
    client: &Client,
    owner: Option<&str>,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut is_first = true;
    pages(client, owner, &mut |entries| {
        if is_first && as_json {
            write!(out, "{{\"registrations\":[")?;
        } else if is_first {
            row(out, HEADINGS.map(str::to_owned))?;
        }
        for (position, entry) in entries.into_iter().enumerate() {
            if as_json {
                let separator = if is_first && position == 0 { "" } else { "," };
                write!(out, "{separator}\n{}", json_text(&entry))?;
            } else {
                row(out, columns(&understood(entry)?))?;
            }
        }
        is_first = false;
        Ok(())
    })?;
    if as_json {
        writeln!(out, "\n]}}")?;
    }
    Ok(())
}

/// `vestibule registrations export`
pub(super) fn export(
    client: &Client,
    wanted: &ExportArguments,
    out: &mut dyn Write,
    complaints: &mut dyn Write,
) -> Result<(), Failure> {
    let Some(file) = wanted.file.as_deref() else {
        if wanted.format == Some(Format::Csv) {
            return Err(Failure::Usage(
                "CSV goes into a FILE: what strangers chose would stand on the terminal as it is"
                    .to_owned(),
            ));
        }
        return export_to(client, Format::Json, out, complaints).map(|_| ());
    };
    let format = Format::of(wanted.format, file)?;
    // Beside it until it is whole: who finds the file finds all of it.
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let cannot = |error: io::Error| {
        Failure::Usage(format!("{} cannot be written: {error}", partial.display()))
    };
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(partial);
    let mut writer = BufWriter::new(opened.map_err(cannot)?);
    let count = export_to(client, format, &mut writer, complaints)?;
    writer.flush()?;
    writer.get_ref().sync_all()?;
    std::fs::rename(partial, file).map_err(cannot)?;
    Ok(writeln!(out, "{count} registrations are in {}", file.display())?)
}

fn export_to(
    client: &Client,
    format: Format,
    out: &mut dyn Write,
    complaints: &mut dyn Write,
) -> Result<usize, Failure> {
    let mut count = 0;
    pages(client, None, &mut |entries| {
        if count == 0 {
            write_headings(out, format)?;
        }
        for entry in entries {
            let view: RegistrationView = understood(entry)?;
            write_entry(out, format, &view.portable())?;
            count += 1;
            if count % PROGRESS_EVERY == 0 {
                writeln!(complaints, "{count} registrations exported")?;
            }
        }
        Ok(())
    })?;
    Ok(count)
}

/// Every registration, page after page.
fn pages(
    client: &Client,
    owner: Option<&str>,
    each: &mut dyn FnMut(Vec<Value>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let limit = PAGE_ENTRIES_MAX.to_string();
    let mut after: Option<HardwareAddress> = None;
    loop {
        let after_text = after.map(|mac| mac.to_string());
        let parameters =
            [("limit", Some(&*limit)), ("after", after_text.as_deref()), ("owner", owner)];
        let mut page = client.get(&path_with_query("/v1/registrations", &parameters))?;
        let next: Option<HardwareAddress> =
            understood(page.get_mut("next").map(Value::take).unwrap_or_default())?;
        each(understood(page.get_mut("registrations").map(Value::take).unwrap_or_default())?)?;
        match next {
            // They ascend; a server that does not keep to it would be asked for ever.
            Some(next) if after.is_none_or(|after| next > after) => after = Some(next),
            Some(_) => return Err(not_understood("the pages of its answer do not come to an end")),
            None => return Ok(()),
        }
    }
}

/// `vestibule suspend`
pub(super) fn suspend(
    client: &Client,
    mac: HardwareAddress,
    reason: Option<&str>,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    let answer = client.post(&path(mac, "suspend"), &body)?;
    changed(answer, as_json, out)
}

/// `vestibule resume`
pub(super) fn resume(
    client: &Client,
    mac: HardwareAddress,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    changed(client.post(&path(mac, "resume"), &json!({}))?, as_json, out)
}

fn path(mac: HardwareAddress, what: &str) -> String {
    format!("/v1/registrations/{}/{what}", percent_encoded(&mac.to_string()))
}

/// What `register`, `suspend` and `resume` say.
pub(super) fn changed(answer: Value, as_json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if as_json {
        return Ok(writeln!(out, "{}", json_text(&answer))?);
    }
    let RegistrationWithAddresses { registration, addresses, replaced } = understood(answer)?;
    let RegistrationView { mac, owner, role, expires, state, randomised, .. } = &registration;
    write!(out, "{mac} is registered")?;
    if let Some(owner) = owner {
        write!(out, " for {}", shown(owner))?;
    }
    if let Some(role) = role {
        write!(out, " as {}", shown(role))?;
    }
    if let Some(expires) = expires {
        write!(out, " until {}", shown(expires))?;
    }
    match state {
        Some(RegistrationState::Active) | None => {}
        Some(RegistrationState::Suspended) => {
            write!(out, ", and suspended")?;
            if let Some(since) = &registration.suspended_since {
                write!(out, " since {}", shown(since))?;
            }
            if let Some(reason) = &registration.suspended_reason {
                write!(out, ": {}", shown(reason))?;
            }
        }
        Some(RegistrationState::Quarantined) => write!(out, ", and in a quarantine")?,
    }
    let gate = if *state == Some(RegistrationState::Active) { "open" } else { "closed" };
    match addresses.as_slice() {
        [] => writeln!(out, "; it holds no address in a gated network now")?,
        addresses => writeln!(out, "; the gate is {gate} for {}", list(addresses))?,
    }
    if *randomised {
        writeln!(out, "its address is a randomised one, which the device may change")?;
    }
    if let Some(replaced) = replaced {
        writeln!(out, "{replaced} is not registered any more: this device takes its place")?;
    }
    Ok(())
}

fn columns(registration: &RegistrationView) -> [String; 7] {
    let state = match registration.state {
        Some(RegistrationState::Active) => "active",
        Some(RegistrationState::Suspended) => "suspended",
        Some(RegistrationState::Quarantined) => "quarantined",
        None => "-",
    };
    [
        registration.mac.to_string(),
        if registration.randomised { "yes" } else { "no" }.to_owned(),
        state.to_owned(),
        registration.expires.as_deref().map_or_else(|| "never".to_owned(), shown),
        or_dash(registration.role.as_deref()),
        or_dash(registration.owner.as_deref()),
        or_dash(registration.note.as_deref()),
    ]
}

fn row(out: &mut dyn Write, columns: [String; 7]) -> io::Result<()> {
    let [mac, random, state, expires, role, owner, note] = columns;
    let row = format!("{mac:17} {random:6} {state:11} {expires:24} {role:12} {owner:24} {note}");
    writeln!(out, "{}", row.trim_end())
}
