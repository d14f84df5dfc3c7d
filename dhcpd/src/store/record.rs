//! Records as bytes: the one encoding that journal and snapshots share.
//!
//! A record is `type (1) version (1) length (2) body (length)`, integers little-endian. The highest
//! bit of the type says that a reader that does not know the type must not go on without it; a
//! type without that bit may be skipped. A record's body never grows in place: a longer body is a new
//! version.
//!
//! The decoder reads whatever stands on the disk. It never panics, never allocates more than the
//! input is long, and takes no byte on trust.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod exchange;
mod pair;
mod voucher;

use super::bytes::Reader;
use std::fmt;
use vestibule_core::{
    BindingState, ClientIdentifier, HardwareAddress, HoldOff, Lease, Record, Registration,
    Suspension, Timestamp,
};

/// Bytes of one encoded record at most, header included.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;

/// Bytes before a record's body.
const HEADER_BYTES: usize = 4;

/// The bit of the type that forbids skipping.
const CRITICAL: u8 = 0x80;

const TYPE_LEASE: u8 = CRITICAL | 1;
const TYPE_LEASE_FORGOTTEN: u8 = CRITICAL | 2;
const TYPE_REGISTRATION: u8 = CRITICAL | 3;
const TYPE_REGISTRATION_REMOVED: u8 = CRITICAL | 4;
const TYPE_TIME: u8 = CRITICAL | 5;
const TYPE_HOLD_OFF: u8 = CRITICAL | 6;
const TYPE_FAILOVER: u8 = CRITICAL | 7;
const TYPE_PAIR_BINDING: u8 = CRITICAL | 8;
const TYPE_VOUCHER: u8 = CRITICAL | 32;
const TYPE_VOUCHER_REMOVED: u8 = CRITICAL | 33;
const TYPE_EXCHANGE: u8 = CRITICAL | 34;

/// The version of every body that this program writes, and the newest that it reads, but for
/// registrations.
const VERSION: u8 = 1;
/// The same for registrations. Version 1 has no role, sponsor, note and suspension, and is still read.
const VERSION_REGISTRATION: u8 = 2;

const CLIENT_OPTION_61: u8 = 0;
const CLIENT_HARDWARE: u8 = 1;

const STATE_ACTIVE: u8 = 0;
const STATE_RELEASED: u8 = 1;
const STATE_DECLINED: u8 = 2;

/// Which optional fields follow.
const HAS_RELAY: u8 = 1;
const HAS_RELAY_AGENT: u8 = 2;
const HAS_HOST_NAME: u8 = 4;
const HAS_OWNER: u8 = 1;
const HAS_EXPIRES: u8 = 2;
const HAS_ROLE: u8 = 4;
const HAS_SPONSOR: u8 = 8;
const HAS_NOTE: u8 = 16;
const IS_SUSPENDED: u8 = 32;
const HAS_SUSPENSION_REASON: u8 = 64;
/// Which of them each version of a registration has.
const FIELDS_OF_REGISTRATION_1: u8 = HAS_OWNER | HAS_EXPIRES;
const FIELDS_OF_REGISTRATION_2: u8 = FIELDS_OF_REGISTRATION_1
    | HAS_ROLE
    | HAS_SPONSOR
    | HAS_NOTE
    | IS_SUSPENDED
    | HAS_SUSPENSION_REASON;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// A type or version that must not be skipped and that only a newer program knows.
    Newer {
        /// The type, its critical bit included.
        record_type: u8,
        /// The version of its body.
        version: u8,
    },
    /// Not what any version writes.
    Malformed(&'static str),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { record_type, version } => {
                write!(f, "record type {:#04x} version {version}", record_type)
            }
            Self::Malformed(what) => write!(f, "not a record: {what}"),
        }
    }
}

impl std::error::Error for RecordError {}

/// A record does not fit into [`RECORD_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordTooLong {
    /// Its encoded length in bytes, as far as it was encoded.
    pub bytes: usize,
}

