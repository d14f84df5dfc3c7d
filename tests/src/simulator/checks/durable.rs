//! P2: what was acknowledged is durable, at that moment and after every restart.

use super::unique::Belief;
use super::{Verdict, Violation};
use crate::simulator::plan;
use crate::simulator::view::View;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::{HardwareAddress, Registration, Timestamp};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    /// What the portal was told last of each device; `None`: not registered.
    told: BTreeMap<HardwareAddress, Option<Registration>>,
}

impl Durable {
    /// A client received an ACK.
    ///
    /// # Errors
    /// [`Violation`] if its lease is not in the durable journal.
    pub(crate) fn acknowledged(
        &self,
        view: &View,
        address: Ipv4Addr,
        belief: Belief,
        now: Timestamp,
    ) -> Verdict {
        let lease = view.held(address, now);
        if lease.is_some_and(|lease| lease.hardware == plan::hardware(belief.device)) {
            return Ok(());
        }
        let what = format!("ACK of {address} to {belief:?}, but durable is {lease:?}");
        Err(Violation::new("P2", what))
    }

    /// The portal was told that a device is registered, or that it is not.
    ///
    /// # Errors
    /// [`Violation`] if that is not durable.
    pub(crate) fn answered(
        &mut self,
        view: &View,
        hardware: HardwareAddress,
        registration: Option<Registration>,
        now: Timestamp,
    ) -> Verdict {
        self.told.insert(hardware, registration);
        self.registration_is_there(view, hardware, now)
    }

    /// Somebody asks for another change, so what was told need not stay.
    pub(crate) fn asked(&mut self, hardware: HardwareAddress) {
        self.told.remove(&hardware);
    }

    /// A process starts from the durable journal. `latest`: the time at which the former one would be by
    /// its own clock.
    ///
    /// # Errors
    /// [`Violation`] if anything that was acknowledged and has not ended is missing in it.
    pub(crate) fn restarted(
        &self,
        view: &View,
        beliefs: impl Iterator<Item = (Ipv4Addr, Belief)>,
        now: Timestamp,
        latest: Timestamp,
    ) -> Verdict {
        for (address, belief) in beliefs {
            self.acknowledged(view, address, belief, now)?;
        }
        let mut devices = self.told.keys();
        devices
            .try_for_each(|hardware| self.registration_is_there(view, *hardware, now.max(latest)))
    }

    fn registration_is_there(
        &self,
        view: &View,
        hardware: HardwareAddress,
        now: Timestamp,
    ) -> Verdict {
        let valid = |registration: &&Registration| registration.is_valid(now);
        let told = self.told.get(&hardware).and_then(Option::as_ref).filter(valid);
        let durable = view.registration(hardware).filter(valid);
        if told == durable {
            return Ok(());
        }
        let what =
            format!("of {hardware} the portal was told {told:?}, but durable is {durable:?}");
        Err(Violation::new("P2", what))
    }
}
