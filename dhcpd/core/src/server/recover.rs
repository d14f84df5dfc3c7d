//! What the records of an earlier life end in, in the order in which they were made durable.

use super::book::{Book, HashKey};
use super::exchange::Exchange;
use super::failover::Failover;
use super::registrations::Registrations;
use super::topology::Topology;
use super::vouchers::Vouchers;
use crate::exchange::ExchangeRecord;
use crate::failover::{FailoverConfiguration, Role};
use crate::{HoldOff, Record, Timestamp};

/// See the module.
pub(super) struct Recovered {
    pub(super) book: Book,
    pub(super) registrations: Registrations,
    pub(super) vouchers: Vouchers,
    pub(super) hold_off: Option<HoldOff>,
    pub(super) failover: Option<Box<Failover>>,
    pub(super) exchange: Option<Box<Exchange>>,
}

impl Recovered {
    /// Reads them.
    pub(super) fn read(
        topology: &Topology,
        records: impl IntoIterator<Item = Record>,
        now: Timestamp,
        key: HashKey,
    ) -> Self {
        let mut book = Book::new(topology, key);
        let mut registrations = Registrations::new(key);
        let mut vouchers = Vouchers::default();
        let mut hold_off = None;
        let mut failover = topology
            .configuration()
            .failover
            .as_ref()
            .map(|configuration| Box::new(Failover::new(configuration, topology, now)));
        let role = topology.configuration().failover.as_ref().map(|failover| failover.role);
        let mut exchange = Box::new(Exchange::new(role.unwrap_or(Role::Primary)));
        for record in records {
            match record {
                Record::Lease(lease) => book.load(&lease),
                Record::LeaseForgotten(address) => {
                    book.unload(address.into());
                    if let Some(failover) = &mut failover {
                        failover.unload(address.into());
                    }
                }
                Record::Registration(registration) => {
                    registrations.insert(registration);
                }
                Record::RegistrationRemoved(hardware) => {
                    registrations.remove(hardware);
                    exchange.drop_device(hardware);
                }
                Record::Exchange(record) => {
                    exchange.load(&record, now);
                    match record {
                        ExchangeRecord::Registration { registration, .. } => {
                            registrations.insert(registration);
                        }
                        ExchangeRecord::Ended { hardware, .. } => {
                            registrations.remove(hardware);
                        }
                        ExchangeRecord::VoucherRevoked { hash, .. } => {
                            vouchers.remove(hash);
                        }
                        ExchangeRecord::EndForgotten { .. }
                        | ExchangeRecord::ForgottenThrough(_) => {}
                    }
                }
                Record::Time(_) => {}
                Record::Failover(states) => {
                    if let Some(failover) = &mut failover {
                        failover.resume(states);
                    }
                }
                Record::PairBinding(binding) => {
                    if let Some(failover) = &mut failover {
                        failover.load(&binding);
                    }
                }
                Record::Voucher(voucher) => vouchers.insert(voucher),
                Record::VoucherRemoved(hash) => {
                    vouchers.remove(hash);
                    exchange.drop_voucher(hash);
                }
                Record::HoldOff(found) => {
                    hold_off = Some(hold_off.map_or(found, |before: HoldOff| before.and(found)));
                }
            }
        }
        let is_configured = |failover: &FailoverConfiguration| failover.exchanges_registrations;
        let is_exchanging = topology.configuration().failover.as_ref().is_some_and(is_configured);
        // Who stopped exchanging goes on to note what was changed when: it may begin again.
        let exchange = (is_exchanging || !exchange.is_untouched()).then(|| {
            exchange.complete(&registrations, &vouchers, now);
            exchange
        });
        Self { book, registrations, vouchers, hold_off, failover, exchange }
    }
}
