//! The model of stable storage: what is durable, and what is only written.

use super::rules::Rules;
use super::view::View;
use std::sync::Arc;
use vestibule_core::exchange::ExchangeRecord;
use vestibule_core::{Record, Timestamp};
use vestibule_dhcpd::clock::ClockMark;

/// A disk that outlives every process.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Everything durable, in order.
    pub(crate) durable: Vec<Record>,
    /// What the durable records end in.
    pub(crate) view: View,
    /// What time it was at which moment since the machine booted.
    pub(crate) mark: Option<ClockMark>,
    /// A group that is being synced.
    pub(crate) in_flight: Option<Vec<Record>>,
}

impl Disk {
    /// An empty disk, in a world with these rules.
    #[must_use]
    pub(crate) fn new(rules: Arc<Rules>) -> Self {
        Self { view: View::new(rules), ..Self::default() }
    }

    /// A group is written, and its sync begins.
    pub(crate) fn write(&mut self, records: &[Record]) {
        self.in_flight = Some(records.to_vec());
    }

    /// The sync is done.
    pub(crate) fn synced(&mut self) {
        for record in self.in_flight.take().unwrap_or_default() {
            self.view.apply(&record);
            self.durable.push(record);
        }
    }

    /// The process ends in the middle of a sync. A group is one frame of the journal: either the kernel
    /// had written it out, or its tail is torn or lost, and then nothing of it counts.
    pub(crate) fn crash(&mut self, was_written_out: bool) {
        if was_written_out {
            self.synced();
        }
        self.in_flight = None;
    }

    /// The newest time in it.
    #[must_use]
    pub(crate) fn newest(&self) -> Timestamp {
        let times = self.durable.iter().filter_map(|record| match record {
            Record::Lease(lease) => Some(lease.changed),
            Record::Registration(registration) => Some(registration.registered),
            Record::Time(time) => Some(*time),
            Record::HoldOff(hold_off) => Some(hold_off.since),
            Record::Voucher(voucher) => Some(voucher.created),
            Record::Exchange(
                ExchangeRecord::Registration { taken, .. } | ExchangeRecord::Ended { taken, .. },
            ) => Some(*taken),
            Record::LeaseForgotten(_)
            | Record::Exchange(_)
            | Record::RegistrationRemoved(_)
            | Record::Failover(_)
            | Record::PairBinding(_)
            | Record::VoucherRemoved(_) => None,
        });
        times.max().unwrap_or_default()
    }
}
