//! The lines of the exchange: JSON, one to a line. `docs/failover.md` describes them.
//!
//! It promises that a line means the same for as long as [`VERSION`] does, that a line has no more than
//! 256 KiB of records and one more, and that what is read into an [`Exchanged`] is what a caller
//! could have asked for: texts within their limits and without control characters, times that are times.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fmt::Write as _;
use vestibule_core::exchange::{Exchanged, HybridTime};
use vestibule_core::failover::Role;
use vestibule_core::{
    HardwareAddress, Registration, Suspension, Timestamp, Voucher, VoucherHash, VoucherUse, limits,
};
use vestibule_firewall::feed::Cursor;

/// The version of the exchange. Who knows another one does not follow.
pub const VERSION: u32 = 1;

/// Bytes of records from which on a line is full.
pub(super) const LINE_PART_BYTES: usize = 256 << 10;

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExchangeHello {
    /// [`VERSION`].
    pub version: u32,
    /// The server's name.
    pub server: String,
    /// The name of the pair.
    pub pair: String,
    /// `primary` or `secondary`.
    pub role: String,
    /// What it has come to.
    pub cursor: Cursor,
    /// Its clock, RFC 3339.
    pub time: String,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExchangeLine {
    /// Who speaks.
    Hello(Box<ExchangeHello>),
    /// What comes goes on after the cursor that was asked for.
    Resumed {
        /// That cursor.
        cursor: Cursor,
    },
    /// What comes begins with everything.
    Everything {},
    /// What changed, in the order of the last changes.
    Records {
        /// What has been told with the last of them; left out where the line is a part of more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cursor: Option<Cursor>,
        /// What the server had come to when it wrote this.
        newest: Cursor,
        /// They.
        records: Vec<WireRecord>,
    },
    /// Once a second while nothing is new.
    Heartbeat {
        /// What the server has come to.
        newest: Cursor,
    },
    /// The server closes the stream.
    End {
        /// Why, for people.
        reason: String,
    },
}

/// When something was last changed: milliseconds, counter, half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireStamp(u64, u32, WireRole);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireRole {
    Primary,
    Secondary,
}

/// A device: as everywhere, and where that cannot be read back (what calls itself Ethernet and has not six
/// bytes) its type and its bytes in hexadecimal, as in `1/0200`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireDevice(HardwareAddress);

impl Serialize for WireDevice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.to_string();
        if text.parse() == Ok(self.0) {
            return serializer.serialize_str(&text);
        }
        let mut text = format!("{}/", self.0.hardware_type());
        put_hexadecimal(self.0.bytes(), &mut text);
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for WireDevice {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let odd = || {
            let (hardware_type, digits) = text.split_once('/')?;
            HardwareAddress::new(hardware_type.parse().ok()?, &of_hexadecimal(digits)?)
        };
        let device = text.parse().ok().or_else(odd);
        device.map(Self).ok_or_else(|| serde::de::Error::custom("not a hardware address"))
    }
}

/// One thing. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WireRecord {
    /// A registration.
    Registration(Box<WireRegistration>),
    /// The end of one.
    RegistrationEnded {
        /// The device.
        mac: WireDevice,
        /// When it was ended.
        stamp: WireStamp,
        /// Whether by itself.
        #[serde(rename = "by-time")]
        by_time: bool,
    },
    /// A voucher.
    Voucher(Box<WireVoucher>),
    /// One that was taken back.
    VoucherRevoked {
        /// The SHA-256 of its code, hexadecimal.
        hash: String,
        /// When it would have ended.
        expires: u64,
    },
}

/// A registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields are those of a registration")]
pub struct WireRegistration {
    pub mac: WireDevice,
    pub stamp: WireStamp,
    pub devices_counted: u16,
    pub registered: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sponsor: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_since: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_reason: Option<Box<str>>,
}

/// A voucher, without its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields are those of a voucher")]
pub struct WireVoucher {
    pub hash: String,
    pub created: u64,
    pub expires: u64,
    pub uses_max: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Box<str>>,
    /// Device, since when, until when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<(WireDevice, u64, Option<u64>)>,
}

