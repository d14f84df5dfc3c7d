//! The JSON of the API: what is shown of what the core knows. Also what `vestibule` reads.
//!
//! Keys are kebab-case, times RFC 3339 in UTC, hardware addresses in one spelling. Fields may be
//! added, never renamed or removed. Text from strangers (host name, circuit, remote) is UTF-8
//! with U+FFFD for what is none; whoever shows it escapes it.

use super::json::time_text;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use vestibule_core::relay_agent::sub_option;
use vestibule_core::{
    BindingState, ClientIdentifier, Device, HardwareAddress, Imported, NetworkStatus,
    RandomisedAddresses, Registration, RegistrationState, RelayAgentInformation,
};

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LeaseView {
    /// The address.
    pub ip: Ipv4Addr,
    /// The hardware address that it was last acknowledged to.
    pub mac: HardwareAddress,
    /// Option 61 in hexadecimal; `null` if the client sends none and its hardware address identifies it.
    pub client_id: Option<String>,
    /// The network of the address; `null` if the configuration does not have it any more.
    pub network: Option<String>,
    /// `active`, `expired`, `released` or `declined`.
    pub state: String,
    /// When the client first got the address, without a break since.
    pub started: Option<String>,
    /// When it last got, released or declined it.
    pub changed: Option<String>,
    /// When it ends or ended; `null`: never.
    pub ends: Option<String>,
    /// The relay of the last request; `null` if there was none.
    pub relay: Option<Ipv4Addr>,
    /// The circuit ID of option 82 as text; `null` if there is none or it is not printable ASCII.
    pub circuit_id: Option<String>,
    /// The circuit ID in hexadecimal; `null` if there is none.
    pub circuit_id_hex: Option<String>,
    /// The remote ID of option 82 as text; `null` if there is none or it is not printable ASCII.
    pub remote_id: Option<String>,
    /// The remote ID in hexadecimal; `null` if there is none.
    pub remote_id_hex: Option<String>,
    /// What the client calls itself; `null` if it did not say.
    pub host_name: Option<String>,
    /// Whether the device is registered, and not held back.
    pub registered: bool,
    /// What its registration does: `active`, `suspended` or `quarantined`; `null` if there is none.
    pub registration_state: Option<RegistrationState>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Whether the device has given its address to itself.
    pub randomised: bool,
}

/// A page of leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasesPage {
    /// In ascending order of their addresses.
    pub leases: Vec<LeaseView>,
    /// What to give as `after` for the next page; `null` if there is none. A page may be short, even
    /// empty, and still not be the last.
    pub next: Option<Ipv4Addr>,
}

/// A registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RegistrationView {
    /// The device.
    pub mac: HardwareAddress,
    /// Whether the device has given its address to itself, as telephones do that change it from time to
    /// time.
    pub randomised: bool,
    /// `active`, `suspended` or `quarantined`; only `active` lets the device pass. Not there in events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RegistrationState>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Its role.
    pub role: Option<String>,
    /// Who vouches for it.
    pub sponsor: Option<String>,
    /// What somebody wanted to remember of it.
    pub note: Option<String>,
    /// When it was first registered, without a break since.
    pub registered: Option<String>,
    /// When the registration ends; `null`: never.
    pub expires: Option<String>,
    /// Since when it is suspended; `null`: it is not.
    pub suspended_since: Option<String>,
    /// Why, in words for its owner.
    pub suspended_reason: Option<String>,
}

/// A registered device, as its owner tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceView {
    /// The device.
    pub mac: HardwareAddress,
    /// Whether the device has given its address to itself.
    pub randomised: bool,
    /// When it was first registered, without a break since.
    pub registered: Option<String>,
    /// When it last got, released or declined an address; when it was registered if that is not known.
    pub seen: Option<String>,
    /// The addresses that it holds, in any network.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether it is held back by a suspension; it cannot be replaced then.
    pub suspended: bool,
}

