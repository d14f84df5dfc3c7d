//! Another configuration, taken between two packets.
//!
//! What is known stays: leases, registrations, vouchers, what waits for its commit. What follows from the
//! configuration is made anew from it, by the same code that a start uses, so that a server that was told of
//! another configuration is the server that it would be after a restart with it. As there, offers are forgotten;
//! who chooses one gets it if it is still free. Nothing is in between: the step before goes by the old one, the step after by the new.
//!
//! A lease is its address's, and an address is its prefix's: nothing hangs on the place of a subnet in the file.
//! Who holds an address that nobody may have any more keeps it until the lease ends, and is renewed no further.

use super::book::Book;
use super::offers::Offers;
use super::pools::Pools;
use super::topology::Topology;
use super::{Server, Step};
use crate::{Answer, Configuration, Effect};

impl Server {
    pub(super) fn configure(
        &mut self,
        configuration: Configuration,
        apply: bool,
        step: &mut Step<'_>,
    ) -> Answer {
        if self.failover.is_some() || configuration.failover.is_some() {
            return Answer::NotWithPartner;
        }
        let topology = Topology::new(configuration);
        let stranded = self
            .book
            .entries_above(None)
            .filter(|lease| lease.is_held(self.now))
            .filter(|lease| !topology.is_served(lease.address().into()))
            .count();
        if !apply {
            return Answer::Configured { stranded };
        }
        let mut leases: Vec<_> = self.book.entries_above(None).map(|lease| lease.lease()).collect();
        // The order in which clients came to them.
        leases.sort_by_key(|lease| (lease.changed, lease.address));
        let mut book = Book::new(&topology, self.book.key());
        for lease in &leases {
            book.load(lease);
        }
        drop(leases);
        let mut pools = Pools::new(&topology);
        book.settle_loaded(&topology, &mut pools, &self.registrations, self.now);
        self.topology = topology;
        self.book = book;
        self.pools = pools;
        self.offers = Offers::default();
        self.watch_pools_anew();
        self.wake = None;
        step.has_durable = true;
        step.effects.push(Effect::GateReplace(self.gate_contents(self.now)));
        Answer::Configured { stranded }
    }
}
