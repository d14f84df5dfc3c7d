//! Requests to the kernel's connection tracking: reading flows, deleting them.
//!
//! Two ways to delete: the kernel deletes by filter, which walks its table once for each address and end;
//! or the table is read once and each flow of the wanted addresses is deleted by name. The second works on
//! every kernel. A walk costs milliseconds whatever is in the table, and a tenth of a second beside 60,000
//! flows; a reading costs five walks or so, for any number of addresses.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::netlink::Socket;
use crate::{FirewallError, wire};
use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Deletions by filter that are sent at once.
pub(crate) const FILTERED_AT_ONCE_MAX: usize = 64;

/// `IPCTNL_MSG_CT_GET`
const GET: u8 = 1;
/// `IPCTNL_MSG_CT_DELETE`
const DELETE: u8 = 2;
/// `IPCTNL_MSG_CT_GET_STATS`
const GET_STATISTICS: u8 = 5;
/// `CTA_TUPLE_ORIG`
const ORIGINAL: u16 = 1;
/// `CTA_TUPLE_REPLY`
const REPLY: u16 = 2;
/// `CTA_ID`
const ID: u16 = 12;
/// `CTA_ZONE`
const ZONE: u16 = 18;
/// `CTA_FILTER`
const FILTER: u16 = 25;
/// `CTA_TUPLE_IP`
const TUPLE_IP: u16 = 1;
/// `CTA_IP_V4_SRC`
const SOURCE_V4: u16 = 1;
/// `CTA_IP_V6_SRC`
const SOURCE_V6: u16 = 3;
/// `NFPROTO_IPV4`
const FAMILY_V4: u8 = 2;
/// `NFPROTO_IPV6`
const FAMILY_V6: u8 = 10;
/// `CTA_FILTER_ORIG_FLAGS`
const FILTER_ORIGINAL: u16 = 1;
/// `CTA_FILTER_REPLY_FLAGS`
const FILTER_REPLY: u16 = 2;
/// In them: the source address counts.
const FILTER_SOURCE: u32 = 1;
/// Makes a deletion honour its family.
const VERSION_WITH_FAMILY: u8 = 1;
/// What exists if connection tracking does.
const TRACKING_PATH: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

/// The two hosts of a tracked flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// Who began it.
    pub(crate) began: Ipv4Addr,
    /// Who answers, wherever the other was led to.
    pub(crate) answers: Ipv4Addr,
}

/// What the kernel calls a flow, so that this very one can be deleted.
#[derive(Clone, Debug)]
pub(crate) struct FlowName(Box<[u8]>);

/// Whether anything is tracked here.
pub(crate) fn is_tracking() -> bool {
    Path::new(TRACKING_PATH).exists()
}

/// Whether tracked flows can be deleted at all, if there are any.
pub(crate) fn check(socket: &mut Socket) -> Result<(), FirewallError> {
    let mut writer = wire::Writer::default();
    let sequence = socket.reserve_sequence(1);
    let flags = libc::NLM_F_ACK;
    writer.begin((wire::SUBSYSTEM_TRACKING, GET_STATISTICS), flags, sequence, 0, 0);
    writer.end();
    match exchange(socket, writer.bytes(), &[]) {
        Ok(()) => Ok(()),
        // Nothing is tracked, so nothing can be remembered.
        Err(_) if !is_tracking() => Ok(()),
        Err(error) if is_unknown(&error) => Err(FirewallError::KernelLacks {
            feature: "the connection tracking interface (module nf_conntrack_netlink)".into(),
        }),
        Err(source) => Err(FirewallError::Flows { source }),
    }
}

