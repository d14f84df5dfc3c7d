//! Options whose contents are made of several parts: encapsulated options, vendors' options, encrypted
//! resolvers, and others with a layout of their own.
//!
//! It promises well-formed contents, lengths included, and that a mistake names its place. Each of these
//! options can also be written as bytes, for what its table cannot say.

use crate::grammar::Section;
use crate::mistake::{Complaint, quoted};
use crate::option_table::{Fields, Kind};
use crate::option_value::{bytes, each, encode, labels, route_of};
use crate::reader::{Reader, Table, Value, type_in_words};
use crate::value;
use std::net::Ipv4Addr;
use toml::de::DeValue;

/// Entries of one list inside an option.
const ENTRIES_MAX: usize = 256;

/// One vendor's class of [`Kind::VendorClasses`].
const VENDOR_CLASS: Section =
    Section { header: "a class of vendor-identifying-vendor-class", keys: &["enterprise", "data"] };

/// One vendor's options of [`Kind::VendorOptions`].
const VENDOR_OPTIONS: Section = Section {
    header: "an entry of vendor-identifying-vendor-specific",
    keys: &["enterprise", "options"],
};

/// One resolver of [`Kind::Resolvers`].
const RESOLVER: Section = Section {
    header: "a resolver of encrypted-dns",
    keys: &["priority", "name", "addresses", "alpn", "port", "path"],
};

/// Keys of the parameters of a resolver's service (RFC 9460 section 14.3.2, RFC 9461 section 5).
mod service_parameter {
    pub(super) const ALPN: u16 = 1;
    pub(super) const PORT: u16 = 3;
    pub(super) const DOHPATH: u16 = 7;
}

/// The contents of a compound option; `None` if a mistake was noted.
pub(crate) fn encode_compound(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    kind: Kind,
    path: &str,
) -> Option<Vec<u8>> {
    if let DeValue::String(text) = value.get_ref()
        && !matches!(
            kind,
            Kind::AddressMasks
                | Kind::AddressesOrNames
                | Kind::AddressLists
                | Kind::Urls
                | Kind::Ipv6Prefix
        )
    {
        let placed = crate::reader::Placed { value: text.as_ref(), at: value.span().start };
        return reader.accept(placed, path, bytes).map(|placed| placed.value);
    }
    match kind {
        Kind::AddressMasks => each(reader, value, path, |reader, entry| {
            let text = reader.text_of(entry, path)?;
            let prefix = reader.accept(text, path, value::prefix)?.value;
            Some([prefix.network().octets(), prefix.mask().octets()].concat())
        }),
        Kind::HostRoutes => each(reader, value, path, |reader, entry| {
            let (prefix, router) = route_of(reader, entry, path)?;
            let classful = match prefix.network().octets() {
                [0..128, ..] => 8,
                [128..192, ..] => 16,
                _ => 24,
            };
            if prefix.prefix() != 32 && prefix.prefix() != classful {
                let message = format!("{prefix} is neither a host nor a network of its class");
                let complaint = Complaint::new(message, "write it into classless-static-route");
                reader.complain(entry.span().start, path.to_owned(), complaint);
                return None;
            }
            Some([prefix.network().octets(), router.octets()].concat())
        }),
        Kind::AddressesOrNames => addresses_or_names(reader, value, path),
        Kind::AddressLists => {
            let flat = value.get_ref().as_array().is_none_or(|entries| {
                entries.iter().all(|entry| !matches!(entry.get_ref(), DeValue::Array(_)))
            });
            if flat {
                return with_length(reader, value, path, Kind::Addresses);
            }
            each(reader, value, path, |reader, entry| {
                with_length(reader, entry, path, Kind::Addresses)
            })
        }
        Kind::Urls => each(reader, value, path, |reader, entry| {
            let url = encode(reader, entry, Kind::Url, path)?;
            Some([&u16::try_from(url.len()).ok()?.to_be_bytes()[..], &url].concat())
        }),
        Kind::Ipv6Prefix => {
            let text = reader.text_of(value, path)?;
            let prefix = reader.accept(text, path, value::prefix_ipv6)?.value;
            let mut contents = vec![prefix.prefix()];
            contents.extend(prefix.network().octets());
            Some(contents)
        }
        Kind::Fields(fields) => encode_fields(reader, value, fields, path),
        Kind::SubOptions => sub_options(reader, value, path),
        Kind::VendorClasses => each(reader, value, path, |reader, entry| {
            let table = reader.table(entry, &VENDOR_CLASS, path.to_owned())?;
            let enterprise = enterprise(reader, &table);
            let data = reader.parsed(&table, "data", bytes);
            if !table.has("data") {
                reader.missing(&table, "data", "as in data = \"text:phone\"");
            }
            enterprise_entry(enterprise?, &data?.value)
        }),
        Kind::VendorOptions => each(reader, value, path, |reader, entry| {
            let table = reader.table(entry, &VENDOR_OPTIONS, path.to_owned())?;
            let enterprise = enterprise(reader, &table);
            let Some(options) = table.get("options") else {
                reader.missing(&table, "options", "as in options = { 1 = \"ipv4:10.0.0.5\" }");
                return None;
            };
            let options = sub_options(reader, options, path)?;
            let entry_contents = enterprise_entry(enterprise?, &options);
            if entry_contents.is_none() {
                let message = "one vendor's options take more than 255 bytes".to_owned();
                reader.complain(entry.span().start, path.to_owned(), Complaint::plain(message));
            }
            entry_contents
        }),
        Kind::Resolvers => each(reader, value, path, |reader, entry| resolver(reader, entry, path)),
        _ => None,
    }
}

