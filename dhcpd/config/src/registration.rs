//! `[registration]` and `[[registration.role]]`: what holds for registrations.
//!
//! It promises that no two roles share a name, that limits and lifetimes are within their ranges, and that
//! a page of its own stands only at a quarantine.

use crate::grammar;
use crate::limits::{REGISTRATION_LIFETIME_SECONDS_MAX, REGISTRATION_LIFETIME_SECONDS_MIN};
use crate::mistake::{Complaint, quoted};
use crate::reader::{Reader, Table};
use crate::value;
use std::collections::BTreeMap;
use vestibule_core::limits::{DEVICE_LIMIT_MAX, ROLES_MAX};
use vestibule_core::{RandomisedAddresses, RegistrationRules, Role};

/// Reads `[registration]`; everything in it has a default.
pub(crate) fn registration(reader: &mut Reader<'_>, file: &Table<'_>) -> RegistrationRules {
    let mut rules = RegistrationRules::default();
    let Some(table) = reader.table_at(file, "registration", &grammar::REGISTRATION) else {
        return rules;
    };
    rules.device_limit = device_limit(reader, &table);
    rules.lifetime_seconds = lifetime(reader, &table, "lifetime");
    if let Some(seconds) = lifetime(reader, &table, "lifetime-randomised") {
        rules.lifetime_randomised_seconds = seconds;
    }
    rules.roles = roles(reader, &table);
    rules
}

/// Reads `network.randomised-addresses`.
pub(crate) fn randomised_addresses(
    reader: &mut Reader<'_>,
    network: &Table<'_>,
    gated: Option<bool>,
) -> RandomisedAddresses {
    let key = "randomised-addresses";
    let policy = reader.parsed(network, key, |text| {
        RandomisedAddresses::ALL.into_iter().find(|policy| policy.name() == text).ok_or_else(|| {
            let message = format!("{} is no rule for randomised addresses", quoted(text));
            Complaint::new(message, "known are \"allow\", \"allow-briefly\" and \"refuse\"")
        })
    });
    let Some(policy) = policy else { return RandomisedAddresses::Allow };
    if gated == Some(false) && policy.value != RandomisedAddresses::Allow {
        let complaint = Complaint::new(
            "this network is not gated: nobody registers in it",
            "leave randomised-addresses out, or gate the network",
        );
        reader.complain_about(network, key, policy.at, complaint);
    }
    policy.value
}

fn roles(reader: &mut Reader<'_>, registration: &Table<'_>) -> Vec<Role> {
    let tables = reader.tables(registration, "role", &grammar::ROLE);
    if tables.len() > ROLES_MAX {
        let message = format!("{} roles; the limit is {ROLES_MAX}", tables.len());
        let at = registration.place_of("role");
        reader.complain_about(registration, "role", at, Complaint::plain(message));
        return Vec::new();
    }
    let mut names: BTreeMap<Box<str>, usize> = BTreeMap::new();
    let mut roles = Vec::new();
    for table in tables {
        let name = reader.parsed(&table, "name", value::name);
        if !table.has("name") {
            reader.missing(&table, "name", "registrations name it, as in name = \"guest\"");
        }
        let quarantine = reader.flag(&table, "quarantine").unwrap_or(false);
        let portal_url = reader.parsed(&table, "portal-url", |text| {
            value::url(text)?;
            Ok(Box::<str>::from(text))
        });
        if let Some(url) = portal_url.as_ref().filter(|_| !quarantine) {
            let complaint = Complaint::new(
                "this role is no quarantine: its devices pass, and see no portal",
                "write quarantine = true, or leave portal-url out",
            );
            reader.complain_about(&table, "portal-url", url.at, complaint);
        }
        let role = Role {
            name: name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
            device_limit: device_limit(reader, &table),
            lifetime_seconds: lifetime(reader, &table, "lifetime"),
            quarantine,
            portal_url: portal_url.map(|url| url.value),
        };
        let Some(name) = name else { continue };
        if let Some(first) = names.insert(name.value.clone(), name.at) {
            let line = reader.line(first);
            let message = format!("{} stands twice; first on line {line}", quoted(&name.value));
            reader.complain_about(&table, "name", name.at, Complaint::plain(message));
        }
        roles.push(role);
    }
    roles
}

fn device_limit(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<u32> {
    reader.number(table, "device-limit", 1, DEVICE_LIMIT_MAX)
}

fn lifetime(reader: &mut Reader<'_>, table: &Table<'_>, key: &str) -> Option<u32> {
    let (min, max) = (REGISTRATION_LIFETIME_SECONDS_MIN, REGISTRATION_LIFETIME_SECONDS_MAX);
    let placed = reader.parsed(table, key, |text| value::duration_within(text, min, max));
    placed.map(|placed| placed.value)
}
