//! Whether a device may be registered, for how long, and whose place it takes.
//!
//! All of it is decided in one step, so of two commands for one owner's last place one is refused,
//! however close they come. A refusal changes nothing.

use super::redeem::Redeemed;
use super::{Server, Step};
use crate::event::EndCause;
use crate::{
    Answer, Device, HardwareAddress, RandomisedAddresses, Register, Registration,
    RegistrationState, RegistrationTarget, Replaces, Role, Timestamp, limits,
};
use std::net::Ipv4Addr;

/// Why a device is not registered. Boxed, because it may name devices.
pub(super) type Refusal = Box<Answer>;

impl Server {
    pub(super) fn register(
        &mut self,
        register: Register,
        step: &mut Step<'_>,
    ) -> Result<Answer, Refusal> {
        let hardware = self.device_of(register.target)?;
        self.check_device(hardware, register.role.as_deref())?;
        let (register, redeemed) = self.with_voucher(hardware, register, step)?;
        let expires = self.end_of(hardware, &register)?;
        let old = self.registrations.valid(hardware, self.now);
        // Who registers a device again does not lift what somebody else has laid on it.
        if let Some(old) = old {
            let is_moved = register.may_lift_quarantine && register.role.is_some();
            self.check_not_held_back(old, |state| {
                state == RegistrationState::Quarantined && is_moved
            })?;
        }
        let created = old.is_none();
        let registered = old.map_or(self.now, |registration| registration.registered);
        let replaced = self.replaced_by(hardware, &register)?;
        // A voucher that stands for an owner says itself how many devices it lets in.
        let is_of_voucher = redeemed.as_ref().map(|redeemed| redeemed.voucher.owner());
        if let Some(owner) = register.owner.as_deref()
            && is_of_voucher.as_deref() != Some(owner)
        {
            self.check_limit(hardware, owner, register.role.as_deref(), replaced)?;
        }
        let count = self.registrations.len() - usize::from(replaced.is_some());
        if created && count >= limits::REGISTRATIONS_MAX {
            return Err(Answer::RegistrationsFull.into());
        }
        if let Some(replaced) = replaced {
            self.end_registration(replaced, Some(EndCause::ReplacedBy(hardware)), step);
        }
        // Before the registration, so that a crash between the two costs a use and gives none away.
        if let Some(redeemed) = redeemed {
            self.keep_use(redeemed, hardware, step);
        }
        let Register { owner, role, sponsor, note, .. } = register;
        let registration = Registration {
            owner,
            role,
            sponsor,
            note,
            expires,
            ..Registration::of(hardware, registered)
        };
        Ok(self.keep(registration, created, replaced, step))
    }

    /// The same with what its voucher says, if it names one.
    fn with_voucher(
        &mut self,
        hardware: HardwareAddress,
        mut register: Register,
        step: &mut Step<'_>,
    ) -> Result<(Register, Option<Redeemed>), Refusal> {
        let Some(hash) = register.voucher else { return Ok((register, None)) };
        let redeemed = self.redeem(hash, hardware, &register, step)?;
        let voucher = &redeemed.voucher;
        register.expires = redeemed.ends;
        register.role = voucher.role.clone().or(register.role);
        register.owner = register.owner.or_else(|| Some(voucher.owner()));
        // A role that the configuration has lost since the voucher was made.
        self.check_role(register.role.as_deref())?;
        Ok((register, Some(redeemed)))
    }

    pub(super) fn device_of(&self, target: RegistrationTarget) -> Result<HardwareAddress, Refusal> {
        let hardware = match target {
            RegistrationTarget::Hardware(hardware) => hardware,
            RegistrationTarget::Address(address) => {
                let lease = self.book.entry(address.into());
                let lease = lease.filter(|lease| lease.is_held(self.now));
                lease.ok_or(Answer::NoLease(address))?.hardware()
            }
            RegistrationTarget::Token(token) => {
                self.lease_of_token(&token, self.now).map_err(Answer::LeaseTokenRefused)?.hardware()
            }
        };
        if hardware.is_zero() {
            Err(Answer::NoHardwareAddress(target).into())
        } else {
            Ok(hardware)
        }
    }

