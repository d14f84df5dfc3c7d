//! Reads what becomes of the IPv6 of a gated network.
//!
//! It promises that a network whose hosts are let through by their Ethernet address says of which prefixes, and
//! that nothing is said where nothing would follow from it. It never decides where such a permit can be enforced:
//! that depends on where the gateway stands, which no file says.

use crate::classes::Gated;
use crate::mistake::{Complaint, quoted};
use crate::reader::{Placed, Reader, Table};
use ipnetwork::Ipv6Network;

/// Reads `ipv6` of a network: whether registered hosts are let through by their Ethernet address.
pub(crate) fn by_hardware(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    gated: Option<bool>,
    by: Gated,
    prefixes: Option<&[Placed<Ipv6Network>]>,
) -> bool {
    let word = reader.parsed(table, "ipv6", |text| match text {
        "refuse" => Ok(false),
        "by-hardware-address" => Ok(true),
        _ => {
            let message = format!("{} is nothing that is done with IPv6", quoted(text));
            Err(Complaint::new(message, "known are \"refuse\" and \"by-hardware-address\""))
        }
    });
    let Some(word) = word else { return false };
    let complaint = if gated == Some(false) {
        Some((
            "this network is not gated: nothing is done about its IPv6",
            "leave ipv6 out, or gate the network",
        ))
    } else if !by.gate_by.sets {
        Some((
            "this network is gated by pools alone: nothing is done about its IPv6",
            "leave ipv6 out, or gate it by \"sets\" too",
        ))
    } else if word.value && prefixes.is_none_or(<[_]>::is_empty) {
        Some((
            "no prefix is named whose hosts could be let through",
            "list those that the network's routers announce in ipv6-prefixes, or leave ipv6 out",
        ))
    } else {
        None
    };
    if let Some((message, remedy)) = complaint {
        reader.complain_about(table, "ipv6", word.at, Complaint::new(message, remedy));
    }
    word.value
}