/// Whether the kernel deletes by filter: tried with a deletion for an address that no flow has.
pub(crate) fn has_filters(socket: &mut Socket) -> io::Result<bool> {
    // A kernel without filters takes this for one flow's incomplete name and refuses it.
    match delete_by_filter(socket, &[Ipv4Addr::BROADCAST]) {
        Ok(()) => Ok(true),
        Err(error) if is_unknown(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

/// Deletes all flows that these addresses began or answer: at most [`FILTERED_AT_ONCE_MAX`] of them.
pub(crate) fn delete_by_filter(socket: &mut Socket, addresses: &[Ipv4Addr]) -> io::Result<()> {
    let both = addresses
        .iter()
        .flat_map(|address| [ORIGINAL, REPLY].map(|direction| (direction, address.octets())));
    delete_filtered(socket, FAMILY_V4, SOURCE_V4, both)
}

/// Deletes all flows of IPv6 that these addresses began; `filters`: the kernel deletes by filter.
pub(crate) fn delete_ipv6(
    socket: &mut Socket,
    filters: bool,
    addresses: &[Ipv6Addr],
) -> io::Result<()> {
    if addresses.is_empty() || !is_tracking() {
        return Ok(());
    }
    if filters {
        for some in addresses.chunks(FILTERED_AT_ONCE_MAX) {
            let sources = some.iter().map(|address| (ORIGINAL, address.octets()));
            delete_filtered(socket, FAMILY_V6, SOURCE_V6, sources)?;
        }
        return Ok(());
    }
    let wanted: HashSet<[u8; 16]> = addresses.iter().map(Ipv6Addr::octets).collect();
    let mut names = Vec::new();
    read_flows(socket, FAMILY_V6, |message| {
        let source = source(message, ORIGINAL, SOURCE_V6);
        if source.is_some_and(|octets| wanted.contains(octets)) {
            names.push(name(FAMILY_V6, message));
        }
    })?;
    names.chunks(FILTERED_AT_ONCE_MAX).try_for_each(|names| delete_by_name(socket, names.iter()))
}

/// Deletes the flows whose packets of a direction come from an address.
fn delete_filtered(
    socket: &mut Socket,
    family: u8,
    attribute: u16,
    sources: impl Iterator<Item = (u16, impl AsRef<[u8]>)>,
) -> io::Result<()> {
    let mut writer = wire::Writer::default();
    let mut sources = sources.peekable();
    while let Some((direction, source)) = sources.next() {
        // One acknowledgement for all: errors come without being asked for.
        let flags = if sources.peek().is_none() { libc::NLM_F_ACK } else { 0 };
        let sequence = socket.reserve_sequence(1);
        begin_delete(&mut writer, family, flags, sequence);
        writer.nest(direction, |writer| {
            writer.nest(TUPLE_IP, |writer| writer.attribute(attribute, source.as_ref()));
        });
        let flags_of = |of| if direction == of { FILTER_SOURCE } else { 0 };
        writer.nest(FILTER, |writer| {
            writer.attribute(FILTER_ORIGINAL, &flags_of(ORIGINAL).to_ne_bytes());
            writer.attribute(FILTER_REPLY, &flags_of(REPLY).to_ne_bytes());
        });
        writer.end();
    }
    // ENOENT: none was there.
    exchange(socket, writer.bytes(), &[libc::ENOENT])
}

/// Deletes flows by name; a few dozen at once. One that ended by itself meanwhile is no error.
pub(crate) fn delete_by_name<'n>(
    socket: &mut Socket,
    names: impl Iterator<Item = &'n FlowName>,
) -> io::Result<()> {
    let mut requests = Vec::new();
    names.for_each(|FlowName(name)| requests.extend_from_slice(name));
    if requests.is_empty() { Ok(()) } else { exchange(socket, &requests, &[libc::ENOENT]) }
}

/// Reads all flows of IPv4; each comes with what [`name_of`] names it by.
pub(crate) fn read_all(
    socket: &mut Socket,
    mut each: impl FnMut(Hosts, &wire::Message<'_>),
) -> io::Result<()> {
    read_flows(socket, FAMILY_V4, |message| {
        let host = |direction| {
            let octets = source(message, direction, SOURCE_V4)?;
            <[u8; 4]>::try_from(octets).ok().map(Ipv4Addr::from)
        };
        if let (Some(began), Some(answers)) = (host(ORIGINAL), host(REPLY)) {
            each(Hosts { began, answers }, message);
        }
    })
}

fn read_flows(
    socket: &mut Socket,
    family: u8,
    each: impl FnMut(&wire::Message<'_>),
) -> io::Result<()> {
    let sequence = socket.reserve_sequence(1);
    let mut writer = wire::Writer::default();
    writer.begin((wire::SUBSYSTEM_TRACKING, GET), libc::NLM_F_DUMP, sequence, family, 0);
    writer.end();
    // A table that changes while it is read is read on; what is new in it follows the new sets.
    socket.ask(&writer, sequence, each).map(drop)
}

/// Where packets of one direction come from.
fn source<'a>(message: &wire::Message<'a>, direction: u16, attribute: u16) -> Option<&'a [u8]> {
    let tuple = message.attributes().find(|attribute| attribute.number == direction)?;
    let addresses = tuple.attributes().find(|attribute| attribute.number == TUPLE_IP)?;
    let source = addresses.attributes().find(|source| source.number == attribute)?;
    Some(source.contents)
}

/// The name of a flow that [`read_all`] has read.
pub(crate) fn name_of(message: &wire::Message<'_>) -> FlowName {
    name(FAMILY_V4, message)
}

fn name(family: u8, message: &wire::Message<'_>) -> FlowName {
    let mut writer = wire::Writer::default();
    begin_delete(&mut writer, family, libc::NLM_F_ACK, 0);
    for attribute in message.attributes() {
        match attribute.number {
            // The zone of the original direction alone stands in it.
            ORIGINAL => writer.attribute(ORIGINAL | wire::NESTED, attribute.contents),
            // The identity too: a flow that took this one's place since is left alone.
            ID | ZONE => writer.attribute(attribute.number, attribute.contents),
            _ => {}
        }
    }
    writer.end();
    FlowName(writer.bytes().into())
}

fn begin_delete(writer: &mut wire::Writer, family: u8, flags: i32, sequence: u32) {
    let what = (wire::SUBSYSTEM_TRACKING, DELETE);
    writer.begin(what, flags, sequence, family, VERSION_WITH_FAMILY);
}

/// Sends requests and takes their answers; the first error that is not harmless is given.
fn exchange(socket: &mut Socket, requests: &[u8], harmless: &[i32]) -> io::Result<()> {
    socket.discard()?;
    socket.send(requests)?;
    let mut failed = None;
    while let Some(received) = socket.receive()? {
        for message in wire::messages(received) {
            if let Some(number) = message.error_number()
                && number != 0
                && !harmless.contains(&number)
            {
                failed.get_or_insert(number);
            }
        }
    }
    failed.map_or(Ok(()), |number| Err(io::Error::from_raw_os_error(number)))
}
