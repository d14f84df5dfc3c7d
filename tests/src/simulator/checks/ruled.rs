//! What the documents say of registrations: who may be registered, for how long, in whose place, and what
//! holds a device back; and that an owner never has more devices than they may, also after a crash.
//!
//! Written from `docs/api.md` and `docs/configuration.md`. It keeps its own registrations and decides each
//! command itself. Where several things speak against one, the answer may name any of them.

use super::{Verdict, Violation};
use crate::simulator::plan;
use crate::simulator::portal::Concerned;
use crate::simulator::rules::{GUEST, QUARANTINE, Rules, STAFF};
use crate::simulator::view::View;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vestibule_core::{
    Answer, Command, HardwareAddress, Imported, RandomisedAddresses, Register, Registration,
    RegistrationState, RegistrationTarget, Replaces, Suspension, Timestamp,
};

/// What is said of devices: registered so, or not at all.
pub(crate) type Tells = Vec<(HardwareAddress, Option<Registration>)>;

/// What may be answered to a command.
enum Expected {
    /// That it is done, and then it stands so with these devices.
    Done(Tells),
    /// That it is not, for one of these reasons.
    Refused(BTreeSet<&'static str>),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ruled {
    rules: Arc<Rules>,
    known: BTreeMap<HardwareAddress, Registration>,
    /// Owners to whom an import gave devices: no limit applies to what an operator puts in.
    exempt: BTreeSet<Box<str>>,
    /// Commands that were refused, in all lives.
    pub(crate) refusals: u64,
}

impl Ruled {
    /// The checker of a world with these rules.
    pub(crate) fn new(rules: Arc<Rules>) -> Self {
        Self { rules, ..Self::default() }
    }

    /// A process starts from what is durable.
    ///
    /// # Errors
    /// [`Violation`] if an owner has more devices than any limit allows.
    pub(crate) fn started(&mut self, view: &View, now: Timestamp) -> Verdict {
        self.known = view
            .registrations()
            .map(|registration| (registration.hardware, registration.clone()))
            .collect();
        let limits = [self.rules.device_limit, self.rules.guest_limit.or(self.rules.device_limit)];
        let Some(most) = limits.into_iter().try_fold(0, |most, limit| Some(most.max(limit?)))
        else {
            return Ok(());
        };
        let mut devices: BTreeMap<&str, u32> = BTreeMap::new();
        for registration in self.known.values().filter(|registration| registration.is_valid(now)) {
            if let Some(owner) = &registration.owner {
                *devices.entry(owner).or_default() += 1;
            }
        }
        match devices.into_iter().find(|(owner, n)| *n > most && !self.exempt.contains(*owner)) {
            Some((owner, count)) => broken(format!("{owner} has {count} devices, not {most}")),
            None => Ok(()),
        }
    }

    /// The core decided a command. What its answer says of devices, once it is given.
    ///
    /// # Errors
    /// [`Violation`] if it had to decide otherwise.
    pub(crate) fn decided(
        &mut self,
        command: &Command,
        concerned: &Concerned,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<Tells, Violation> {
        let name = name_of(answer);
        let expected = match command {
            Command::Register(register) => self.register(register, concerned, answer, now),
            Command::Unregister(hardware) => self.end(*hardware, false, now),
            Command::Leave(hardware) => self.end(*hardware, true, now),
            Command::Suspend { hardware, reason } => {
                self.change(*hardware, now, |registration| Registration {
                    suspended: Some(Box::new(Suspension {
                        since: registration.suspended.as_ref().map_or(now, |old| old.since),
                        reason: reason.clone(),
                    })),
                    ..registration
                })
            }
            Command::Resume(hardware) => self.change(*hardware, now, |registration| Registration {
                suspended: None,
                ..registration
            }),
            Command::Import { entries, apply } => self.import(entries, *apply, answer, now),
            Command::PartnerDown { .. } | Command::Merge { .. } => refused(&["not paired"]),
            // No plan has any: `dhcpd/core/tests/vouchers.rs` holds them to their rule.
            Command::CreateVouchers(_) | Command::RevokeVoucher { .. } => refused(&["vouchers"]),
            // Nor any: `dhcpd/core/src/server/tests/configure.rs`.
            Command::Configure { .. } => refused(&["configuration"]),
        };
        match expected {
            Expected::Done(tells) if name.is_none() => {
                self.says_so(answer, &tells)?;
                for (hardware, registration) in &tells {
                    match registration {
                        Some(registration) => self.known.insert(*hardware, registration.clone()),
                        None => self.known.remove(hardware),
                    };
                }
                Ok(tells)
            }
            Expected::Refused(reasons) if name.is_some_and(|name| reasons.contains(name)) => {
                self.refusals += 1;
                Ok(Tells::new())
            }
            Expected::Done(tells) => broken(format!("{command:?}: {answer:?}, not {tells:?}")),
            Expected::Refused(reasons) => {
                broken(format!("{command:?}: {answer:?}, not one of {reasons:?}"))
            }
        }
    }

    /// The answer names what it did.
    fn says_so(&self, answer: &Answer, tells: &Tells) -> Verdict {
        let Answer::Registered { registration, state, .. } = answer else { return Ok(()) };
        let is_told =
            tells.iter().any(|(_, told)| told.as_ref().is_some_and(|told| told == registration));
        if is_told && *state == state_of(registration) {
            return Ok(());
        }
        broken(format!("the answer is {answer:?}, not {tells:?}"))
    }

    fn valid(&self, hardware: HardwareAddress, now: Timestamp) -> Option<&Registration> {
        self.known.get(&hardware).filter(|registration| registration.is_valid(now))
    }

    fn of_owner<'a>(
        &'a self,
        owner: &'a str,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Registration> {
        self.known.values().filter(move |registration| {
            registration.is_valid(now) && registration.owner.as_deref() == Some(owner)
        })
    }

