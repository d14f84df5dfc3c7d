//! DHCP options as they are written in a case: by name where they have one, and by contents where
//! they have the form that the option asks for. `hex:` shows and takes any contents.

use super::field::{address, hexadecimal, number, shown_hexadecimal};
use std::net::Ipv4Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Addresses,
    Number8,
    Number16,
    Number32,
    Text,
    Nothing,
    Codes,
    Bytes,
    RelayAgent,
}

/// Codes, names (as IANA has them), and forms.
const NAMED: &[(u8, &str, Kind)] = &[
    (1, "subnet-mask", Kind::Addresses),
    (3, "routers", Kind::Addresses),
    (4, "time-servers", Kind::Addresses),
    (6, "domain-name-servers", Kind::Addresses),
    (7, "log-servers", Kind::Addresses),
    (9, "lpr-servers", Kind::Addresses),
    (12, "host-name", Kind::Text),
    (15, "domain-name", Kind::Text),
    (16, "swap-server", Kind::Addresses),
    (17, "root-path", Kind::Text),
    (42, "ntp-servers", Kind::Addresses),
    (43, "vendor-specific-information", Kind::Bytes),
    (50, "requested-address", Kind::Addresses),
    (51, "lease-time", Kind::Number32),
    (52, "overload", Kind::Number8),
    (54, "server-identifier", Kind::Addresses),
    (55, "parameter-request-list", Kind::Codes),
    (56, "message", Kind::Text),
    (57, "maximum-message-size", Kind::Number16),
    (58, "renewal-time", Kind::Number32),
    (59, "rebinding-time", Kind::Number32),
    (60, "vendor-class-identifier", Kind::Text),
    (61, "client-identifier", Kind::Bytes),
    (66, "tftp-server-name", Kind::Text),
    (67, "bootfile-name", Kind::Text),
    (69, "smtp-servers", Kind::Addresses),
    (72, "www-servers", Kind::Addresses),
    (80, "rapid-commit", Kind::Nothing),
    (82, "relay-agent-information", Kind::RelayAgent),
    (108, "v6-only-preferred", Kind::Number32),
    (114, "captive-portal", Kind::Text),
    (118, "subnet-selection", Kind::Addresses),
    (119, "domain-search", Kind::Bytes),
];

/// Sub-options of option 82 and whether they hold an address.
const SUB_OPTIONS: &[(u8, &str, bool)] = &[
    (1, "circuit-id", false),
    (2, "remote-id", false),
    (5, "link-selection", true),
    (11, "server-identifier-override", true),
    (19, "relay-source-port", false),
];

/// Contents of one character beyond this length are written as a repetition.
const REPEATED_MIN: usize = 24;

/// Code and contents of `name value`.
pub(crate) fn read(text: &str) -> Result<(u8, Vec<u8>), String> {
    let (name, value) = text.split_once(' ').unwrap_or((text, ""));
    let code = code_of(name)?;
    Ok((code, contents_of(kind_of(code), value.trim())?))
}

/// `name value` of an option.
pub(crate) fn shown(code: u8, contents: &[u8]) -> String {
    let value = value_of(kind_of(code), contents)
        .unwrap_or_else(|| format!("hex:{}", shown_hexadecimal(contents)));
    format!("{} {value}", name_of(code)).trim_end().to_owned()
}

fn name_of(code: u8) -> String {
    let named = NAMED.iter().find(|(other, ..)| *other == code);
    named.map_or_else(|| format!("option-{code}"), |(_, name, _)| (*name).to_owned())
}

fn code_of(name: &str) -> Result<u8, String> {
    if let Some((code, ..)) = NAMED.iter().find(|(_, other, _)| *other == name) {
        return Ok(*code);
    }
    name.strip_prefix("option-")
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| format!("'{name}' is no option; write an unknown one as option-224"))
}

fn kind_of(code: u8) -> Kind {
    NAMED.iter().find(|(other, ..)| *other == code).map_or(Kind::Bytes, |(_, _, kind)| *kind)
}

