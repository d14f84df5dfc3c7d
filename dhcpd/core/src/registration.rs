//! A registration: a hardware address that the campus knows, and until when.

use crate::{HardwareAddress, Timestamp};
use serde::{Deserialize, Serialize};

/// A registered device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Registration {
    /// The device.
    pub hardware: HardwareAddress,
    /// Who answers for it, as the portal named them. At most
    /// [`OWNER_LENGTH_MAX`](crate::limits::OWNER_LENGTH_MAX) bytes.
    pub owner: Option<Box<str>>,
    /// When it was first registered, without a break since.
    pub registered: Timestamp,
    /// When the registration ends by itself; `None`: never.
    pub expires: Option<Timestamp>,
}

impl Registration {
    /// Whether the device is registered at `now`.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}