    fn register(
        &self,
        register: &Register,
        concerned: &Concerned,
        answer: &Answer,
        now: Timestamp,
    ) -> Expected {
        let Some(hardware) = concerned.target else { return refused(&["no lease"]) };
        let mut against = BTreeSet::new();
        let rules = &self.rules;
        let role = register.role.as_deref();
        if role.is_some_and(|role| ![STAFF, GUEST, QUARANTINE].contains(&role) || !rules.is_there) {
            against.insert("role");
        }
        if register.expires.is_some_and(|expires| expires <= now) {
            against.insert("past");
        }
        let is_guest = role == Some(GUEST);
        let lifetime = rules.guest_lifetime_seconds.filter(|_| is_guest).or(rules.lifetime_seconds);
        let mut expires =
            register.expires.or_else(|| lifetime.map(|seconds| now.plus_seconds(seconds.into())));
        match self.policy(register.target, hardware, concerned) {
            Some(RandomisedAddresses::Refuse) => {
                against.insert("randomised");
            }
            Some(RandomisedAddresses::AllowBriefly) => {
                let latest = now.plus_seconds(rules.lifetime_randomised_seconds.into());
                expires = Some(expires.map_or(latest, |expires| expires.min(latest)));
            }
            Some(RandomisedAddresses::Allow) | None => {}
        }
        let old = self.valid(hardware, now);
        if let Some(old) = old {
            let is_moved = register.may_lift_quarantine && role.is_some();
            match state_of(old) {
                RegistrationState::Active => {}
                RegistrationState::Quarantined if is_moved => {}
                RegistrationState::Quarantined | RegistrationState::Suspended => {
                    against.insert("held back");
                }
            }
        }
        let replaced = self.replaced(register, hardware, concerned, answer, now, &mut against);
        if let Some(owner) = register.owner.as_deref() {
            let limit = rules.guest_limit.filter(|_| is_guest).or(rules.device_limit);
            let has_it = self.of_owner(owner, now).any(|it| it.hardware == hardware);
            let others = self
                .of_owner(owner, now)
                .filter(|it| it.hardware != hardware && Some(it.hardware) != replaced);
            let others = others.count();
            if limit.is_some_and(|limit| !has_it && others >= limit as usize) {
                against.insert("limit");
            }
        }
        if !against.is_empty() {
            return Expected::Refused(against);
        }
        let registration = Registration {
            owner: register.owner.clone(),
            role: register.role.clone(),
            expires,
            ..Registration::of(hardware, old.map_or(now, |old| old.registered))
        };
        let ended = replaced.map(|replaced| (replaced, None));
        Expected::Done(ended.into_iter().chain([(hardware, Some(registration))]).collect())
    }

    /// What the networks of a randomised device want: that of the address which was named, else the
    /// strictest of those where it holds one.
    fn policy(
        &self,
        target: RegistrationTarget,
        hardware: HardwareAddress,
        concerned: &Concerned,
    ) -> Option<RandomisedAddresses> {
        if !hardware.is_randomised() || !self.rules.is_there {
            return None;
        }
        let of = |address| self.rules.networks[plan::network_of(address)].randomised;
        if let RegistrationTarget::Address(address) = target {
            return Some(of(address));
        }
        let held = concerned.held.iter().filter(|(other, _)| *other == hardware);
        held.map(|(_, address)| of(*address)).max()
    }

    /// Whose registration ends. Which of an owner's devices was seen least recently is known here only as
    /// far as leases go: those without come first.
    fn replaced(
        &self,
        register: &Register,
        hardware: HardwareAddress,
        concerned: &Concerned,
        answer: &Answer,
        now: Timestamp,
        against: &mut BTreeSet<&'static str>,
    ) -> Option<HardwareAddress> {
        match register.replaces? {
            Replaces::Device(device) => {
                let old = self.valid(device, now).filter(|_| device != hardware)?;
                if register.owner.is_some() && register.owner != old.owner {
                    against.insert("another's");
                }
                if state_of(old) != RegistrationState::Active {
                    against.insert("held back");
                }
                Some(device)
            }
            Replaces::StalestRandomised => {
                let owner = register.owner.as_deref().unwrap_or_default();
                if self.of_owner(owner, now).any(|it| it.hardware == hardware) {
                    return None;
                }
                let candidates = self
                    .of_owner(owner, now)
                    .filter(|it| it.hardware.is_randomised())
                    .filter(|it| state_of(it) == RegistrationState::Active)
                    .map(|it| it.hardware);
                let holds = |device| concerned.held.iter().any(|(other, _)| *other == device);
                let (holding, without): (Vec<_>, Vec<_>) =
                    candidates.partition(|device| holds(*device));
                let best = if without.is_empty() { holding } else { without };
                if best.is_empty() {
                    against.insert("nothing to replace");
                    return None;
                }
                // One of them; a limit is the same whichever it was.
                match answer {
                    Answer::Registered { replaced: Some(replaced), .. } => {
                        best.iter().copied().find(|device| device == replaced)
                    }
                    _ => best.first().copied(),
                }
            }
        }
    }

