//! `[[class]]` and `[[profile]]`: what clients have in common, and what follows from it.
//!
//! It promises that every condition is one that the core can check, that every name stands once, and that
//! a class says what it asks for: one without a condition is refused.

use crate::grammar::{self, nearest};
use crate::limits::{CLASS_VALUES_MAX, NAME_LENGTH_MAX, PROFILES_MAX};
use crate::mistake::{Complaint, quoted};
use crate::option_table::{BYTES_FORMS, COMPUTED, by_name};
use crate::option_value;
use crate::reader::{Reader, Table};
use crate::value;
use vestibule_core::client_class::{Attribute, Condition, Test};
use vestibule_core::limits::{
    CLIENT_CLASSES_MAX, LIFETIME_SECONDS_MAX, LIFETIME_SECONDS_MIN, ROLE_LENGTH_MAX,
};
use vestibule_core::options::code;
use vestibule_core::{Class, ClassSet, ClientClass, Profile, ProfileIndex};

/// Processor architectures of boot clients by their number in IANA's list.
const ARCHITECTURES: [(&str, u16); 13] = [
    ("bios", 0),
    ("uefi-x86", 6),
    ("uefi-x64", 7),
    ("uefi-ebc", 9),
    ("uefi-arm32", 10),
    ("uefi-arm64", 11),
    ("http-x86", 15),
    ("http-x64", 16),
    ("http-ebc", 17),
    ("http-arm32", 18),
    ("http-arm64", 19),
    ("uefi-riscv64", 27),
    ("http-riscv64", 28),
];

/// The names that places of the file use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) classes: Vec<Box<str>>,
    pub(crate) profiles: Vec<Box<str>>,
}

/// Reads every `[[profile]]`.
pub(crate) fn profiles(reader: &mut Reader<'_>, file: &Table<'_>) -> Vec<Profile> {
    let tables = reader.tables(file, "profile", &grammar::PROFILE);
    if too_many(reader, file, "profile", tables.len(), PROFILES_MAX) {
        return Vec::new();
    }
    let mut names = Vec::new();
    let read = tables.iter().map(|table| Profile {
        name: name(reader, table, &mut names),
        options: option_value::options(reader, table),
        lifetime_seconds: lifetime(reader, table),
    });
    read.collect()
}

/// Reads every `[[class]]`.
pub(crate) fn classes(reader: &mut Reader<'_>, file: &Table<'_>) -> Vec<ClientClass> {
    let tables = reader.tables(file, "class", &grammar::CLASS);
    if too_many(reader, file, "class", tables.len(), CLIENT_CLASSES_MAX) {
        return Vec::new();
    }
    let mut names = Vec::new();
    let mut classes = Vec::with_capacity(tables.len());
    for table in &tables {
        let name = name(reader, table, &mut names);
        let conditions = conditions(reader, table);
        let alternatives = reader.tables(table, "any", &grammar::CLASS_ALTERNATIVE);
        if alternatives.len() > CLASS_VALUES_MAX {
            let message = format!("more than {CLASS_VALUES_MAX} alternatives");
            reader.complain_about(table, "any", table.place_of("any"), Complaint::plain(message));
            continue;
        }
        let mut any = Vec::with_capacity(alternatives.len());
        for table in &alternatives {
            let of_one = self::conditions(reader, table);
            if of_one.is_empty() {
                let complaint = Complaint::new("this alternative asks for nothing", ASKS_FOR);
                reader.complain(table.at, table.path.clone(), complaint);
            }
            any.push(of_one);
        }
        if conditions.is_empty() && any.is_empty() && !reader.found_any() {
            let message = format!("the class {} asks for nothing", quoted(&name));
            reader.complain(table.at, table.path.clone(), Complaint::new(message, ASKS_FOR));
        }
        let options = option_value::options(reader, table);
        let lifetime_seconds = lifetime(reader, table);
        classes.push(ClientClass { name, conditions, any, options, lifetime_seconds });
    }
    classes
}

const ASKS_FOR: &str = "as in vendor-class-prefix = \"Cisco\" or mac-prefix = \"00:1b:78\"; options for all go \
                        into [options]";

/// The classes that a key names.
pub(crate) fn classes_named(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &str,
    names: &Names,
) -> ClassSet {
    let found = reader.parsed_list(table, key, CLIENT_CLASSES_MAX, |text| {
        place_of_name(text, &names.classes, "class")
    });
    let found = found.unwrap_or_default();
    found.iter().fold(ClassSet::NONE, |set, index| set.with(index.value))
}

