//! The JSON of vouchers. Never a code, but in the answer to the call that made it.

use super::json::time_text;
use serde::{Deserialize, Serialize};
use vestibule_core::{HardwareAddress, Voucher, VoucherId, VoucherUse};

/// A voucher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VoucherView {
    /// What names it: the first eight bytes of the SHA-256 of its code.
    pub id: VoucherId,
    /// What somebody wants to remember of it.
    pub note: Option<String>,
    /// The role of the devices that it lets in.
    pub role: Option<String>,
    /// For how long it lets a device in, from that device's first use of it on; `null`: as whoever registers
    /// the device says, else the role, else the configuration.
    pub lifetime_seconds: Option<u32>,
    /// How many devices may use it.
    pub uses_max: u16,
    /// How many do.
    pub uses: usize,
    /// When it was made.
    pub created: Option<String>,
    /// From when on nobody can use it.
    pub expires: Option<String>,
    /// Who uses it; only where one voucher is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<VoucherUseView>>,
}

/// That a device uses a voucher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VoucherUseView {
    /// The device.
    pub mac: HardwareAddress,
    /// Since when.
    pub since: Option<String>,
    /// Until when the voucher lets it in; `null`: without an end.
    pub ends: Option<String>,
}

/// A voucher that was just made, with its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewVoucherView {
    /// What people type.
    pub code: String,
    /// The rest.
    #[serde(flatten)]
    pub voucher: VoucherView,
}

/// Vouchers that were just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VouchersMadeView {
    /// As many as were asked for.
    pub vouchers: Vec<NewVoucherView>,
}

/// A page of vouchers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VouchersPage {
    /// In the order of their ids.
    pub vouchers: Vec<VoucherView>,
    /// What to give as `after` for the next page; `null` if there is none.
    pub next: Option<VoucherId>,
}

/// A voucher that was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VoucherRevokedView {
    /// As it was.
    #[serde(flatten)]
    pub voucher: VoucherView,
    /// The devices whose registrations ended with it.
    pub ended: Vec<HardwareAddress>,
}

impl VoucherView {
    /// What is shown of a voucher.
    #[must_use]
    pub fn new(voucher: &Voucher) -> Self {
        Self {
            id: voucher.hash.id(),
            note: voucher.note.as_deref().map(str::to_owned),
            role: voucher.role.as_deref().map(str::to_owned),
            lifetime_seconds: voucher.lifetime_seconds,
            uses_max: voucher.uses_max,
            uses: voucher.uses.len(),
            created: time_text(voucher.created),
            expires: time_text(voucher.expires),
            devices: None,
        }
    }

    /// The same with who uses it.
    pub(super) fn with_devices(voucher: &Voucher) -> Self {
        let devices = voucher.uses.iter().map(|VoucherUse { hardware, since, ends }| {
            let ends = ends.and_then(time_text);
            VoucherUseView { mac: *hardware, since: time_text(*since), ends }
        });
        Self { devices: Some(devices.collect()), ..Self::new(voucher) }
    }
}
