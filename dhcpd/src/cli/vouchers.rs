//! `vestibule vouchers`: codes that let devices in, made for handing out, listed and taken back.
//!
//! The codes are printed by the command that makes them, and by no other: the server does not know them.

use super::client::{Client, path_with_query};
use super::commands::{not_understood, understood};
use super::show::{or_dash, percent_encoded, shown};
use super::{CreateVouchersArguments, Failure, VouchersCommand};
use crate::api::{
    NewVoucherView, PAGE_ENTRIES_MAX, VoucherRevokedView, VoucherView, VouchersMadeView,
    VouchersPage, json_text, parse_time, time_text,
};
use serde_json::{Map, Value};
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};
use vestibule_core::limits::{VOUCHERS_MAX, VOUCHERS_PER_COMMAND_MAX};
use vestibule_core::{Timestamp, VoucherId};

/// The columns of `--csv`.
const COLUMNS: [&str; 7] = ["code", "id", "role", "lifetime-seconds", "uses", "expires", "note"];

/// Over the columns of `vestibule vouchers list`.
const HEADINGS: [&str; 7] = ["ID", "USES", "OF", "EXPIRES", "LIFETIME", "ROLE", "NOTE"];

/// `vestibule vouchers`
pub(super) fn vouchers(
    client: &Client,
    wanted: &VouchersCommand,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match wanted {
        VouchersCommand::Create(wanted) => create(client, wanted, as_json, out),
        VouchersCommand::List => list(client, as_json, out),
        VouchersCommand::Show { id } => show(client, *id, as_json, out),
        VouchersCommand::Revoke { ids, end_registrations } => {
            revoke(client, ids, *end_registrations, as_json, out)
        }
    }
}

fn create(
    client: &Client,
    wanted: &CreateVouchersArguments,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if !(1..=VOUCHERS_MAX).contains(&wanted.count) {
        return Err(Failure::Usage(format!("--count is not between 1 and {VOUCHERS_MAX}")));
    }
    let expires = match (&wanted.expires, wanted.usable) {
        (Some(text), _) => Some(text.clone()),
        (None, Some(seconds)) => time_text(now().plus_seconds(seconds.into())),
        (None, None) => None,
    };
    if let Some(text) = expires.as_deref().filter(|text| parse_time(text).is_none()) {
        return Err(Failure::Usage(format!(
            "--expires {} is no time such as 2027-02-28T22:00:00Z",
            shown(text)
        )));
    }
    let mut left = wanted.count;
    while left > 0 {
        // Each call is whole by itself: what is printed is there, whatever becomes of the next.
        let count = left.min(VOUCHERS_PER_COMMAND_MAX);
        let mut body = Map::new();
        let mut insert = |field: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(field.to_owned(), value);
            }
        };
        insert("count", Some(count.into()));
        insert("role", wanted.role.clone().map(Value::from));
        insert("note", wanted.note.clone().map(Value::from));
        insert("lifetime-seconds", wanted.lifetime.map(Value::from));
        insert("uses", wanted.uses.map(Value::from));
        insert("expires", expires.clone().map(Value::from));
        let made: VouchersMadeView = understood(client.post("/v1/vouchers", &body.into())?)?;
        if made.vouchers.len() != count {
            return Err(not_understood("it made another number of vouchers than was asked for"));
        }
        let is_first = left == wanted.count;
        left -= count;
        print_new(&made.vouchers, wanted.csv, as_json, (is_first, left == 0), out)?;
        out.flush()?;
    }
    Ok(())
}

fn print_new(
    vouchers: &[NewVoucherView],
    as_csv: bool,
    as_json: bool,
    (is_first, is_last): (bool, bool),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if as_json {
        if is_first {
            write!(out, "{{\"vouchers\":[")?;
        }
        for (position, voucher) in vouchers.iter().enumerate() {
            let separator = if is_first && position == 0 { "" } else { "," };
            write!(out, "{separator}\n{}", json_text(voucher))?;
        }
        if is_last {
            writeln!(out, "\n]}}")?;
        }
        return Ok(());
    }
    if as_csv {
        let mut writer = csv::WriterBuilder::new().from_writer(out);
        let headings = if is_first { Some(COLUMNS.map(str::to_owned)) } else { None };
        let rows = vouchers.iter().map(|NewVoucherView { code, voucher }| {
            let text = |text: &Option<String>| text.as_deref().map(shown).unwrap_or_default();
            [
                shown(code),
                voucher.id.to_string(),
                text(&voucher.role),
                voucher.lifetime_seconds.map(|seconds| seconds.to_string()).unwrap_or_default(),
                voucher.uses_max.to_string(),
                text(&voucher.expires),
                text(&voucher.note),
            ]
        });
        for row in headings.into_iter().chain(rows) {
            writer.write_record(row).map_err(|error| Failure::Output(error.into()))?;
        }
        return Ok(writer.flush()?);
    }
    for NewVoucherView { code, .. } in vouchers {
        writeln!(out, "{}", shown(code))?;
    }
    if let Some(NewVoucherView { voucher, .. }) = vouchers.last().filter(|_| is_last) {
        writeln!(out, "{}", described(voucher))?;
        writeln!(
            out,
            "These codes are not shown again: the server keeps only what it knows them by."
        )?;
    }
    Ok(())
}