/// A registration as it is exported and imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PortableRegistration {
    /// The device.
    pub mac: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Its role.
    #[serde(default)]
    pub role: Option<String>,
    /// Who vouches for it.
    #[serde(default)]
    pub sponsor: Option<String>,
    /// What somebody wanted to remember of it.
    #[serde(default)]
    pub note: Option<String>,
    /// When it was first registered; without it, now.
    #[serde(default)]
    pub registered: Option<String>,
    /// When the registration ends; without it, never.
    #[serde(default)]
    pub expires: Option<String>,
    /// Since when it is suspended; without it, it stays as it is.
    #[serde(default)]
    pub suspended_since: Option<String>,
    /// Why.
    #[serde(default)]
    pub suspended_reason: Option<String>,
}

/// What became of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportView {
    /// Devices that were not registered before.
    pub created: usize,
    /// Devices whose registration was another one before.
    pub changed: usize,
    /// Devices whose registration was the same before.
    pub unchanged: usize,
    /// Entries that had ended already, and were left out.
    pub ended: usize,
}

/// A registration that was just made or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RegistrationWithAddresses {
    /// The registration.
    #[serde(flatten)]
    pub registration: RegistrationView,
    /// The addresses in gated networks that the device holds, and that the kernel treats so now.
    pub addresses: Vec<Ipv4Addr>,
    /// The device whose registration ended for it.
    pub replaced: Option<HardwareAddress>,
}

/// A page of registrations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationsPage {
    /// In ascending order of their hardware addresses.
    pub registrations: Vec<RegistrationView>,
    /// What to give as `after` for the next page; `null` if this was the last.
    pub next: Option<HardwareAddress>,
}

/// A registration that was just ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnregisteredView {
    /// The device.
    pub mac: HardwareAddress,
    /// The addresses in gated networks that the device holds, and that the kernel holds back now.
    pub addresses: Vec<Ipv4Addr>,
}

/// The host behind an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhoamiView {
    /// The address.
    pub ip: Ipv4Addr,
    /// The device.
    pub mac: HardwareAddress,
    /// The network; `null` if the configuration does not have it any more.
    pub network: Option<String>,
    /// Whether the device is registered, and not held back.
    pub registered: bool,
    /// What its registration does: `active`, `suspended` or `quarantined`; `null` if there is none.
    pub registration_state: Option<RegistrationState>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Its role.
    pub role: Option<String>,
    /// When the registration ends; `null`: never, or there is none.
    pub expires: Option<String>,
    /// Since when it is suspended; `null`: it is not.
    pub suspended_since: Option<String>,
    /// Why, in words for its owner.
    pub suspended_reason: Option<String>,
    /// The page for a device in its quarantine; `null` if it is in none with a page of its own.
    pub quarantine_url: Option<String>,
    /// Whether the device has given its address to itself.
    pub randomised: bool,
    /// What the network does with such addresses: `allow`, `allow-briefly` or `refuse`.
    pub randomised_addresses: String,
    /// When the lease ends if it is not renewed; `null`: never.
    pub lease_end: Option<String>,
}

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusView {
    /// Its name.
    pub server: String,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started: Option<String>,
    /// For how long it has been running.
    pub uptime_seconds: u64,
    /// Whether nothing is in `not-well`.
    pub everything_well: bool,
    /// What somebody should look at, in words.
    pub not_well: Vec<String>,
    /// By network, in the order of the configuration.
    pub networks: Vec<NetworkView>,
    /// Leases in memory, ended ones too.
    pub leases_known: u64,
    /// Valid registrations.
    pub registrations: u64,
    /// Offers that wait for their REQUEST.
    pub offers: u64,
    /// The kernel sets.
    pub gate: GateView,
    /// The disk.
    pub storage: StorageView,
    /// The DHCP sockets.
    pub sockets: Vec<SocketView>,
    /// Packets that the kernel dropped in front of them since the server started.
    pub kernel_drops: u64,
    /// Replies that the kernel refused to send since the server started.
    pub send_errors: u64,
}

