//! What the core refuses, as problems: why, and what to do about it.

use super::problem::{Problem, ProblemKind, WAIT_SECONDS};
use super::view::{DeviceView, RegistrationView};
use super::{answer_mismatch, json};
use vestibule_core::limits::{REGISTRATIONS_MAX, VOUCHERS_MAX};
use vestibule_core::{
    Answer, Device, HardwareAddress, LeaseTokenRefusal, Registration, RegistrationState, VoucherId,
    VoucherRefusal,
};

/// A refusal of a command.
pub(crate) fn refused(answer: &Answer) -> Problem {
    match answer {
        Answer::NoLease(address) => Problem::new(
            ProblemKind::LeaseNeeded,
            format!(
                "nobody holds a lease for {address}: have the device connect again, which gets it one, and \
                 register it by the address that it comes from then; or register it by its `mac`"
            ),
        ),
        Answer::LeaseTokenRefused(refusal) => token_refused(*refusal),
        Answer::NotRegistered(mac) => not_registered(*mac),
        Answer::NoHardwareAddress(_) => Problem::new(
            ProblemKind::NoHardwareAddress,
            "nothing tells this host from others without one, so a registration would let them all in; \
             it has to send its hardware address in DHCP",
        ),
        Answer::ExpiryInThePast(time) => Problem::new(
            ProblemKind::ExpiryInThePast,
            format!(
                "`expires` is {}, which has passed",
                json::time_text(*time).unwrap_or_else(|| time.to_string())
            ),
        ),
        Answer::RegistrationsFull => Problem::new(
            ProblemKind::RegistrationsFull,
            format!(
                "{REGISTRATIONS_MAX} devices are registered, and there is no room for more; end some registrations"
            ),
        ),
        Answer::UnknownRole { role, known } => Problem::new(
            ProblemKind::UnknownRole,
            if known.is_empty() {
                format!("`role` is {role:?}, and the configuration has no [[registration.role]]")
            } else {
                format!("`role` is {role:?}; the configuration has {}", known.join(", "))
            },
        ),
        Answer::DeviceLimitReached { limit, devices } => Problem::new(
            ProblemKind::DeviceLimitReached,
            format!(
                "the owner may have {limit} devices, and has {}; name in `replaces` the one whose place this one \
                 takes, or \"auto\" for the randomised one that was seen least recently",
                devices
                    .iter()
                    .map(|device| device.registration.hardware.to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        )
        .with("limit", *limit)
        .with("devices", devices_of(devices)),
        Answer::NothingToReplace { devices } => Problem::new(
            ProblemKind::NothingToReplace,
            "none of the owner's devices is a randomised one that could be taken; leave `replaces` out, or \
             name a device",
        )
        .with("devices", devices_of(devices)),
        Answer::ReplacesAnothers(mac) => Problem::new(
            ProblemKind::NotTheOwners,
            format!(
                "{mac} is not registered for this owner, so this device does not take its place"
            ),
        ),
        Answer::RandomisedAddressRefused { hardware, network } => Problem::new(
            ProblemKind::RandomisedAddress,
            format!(
                "{hardware} is a randomised address, and the network {network} does not register such: switch \
                 \"private\" or \"random\" addresses off for this network on the device, and connect again"
            ),
        )
        .with("mac", hardware.to_string())
        .with("network", network.to_string()),
        Answer::HeldBack { registration, state } => held_back(registration, *state),
        Answer::ImportRefused { position, because } => {
            refused(because).with("position", *position as u64)
        }
        Answer::VoucherRefused(refusal) => voucher_refused(*refusal),
        Answer::NoSuchVoucher(id) => no_voucher(*id),
        Answer::VouchersFull => Problem::new(
            ProblemKind::VouchersFull,
            format!("{VOUCHERS_MAX} vouchers are kept at most: revoke those that nobody needs"),
        ),
        Answer::Registered { .. }
        | Answer::Unregistered { .. }
        | Answer::VouchersCreated { .. }
        | Answer::VoucherRevoked { .. }
        | Answer::Imported(_)
        | Answer::PartnerIsDown
        | Answer::PartnerIsConnected
        | Answer::LeasesNotKnown
        | Answer::Merged(_)
        | Answer::NotPaired
        | Answer::NotWithPartner
        | Answer::Configured { .. } => answer_mismatch(),
    }
}

fn held_back(registration: &Registration, state: RegistrationState) -> Problem {
    let mac = registration.hardware;
    let view = RegistrationView::new(registration, state);
    if state == RegistrationState::Quarantined {
        return Problem::new(
            ProblemKind::Quarantined,
            format!(
                "{mac} is in a quarantine, which only an operator lifts, by naming another `role`"
            ),
        )
        .with("mac", mac.to_string())
        .with("role", view.role);
    }
    Problem::new(
        ProblemKind::Suspended,
        format!("{mac} is suspended, which only an operator lifts, by resuming it"),
    )
    .with("mac", mac.to_string())
    .with("suspended-since", view.suspended_since)
    .with("suspended-reason", view.suspended_reason)
}

fn devices_of(devices: &[Device]) -> serde_json::Value {
    // What is shown of a device are texts and lists, which are JSON always.
    serde_json::to_value(devices.iter().map(DeviceView::new).collect::<Vec<_>>())
        .unwrap_or_default()
}

/// A token names no lease.
pub(super) fn token_refused(refusal: LeaseTokenRefusal) -> Problem {
    match refusal {
        LeaseTokenRefusal::Invalid => Problem::new(
            ProblemKind::LeaseTokenInvalid,
            "this is no lease token of this server, or it is of an earlier lease or of another device; \
             have the device reconnect, or name it by its address",
        ),
        LeaseTokenRefusal::Ended => Problem::new(
            ProblemKind::LeaseTokenEnded,
            "the lease that this token is of has ended; have the device reconnect",
        ),
    }
}

/// A voucher does not let a device in.
fn voucher_refused(refusal: VoucherRefusal) -> Problem {
    match refusal {
        VoucherRefusal::Unknown => Problem::new(
            ProblemKind::VoucherUnknown,
            "no voucher has this code, or it was revoked, or its time to be used is over",
        ),
        VoucherRefusal::UsedUp => Problem::new(
            ProblemKind::VoucherUsedUp,
            "as many devices use this voucher as may, and this one is none of them",
        ),
        VoucherRefusal::TimeOver => Problem::new(
            ProblemKind::VoucherTimeOver,
            "this voucher has let this device in for as long as it does; another one is needed",
        ),
        VoucherRefusal::TooManyGuesses { wait_milliseconds } => {
            let seconds = wait_milliseconds.div_ceil(1000);
            Problem::new(
                ProblemKind::VoucherGuesses,
                format!("too many unknown codes came; no code of this device is looked at for {seconds} s"),
            )
            .with(WAIT_SECONDS, seconds)
        }
    }
}

/// There is no voucher with this id.
pub(super) fn no_voucher(id: VoucherId) -> Problem {
    Problem::new(ProblemKind::NoVoucher, format!("there is no voucher {id}"))
}

/// Nobody holds this address.
pub(super) fn no_lease(address: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemKind::NoLease, format!("nobody holds a lease for {address}"))
}

/// This device is not registered.
pub(super) fn not_registered(mac: HardwareAddress) -> Problem {
    Problem::new(ProblemKind::NotRegistered, format!("{mac} is not registered"))
}