/// What a voucher does, in words.
fn described(voucher: &VoucherView) -> String {
    let devices = match voucher.uses_max {
        1 => "one device".to_owned(),
        count => format!("{count} devices"),
    };
    let role = voucher.role.as_deref().map(|role| format!(" as {}", shown(role)));
    let lifetime = voucher.lifetime_seconds.map(|seconds| {
        let words = vestibule_config::duration_in_words(seconds);
        format!(" for {words} from its first use")
    });
    format!(
        "Each lets {devices} in{}{}, and can be used until {}.",
        role.unwrap_or_default(),
        lifetime.unwrap_or_default(),
        or_dash(voucher.expires.as_deref())
    )
}

fn list(client: &Client, as_json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let limit = PAGE_ENTRIES_MAX.to_string();
    let mut after: Option<VoucherId> = None;
    let mut is_first = true;
    loop {
        let after_text = after.map(|id| id.to_string());
        let parameters = [("limit", Some(&*limit)), ("after", after_text.as_deref())];
        let answer = client.get(&path_with_query("/v1/vouchers", &parameters))?;
        let VouchersPage { vouchers, next } = understood(answer)?;
        if is_first && as_json {
            write!(out, "{{\"vouchers\":[")?;
        } else if is_first {
            row(out, HEADINGS.map(str::to_owned))?;
        }
        for (position, voucher) in vouchers.iter().enumerate() {
            if as_json {
                let separator = if is_first && position == 0 { "" } else { "," };
                write!(out, "{separator}\n{}", json_text(voucher))?;
            } else {
                row(out, columns(voucher))?;
            }
        }
        is_first = false;
        match next {
            // They ascend; a server that does not keep to it would be asked for ever.
            Some(next) if after.is_none_or(|after| next > after) => after = Some(next),
            Some(_) => return Err(not_understood("the pages of its answer do not come to an end")),
            None => break,
        }
    }
    if as_json {
        writeln!(out, "\n]}}")?;
    }
    Ok(())
}

fn show(client: &Client, id: VoucherId, as_json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let answer = client.get(&path(id))?;
    if as_json {
        return Ok(writeln!(out, "{}", json_text(&answer))?);
    }
    let voucher: VoucherView = understood(answer)?;
    row(out, HEADINGS.map(str::to_owned))?;
    row(out, columns(&voucher))?;
    for device in voucher.devices.unwrap_or_default() {
        let since = or_dash(device.since.as_deref());
        let ends = device
            .ends
            .as_deref()
            .map_or_else(|| "for ever".to_owned(), |ends| format!("until {}", shown(ends)));
        writeln!(out, "  {} since {since}, {ends}", device.mac)?;
    }
    Ok(())
}

fn revoke(
    client: &Client,
    ids: &[VoucherId],
    end_registrations: bool,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    for id in ids {
        let ends = end_registrations.then_some("true");
        let answer = client.delete(&path_with_query(&path(*id), &[("end-registrations", ends)]))?;
        if as_json {
            writeln!(out, "{}", json_text(&answer))?;
            continue;
        }
        let VoucherRevokedView { voucher, ended } = understood(answer)?;
        write!(
            out,
            "{id} lets nobody in any more; {} of {} used it",
            voucher.uses, voucher.uses_max
        )?;
        match (ended.len(), end_registrations) {
            (0, false) if voucher.uses > 0 => {
                writeln!(out, ", and stay registered until their end")?;
            }
            (0, _) => writeln!(out)?,
            (count, _) => writeln!(out, ", and {count} registrations ended with it")?,
        }
    }
    Ok(())
}

fn path(id: VoucherId) -> String {
    format!("/v1/vouchers/{}", percent_encoded(&id.to_string()))
}

fn columns(voucher: &VoucherView) -> [String; 7] {
    [
        voucher.id.to_string(),
        voucher.uses.to_string(),
        voucher.uses_max.to_string(),
        or_dash(voucher.expires.as_deref()),
        voucher
            .lifetime_seconds
            .map_or_else(|| "-".to_owned(), vestibule_config::duration_in_words),
        or_dash(voucher.role.as_deref()),
        or_dash(voucher.note.as_deref()),
    ]
}

fn row(out: &mut dyn Write, columns: [String; 7]) -> io::Result<()> {
    let [id, uses, of, expires, lifetime, role, note] = columns;
    let row = format!("{id:16} {uses:>4} {of:>4} {expires:24} {lifetime:10} {role:12} {note}");
    writeln!(out, "{}", row.trim_end())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_milliseconds(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