    fn end(&self, hardware: HardwareAddress, by_owner: bool, now: Timestamp) -> Expected {
        match self.valid(hardware, now) {
            Some(old) if by_owner && state_of(old) != RegistrationState::Active => {
                refused(&["held back"])
            }
            // That it is not registered is promised, whoever it was that ended it.
            _ => Expected::Done(vec![(hardware, None)]),
        }
    }

    fn change(
        &self,
        hardware: HardwareAddress,
        now: Timestamp,
        change: impl FnOnce(Registration) -> Registration,
    ) -> Expected {
        match self.valid(hardware, now) {
            Some(old) => Expected::Done(vec![(hardware, Some(change(old.clone())))]),
            None => Expected::Done(vec![(hardware, None)]),
        }
    }

    fn import(
        &mut self,
        entries: &[Registration],
        apply: bool,
        answer: &Answer,
        now: Timestamp,
    ) -> Expected {
        let is_known = |role: &str| [STAFF, GUEST, QUARANTINE].contains(&role);
        if entries.iter().any(|entry| entry.role.as_deref().is_some_and(|role| !is_known(role))) {
            return refused(&["import"]);
        }
        let mut count = Imported::default();
        let mut tells = Tells::new();
        for entry in entries {
            if !entry.is_valid(now) {
                count.ended += 1;
                continue;
            }
            let old = self.valid(entry.hardware, now);
            let suspended = entry.suspended.as_ref().map(|suspended| {
                let since = suspended.since.min(now);
                Box::new(Suspension { since, reason: suspended.reason.clone() })
            });
            let suspended = suspended.or_else(|| old.and_then(|old| old.suspended.clone()));
            let registered = entry.registered.min(now);
            let wanted = Registration { suspended, registered, ..entry.clone() };
            match old {
                None => count.created += 1,
                Some(old) if *old == wanted => count.unchanged += 1,
                Some(_) => count.changed += 1,
            }
            // A device that is named twice is what its last entry says.
            tells.retain(|(hardware, _)| *hardware != entry.hardware);
            tells.push((entry.hardware, Some(wanted)));
        }
        if let Answer::Imported(imported) = answer
            && *imported != count
        {
            return refused(&["to be counted otherwise"]);
        }
        if !apply {
            return Expected::Done(Tells::new());
        }
        let owners = entries.iter().filter_map(|entry| entry.owner.clone());
        self.exempt.extend(owners);
        Expected::Done(tells)
    }
}

fn state_of(registration: &Registration) -> RegistrationState {
    if registration.suspended.is_some() {
        RegistrationState::Suspended
    } else if registration.role.as_deref() == Some(QUARANTINE) {
        RegistrationState::Quarantined
    } else {
        RegistrationState::Active
    }
}

/// The reason of a refusal; `None` if it is none.
fn name_of(answer: &Answer) -> Option<&'static str> {
    Some(match answer {
        Answer::Registered { .. }
        | Answer::Unregistered { .. }
        | Answer::NotRegistered(_)
        | Answer::Imported(_) => return None,
        Answer::NoLease(_) => "no lease",
        Answer::ExpiryInThePast(_) => "past",
        Answer::UnknownRole { .. } => "role",
        Answer::DeviceLimitReached { .. } => "limit",
        Answer::NothingToReplace { .. } => "nothing to replace",
        Answer::ReplacesAnothers(_) => "another's",
        Answer::RandomisedAddressRefused { .. } => "randomised",
        Answer::HeldBack { .. } => "held back",
        Answer::ImportRefused { .. } => "import",
        Answer::RegistrationsFull => "full",
        Answer::LeaseTokenRefused(_) => "token",
        Answer::NoHardwareAddress(_) => "no hardware address",
        Answer::VouchersCreated { .. }
        | Answer::VoucherRevoked { .. }
        | Answer::NoSuchVoucher(_)
        | Answer::VouchersFull
        | Answer::VoucherRefused(_) => "vouchers",
        Answer::PartnerIsDown
        | Answer::Merged(_)
        | Answer::PartnerIsConnected
        | Answer::LeasesNotKnown
        | Answer::NotPaired => "not paired",
        Answer::Configured { .. } | Answer::NotWithPartner => "configuration",
    })
}

fn refused(reasons: &[&'static str]) -> Expected {
    Expected::Refused(reasons.iter().copied().collect())
}

fn broken<T>(what: String) -> Result<T, Violation> {
    Err(Violation::new("the rules of registrations", what))
}
