//! What the core refuses, as problems: why, and what to do about it.

use super::problem::{Problem, ProblemKind};
use super::{answer_mismatch, json};
use vestibule_core::limits::REGISTRATIONS_MAX;
use vestibule_core::{Answer, HardwareAddress, LeaseTokenRefusal, RegistrationState};

/// A refusal of a command.
pub(crate) fn refused(answer: &Answer) -> Problem {
    match answer {
        Answer::NoLease(address) => no_lease(address),
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
        Answer::DeviceLimitReached { limit, .. } => Problem::new(
            ProblemKind::DeviceLimitReached,
            format!(
                "the owner has {limit} devices, which is the limit; name in `replaces` the one whose place \
                 this one takes, or \"auto\" for the randomised one that was seen least recently"
            ),
        ),
        Answer::NothingToReplace { .. } => Problem::new(
            ProblemKind::NothingToReplace,
            "none of the owner's devices is a randomised one that could be taken; leave `replaces` out, or \
             name a device",
        ),
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
        ),
        Answer::HeldBack { registration, state } => held_back(registration.hardware, *state),
        Answer::ImportRefused { because, .. } => refused(because),
        Answer::Registered { .. } | Answer::Unregistered { .. } | Answer::Imported(_) => {
            answer_mismatch()
        }
    }
}

fn held_back(mac: HardwareAddress, state: RegistrationState) -> Problem {
    if state == RegistrationState::Quarantined {
        return Problem::new(
            ProblemKind::Quarantined,
            format!("{mac} is in a quarantine; name another `role` to take it out"),
        );
    }
    Problem::new(
        ProblemKind::Suspended,
        format!("{mac} is suspended, which registering does not lift; resume it first"),
    )
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

/// Nobody holds this address.
pub(super) fn no_lease(address: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemKind::NoLease, format!("nobody holds a lease for {address}"))
}

/// This device is not registered.
pub(super) fn not_registered(mac: HardwareAddress) -> Problem {
    Problem::new(ProblemKind::NotRegistered, format!("{mac} is not registered"))
}