impl WireRecord {
    /// About how many bytes it takes in a line; not fewer.
    fn bytes(&self) -> usize {
        // A character of a text takes six at most, as `\u00e9` does.
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| 6 * text.len());
        match self {
            Self::Registration(it) => {
                400 + text(&it.owner)
                    + text(&it.role)
                    + text(&it.sponsor)
                    + text(&it.note)
                    + text(&it.suspended_reason)
            }
            Self::Voucher(it) => 400 + text(&it.role) + text(&it.note) + 100 * it.uses.len(),
            Self::RegistrationEnded { .. } | Self::VoucherRevoked { .. } => 200,
        }
    }
}

/// Cuts off as many records as a line takes: at least one, if there is one.
pub fn line_part(records: &mut Vec<WireRecord>) -> Vec<WireRecord> {
    let mut bytes = 0;
    let count = records.iter().take_while(|record| {
        let is_full = bytes >= LINE_PART_BYTES;
        bytes += record.bytes();
        !is_full
    });
    let count = count.count();
    let rest = records.split_off(count);
    std::mem::replace(records, rest)
}

/// What nobody could have asked a server for: what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotExchangeable(&'static str);

impl fmt::Display for NotExchangeable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotExchangeable {}

impl From<HybridTime> for WireStamp {
    fn from(HybridTime { milliseconds, counter, server }: HybridTime) -> Self {
        let server = match server {
            Role::Primary => WireRole::Primary,
            Role::Secondary => WireRole::Secondary,
        };
        Self(milliseconds, counter, server)
    }
}

impl TryFrom<WireStamp> for HybridTime {
    type Error = NotExchangeable;

    fn try_from(WireStamp(milliseconds, counter, server): WireStamp) -> Result<Self, Self::Error> {
        if milliseconds > Self::MILLISECONDS_MAX {
            return Err(NotExchangeable("a change is dated after the year 9999"));
        }
        let server = match server {
            WireRole::Primary => Role::Primary,
            WireRole::Secondary => Role::Secondary,
        };
        Ok(Self { milliseconds, counter, server })
    }
}

impl From<&Exchanged> for WireRecord {
    fn from(exchanged: &Exchanged) -> Self {
        match exchanged {
            Exchanged::Registration { registration, stamp, devices_counted } => {
                let suspended = registration.suspended.as_deref();
                Self::Registration(Box::new(WireRegistration {
                    mac: WireDevice(registration.hardware),
                    stamp: (*stamp).into(),
                    devices_counted: *devices_counted,
                    registered: registration.registered.milliseconds(),
                    expires: registration.expires.map(Timestamp::milliseconds),
                    owner: registration.owner.clone(),
                    role: registration.role.clone(),
                    sponsor: registration.sponsor.clone(),
                    note: registration.note.clone(),
                    suspended_since: suspended.map(|it| it.since.milliseconds()),
                    suspended_reason: suspended.and_then(|it| it.reason.clone()),
                }))
            }
            Exchanged::RegistrationEnded { hardware, stamp, is_by_time } => {
                let (mac, stamp, by_time) = (WireDevice(*hardware), (*stamp).into(), *is_by_time);
                Self::RegistrationEnded { mac, stamp, by_time }
            }
            Exchanged::Voucher(voucher) => Self::Voucher(Box::new(WireVoucher {
                hash: hexadecimal(voucher.hash),
                created: voucher.created.milliseconds(),
                expires: voucher.expires.milliseconds(),
                uses_max: voucher.uses_max,
                lifetime_seconds: voucher.lifetime_seconds,
                role: voucher.role.clone(),
                note: voucher.note.clone(),
                uses: voucher.uses.iter().map(use_on_wire).collect(),
            })),
            Exchanged::VoucherRevoked { hash, expires } => {
                Self::VoucherRevoked { hash: hexadecimal(*hash), expires: expires.milliseconds() }
            }
        }
    }
}

fn use_on_wire(one: &VoucherUse) -> (WireDevice, u64, Option<u64>) {
    (WireDevice(one.hardware), one.since.milliseconds(), one.ends.map(Timestamp::milliseconds))
}

impl TryFrom<WireRecord> for Exchanged {
    type Error = NotExchangeable;