fn encode_fields(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    fields: &'static Fields,
    path: &str,
) -> Option<Vec<u8>> {
    let table = reader.table(value, &fields.section, path.to_owned())?;
    let mut contents = Vec::new();
    let mut good = true;
    for (key, kind) in fields.section.keys.iter().zip(fields.kinds) {
        let Some(value) = table.get(key) else {
            reader.missing(
                &table,
                key,
                &format!("its keys are {}", fields.section.keys.join(", ")),
            );
            good = false;
            continue;
        };
        match encode(reader, value, *kind, &table.path_of(key)) {
            Some(bytes) => contents.extend(bytes),
            None => good = false,
        }
    }
    good.then_some(contents)
}

/// RFC 3361 section 3: 0 before names, 1 before addresses.
fn addresses_or_names(reader: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<Vec<u8>> {
    let first = match value.get_ref() {
        DeValue::Array(entries) => entries.first().map(|entry| entry.get_ref()),
        other => Some(other),
    };
    let is_address =
        first.and_then(DeValue::as_str).is_some_and(|text| text.parse::<Ipv4Addr>().is_ok());
    let kind = if is_address { Kind::Addresses } else { Kind::DomainNames };
    let contents = encode(reader, value, kind, path)?;
    Some([&[u8::from(is_address)][..], &contents].concat())
}

fn with_length(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    path: &str,
    kind: Kind,
) -> Option<Vec<u8>> {
    let contents = encode(reader, value, kind, path)?;
    let prefixed = with_byte_length(&contents);
    if prefixed.is_none() {
        let message = format!("a list of {} takes more than 255 bytes", quoted(path));
        reader.complain(value.span().start, path.to_owned(), Complaint::plain(message));
    }
    prefixed
}

fn with_byte_length(contents: &[u8]) -> Option<Vec<u8>> {
    Some([&[u8::try_from(contents.len()).ok()?][..], contents].concat())
}

/// A table of codes and bytes, or of codes and tables of the same kind.
fn sub_options(reader: &mut Reader<'_>, value: &Value<'_>, path: &str) -> Option<Vec<u8>> {
    let DeValue::Table(entries) = value.get_ref() else {
        let found = type_in_words(value.get_ref());
        let message = format!("{} is a table of sub-options, not {found}", quoted(path));
        let remedy = "write { 1 = \"ipv4:10.0.0.5\", 2 = \"text:…\" }, or \"hex:…\" for all of it";
        reader.complain(value.span().start, path.to_owned(), Complaint::new(message, remedy));
        return None;
    };
    let mut found: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut good = !entries.is_empty();
    for (key, value) in entries.iter() {
        let name: &str = key.get_ref();
        let path = format!("{path}.{name}");
        let code = name
            .parse::<u8>()
            .ok()
            .filter(|code| code.to_string() == name && (1..=254).contains(code));
        let Some(code) = code else {
            let message = format!("{} is no code of a sub-option", quoted(name));
            let complaint = Complaint::new(message, "codes go from 1 to 254, as in 1 = \"hex:0a\"");
            reader.complain(key.span().start, path, complaint);
            good = false;
            continue;
        };
        let contents = match value.get_ref() {
            DeValue::String(text) => {
                let placed = crate::reader::Placed { value: text.as_ref(), at: value.span().start };
                reader.accept(placed, &path, bytes).map(|placed| placed.value)
            }
            _ => {
                let found = type_in_words(value.get_ref());
                let message = format!("{} takes bytes as text, not {found}", quoted(&path));
                let remedy = "write \"hex:0a0b\", \"text:…\", \"ipv4:10.0.0.5\" or \"u16:1500\"";
                let complaint = Complaint::new(message, remedy);
                reader.complain(value.span().start, path.clone(), complaint);
                None
            }
        };
        match contents {
            Some(contents) if contents.len() <= 255 => found.push((code, contents)),
            Some(contents) => {
                let message =
                    format!("{} takes {} bytes; the limit is 255", quoted(&path), contents.len());
                reader.complain(value.span().start, path, Complaint::plain(message));
                good = false;
            }
            None => good = false,
        }
    }
    if entries.is_empty() {
        let message = format!("{} is empty, which no DHCP option may be", quoted(path));
        let complaint = Complaint::new(message, "leave it out to send none");
        reader.complain(value.span().start, path.to_owned(), complaint);
    }
    found.sort_unstable();
    let mut contents = Vec::new();
    for (code, of_code) in found {
        contents.push(code);
        contents.extend(with_byte_length(&of_code)?);
    }
    good.then_some(contents)
}

fn enterprise(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<u32> {
    if !table.has("enterprise") {
        reader.missing(
            table,
            "enterprise",
            "the vendor's number in IANA's list, as in enterprise = 9",
        );
    }
    reader.number(table, "enterprise", 0, u32::MAX)
}

/// RFC 3925: the vendor's number, the length of what follows, and that.
fn enterprise_entry(enterprise: u32, contents: &[u8]) -> Option<Vec<u8>> {
    Some([&enterprise.to_be_bytes()[..], &with_byte_length(contents)?].concat())
}

/// One resolver (RFC 9463 section 5.1): with a name alone, its clients find the rest by DNS.
fn resolver(reader: &mut Reader<'_>, entry: &Value<'_>, path: &str) -> Option<Vec<u8>> {
    let table = reader.table(entry, &RESOLVER, path.to_owned())?;
    let priority = reader.number(&table, "priority", 1, u16::MAX.into());
    let name = reader.parsed(&table, "name", value::domain_name);
    if !table.has("name") {
        let why = "the name in the resolver's certificate, as in name = \"dns.campus.example\"";
        reader.missing(&table, "name", why);
    }
    let addresses = reader.parsed_list(&table, "addresses", ENTRIES_MAX, value::address);
    let protocols = reader.parsed_list(&table, "alpn", ENTRIES_MAX, |text| {
        if text.is_empty() || text.len() > 255 || !text.bytes().all(|byte| byte.is_ascii_graphic())
        {
            let message = format!("{} is no protocol of TLS", quoted(text));
            return Err(Complaint::new(message, "as in alpn = [\"dot\", \"h2\", \"h3\", \"doq\"]"));
        }
        Ok(text.as_bytes().to_vec())
    });
    let port = reader.number(&table, "port", 1, u16::MAX.into());
    let doh_path = reader.parsed(&table, "path", |text| {
        if !text.starts_with('/') || !text.contains("{?dns}") || !text.is_ascii() {
            let message = format!("{} is no path of DNS over HTTPS", quoted(text));
            return Err(Complaint::new(message, "as in path = \"/dns-query{?dns}\" (RFC 9461)"));
        }
        Ok(text.as_bytes().to_vec())
    });
    let needs_addresses = table.has("alpn") || table.has("port") || table.has("path");
    if needs_addresses && !table.has("addresses") {
        reader.missing(&table, "addresses", "without it, RFC 9463 takes the name alone");
        return None;
    }
    if table.has("addresses") && !table.has("alpn") {
        let why = "what it speaks, as in alpn = [\"dot\"] (RFC 9463 section 3.1.5)";
        reader.missing(&table, "alpn", why);
        return None;
    }
    let name = labels(&name?.value)?;
    let mut contents = u16::try_from(priority.unwrap_or(1)).ok()?.to_be_bytes().to_vec();
    contents.extend(with_byte_length(&name)?);
    if let Some(addresses) = addresses {
        let addresses: Vec<u8> =
            addresses.iter().flat_map(|address| address.value.octets()).collect();
        if addresses.is_empty() {
            let complaint = Complaint::new("addresses is empty", "leave it out, with alpn");
            reader.complain_about(&table, "addresses", table.place_of("addresses"), complaint);
            return None;
        }
        contents.extend(with_byte_length(&addresses)?);
        let mut parameter = |key: u16, value: &[u8]| -> Option<()> {
            contents.extend(key.to_be_bytes());
            contents.extend(u16::try_from(value.len()).ok()?.to_be_bytes());
            contents.extend(value);
            Some(())
        };
        let mut alpn = Vec::new();
        for protocol in protocols.unwrap_or_default() {
            alpn.extend(with_byte_length(&protocol.value)?);
        }
        parameter(service_parameter::ALPN, &alpn)?;
        if let Some(port) = port {
            parameter(service_parameter::PORT, &u16::try_from(port).ok()?.to_be_bytes())?;
        }
        if let Some(path) = doh_path {
            parameter(service_parameter::DOHPATH, &path.value)?;
        }
    }
    let length = u16::try_from(contents.len()).ok()?;
    Some([&length.to_be_bytes()[..], &contents].concat())
}

/// What [`encode_compound`] encoded, in words; `None` if it did not encode this, or has no better words
/// than the bytes.
pub(crate) fn decode_compound(kind: Kind, contents: &[u8]) -> Option<String> {
    match kind {
        Kind::AddressMasks | Kind::HostRoutes => {
            let (pairs, rest) = contents.as_chunks::<8>();
            let words = |[a, b, c, d, e, f, g, h]: &[u8; 8]| {
                let between = if kind == Kind::HostRoutes { " via " } else { "/" };
                let (first, second) =
                    (Ipv4Addr::new(*a, *b, *c, *d), Ipv4Addr::new(*e, *f, *g, *h));
                format!("{first}{between}{second}")
            };
            let list = pairs.iter().map(words).collect::<Vec<_>>().join(", ");
            (rest.is_empty() && !list.is_empty()).then_some(list)
        }
        Kind::AddressesOrNames => {
            let (which, contents) = contents.split_first()?;
            let kind = if *which == 1 { Kind::Addresses } else { Kind::DomainNames };
            crate::option_value::decode(kind, contents)
        }
        Kind::SubOptions => sub_options_in_words(contents),
        Kind::VendorOptions => {
            let mut list = Vec::new();
            let mut rest = contents;
            while !rest.is_empty() {
                let (enterprise, tail) = rest.split_first_chunk::<4>()?;
                let (length, tail) = tail.split_first()?;
                let (options, tail) = tail.split_at_checked(usize::from(*length))?;
                let options = sub_options_in_words(options)?;
                list.push(format!("enterprise {}: {options}", u32::from_be_bytes(*enterprise)));
                rest = tail;
            }
            (!list.is_empty()).then(|| list.join("; "))
        }
        _ => None,
    }
}

fn sub_options_in_words(contents: &[u8]) -> Option<String> {
    let mut list = Vec::new();
    let mut rest = contents;
    while let [code, length, tail @ ..] = rest {
        let (of_code, tail) = tail.split_at_checked(usize::from(*length))?;
        list.push(format!("{code} = {}", crate::option_value::hexadecimal(of_code)));
        rest = tail;
    }
    (rest.is_empty() && !list.is_empty()).then(|| list.join(", "))
}
