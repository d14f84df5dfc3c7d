//! Options between the file and the wire: values become bytes, and bytes become words again.
//!
//! It promises that what it encodes is well-formed for its kind, and that [`in_words`] never fails:
//! bytes that are not of their option's kind are shown in hexadecimal.

use crate::grammar::{self, nearest};
use crate::limits::OPTION_LENGTH_MAX;
use crate::mistake::{Complaint, quoted};
use crate::option_compound::{decode_compound, encode_compound};
use crate::option_definitions::OptionDefinition;
use crate::option_table::{
    BYTES_FORMS, COMPUTED, KNOWN, Kind, OTHER_NAMES, UNRESTRICTED, by_code, by_name,
};
use crate::reader::{Reader, Table, Value, type_in_words};
use crate::value;
use ipnetwork::Ipv4Network;
use std::net::Ipv4Addr;
use toml::de::DeValue;
use vestibule_core::OptionSet;
use vestibule_core::options::code;

/// Names of NetBIOS node types with their values (RFC 2132 section 8.7).
const NETBIOS_NODE_TYPES: [(&str, u8); 4] =
    [("b-node", 1), ("p-node", 2), ("m-node", 4), ("h-node", 8)];

/// What stands among options and is a field of the message.
pub(crate) const NEXT_SERVER: &str = "next-server";

/// Entries of one option's list: no list of more can be encoded within the limit.
const ENTRIES_MAX: usize = OPTION_LENGTH_MAX;

/// Reads the options under the key `options` of a table.
pub(crate) fn options(reader: &mut Reader<'_>, table: &Table<'_>) -> OptionSet {
    options_under(reader, table, "options")
}

/// Reads the options under a key of a table.
pub(crate) fn options_under(reader: &mut Reader<'_>, table: &Table<'_>, key: &str) -> OptionSet {
    let mut set = OptionSet::new();
    let Some(value) = table.get(key) else { return set };
    let path = table.path_of(key);
    let DeValue::Table(entries) = value.get_ref() else {
        let what = type_in_words(value.get_ref());
        let message = format!("{} is a table, not {what}", quoted(&path));
        let remedy = format!("write {key} = {{ routers = [\"10.20.0.1\"] }}");
        reader.complain(value.span().start, path, Complaint::new(message, remedy));
        return set;
    };
    for (key, value) in entries.iter() {
        let path = format!("{path}.{}", key.get_ref());
        if key.get_ref() == NEXT_SERVER {
            let text = reader.text_of(value, &path);
            let address = text.and_then(|text| reader.accept(text, &path, value::address));
            if let Some(address) = address {
                set.set_next_server(address.value);
            }
            continue;
        }
        match identify(reader.definitions(), key.get_ref()) {
            Ok((code, kind)) => {
                let Some(bytes) = encode(reader, value, kind, &path) else { continue };
                if bytes.len() > OPTION_LENGTH_MAX {
                    let message = format!(
                        "{} takes {} bytes; the limit is {OPTION_LENGTH_MAX}",
                        quoted(&path),
                        bytes.len()
                    );
                    reader.complain(value.span().start, path, Complaint::plain(message));
                    continue;
                }
                set.insert(code, bytes);
            }
            Err(complaint) => reader.complain(key.span().start, path, complaint),
        }
    }
    set
}

/// The name under which an option of a code is configured.
pub(crate) fn name_of(definitions: &[OptionDefinition], code: u8) -> String {
    let own = || definitions.iter().find(|option| option.code == code).map(|option| &*option.name);
    let computed = || COMPUTED.iter().find(|option| option.code == code).map(|it| it.name);
    let name = by_code(code).map(|option| option.name).or_else(own).or_else(computed);
    name.map_or_else(|| format!("option-{code}"), str::to_owned)
}

/// An option's contents in words.
pub(crate) fn in_words(definitions: &[OptionDefinition], code: u8, contents: &[u8]) -> String {
    let own = || definitions.iter().find(|option| option.code == code).map(|option| option.kind);
    // The only computed option that is shown.
    let of_mask = || (code == code::SUBNET_MASK).then_some(Kind::Address);
    let kind = by_code(code).map(|option| option.kind).or_else(own).or_else(of_mask);
    let kind = kind.unwrap_or(Kind::Bytes);
    decode(kind, contents).unwrap_or_else(|| hexadecimal(contents))
}