    fn try_from(record: WireRecord) -> Result<Self, NotExchangeable> {
        Ok(match record {
            WireRecord::Registration(wire) => {
                let WireRegistration { suspended_since, suspended_reason, .. } = *wire;
                if suspended_since.is_none() && suspended_reason.is_some() {
                    return Err(NotExchangeable("a device has a reason and is not suspended"));
                }
                let reason = text(suspended_reason, limits::SUSPENSION_REASON_LENGTH_MAX)?;
                let suspended = match suspended_since {
                    Some(since) => Some(Box::new(Suspension { since: time(since)?, reason })),
                    None => None,
                };
                let registration = Registration {
                    hardware: device(wire.mac)?,
                    owner: text(wire.owner, limits::OWNER_LENGTH_MAX)?,
                    role: text(wire.role, limits::ROLE_LENGTH_MAX)?,
                    sponsor: text(wire.sponsor, limits::SPONSOR_LENGTH_MAX)?,
                    note: text(wire.note, limits::NOTE_LENGTH_MAX)?,
                    registered: time(wire.registered)?,
                    expires: wire.expires.map(time).transpose()?,
                    suspended,
                };
                let (stamp, devices_counted) = (wire.stamp.try_into()?, wire.devices_counted);
                Self::Registration { registration, stamp, devices_counted }
            }
            WireRecord::RegistrationEnded { mac, stamp, by_time } => Self::RegistrationEnded {
                hardware: device(mac)?,
                stamp: stamp.try_into()?,
                is_by_time: by_time,
            },
            WireRecord::Voucher(wire) => {
                let WireVoucher { created, expires, uses_max, lifetime_seconds, .. } = *wire;
                if !(1..=limits::VOUCHER_USES_MAX).contains(&uses_max)
                    || wire.uses.len() > limits::VOUCHER_USES_MAX.into()
                {
                    return Err(NotExchangeable("a voucher is for too many devices, or for none"));
                }
                let mut uses = Vec::with_capacity(wire.uses.len());
                for (mac, since, ends) in wire.uses {
                    let ends = ends.map(time).transpose()?;
                    uses.push(VoucherUse { hardware: device(mac)?, since: time(since)?, ends });
                }
                Self::Voucher(Voucher {
                    hash: hash(&wire.hash)?,
                    role: text(wire.role, limits::ROLE_LENGTH_MAX)?,
                    note: text(wire.note, limits::NOTE_LENGTH_MAX)?,
                    lifetime_seconds,
                    uses_max,
                    created: time(created)?,
                    expires: time(expires)?,
                    uses,
                })
            }
            WireRecord::VoucherRevoked { hash: text, expires } => {
                Self::VoucherRevoked { hash: hash(&text)?, expires: time(expires)? }
            }
        })
    }
}

fn device(WireDevice(mac): WireDevice) -> Result<HardwareAddress, NotExchangeable> {
    if mac.is_zero() { Err(NotExchangeable("a device has no address")) } else { Ok(mac) }
}

fn time(milliseconds: u64) -> Result<Timestamp, NotExchangeable> {
    if milliseconds > HybridTime::MILLISECONDS_MAX {
        return Err(NotExchangeable("a time lies after the year 9999"));
    }
    Ok(Timestamp::from_milliseconds(milliseconds))
}

fn text(text: Option<Box<str>>, bytes_max: usize) -> Result<Option<Box<str>>, NotExchangeable> {
    match &text {
        Some(text) if text.is_empty() || text.len() > bytes_max => {
            Err(NotExchangeable("a text is empty or too long"))
        }
        Some(text) if text.chars().any(char::is_control) => {
            Err(NotExchangeable("a text has control characters"))
        }
        _ => Ok(text),
    }
}

fn hexadecimal(hash: VoucherHash) -> String {
    let mut text = String::with_capacity(64);
    put_hexadecimal(hash.bytes(), &mut text);
    text
}

fn put_hexadecimal(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}

