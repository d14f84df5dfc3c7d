//! Deletes what connection tracking remembers of an address.
//!
//! A tracked flow keeps its address translation for as long as packets come. Without this, a host that
//! was registered a moment ago would get its lie again on the same source port, and a new holder of an
//! address would inherit the former one's flows.
//!
//! Walking the kernel's table costs milliseconds whatever is in it, and the DHCP server changes
//! thousands of addresses in a second, so this keeps in mind which addresses can have flows at all. A
//! packet that the gate refuses begins no tracked flow, so these are the addresses that were in a set
//! since their flows were last deleted, and those that the kernel's table showed when the gate was made.
//!
//! Two ways to delete: the kernel deletes by filter, which walks its table once for each address; or the
//! table is read once and each flow of the wanted addresses is deleted by name. The second works on
//! every kernel. Which one costs less depends on the size of the kernel's table and on how many flows are
//! in it, by a factor of a thousand either way, so it is decided by what each cost lately ([`Costs`]).
//! A flow whose first packet is on its way through the rules while
//! the sets change can escape both; it lives as long as one without packets.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::netlink::Socket;
use crate::{FirewallError, wire};
use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

/// Deletions by filter that are sent at once.
const FILTERED_AT_ONCE_MAX: usize = 128;
/// Bytes of deletions by name that are sent at once.
const REQUEST_BYTES_MAX: usize = 32 << 10;

/// `IPCTNL_MSG_CT_GET`
const GET: u8 = 1;
/// `IPCTNL_MSG_CT_DELETE`
const DELETE: u8 = 2;
/// `IPCTNL_MSG_CT_GET_STATS`
const GET_STATISTICS: u8 = 5;
/// `CTA_TUPLE_ORIG`
const ORIGINAL: u16 = 1;
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

/// How flows are deleted on this kernel, and whose there can be.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    filters: bool,
    costs: Costs,
    /// Addresses that may have begun flows. No more than the addresses that were ever put into a set,
    /// and the sources in the kernel's table, which has a limit of its own.
    possible: HashSet<Ipv4Addr>,
}

/// What the two ways of deleting cost lately.
///
/// Only the way that was taken is measured; the other is believed a little cheaper each time, so that one
/// slow turn, or a table that has become another one since, is not held against it for ever.
#[derive(Clone, Copy, Debug, Default)]
struct Costs {
    /// Of one address, by filter.
    filtered: Duration,
    /// Of one reading of the table.
    read: Duration,
}

impl Costs {
    /// The part of a way's cost that is taken off each time that the other one is taken.
    const DOUBT: u32 = 16;

    fn filter_is_cheaper(&self, addresses: usize) -> bool {
        let addresses = u32::try_from(addresses).unwrap_or(u32::MAX);
        self.filtered.saturating_mul(addresses) <= self.read
    }

    fn filtered(&mut self, addresses: usize, took: Duration) {
        self.filtered = took / u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
    }

    /// Everything was deleted by filter.
    fn doubt_read(&mut self) {
        self.read -= self.read / Self::DOUBT;
    }

    fn read(&mut self, took: Duration) {
        self.read = took;
        self.filtered -= self.filtered / Self::DOUBT;
    }
}

impl Flows {
    /// Tries out whether the kernel deletes by filter (a deletion for an address that no flow has).
    pub(crate) fn probe(&mut self, socket: &mut Socket) -> Result<(), FirewallError> {
        if !is_tracking() {
            return Ok(());
        }
        let began = Instant::now();
        // A kernel without filters takes this for one flow's incomplete name and refuses it.
        match delete_by_filter(socket, &[Ipv4Addr::BROADCAST]) {
            Ok(()) => {
                self.filters = true;
                self.costs.filtered = began.elapsed();
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
            }
            Err(source) => return Err(FirewallError::Flows { source }),
        }
        Ok(())
    }

