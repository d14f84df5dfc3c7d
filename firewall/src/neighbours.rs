//! Deletes what connection tracking remembers of the IPv6 of a device, told by its Ethernet address.
//!
//! Tracked flows name IPv6 addresses, which hosts make themselves and change as they like. Which of them are
//! whose now, the kernel knows of every device that it has sent a packet to lately: its table of neighbours. That is
//! enough. What a device sends is judged by the set for each packet, whatever is tracked; a tracked flow lets only
//! answers in, and to deliver one the kernel needs the neighbour. This never decides who is let through.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::flows::Flows;
use crate::netlink::Socket;
use crate::wire;
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv6Addr;
use vestibule_core::EthernetAddress;

/// `RTM_GETNEIGH`
const GET_NEIGHBOURS: u8 = 30;
/// `NDA_DST`
const ADDRESS: u16 = 1;
/// `NDA_LLADDR`
const HARDWARE: u16 = 2;
/// Bytes of a `struct ndmsg`.
const HEADER_LENGTH: usize = 12;
/// Those of them that follow what every request begins with.
const HEADER_REST: [u8; 8] = [0; 8];

/// Deletes the tracked flows that the IPv6 addresses of these devices began.
pub(crate) fn forget(
    flows: &Flows,
    tracking: &mut Socket,
    devices: &BTreeSet<EthernetAddress>,
) -> io::Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let addresses = addresses_of(devices)?;
    flows.forget_ipv6(tracking, &addresses)
}

/// The IPv6 addresses that the kernel's table of neighbours has of these devices.
fn addresses_of(devices: &BTreeSet<EthernetAddress>) -> io::Result<Vec<Ipv6Addr>> {
    let mut socket = Socket::open_routing()?;
    let sequence = socket.reserve_sequence(1);
    let mut writer = wire::Writer::default();
    let family = u8::try_from(libc::AF_INET6).unwrap_or_default();
    writer.begin((wire::SUBSYSTEM_ROUTING, GET_NEIGHBOURS), libc::NLM_F_DUMP, sequence, family, 0);
    writer.fixed(&HEADER_REST);
    writer.end();
    let mut addresses = Vec::new();
    // A table that changes while it is read is read on: who comes into it now follows the new set.
    socket.ask(&writer, sequence, |message| {
        let mut address = None;
        let mut hardware = None;
        for attribute in wire::attributes(message.body.get(HEADER_LENGTH..).unwrap_or_default()) {
            match attribute.number {
                ADDRESS => address = <[u8; 16]>::try_from(attribute.contents).ok(),
                HARDWARE => hardware = <[u8; 6]>::try_from(attribute.contents).ok(),
                _ => {}
            }
        }
        if let (Some(address), Some(hardware)) = (address, hardware)
            && devices.contains(&EthernetAddress(hardware))
        {
            addresses.push(Ipv6Addr::from(address));
        }
    })?;
    Ok(addresses)
}
