//! How free addresses are shared between the two servers of a pair.
//!
//! The arithmetic of ISC dhcpd 4.4, so that two servers that apply it come to rest: integer division
//! towards zero, thresholds as percentages of what is free. Reserved addresses do not count.
//! It is counted per pool; what is given away, and to whom it is told, is decided by the caller.

use super::state::Role;

/// Percentages of the free addresses that steer the sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceSettings {
    /// `max-lease-misbalance`: above which a difference is reported. 0 to 100.
    pub misbalance_percent: u8,
    /// `max-lease-ownership`: how far an address may go to its last client's server. 0 to 100.
    pub ownership_percent: u8,
}

impl Default for BalanceSettings {
    fn default() -> Self {
        Self { misbalance_percent: 15, ownership_percent: 10 }
    }
}

/// Free addresses of one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCount {
    /// The primary's.
    pub free: u32,
    /// The secondary's.
    pub backup: u32,
}

/// Where a pool stands, seen from one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Half of what we have more than the partner; negative: less.
    pub surplus: i64,
    /// From which surplus on the pool is unbalanced.
    pub threshold: i64,
    /// How far below balance addresses go to the server of their last client.
    pub hold: i64,
}

impl Balance {
    /// Where a pool stands for the server that is `role`.
    #[must_use]
    pub fn of(count: PoolCount, role: Role, settings: BalanceSettings) -> Self {
        let (mine, theirs) = match role {
            Role::Primary => (count.free, count.backup),
            Role::Secondary => (count.backup, count.free),
        };
        let (mine, theirs) = (i64::from(mine), i64::from(theirs));
        let share = |percent: u8| ((mine + theirs) * i64::from(percent) + 50) / 100;
        Self {
            surplus: (mine - theirs) / 2,
            threshold: share(settings.misbalance_percent),
            hold: share(settings.ownership_percent),
        }
    }

    /// Whether the partner is asked for addresses.
    #[must_use]
    pub const fn is_starved(&self) -> bool {
        let panic = if self.threshold == 0 { -1 } else { -2 * self.threshold };
        self.surplus < panic
    }

    /// Whether an operator should hear of it.
    #[must_use]
    pub const fn is_unbalanced(&self) -> bool {
        self.surplus > self.threshold
    }

    /// Whether an address whose last client the partner serves is given to it. First pass, the oldest
    /// first.
    #[must_use]
    pub const fn gives_to_its_server(&self) -> bool {
        self.surplus > -self.hold
    }

    /// Whether an address is given away for balance alone. Second pass, the oldest first; `used`: it
    /// has had a client, who might want it back from here.
    #[must_use]
    pub const fn gives(&self, used: bool) -> bool {
        self.surplus > if used { self.hold } else { 0 }
    }

    /// After one address was given away.
    pub const fn gave_one(&mut self) {
        self.surplus -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_pools_of_the_captures() {
        let fresh = PoolCount { free: 16, backup: 0 };
        let mut primary = Balance::of(fresh, Role::Primary, BalanceSettings::default());
        let mut given = 0;
        while primary.gives(false) {
            primary.gave_one();
            given += 1;
        }
        assert_eq!(given, 8);
        let drained = PoolCount { free: 8, backup: 1 };
        let secondary = Balance::of(drained, Role::Secondary, BalanceSettings::default());
        assert_eq!((secondary.surplus, secondary.threshold), (-3, 1));
        assert!(secondary.is_starved());
        let mut primary = Balance::of(drained, Role::Primary, BalanceSettings::default());
        let mut given = 0;
        while primary.gives(false) {
            primary.gave_one();
            given += 1;
        }
        assert_eq!(given, 3);
    }

    #[test]
    fn without_a_threshold_any_lack_of_two_is_one() {
        let count = PoolCount { free: 3, backup: 0 };
        let balance = Balance::of(count, Role::Secondary, BalanceSettings::default());
        assert_eq!((balance.surplus, balance.threshold), (-1, 0));
        assert!(!balance.is_starved());
        let count = PoolCount { free: 4, backup: 0 };
        let none = BalanceSettings { misbalance_percent: 0, ownership_percent: 0 };
        assert!(Balance::of(count, Role::Secondary, none).is_starved());
    }

    proptest! {
        #[test]
        fn giving_comes_to_rest_and_never_turns_the_lack_around(
            free: u32, backup: u32, misbalance_percent in 0_u8..=100, ownership_percent in 0_u8..=100,
        ) {
            let count = PoolCount { free, backup };
            let settings = BalanceSettings { misbalance_percent, ownership_percent };
            let mut balance = Balance::of(count, Role::Primary, settings);
            let given = balance.surplus.max(0);
            balance.surplus -= given;
            prop_assert!(!balance.gives(false));
            // After it the partner, counting the same pool, gives nothing back.
            let given = u32::try_from(given).expect("half of a u32");
            if given > 0 {
                let after = PoolCount { free: free - given, backup: backup + given };
                prop_assert!(!Balance::of(after, Role::Secondary, settings).gives(false));
            }
        }
    }
}