/// Appends the encoded record to `out`; leaves `out` as it was if the record is too long.
///
/// # Errors
/// [`RecordTooLong`].
pub fn encode(record: &Record, out: &mut Vec<u8>) -> Result<(), RecordTooLong> {
    let start = out.len();
    let record_type = match record {
        Record::Lease(_) => TYPE_LEASE,
        Record::LeaseForgotten(_) => TYPE_LEASE_FORGOTTEN,
        Record::Registration(_) => TYPE_REGISTRATION,
        Record::RegistrationRemoved(_) => TYPE_REGISTRATION_REMOVED,
        Record::Time(_) => TYPE_TIME,
        Record::HoldOff(_) => TYPE_HOLD_OFF,
        Record::Failover(_) => TYPE_FAILOVER,
        Record::PairBinding(_) => TYPE_PAIR_BINDING,
        Record::Voucher(_) => TYPE_VOUCHER,
        Record::VoucherRemoved(_) => TYPE_VOUCHER_REMOVED,
        Record::Exchange(_) => TYPE_EXCHANGE,
    };
    out.extend_from_slice(&[record_type, version_of(record_type), 0, 0]);
    let body = match record {
        Record::Lease(lease) => encode_lease(lease, out),
        Record::LeaseForgotten(address) => {
            out.extend_from_slice(&address.octets());
            Ok(())
        }
        Record::Registration(registration) => encode_registration(registration, out),
        Record::RegistrationRemoved(hardware) => {
            put_hardware(hardware, out);
            Ok(())
        }
        Record::Time(time) => {
            put_time(*time, out);
            Ok(())
        }
        Record::HoldOff(hold_off) => {
            put_time(hold_off.since, out);
            put_time(hold_off.until, out);
            Ok(())
        }
        Record::Failover(failover) => {
            pair::encode_failover(failover, out);
            Ok(())
        }
        Record::PairBinding(binding) => {
            pair::encode_binding(binding, out);
            Ok(())
        }
        Record::Voucher(voucher) => voucher::encode(voucher, out),
        Record::Exchange(exchanged) => exchange::encode(exchanged, out),
        Record::VoucherRemoved(hash) => {
            out.extend_from_slice(hash.bytes());
            Ok(())
        }
    };
    let bytes = out.len() - start;
    let length = u16::try_from(bytes - HEADER_BYTES).ok().filter(|_| bytes <= RECORD_BYTES_MAX);
    let (Ok(()), Some(length)) = (body, length) else {
        out.truncate(start);
        return Err(RecordTooLong { bytes });
    };
    if let Some(field) = out.get_mut(start + 2..start + HEADER_BYTES) {
        field.copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

/// The version of a type's body that this program writes, and the newest that it reads.
const fn version_of(record_type: u8) -> u8 {
    if record_type == TYPE_REGISTRATION { VERSION_REGISTRATION } else { VERSION }
}

/// The records in a run of bytes, one after the other. Records of unknown types that may be skipped
/// are left out. Ends after the first error.
#[derive(Debug)]
pub struct Records<'a> {
    rest: Reader<'a>,
    /// Records gone by, those skipped included.
    passed: u32,
    /// The record that came last.
    last: &'a [u8],
}

/// The records in `bytes`.
#[must_use]
pub fn decode(bytes: &[u8]) -> Records<'_> {
    Records { rest: Reader::new(bytes), passed: 0, last: &[] }
}

