//! What is kept, and for how long.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::interval::Interval;
use vestibule_config::{History, HistoryField};
use vestibule_core::Timestamp;

const DAY_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;

/// The rules, as the configuration has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    keep_days: u32,
    owner_keep_days: u32,
    drop: Vec<HistoryField>,
    /// Bytes that archives may take; the oldest are removed when they take more.
    pub(super) bytes_max: u64,
}

impl Policy {
    /// The rules of a configuration.
    #[must_use]
    pub fn new(section: &History) -> Self {
        let mut drop = section.drop.clone();
        drop.sort_unstable();
        drop.dedup();
        Self {
            keep_days: section.keep_days,
            owner_keep_days: section.owner_keep_days.min(section.keep_days),
            drop,
            bytes_max: section.max_bytes,
        }
    }

    /// Tells whether two archives were written under the same rules of what is dropped.
    pub(super) fn digest(&self) -> u64 {
        self.drop.iter().fold(0, |digest, field| digest | 1 << (*field as u64))
    }

    /// What ended before this is not kept.
    pub(super) fn oldest(&self, now: Timestamp, is_owner: bool) -> Timestamp {
        let days = if is_owner { self.owner_keep_days } else { self.keep_days };
        let kept = u64::from(days) * DAY_MILLISECONDS;
        Timestamp::from_milliseconds(now.milliseconds().saturating_sub(kept))
    }

    /// Whether an interval is still kept, going by its end.
    pub(super) fn keeps(&self, interval: &Interval, now: Timestamp) -> bool {
        let is_owner = matches!(interval, Interval::Ownership(_));
        interval.until() >= self.oldest(now, is_owner)
    }

    /// Whether a field is not kept.
    pub(super) fn drops(&self, field: HistoryField) -> bool {
        self.drop.contains(&field)
    }

    /// Takes out what is not to be kept at all; false if nothing is left of it.
    pub(super) fn strip(&self, interval: &mut Interval) -> bool {
        for field in &self.drop {
            match (field, &mut *interval) {
                (HistoryField::HostName, Interval::Holding(holding)) => holding.host_name = None,
                (HistoryField::ClientId, Interval::Holding(holding)) => {
                    holding.client_identifier = None;
                }
                (HistoryField::Circuit, Interval::Holding(holding)) => {
                    holding.relay_agent = None;
                }
                (HistoryField::Relay, Interval::Holding(holding)) => holding.relay = None,
                (HistoryField::Owner, Interval::Ownership(ownership)) => ownership.owner = None,
                (HistoryField::Role, Interval::Ownership(ownership)) => ownership.role = None,
                _ => {}
            }
        }
        match interval {
            Interval::Holding(_) => true,
            Interval::Ownership(ownership) => ownership.owner.is_some() || ownership.role.is_some(),
        }
    }
}
