//! `[portal]`: whose the registration page is, and what the built-in one asks and says.
//!
//! It promises that a built-in portal has what it needs to let people in (an address that speaks the
//! scheme of `gate.portal.url`, terms to agree to), and that no key stands there that
//! nothing would read.

use crate::captive;
use crate::checked::{BuiltinPortal, Gate, Identify, Language};
use crate::grammar;
use crate::limits::{
    PORTAL_ADDRESSES_MAX, PORTAL_LIFETIME_SECONDS_MAX, PORTAL_LIFETIME_SECONDS_MIN,
    PORTAL_TEXT_LENGTH_MAX, PORTAL_TITLE_DEFAULT,
};
use crate::mistake::{Complaint, quoted};
use crate::reader::{Reader, Table};
use crate::sections::{absolute_path, check_listen, no_entries, unique};
use crate::value;
use std::net::SocketAddr;
use std::path::PathBuf;
use vestibule_core::RegistrationRules;

/// Whose page it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Builtin,
    External,
}

/// Reads `[portal]`. `None` if there is none, if the page is the site's own, or a mistake was noted.
pub(crate) fn portal(
    reader: &mut Reader<'_>,
    file: &Table<'_>,
    gate: Option<&Gate>,
    rules: &RegistrationRules,
) -> Option<BuiltinPortal> {
    let table = reader.table_at(file, "portal", &grammar::BUILTIN_PORTAL)?;
    let mode = reader.parsed(&table, "mode", mode);
    if !table.has("mode") {
        let why = "choose: \"builtin\" is the server's own page, \"external\" the site's";
        reader.missing(&table, "mode", why);
    }
    if mode?.value == Mode::External {
        for key in grammar::BUILTIN_PORTAL.keys.iter().filter(|key| **key != "mode") {
            if table.has(key) {
                let message = format!("portal.{key} is for the built-in portal");
                let remedy = "remove it, or choose mode = \"builtin\"";
                let complaint = Complaint::new(message, remedy);
                reader.complain_about(&table, key, table.place_of(key), complaint);
            }
        }
        return None;
    }
    let listen = addresses(reader, &table, "listen");
    let tls_listen = addresses(reader, &table, "tls-listen");
    let tls = captive::tls(reader, &table);
    check_scheme(reader, &table, gate);
    let title = reader.parsed(&table, "title", line_of_text);
    let contact = reader.parsed(&table, "contact", line_of_text);
    let terms_file = reader.parsed(&table, "terms-file", absolute_path);
    let terms_files = terms_files(reader, &table);
    let languages = reader.parsed_list(&table, "languages", Language::ALL.len(), language);
    let languages = unique(reader, &table, "languages", languages.unwrap_or_default());
    let identify = reader.parsed(&table, "identify", identify);
    if !table.has("identify") {
        let why = "what people have to say: choose \"terms\", \"name\" or \"voucher\"";
        reader.missing(&table, "identify", why);
    }
    let role = reader.parsed(&table, "role", value::name);
    if let Some(role) = &role
        && rules.role(&role.value).is_none()
    {
        let message = format!("there is no role {}", quoted(&role.value));
        let remedy = "name one of [[registration.role]]";
        let complaint = Complaint::new(message, remedy);
        reader.complain_about(&table, "role", role.at, complaint);
    }
    let lifetime = reader.parsed(&table, "lifetime", |text| {
        value::duration_within(text, PORTAL_LIFETIME_SECONDS_MIN, PORTAL_LIFETIME_SECONDS_MAX)
    });
    let extendable = reader.flag(&table, "extendable").unwrap_or(false);
    let continue_url = reader.parsed(&table, "continue-url", |text| {
        value::url(text)?;
        Ok(Box::<str>::from(text))
    });
    let identify = identify?.value;
    check_identification(reader, &table, identify, extendable);
    Some(BuiltinPortal {
        listen,
        tls_listen,
        tls,
        title: title.map_or_else(|| PORTAL_TITLE_DEFAULT.into(), |placed| placed.value),
        contact: contact.map(|placed| placed.value),
        terms_file: terms_file.map(|placed| placed.value),
        terms_files,
        languages: if languages.is_empty() { Language::ALL.to_vec() } else { languages },
        identify,
        role: role.map(|placed| placed.value),
        lifetime_seconds: lifetime.map(|placed| placed.value),
        extendable,
        continue_url: continue_url.map(|placed| placed.value),
    })
}