/// Code and kind of what a key names.
fn identify(definitions: &[OptionDefinition], name: &str) -> Result<(u8, Kind), Complaint> {
    if let Some(option) = by_name(name) {
        return Ok((option.code, option.kind));
    }
    if let Some(option) = definitions.iter().find(|option| *option.name == *name) {
        return Ok((option.code, option.kind));
    }
    if let Some(option) = COMPUTED.iter().find(|option| option.name == name) {
        let message = format!("the option {} cannot be configured", quoted(name));
        return Err(Complaint::new(message, option.reason));
    }
    let Some(number) = name.strip_prefix("option-") else {
        let message = format!("unknown option {}", quoted(name));
        let other = OTHER_NAMES.iter().find(|(other, _)| *other == name).map(|(_, name)| *name);
        let own = definitions.iter().map(|option| &*option.name);
        let names = KNOWN.iter().map(|option| option.name).chain(own);
        let meant = other.or_else(|| nearest(name, names));
        return Err(match meant {
            Some(meant) => Complaint::new(message, format!("did you mean `{meant}`?")),
            None => {
                Complaint::new(message, "by its code: \"option-224\" = \"hex:0a0b\" or \"text:…\"")
            }
        });
    };
    // Leading zeros are refused, so that one option cannot be written twice.
    let code = number.parse::<u8>().ok().filter(|code| code.to_string() == number);
    let Some(code) = code else {
        let message = format!("{} names no option", quoted(name));
        return Err(Complaint::new(message, "codes go from 1 to 254, as in \"option-224\""));
    };
    if let Some(option) = COMPUTED.iter().find(|option| option.code == code) {
        let message = format!("option {code} ({}) cannot be configured", option.name);
        return Err(Complaint::new(message, option.reason));
    }
    if let Some(option) = by_code(code) {
        let message = format!("option {code} has a name");
        return Err(Complaint::new(message, format!("write `{}`", option.name)));
    }
    if let Some(option) = definitions.iter().find(|option| option.code == code) {
        let message = format!("this file gives option {code} a name");
        return Err(Complaint::new(message, format!("write `{}`", option.name)));
    }
    Ok((code, Kind::Bytes))
}