fn contents_of(kind: Kind, value: &str) -> Result<Vec<u8>, String> {
    if let Some(digits) = value.strip_prefix("hex:") {
        return match digits.split_once(" * ") {
            Some((digits, times)) => Ok(hexadecimal(digits)?.repeat(number(times)?)),
            None => hexadecimal(digits),
        };
    }
    let list = || value.split(',').map(str::trim);
    match kind {
        Kind::Addresses => Ok(list()
            .map(|text| Ok(address(text)?.octets()))
            .collect::<Result<Vec<_>, String>>()?
            .concat()),
        Kind::Number8 => Ok(vec![number(value)?]),
        Kind::Number16 => Ok(number::<u16>(value)?.to_be_bytes().to_vec()),
        Kind::Number32 => Ok(number::<u32>(value)?.to_be_bytes().to_vec()),
        Kind::Text => match value.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            Some((text, "")) => Ok(text.as_bytes().to_vec()),
            Some((text, times)) => {
                let times = times.strip_prefix(" * ").ok_or("write a repetition as \"x\" * 300")?;
                Ok(text.repeat(number(times)?).into_bytes())
            }
            None => Err(format!("{value} is not a text in quotation marks")),
        },
        Kind::Nothing if value.is_empty() => Ok(Vec::new()),
        Kind::Codes => {
            list().map(|text| number(text).or_else(|_| code_of(text))).collect::<Result<_, _>>()
        }
        Kind::RelayAgent => {
            let mut contents = Vec::new();
            for sub_option in value.split_whitespace() {
                contents.extend(sub_option_of(sub_option)?);
            }
            Ok(contents)
        }
        Kind::Nothing | Kind::Bytes => Err("write it as hex:".to_owned()),
    }
}

fn sub_option_of(text: &str) -> Result<Vec<u8>, String> {
    let (name, value) = text.split_once('=').ok_or("write a sub-option as circuit-id=0001")?;
    let known = SUB_OPTIONS.iter().find(|(_, other, _)| *other == name);
    let code = known.map_or_else(|| number(name), |(code, ..)| Ok(*code))?;
    let contents = match known {
        Some((_, _, true)) if value.contains('.') => address(value)?.octets().to_vec(),
        _ => hexadecimal(value)?,
    };
    let length = u8::try_from(contents.len()).map_err(|_| "a sub-option has at most 255 bytes")?;
    Ok([&[code, length], contents.as_slice()].concat())
}

/// The value in the form of its kind; `None` if the contents have another one.
fn value_of(kind: Kind, contents: &[u8]) -> Option<String> {
    match kind {
        Kind::Addresses if !contents.is_empty() && contents.len().is_multiple_of(4) => {
            Some(addresses(contents))
        }
        Kind::Number8 => <[u8; 1]>::try_from(contents).ok().map(|[byte]| byte.to_string()),
        Kind::Number16 => contents.try_into().ok().map(|b| u16::from_be_bytes(b).to_string()),
        Kind::Number32 => contents.try_into().ok().map(|b| u32::from_be_bytes(b).to_string()),
        Kind::Text => {
            let text = std::str::from_utf8(contents).ok()?;
            if text.contains('"') || text.contains(char::is_control) {
                return None;
            }
            let first = text.chars().next()?;
            if text.len() >= REPEATED_MIN && text.chars().all(|c| c == first) {
                return Some(format!("\"{first}\" * {}", text.chars().count()));
            }
            Some(format!("\"{text}\""))
        }
        Kind::Nothing if contents.is_empty() => Some(String::new()),
        Kind::Codes => {
            Some(contents.iter().map(|code| name_of(*code)).collect::<Vec<_>>().join(", "))
        }
        Kind::RelayAgent => sub_options(contents),
        Kind::Bytes if contents.len() >= REPEATED_MIN => {
            let first = contents.first()?;
            contents
                .iter()
                .all(|byte| byte == first)
                .then(|| format!("hex:{first:02x} * {}", contents.len()))
        }
        _ => None,
    }
}

fn addresses(contents: &[u8]) -> String {
    let one = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map(Ipv4Addr::from).unwrap().to_string();
    contents.chunks(4).map(one).collect::<Vec<_>>().join(", ")
}

fn sub_options(contents: &[u8]) -> Option<String> {
    let mut shown = Vec::new();
    let mut rest = contents;
    while let [code, length, tail @ ..] = rest {
        let (value, tail) = tail.split_at_checked(usize::from(*length))?;
        let known = SUB_OPTIONS.iter().find(|(other, ..)| other == code);
        let name = known.map_or_else(|| code.to_string(), |(_, name, _)| (*name).to_owned());
        let value = match known {
            Some((_, _, true)) if value.len() == 4 => addresses(value),
            _ => shown_hexadecimal(value),
        };
        shown.push(format!("{name}={value}"));
        rest = tail;
    }
    rest.is_empty().then(|| shown.join(" "))
}