/// The terms by language. There is always a text for those whose language nobody wrote them in.
fn terms_files(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<(Language, PathBuf)> {
    let Some(files) = reader.table_at(table, "terms-files", &grammar::TERMS_FILES) else {
        return Vec::new();
    };
    if !table.has("terms-file") {
        let why = "what those agree to whose language is not among terms-files";
        reader.missing(table, "terms-file", why);
    }
    let all = Language::ALL.into_iter();
    all.filter_map(|language| {
        let file = reader.parsed(&files, language.tag(), absolute_path)?;
        Some((language, file.value))
    })
    .collect()
}

fn addresses(reader: &mut Reader<'_>, table: &Table<'_>, key: &str) -> Vec<SocketAddr> {
    let read = |text: &str| {
        let socket = value::socket(text, None)?;
        check_listen(socket)?;
        Ok(socket)
    };
    let list = reader.parsed_list(table, key, PORTAL_ADDRESSES_MAX, read).unwrap_or_default();
    unique(reader, table, key, list)
}

/// Whether the page is where `gate.portal.url` says, and TLS has what it needs.
fn check_scheme(reader: &mut Reader<'_>, table: &Table<'_>, gate: Option<&Gate>) {
    let has_tls_listen = !no_entries(table, "tls-listen");
    if has_tls_listen && !captive::has_tls_keys(table) {
        for (key, what) in [
            ("tls-certificate", "tls-listen needs a certificate in PEM"),
            ("tls-key", "tls-listen needs the certificate's private key in PEM"),
        ] {
            reader.missing(table, key, what);
        }
    }
    if !has_tls_listen && captive::has_tls_keys(table) {
        let why = "where it speaks TLS, as in tls-listen = \"10.0.0.80:443\"";
        reader.missing(table, "tls-listen", why);
    }
    // A gate with a mistake in it may have named it: one mistake is then enough.
    let Some(gate) = gate else { return };
    let Some(portal) = &gate.portal else {
        let message = "the built-in portal has no URL";
        let remedy = "say where it is: gate.portal = { address = \"10.0.0.80\", url = \
                      \"http://register.campus.example/\" }";
        reader.complain(table.at, table.path.clone(), Complaint::new(message, remedy));
        return;
    };
    let url = &portal.url;
    let after_scheme = url.split("://").nth(1).unwrap_or_default();
    let path = after_scheme.find(['/', '?', '#']).and_then(|at| after_scheme.get(at..));
    if !matches!(path, None | Some("/")) {
        let message = format!("the built-in portal answers at / only, not at {}", quoted(url));
        let complaint = Complaint::new(message, "shorten gate.portal.url to its host");
        reader.complain(table.at, table.path.clone(), complaint);
    }
    let https = url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    if https && !has_tls_listen {
        let why = "gate.portal.url is https: give it as in tls-listen = \"10.0.0.80:443\"";
        reader.missing(table, "tls-listen", why);
    }
    if !https && no_entries(table, "listen") {
        let why = "gate.portal.url is http: give it as in listen = \"10.0.0.80:80\"";
        reader.missing(table, "listen", why);
    }
}

/// Whether there is what people have to say, and nothing that is not asked for.
fn check_identification(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    identify: Identify,
    extendable: bool,
) {
    if identify == Identify::Terms && !table.has("terms-file") {
        reader.missing(
            table,
            "terms-file",
            "what people agree to, as Markdown (.md) or plain text",
        );
    }
    if extendable && identify == Identify::Voucher {
        let message = "a registration with a voucher lasts as long as the voucher says";
        let remedy = "remove `extendable`: who has another voucher gets more time by that";
        let complaint = Complaint::new(message, remedy);
        reader.complain_about(table, "extendable", table.place_of("extendable"), complaint);
    } else if extendable && !table.has("lifetime") {
        let message = "a registration without an end cannot be extended";
        let complaint = Complaint::new(message, "give `lifetime`, or remove `extendable`");
        reader.complain_about(table, "extendable", table.place_of("extendable"), complaint);
    }
}

fn mode(text: &str) -> Result<Mode, Complaint> {
    match text {
        "builtin" => Ok(Mode::Builtin),
        "external" => Ok(Mode::External),
        _ => {
            let message = format!("{} is no mode of the portal", quoted(text));
            Err(Complaint::new(message, "known are \"builtin\" and \"external\""))
        }
    }
}

fn identify(text: &str) -> Result<Identify, Complaint> {
    [Identify::Terms, Identify::Name, Identify::Voucher]
        .into_iter()
        .find(|known| known.to_string() == text)
        .ok_or_else(|| {
            let message = format!("{} is nothing that people can be asked for", quoted(text));
            Complaint::new(message, "known are \"terms\", \"name\" and \"voucher\"")
        })
}

fn language(text: &str) -> Result<Language, Complaint> {
    Language::ALL.into_iter().find(|known| known.tag() == text).ok_or_else(|| {
        let known: Vec<&str> = Language::ALL.into_iter().map(Language::tag).collect();
        let message = format!("{} is no language of the built-in portal", quoted(text));
        Complaint::new(message, format!("known are {}", known.join(", ")))
    })
}

fn line_of_text(text: &str) -> Result<Box<str>, Complaint> {
    if text.trim().is_empty()
        || text.len() > PORTAL_TEXT_LENGTH_MAX
        || text.chars().any(char::is_control)
    {
        let message = format!("{} is not one line of text", quoted(text));
        let remedy = format!("1 to {PORTAL_TEXT_LENGTH_MAX} bytes, without control characters");
        return Err(Complaint::new(message, remedy));
    }
    Ok(text.into())
}
