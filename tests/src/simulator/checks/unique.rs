//! P1: no two clients hold one address, judged by what clients believe.
//!
//! A client believes in its lease from the ACK until the lifetime is over, counted from when it sent the
//! REQUEST (RFC 2131 section 4.4.5), or until it gives the lease up itself.

use super::{Verdict, Violation};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A client's belief, in milliseconds of true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Belief {
    /// Who.
    pub(crate) device: usize,
    /// Until when.
    pub(crate) ends: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Unique {
    believed: BTreeMap<Ipv4Addr, Belief>,
}

impl Unique {
    /// A client received an ACK and believes in it.
    ///
    /// # Errors
    /// [`Violation`] if another client believes in the same address.
    pub(crate) fn acknowledged(&mut self, address: Ipv4Addr, belief: Belief, now: u64) -> Verdict {
        if let Some(other) = self.believed.get(&address)
            && other.device != belief.device
            && now < other.ends
        {
            let what = format!("{address} is held by two at {now}: {other:?} and {belief:?}");
            return Err(Violation::new("P1", what));
        }
        self.given_up(belief.device);
        self.believed.insert(address, belief);
        Ok(())
    }

    /// A client has no lease any more, by its own deed or by a NAK.
    pub(crate) fn given_up(&mut self, device: usize) {
        self.believed.retain(|_, belief| belief.device != device);
    }

    /// The server's clock was set forth while it did not run: every lease ends earlier by as much, and
    /// no server can know (docs/storage.md, "Time").
    pub(crate) fn clock_was_set_forth(&mut self, milliseconds: u64) {
        for belief in self.believed.values_mut() {
            belief.ends = belief.ends.saturating_sub(milliseconds);
        }
    }

    /// Every belief that has not ended.
    pub(crate) fn held(&self, now: u64) -> impl Iterator<Item = (Ipv4Addr, Belief)> + '_ {
        self.believed
            .iter()
            .filter(move |(_, belief)| now < belief.ends)
            .map(|(address, belief)| (*address, *belief))
    }
}
