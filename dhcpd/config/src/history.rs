//! `[history]`: who held which address, for how long that is kept, and what of it.

use crate::checked::{History, HistoryField};
use crate::grammar;
use crate::limits::{
    HISTORY_BYTES_DEFAULT, HISTORY_BYTES_MAX, HISTORY_BYTES_MIN, HISTORY_DAYS_DEFAULT,
    HISTORY_DAYS_MAX,
};
use crate::mistake::{Complaint, quoted};
use crate::reader::{Reader, Table};
use crate::sections::unique_by;
use crate::value;

/// Reads `[history]`; everything in it has a default.
pub(crate) fn history(reader: &mut Reader<'_>, file: &Table<'_>) -> History {
    let mut history = History {
        keep_days: HISTORY_DAYS_DEFAULT,
        owner_keep_days: HISTORY_DAYS_DEFAULT,
        drop: Vec::new(),
        max_bytes: HISTORY_BYTES_DEFAULT,
    };
    let Some(table) = reader.table_at(file, "history", &grammar::HISTORY) else { return history };
    if let Some(days) = reader.number(&table, "keep-days", 0, HISTORY_DAYS_MAX) {
        history.keep_days = days;
    }
    history.owner_keep_days = history.keep_days;
    if let Some(days) = reader.number(&table, "owner-keep-days", 0, HISTORY_DAYS_MAX) {
        if days > history.keep_days {
            let at = table.place_of("owner-keep-days");
            let message =
                format!("{} is more than {}", quoted("owner-keep-days"), quoted("keep-days"));
            let remedy = "owners are shown with who held an address, so they cannot outlive that";
            reader.complain_about(&table, "owner-keep-days", at, Complaint::new(message, remedy));
        } else {
            history.owner_keep_days = days;
        }
    }
    let fields = reader.parsed_list(&table, "drop", HistoryField::ALL.len(), field);
    let fields = fields.unwrap_or_default();
    history.drop = unique_by(reader, &table, "drop", fields, |field| field.name().to_owned());
    let size = reader.parsed(&table, "max-size", |text| {
        let bytes = value::size(text)?;
        if !(HISTORY_BYTES_MIN..=HISTORY_BYTES_MAX).contains(&bytes) {
            let min = value::size_in_words(HISTORY_BYTES_MIN);
            let max = value::size_in_words(HISTORY_BYTES_MAX);
            let message = format!("{} is not between {min} and {max}", quoted(text));
            return Err(Complaint::plain(message));
        }
        Ok(bytes)
    });
    if let Some(bytes) = size {
        history.max_bytes = bytes.value;
    }
    history
}

fn field(text: &str) -> Result<HistoryField, Complaint> {
    HistoryField::ALL.into_iter().find(|field| field.name() == text).ok_or_else(|| {
        let message = format!("{} is no field that can be dropped", quoted(text));
        let names = HistoryField::ALL.map(HistoryField::name).join(", ");
        Complaint::new(message, format!("known are {names}"))
    })
}