/// The contents of an option; `None` if a mistake was noted.
pub(crate) fn encode(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    kind: Kind,
    path: &str,
) -> Option<Vec<u8>> {
    let one = |reader: &mut Reader<'_>, parse: &dyn Fn(&str) -> Result<Vec<u8>, Complaint>| {
        let text = reader.text_of(value, path)?;
        reader.accept(text, path, parse).map(|placed| placed.value)
    };
    match kind {
        Kind::Address => one(reader, &|text| Ok(value::address(text)?.octets().to_vec())),
        Kind::Addresses => each(reader, value, path, |reader, entry| {
            let text = reader.text_of(entry, path)?;
            let address = reader.accept(text, path, value::address)?;
            Some(address.value.octets().to_vec())
        }),
        Kind::Flag => match value.get_ref() {
            DeValue::Boolean(flag) => Some(vec![u8::from(*flag)]),
            other => wrong_type(reader, value, path, "true or false", other),
        },
        Kind::Number8(min) => {
            let number = number(reader, value, path, min.into(), u8::MAX.into())?;
            Some(vec![u8::try_from(number).ok()?])
        }
        Kind::Number16(min) => number16(reader, value, path, min),
        Kind::Numbers16(min) => {
            each(reader, value, path, |reader, entry| number16(reader, entry, path, min))
        }
        Kind::Signed32 => {
            let number = number(reader, value, path, i32::MIN.into(), i32::MAX.into())?;
            Some(i32::try_from(number).ok()?.to_be_bytes().to_vec())
        }
        Kind::Seconds => one(reader, &|text| Ok(value::duration(text)?.to_be_bytes().to_vec())),
        Kind::Text => one(reader, &|text| {
            if text.is_empty() || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                let message = format!("{} is not one line of ASCII text", quoted(text));
                return Err(Complaint::plain(message));
            }
            Ok(text.as_bytes().to_vec())
        }),
        Kind::DomainName => {
            one(reader, &|text| value::domain_name(text).map(|name| name.as_bytes().to_vec()))
        }
        Kind::DomainNames => each(reader, value, path, |reader, entry| {
            let text = reader.text_of(entry, path)?;
            let name = reader.accept(text, path, value::domain_name)?;
            labels(&name.value)
        }),
        Kind::Url => one(reader, &|text| value::url(text).map(|_| text.as_bytes().to_vec())),
        Kind::UrlOrUnrestricted => one(reader, &|text| {
            if text != UNRESTRICTED {
                value::url(text)?;
            }
            Ok(text.as_bytes().to_vec())
        }),
        Kind::Routes => each(reader, value, path, |reader, entry| route(reader, entry, path)),
        Kind::NetbiosNodeType => one(reader, &|text| {
            let found = NETBIOS_NODE_TYPES.iter().find(|(name, _)| *name == text);
            found.map(|(_, number)| vec![*number]).ok_or_else(|| {
                let message = format!("{} is no type of NetBIOS node", quoted(text));
                Complaint::new(message, "known are b-node, p-node, m-node and h-node")
            })
        }),
        Kind::Bytes => one(reader, &bytes),
        Kind::Number32 => {
            let number = number(reader, value, path, 0, u32::MAX.into())?;
            Some(u32::try_from(number).ok()?.to_be_bytes().to_vec())
        }
        Kind::EncodedName => {
            let text = reader.text_of(value, path)?;
            labels(&reader.accept(text, path, value::domain_name)?.value)
        }
        Kind::AddressMasks
        | Kind::HostRoutes
        | Kind::AddressesOrNames
        | Kind::AddressLists
        | Kind::Urls
        | Kind::Ipv6Prefix
        | Kind::Fields(_)
        | Kind::SubOptions
        | Kind::VendorClasses
        | Kind::VendorOptions
        | Kind::Resolvers => encode_compound(reader, value, kind, path),
    }
}

/// The contents of every entry, one after the other; `None` if a mistake was noted.
pub(crate) fn each(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    path: &str,
    mut encode_entry: impl FnMut(&mut Reader<'_>, &Value<'_>) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    if value.get_ref().as_array().is_some_and(|array| array.is_empty()) {
        let complaint = Complaint::new(
            format!("{} is empty, which no DHCP option may be", quoted(path)),
            "leave it out to send none",
        );
        reader.complain(value.span().start, path.to_owned(), complaint);
        return None;
    }
    let mut contents = Vec::new();
    let mut good = true;
    let entries = reader.one_or_many(value, path, ENTRIES_MAX);
    for entry in entries {
        match encode_entry(reader, entry) {
            Some(bytes) => contents.extend(bytes),
            None => good = false,
        }
    }
    (good && !contents.is_empty()).then_some(contents)
}

fn number16(reader: &mut Reader<'_>, value: &Value<'_>, path: &str, min: u16) -> Option<Vec<u8>> {
    let number = number(reader, value, path, min.into(), u16::MAX.into())?;
    Some(u16::try_from(number).ok()?.to_be_bytes().to_vec())
}

pub(crate) fn number(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    path: &str,
    min: i64,
    max: i64,
) -> Option<i64> {
    let DeValue::Integer(integer) = value.get_ref() else {
        return wrong_type(reader, value, path, "a whole number", value.get_ref());
    };
    let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
    let within = number.filter(|number| (min..=max).contains(number));
    if within.is_none() {
        let message = format!("`{path}` is not between {min} and {max}");
        reader.complain(value.span().start, path.to_owned(), Complaint::plain(message));
    }
    within
}

fn wrong_type<T>(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    path: &str,
    expected: &str,
    found: &DeValue<'_>,
) -> Option<T> {
    let message = format!("{} takes {expected}, not {}", quoted(path), type_in_words(found));
    reader.complain(value.span().start, path.to_owned(), Complaint::plain(message));
    None
}

