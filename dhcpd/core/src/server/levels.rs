//! Which options a host gets: the levels at which they are configured, and which of them wins.
//!
//! | first to last | what |
//! | --- | --- |
//! | reservation | its own options, then those of its profile |
//! | registration | the subnet's for registered or unregistered hosts, then the network's |
//! | classes | those of each class that the client is in, in the order of the file |
//! | place | the pool's, the subnet's, its profile's, the network's, everybody's |
//!
//! What the place says is merged when the configuration is taken, so that a packet pays for four look-ups
//! for each option at most and, beyond the classes that it is in, for no level; nothing is allocated.

use crate::{Class, ClassSet, ClientClass, OptionSet};
use std::net::Ipv4Addr;

/// Where an option came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OptionLevel {
    /// The client's reservation.
    Reservation,
    /// The profile of the reservation.
    ReservationProfile,
    /// The subnet's options for registered or for unregistered hosts.
    SubnetForClass(Class),
    /// The network's options for registered or for unregistered hosts.
    NetworkForClass(Class),
    /// A class of clients, by its place in the configuration.
    ClientClass(usize),
    /// The pool.
    Pool,
    /// The subnet.
    Subnet,
    /// The profile of the subnet.
    SubnetProfile,
    /// The network.
    Network,
    /// The options for everybody.
    Everybody,
    /// The prefix of the subnet, from which the subnet mask follows.
    Prefix,
}

/// Options of several levels in one set, each with the level that it came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Merged {
    options: OptionSet,
    /// Of each option, in the order of the set.
    levels: Vec<OptionLevel>,
    next_server: Option<OptionLevel>,
}

impl Merged {
    /// Merges levels, the one that wins first.
    pub(super) fn of<'o>(levels: impl IntoIterator<Item = (OptionLevel, &'o OptionSet)>) -> Self {
        let mut merged = Self::default();
        for (level, options) in levels {
            let had_server = merged.options.next_server().is_some();
            let before = *merged.options.codes();
            merged.options.fill_from(options);
            let mut old = std::mem::take(&mut merged.levels).into_iter();
            merged.levels = merged
                .options
                .iter()
                .map(|(code, _)| if before.has(code) { old.next().unwrap_or(level) } else { level })
                .collect();
            if !had_server && merged.options.next_server().is_some() {
                merged.next_server = Some(level);
            }
        }
        merged
    }

    fn level(&self, code: u8) -> Option<OptionLevel> {
        self.options.codes().has(code).then_some(())?;
        let place = self.options.iter().position(|(candidate, _)| candidate == code)?;
        self.levels.get(place).copied()
    }
}

/// All levels for one client at one address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Levels<'t> {
    pub(super) reservation: Option<&'t OptionSet>,
    pub(super) reservation_profile: Option<&'t OptionSet>,
    pub(super) for_class: Option<&'t Merged>,
    /// The classes that the client is in, of those that have options.
    pub(super) classes: ClassSet,
    pub(super) all_classes: &'t [ClientClass],
    pub(super) place: &'t Merged,
    pub(super) mask: &'t [u8; 4],
}

impl<'t> Levels<'t> {
    /// The contents of an option, from the level that wins.
    pub(super) fn find(&self, code: u8) -> Option<&'t [u8]> {
        self.own(code)
            .or_else(|| self.for_class.and_then(|merged| merged.options.get(code)))
            .or_else(|| self.of_class(code).map(|(_, contents)| contents))
            .or_else(|| self.place.options.get(code))
            .or_else(|| (code == crate::options::code::SUBNET_MASK).then_some(self.mask.as_slice()))
    }

    /// The level that [`Levels::find`] finds an option at.
    pub(super) fn level(&self, code: u8) -> Option<OptionLevel> {
        let has = |options: Option<&OptionSet>| options.is_some_and(|set| set.codes().has(code));
        if has(self.reservation) {
            return Some(OptionLevel::Reservation);
        }
        if has(self.reservation_profile) {
            return Some(OptionLevel::ReservationProfile);
        }
        self.for_class
            .and_then(|merged| merged.level(code))
            .or_else(|| self.of_class(code).map(|(index, _)| OptionLevel::ClientClass(index)))
            .or_else(|| self.place.level(code))
            .or_else(|| (code == crate::options::code::SUBNET_MASK).then_some(OptionLevel::Prefix))
    }

    /// The next server in bootstrap, and the level that says it.
    pub(super) fn next_server(&self) -> Option<(Ipv4Addr, OptionLevel)> {
        let of = |options: Option<&OptionSet>, level| {
            options.and_then(OptionSet::next_server).map(|address| (address, level))
        };
        let merged = |merged: &Merged| Some((merged.options.next_server()?, merged.next_server?));
        of(self.reservation, OptionLevel::Reservation)
            .or_else(|| of(self.reservation_profile, OptionLevel::ReservationProfile))
            .or_else(|| self.for_class.and_then(merged))
            .or_else(|| {
                self.classes.iter().find_map(|index| {
                    let class = self.all_classes.get(index)?;
                    Some((class.options.next_server()?, OptionLevel::ClientClass(index)))
                })
            })
            .or_else(|| merged(self.place))
    }

    /// What is configured for this device itself, and so sent whether it asks or not.
    fn own(&self, code: u8) -> Option<&'t [u8]> {
        let of_profile = || self.reservation_profile.and_then(|options| options.get(code));
        self.reservation.and_then(|options| options.get(code)).or_else(of_profile)
    }

    fn of_class(&self, code: u8) -> Option<(usize, &'t [u8])> {
        self.classes
            .iter()
            .find_map(|index| Some((index, self.all_classes.get(index)?.options.get(code)?)))
    }

    /// The codes of what is configured for this device itself.
    pub(super) fn own_codes(&self) -> impl Iterator<Item = u8> {
        let own = self.reservation.into_iter().chain(self.reservation_profile);
        own.flat_map(OptionSet::iter).map(|(code, _)| code)
    }

    /// The codes that are configured at any level but the device's own.
    pub(super) fn shared_codes(&self) -> impl Iterator<Item = u8> {
        let mut codes = *self.place.options.codes();
        if let Some(merged) = self.for_class {
            codes = codes.or(merged.options.codes());
        }
        for class in self.classes.iter().filter_map(|index| self.all_classes.get(index)) {
            codes = codes.or(class.options.codes());
        }
        codes.iter()
    }
}
