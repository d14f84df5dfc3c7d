//! Intervals as bytes, in the log and in archives.
//!
//! `version and kind (1) flags (1) body`, integers little-endian, times in milliseconds in 6 bytes. The
//! decoder reads whatever stands on the disk: it never panics and takes no byte on trust.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::interval::{Ended, GrantedBy, Holding, Interval, Ownership};
use crate::store::bytes::Reader;
use std::net::Ipv4Addr;
use vestibule_core::{HardwareAddress, Timestamp};

const HOLDING: u8 = 1;
const OWNERSHIP: u8 = 2;

const FROM_PARTNER: u8 = 1;
const HAS_CLIENT_IDENTIFIER: u8 = 2;
const HAS_HOST_NAME: u8 = 4;
const HAS_RELAY: u8 = 8;
const HAS_RELAY_AGENT: u8 = 16;
const HAS_NETWORK: u8 = 32;

const HAS_OWNER: u8 = 1;
const HAS_ROLE: u8 = 2;

/// Times from here on stand for "never".
const NEVER: u64 = (1 << 48) - 1;

/// Bytes of one encoded interval at most; what is longer loses what strangers wrote into it.
pub(super) const INTERVAL_BYTES_MAX: usize = 2048;

/// The interval's bytes.
pub(super) fn encode(interval: &Interval) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    match interval {
        Interval::Holding(holding) => encode_holding(holding, &mut out),
        Interval::Ownership(ownership) => encode_ownership(ownership, &mut out),
    }
    out
}

fn encode_holding(holding: &Holding, out: &mut Vec<u8>) {
    let Holding {
        address,
        from,
        until,
        ended,
        granted_by,
        hardware,
        client_identifier,
        host_name,
        relay,
        relay_agent,
        network,
    } = holding;
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.push(HOLDING);
    out.push(
        flag(*granted_by == GrantedBy::Partner, FROM_PARTNER)
            | flag(client_identifier.is_some(), HAS_CLIENT_IDENTIFIER)
            | flag(host_name.is_some(), HAS_HOST_NAME)
            | flag(relay.is_some(), HAS_RELAY)
            | flag(relay_agent.is_some(), HAS_RELAY_AGENT)
            | flag(network.is_some(), HAS_NETWORK),
    );
    out.extend_from_slice(&address.octets());
    put_time(*from, out);
    put_time(*until, out);
    out.push(ended.map_or(0, Ended::code));
    put_hardware(*hardware, out);
    for bytes in [client_identifier.as_deref(), host_name.as_deref(), relay_agent.as_deref()] {
        put_short(bytes, out);
    }
    put_short(network.as_deref().map(str::as_bytes), out);
    if let Some(relay) = relay {
        out.extend_from_slice(&relay.octets());
    }
}

fn encode_ownership(ownership: &Ownership, out: &mut Vec<u8>) {
    let Ownership { hardware, from, until, ended, owner, role } = ownership;
    out.push(OWNERSHIP);
    let has_owner = if owner.is_some() { HAS_OWNER } else { 0 };
    let has_role = if role.is_some() { HAS_ROLE } else { 0 };
    out.push(has_owner | has_role);
    put_time(*from, out);
    put_time(*until, out);
    out.push(ended.map_or(0, Ended::code));
    put_hardware(*hardware, out);
    put_short(owner.as_deref().map(str::as_bytes), out);
    put_short(role.as_deref().map(str::as_bytes), out);
}

fn put_time(time: Timestamp, out: &mut Vec<u8>) {
    let bytes = time.milliseconds().min(NEVER).to_le_bytes();
    out.extend(bytes.iter().take(6));
}

fn put_hardware(hardware: HardwareAddress, out: &mut Vec<u8>) {
    out.push(hardware.hardware_type());
    put_short(Some(hardware.bytes()), out);
}

/// With a length of one byte: every option is that short, and so are names; what is not is cut.
fn put_short(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(bytes) = bytes else { return };
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend(bytes.iter().take(length.into()));
}