/// One route of RFC 3442: length of the prefix, its significant bytes, the router.
fn route(reader: &mut Reader<'_>, entry: &Value<'_>, path: &str) -> Option<Vec<u8>> {
    let (prefix, router) = route_of(reader, entry, path)?;
    let significant = usize::from(prefix.prefix().div_ceil(8));
    let mut bytes = vec![prefix.prefix()];
    bytes.extend(prefix.network().octets().iter().take(significant));
    bytes.extend(router.octets());
    Some(bytes)
}

/// The two ends of a route, as the table says them.
pub(crate) fn route_of(
    reader: &mut Reader<'_>,
    entry: &Value<'_>,
    path: &str,
) -> Option<(Ipv4Network, Ipv4Addr)> {
    let DeValue::Table(_) = entry.get_ref() else {
        let what = type_in_words(entry.get_ref());
        let message = format!("a route is a table, not {what}");
        let remedy = "write { prefix = \"10.0.0.0/8\", router = \"10.20.0.1\" }";
        reader.complain(entry.span().start, path.to_owned(), Complaint::new(message, remedy));
        return None;
    };
    let table = reader.table(entry, &grammar::ROUTE, path.to_owned())?;
    let prefix = reader.parsed(&table, "prefix", value::prefix);
    let router = reader.parsed(&table, "router", value::address);
    for key in grammar::ROUTE.keys {
        if !table.has(key) {
            reader.missing(
                &table,
                key,
                "as in { prefix = \"10.0.0.0/8\", router = \"10.20.0.1\" }",
            );
        }
    }
    Some((prefix?.value, router?.value))
}

/// A domain name in DNS encoding (RFC 1035 section 3.1).
pub(crate) fn labels(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).ok()?);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    Some(bytes)
}

/// Bytes in one of the [forms](BYTES_FORMS) of the file.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>, Complaint> {
    let wrong = || {
        let message = format!("{} is neither hexadecimal bytes nor text", quoted(text));
        Complaint::new(message, "write \"hex:0a0b\", \"hex:0a:0b\" or \"text:hello\"")
    };
    let form = BYTES_FORMS.iter().find_map(|(form, _)| Some((*form, text.strip_prefix(form)?)));
    let (form, rest) = form.ok_or_else(wrong)?;
    let numbers = |max: u32| {
        let number = |word: &str| word.parse::<u32>().ok().filter(|number| *number <= max);
        rest.split_ascii_whitespace().map(number).collect::<Option<Vec<u32>>>().ok_or_else(|| {
            let message = format!("{} holds something else than numbers", quoted(text));
            Complaint::new(message, format!("write {form} and numbers from 0 to {max}"))
        })
    };
    let bytes: Vec<u8> = match form {
        "text:" => rest.as_bytes().to_vec(),
        "ipv4:" => {
            let mut bytes = Vec::new();
            for word in rest.split_ascii_whitespace() {
                bytes.extend(value::address(word)?.octets());
            }
            bytes
        }
        "u8:" => numbers(u8::MAX.into())?.iter().map(|number| number.to_be_bytes()[3]).collect(),
        "u16:" => {
            let numbers = numbers(u16::MAX.into())?;
            numbers.iter().flat_map(|number| number.to_be_bytes().into_iter().skip(2)).collect()
        }
        "u32:" => numbers(u32::MAX)?.iter().flat_map(|number| number.to_be_bytes()).collect(),
        _ => hexadecimal_bytes(rest).ok_or_else(wrong)?,
    };
    if bytes.is_empty() { Err(wrong()) } else { Ok(bytes) }
}

/// Bytes of hexadecimal digits, with spaces, colons or hyphens between bytes if wanted.
fn hexadecimal_bytes(digits: &str) -> Option<Vec<u8>> {
    let separator = |c: char| [' ', ':', '-'].contains(&c);
    let mut bytes = Vec::new();
    for group in digits.split(separator) {
        if group.is_empty() || !group.len().is_multiple_of(2) || !group.is_ascii() {
            return None;
        }
        for pair in group.as_bytes().chunks(2) {
            let pair = std::str::from_utf8(pair).ok()?;
            if !pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(pair, 16).ok()?);
        }
    }
    Some(bytes)
}

