//! Every ACK that the clients got, and what may never happen to them.
//!
//! | file | idea |
//! | --- | --- |
//! | `mod` | who holds what until when, and what breaks a rule |
//! | `violation` | the rules, and a sentence for each time that one is broken |
//! | `file` | the ledger as a file that survives a kill |
//!
//! It is pure: no clock, no thread. Times are milliseconds since the Unix epoch, because a ledger
//! outlives its process. It promises to find two clients with one address, terms other than offered
//! (address, lifetime, server), a lease that was lost before it ended, and a reply that names another
//! relay. It believes only what a server said.

mod file;
mod violation;

pub use file::{Ended, Entry, LINE_LENGTH_MAX, LedgerFile};
pub use violation::{Lost, Violation};

use crate::client::Offer;
use crate::message::Hardware;
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// A lease as its client believes in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The client.
    pub client: Hardware,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// The relay that it came through; `None` if that is not known.
    pub giaddr: Option<Ipv4Addr>,
    /// When it ends.
    pub ends: u64,
}

impl Holding {
    /// Whether it is surely not over at `at`.
    #[must_use]
    pub const fn is_running(&self, at: u64) -> bool {
        at < self.ends.saturating_sub(END_UNCERTAIN_MILLISECONDS)
    }

    /// That it was lost at `at`.
    #[must_use]
    pub const fn lost(&self, address: Ipv4Addr, at: u64, how: Lost) -> Violation {
        Violation::LeaseLost { client: self.client, address, until: self.ends, at, how }
    }
}

/// Milliseconds before the reckoned end in which a lease counts as over already: the server's clock
/// began a little earlier, and the ACK was some time on its way.
const END_UNCERTAIN_MILLISECONDS: u64 = 1000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    by_address: HashMap<Ipv4Addr, Holding>,
    by_client: HashMap<Hardware, Ipv4Addr>,
}

impl Ledger {
    /// Notes an ACK. A client has one lease: a new address ends its former one. `offered`: the terms of
    /// the offer that it answers, if it answers one, with the lifetime of the ACK in seconds.
    pub fn acknowledged(
        &mut self,
        at: u64,
        address: Ipv4Addr,
        holding: Holding,
        offered: Option<(Offer, u32)>,
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        let client = holding.client;
        if let Some((offer, acknowledged_seconds)) = offered {
            if offer.address != address {
                let offered = offer.address;
                violations.push(Violation::OtherTerms {
                    client,
                    offered,
                    acknowledged: address,
                    at,
                });
            }
            if acknowledged_seconds < offer.lifetime_seconds {
                violations.push(Violation::ShortenedLease {
                    client,
                    address,
                    offered_seconds: offer.lifetime_seconds,
                    acknowledged_seconds,
                    at,
                });
            }
            if offer.server != holding.server {
                violations.push(Violation::OtherServer {
                    client,
                    offered: offer.server,
                    acknowledged: holding.server,
                    at,
                });
            }
        }
        if let Some(other) = self.by_address.get(&address)
            && other.client != client
            && other.is_running(at)
        {
            violations.push(Violation::DuplicateAddress {
                address,
                holder: other.client,
                until: other.ends,
                other: client,
                at,
            });
        }
        self.forget(client);
        if let Some(other) = self.by_address.insert(address, holding) {
            self.by_client.remove(&other.client);
        }
        self.by_client.insert(client, address);
        violations
    }

    /// Notes that a server refused a client its lease.
    pub fn refused(&mut self, at: u64, client: Hardware) -> Option<Violation> {
        let (address, holding) = self.forget(client)?;
        holding.is_running(at).then_some(holding.lost(address, at, Lost::Refused))
    }

    /// Whether an offer shows that its server has forgotten a lease of this client. A second server, such
    /// as one of a failover pair, may not know yet of what the first one gave.
    #[must_use]
    pub fn offered(&self, at: u64, client: Hardware, offer: Offer) -> Option<Violation> {
        let address = *self.by_client.get(&client)?;
        let holding = self.by_address.get(&address)?;
        let is_lost =
            holding.is_running(at) && holding.server == offer.server && address != offer.address;
        is_lost.then_some(holding.lost(address, at, Lost::OtherOffered(offer.address)))
    }

    /// What a client holds, if that is surely not over at `at`.
    #[must_use]
    pub fn of_client(&self, at: u64, client: Hardware) -> Option<(Ipv4Addr, Holding)> {
        let address = *self.by_client.get(&client)?;
        let holding = self.by_address.get(&address).filter(|holding| holding.is_running(at))?;
        Some((address, *holding))
    }

    /// Whether it has no lease at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// Notes that a client gave its lease back, or let it end.
    pub fn ended(&mut self, client: Hardware) {
        self.forget(client);
    }

