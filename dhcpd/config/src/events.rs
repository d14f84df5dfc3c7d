//! `[events]` and `[[webhook]]`: what is told to others, how long it is kept, and to whom it is brought.
//!
//! It promises that every webhook has a name of its own (it is part of a file's name), a URL that can be
//! asked, and kinds of events that exist. It reads no secret:
//! [`Webhook::read_secret`](crate::Webhook::read_secret) does.

use crate::checked::{Events, Webhook};
use crate::grammar;
use crate::limits::{
    CA_FILE_DEFAULT, EVENT_RETENTION_BYTES_DEFAULT, EVENT_RETENTION_BYTES_MAX,
    EVENT_RETENTION_BYTES_MIN, EXPIRING_AHEAD_SECONDS_DEFAULT, EXPIRING_AHEAD_SECONDS_MIN,
    POOL_LOW_PERCENT_DEFAULT, POOL_LOW_PERCENT_MAX, WEBHOOK_TIMEOUT_SECONDS_DEFAULT,
    WEBHOOK_TIMEOUT_SECONDS_MAX, WEBHOOK_TIMEOUT_SECONDS_MIN, WEBHOOKS_MAX,
};
use crate::mistake::{Complaint, quoted};
use crate::reader::{Reader, Table};
use crate::sections::{absolute_path, unique_by};
use crate::value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use vestibule_core::EventKind;
use vestibule_core::limits::LIFETIME_SECONDS_MAX;

/// Reads `[events]`; everything in it has a default.
pub(crate) fn events(reader: &mut Reader<'_>, file: &Table<'_>) -> Events {
    let mut events = Events {
        retention_bytes: EVENT_RETENTION_BYTES_DEFAULT,
        expiring_ahead_seconds: EXPIRING_AHEAD_SECONDS_DEFAULT,
        pool_low_percent: POOL_LOW_PERCENT_DEFAULT,
    };
    let Some(table) = reader.table_at(file, "events", &grammar::EVENTS) else { return events };
    let retention = reader.parsed(&table, "retention", |text| {
        let bytes = value::size(text)?;
        if !(EVENT_RETENTION_BYTES_MIN..=EVENT_RETENTION_BYTES_MAX).contains(&bytes) {
            let min = value::size_in_words(EVENT_RETENTION_BYTES_MIN);
            let max = value::size_in_words(EVENT_RETENTION_BYTES_MAX);
            let message = format!("{} is not between {min} and {max}", quoted(text));
            return Err(Complaint::plain(message));
        }
        Ok(bytes)
    });
    if let Some(bytes) = retention {
        events.retention_bytes = bytes.value;
    }
    let ahead = reader.parsed(&table, "expiring-ahead", |text| {
        value::duration_within(text, EXPIRING_AHEAD_SECONDS_MIN, LIFETIME_SECONDS_MAX)
    });
    if let Some(seconds) = ahead {
        events.expiring_ahead_seconds = seconds.value;
    }
    let low =
        reader.parsed(&table, "pool-low", |text| value::percent_within(text, POOL_LOW_PERCENT_MAX));
    if let Some(percent) = low {
        events.pool_low_percent = percent.value;
    }
    events
}

/// Reads every `[[webhook]]`.
pub(crate) fn webhooks(reader: &mut Reader<'_>, file: &Table<'_>) -> Vec<Webhook> {
    let tables = reader.tables(file, "webhook", &grammar::WEBHOOK);
    if tables.len() > WEBHOOKS_MAX {
        let message = format!("{} webhooks; the limit is {WEBHOOKS_MAX}", tables.len());
        let at = file.place_of("webhook");
        reader.complain_about(file, "webhook", at, Complaint::plain(message));
        return Vec::new();
    }
    let mut names: BTreeMap<Box<str>, usize> = BTreeMap::new();
    let mut webhooks = Vec::new();
    for table in tables {
        let name = reader.parsed(&table, "name", value::name);
        let url = reader.parsed(&table, "url", |text| {
            value::url(text)?;
            if text.contains('#') {
                let message = format!("{} has a fragment, which no server is sent", quoted(text));
                return Err(Complaint::new(message, "leave out `#` and what follows"));
            }
            Ok(Box::<str>::from(text))
        });
        let secret_file = reader.parsed(&table, "secret-file", absolute_path);
        let kinds = reader.parsed_list(&table, "events", EventKind::ALL.len(), kind);
        let kinds = kinds.unwrap_or_default();
        let kinds = unique_by(reader, &table, "events", kinds, EventKind::to_string);
        let timeout = reader.parsed(&table, "timeout", |text| {
            value::duration_within(text, WEBHOOK_TIMEOUT_SECONDS_MIN, WEBHOOK_TIMEOUT_SECONDS_MAX)
        });
        let ca_file = reader.parsed(&table, "ca-file", absolute_path);
        for (key, why) in [
            ("name", "what it is called, as in name = \"accounts\""),
            ("url", "where events are sent, as in url = \"https://accounts.campus.example/dhcp\""),
            (
                "secret-file",
                "what it is signed with, as in secret-file = \"/etc/vestibule/accounts.secret\"",
            ),
        ] {
            if !table.has(key) {
                reader.missing(&table, key, why);
            }
        }
        if let Some(name) = &name
            && let Some(first) = names.insert(name.value.clone(), name.at)
        {
            let line = reader.line(first);
            let message = format!("{} stands twice; first on line {line}", quoted(&name.value));
            reader.complain_about(&table, "name", name.at, Complaint::plain(message));
        }
        if let (Some(name), Some(url), Some(secret_file)) = (name, url, secret_file) {
            webhooks.push(Webhook {
                name: name.value,
                url: url.value,
                secret_file: secret_file.value,
                kinds,
                timeout_seconds: timeout
                    .map_or(WEBHOOK_TIMEOUT_SECONDS_DEFAULT, |placed| placed.value),
                ca_file: ca_file
                    .map_or_else(|| PathBuf::from(CA_FILE_DEFAULT), |placed| placed.value),
            });
        }
    }
    webhooks
}

fn kind(text: &str) -> Result<EventKind, Complaint> {
    // A gap is always told, and a test comes when somebody asks for it.
    let chosen = |kind: &EventKind| !matches!(kind, EventKind::Gap | EventKind::Test);
    EventKind::of_name(text).filter(chosen).ok_or_else(|| {
        let message = format!("{} is no kind of event that can be chosen", quoted(text));
        let names = EventKind::ALL.iter().filter(|kind| chosen(kind)).map(|kind| kind.name());
        Complaint::new(message, format!("known are {}", names.collect::<Vec<_>>().join(", ")))
    })
}
