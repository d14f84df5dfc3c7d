//! What is told of registrations and vouchers: to the partner, to a snapshot, to the status.

use super::{Fate, Known, Revoked};
use crate::exchange::{ExchangeKey, ExchangeRecord, Exchanged};
use crate::server::Server;
use crate::{ExchangeStatus, HardwareAddress, QueryAnswer, limits};
use std::ops::Bound::{Excluded, Unbounded};

impl Server {
    /// What has changed after a number, in the order of the last changes.
    pub(in crate::server) fn exchange_page(&self, after: u64, limit: usize) -> QueryAnswer {
        let limit = limit.clamp(1, limits::EXCHANGE_RECORDS_MAX);
        let mut records = Vec::new();
        let mut through = after;
        let Some(exchange) = self.exchange.as_deref() else {
            return QueryAnswer::Exchange { records, through, newest: through };
        };
        let newest = exchange.sequence;
        let mut looked_at = 0;
        for (sequence, key) in exchange.log.range((Excluded(after), Unbounded)).take(limit) {
            (looked_at, through) = (looked_at + 1, *sequence);
            records.extend(self.exchanged(*key));
        }
        // What was changed last may have been forgotten since.
        if looked_at < limit {
            through = newest;
        }
        QueryAnswer::Exchange { records, through, newest }
    }

    /// What is told of a thing.
    fn exchanged(&self, key: ExchangeKey) -> Option<Exchanged> {
        let exchange = self.exchange.as_deref()?;
        match key {
            ExchangeKey::Device(hardware) => {
                let Known { stamp, fate, .. } = *exchange.devices.get(&hardware)?;
                Some(match fate {
                    Fate::Ended { is_by_time } => {
                        Exchanged::RegistrationEnded { hardware, stamp, is_by_time }
                    }
                    Fate::Registered { devices_counted } => {
                        let registration = self.registrations.held(hardware)?.clone();
                        Exchanged::Registration { registration, stamp, devices_counted }
                    }
                })
            }
            ExchangeKey::Voucher(hash) => match exchange.revoked.get(&hash) {
                Some(Revoked { expires, .. }) => {
                    Some(Exchanged::VoucherRevoked { hash, expires: *expires })
                }
                None => self.vouchers.valid(hash, self.now).cloned().map(Exchanged::Voucher),
            },
        }
    }

    /// What a snapshot takes of it.
    pub(in crate::server) fn exchange_book(
        &self,
        after: Option<ExchangeKey>,
        limit: usize,
    ) -> QueryAnswer {
        let limit = limit.clamp(1, limits::QUERY_LEASES_MAX);
        let (mut records, mut next) = (Vec::new(), None);
        let Some(exchange) = self.exchange.as_deref() else {
            return QueryAnswer::ExchangeBook { is_kept: false, records, next };
        };
        let from_device = match after {
            None => Some(Unbounded),
            Some(ExchangeKey::Device(after)) => Some(Excluded(after)),
            Some(ExchangeKey::Voucher(_)) => None,
        };
        let devices = from_device.into_iter().flat_map(|lower| {
            let above = exchange.devices.range((lower, Unbounded));
            above.map(|(hardware, known)| {
                (ExchangeKey::Device(*hardware), self.exchange_record(*hardware, *known))
            })
        });
        let from_voucher = match after {
            Some(ExchangeKey::Voucher(after)) => Excluded(after),
            _ => Unbounded,
        };
        let revoked = exchange.revoked.range((from_voucher, Unbounded)).map(|(hash, revoked)| {
            let expires = revoked.expires;
            let record = ExchangeRecord::VoucherRevoked { hash: *hash, expires };
            (ExchangeKey::Voucher(*hash), Some(record))
        });
        for (key, record) in devices.chain(revoked) {
            if records.len() >= limit {
                return QueryAnswer::ExchangeBook { is_kept: true, records, next };
            }
            next = Some(key);
            records.extend(record);
        }
        records.push(ExchangeRecord::ForgottenThrough(exchange.forgotten_through));
        QueryAnswer::ExchangeBook { is_kept: true, records, next: None }
    }

    fn exchange_record(&self, hardware: HardwareAddress, known: Known) -> Option<ExchangeRecord> {
        let Known { stamp, taken, fate, .. } = known;
        Some(match fate {
            Fate::Ended { is_by_time } => {
                ExchangeRecord::Ended { hardware, stamp, taken, is_by_time }
            }
            Fate::Registered { devices_counted } => {
                let registration = self.registrations.held(hardware)?.clone();
                ExchangeRecord::Registration { registration, stamp, taken, devices_counted }
            }
        })
    }

    /// Numbers of it.
    pub(in crate::server) fn exchange_status(&self) -> Option<ExchangeStatus> {
        let exchange = self.exchange.as_deref()?;
        Some(ExchangeStatus {
            sequence: exchange.sequence,
            ends_remembered: exchange.ends.len() as u64,
            conflicts_ended: exchange.conflicts,
        })
    }
}
