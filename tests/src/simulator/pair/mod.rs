//! The simulator of a pair: two real cores, one seed, one run, always the same.
//!
//! | file | idea |
//! | --- | --- |
//! | `plan` | what a seed chooses |
//! | `world` | time and events |
//! | `node` | a server: the real core and codec, and a model of the daemon around them |
//! | `barrier` | its barrier: kernel sets, disk, and what waits for both |
//! | `link` | the TCP connection between the two |
//! | `clients` | devices whose relays send to both |
//! | `exchange` | registrations that are made at either and told to the other |
//! | `portal` | who is registered, at both |
//! | `trouble` | what goes wrong, and what operators do |
//! | `checks` | what is held against it |
//!
//! It never asks a server whether it is right, except at the end whether both say the same.

mod barrier;
mod checks;
mod clients;
mod exchange;
mod link;
mod node;
mod plan;
mod portal;
mod trouble;
mod world;

pub use plan::Operators;

use super::checks::Violation;
use checks::agreed::Book;
use plan::{NODES, Plan};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::failover::PairBinding;
use vestibule_core::{LeaseFilter, Query, QueryAnswer, Side};
use world::{Event, Pair};

/// How long before the end nothing has to be said but what clients cause, in milliseconds.
const SETTLED_FOR: u64 = 40_000;

/// How often it is looked whether both books have become one.
const LOOKS_MAX: usize = 120;

/// Milliseconds between two looks.
const LOOK_INTERVAL: u64 = 250;

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The hash of its trace.
    pub hash: u64,
    /// Events in its trace.
    pub events: u64,
    /// ACKs that clients took.
    pub acknowledgements: u64,
    /// Processes that ended.
    pub restarts: u64,
    /// Connections between the two.
    pub connections: u64,
    /// Messages between the two.
    pub messages: u64,
    /// Updates among them.
    pub updates: u64,
    /// What careless operators cost: promises that were broken.
    pub costs: u64,
    /// The first broken promise.
    pub violation: Option<Violation>,
    /// The last events in words.
    pub last: Vec<String>,
}

/// Runs a seed. `milliseconds`: how long the phase with faults is, if not as the seed wants it.
#[must_use]
pub fn run(seed: u64, operators: Operators, milliseconds: Option<u64>) -> Outcome {
    let mut pair = Pair::new(seed, operators, milliseconds);
    let Plan { end, .. } = pair.plan;
    pair.drive(end);
    pair.rest();
    pair.converge();
    Outcome {
        seed,
        hash: pair.trace.hash(),
        events: pair.trace.count(),
        acknowledgements: pair.acknowledgements,
        restarts: pair.restarts,
        connections: pair.link.connections,
        messages: pair.checkers.spoken.messages,
        updates: pair.checkers.spoken.updates,
        costs: pair.costs,
        violation: pair.violation.clone(),
        last: pair.trace.last(),
    }
}

impl Pair {
    /// Both have to be NORMAL by now.
    fn must_be_normal(&mut self) {
        let status = NODES.map(|node| self.failover_status(node));
        let status = [status[0].as_deref(), status[1].as_deref()];
        let verdict = self.checkers.agreed.normal(status);
        self.judge(verdict);
    }

    /// The end: everybody has a lease, both are NORMAL, and nothing was said without need.
    fn rest(&mut self) {
        self.must_be_normal();
        let now = self.now;
        let devices = self.devices.iter().enumerate().filter(|(_, device)| device.is_on);
        let devices = devices.map(|(number, device)| {
            let has_lease = device.client.lease().is_some_and(|lease| now < lease.ends);
            (number, device.acknowledged, has_lease)
        });
        let verdict = self.checkers.live.end(devices);
        self.judge(verdict);
        let acknowledged = self.acknowledged_in_rest;
        let verdict = self.checkers.spoken.rested(self.link.connections, acknowledged);
        self.judge(verdict);
    }

    /// The end: both books become one, and each gate what it should be.
    fn converge(&mut self) {
        let mut verdict = Ok(());
        for _ in 0..LOOKS_MAX {
            if self.violation.is_some() {
                return;
            }
            verdict = self.agree();
            if verdict.is_ok() {
                return;
            }
            self.arrange(LOOK_INTERVAL, Event::Nothing);
            self.drive(self.now + LOOK_INTERVAL);
        }
        self.judge(verdict);
    }

    fn agree(&mut self) -> Result<(), Violation> {
        let (Some(one), Some(other)) = (self.book(0), self.book(1)) else {
            return Err(Violation::new("P7", "a server does not run".to_owned()));
        };
        let held = self.checkers.unique.held(self.now).collect();
        self.checkers.agreed.books(&[one, other], &held)?;
        self.registrations_agree()?;
        for node in &self.nodes {
            let server_now = node.time(self.now);
            let Some(process) = &node.process else { continue };
            let core: BTreeMap<Ipv4Addr, Side> = process
                .server
                .gate(server_now)
                .into_iter()
                .map(|(address, side, _)| (address, side))
                .collect();
            let kernel = node.kernel.contents(self.now);
            self.checkers.derived.quiet(&kernel, &core, &node.disk.view.gate(server_now))?;
        }
        Ok(())
    }

    /// What a server has to say of its addresses.
    fn book(&self, number: usize) -> Option<Book> {
        let node = &self.nodes[number];
        let server = &node.process.as_ref()?.server;
        let now = node.time(self.now);
        let (mut bindings, mut after) = (BTreeMap::new(), None);
        loop {
            let query = Query::PairBindings { after, limit: usize::MAX };
            let QueryAnswer::PairBindings { bindings: page, next, .. } = server.query(now, &query)
            else {
                break;
            };
            bindings
                .extend(page.into_iter().map(|binding: PairBinding| (binding.address, binding)));
            after = next;
            if next.is_none() {
                break;
            }
        }
        let query = Query::Leases { after: None, limit: usize::MAX, filter: LeaseFilter::All };
        let QueryAnswer::Leases { leases, .. } = server.query(now, &query) else { return None };
        let leases = leases.into_iter().map(|view| (view.lease.address, view.lease)).collect();
        Some(Book { now, status: *self.failover_status(number)?, bindings, leases })
    }
}