/// One network in the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NetworkView {
    /// Its name.
    pub name: String,
    /// Whether unregistered hosts meet the gate.
    pub gated: bool,
    /// By what they are held back: `sets`, `pools` or both; empty if the network is not gated.
    #[serde(default)]
    pub gate_by: Vec<String>,
    /// Addresses in its pools.
    pub pool_size: u64,
    /// Addresses of its pools that anybody can get now.
    pub free: u64,
    /// Addresses that clients hold now.
    pub held: u64,
    /// Addresses in quarantine after a DECLINE.
    pub declined: u64,
    /// Held leases of registered hosts.
    pub registered: u64,
    /// Held leases of hosts that are not registered.
    pub unregistered: u64,
    /// Its pools for one class of hosts, by class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_pools: Vec<ClassPoolsView>,
}

/// The pools of a network for one class of hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassPoolsView {
    /// `registered` or `unregistered`.
    pub class: String,
    /// Addresses in them.
    pub size: u64,
    /// Addresses of them that a host of the class can get now.
    pub free: u64,
    /// Addresses of them that hosts hold now.
    pub held: u64,
    /// Those of them whose host is of the other class by now.
    pub misplaced: u64,
}

/// The kernel sets in the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateView {
    /// `local`, `feed` or `off`.
    pub mode: String,
    /// Those who follow the gate feed now.
    pub followers: u64,
    /// Transactions that failed since the server started.
    pub failures: u64,
    /// Times that the whole of the sets was replaced since the server started.
    pub reconciles: u64,
}

/// The disk in the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StorageView {
    /// Groups that were synced since the server started.
    pub groups_committed: u64,
    /// Records in them.
    pub records_committed: u64,
    /// Times that the index was built again since the server started.
    pub index_rebuilds: u64,
}

/// One DHCP socket in the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SocketView {
    /// The address or interface that it listens on.
    pub name: String,
    /// Bytes that the kernel queues for it at most.
    pub receive_buffer_bytes: u64,
    /// Packets that the kernel dropped because that queue was full.
    pub kernel_drops: u64,
}

impl LeaseView {
    /// What is shown of a lease.
    #[must_use]
    pub fn new(view: &vestibule_core::LeaseView) -> Self {
        let lease = &view.lease;
        let relay_agent = lease.relay_agent.as_deref().and_then(RelayAgentInformation::parse);
        let part = |code| relay_agent.as_ref().and_then(|option| option.sub_option(code));
        let circuit = part(sub_option::CIRCUIT_ID);
        let remote = part(sub_option::REMOTE_ID);
        Self {
            ip: lease.address,
            mac: lease.hardware,
            client_id: match &lease.client {
                ClientIdentifier::Option61(bytes) => Some(hexadecimal(bytes)),
                ClientIdentifier::Hardware(_) => None,
            },
            network: view.network.as_deref().map(str::to_owned),
            state: state_name(lease.state, view.held).to_owned(),
            started: time_text(lease.started),
            changed: time_text(lease.changed),
            ends: time_text(lease.ends),
            relay: lease.relay,
            circuit_id: circuit.and_then(printable),
            circuit_id_hex: circuit.map(hexadecimal),
            remote_id: remote.and_then(printable),
            remote_id_hex: remote.map(hexadecimal),
            host_name: lease
                .host_name
                .as_deref()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            registered: view.registration_state == Some(RegistrationState::Active),
            registration_state: view.registration_state,
            owner: owner(view.registration.as_ref()),
            randomised: lease.hardware.is_randomised(),
        }
    }
}

impl LeaseView {
    /// What is shown of a lease that was just given.
    #[must_use]
    pub(crate) fn of_event(
        lease: vestibule_core::Lease,
        network: Box<str>,
        registration: Option<Registration>,
    ) -> Self {
        Self::new(&vestibule_core::LeaseView {
            lease,
            held: true,
            network: Some(network),
            registration,
            registration_state: None,
            quarantine_url: None,
            registration_milliseconds: None,
            randomised_addresses: RandomisedAddresses::Allow,
            side: None,
            misplaced: false,
        })
    }
}

impl RegistrationView {
    /// What is shown of a registration that does this to its device.
    #[must_use]
    pub fn new(registration: &Registration, state: RegistrationState) -> Self {
        Self { state: Some(state), ..Self::of_event(registration) }
    }

