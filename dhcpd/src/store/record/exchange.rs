//! What a pair that exchanges registrations keeps of them, as bytes.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::voucher::hash;
use super::{
    RecordError, RecordTooLong, VERSION_REGISTRATION, decode_registration, encode_registration,
    hardware, put_hardware, put_time, time,
};
use crate::store::bytes::Reader;
use vestibule_core::exchange::{ExchangeRecord, HybridTime};
use vestibule_core::failover::Role;

const KIND_REGISTRATION: u8 = 0;
const KIND_ENDED: u8 = 1;
const KIND_END_FORGOTTEN: u8 = 2;
const KIND_FORGOTTEN_THROUGH: u8 = 3;
const KIND_VOUCHER_REVOKED: u8 = 4;

const SERVER_PRIMARY: u8 = 0;
const SERVER_SECONDARY: u8 = 1;

pub(super) fn encode(record: &ExchangeRecord, out: &mut Vec<u8>) -> Result<(), RecordTooLong> {
    match record {
        ExchangeRecord::Registration { registration, stamp, taken, devices_counted } => {
            out.push(KIND_REGISTRATION);
            put_stamp(*stamp, out);
            put_time(*taken, out);
            out.extend_from_slice(&devices_counted.to_le_bytes());
            encode_registration(registration, out)?;
        }
        ExchangeRecord::Ended { hardware, stamp, taken, is_by_time } => {
            out.push(KIND_ENDED);
            put_stamp(*stamp, out);
            put_time(*taken, out);
            out.push((*is_by_time).into());
            put_hardware(hardware, out);
        }
        ExchangeRecord::EndForgotten { hardware, through } => {
            out.push(KIND_END_FORGOTTEN);
            put_stamp(*through, out);
            put_hardware(hardware, out);
        }
        ExchangeRecord::ForgottenThrough(through) => {
            out.push(KIND_FORGOTTEN_THROUGH);
            put_stamp(*through, out);
        }
        ExchangeRecord::VoucherRevoked { hash, expires } => {
            out.push(KIND_VOUCHER_REVOKED);
            out.extend_from_slice(hash.bytes());
            put_time(*expires, out);
        }
    }
    Ok(())
}

pub(super) fn decode(body: &mut Reader<'_>) -> Result<ExchangeRecord, RecordError> {
    const SHORT: RecordError = RecordError::Malformed("what was exchanged ends early");
    Ok(match body.u8().ok_or(SHORT)? {
        KIND_REGISTRATION => {
            let (stamp, taken) = (stamp(body)?, time(body)?);
            let devices_counted = body.u16().ok_or(SHORT)?;
            let registration = decode_registration(VERSION_REGISTRATION, body)?;
            ExchangeRecord::Registration { registration, stamp, taken, devices_counted }
        }
        KIND_ENDED => {
            let (stamp, taken) = (stamp(body)?, time(body)?);
            let is_by_time = match body.u8().ok_or(SHORT)? {
                0 => false,
                1 => true,
                _ => {
                    return Err(RecordError::Malformed("what was exchanged is neither yes nor no"));
                }
            };
            ExchangeRecord::Ended { hardware: hardware(body)?, stamp, taken, is_by_time }
        }
        KIND_END_FORGOTTEN => {
            let through = stamp(body)?;
            ExchangeRecord::EndForgotten { hardware: hardware(body)?, through }
        }
        KIND_FORGOTTEN_THROUGH => ExchangeRecord::ForgottenThrough(stamp(body)?),
        KIND_VOUCHER_REVOKED => {
            ExchangeRecord::VoucherRevoked { hash: hash(body)?, expires: time(body)? }
        }
        _ => return Err(RecordError::Malformed("nothing that is exchanged has that number")),
    })
}

fn put_stamp(stamp: HybridTime, out: &mut Vec<u8>) {
    let HybridTime { milliseconds, counter, server } = stamp;
    out.extend_from_slice(&milliseconds.to_le_bytes());
    out.extend_from_slice(&counter.to_le_bytes());
    out.push(match server {
        Role::Primary => SERVER_PRIMARY,
        Role::Secondary => SERVER_SECONDARY,
    });
}

fn stamp(body: &mut Reader<'_>) -> Result<HybridTime, RecordError> {
    const SHORT: RecordError = RecordError::Malformed("a hybrid time ends early");
    let milliseconds = body.u64().ok_or(SHORT)?;
    let counter = body.u32().ok_or(SHORT)?;
    let server = match body.u8().ok_or(SHORT)? {
        SERVER_PRIMARY => Role::Primary,
        SERVER_SECONDARY => Role::Secondary,
        _ => return Err(RecordError::Malformed("no half of a pair has that number")),
    };
    Ok(HybridTime { milliseconds, counter, server })
}
