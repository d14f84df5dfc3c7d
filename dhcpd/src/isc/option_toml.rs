//! Contents of options as `vestibule.toml` writes them.
//!
//! It promises that what it gives is taken by the configuration's own reader: each kind that it does not
//! check itself is put before that reader. What our option of a code cannot hold is refused in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use vestibule_config::limits::OPTION_LENGTH_MAX;
use vestibule_config::option_table::{COMPUTED, Kind, by_code};

/// Answers of the configuration's reader that are remembered.
const REMEMBERED_MAX: usize = 65_536;

/// Turns contents of options into entries of an `options` table.
#[derive(Debug, Default)]
pub(super) struct OptionWriter {
    /// What the configuration's reader said of an entry: nothing, if it takes it.
    answers: BTreeMap<String, Option<String>>,
}

impl OptionWriter {
    /// Key and value of an option, as in `routers = ["10.0.0.1"]`.
    ///
    /// # Errors
    /// Why no file may hold it, in words.
    pub(super) fn entry(&mut self, code: u8, contents: &[u8]) -> Result<String, String> {
        if let Some(computed) = COMPUTED.iter().find(|option| option.code == code) {
            return Err(format!("option {code} cannot be configured: {}", computed.reason));
        }
        if contents.is_empty() {
            return Err("an empty option cannot be sent".to_owned());
        }
        if contents.len() > OPTION_LENGTH_MAX {
            return Err(format!("more than {OPTION_LENGTH_MAX} bytes"));
        }
        let Some(known) = by_code(code) else {
            return Ok(format!("option-{code} = {}", bytes(contents)));
        };
        let not_its_kind = || format!("`{}` cannot hold the bytes {}", known.name, bytes(contents));
        let value = value(known.kind, contents).ok_or_else(not_its_kind)?;
        let entry = format!("{} = {value}", known.name);
        if matches!(
            known.kind,
            Kind::Text | Kind::Address | Kind::Addresses | Kind::Flag | Kind::Bytes
        ) {
            return Ok(entry);
        }
        match self.answer(&entry) {
            None => Ok(entry),
            Some(message) => Err(message),
        }
    }

    fn answer(&mut self, entry: &str) -> Option<String> {
        if let Some(answer) = self.answers.get(entry) {
            return answer.clone();
        }
        let text = format!(
            "[server]\nname = \"a\"\ninterfaces = [\"a\"]\n[gate]\nmode = \"off\"\n[[network]]\nname = \"a\"\n\
             gated = false\n[[network.subnet]]\nprefix = \"192.0.2.0/24\"\n[network.subnet.options]\n{entry}\n"
        );
        let answer = vestibule_config::parse(&text, "options").err().map(|mistakes| {
            let first = mistakes.list.first();
            first.map_or_else(|| mistakes.to_string(), |mistake| mistake.message.clone())
        });
        if self.answers.len() < REMEMBERED_MAX {
            self.answers.insert(entry.to_owned(), answer.clone());
        }
        answer
    }
}