    /// Whether anything speaks against a device or its role whatever else is said.
    pub(super) fn check_device(
        &self,
        hardware: HardwareAddress,
        role: Option<&str>,
    ) -> Result<(), Refusal> {
        if hardware.is_zero() {
            let target = RegistrationTarget::Hardware(hardware);
            return Err(Answer::NoHardwareAddress(target).into());
        }
        self.check_role(role)
    }

    /// Whether there is such a role, if one is named.
    pub(super) fn check_role(&self, role: Option<&str>) -> Result<(), Refusal> {
        let rules = &self.topology.configuration().registration;
        match role {
            Some(role) if rules.role(role).is_none() => {
                let known = rules.roles.iter().map(|role| role.name.clone()).collect();
                Err(Answer::UnknownRole { role: role.into(), known }.into())
            }
            _ => Ok(()),
        }
    }

    /// When the registration ends: when it is said to, else after its role's lifetime, else after the
    /// configured one; sooner where randomised addresses are allowed only briefly.
    fn end_of(
        &self,
        hardware: HardwareAddress,
        register: &Register,
    ) -> Result<Option<Timestamp>, Refusal> {
        if let Some(expires) = register.expires.filter(|expires| *expires <= self.now) {
            return Err(Answer::ExpiryInThePast(expires).into());
        }
        let rules = &self.topology.configuration().registration;
        let expires = self.usual_end(register.role.as_deref(), register.expires);
        match self.policy_for(hardware, register.target) {
            Some((RandomisedAddresses::Refuse, network)) => {
                Err(Answer::RandomisedAddressRefused { hardware, network }.into())
            }
            Some((RandomisedAddresses::AllowBriefly, _)) => {
                let latest = self.now.plus_seconds(rules.lifetime_randomised_seconds.into());
                Ok(Some(expires.map_or(latest, |expires| expires.min(latest))))
            }
            _ => Ok(expires),
        }
    }

    /// When a registration ends that begins now: as it says, as its role does, or as is configured.
    pub(super) fn usual_end(
        &self,
        role: Option<&str>,
        expires: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let of_role = self.role(role).and_then(|role| role.lifetime_seconds);
        let configured = self.topology.configuration().registration.lifetime_seconds;
        let seconds = of_role.or(configured);
        expires.or_else(|| seconds.map(|seconds| self.now.plus_seconds(seconds.into())))
    }

    /// What the networks that a randomised device is in want with it, and which of them: that of the address
    /// that was named, else the strictest of those where it holds one. A device that is nowhere meets no
    /// rule.
    fn policy_for(
        &self,
        hardware: HardwareAddress,
        target: RegistrationTarget,
    ) -> Option<(RandomisedAddresses, Box<str>)> {
        if !hardware.is_randomised() {
            return None;
        }
        let of_address = |address: Ipv4Addr| {
            let network = self.topology.network(self.topology.network_of(address)?);
            Some((network.randomised_addresses, network.name.clone()))
        };
        match target {
            RegistrationTarget::Address(address) => of_address(address),
            RegistrationTarget::Token(token) => of_address(token.address()),
            RegistrationTarget::Hardware(_) => {
                self.addresses_held(hardware).into_iter().filter_map(of_address).max()
            }
        }
    }

    /// The device whose registration ends for this one.
    fn replaced_by(
        &self,
        hardware: HardwareAddress,
        register: &Register,
    ) -> Result<Option<HardwareAddress>, Refusal> {
        match register.replaces {
            None => Ok(None),
            Some(Replaces::Device(replaced)) => {
                let Some(old) = self.registrations.valid(replaced, self.now) else {
                    return Ok(None);
                };
                if replaced == hardware {
                    return Ok(None);
                }
                // A page that passes on what its visitor sent must not end strangers' registrations.
                if register.owner.is_some() && register.owner != old.owner {
                    return Err(Answer::ReplacesAnothers(replaced).into());
                }
                self.check_not_held_back(old, |_| false)?;
                Ok(Some(replaced))
            }
            Some(Replaces::StalestRandomised) => {
                let owner = register.owner.as_deref().unwrap_or_default();
                let is_theirs = |registration: &Registration| registration.hardware == hardware;
                if self.registrations.of_owner(owner, self.now).any(is_theirs) {
                    return Ok(None);
                }
                match self.stalest_randomised(owner) {
                    Some(stalest) => Ok(Some(stalest)),
                    None => {
                        let devices = self.devices_of(owner, hardware);
                        Err(Answer::NothingToReplace { devices }.into())
                    }
                }
            }
        }
    }

