//! The checkers of a pair: those of the single server, where a promise is about one server, and those for
//! what two promise together.

pub(crate) mod agreed;
pub(crate) mod spoken;

use super::plan::Plan;
use crate::simulator::checks::{Derived, Durable, GateRight, Live, Unique};
use agreed::Agreed;
use spoken::Spoken;
use std::collections::BTreeMap;

/// One of each, or one for each server.
#[derive(Debug, Default)]
pub(crate) struct Checkers {
    /// P1, over the pair.
    pub(crate) unique: Unique,
    /// By device: the server that acknowledged it last, and in which of its lives.
    pub(crate) acknowledged_by: BTreeMap<usize, (usize, u64)>,
    /// P2.
    pub(crate) durable: [Durable; 2],
    /// P3.
    pub(crate) gate: GateRight,
    /// P4.
    pub(crate) derived: Derived,
    /// P7, of the clients.
    pub(crate) live: Live,
    /// P7, of the pair: both books are one.
    pub(crate) agreed: Agreed,
    /// What is said on the link.
    pub(crate) spoken: Spoken,
}

impl Checkers {
    /// Those of a world.
    pub(super) fn new(plan: &Plan) -> Self {
        Self { agreed: Agreed::new(plan), ..Self::default() }
    }
}