/// A value of a kind; `None` if these are not contents of it.
fn value(kind: Kind, contents: &[u8]) -> Option<String> {
    match kind {
        Kind::Address => {
            let octets = <[u8; 4]>::try_from(contents).ok()?;
            Some(text(&Ipv4Addr::from(octets).to_string()))
        }
        Kind::Addresses => {
            list(contents, |octets: [u8; 4]| text(&Ipv4Addr::from(octets).to_string()))
        }
        Kind::Flag => match contents {
            [0] => Some("false".to_owned()),
            [1] => Some("true".to_owned()),
            _ => None,
        },
        Kind::Number8(_) => <[u8; 1]>::try_from(contents).ok().map(|[number]| number.to_string()),
        Kind::Number16(_) => {
            contents.try_into().ok().map(|bytes| u16::from_be_bytes(bytes).to_string())
        }
        Kind::Numbers16(_) => {
            list(contents, |bytes: [u8; 2]| u16::from_be_bytes(bytes).to_string())
        }
        Kind::Signed32 => contents.try_into().ok().map(|b| i32::from_be_bytes(b).to_string()),
        Kind::Seconds => contents.try_into().ok().map(|b| text(&duration(u32::from_be_bytes(b)))),
        Kind::Text => {
            let is_plain = contents.iter().all(|byte| (b' '..=b'~').contains(byte));
            is_plain.then(|| text(&String::from_utf8_lossy(contents)))
        }
        Kind::DomainName | Kind::Url | Kind::UrlOrUnrestricted => {
            std::str::from_utf8(contents).ok().map(text)
        }
        Kind::DomainNames => {
            let names = names(contents)?;
            Some(format!(
                "[{}]",
                names.iter().map(|name| text(name)).collect::<Vec<_>>().join(", ")
            ))
        }
        Kind::Routes => routes(contents),
        Kind::NetbiosNodeType => {
            let name = match contents {
                [1] => "b-node",
                [2] => "p-node",
                [4] => "m-node",
                [8] => "h-node",
                _ => return None,
            };
            Some(text(name))
        }
        Kind::Number32 => contents.try_into().ok().map(|b| u32::from_be_bytes(b).to_string()),
        Kind::EncodedName => {
            let names = names(contents)?;
            let [name] = names.as_slice() else { return None };
            Some(text(name))
        }
        Kind::AddressMasks => list(contents, |[a, b, c, d, mask @ ..]: [u8; 8]| {
            let length = u32::from_be_bytes(mask).leading_ones();
            text(&format!("{}/{length}", Ipv4Addr::new(a, b, c, d)))
        }),
        Kind::AddressesOrNames => match contents.split_first()? {
            (1, addresses) => value(Kind::Addresses, addresses),
            (_, names) => value(Kind::DomainNames, names),
        },
        // Their table can always be written as the bytes that it stands for.
        Kind::Bytes
        | Kind::HostRoutes
        | Kind::Fields(_)
        | Kind::SubOptions
        | Kind::VendorClasses
        | Kind::VendorOptions
        | Kind::Resolvers => Some(bytes(contents)),
        Kind::AddressLists | Kind::Urls | Kind::Ipv6Prefix => None,
    }
}

fn list<const N: usize>(contents: &[u8], each: impl Fn([u8; N]) -> String) -> Option<String> {
    let (entries, rest) = contents.as_chunks::<N>();
    if entries.is_empty() || !rest.is_empty() {
        return None;
    }
    Some(format!("[{}]", entries.iter().map(|entry| each(*entry)).collect::<Vec<_>>().join(", ")))
}

/// Domain names in DNS encoding; `None` also for compressed ones.
fn names(mut contents: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while !contents.is_empty() {
        let mut name = String::new();
        loop {
            let (length, rest) = contents.split_first()?;
            contents = rest;
            if *length == 0 {
                break;
            }
            let (label, rest) = contents.split_at_checked(usize::from(*length))?;
            contents = rest;
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(std::str::from_utf8(label).ok()?);
        }
        names.push(name);
    }
    Some(names)
}

/// Routes of RFC 3442.
fn routes(mut contents: &[u8]) -> Option<String> {
    let mut routes = Vec::new();
    while let Some((length, rest)) = contents.split_first() {
        let significant = usize::from(length.div_ceil(8));
        let (prefix, rest) = rest.split_at_checked(significant).filter(|_| *length <= 32)?;
        let (router, rest) = rest.split_at_checked(4)?;
        contents = rest;
        let mut octets = [0; 4];
        octets.get_mut(..significant)?.copy_from_slice(prefix);
        let router = Ipv4Addr::from(<[u8; 4]>::try_from(router).ok()?);
        let prefix = Ipv4Addr::from(octets);
        routes.push(format!("{{ prefix = \"{prefix}/{length}\", router = \"{router}\" }}"));
    }
    (!routes.is_empty()).then(|| format!("[{}]", routes.join(", ")))
}

