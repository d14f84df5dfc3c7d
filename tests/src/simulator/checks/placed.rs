//! Pools for one class of hosts: who is offered which address, who is moved, and for how long a host stays
//! where it does not belong.
//!
//! Written from `docs/configuration.md`. It is told of each reply when it is decided, and holds it against
//! everything that was decided until then.

use super::{Verdict, Violation};
use crate::simulator::plan;
use crate::simulator::view::View;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::limits::OFFER_HOLD_SECONDS;
use vestibule_core::options::code;
use vestibule_core::{Class, HardwareAddress, MessageType, Reason, Reply, Timestamp};

/// See the module. Knows one life of the process.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    /// Offered addresses, and until when they are kept.
    offers: BTreeMap<Ipv4Addr, u64>,
    /// Until when an address is kept for somebody who was sent away; which one is not told.
    aside: Vec<u64>,
    /// The exchange in which a host was sent to its own class's pool, by a NAK that is not lost, and the
    /// class.
    sent_away: BTreeMap<HardwareAddress, (u32, Class)>,
    /// Hosts that were sent to another pool, in all lives.
    pub(crate) moves: u64,
}

impl Placed {
    /// A process starts.
    pub(crate) fn started(&mut self) {
        *self = Self { moves: self.moves, ..Self::default() };
    }

    /// A reply was decided. `decided`: everything that was decided with it and before; `short`: the
    /// lifetime of hosts that are not registered, in seconds; `is_calm`: nothing is lost or late.
    ///
    /// # Errors
    /// [`Violation`] if its host belongs elsewhere, or may have the address for less long.
    pub(crate) fn decided(
        &mut self,
        reply: &Reply,
        reason: Option<Reason>,
        decided: &View,
        (now, server_now): (u64, Timestamp),
        (short, is_calm): (u32, bool),
    ) -> Verdict {
        self.offers.retain(|_, until| now < *until);
        self.aside.retain(|until| now < *until);
        let Reply { hardware, yiaddr: address, .. } = *reply;
        let class = decided.class(hardware, server_now);
        let until = now + OFFER_HOLD_SECONDS * 1000;
        match reply.message_type {
            MessageType::Nak if reason == Some(Reason::WrongClass) => {
                self.moves += 1;
                self.aside.push(until);
                if !is_calm {
                    return Ok(());
                }
                let before = self.sent_away.insert(hardware, (reply.xid, class));
                return match before {
                    Some((xid, of)) if xid != reply.xid && of == class => {
                        broken(format!("a NAK leads {hardware} into another"))
                    }
                    _ => Ok(()),
                };
            }
            MessageType::Offer | MessageType::Ack => {}
            _ => return Ok(()),
        }
        let Some(bytes) = reply.option(code::LEASE_TIME) else { return Ok(()) };
        let seconds = bytes.try_into().map_or(u32::MAX, u32::from_be_bytes);
        let network = plan::network_of(address);
        let is_misplaced = decided.rules().class_of(address).is_some_and(|of| of != class);
        let is_short = is_misplaced || (plan::is_gated(network) && class == Class::Unregistered);
        if is_short && seconds > short {
            let what = format!("{address} for {seconds} s to {hardware}, {class:?}, not {short}");
            return broken(what);
        }
        if is_misplaced {
            let free = decided
                .rules()
                .addresses_for(network, class)
                .filter(|other| !decided.is_blocked(*other, server_now))
                .filter(|other| !self.offers.contains_key(other))
                .count();
            if free > self.aside.len() {
                let kind = reply.message_type.name();
                let what = format!("{kind} of {address} to {hardware}, {class:?}: {free} are free");
                return broken(what);
            }
        }
        if reply.message_type == MessageType::Ack {
            self.sent_away.remove(&hardware);
            self.offers.remove(&address);
        } else {
            self.offers.insert(address, until);
        }
        Ok(())
    }
}

fn broken(what: String) -> Verdict {
    Err(Violation::new("pools for each class", what))
}
