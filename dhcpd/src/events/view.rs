//! Events as JSON: one line, safe to show. `docs/events.md` lists every field.

use crate::api::{LeaseView, RegistrationView, VoucherView, json_text, time_text};
use serde::Serialize;
use std::net::Ipv4Addr;
use vestibule_core::event::{EndCause, LimitReached, VoucherEnd};
use vestibule_core::{Class, Event, EventKind, Happening, HardwareAddress, Timestamp, Voucher};

/// What every event has.
#[derive(Debug, Serialize)]
struct Envelope<'a, T> {
    id: u64,
    r#type: &'static str,
    time: Option<String>,
    server: &'a str,
    #[serde(flatten)]
    what: T,
}

/// Why events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// More happened at once than could be handed over.
    Overflow,
    /// The process ended without telling everything.
    Restart,
    /// The log could not be written.
    Storage,
    /// A part of the log cannot be read.
    Damage,
    /// A reader came too late: what it missed is not kept any more.
    Retention,
}

impl GapCause {
    /// Every cause.
    pub const ALL: [Self; 5] =
        [Self::Overflow, Self::Restart, Self::Storage, Self::Damage, Self::Retention];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Restart => "restart",
            Self::Storage => "storage",
            Self::Damage => "damage",
            Self::Retention => "retention",
        }
    }
}

/// A gap.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GapView {
    cause: &'static str,
    /// How many events are missing; `None` if nobody knows.
    missed: Option<u64>,
}

impl GapView {
    /// A gap of this cause.
    #[must_use]
    pub const fn new(cause: GapCause, missed: Option<u64>) -> Self {
        Self { cause: cause.name(), missed }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct HostView {
    #[serde(flatten)]
    lease: LeaseView,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_ip: Option<Ipv4Addr>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct DeviceView {
    #[serde(flatten)]
    registration: RegistrationView,
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<Ipv4Addr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<HardwareAddress>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct LimitView {
    limit: &'static str,
    limit_count: usize,
    mac: HardwareAddress,
    owner: Option<Box<str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct VouchersView {
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    // Not flat: an event has an id of its own.
    voucher: VoucherView,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<HardwareAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
}

#[derive(Serialize)]
struct GuessingView {
    mac: HardwareAddress,
}

#[derive(Serialize)]
struct DeclinedView {
    ip: Ipv4Addr,
    mac: HardwareAddress,
    network: Box<str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PoolView {
    network: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'static str>,
    pool_size: u64,
    free: u64,
}

impl VouchersView {
    fn of(voucher: &Voucher) -> Self {
        Self { count: None, voucher: VoucherView::new(voucher), mac: None, cause: None }
    }
}

/// An event of the core as JSON.
pub(super) fn event(id: u64, server: &str, event: Event) -> String {
    let Event { time, what } = event;
    let kind = what.kind();
    let envelope = |what: &dyn ErasedWhat| what.render(id, kind, time, server);
    match what {
        Happening::UnregisteredSeen { lease, network } => {
            let lease = LeaseView::of_event(lease, network, None);
            envelope(&HostView { lease, previous_ip: None })
        }
        Happening::AddressChanged { lease, network, registration, previous } => {
            let lease = LeaseView::of_event(lease, network, registration);
            envelope(&HostView { lease, previous_ip: Some(previous) })
        }
        Happening::Registered { registration, addresses }
        | Happening::RegistrationChanged { registration, addresses }
        | Happening::Suspended { registration, addresses }
        | Happening::Resumed { registration, addresses }
        | Happening::Expired { registration, addresses } => envelope(&DeviceView {
            registration: RegistrationView::of_event(&registration),
            addresses: Some(addresses),
            cause: None,
            replaced_by: None,
        }),
        Happening::Expiring { registration } => envelope(&DeviceView {
            registration: RegistrationView::of_event(&registration),
            addresses: None,
            cause: None,
            replaced_by: None,
        }),
        Happening::Unregistered { registration, addresses, cause } => {
            let (cause, replaced_by) = match cause {
                EndCause::Command => ("command", None),
                EndCause::ReplacedBy(device) => ("replaced", Some(device)),
                EndCause::DeviceLimit => ("device-limit", None),
            };
            envelope(&DeviceView {
                registration: RegistrationView::of_event(&registration),
                addresses: Some(addresses),
                cause: Some(cause),
                replaced_by,
            })
        }
        Happening::LimitReached { limit, hardware, owner } => {
            let name = match limit {
                LimitReached::Registrations => "registrations",
                LimitReached::Devices(_) => "devices",
            };
            envelope(&LimitView { limit: name, limit_count: limit.limit(), mac: hardware, owner })
        }
        Happening::VouchersCreated { count, voucher } => {
            envelope(&VouchersView { count: Some(count), ..VouchersView::of(&voucher) })
        }
        Happening::VoucherUsed { voucher, hardware } => {
            envelope(&VouchersView { mac: Some(hardware), ..VouchersView::of(&voucher) })
        }
        Happening::VoucherEnded { voucher, cause } => {
            let cause = match cause {
                VoucherEnd::Revoked => "revoked",
                VoucherEnd::Expired => "expired",
            };
            envelope(&VouchersView { cause: Some(cause), ..VouchersView::of(&voucher) })
        }
        Happening::VoucherGuessing { hardware } => envelope(&GuessingView { mac: hardware }),
        Happening::AddressDeclined { address, hardware, network } => {
            envelope(&DeclinedView { ip: address, mac: hardware, network })
        }
        Happening::PoolLow(usage) | Happening::PoolRecovered(usage) => envelope(&PoolView {
            network: usage.network,
            class: usage.class.map(Class::name),
            pool_size: usage.pool_size,
            free: usage.free,
        }),
    }
}

/// A gap as JSON.
pub(super) fn gap(id: u64, server: &str, time: Timestamp, gap: &GapView) -> String {
    gap.render(id, EventKind::Gap, time, server)
}

/// Anything that an event can be about.
trait ErasedWhat {
    fn render(&self, id: u64, kind: EventKind, time: Timestamp, server: &str) -> String;
}

impl<T: Serialize> ErasedWhat for T {
    fn render(&self, id: u64, kind: EventKind, time: Timestamp, server: &str) -> String {
        let time = time_text(time);
        json_text(&Envelope { id, r#type: kind.name(), time, server, what: self })
    }
}