/// The interval in these bytes, all of them; `None` if they are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Interval> {
    let mut rest = Reader::new(bytes);
    let kind = rest.u8()?;
    let flags = rest.u8()?;
    let has = |flag: u8| flags & flag != 0;
    let interval = match kind {
        HOLDING => {
            let address = rest.address()?;
            let (from, until, ended) = (time(&mut rest)?, time(&mut rest)?, ended(&mut rest)?);
            let hardware = hardware(&mut rest)?;
            let client_identifier = short(&mut rest, has(HAS_CLIENT_IDENTIFIER))?.map(Into::into);
            let host_name = short(&mut rest, has(HAS_HOST_NAME))?.map(Into::into);
            let relay_agent = short(&mut rest, has(HAS_RELAY_AGENT))?.map(Into::into);
            let network = text(&mut rest, has(HAS_NETWORK))?;
            let relay: Option<Ipv4Addr> = if has(HAS_RELAY) { Some(rest.address()?) } else { None };
            let granted_by =
                if has(FROM_PARTNER) { GrantedBy::Partner } else { GrantedBy::ThisServer };
            Interval::Holding(Holding {
                address,
                from,
                until,
                ended,
                granted_by,
                hardware,
                client_identifier,
                host_name,
                relay,
                relay_agent,
                network,
            })
        }
        OWNERSHIP => {
            let (from, until, ended) = (time(&mut rest)?, time(&mut rest)?, ended(&mut rest)?);
            let hardware = hardware(&mut rest)?;
            let owner = text(&mut rest, has(HAS_OWNER))?;
            let role = text(&mut rest, has(HAS_ROLE))?;
            Interval::Ownership(Ownership { hardware, from, until, ended, owner, role })
        }
        _ => return None,
    };
    rest.is_empty().then_some(interval)
}

fn time(rest: &mut Reader<'_>) -> Option<Timestamp> {
    let bytes: [u8; 6] = rest.array()?;
    let milliseconds = bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let is_never = milliseconds == NEVER;
    Some(if is_never { Timestamp::FOREVER } else { Timestamp::from_milliseconds(milliseconds) })
}

fn ended(rest: &mut Reader<'_>) -> Option<Option<Ended>> {
    match rest.u8()? {
        0 => Some(None),
        code => Ended::from_code(code).map(Some),
    }
}

fn hardware(rest: &mut Reader<'_>) -> Option<HardwareAddress> {
    let hardware_type = rest.u8()?;
    let length = rest.u8()?;
    HardwareAddress::new(hardware_type, rest.take(length.into())?)
}

fn short<'a>(rest: &mut Reader<'a>, is_there: bool) -> Option<Option<&'a [u8]>> {
    if !is_there {
        return Some(None);
    }
    let length = rest.u8()?;
    rest.take(length.into()).map(Some)
}

/// Text that was cut in the middle of a character keeps a mark there.
fn text(rest: &mut Reader<'_>, is_there: bool) -> Option<Option<Box<str>>> {
    Some(short(rest, is_there)?.map(|bytes| String::from_utf8_lossy(bytes).into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Option<Box<[u8]>>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..256).prop_map(Into::into))
    }

    fn ending() -> impl Strategy<Value = Option<Ended>> {
        prop::option::of(prop::sample::select(Ended::ALL))
    }

    proptest! {
        #[test]
        fn a_holding_is_read_as_it_was_written(
            (address, from, until) in (any::<u32>(), 0..NEVER, 0..=NEVER),
            ended in ending(),
            (partner, mac) in (any::<bool>(), any::<[u8; 6]>()),
            (client_identifier, host_name, relay_agent) in (bytes(), bytes(), bytes()),
            relay in prop::option::of(any::<u32>()),
            network in prop::option::of("[a-z]{0,40}"),
        ) {
            let until = if until == NEVER { Timestamp::FOREVER } else { Timestamp::from_milliseconds(until) };
            let holding = Interval::Holding(Holding {
                address: address.into(),
                from: Timestamp::from_milliseconds(from),
                until,
                ended,
                granted_by: if partner { GrantedBy::Partner } else { GrantedBy::ThisServer },
                hardware: HardwareAddress::ethernet(mac),
                client_identifier,
                host_name,
                relay: relay.map(Into::into),
                relay_agent,
                network: network.map(Into::into),
            });
            let bytes = encode(&holding);
            prop_assert!(bytes.len() <= INTERVAL_BYTES_MAX);
            prop_assert_eq!(decode(&bytes), Some(holding));
            for length in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..length]), None);
            }
        }

        #[test]
        fn an_ownership_is_read_as_it_was_written(
            (from, until, ended) in (0..NEVER, 0..NEVER, ending()),
            mac in any::<[u8; 6]>(),
            (owner, role) in (prop::option::of("[a-zé]{0,60}"), prop::option::of("[a-z]{0,20}")),
        ) {
            let ownership = Interval::Ownership(Ownership {
                hardware: HardwareAddress::ethernet(mac),
                from: Timestamp::from_milliseconds(from),
                until: Timestamp::from_milliseconds(until),
                ended,
                owner: owner.map(Into::into),
                role: role.map(Into::into),
            });
            prop_assert_eq!(decode(&encode(&ownership)), Some(ownership));
        }

        #[test]
        fn any_bytes_are_an_interval_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = decode(&[&[HOLDING], &*bytes].concat());
            let _ = decode(&[&[OWNERSHIP], &*bytes].concat());
        }
    }
}
