//! The desk: who stands before it, and what became of what they asked for, in the portal's words.
//!
//! Here and nowhere else the portal talks to the core, by the same commands as the API. It promises that
//! a device is called registered only when the kernel lets it pass.

use crate::api::{ApiState, Problem, ProblemKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use vestibule_core::{
    Answer, Command, HardwareAddress, Query, QueryAnswer, RegistrationTarget, Side, Timestamp,
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
    /// Who answers for the device. A stranger's text.
    pub(super) owner: Option<Box<str>>,
    /// When it ends; `None`: never.
    pub(super) expires: Option<Timestamp>,
    /// The milliseconds until then.
    pub(super) milliseconds_left: Option<u64>,
}

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// For which device.
    pub(super) device: Device,
    /// Who answers for it.
    pub(super) owner: Option<Box<str>>,
    /// For how long from now, in seconds; `None`: for ever.
    pub(super) lifetime_seconds: Option<u32>,
    /// A device whose place it takes.
    pub(super) replaces: Option<HardwareAddress>,
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
    match (side, view.registration) {
        (Side::Registered, Some(registration)) => {
            // The core knows of a permit before the kernel does.
            state.settled().await?;
            Ok(Visitor::Member(
                device,
                Stay {
                    owner: registration.owner,
                    expires: registration.expires,
                    milliseconds_left: view.registration_milliseconds,
                },
            ))
        }
        _ => Ok(Visitor::Guest(device)),
    }
}

/// Registers a device.
pub(super) async fn register(
    state: &ApiState,
    wish: Wish,
    now: Timestamp,
) -> Result<Outcome, Problem> {
    let command = Command::Register {
        // The device that was shown the form, whoever may hold its address by now.
        target: RegistrationTarget::Hardware(wish.device.hardware),
        owner: wish.owner,
        expires: wish.lifetime_seconds.map(|seconds| now.plus_seconds(seconds.into())),
        replaces: wish.replaces,
    };
    match state.command(command).await? {
        Answer::Registered { registration, created, .. } => {
            tracing::info!(mac = %registration.hardware, created, "registered at the portal");
            Ok(Outcome::Registered)
        }
        Answer::RegistrationsFull => Ok(Outcome::Full),
        Answer::NoLease(_) | Answer::NoHardwareAddress(_) | Answer::ExpiryInThePast(_) => {
            Ok(Outcome::LookAgain)
        }
        Answer::Unregistered { .. } | Answer::NotRegistered(_) => {
            Err(crate::api::answer_mismatch())
        }
    }
}
