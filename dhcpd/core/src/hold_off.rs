//! A hold-off: what P1 asks of a server whose journal has a hole.
//!
//! Where records of the journal were lost, any address may have been granted, given back or granted
//! to somebody else in them. What was lost had been decided by a known time, and every lease in it ends
//! by a known time. In between, an address goes only to a client of which a later record, or its own
//! renewal, shows that it holds it.

use crate::{BindingState, Timestamp};

/// From when to when addresses are held off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldOff {
    /// Whatever was lost had been decided by then.
    pub since: Timestamp,
    /// Every lease that was lost has ended by then.
    pub until: Timestamp,
}

impl HoldOff {
    /// Whether it leaves it open at `now` who has an address, by what its newest known lease has become
    /// and when; `None`: no lease of it is known. An end proves nothing: it may be that of a lease whose
    /// successor was lost.
    #[must_use]
    pub fn leaves_open(&self, newest: Option<(BindingState, Timestamp)>, now: Timestamp) -> bool {
        let is_known = newest
            .is_some_and(|(state, changed)| state == BindingState::Active && changed > self.since);
        now < self.until && !is_known
    }

    /// Both: what is open by one of them is open.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { since: self.since.max(other.since), until: self.until.max(other.until) }
    }
}
