//! A reply's bytes, read by somebody else's decoder and written in the form of the cases.
//!
//! dhcproto's owned decoder reads the fields and checks the contents of every option that it can
//! represent (it neither keeps the order of options nor reads overloaded fields, and it sorts option
//! 82). The order, the overload and option 82 are read by a plain walk.

use super::option;
use dhcproto::v4::{DhcpOption, Message, OptionCode};
use dhcproto::{Decodable as _, Decoder, Encodable as _};
use vestibule_core::Destination;

const FILE: std::ops::Range<usize> = 108..236;
const SNAME: std::ops::Range<usize> = 44..108;
const OPTIONS_START: usize = 240;

/// Where a reply goes, as cases write it.
pub(crate) fn destination(destination: Destination) -> String {
    match destination {
        Destination::Relay(relay) => format!("relay {relay}"),
        Destination::Client(address) => format!("client {address}:68"),
        Destination::Unconfigured { address, hardware } => {
            format!("{address}:68 at {hardware}, without ARP")
        }
        Destination::Broadcast => "255.255.255.255:68".to_owned(),
    }
}

/// The fields and options of a reply, a line each; the name of its type apart.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn lines(bytes: &[u8]) -> Result<(String, Vec<String>), String> {
    let message = Message::decode(&mut Decoder::new(bytes)).map_err(|error| error.to_string())?;
    if bytes.len() < OPTIONS_START || bytes[236..OPTIONS_START] != [99, 130, 83, 99] {
        return Err("no magic cookie".to_owned());
    }
    let name = match message.opts().msg_type() {
        Some(message_type) => format!("{message_type:?}").to_uppercase(),
        None => return Err("no message type".to_owned()),
    };
    let flags = u16::from(message.flags());
    let mut lines = vec![
        format!(
            "op {}, htype {}, hlen {}, hops {}, secs {}",
            u8::from(message.opcode()),
            u8::from(message.htype()),
            message.hlen(),
            message.hops(),
            message.secs()
        ),
        format!("xid {}", message.xid()),
        format!("flags {}", if flags == 0x8000 { "broadcast".into() } else { flags.to_string() }),
        format!("ciaddr {}", message.ciaddr()),
        format!("yiaddr {}", message.yiaddr()),
        format!("siaddr {}", message.siaddr()),
        format!("giaddr {}", message.giaddr()),
        format!("chaddr {}", colons(message.chaddr())),
    ];
    let options = walk(&bytes[OPTIONS_START..])?;
    if options.first().map(|(code, _)| *code) != Some(53) {
        return Err("the message type is not the first option".to_owned());
    }
    compare(&message, &options)?;
    lines.extend(options.iter().skip(1).map(|(code, contents)| option::shown(*code, contents)));
    let overload = options.iter().find(|(code, _)| *code == 52).map_or(0, |(_, value)| value[0]);
    for (bit, name, field) in [(1, "file", FILE), (2, "sname", SNAME)] {
        let field = &bytes[field];
        if overload & bit != 0 {
            let options = walk(field)?;
            lines.extend(
                options.iter().map(|(code, contents)| {
                    format!("in {name}: {}", option::shown(*code, contents))
                }),
            );
        } else if field.iter().any(|byte| *byte != 0) {
            return Err(format!("{name} is not empty"));
        }
    }
    lines.push(format!("length {}", bytes.len()));
    Ok((name, lines))
}

/// The options of one field, pieces joined; after End only padding.
fn walk(field: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, String> {
    let mut options: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut rest = field;
    loop {
        match rest {
            [0, tail @ ..] => rest = tail,
            [255, padding @ ..] if padding.iter().all(|byte| *byte == 0) => return Ok(options),
            [code @ 1..=254, length, tail @ ..] => {
                let (contents, tail) = tail
                    .split_at_checked(usize::from(*length))
                    .ok_or_else(|| format!("option {code} overruns its field"))?;
                match options.last_mut() {
                    Some((last, joined)) if last == code => joined.extend_from_slice(contents),
                    _ => options.push((*code, contents.to_vec())),
                }
                rest = tail;
            }
            _ => return Err("the options do not end in End and padding".to_owned()),
        }
    }
}

/// Holds the walk against dhcproto's reading.
fn compare(message: &Message, options: &[(u8, Vec<u8>)]) -> Result<(), String> {
    for (code, contents) in options {
        // Shown byte for byte by the walk: what dhcproto reorders, miscodes, or cannot write.
        if matches!(code, 82 | 108) || contents.is_empty() {
            continue;
        }
        let read: &DhcpOption = message
            .opts()
            .get(OptionCode::from(*code))
            .ok_or_else(|| format!("dhcproto does not see option {code}"))?;
        let written = read.to_vec().map_err(|error| error.to_string())?;
        let joined = walk(&[written.as_slice(), &[255]].concat())?;
        if joined.first().map(|(_, contents)| contents) != Some(contents) {
            return Err(format!("dhcproto reads option {code} as {read:?}, not {contents:?}"));
        }
    }
    Ok(())
}

fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}