    /// Whether tracked flows can be deleted at all, if there are any.
    pub(crate) fn check(socket: &mut Socket) -> Result<(), FirewallError> {
        let mut writer = wire::Writer::default();
        let sequence = socket.reserve_sequence(1);
        let flags = libc::NLM_F_ACK;
        writer.begin((wire::SUBSYSTEM_TRACKING, GET_STATISTICS), flags, sequence, 0, 0);
        writer.end();
        match exchange(socket, &writer, &[]) {
            Ok(()) => Ok(()),
            // Nothing is tracked, so nothing can be remembered.
            Err(_) if !is_tracking() => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
                Err(FirewallError::KernelLacks {
                    feature: "the connection tracking interface (module nf_conntrack_netlink)"
                        .into(),
                })
            }
            Err(source) => Err(FirewallError::Flows { source }),
        }
    }

    /// Reads whose flows there are: for a gate that was made anew.
    pub(crate) fn learn(&mut self, socket: &mut Socket) -> io::Result<()> {
        self.possible.clear();
        if !is_tracking() {
            return Ok(());
        }
        let began = Instant::now();
        read_all(socket, |source, _| {
            self.possible.insert(source);
        })?;
        self.costs.read = began.elapsed();
        Ok(())
    }

    /// These addresses are in a set, so they may begin flows.
    pub(crate) fn expect(&mut self, addresses: impl Iterator<Item = Ipv4Addr>) {
        self.possible.extend(addresses);
    }

    /// Deletes all flows that these addresses began.
    pub(crate) fn forget(&mut self, socket: &mut Socket, addresses: &[Ipv4Addr]) -> io::Result<()> {
        let mut wanted = addresses.to_vec();
        wanted.retain(|address| self.possible.contains(address));
        if wanted.is_empty() {
            return Ok(());
        }
        if is_tracking() {
            self.delete(socket, &wanted)?;
        }
        for address in wanted {
            self.possible.remove(&address);
        }
        Ok(())
    }
}

impl Flows {
    /// Deletes all flows of IPv6 that these addresses began. Few at a time: those of devices that are let
    /// through no more.
    pub(crate) fn forget_ipv6(
        &self,
        socket: &mut Socket,
        addresses: &[Ipv6Addr],
    ) -> io::Result<()> {
        if addresses.is_empty() || !is_tracking() {
            return Ok(());
        }
        if self.filters {
            for some in addresses.chunks(FILTERED_AT_ONCE_MAX) {
                let sources = some.iter().map(Ipv6Addr::octets);
                delete_filtered(socket, FAMILY_V6, SOURCE_V6, sources)?;
            }
            return Ok(());
        }
        let wanted: HashSet<[u8; 16]> = addresses.iter().map(Ipv6Addr::octets).collect();
        let mut requests = Vec::new();
        read_flows(socket, FAMILY_V6, |message| {
            let source = source(message, SOURCE_V6);
            if source.is_some_and(|octets| wanted.contains(octets)) {
                add_deletion(&mut requests, FAMILY_V6, message);
            }
        })?;
        requests.iter().try_for_each(|writer| exchange(socket, writer, &[libc::ENOENT]))
    }

    /// Deletes by filter as long as that costs less, few addresses at first, because what one costs may have
    /// changed by a factor of a thousand since the last time; the rest by one reading.
    fn delete(&mut self, socket: &mut Socket, addresses: &[Ipv4Addr]) -> io::Result<()> {
        let mut rest = addresses;
        let mut at_once = 1;
        while !rest.is_empty() {
            let began = Instant::now();
            if !self.filters || !self.costs.filter_is_cheaper(rest.len()) {
                delete_by_name(socket, &rest.iter().copied().collect())?;
                self.costs.read(began.elapsed());
                return Ok(());
            }
            let (now, later) = rest.split_at(at_once.min(rest.len()));
            delete_by_filter(socket, now)?;
            self.costs.filtered(now.len(), began.elapsed());
            rest = later;
            at_once = FILTERED_AT_ONCE_MAX.min(2 * at_once);
        }
        self.costs.doubt_read();
        Ok(())
    }
}

fn is_tracking() -> bool {
    Path::new(TRACKING_PATH).exists()
}

/// At most [`FILTERED_AT_ONCE_MAX`].
fn delete_by_filter(socket: &mut Socket, addresses: &[Ipv4Addr]) -> io::Result<()> {
    let sources = addresses.iter().map(Ipv4Addr::octets);
    delete_filtered(socket, FAMILY_V4, SOURCE_V4, sources)
}

