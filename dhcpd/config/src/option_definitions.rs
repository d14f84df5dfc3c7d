//! `[[option]]`: options that a file gives a name and a type of its own.
//!
//! It promises that no name and no code stands for two things: what IANA has named keeps its name, and
//! what the server computes stays its own.

use crate::grammar;
use crate::limits::OPTION_DEFINITIONS_MAX;
use crate::mistake::{Complaint, quoted};
use crate::option_table::{COMPUTED, Kind, OTHER_NAMES, by_code, by_name};
use crate::reader::{Reader, Table};
use crate::value;

/// An option that the file named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionDefinition {
    /// Its code.
    pub code: u8,
    /// Its name in the file.
    pub name: Box<str>,
    /// What its value is.
    pub kind: Kind,
}

/// Reads every `[[option]]`.
pub(crate) fn definitions(reader: &mut Reader<'_>, file: &Table<'_>) -> Vec<OptionDefinition> {
    let tables = reader.tables(file, "option", &grammar::OPTION);
    if tables.len() > OPTION_DEFINITIONS_MAX {
        let message = format!("{} options; the limit is {OPTION_DEFINITIONS_MAX}", tables.len());
        reader.complain(file.place_of("option"), "option".to_owned(), Complaint::plain(message));
        return Vec::new();
    }
    let mut definitions: Vec<OptionDefinition> = Vec::with_capacity(tables.len());
    for table in &tables {
        for (key, why) in [
            ("name", "as in name = \"printer-queue\""),
            ("code", "as in code = 224; 224 to 254 are for sites"),
            ("type", "as in type = \"text\""),
        ] {
            if !table.has(key) {
                reader.missing(table, key, why);
            }
        }
        let name = reader.parsed(table, "name", |text| free_name(&definitions, text));
        let code = reader.number(table, "code", 1, 254).and_then(|code| u8::try_from(code).ok());
        let code = code.filter(|code| is_free(reader, table, &definitions, *code));
        let kind = reader.parsed(table, "type", kind);
        if let (Some(name), Some(code), Some(kind)) = (name, code, kind) {
            definitions.push(OptionDefinition { code, name: name.value, kind: kind.value });
        }
    }
    definitions
}

fn free_name(definitions: &[OptionDefinition], text: &str) -> Result<Box<str>, Complaint> {
    let name = value::name(text)?;
    let is_ours = by_name(&name).is_some()
        || COMPUTED.iter().any(|option| option.name == &*name)
        || OTHER_NAMES.iter().any(|(other, _)| *other == &*name)
        || name.strip_prefix("option-").is_some_and(|rest| rest.parse::<u32>().is_ok());
    if is_ours {
        let message = format!("{} already means an option", quoted(text));
        return Err(Complaint::new(message, "choose another name"));
    }
    if definitions.iter().any(|option| option.name == name) {
        let message = format!("two options are named {}", quoted(text));
        return Err(Complaint::plain(message));
    }
    Ok(name)
}

/// Whether a code has no name yet; if it has, a mistake was noted.
fn is_free(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    definitions: &[OptionDefinition],
    code: u8,
) -> bool {
    let computed = COMPUTED.iter().find(|option| option.code == code);
    let complaint = if let Some(option) = computed {
        let message = format!("option {code} ({}) cannot be configured", option.name);
        Complaint::new(message, option.reason)
    } else if let Some(option) = by_code(code) {
        let message = format!("option {code} has a name");
        Complaint::new(message, format!("write `{}` where it is set", option.name))
    } else if let Some(option) = definitions.iter().find(|option| option.code == code) {
        Complaint::plain(format!("option {code} is already {}", quoted(&option.name)))
    } else {
        return true;
    };
    reader.complain_about(table, "code", table.place_of("code"), complaint);
    false
}

fn kind(text: &str) -> Result<Kind, Complaint> {
    let found = Kind::NAMED.iter().find(|(name, _)| *name == text);
    found.map(|(_, kind)| *kind).ok_or_else(|| {
        let names: Vec<&str> = Kind::NAMED.iter().map(|(name, _)| *name).collect();
        let message = format!("{} is no type of an option", quoted(text));
        Complaint::new(message, format!("known are {}", names.join(", ")))
    })
}
