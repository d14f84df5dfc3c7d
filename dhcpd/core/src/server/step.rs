//! What one step collects: its effects, and whether any of them has to be committed.

use super::caching::Changes;
use crate::{
    Effect, Effects, GateChange, Lease, Reason, Record, Release, Reply, Request, Sequence,
    Unanswered,
};

/// What one step collects: its effects, and whether any of them has to be committed.
pub(super) struct Step<'a> {
    pub(super) effects: &'a mut Effects,
    pub(super) sequence: Sequence,
    pub(super) has_durable: bool,
    pub(super) changes: Changes,
}

impl Step<'_> {
    pub(super) fn persist(&mut self, record: Record) {
        self.has_durable = true;
        match &record {
            Record::Lease(Lease { address, .. }) | Record::LeaseForgotten(address) => {
                self.changes.note((*address).into(), self.sequence);
            }
            Record::Registration(_)
            | Record::RegistrationRemoved(_)
            | Record::Time(_)
            | Record::HoldOff(_)
            | Record::Voucher(_)
            | Record::VoucherRemoved(_)
            | Record::Failover(_)
            | Record::PairBinding(_)
            | Record::Exchange(_) => {}
        }
        self.effects.push(Effect::Persist(record));
    }

    pub(super) fn gate(&mut self, change: Option<GateChange>) {
        if let Some(change) = change {
            self.has_durable = true;
            self.changes.note(change.address.into(), self.sequence);
            self.effects.push(Effect::Gate(change));
        }
    }

    pub(super) fn reply(&mut self, reply: Reply, release: Release, reason: Option<Reason>) {
        self.effects.push(Effect::Reply { reply: Box::new(reply), release, reason });
    }

    pub(super) fn unanswered(&mut self, request: &Request, reason: Reason) {
        self.effects.push(Effect::Unanswered(Unanswered {
            reason,
            message_type: request.message_type,
            hardware: request.hardware,
            giaddr: request.giaddr,
        }));
    }

    /// When this step's replies may leave.
    pub(super) const fn after_commit(&self) -> Release {
        Release::AfterCommit(self.sequence)
    }
}