    /// The owner's randomised device that was seen least recently, of those that hold no lease, else of
    /// those that do; the lowest hardware address of several that were seen at the same time.
    fn stalest_randomised(&self, owner: &str) -> Option<HardwareAddress> {
        let configuration = self.topology.configuration();
        self.registrations
            .of_owner(owner, self.now)
            .filter(|registration| registration.hardware.is_randomised())
            .filter(|registration| registration.state(configuration) == RegistrationState::Active)
            .map(|registration| self.device(registration))
            .min_by_key(|device| {
                (!device.addresses.is_empty(), device.seen, device.registration.hardware)
            })
            .map(|device| device.registration.hardware)
    }

    /// Whether the owner may have this device besides the others.
    fn check_limit(
        &self,
        hardware: HardwareAddress,
        owner: &str,
        role: Option<&str>,
        replaced: Option<HardwareAddress>,
    ) -> Result<(), Refusal> {
        let Some(limit) = self.device_limit(role) else { return Ok(()) };
        let is_other = |registration: &&Registration| {
            registration.hardware != hardware && Some(registration.hardware) != replaced
        };
        let has_it = self
            .registrations
            .of_owner(owner, self.now)
            .any(|registration| registration.hardware == hardware);
        let others = self.registrations.of_owner(owner, self.now).filter(is_other).count();
        // A limit that was lowered ends nothing: who has more keeps them.
        if has_it || others < limit as usize {
            return Ok(());
        }
        let devices = self.devices_of(owner, hardware);
        Err(Answer::DeviceLimitReached { limit, devices }.into())
    }

    /// How many devices an owner may have, one of this role among them; `None`: any number.
    pub(super) fn device_limit(&self, role: Option<&str>) -> Option<u32> {
        let of_role = self.role(role).and_then(|role| role.device_limit);
        of_role.or(self.topology.configuration().registration.device_limit)
    }

    pub(super) fn check_not_held_back(
        &self,
        registration: &Registration,
        is_excepted: impl Fn(RegistrationState) -> bool,
    ) -> Result<(), Refusal> {
        let state = registration.state(self.topology.configuration());
        if state == RegistrationState::Active || is_excepted(state) {
            return Ok(());
        }
        Err(Answer::HeldBack { registration: registration.clone(), state }.into())
    }

    /// The owner's devices but for one.
    fn devices_of(&self, owner: &str, but: HardwareAddress) -> Vec<Device> {
        self.registrations
            .of_owner(owner, self.now)
            .filter(|registration| registration.hardware != but)
            .take(limits::DEVICES_NAMED_MAX)
            .map(|registration| self.device(registration))
            .collect()
    }

    fn device(&self, registration: &Registration) -> Device {
        let seen = self.book.of_hardware(registration.hardware).map(|lease| lease.changed()).max();
        Device {
            addresses: self.addresses_held(registration.hardware),
            seen: seen.unwrap_or(registration.registered),
            registration: registration.clone(),
        }
    }

    /// The addresses that a device holds in any network, ascending.
    fn addresses_held(&self, hardware: HardwareAddress) -> Vec<Ipv4Addr> {
        let leases = self.book.of_hardware(hardware).filter(|lease| lease.is_held(self.now));
        let mut addresses: Vec<Ipv4Addr> = leases.map(super::book::Entry::address).collect();
        addresses.sort_unstable();
        addresses
    }

    fn role(&self, name: Option<&str>) -> Option<&Role> {
        self.topology.configuration().registration.role(name?)
    }
}
