//! The desk: who stands before it, and what became of what they asked for, in the portal's words.
//!
//! Here and nowhere else the portal talks to the core, by the same commands as the API. It promises that
//! a device is called registered only when the kernel lets it pass.

use crate::api::{ApiState, Problem, ProblemKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use vestibule_core::limits::{DEVICES_NAMED_MAX, QUERY_LEASES_MAX};
use vestibule_core::{
    Answer, Command, HardwareAddress, Query, QueryAnswer, Register, Registration,
    RegistrationState, RegistrationTarget, Replaces, Side, VoucherRefusal,
};

/// Who stands before the desk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Visitor {
    /// Somebody who came by IPv6, by which nobody is known here.
    OverIpv6(Ipv6Addr),
    /// Somebody without a lease.
    Elsewhere(Ipv4Addr),
    /// A device of a network that is not gated.
    NotGated,
    /// A device that nothing tells from others.
    Nameless,
    /// A device that can be registered.
    Guest(Device),
    /// A registered device, which the kernel lets pass.
    Member(Device, Stay),
    /// A registered device that somebody holds back.
    HeldBack(Hold),
}

/// Why a registered device is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It is suspended, perhaps with a reason for its owner.
    Suspended(Option<Box<str>>),
    /// Its role is a quarantine, perhaps with a page of its own.
    Quarantined(Option<Box<str>>),
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// The address that it holds.
    pub(super) address: Ipv4Addr,
    /// Its hardware address.
    pub(super) hardware: HardwareAddress,
    /// What it calls itself. A stranger's text.
    pub(super) host_name: Option<Box<str>>,
    /// Its network.
    pub(super) network: Box<str>,
}

/// A registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stay {
    /// The whole of it.
    pub(super) registration: Registration,
    /// The milliseconds until it ends; `None`: it does not.
    pub(super) milliseconds_left: Option<u64>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The device is registered, durably, and the kernel lets it pass.
    Registered,
    /// Something has changed since the page was shown: whoever asks is told what is so now.
    LookAgain,
    /// No further device can be registered.
    Full,
    /// The device's network registers no randomised addresses.
    Randomised,
    /// The voucher does not let the device in.
    Voucher(VoucherRefusal),
    /// The owner has as many devices as they may have: those.
    Limit(Vec<vestibule_core::Device>),
}

/// Who stands before the desk, by the address of the connection.
pub(super) async fn who(state: &ApiState, peer: Option<IpAddr>) -> Result<Visitor, Problem> {
    let address = match peer.map(|peer| peer.to_canonical()) {
        Some(IpAddr::V4(address)) => address,
        Some(IpAddr::V6(address)) => return Ok(Visitor::OverIpv6(address)),
        // The portal listens on TCP only.
        None => return Err(Problem::new(ProblemKind::NoCallerAddress, "nobody knows from where")),
    };
    let QueryAnswer::Lease(view) = state.query(Query::Lease(address)).await? else {
        return Err(crate::api::answer_mismatch());
    };
    let Some(view) = view.filter(|view| view.held) else { return Ok(Visitor::Elsewhere(address)) };
    let Some(side) = view.side else { return Ok(Visitor::NotGated) };
    if view.lease.hardware.is_zero() {
        return Ok(Visitor::Nameless);
    }
    let device = Device {
        address,
        hardware: view.lease.hardware,
        host_name: view.lease.host_name.as_deref().map(|name| String::from_utf8_lossy(name).into()),
        network: view.network.clone().unwrap_or_default(),
    };
    match (side, view.registration, view.registration_state) {
        (_, Some(registration), Some(RegistrationState::Suspended)) => {
            let reason = registration.suspended.and_then(|suspension| suspension.reason);
            Ok(Visitor::HeldBack(Hold::Suspended(reason)))
        }
        (_, Some(_), Some(RegistrationState::Quarantined)) => {
            Ok(Visitor::HeldBack(Hold::Quarantined(view.quarantine_url)))
        }
        (Side::Registered, Some(registration), _) => {
            // The core knows of a permit before the kernel does.
            state.settled().await?;
            let milliseconds_left = view.registration_milliseconds;
            Ok(Visitor::Member(device, Stay { registration, milliseconds_left }))
        }
        _ => Ok(Visitor::Guest(device)),
    }
}

/// Registers a device, or changes its registration.
pub(super) async fn register(state: &ApiState, register: Register) -> Result<Outcome, Problem> {
    match state.command(Command::Register(register)).await? {
        Answer::Registered { registration, created, .. } => {
            tracing::info!(mac = %registration.hardware, created, "registered at the portal");
            Ok(Outcome::Registered)
        }
        Answer::RegistrationsFull => Ok(Outcome::Full),
        Answer::RandomisedAddressRefused { .. } => Ok(Outcome::Randomised),
        Answer::DeviceLimitReached { devices, .. } => Ok(Outcome::Limit(devices)),
        Answer::VoucherRefused(refusal) => Ok(Outcome::Voucher(refusal)),
        // The device went, or somebody else has just registered it or held it back.
        Answer::NoLease(_)
        | Answer::NoHardwareAddress(_)
        | Answer::ExpiryInThePast(_)
        | Answer::ReplacesAnothers(_)
        | Answer::HeldBack { .. } => Ok(Outcome::LookAgain),
        other => Err(crate::api::refused(&other)),
    }
}

/// A command that registers this device.
///
/// It names the address that the form was sent from: the rules for randomised addresses are those of its
/// network.
pub(super) fn wish(device: &Device) -> Register {
    Register::of(RegistrationTarget::Address(device.address))
}

/// Which of an owner's devices has this name on a page; `None` if none has.
pub(super) async fn device_of(
    state: &ApiState,
    owner: &str,
    is_named: impl Fn(HardwareAddress) -> bool,
) -> Result<Option<Replaces>, Problem> {
    let limit = DEVICES_NAMED_MAX.min(QUERY_LEASES_MAX);
    let query = Query::Registrations { after: None, limit, owner: Some(owner.into()) };
    let QueryAnswer::Registrations { registrations, .. } = state.query(query).await? else {
        return Err(crate::api::answer_mismatch());
    };
    let found = registrations.into_iter().map(|view| view.registration.hardware);
    Ok(found.into_iter().find(|hardware| is_named(*hardware)).map(Replaces::Device))
}