/// The profile that the key `profile` names.
pub(crate) fn profile_named(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    names: &Names,
) -> Option<ProfileIndex> {
    let found =
        reader.parsed(table, "profile", |text| place_of_name(text, &names.profiles, "profile"));
    found.map(|placed| ProfileIndex(placed.value))
}

fn place_of_name(text: &str, names: &[Box<str>], what: &str) -> Result<usize, Complaint> {
    names.iter().position(|name| **name == *text).ok_or_else(|| {
        let message = format!("there is no {what} {}", quoted(text));
        match nearest(text, names.iter().map(AsRef::as_ref)) {
            Some(meant) => Complaint::new(message, format!("did you mean `{meant}`?")),
            None => Complaint::new(message, format!("add a [[{what}]] with this name")),
        }
    })
}

fn too_many(
    reader: &mut Reader<'_>,
    file: &Table<'_>,
    key: &str,
    count: usize,
    limit: usize,
) -> bool {
    if count > limit {
        let message = format!("{count} tables; the limit is {limit}");
        reader.complain(file.place_of(key), key.to_owned(), Complaint::plain(message));
    }
    count > limit
}

/// The name of a table, which no earlier one has; empty if a mistake was noted.
fn name(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    names: &mut Vec<(Box<str>, usize)>,
) -> Box<str> {
    if !table.has("name") {
        reader.missing(table, "name", "it is what other places call it by");
    }
    let Some(placed) = reader.parsed(table, "name", value::name) else { return Box::default() };
    if let Some((_, first)) = names.iter().find(|(name, _)| *name == placed.value) {
        let line = reader.line(*first);
        let message = format!("{} is already on line {line}", quoted(&placed.value));
        reader.complain_about(table, "name", placed.at, Complaint::plain(message));
    }
    names.push((placed.value.clone(), placed.at));
    placed.value
}