    /// Every lease that is surely not over at `at`, by its address.
    pub fn held(&self, at: u64) -> impl Iterator<Item = (Ipv4Addr, Holding)> {
        let mut held: Vec<_> = self
            .by_address
            .iter()
            .filter(|(_, holding)| holding.is_running(at))
            .map(|(address, holding)| (*address, *holding))
            .collect();
        held.sort_unstable_by_key(|(address, _)| *address);
        held.into_iter()
    }

    fn forget(&mut self, client: Hardware) -> Option<(Ipv4Addr, Holding)> {
        let address = self.by_client.remove(&client)?;
        Some((address, self.by_address.remove(&address)?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 20, 0, last)
    }

    fn holding(client: u32, ends: u64) -> Holding {
        Holding { client: Hardware::of_client(client), server: SERVER, giaddr: None, ends }
    }

    #[test]
    fn two_clients_with_one_address_are_found() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.acknowledged(0, address(1), holding(1, 60_000), None), []);
        let violations = ledger.acknowledged(10_000, address(1), holding(2, 70_000), None);
        assert!(matches!(violations[..], [Violation::DuplicateAddress { until: 60_000, .. }]));
    }

    #[test]
    fn an_ended_or_left_lease_is_free_for_others() {
        let mut ledger = Ledger::default();
        ledger.acknowledged(0, address(1), holding(1, 60_000), None);
        assert_eq!(ledger.acknowledged(60_000, address(1), holding(2, 90_000), None), []);
        assert_eq!(ledger.acknowledged(61_000, address(2), holding(2, 90_000), None), []);
        assert_eq!(ledger.acknowledged(62_000, address(1), holding(3, 90_000), None), []);
        ledger.ended(Hardware::of_client(3));
        assert_eq!(ledger.acknowledged(62_000, address(1), holding(4, 90_000), None), []);
        assert_eq!(ledger.held(63_000).count(), 2);
        assert_eq!(ledger.held(89_500).count(), 0);
    }

    #[test]
    fn other_terms_and_lost_leases_are_found() {
        let mut ledger = Ledger::default();
        let offer = Offer { address: address(1), server: SERVER, lifetime_seconds: 60 };
        let mut acknowledged = |offer, seconds| {
            ledger.acknowledged(0, address(1), holding(1, 60_000), Some((offer, seconds)))
        };
        assert_eq!(acknowledged(offer, 60), []);
        let violations = acknowledged(Offer { address: address(2), ..offer }, 60);
        assert!(matches!(violations[..], [Violation::OtherTerms { .. }]));
        let violations = acknowledged(offer, 59);
        assert!(matches!(violations[..], [Violation::ShortenedLease { .. }]));
        let violations = acknowledged(Offer { server: address(9), ..offer }, 60);
        assert!(matches!(violations[..], [Violation::OtherServer { .. }]));
        let lost = ledger.refused(30_000, Hardware::of_client(1));
        assert!(matches!(lost, Some(Violation::LeaseLost { until: 60_000, .. })));
        assert_eq!(ledger.refused(30_001, Hardware::of_client(1)), None);
    }

    #[test]
    fn another_address_of_the_same_server_is_a_lost_lease_while_it_runs() {
        let mut ledger = Ledger::default();
        let client = Hardware::of_client(1);
        let offer = Offer { address: address(2), server: SERVER, lifetime_seconds: 60 };
        assert_eq!(ledger.offered(0, client, offer), None, "it has had none");
        ledger.acknowledged(0, address(1), holding(1, 60_000), None);
        let lost = ledger.offered(30_000, client, offer);
        let how = Lost::OtherOffered(address(2));
        assert!(matches!(lost, Some(Violation::LeaseLost { how: found, .. }) if found == how));
        assert_eq!(ledger.offered(30_000, client, Offer { address: address(1), ..offer }), None);
        let other = Offer { server: address(9), ..offer };
        assert_eq!(ledger.offered(30_000, client, other), None, "another server may not know");
        assert_eq!(ledger.offered(59_500, client, offer), None, "it is as good as over");
        assert_eq!(ledger.of_client(0, client), Some((address(1), holding(1, 60_000))));
        ledger.ended(client);
        assert_eq!(ledger.offered(30_000, client, offer), None, "it gave it back");
    }

    #[test]
    fn a_violation_is_a_sentence_with_times_that_people_read() {
        let mut ledger = Ledger::default();
        ledger.acknowledged(0, address(1), holding(1, 60_000), None);
        let story = ledger.refused(30_000, Hardware::of_client(1)).unwrap().to_string();
        assert_eq!(
            story,
            "02:56:00:00:00:01 was refused 10.20.0.1 at 1970-01-01T00:00:30.000Z, \
             and has it until 1970-01-01T00:01:00.000Z"
        );
    }
}