/// At most [`FILTERED_AT_ONCE_MAX`].
fn delete_filtered(
    socket: &mut Socket,
    family: u8,
    attribute: u16,
    sources: impl ExactSizeIterator<Item = impl AsRef<[u8]>>,
) -> io::Result<()> {
    let mut writer = wire::Writer::default();
    let count = sources.len();
    for (position, source) in sources.enumerate() {
        // One acknowledgement for all: errors come without being asked for.
        let is_last = position + 1 == count;
        let flags = if is_last { libc::NLM_F_ACK } else { 0 };
        let sequence = socket.reserve_sequence(1);
        begin_delete(&mut writer, family, flags, sequence);
        writer.nest(ORIGINAL, |writer| {
            writer.nest(TUPLE_IP, |writer| writer.attribute(attribute, source.as_ref()));
        });
        writer.nest(FILTER, |writer| {
            writer.attribute(FILTER_ORIGINAL, &FILTER_SOURCE.to_ne_bytes());
            writer.attribute(FILTER_REPLY, &0_u32.to_ne_bytes());
        });
        writer.end();
    }
    // ENOENT: none was there.
    exchange(socket, &writer, &[libc::ENOENT])
}

fn begin_delete(writer: &mut wire::Writer, family: u8, flags: i32, sequence: u32) {
    let what = (wire::SUBSYSTEM_TRACKING, DELETE);
    writer.begin(what, flags, sequence, family, VERSION_WITH_FAMILY);
}

fn delete_by_name(socket: &mut Socket, addresses: &HashSet<Ipv4Addr>) -> io::Result<()> {
    let mut requests = Vec::new();
    read_all(socket, |source, message| {
        if addresses.contains(&source) {
            add_deletion(&mut requests, FAMILY_V4, message);
        }
    })?;
    for writer in &requests {
        // ENOENT: it ended by itself meanwhile.
        exchange(socket, writer, &[libc::ENOENT])?;
    }
    Ok(())
}

/// Reads all flows of IPv4: who began each, and what the kernel says of it.
fn read_all(
    socket: &mut Socket,
    mut each: impl FnMut(Ipv4Addr, &wire::Message<'_>),
) -> io::Result<()> {
    read_flows(socket, FAMILY_V4, |message| {
        let source = source(message, SOURCE_V4);
        if let Some(source) = source.and_then(|octets| <[u8; 4]>::try_from(octets).ok()) {
            each(source.into(), message);
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

/// The address that began a flow.
fn source<'a>(message: &wire::Message<'a>, attribute: u16) -> Option<&'a [u8]> {
    let original = message.attributes().find(|attribute| attribute.number == ORIGINAL)?;
    let tuple = original.attributes().find(|attribute| attribute.number == TUPLE_IP)?;
    let source = tuple.attributes().find(|source| source.number == attribute)?;
    Some(source.contents)
}

/// Adds the deletion of a flow by the name that the kernel gave it.
fn add_deletion(requests: &mut Vec<wire::Writer>, family: u8, message: &wire::Message<'_>) {
    if requests.last().is_none_or(|last| last.bytes().len() > REQUEST_BYTES_MAX) {
        requests.push(wire::Writer::default());
    }
    let Some(writer) = requests.last_mut() else { return };
    begin_delete(writer, family, libc::NLM_F_ACK, 0);
    for attribute in message.attributes() {
        match attribute.number {
            ORIGINAL => writer.attribute(ORIGINAL | wire::NESTED, attribute.contents),
            // The identity too: a flow that took this one's place since is left alone.
            ID | ZONE => writer.attribute(attribute.number, attribute.contents),
            _ => {}
        }
    }
    writer.end();
}

/// Sends requests and takes their answers; the first error that is not harmless is given.
fn exchange(socket: &mut Socket, writer: &wire::Writer, harmless: &[i32]) -> io::Result<()> {
    socket.discard()?;
    socket.send(writer.bytes())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn the_way_that_cost_less_lately_is_taken_and_the_other_one_is_tried_again() {
        let mut costs = Costs { filtered: MILLISECOND, read: 20 * MILLISECOND };
        assert!(costs.filter_is_cheaper(20));
        assert!(!costs.filter_is_cheaper(21));
        // The kernel's table has filled up: what it costs now counts.
        costs.filtered(2, 80 * MILLISECOND);
        assert!(!costs.filter_is_cheaper(2));
        let mut turns = 0;
        while !costs.filter_is_cheaper(2) {
            costs.read(20 * MILLISECOND);
            turns += 1;
        }
        assert!((10..100).contains(&turns), "{turns}");
    }

    #[test]
    fn no_number_of_addresses_is_too_much() {
        let mut costs = Costs { filtered: Duration::MAX, read: Duration::MAX };
        assert!(costs.filter_is_cheaper(usize::MAX));
        costs.filtered(0, MILLISECOND);
        assert!(costs.filter_is_cheaper(1));
    }
}