    /// What is shown of a registration that something happened to.
    #[must_use]
    pub(crate) fn of_event(registration: &Registration) -> Self {
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        let suspension = registration.suspended.as_deref();
        Self {
            mac: registration.hardware,
            randomised: registration.hardware.is_randomised(),
            state: None,
            owner: text(&registration.owner),
            role: text(&registration.role),
            sponsor: text(&registration.sponsor),
            note: text(&registration.note),
            registered: time_text(registration.registered),
            expires: registration.expires.and_then(time_text),
            suspended_since: suspension.and_then(|suspension| time_text(suspension.since)),
            suspended_reason: suspension.and_then(|suspension| text(&suspension.reason)),
        }
    }

    /// What is exported of it.
    #[must_use]
    pub fn portable(self) -> PortableRegistration {
        PortableRegistration {
            mac: self.mac.to_string(),
            owner: self.owner,
            role: self.role,
            sponsor: self.sponsor,
            note: self.note,
            registered: self.registered,
            expires: self.expires,
            suspended_since: self.suspended_since,
            suspended_reason: self.suspended_reason,
        }
    }
}

impl DeviceView {
    /// What is shown of a device.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        let registration = &device.registration;
        Self {
            mac: registration.hardware,
            randomised: registration.hardware.is_randomised(),
            registered: time_text(registration.registered),
            seen: time_text(device.seen),
            addresses: device.addresses.clone(),
            suspended: registration.suspended.is_some(),
        }
    }
}

impl From<Imported> for ImportView {
    fn from(imported: Imported) -> Self {
        let Imported { created, changed, unchanged, ended } = imported;
        Self { created, changed, unchanged, ended }
    }
}

impl WhoamiView {
    /// What is shown of the holder of an address.
    #[must_use]
    pub fn new(view: &vestibule_core::LeaseView) -> Self {
        let shown = view
            .registration
            .as_ref()
            .zip(view.registration_state)
            .map(|(registration, state)| RegistrationView::new(registration, state));
        Self {
            ip: view.lease.address,
            mac: view.lease.hardware,
            network: view.network.as_deref().map(str::to_owned),
            registered: view.registration_state == Some(RegistrationState::Active),
            registration_state: view.registration_state,
            owner: shown.as_ref().and_then(|shown| shown.owner.clone()),
            role: shown.as_ref().and_then(|shown| shown.role.clone()),
            expires: shown.as_ref().and_then(|shown| shown.expires.clone()),
            suspended_since: shown.as_ref().and_then(|shown| shown.suspended_since.clone()),
            suspended_reason: shown.and_then(|shown| shown.suspended_reason),
            quarantine_url: view.quarantine_url.as_deref().map(str::to_owned),
            randomised: view.lease.hardware.is_randomised(),
            randomised_addresses: view.randomised_addresses.name().to_owned(),
            lease_end: time_text(view.lease.ends),
        }
    }
}

impl NetworkView {
    /// What is shown of a network.
    #[must_use]
    pub fn new(network: &NetworkStatus) -> Self {
        Self {
            name: network.name.to_string(),
            gated: network.gated,
            gate_by: [("sets", network.gate_by.sets), ("pools", network.gate_by.pools)]
                .into_iter()
                .filter(|(_, is_so)| network.gated && *is_so)
                .map(|(name, _)| name.to_owned())
                .collect(),
            pool_size: network.pool_size,
            free: network.free,
            held: network.held,
            declined: network.declined,
            registered: network.registered,
            unregistered: network.unregistered,
            class_pools: network
                .class_pools
                .iter()
                .map(|pools| ClassPoolsView {
                    class: pools.class.name().to_owned(),
                    size: pools.size,
                    free: pools.free,
                    held: pools.held,
                    misplaced: pools.misplaced,
                })
                .collect(),
        }
    }
}

fn owner(registration: Option<&Registration>) -> Option<String> {
    registration?.owner.as_deref().map(str::to_owned)
}

const fn state_name(state: BindingState, held: bool) -> &'static str {
    match state {
        BindingState::Active if held => "active",
        BindingState::Active => "expired",
        BindingState::Released => "released",
        BindingState::Declined => "declined",
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn printable(bytes: &[u8]) -> Option<String> {
    let is_printable = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    (is_printable && !bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}
