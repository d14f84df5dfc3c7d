//! Leases as our store keeps them.
//!
//! Whoever holds an address by ISC's word holds it by ours, and until the same second: no address that
//! is in use is given to anybody else (P1). Addresses of nobody are not written: they are free.

use super::leases::{IscLease, NEVER, State};
use vestibule_core::{BindingState, ClientIdentifier, HardwareAddress, Lease, Timestamp};

/// What becomes of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Somebody holds the address.
    Held(Lease),
    /// Nobody gets the address before the lease ends.
    Abandoned(Lease),
    /// Somebody held it, and finds it again if nobody else has taken it.
    Ended(Lease),
    /// Nobody has or had it.
    Nobody,
}

/// What is remembered of a lease at `now`.
pub(super) fn fate(isc: &IscLease, now: Timestamp) -> Fate {
    let time = |seconds: u32| Timestamp::from_seconds(seconds.into());
    let ends = time(isc.ends);
    let is_over = ends <= now;
    // A clock that was ahead must not set ours ahead: it never goes back.
    let changed = time(isc.starts.max(isc.cltt)).min(now);
    let lease = |state, ends, hardware: HardwareAddress| Lease {
        address: isc.address,
        client: isc
            .uid
            .clone()
            .map_or(ClientIdentifier::Hardware(hardware), ClientIdentifier::Option61),
        hardware,
        state,
        started: time(isc.starts).min(changed),
        changed,
        ends,
        relay: None,
        relay_agent: isc.relay_agent.clone(),
        host_name: isc.host_name.clone(),
    };
    match (isc.state, isc.hardware) {
        (State::Abandoned, _) if is_over => Fate::Nobody,
        (State::Abandoned, _) => {
            // dhcpd does not say who declined it. Each has a client of its own, lest they count as one's.
            let nobody = HardwareAddress::new(0, &isc.address.octets());
            let nobody = nobody.unwrap_or(HardwareAddress::LOWEST);
            Fate::Abandoned(Lease {
                client: ClientIdentifier::Hardware(nobody),
                ..lease(BindingState::Declined, ends, nobody)
            })
        }
        (State::Active, hardware) if !is_over => {
            let hardware = hardware.or_else(|| from_uid(isc)).or(HardwareAddress::new(0, &[]));
            Fate::Held(lease(
                BindingState::Active,
                ends,
                hardware.unwrap_or(HardwareAddress::LOWEST),
            ))
        }
        (_, None) => Fate::Nobody,
        (State::Released, Some(hardware)) => {
            Fate::Ended(lease(BindingState::Released, ends.min(now), hardware))
        }
        (_, Some(hardware)) => Fate::Ended(lease(BindingState::Active, ends.min(now), hardware)),
    }
}

/// Whether a lease is without end.
pub(super) fn is_endless(isc: &IscLease) -> bool {
    isc.ends >= NEVER
}

/// The hardware address in a client identifier that is one (RFC 2132 section 9.14).
fn from_uid(isc: &IscLease) -> Option<HardwareAddress> {
    match isc.uid.as_deref()? {
        [HardwareAddress::ETHERNET, address @ ..] if address.len() == 6 => {
            HardwareAddress::new(HardwareAddress::ETHERNET, address)
        }
        _ => None,
    }
}
