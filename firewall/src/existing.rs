//! Reads what the kernel has: chains and sets of the table, and elements of a set.
//!
//! It changes nothing. Lists can change while they are read; what is built on them is therefore sent
//! with the [generation](Existing::generation) that they were read in, and refused by the kernel if
//! that is not the newest any more.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::netlink::Socket;
use crate::ranges::Range;
use crate::ruleset::{CHAINS, Ruleset};
use crate::sets::SetName;
use crate::wire::{self, Attribute, Writer};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// `NFT_MSG_GETCHAIN`
const GET_CHAINS: u8 = 4;
/// `NFT_MSG_GETSET`
const GET_SETS: u8 = 10;
/// `NFT_MSG_GETSETELEM`
const GET_ELEMENTS: u8 = 13;
/// `NFT_MSG_GETGEN`
const GET_GENERATION: u8 = 16;
/// `NFTA_CHAIN_TABLE`, and the same in sets and lists of elements.
const TABLE: u16 = 1;
/// `NFTA_SET_NAME`, and the same in lists of elements.
const SET_NAME: u16 = 2;
/// `NFTA_SET_ELEM_LIST_ELEMENTS`
const LIST: u16 = 3;
/// `NFTA_LIST_ELEM`
const ELEMENT: u16 = 1;
/// `NFTA_SET_ELEM_KEY`
const KEY: u16 = 1;
/// `NFTA_DATA_VALUE`
const VALUE: u16 = 1;

/// What is in the table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Existing {
    /// Of the whole rule set of the network namespace: grows with each transaction of anybody.
    pub(crate) generation: u32,
    /// Chains that are not exactly ours in name, kind and place, with a zero byte at the end.
    pub(crate) chains_foreign: Vec<Box<[u8]>>,
    /// Sets with names, whether ours or not, but for those that are kept; with a zero byte at the end.
    pub(crate) sets: Vec<Box<[u8]>>,
    /// Sets of ranges that hold just what they should.
    pub(crate) sets_kept: Vec<SetName>,
}

impl Existing {
    /// Whether the table is not there, or has no set.
    pub(crate) fn is_nothing(&self) -> bool {
        self.sets.is_empty() && self.sets_kept.is_empty() && self.chains_foreign.is_empty()
    }

