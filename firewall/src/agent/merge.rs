//! One truth out of what one or two servers say of an address. Pure: no clock, no IO.
//!
//! The rule, which `docs/agent.md` gives its reasons for:
//!
//! 1. The newest decision wins: the [`Statement`] with the latest `since`. A renewal decides nothing, so
//!    it makes a statement last longer and not newer. Of two that are equally new the stricter one wins.
//! 2. The address stays on that side for as long as any server that says the same side says so, because each
//!    of them may have promised its host a lease of that length.
//! 3. That an address was given up is a statement too. One that has run out grants nothing any more, but no
//!    older statement grants more than it did: what a server took back does not come back by itself.
//!
//! It promises that the truth does not depend on the order in which the servers' words arrived, or on
//! how often they were said.

use vestibule_core::{EthernetAddress, Side};

/// What a server says of an address. Times are milliseconds of the agent's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its side; `None`: nobody holds it any more.
    pub side: Option<Side>,
    /// When that ends by itself; without meaning if it has no side.
    pub ends: u64,
    /// Since when its holder has been on this side.
    pub since: u64,
    /// The holder, if it is let through with IPv6 by its Ethernet address while it is registered.
    pub holder: Option<EthernetAddress>,
}

impl Statement {
    /// Whether it grants anything.
    #[must_use]
    pub const fn is_live(&self, now: u64) -> bool {
        self.side.is_some() && self.ends > now
    }

    /// The order of precedence.
    const fn rank(&self) -> (u64, u8) {
        (self.since, strictness(self.side))
    }
}

const fn strictness(side: Option<Side>) -> u8 {
    match side {
        Some(Side::Registered) => 0,
        Some(Side::Unregistered) => 1,
        None => 2,
    }
}

/// The side that an address is on at `now`, and until when; `None`: on neither.
pub fn truth(statements: impl Iterator<Item = Statement> + Clone, now: u64) -> Option<(Side, u64)> {
    let newest_live =
        statements.clone().filter(|one| one.is_live(now)).max_by_key(Statement::rank)?;
    // Nothing newer than it lives; what of that has run out, or was taken back, still limits it.
    let limit = statements
        .clone()
        .filter(|one| one.rank() >= newest_live.rank())
        .map(|one| one.side)
        .max_by_key(|side| strictness(*side))?;
    let side = limit?;
    let same = statements.filter(|one| one.is_live(now) && one.side == newest_live.side);
    Some((side, same.map(|one| one.ends).max()?))
}