/// Contents of any option.
fn bytes(contents: &[u8]) -> String {
    if contents.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return text(&format!("text:{}", String::from_utf8_lossy(contents)));
    }
    let mut written = "hex:".to_owned();
    for byte in contents {
        // Writing into a string cannot fail.
        let _ = write!(written, "{byte:02x}");
    }
    text(&written)
}

/// A text of TOML: on one line, and nothing in it acts on whoever reads the file.
pub(super) fn text(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    written.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => written.extend(['\\', c]),
            c if crate::api::is_active(c) => {
                let _ = write!(written, "\\U{:08x}", u32::from(c));
            }
            c => written.push(c),
        }
    }
    written.push('"');
    written
}

/// A duration, the longest unit first.
pub(super) fn duration(seconds: u32) -> String {
    let units = [
        (seconds / 86_400, 'd'),
        (seconds / 3600 % 24, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ];
    let written: String = units
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if written.is_empty() { "0s".to_owned() } else { written }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end by a panic")]
mod tests {
    use super::*;

    #[test]
    fn contents_are_written_by_our_names() {
        let mut writer = OptionWriter::default();
        for (code, contents, entry) in [
            (3, &[10, 0, 0, 1][..], r#"routers = ["10.0.0.1"]"#),
            (2, &(-18000_i32).to_be_bytes(), "time-offset = -18000"),
            (15, b"campus.example", r#"domain-name = "campus.example""#),
            (19, &[1], "ip-forwarding = true"),
            (26, &[5, 220], "interface-mtu = 1500"),
            (46, &[8], r#"netbios-node-type = "h-node""#),
            (108, &[0, 0, 7, 8], r#"v6-only-preferred = "30m""#),
            (119, b"\x01a\x07example\x00\x01b\x00", r#"domain-search = ["a.example", "b"]"#),
            (
                121,
                &[0, 10, 0, 0, 1, 12, 172, 16, 10, 0, 0, 2],
                r#"classless-static-route = [{ prefix = "0.0.0.0/0", router = "10.0.0.1" }, { prefix = "172.16.0.0/12", router = "10.0.0.2" }]"#,
            ),
            (43, &[1, 4, 192], r#"vendor-specific-information = "hex:0104c0""#),
            (224, b"a \"b\"", r#"option-224 = "text:a \"b\"""#),
        ] {
            assert_eq!(writer.entry(code, contents).as_deref(), Ok(entry));
            // The configuration's own reader has the last word.
            assert_eq!(writer.answer(entry), None, "{entry}");
        }
    }

    #[test]
    fn what_no_file_may_hold_is_refused_in_words() {
        let mut writer = OptionWriter::default();
        for (code, contents, why) in [
            (
                51,
                &[0, 0, 0, 1][..],
                "option 51 cannot be configured: set leases.lifetime and leases.lifetime-unregistered",
            ),
            (3, &[10, 0, 0], "`routers` cannot hold the bytes \"hex:0a0000\""),
            (12, b"a\x01", "`host-name` cannot hold the bytes \"hex:6101\""),
            (224, b"", "an empty option cannot be sent"),
        ] {
            assert_eq!(writer.entry(code, contents), Err(why.to_owned()));
        }
        assert!(writer.entry(15, b"a.example b.example").is_err());
        assert!(writer.entry(26, &[0, 1]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_written_is_taken(code in 0..=255_u8, contents in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let mut writer = OptionWriter::default();
            if let Ok(entry) = writer.entry(code, &contents) {
                proptest::prop_assert_eq!(writer.answer(&entry), None);
            }
        }

        #[test]
        fn durations_are_those_of_the_reader(seconds in proptest::num::u32::ANY) {
            let mut writer = OptionWriter::default();
            let entry = writer.entry(108, &seconds.to_be_bytes()).unwrap();
            proptest::prop_assert_eq!(writer.answer(&entry), None);
        }
    }
}