    /// Reads it. A table that is not there has nothing in it.
    pub(crate) fn read(socket: &mut Socket, ruleset: &Ruleset) -> io::Result<Self> {
        let table = ruleset.table.as_str();
        let mut existing = Self::default();
        request(
            socket,
            GET_GENERATION,
            libc::NLM_F_ACK,
            |_| {},
            |message| {
                /// `NFTA_GEN_ID`
                const GENERATION: u16 = 1;
                if let Some(generation) = number(message.attributes(), GENERATION) {
                    existing.generation = generation;
                }
            },
        )?;
        request(
            socket,
            GET_CHAINS,
            libc::NLM_F_DUMP,
            |_| {},
            |message| {
                if text(message.attributes(), TABLE) == Some(table.as_bytes())
                    && let Some(name) = foreign_chain(message)
                {
                    existing.chains_foreign.push(name);
                }
            },
        )?;
        let in_table = |writer: &mut Writer| writer.attribute(TABLE, &terminated(table.as_bytes()));
        let mut of_ranges = Vec::new();
        let read = request(socket, GET_SETS, libc::NLM_F_DUMP, in_table, |message| {
            /// `NFTA_SET_FLAGS`
            const FLAGS: u16 = 3;
            let flags = number(message.attributes(), FLAGS).unwrap_or_default();
            let Some(name) = text(message.attributes(), SET_NAME) else { return };
            if flags == libc::NFT_SET_INTERVAL.unsigned_abs() {
                of_ranges.push(name.to_vec());
            }
            // Sets without a name of their own go with the rules that use them.
            if flags & libc::NFT_SET_ANONYMOUS.unsigned_abs() == 0 {
                existing.sets.push(terminated(name));
            }
        });
        match read {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(existing),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        for set in SetName::ALL.into_iter().filter(|set| set.is_interval()) {
            if of_ranges.iter().any(|name| name == set.name().to_bytes())
                && bounds(socket, table, set)? == expected_bounds(&ruleset.ranges(set))
            {
                existing.sets.retain(|name| **name != *set.name().to_bytes_with_nul());
                existing.sets_kept.push(set);
            }
        }
        Ok(existing)
    }
}

/// A bound of a range: whether it ends one, and its bytes.
type Bound = (Vec<u8>, bool);

fn expected_bounds(ranges: &[Range]) -> Vec<Bound> {
    let octets = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let first = ranges.iter().map(|(first, _)| (octets(first), false));
    let end = ranges.iter().filter_map(|(_, end)| Some((octets(end.as_ref()?), true)));
    let mut bounds: Vec<Bound> = first.chain(end).collect();
    bounds.sort_unstable();
    bounds
}

/// Reads the bounds of a set of ranges, in order. A bound of any other kind is not an address.
fn bounds(socket: &mut Socket, table: &str, set: SetName) -> io::Result<Vec<Bound>> {
    /// `NFTA_SET_ELEM_FLAGS`
    const FLAGS: u16 = 3;
    let mut bounds = Vec::new();
    let which = |writer: &mut Writer| {
        writer.attribute(TABLE, &terminated(table.as_bytes()));
        writer.attribute(SET_NAME, set.name().to_bytes_with_nul());
    };
    request(socket, GET_ELEMENTS, libc::NLM_F_DUMP, which, |message| {
        let lists = message.attributes().filter(|list| list.number == LIST);
        bounds.extend(lists.flat_map(|list| list.attributes()).map(|element| {
            let key = element.attributes().find(|attribute| attribute.number == KEY);
            let value = key.and_then(|key| key.attributes().find(|value| value.number == VALUE));
            let flags = number(element.attributes(), FLAGS).unwrap_or_default();
            let ends = flags & libc::NFT_SET_ELEM_INTERVAL_END.unsigned_abs() != 0;
            (value.map(|value| value.contents.to_vec()).unwrap_or_default(), ends)
        }));
    })?;
    bounds.sort_unstable();
    Ok(bounds)
}

/// The name of a chain that is not exactly one of ours.
fn foreign_chain(message: &wire::Message<'_>) -> Option<Box<[u8]>> {
    /// `NFTA_CHAIN_NAME`
    const NAME: u16 = 3;
    /// `NFTA_CHAIN_HOOK`
    const HOOK: u16 = 4;
    /// `NFTA_CHAIN_TYPE`
    const TYPE: u16 = 7;
    /// `NFTA_HOOK_HOOKNUM`
    const HOOK_NUMBER: u16 = 1;
    /// `NFTA_HOOK_PRIORITY`
    const PRIORITY: u16 = 2;
    let name = text(message.attributes(), NAME)?;
    let place = message.attributes().find(|attribute| attribute.number == HOOK).map(|hook| {
        (
            text(message.attributes(), TYPE).unwrap_or_default(),
            number(hook.attributes(), HOOK_NUMBER),
            number(hook.attributes(), PRIORITY).map(u32::cast_signed),
        )
    });
    let is_ours = CHAINS.iter().any(|chain| {
        let wanted = chain.hook.map(|hook| {
            let (kind, number, priority) = hook.place();
            (kind.as_bytes(), Some(number), Some(priority))
        });
        chain.name.to_bytes() == name && wanted == place
    });
    (!is_ours).then(|| terminated(name))
}

/// Reads a set: addresses and the milliseconds left to them. `None` if it changed meanwhile.
pub(crate) fn elements(
    socket: &mut Socket,
    table: &str,
    set: SetName,
) -> io::Result<Option<Vec<(Ipv4Addr, u64)>>> {
    read_elements(socket, table, set, libc::NLM_F_DUMP, |_| {})
}

/// Reads one element of a set: the milliseconds left to it. `None` if it is not there.
pub(crate) fn element(
    socket: &mut Socket,
    table: &str,
    set: SetName,
    address: Ipv4Addr,
) -> io::Result<Option<u64>> {
    let key = |writer: &mut Writer| {
        writer.nest(LIST, |writer| {
            writer.nest(ELEMENT, |writer| {
                writer.nest(KEY, |writer| writer.attribute(VALUE, &address.octets()));
            });
        });
    };
    let found = read_elements(socket, table, set, libc::NLM_F_ACK, key)?.unwrap_or_default();
    Ok(found.into_iter().find(|(key, _)| *key == address).map(|(_, life)| life))
}

fn read_elements(
    socket: &mut Socket,
    table: &str,
    set: SetName,
    flags: i32,
    keys: impl FnOnce(&mut Writer),
) -> io::Result<Option<Vec<(Ipv4Addr, u64)>>> {
    let mut found = Vec::new();
    let which = |writer: &mut Writer| {
        writer.attribute(TABLE, &terminated(table.as_bytes()));
        writer.attribute(SET_NAME, set.name().to_bytes_with_nul());
        keys(writer);
    };
    let whole = request(socket, GET_ELEMENTS, flags, which, |message| {
        let lists = message.attributes().filter(|list| list.number == LIST);
        found.extend(lists.flat_map(|list| list.attributes()).filter_map(|one| read_element(&one)));
    })?;
    Ok(whole.then_some(found))
}

fn read_element(element: &Attribute<'_>) -> Option<(Ipv4Addr, u64)> {
    /// `NFTA_SET_ELEM_EXPIRATION`
    const EXPIRATION: u16 = 5;
    let mut address = None;
    let mut life = None;
    for attribute in element.attributes() {
        match attribute.number {
            KEY => address = number(attribute.attributes(), VALUE).map(Ipv4Addr::from),
            EXPIRATION => life = attribute.u64(),
            _ => {}
        }
    }
    Some((address?, life?))
}

/// Asks nf_tables about the family `inet`.
fn request(
    socket: &mut Socket,
    what: u8,
    flags: i32,
    write: impl FnOnce(&mut Writer),
    each: impl FnMut(&wire::Message<'_>),
) -> io::Result<bool> {
    let sequence = socket.reserve_sequence(1);
    let mut writer = Writer::default();
    let family = u8::try_from(libc::NFPROTO_INET).unwrap_or_default();
    writer.begin((wire::SUBSYSTEM_NFTABLES, what), flags, sequence, family, 0);
    write(&mut writer);
    writer.end();
    socket.ask(&writer, sequence, each)
}

fn number<'a>(mut attributes: impl Iterator<Item = Attribute<'a>>, number: u16) -> Option<u32> {
    attributes.find(|attribute| attribute.number == number)?.u32()
}

fn text<'a>(mut attributes: impl Iterator<Item = Attribute<'a>>, number: u16) -> Option<&'a [u8]> {
    Some(attributes.find(|attribute| attribute.number == number)?.text())
}

/// Names end with a zero byte in messages.
fn terminated(name: &[u8]) -> Box<[u8]> {
    name.iter().copied().chain([0]).collect()
}