fn lifetime(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<u32> {
    let within =
        |text: &str| value::duration_within(text, LIFETIME_SECONDS_MIN, LIFETIME_SECONDS_MAX);
    reader.parsed(table, "lifetime", within).map(|placed| placed.value)
}

/// The conditions that a table's keys say.
fn conditions(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let vendor_class = Attribute::Option(code::VENDOR_CLASS);
    for (key, attribute, is_prefix) in [
        ("vendor-class", vendor_class, false),
        ("vendor-class-prefix", vendor_class, true),
        ("user-class", Attribute::UserClass, false),
        ("circuit-id", Attribute::CircuitId, false),
        ("circuit-id-prefix", Attribute::CircuitId, true),
        ("remote-id", Attribute::RemoteId, false),
        ("remote-id-prefix", Attribute::RemoteId, true),
    ] {
        let test = if is_prefix { Test::Begins } else { Test::Is };
        let parse = |text: &str| bytes_or_text(text).map(|bytes| test(bytes.into()));
        condition(reader, table, key, attribute, parse, &mut conditions);
    }
    let prefix = |text: &str| hardware_prefix(text).map(|bytes| Test::Begins(bytes.into()));
    condition(reader, table, "mac-prefix", Attribute::Hardware, prefix, &mut conditions);
    let architecture = |text: &str| architecture(text).map(Test::HasNumber16);
    let of_client = Attribute::Option(code::ARCHITECTURE);
    condition(reader, table, "architecture", of_client, architecture, &mut conditions);
    let registration = |text: &str| registration(text).map(Test::IsOf);
    condition(
        reader,
        table,
        "registration",
        Attribute::Registration,
        registration,
        &mut conditions,
    );
    let role = |text: &str| {
        if text.is_empty() || text.len() > ROLE_LENGTH_MAX {
            return Err(Complaint::plain(format!("{} is no name of a role", quoted(text))));
        }
        Ok(Test::Is(text.as_bytes().into()))
    };
    condition(reader, table, "role", Attribute::Role, role, &mut conditions);
    for table in reader.tables(table, "option", &grammar::CLASS_OPTION) {
        conditions.extend(option_condition(reader, &table));
    }
    conditions
}

/// Reads one key: any of its values will do.
fn condition(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &str,
    attribute: Attribute,
    parse: impl FnMut(&str) -> Result<Test, Complaint>,
    conditions: &mut Vec<Condition>,
) {
    let Some(tests) = reader.parsed_list(table, key, CLASS_VALUES_MAX, parse) else { return };
    if tests.is_empty() && !reader.found_any() {
        let message = format!("{} is empty: no client would be in the class", quoted(key));
        reader.complain_about(table, key, table.place_of(key), Complaint::plain(message));
    }
    let tests = tests.into_iter().map(|placed| placed.value).collect();
    conditions.push(Condition { attribute, tests });
}

/// One `option = { name = …, … }` of a class.
fn option_condition(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Condition> {
    if !table.has("name") {
        reader.missing(table, "name", "the option, as in name = \"host-name\" or \"option-224\"");
    }
    let own: Vec<(Box<str>, u8)> =
        reader.definitions().iter().map(|option| (option.name.clone(), option.code)).collect();
    let code = reader.parsed(table, "name", |text| {
        let by_own = || own.iter().find(|(name, _)| **name == *text).map(|(_, code)| *code);
        let computed = || COMPUTED.iter().find(|option| option.name == text).map(|it| it.code);
        let by_code = || text.strip_prefix("option-")?.parse().ok();
        let found = by_name(text).map(|option| option.code);
        let found = found.or_else(by_own).or_else(computed).or_else(by_code);
        found.filter(|code| (1..=254).contains(code)).ok_or_else(|| {
            let message = format!("unknown option {}", quoted(text));
            Complaint::new(message, "by its name, or by its code as in \"option-224\"")
        })
    });
    let mut tests = Vec::new();
    let mut said = 0;
    for (key, test) in [
        ("is", Test::Is as fn(Box<[u8]>) -> Test),
        ("begins", Test::Begins),
        ("contains", Test::Contains),
    ] {
        let parse = |text: &str| bytes_or_text(text).map(|bytes| test(bytes.into()));
        if let Some(found) = reader.parsed_list(table, key, CLASS_VALUES_MAX, parse) {
            said += 1;
            tests.extend(found.into_iter().map(|placed| placed.value));
        }
    }
    if said > 1 {
        let message = "is, begins and contains do not go together";
        let complaint = Complaint::new(message, "write an option for each: all of them must hold");
        reader.complain(table.at, table.path.clone(), complaint);
    }
    if said == 0 {
        tests.push(Test::Present);
    }
    Some(Condition { attribute: Attribute::Option(code?.value), tests })
}

/// Bytes in one of the forms of the file, or else the text as it is.
pub(crate) fn bytes_or_text(text: &str) -> Result<Vec<u8>, Complaint> {
    if BYTES_FORMS.iter().any(|(form, _)| text.starts_with(form)) {
        return option_value::bytes(text);
    }
    if text.is_empty() || text.len() > 255 {
        let message = format!("{} has not 1 to 255 bytes", quoted(text));
        return Err(Complaint::plain(message));
    }
    Ok(text.as_bytes().to_vec())
}

/// The beginning of a hardware address: whole bytes.
fn hardware_prefix(text: &str) -> Result<Vec<u8>, Complaint> {
    let wrong = || {
        let message = format!("{} is not the beginning of a hardware address", quoted(text));
        Complaint::new(message, "write whole bytes, as in \"00:1b:78\"")
    };
    let bytes: Vec<u8> = option_value::bytes(&format!("hex:{text}")).map_err(|_| wrong())?;
    if bytes.len() > 6 { Err(wrong()) } else { Ok(bytes) }
}

fn architecture(text: &str) -> Result<u16, Complaint> {
    let named = ARCHITECTURES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| text.parse().ok()).ok_or_else(|| {
        let names: Vec<&str> = ARCHITECTURES.iter().map(|(name, _)| *name).collect();
        let message = format!("{} is no architecture of a boot client", quoted(text));
        Complaint::new(message, format!("known are {}, and IANA's numbers", names.join(", ")))
    })
}

/// `registered` or `unregistered`.
pub(crate) fn registration(text: &str) -> Result<Class, Complaint> {
    Class::ALL.into_iter().find(|class| class.name() == text).ok_or_else(|| {
        let message = format!("{} is no side of the gate", quoted(text));
        Complaint::new(message, "known are \"registered\" and \"unregistered\"")
    })
}

/// A host name for a reservation (RFC 1123 section 2.1).
pub(crate) fn host_name(text: &str) -> Result<Box<str>, Complaint> {
    if text.len() > NAME_LENGTH_MAX {
        return Err(Complaint::plain(format!("{} is too long for a host name", quoted(text))));
    }
    value::domain_name(text)
}