impl<'a> Records<'a> {
    /// The bytes of the record that came last.
    #[must_use]
    pub fn last_bytes(&self) -> &'a [u8] {
        self.last
    }

    /// Records gone by so far, those of unknown types included.
    #[must_use]
    pub fn passed(&self) -> u32 {
        self.passed
    }

    /// Bytes behind the record that came last.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        self.rest.len()
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let mut from = self.rest;
            match decode_one(&mut self.rest) {
                Ok(record) => {
                    self.last = from.take(from.len() - self.rest.len()).unwrap_or_default();
                    self.passed = self.passed.saturating_add(1);
                    if let Some(record) = record {
                        return Some(Ok(record));
                    }
                }
                Err(error) => {
                    self.rest = Reader::new(&[]);
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// One record; `None` if it may be skipped.
fn decode_one(rest: &mut Reader<'_>) -> Result<Option<Record>, RecordError> {
    const SHORT: RecordError = RecordError::Malformed("it ends early");
    let record_type = rest.u8().ok_or(SHORT)?;
    let version = rest.u8().ok_or(SHORT)?;
    let length = rest.u16().ok_or(SHORT)?;
    let mut body = Reader::new(rest.take(usize::from(length)).ok_or(SHORT)?);
    let known = matches!(
        record_type,
        TYPE_LEASE
            | TYPE_LEASE_FORGOTTEN
            | TYPE_REGISTRATION
            | TYPE_REGISTRATION_REMOVED
            | TYPE_TIME
            | TYPE_HOLD_OFF
            | TYPE_FAILOVER
            | TYPE_PAIR_BINDING
            | TYPE_VOUCHER
            | TYPE_VOUCHER_REMOVED
            | TYPE_EXCHANGE
    );
    if !known || version > version_of(record_type) {
        return if record_type & CRITICAL == 0 {
            Ok(None)
        } else {
            Err(RecordError::Newer { record_type, version })
        };
    }
    if version == 0 || (version != VERSION && record_type != TYPE_REGISTRATION) {
        return Err(RecordError::Malformed("no version has that number"));
    }
    let record = match record_type {
        TYPE_LEASE => Record::Lease(decode_lease(&mut body)?),
        TYPE_LEASE_FORGOTTEN => Record::LeaseForgotten(body.address().ok_or(SHORT)?),
        TYPE_REGISTRATION => Record::Registration(decode_registration(version, &mut body)?),
        TYPE_REGISTRATION_REMOVED => Record::RegistrationRemoved(hardware(&mut body)?),
        TYPE_HOLD_OFF => {
            Record::HoldOff(HoldOff { since: time(&mut body)?, until: time(&mut body)? })
        }
        TYPE_FAILOVER => Record::Failover(pair::decode_failover(&mut body)?),
        TYPE_PAIR_BINDING => Record::PairBinding(pair::decode_binding(&mut body)?),
        TYPE_VOUCHER => Record::Voucher(voucher::decode(&mut body)?),
        TYPE_VOUCHER_REMOVED => Record::VoucherRemoved(voucher::hash(&mut body)?),
        TYPE_EXCHANGE => Record::Exchange(exchange::decode(&mut body)?),
        _ => Record::Time(time(&mut body)?),
    };
    if body.is_empty() {
        Ok(Some(record))
    } else {
        Err(RecordError::Malformed("it is longer than its fields"))
    }
}

fn encode_lease(lease: &Lease, out: &mut Vec<u8>) -> Result<(), RecordTooLong> {
    out.extend_from_slice(&lease.address.octets());
    out.push(match lease.state {
        BindingState::Active => STATE_ACTIVE,
        BindingState::Released => STATE_RELEASED,
        BindingState::Declined => STATE_DECLINED,
    });
    put_time(lease.started, out);
    put_time(lease.changed, out);
    put_time(lease.ends, out);
    put_hardware(&lease.hardware, out);
    match &lease.client {
        ClientIdentifier::Option61(bytes) => {
            out.push(CLIENT_OPTION_61);
            put_bytes(bytes, out)?;
        }
        ClientIdentifier::Hardware(hardware) => {
            out.push(CLIENT_HARDWARE);
            put_hardware(hardware, out);
        }
    }
    let mut present = 0;
    for (is_some, bit) in [
        (lease.relay.is_some(), HAS_RELAY),
        (lease.relay_agent.is_some(), HAS_RELAY_AGENT),
        (lease.host_name.is_some(), HAS_HOST_NAME),
    ] {
        if is_some {
            present |= bit;
        }
    }
    out.push(present);
    if let Some(relay) = lease.relay {
        out.extend_from_slice(&relay.octets());
    }
    if let Some(relay_agent) = &lease.relay_agent {
        put_bytes(relay_agent, out)?;
    }
    if let Some(host_name) = &lease.host_name {
        put_bytes(host_name, out)?;
    }
    Ok(())
}

fn decode_lease(body: &mut Reader<'_>) -> Result<Lease, RecordError> {
    const SHORT: RecordError = RecordError::Malformed("the lease ends early");
    let address = body.address().ok_or(SHORT)?;
    let state = match body.u8().ok_or(SHORT)? {
        STATE_ACTIVE => BindingState::Active,
        STATE_RELEASED => BindingState::Released,
        STATE_DECLINED => BindingState::Declined,
        _ => return Err(RecordError::Malformed("no binding state has that number")),
    };
    let (started, changed, ends) = (time(body)?, time(body)?, time(body)?);
    let hardware_address = hardware(body)?;
    let client = match body.u8().ok_or(SHORT)? {
        CLIENT_OPTION_61 => ClientIdentifier::Option61(body.counted().ok_or(SHORT)?.into()),
        CLIENT_HARDWARE => ClientIdentifier::Hardware(hardware(body)?),
        _ => return Err(RecordError::Malformed("no kind of client has that number")),
    };
    let present = body.u8().ok_or(SHORT)?;
    if present & !(HAS_RELAY | HAS_RELAY_AGENT | HAS_HOST_NAME) != 0 {
        return Err(RecordError::Malformed("a lease has no such field"));
    }
    let relay = if present & HAS_RELAY == 0 { None } else { Some(body.address().ok_or(SHORT)?) };
    let relay_agent =
        if present & HAS_RELAY_AGENT == 0 { None } else { Some(body.counted().ok_or(SHORT)?) };
    let host_name =
        if present & HAS_HOST_NAME == 0 { None } else { Some(body.counted().ok_or(SHORT)?) };
    Ok(Lease {
        address,
        client,
        hardware: hardware_address,
        state,
        started,
        changed,
        ends,
        relay,
        relay_agent: relay_agent.map(Into::into),
        host_name: host_name.map(Into::into),
    })
}

fn encode_registration(
    registration: &Registration,
    out: &mut Vec<u8>,
) -> Result<(), RecordTooLong> {
    put_hardware(&registration.hardware, out);
    put_time(registration.registered, out);
    let Registration { owner, role, sponsor, note, expires, suspended, .. } = registration;
    let reason = suspended.as_ref().and_then(|suspension| suspension.reason.as_ref());
    let mut present = 0;
    for (is_some, bit) in [
        (owner.is_some(), HAS_OWNER),
        (expires.is_some(), HAS_EXPIRES),
        (role.is_some(), HAS_ROLE),
        (sponsor.is_some(), HAS_SPONSOR),
        (note.is_some(), HAS_NOTE),
        (suspended.is_some(), IS_SUSPENDED),
        (reason.is_some(), HAS_SUSPENSION_REASON),
    ] {
        if is_some {
            present |= bit;
        }
    }
    out.push(present);
    if let Some(owner) = owner {
        put_bytes(owner.as_bytes(), out)?;
    }
    if let Some(expires) = expires {
        put_time(*expires, out);
    }
    for text in [role, sponsor, note].into_iter().flatten() {
        put_bytes(text.as_bytes(), out)?;
    }
    if let Some(suspension) = suspended {
        put_time(suspension.since, out);
    }
    if let Some(reason) = reason {
        put_bytes(reason.as_bytes(), out)?;
    }
    Ok(())
}

fn decode_registration(version: u8, body: &mut Reader<'_>) -> Result<Registration, RecordError> {
    const SHORT: RecordError = RecordError::Malformed("the registration ends early");
    let hardware = hardware(body)?;
    let registered = time(body)?;
    let present = body.u8().ok_or(SHORT)?;
    let known = if version == 1 { FIELDS_OF_REGISTRATION_1 } else { FIELDS_OF_REGISTRATION_2 };
    let has = |bit| present & bit != 0;
    if present & !known != 0 || (has(HAS_SUSPENSION_REASON) && !has(IS_SUSPENDED)) {
        return Err(RecordError::Malformed("a registration has no such field"));
    }
    let owner = if has(HAS_OWNER) { Some(text(body)?) } else { None };
    let expires = if has(HAS_EXPIRES) { Some(time(body)?) } else { None };
    let role = if has(HAS_ROLE) { Some(text(body)?) } else { None };
    let sponsor = if has(HAS_SPONSOR) { Some(text(body)?) } else { None };
    let note = if has(HAS_NOTE) { Some(text(body)?) } else { None };
    let since = if has(IS_SUSPENDED) { Some(time(body)?) } else { None };
    let reason = if has(HAS_SUSPENSION_REASON) { Some(text(body)?) } else { None };
    let suspended = since.map(|since| Box::new(Suspension { since, reason }));
    Ok(Registration { hardware, owner, role, sponsor, note, registered, expires, suspended })
}

fn text(body: &mut Reader<'_>) -> Result<Box<str>, RecordError> {
    let bytes = body.counted().ok_or(RecordError::Malformed("a text ends early"))?;
    let text =
        std::str::from_utf8(bytes).map_err(|_| RecordError::Malformed("a text is not UTF-8"))?;
    Ok(text.into())
}

fn put_time(time: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(&time.milliseconds().to_le_bytes());
}

fn time(body: &mut Reader<'_>) -> Result<Timestamp, RecordError> {
    body.u64().map(Timestamp::from_milliseconds).ok_or(RecordError::Malformed("a time ends early"))
}

fn put_hardware(hardware: &HardwareAddress, out: &mut Vec<u8>) {
    let bytes = hardware.bytes();
    // A hardware address has 16 bytes at most.
    let length = u8::try_from(bytes.len()).unwrap_or(0);
    out.extend_from_slice(&[hardware.hardware_type(), length]);
    out.extend_from_slice(bytes);
}

fn hardware(body: &mut Reader<'_>) -> Result<HardwareAddress, RecordError> {
    const SHORT: RecordError = RecordError::Malformed("a hardware address ends early");
    let hardware_type = body.u8().ok_or(SHORT)?;
    let length = body.u8().ok_or(SHORT)?;
    let bytes = body.take(usize::from(length)).ok_or(SHORT)?;
    HardwareAddress::new(hardware_type, bytes)
        .ok_or(RecordError::Malformed("a hardware address is over 16 bytes long"))
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RecordTooLong> {
    let too_long = RecordTooLong { bytes: bytes.len() };
    let length = u16::try_from(bytes.len()).map_err(|_| too_long)?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may end by a panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vestibule_core::exchange::{ExchangeRecord, HybridTime};
    use vestibule_core::failover::Role;
    use vestibule_core::{Voucher, VoucherHash, VoucherUse, limits};

    fn any_time() -> impl Strategy<Value = Timestamp> {
        any::<u64>().prop_map(Timestamp::from_milliseconds)
    }

    fn any_hardware() -> impl Strategy<Value = HardwareAddress> {
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..=16))
            .prop_map(|(hardware_type, bytes)| HardwareAddress::new(hardware_type, &bytes).unwrap())
    }

    fn any_bytes() -> impl Strategy<Value = Box<[u8]>> {
        prop::collection::vec(any::<u8>(), 0..600).prop_map(Into::into)
    }

    fn any_lease() -> impl Strategy<Value = Lease> {
        (
            (any::<u32>(), any_hardware(), 0..3_u8, any_time(), any_time(), any_time()),
            (
                prop_oneof![
                    any_bytes().prop_map(ClientIdentifier::Option61),
                    any_hardware().prop_map(ClientIdentifier::Hardware),
                ],
                prop::option::of(any::<u32>()),
                prop::option::of(any_bytes()),
                prop::option::of(any_bytes()),
            ),
        )
            .prop_map(|(fixed, rest)| Lease {
                address: fixed.0.into(),
                hardware: fixed.1,
                state: [BindingState::Active, BindingState::Released, BindingState::Declined]
                    [usize::from(fixed.2)],
                started: fixed.3,
                changed: fixed.4,
                ends: fixed.5,
                client: rest.0,
                relay: rest.1.map(Into::into),
                relay_agent: rest.2,
                host_name: rest.3,
            })
    }

    fn any_text() -> impl Strategy<Value = Option<Box<str>>> {
        prop::option::of(".{0,100}".prop_map(Into::into))
    }

    fn any_registration() -> impl Strategy<Value = Registration> {
        let suspension = (any_time(), any_text())
            .prop_map(|(since, reason)| Box::new(Suspension { since, reason }));
        (
            (any_hardware(), any_time(), prop::option::of(any_time())),
            (any_text(), any_text(), any_text(), any_text(), prop::option::of(suspension)),
        )
            .prop_map(|((hardware, registered, expires), rest)| {
                let (owner, role, sponsor, note, suspended) = rest;
                Registration {
                    hardware,
                    owner,
                    role,
                    sponsor,
                    note,
                    registered,
                    expires,
                    suspended,
                }
            })
    }

    fn any_voucher() -> impl Strategy<Value = Voucher> {
        let any_use = (any_hardware(), any_time(), prop::option::of(0..u64::MAX)).prop_map(
            |(hardware, since, ends)| VoucherUse {
                hardware,
                since,
                ends: ends.map(Timestamp::from_milliseconds),
            },
        );
        (
            (any::<[u8; 32]>(), any_text(), any_text(), prop::option::of(any::<u32>())),
            (any::<u16>(), any_time(), any_time(), prop::collection::vec(any_use, 0..6)),
        )
            .prop_map(|((hash, role, note, lifetime_seconds), rest)| {
                let (uses_max, created, expires, uses) = rest;
                let hash = VoucherHash::new(hash);
                Voucher { hash, role, note, lifetime_seconds, uses_max, created, expires, uses }
            })
    }

    fn any_exchanged() -> impl Strategy<Value = ExchangeRecord> {
        let stamp = || {
            (any::<u64>(), any::<u32>(), any::<bool>()).prop_map(
                |(milliseconds, counter, first)| {
                    let server = if first { Role::Primary } else { Role::Secondary };
                    HybridTime { milliseconds, counter, server }
                },
            )
        };
        prop_oneof![
            (any_registration(), stamp(), any_time(), any::<u16>()).prop_map(
                |(registration, stamp, taken, devices_counted)| ExchangeRecord::Registration {
                    registration,
                    stamp,
                    taken,
                    devices_counted
                }
            ),
            (any_hardware(), stamp(), any_time(), any::<bool>()).prop_map(
                |(hardware, stamp, taken, is_by_time)| ExchangeRecord::Ended {
                    hardware,
                    stamp,
                    taken,
                    is_by_time
                }
            ),
            (any_hardware(), stamp())
                .prop_map(|(hardware, through)| ExchangeRecord::EndForgotten { hardware, through }),
            stamp().prop_map(ExchangeRecord::ForgottenThrough),
            (any::<[u8; 32]>(), any_time()).prop_map(|(hash, expires)| {
                ExchangeRecord::VoucherRevoked { hash: VoucherHash::new(hash), expires }
            }),
        ]
    }

    fn any_record() -> impl Strategy<Value = Record> {
        prop_oneof![
            2 => any_exchanged().prop_map(Record::Exchange),
            4 => any_lease().prop_map(Record::Lease),
            1 => any::<u32>().prop_map(|address| Record::LeaseForgotten(address.into())),
            2 => any_registration().prop_map(Record::Registration),
            1 => any_hardware().prop_map(Record::RegistrationRemoved),
            1 => any_time().prop_map(Record::Time),
            2 => any_voucher().prop_map(Record::Voucher),
            1 => any::<[u8; 32]>()
                .prop_map(|hash| Record::VoucherRemoved(VoucherHash::new(hash))),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(records in prop::collection::vec(any_record(), 0..8)) {
            let mut bytes = Vec::new();
            for record in &records {
                encode(record, &mut bytes).unwrap();
            }
            let read: Vec<Record> = decode(&bytes).map(Result::unwrap).collect();
            prop_assert_eq!(read, records);
        }

        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            // Whatever is accepted without a skip must be what the encoder writes for it, if it is not of
            // an older version.
            let mut again = Vec::new();
            let mut records = decode(&bytes);
            let mut accepted = 0;
            for record in records.by_ref() {
                let Ok(record) = record else { break };
                accepted += 1;
                encode(&record, &mut again).unwrap();
            }
            if records.passed() == accepted && !again.starts_with(&[TYPE_REGISTRATION]) {
                prop_assert_eq!(&again[..], &bytes[..again.len()]);
            }
        }

        #[test]
        fn a_changed_byte_is_read_or_refused(
            record in any_record(), position in any::<prop::sample::Index>(), bits in 1..=255_u8,
        ) {
            let mut bytes = Vec::new();
            encode(&record, &mut bytes).unwrap();
            let position = position.index(bytes.len());
            bytes[position] ^= bits;
            prop_assert!(decode(&bytes).count() <= bytes.len() / HEADER_BYTES);
        }
    }

    #[test]
    fn an_unknown_type_is_skipped_only_without_the_critical_bit() {
        let time = Record::Time(Timestamp::from_seconds(7));
        let mut bytes = vec![0x7e, 9, 3, 0, 1, 2, 3];
        encode(&time, &mut bytes).unwrap();
        assert_eq!(decode(&bytes).collect::<Vec<_>>(), [Ok(time)]);
        bytes[0] |= CRITICAL;
        let newer = RecordError::Newer { record_type: 0xfe, version: 9 };
        assert_eq!(decode(&bytes).collect::<Vec<_>>(), [Err(newer)]);
    }

    /// What version 0.1 wrote before registrations had roles: still read, and read for ever.
    #[test]
    fn a_registration_of_version_1_is_read() {
        let bytes = b"\x83\x01\x20\x00\x01\x06\x02\x00\x5e\x00\x53\x01\
            \x00\x10\xa5\xd4\xe8\x00\x00\x00\x03\x05\x00alice\x00\x20\xa5\xd4\xe8\x00\x00\x00";
        let registration = Registration {
            owner: Some("alice".into()),
            expires: Some(Timestamp::from_milliseconds(0xe8_d4a5_2000)),
            ..Registration::of(
                HardwareAddress::ethernet([2, 0, 0x5e, 0, 0x53, 1]),
                Timestamp::from_milliseconds(0xe8_d4a5_1000),
            )
        };
        let read: Vec<_> = decode(bytes).collect();
        assert_eq!(read, [Ok(Record::Registration(registration))]);
        // It could not say more than it had.
        for bit in [HAS_ROLE, HAS_SPONSOR, HAS_NOTE, IS_SUSPENDED] {
            let mut bytes = bytes.to_vec();
            bytes[20] |= bit;
            assert!(decode(&bytes).next().unwrap().is_err(), "{bit}");
        }
    }

    #[test]
    fn a_newer_version_of_a_known_type_is_refused() {
        let mut bytes = Vec::new();
        encode(&Record::Time(Timestamp::ZERO), &mut bytes).unwrap();
        bytes[1] = VERSION + 1;
        let newer = RecordError::Newer { record_type: TYPE_TIME, version: VERSION + 1 };
        assert_eq!(decode(&bytes).collect::<Vec<_>>(), [Err(newer)]);
    }

    /// The largest voucher that can be made fits, with every device that it can let in.
    #[test]
    fn a_voucher_that_all_used_is_no_record_too_long() {
        let hardware = HardwareAddress::new(6, &[0xff; 16]).unwrap();
        let one = VoucherUse { hardware, since: Timestamp::ZERO, ends: None };
        let voucher = Record::Voucher(Voucher {
            hash: VoucherHash::new([9; 32]),
            role: Some("r".repeat(limits::ROLE_LENGTH_MAX).into()),
            note: Some("n".repeat(limits::NOTE_LENGTH_MAX).into()),
            lifetime_seconds: Some(u32::MAX),
            uses_max: limits::VOUCHER_USES_MAX,
            created: Timestamp::ZERO,
            expires: Timestamp::FOREVER,
            uses: vec![one; limits::VOUCHER_USES_MAX.into()],
        });
        let mut bytes = Vec::new();
        encode(&voucher, &mut bytes).unwrap();
        assert_eq!(decode(&bytes).collect::<Vec<_>>(), [Ok(voucher)]);
    }

    #[test]
    fn a_record_over_the_limit_is_refused_and_leaves_nothing_behind() {
        for length in [RECORD_BYTES_MAX, 70_000] {
            let record = Record::Registration(Registration {
                owner: Some("x".repeat(length).into()),
                ..Registration::of(HardwareAddress::ethernet([2; 6]), Timestamp::ZERO)
            });
            let mut bytes = vec![1, 2, 3];
            assert!(encode(&record, &mut bytes).is_err());
            assert_eq!(bytes, [1, 2, 3]);
        }
    }
}
