//! What must survive a crash: the unit of the journal and of snapshots.
//!
//! A record is the full image of one thing, so replaying a record twice, or an older one before a
//! newer one, ends in the same book.

use crate::exchange::ExchangeRecord;
use crate::failover::{FailoverRecord, PairBinding};
use crate::{HardwareAddress, HoldOff, Lease, Registration, Timestamp, Voucher, VoucherHash};
use std::net::Ipv4Addr;

/// One durable fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The address's newest binding.
    Lease(Lease),
    /// The address has no binding any more, nor does the pair know anything of it.
    LeaseForgotten(Ipv4Addr),
    /// The device's registration.
    Registration(Registration),
    /// The device is not registered any more.
    RegistrationRemoved(HardwareAddress),
    /// The time was at least this: what keeps time from going backwards across a restart.
    Time(Timestamp),
    /// Records were lost: addresses whose fate is unknown are held off for a while.
    HoldOff(HoldOff),
    /// The states of the failover pair.
    Failover(FailoverRecord),
    /// What the failover pair knows of an address beyond its lease.
    PairBinding(PairBinding),
    /// The voucher, with its uses.
    Voucher(Voucher),
    /// The voucher was revoked, or its time is over.
    VoucherRemoved(VoucherHash),
    /// What a pair that exchanges registrations keeps, in place of [`Record::Registration`] and
    /// [`Record::RegistrationRemoved`].
    Exchange(ExchangeRecord),
}