/// `None` if it is none.
fn of_hexadecimal(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn hash(text: &str) -> Result<VoucherHash, NotExchangeable> {
    let bytes = of_hexadecimal(text).and_then(|bytes| bytes.try_into().ok());
    let bad = NotExchangeable("a voucher's hash is not 64 hexadecimal digits");
    bytes.map(VoucherHash::new).ok_or(bad)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use vestibule_firewall::feed::LINE_BYTES_MAX;

    fn there_and_back(exchanged: &Exchanged) -> Exchanged {
        let text = serde_json::to_string(&WireRecord::from(exchanged)).unwrap();
        serde_json::from_str::<WireRecord>(&text).unwrap().try_into().unwrap()
    }

    fn hardware() -> HardwareAddress {
        HardwareAddress::new(6, &[0xfe; 16]).unwrap()
    }

    fn stamp() -> HybridTime {
        HybridTime { milliseconds: 1_700_000_000_123, counter: 7, server: Role::Secondary }
    }

    /// The longest of everything, in characters that JSON has to escape.
    fn longest() -> [Exchanged; 2] {
        let text = |bytes: usize| Some("\"".repeat(bytes).into());
        let since = Timestamp::from_milliseconds(HybridTime::MILLISECONDS_MAX);
        let one = |number: u16| VoucherUse {
            hardware: HardwareAddress::new(1, &number.to_be_bytes().repeat(8)).unwrap(),
            since,
            ends: Some(since),
        };
        [
            Exchanged::Registration {
                registration: Registration {
                    owner: text(limits::OWNER_LENGTH_MAX),
                    role: text(limits::ROLE_LENGTH_MAX),
                    sponsor: text(limits::SPONSOR_LENGTH_MAX),
                    note: text(limits::NOTE_LENGTH_MAX),
                    expires: Some(since),
                    suspended: Some(Box::new(Suspension {
                        since,
                        reason: text(limits::SUSPENSION_REASON_LENGTH_MAX),
                    })),
                    ..Registration::of(hardware(), since)
                },
                stamp: stamp(),
                devices_counted: 3,
            },
            Exchanged::Voucher(Voucher {
                hash: VoucherHash::new([0xa7; 32]),
                role: text(limits::ROLE_LENGTH_MAX),
                note: text(limits::NOTE_LENGTH_MAX),
                lifetime_seconds: Some(u32::MAX),
                uses_max: limits::VOUCHER_USES_MAX,
                created: since,
                expires: since,
                uses: (1..=limits::VOUCHER_USES_MAX).map(one).collect(),
            }),
        ]
    }

    #[test]
    fn what_is_told_is_heard() {
        let [registration, voucher] = longest();
        let plain = Exchanged::Registration {
            registration: Registration::of(hardware(), Timestamp::ZERO),
            stamp: stamp(),
            devices_counted: 0,
        };
        let ended =
            Exchanged::RegistrationEnded { hardware: hardware(), stamp: stamp(), is_by_time: true };
        let revoked = Exchanged::VoucherRevoked {
            hash: VoucherHash::new([0; 32]),
            expires: Timestamp::from_seconds(1),
        };
        // A client may say that it is Ethernet, with as many bytes as it likes.
        let odd = Exchanged::RegistrationEnded {
            hardware: HardwareAddress::new(1, &[2, 0, 7]).unwrap(),
            stamp: stamp(),
            is_by_time: false,
        };
        for exchanged in [registration, voucher, plain, ended, revoked, odd] {
            assert_eq!(there_and_back(&exchanged), exchanged);
            let bytes = serde_json::to_vec(&WireRecord::from(&exchanged)).unwrap().len();
            assert!(bytes + LINE_PART_BYTES + 1024 < LINE_BYTES_MAX, "{bytes}");
        }
    }

    #[test]
    fn what_nobody_could_have_asked_for_is_refused() {
        let good = r#"{"registration":{"mac":"02:00:5e:00:53:01","stamp":[1,0,"primary"],"devices-counted":0,"registered":1"#;
        let of = |rest: &str| serde_json::from_str::<WireRecord>(&format!("{good}{rest}}}}}"));
        assert!(Exchanged::try_from(of("").unwrap()).is_ok());
        let long = format!(r#","owner":"{}""#, "x".repeat(limits::OWNER_LENGTH_MAX + 1));
        for bad in [
            r#","owner":"""#,
            r#","owner":"a\u001b[2J""#,
            &long,
            r#","expires":253402300800000"#,
            r#","suspended-reason":"x""#,
        ] {
            let record = of(bad).unwrap();
            assert!(Exchanged::try_from(record).is_err(), "{bad}");
        }
        for bad in [
            r#"{"registration-ended":{"mac":"00:00:00:00:00:00","stamp":[1,0,"primary"],"by-time":false}}"#,
            r#"{"registration-ended":{"mac":"02:00:5e:00:53:01","stamp":[18446744073709551615,0,"primary"],"by-time":false}}"#,
            r#"{"voucher-revoked":{"hash":"00","expires":1}}"#,
            r#"{"voucher":{"hash":"0000000000000000000000000000000000000000000000000000000000000000","created":1,"expires":1,"uses-max":0}}"#,
        ] {
            let record: WireRecord = serde_json::from_str(bad).unwrap();
            assert!(Exchanged::try_from(record).is_err(), "{bad}");
        }
    }
}
