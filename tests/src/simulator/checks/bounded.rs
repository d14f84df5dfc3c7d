//! P5: nothing that waits grows beyond its named limit.

use super::{Verdict, Violation};
use vestibule_core::limits::{ARRIVALS_WAITING_MAX, OFFERS_MAX, STEPS_UNCOMMITTED_MAX};
use vestibule_dhcpd::commit::WAITING_FOR_GATE_MAX;

/// How much of each there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queues {
    /// Steps that wait for the barrier.
    pub work: usize,
    /// Steps whose replies wait for the kernel sets.
    pub waiting_for_gate: usize,
    /// Steps that the core has decided and that are not committed.
    pub uncommitted: u64,
    /// Calls among them, which the core takes beyond its limit for packets.
    pub calls: u64,
    /// Offers.
    pub offers: u64,
    /// Packets that wait to be decided.
    pub arrivals: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Bounded {
    /// The most that there was of each.
    pub(crate) most: Queues,
}

impl Bounded {
    /// There is so much now.
    ///
    /// # Errors
    /// [`Violation`] if anything is over its limit.
    pub(crate) fn look(&mut self, now: Queues) -> Verdict {
        let most = &mut self.most;
        most.work = most.work.max(now.work);
        most.waiting_for_gate = most.waiting_for_gate.max(now.waiting_for_gate);
        most.uncommitted = most.uncommitted.max(now.uncommitted);
        most.offers = most.offers.max(now.offers);
        most.arrivals = most.arrivals.max(now.arrivals);
        let offers = u64::try_from(OFFERS_MAX).unwrap_or(u64::MAX);
        let is_bounded = u64::try_from(now.work)
            .is_ok_and(|work| work <= STEPS_UNCOMMITTED_MAX + now.calls)
            && now.waiting_for_gate <= WAITING_FOR_GATE_MAX
            && now.uncommitted <= STEPS_UNCOMMITTED_MAX + now.calls
            && now.arrivals <= ARRIVALS_WAITING_MAX
            && now.offers <= offers;
        if is_bounded { Ok(()) } else { Err(Violation::new("P5", format!("{now:?}"))) }
    }
}