/// Who holds an address that the truth has on the side of the registered, and is let through by an Ethernet
/// address: as the newest word says.
pub(super) fn holder(
    statements: impl Iterator<Item = Statement> + Clone,
    now: u64,
) -> Option<EthernetAddress> {
    let newest_live =
        statements.clone().filter(|one| one.is_live(now)).max_by_key(Statement::rank)?;
    // Of two that are equally new either is as good; the choice must not depend on their order.
    statements
        .filter(|one| one.is_live(now) && one.rank() == newest_live.rank())
        .map(|one| one.holder)
        .max()?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REGISTERED: Option<Side> = Some(Side::Registered);
    const UNREGISTERED: Option<Side> = Some(Side::Unregistered);

    fn said(side: Option<Side>, ends: u64, since: u64) -> Statement {
        Statement { side, ends, since, holder: None }
    }

    fn truth_of(statements: &[Statement], now: u64) -> Option<(Side, u64)> {
        truth(statements.iter().copied(), now)
    }

    #[test]
    fn a_registration_at_either_half_opens_and_a_revocation_at_either_half_closes() {
        let before = said(UNREGISTERED, 100, 10);
        let registered = said(REGISTERED, 90, 20);
        assert_eq!(truth_of(&[before, registered], 50), Some((Side::Registered, 90)));
        // The other half has not heard of it, or the half that knew of it is gone.
        let revoked = said(UNREGISTERED, 95, 30);
        assert_eq!(truth_of(&[registered, revoked], 50), Some((Side::Unregistered, 95)));
    }

    #[test]
    fn a_lease_that_either_half_made_longer_is_longer() {
        let renewed = said(REGISTERED, 200, 10);
        let not_heard_of_it = said(REGISTERED, 90, 12);
        assert_eq!(truth_of(&[renewed, not_heard_of_it], 50), Some((Side::Registered, 200)));
        assert_eq!(truth_of(&[renewed, not_heard_of_it], 150), Some((Side::Registered, 200)));
    }

    #[test]
    fn what_was_given_up_is_not_kept_by_the_half_that_has_not_heard_of_it() {
        let stale = said(REGISTERED, 200, 10);
        let released = said(None, 0, 20);
        assert_eq!(truth_of(&[stale, released], 50), None);
        let next_holder = said(UNREGISTERED, 300, 30);
        assert_eq!(truth_of(&[stale, next_holder], 50), Some((Side::Unregistered, 300)));
        // The other way round: given up long ago, and taken again at the other half.
        assert_eq!(truth_of(&[said(None, 0, 5), stale], 50), Some((Side::Registered, 200)));
    }

    #[test]
    fn what_has_run_out_leaves_the_word_to_the_other_but_not_more_than_it_said() {
        let short = said(REGISTERED, 40, 20);
        let long = said(UNREGISTERED, 100, 10);
        assert_eq!(truth_of(&[short, long], 39), Some((Side::Registered, 40)));
        assert_eq!(truth_of(&[short, long], 40), Some((Side::Unregistered, 100)));
        assert_eq!(truth_of(&[short, long], 100), None);
        assert_eq!(truth_of(&[], 0), None);
        // A revocation outlives the lease that it was heard of with.
        let revoked = said(UNREGISTERED, 40, 20);
        let stale = said(REGISTERED, 100, 10);
        assert_eq!(truth_of(&[revoked, stale], 50), Some((Side::Unregistered, 100)));
        let again = said(REGISTERED, 100, 30);
        assert_eq!(truth_of(&[revoked, again], 50), Some((Side::Registered, 100)));
    }

    #[test]
    fn of_two_that_are_equally_new_the_stricter_one_wins() {
        let (open, shut) = (said(REGISTERED, 100, 10), said(UNREGISTERED, 90, 10));
        assert_eq!(truth_of(&[open, shut], 50), Some((Side::Unregistered, 90)));
        assert_eq!(truth_of(&[shut, open, said(None, 0, 10)], 50), None);
    }

    fn statement() -> impl Strategy<Value = Statement> {
        let side = prop_oneof![Just(REGISTERED), Just(UNREGISTERED), Just(None)];
        (side, 0_u64..50, 0_u64..8).prop_map(|(side, ends, since)| said(side, ends, since))
    }

    proptest! {
        #[test]
        fn order_and_repetition_mean_nothing(
            statements in prop::collection::vec(statement(), 0..4),
            order in any::<prop::sample::Index>(),
            now in 0_u64..50,
        ) {
            let expected = truth_of(&statements, now);
            let mut turned = statements.clone();
            if !turned.is_empty() {
                let by = order.index(turned.len());
                turned.rotate_left(by);
            }
            turned.extend(statements.iter().rev().copied());
            prop_assert_eq!(truth_of(&turned, now), expected);
        }

        /// A permit always has a server behind it that grants it now, and no word against it that is as
        /// new, whether or not that has run out since.
        #[test]
        fn nobody_is_let_through_against_the_newest_word(
            statements in prop::collection::vec(statement(), 0..4), now in 0_u64..50
        ) {
            let Some((Side::Registered, ends)) = truth_of(&statements, now) else { return Ok(()) };
            prop_assert!(ends > now);
            let since = |wanted: &dyn Fn(&Statement) -> bool| {
                statements.iter().filter(|one| wanted(one)).map(|one| one.since).max()
            };
            let granted = since(&|one| one.side == REGISTERED && one.is_live(now));
            let denied = since(&|one| one.side != REGISTERED);
            prop_assert!(granted.is_some() && granted > denied);
        }

        /// What one server says alone is the truth.
        #[test]
        fn one_server_is_believed(one in statement(), now in 0_u64..50) {
            let expected = one.side.filter(|_| one.ends > now).map(|side| (side, one.ends));
            prop_assert_eq!(truth_of(&[one], now), expected);
        }

        /// Time alone opens nothing.
        #[test]
        fn nobody_is_let_through_by_waiting(
            statements in prop::collection::vec(statement(), 0..4), now in 0_u64..50, later in 0_u64..50
        ) {
            let is_open = |now| matches!(truth_of(&statements, now), Some((Side::Registered, _)));
            prop_assert!(is_open(now) || !is_open(now + later));
        }
    }
}