/// What [`encode`] encoded, in words; `None` if it did not encode this.
pub(crate) fn decode(kind: Kind, contents: &[u8]) -> Option<String> {
    match kind {
        Kind::Address | Kind::Addresses => {
            let (addresses, rest) = contents.as_chunks::<4>();
            if addresses.is_empty() || !rest.is_empty() {
                return None;
            }
            let words = addresses.iter().map(|octets| Ipv4Addr::from(*octets).to_string());
            Some(words.collect::<Vec<_>>().join(", "))
        }
        Kind::Flag => match contents {
            [0] => Some("false".to_owned()),
            [1] => Some("true".to_owned()),
            _ => None,
        },
        Kind::Number8(_) => <[u8; 1]>::try_from(contents).ok().map(|[number]| number.to_string()),
        Kind::Number16(_) | Kind::Numbers16(_) => {
            let (numbers, rest) = contents.as_chunks::<2>();
            if numbers.is_empty() || !rest.is_empty() {
                return None;
            }
            let words = numbers.iter().map(|bytes| u16::from_be_bytes(*bytes).to_string());
            Some(words.collect::<Vec<_>>().join(", "))
        }
        Kind::Signed32 => contents.try_into().ok().map(|b| i32::from_be_bytes(b).to_string()),
        Kind::Seconds => {
            contents.try_into().ok().map(|b| value::duration_in_words(u32::from_be_bytes(b)))
        }
        Kind::Text | Kind::DomainName | Kind::Url | Kind::UrlOrUnrestricted => {
            let text = std::str::from_utf8(contents).ok()?;
            text.chars().all(|c| c == ' ' || c.is_ascii_graphic()).then(|| text.to_owned())
        }
        Kind::DomainNames => names_in_words(contents),
        Kind::Routes => routes_in_words(contents),
        Kind::NetbiosNodeType => {
            let found = NETBIOS_NODE_TYPES.iter().find(|(_, number)| contents == [*number]);
            found.map(|(name, _)| (*name).to_owned())
        }
        Kind::Bytes => None,
        Kind::Number32 => contents.try_into().ok().map(|b| u32::from_be_bytes(b).to_string()),
        Kind::EncodedName => names_in_words(contents),
        Kind::AddressMasks
        | Kind::HostRoutes
        | Kind::AddressesOrNames
        | Kind::AddressLists
        | Kind::Urls
        | Kind::Ipv6Prefix
        | Kind::Fields(_)
        | Kind::SubOptions
        | Kind::VendorClasses
        | Kind::VendorOptions
        | Kind::Resolvers => decode_compound(kind, contents),
    }
}

fn names_in_words(contents: &[u8]) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    let mut labels: Vec<&str> = Vec::new();
    let mut rest = contents;
    while let Some((length, tail)) = rest.split_first() {
        let (label, tail) = tail.split_at_checked(usize::from(*length))?;
        if label.is_empty() {
            names.push(std::mem::take(&mut labels).join("."));
        } else {
            labels.push(std::str::from_utf8(label).ok()?);
        }
        rest = tail;
    }
    (labels.is_empty() && !names.is_empty()).then(|| names.join(", "))
}

fn routes_in_words(contents: &[u8]) -> Option<String> {
    let mut routes = Vec::new();
    let mut rest = contents;
    while let Some((length, tail)) = rest.split_first() {
        let (significant, tail) = tail.split_at_checked(usize::from(length.div_ceil(8)))?;
        let (router, tail) = tail.split_first_chunk::<4>()?;
        let mut prefix = [0; 4];
        prefix.get_mut(..significant.len())?.copy_from_slice(significant);
        routes.push(format!("{}/{length} via {}", Ipv4Addr::from(prefix), Ipv4Addr::from(*router)));
        rest = tail;
    }
    (!routes.is_empty()).then(|| routes.join(", "))
}

pub(crate) fn hexadecimal(contents: &[u8]) -> String {
    let digits: String = contents.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("hex:{digits}")
}
