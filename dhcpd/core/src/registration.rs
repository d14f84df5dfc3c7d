//! A registration: a hardware address that the campus knows, until when, and whether it is held back.

use crate::{Configuration, HardwareAddress, Timestamp};
use serde::{Deserialize, Serialize};

/// A registered device.
///
/// A registration is *valid* until it expires or is ended. It *lets its device pass* the gate if it is
/// valid, not suspended, and its role is no quarantine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Registration {
    /// The device.
    pub hardware: HardwareAddress,
    /// Who answers for it, as the portal named them; the device limit counts by it. At most
    /// [`OWNER_LENGTH_MAX`](crate::limits::OWNER_LENGTH_MAX) bytes.
    pub owner: Option<Box<str>>,
    /// The name of one of [`RegistrationRules::roles`](crate::RegistrationRules::roles). One that the
    /// configuration does not have any more counts as none.
    pub role: Option<Box<str>>,
    /// Who vouches for a guest. At most [`SPONSOR_LENGTH_MAX`](crate::limits::SPONSOR_LENGTH_MAX) bytes.
    pub sponsor: Option<Box<str>>,
    /// What somebody wants to remember of it. At most
    /// [`NOTE_LENGTH_MAX`](crate::limits::NOTE_LENGTH_MAX) bytes.
    pub note: Option<Box<str>>,
    /// When it was first registered, without a break since.
    pub registered: Timestamp,
    /// When the registration ends by itself; `None`: never.
    pub expires: Option<Timestamp>,
    /// Since when and why the device is held back although it is registered; `None`: it is not.
    pub suspended: Option<Box<Suspension>>,
}

/// That a registered device is held back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Suspension {
    /// Since when.
    pub since: Timestamp,
    /// Why, in words for its owner. At most
    /// [`SUSPENSION_REASON_LENGTH_MAX`](crate::limits::SUSPENSION_REASON_LENGTH_MAX) bytes.
    pub reason: Option<Box<str>>,
}

/// What a registration does to its device now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistrationState {
    /// The gate lets the device pass.
    Active,
    /// It is suspended: the gate holds the device back until somebody resumes it.
    Suspended,
    /// Its role is a quarantine: the gate holds the device back.
    Quarantined,
}

impl Registration {
    /// A registration of a device from `registered` on, without an end, and with nothing else said.
    #[must_use]
    pub const fn of(hardware: HardwareAddress, registered: Timestamp) -> Self {
        Self {
            hardware,
            owner: None,
            role: None,
            sponsor: None,
            note: None,
            registered,
            expires: None,
            suspended: None,
        }
    }

    /// Whether the device is registered at `now`.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// What a valid registration does to its device under a configuration.
    #[must_use]
    pub fn state(&self, configuration: &Configuration) -> RegistrationState {
        let role = self.role.as_deref().and_then(|role| configuration.registration.role(role));
        if self.suspended.is_some() {
            RegistrationState::Suspended
        } else if role.is_some_and(|role| role.quarantine) {
            RegistrationState::Quarantined
        } else {
            RegistrationState::Active
        }
    }
}
