//! What records end in, and the gate as a function of it: written from DESIGN's words and not from the
//! core's code, so that one can be held against the other (P4).

use super::plan;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::{HardwareAddress, Lease, Record, Registration, Side, Timestamp};

/// Leases and registrations.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    leases: BTreeMap<Ipv4Addr, Lease>,
    registrations: BTreeMap<HardwareAddress, Registration>,
}

impl View {
    /// One more record.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Lease(lease) => {
                self.leases.insert(lease.address, lease.clone());
            }
            Record::LeaseForgotten(address) => {
                self.leases.remove(address);
            }
            Record::Registration(registration) => {
                self.registrations.insert(registration.hardware, registration.clone());
            }
            Record::RegistrationRemoved(hardware) => {
                self.registrations.remove(hardware);
            }
            Record::Time(_) | Record::HoldOff(_) | Record::Failover(_) | Record::PairBinding(_) => {
            }
        }
    }

    /// The lease of an address, if somebody holds it.
    #[must_use]
    pub(crate) fn held(&self, address: Ipv4Addr, now: Timestamp) -> Option<&Lease> {
        self.leases.get(&address).filter(|lease| lease.is_held(now))
    }

    /// The registration of a device, whether it has ended or not.
    #[must_use]
    pub(crate) fn registration(&self, hardware: HardwareAddress) -> Option<&Registration> {
        self.registrations.get(&hardware)
    }

    /// The set that an address belongs into.
    #[must_use]
    pub(crate) fn side(&self, address: Ipv4Addr, now: Timestamp) -> Option<Side> {
        let lease = self.held(address, now)?;
        if !plan::is_gated(plan::network_of(address)) {
            return None;
        }
        let is_registered = self
            .registration(lease.hardware)
            .is_some_and(|registration| registration.is_valid(now));
        Some(if is_registered { Side::Registered } else { Side::Unregistered })
    }

    /// The whole gate.
    #[must_use]
    pub(crate) fn gate(&self, now: Timestamp) -> BTreeMap<Ipv4Addr, Side> {
        self.leases
            .keys()
            .filter_map(|address| Some((*address, self.side(*address, now)?)))
            .collect()
    }
}
