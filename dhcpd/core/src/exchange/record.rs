//! What the halves of a pair tell each other of registrations and vouchers, and what is kept for it.

use super::HybridTime;
use crate::{HardwareAddress, Registration, Timestamp, Voucher, VoucherHash};

/// One word of a half: the whole of what it holds of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchanged {
    /// The device is registered.
    Registration {
        /// Its registration.
        registration: Registration,
        /// When it was last changed.
        stamp: HybridTime,
        /// How many devices its owner had with this one, as counted by the half that took the call; 0 if it did
        /// not count them, because no limit holds for the registration.
        devices_counted: u16,
    },
    /// The device's registration has ended.
    RegistrationEnded {
        /// The device.
        hardware: HardwareAddress,
        /// When somebody ended it; if it ended by itself, when it was last changed.
        stamp: HybridTime,
        /// Whether it ended by itself. Who holds the very same registration lets it end by its own clock.
        is_by_time: bool,
    },
    /// The voucher, with its uses.
    Voucher(Voucher),
    /// The voucher was taken back.
    VoucherRevoked {
        /// Which.
        hash: VoucherHash,
        /// When it would have ended by itself: until then it is remembered.
        expires: Timestamp,
    },
}

/// What is durable of it, beside vouchers: a [`Record`](crate::Record).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeRecord {
    /// The device's registration, in place of any other.
    Registration {
        /// The registration.
        registration: Registration,
        /// When it was last changed.
        stamp: HybridTime,
        /// When this server took it, by its own clock.
        taken: Timestamp,
        /// As in [`Exchanged::Registration`].
        devices_counted: u16,
    },
    /// The device is not registered any more, and that is remembered (a tombstone).
    Ended {
        /// The device.
        hardware: HardwareAddress,
        /// As in [`Exchanged::RegistrationEnded`].
        stamp: HybridTime,
        /// When this server learnt of it, by its own clock.
        taken: Timestamp,
        /// As in [`Exchanged::RegistrationEnded`].
        is_by_time: bool,
    },
    /// The end of the device's registration is not remembered any more.
    EndForgotten {
        /// The device.
        hardware: HardwareAddress,
        /// Ends up to here may have been forgotten.
        through: HybridTime,
    },
    /// Ends up to here may have been forgotten.
    ForgottenThrough(HybridTime),
    /// The voucher was taken back, which is remembered until it would have ended.
    VoucherRevoked {
        /// Which.
        hash: VoucherHash,
        /// When it would have ended by itself.
        expires: Timestamp,
    },
}

/// Names a thing that is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExchangeKey {
    /// The registration of a device, or its end.
    Device(HardwareAddress),
    /// A voucher, or its end.
    Voucher(VoucherHash),
}

/// What became of the words of the partner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Those that changed something.
    pub taken: usize,
    /// Those that said nothing new, or less than was known.
    pub known: usize,
    /// Those that a limit kept out.
    pub refused: usize,
    /// Those whose time is further ahead than clocks may be apart; they are taken all the same.
    pub far_ahead: usize,
    /// Registrations that were ended because both halves had let an owner have a last device.
    pub ended: usize,
}
