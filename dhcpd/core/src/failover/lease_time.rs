//! How long a lease may be while the partner does not know of it: the maximum client lead time.
//!
//! A client is never promised an address for more than that beyond what the partner has agreed to
//! (draft-ietf-dhc-failover-12 section 5.2.1, as ISC dhcpd 4.4 computes it). So a partner that knows
//! nothing has only to wait that long before it gives the address to somebody else (P1).
//! Everything here is arithmetic on seconds; nothing saturates silently to less than it means.

/// What travels for a lease that never ends, in seconds since 1970.
pub const INFINITE_SECONDS: u32 = 0x7fff_ffff;

/// What one ACK may promise, and what the partner is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTime {
    /// What the client gets, in seconds.
    pub actual_seconds: u32,
    /// Until when this server may have promised the address when the client asks next, in seconds
    /// since 1970: option 18 of the update.
    pub potential_expiration: u32,
}

/// The rule. `now` and `agreed` are seconds since 1970, `agreed` the potential expiration that both
/// servers are known to agree on (0: none).
///
/// `desired_seconds` is the lease time after all policy; [`u32::MAX`] is one that never ends.
#[must_use]
pub fn lease_time(now: u32, desired_seconds: u32, mclt_seconds: u32, agreed: u32) -> LeaseTime {
    let (wide_now, desired, mclt, wide_agreed) =
        (u64::from(now), u64::from(desired_seconds), u64::from(mclt_seconds), u64::from(agreed));
    let actual = if desired <= mclt {
        desired
    } else if wide_agreed <= wide_now {
        mclt
    } else {
        desired.min(wide_agreed - wide_now + mclt)
    };
    // The lease that the client will want when it renews at half of this one.
    let potential = wide_now + desired + actual / 2;
    let potential_expiration = if desired_seconds == u32::MAX {
        INFINITE_SECONDS
    } else {
        u32::try_from(potential).unwrap_or(u32::MAX).min(INFINITE_SECONDS - 1)
    };
    LeaseTime { actual_seconds: u32::try_from(actual).unwrap_or(u32::MAX), potential_expiration }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_capture_of_a_real_pair() {
        // 600 s desired, a lead time of 120 s; times as in the capture.
        let first = lease_time(5, 600, 120, 0);
        assert_eq!(first, LeaseTime { actual_seconds: 120, potential_expiration: 665 });
        let renewal = lease_time(63, 600, 120, 665);
        assert_eq!(renewal, LeaseTime { actual_seconds: 600, potential_expiration: 963 });
    }

    #[test]
    fn what_is_agreed_and_past_gives_the_lead_time_alone() {
        assert_eq!(lease_time(1000, 600, 120, 1000).actual_seconds, 120);
        assert_eq!(lease_time(1000, 600, 120, 1001).actual_seconds, 121);
        assert_eq!(lease_time(1000, 600, 120, 1480).actual_seconds, 600);
    }

    #[test]
    fn endless_leases_have_their_own_value() {
        assert_eq!(lease_time(1000, u32::MAX, 120, 0).potential_expiration, INFINITE_SECONDS);
        assert_eq!(
            lease_time(1000, u32::MAX - 1, 120, 0).potential_expiration,
            INFINITE_SECONDS - 1
        );
    }

    proptest! {
        /// P1 rests on this: the partner that waits from what it agreed to, or from when contact was
        /// lost, for the lead time, never meets a promise that still runs.
        #[test]
        fn no_promise_outlives_the_agreement_by_more_than_the_lead_time(
            now: u32, desired: u32, mclt: u32, agreed: u32,
        ) {
            let time = lease_time(now, desired, mclt, agreed);
            let end = u64::from(now) + u64::from(time.actual_seconds);
            prop_assert!(end <= u64::from(agreed.max(now)) + u64::from(mclt));
            prop_assert!(time.actual_seconds <= desired);
        }
    }
}
