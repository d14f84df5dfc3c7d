//! Vouchers as bytes. The code is not among them, only its hash.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{RecordError, RecordTooLong, hardware, put_bytes, put_hardware, put_time, text, time};
use crate::store::bytes::Reader;
use vestibule_core::{Timestamp, Voucher, VoucherHash, VoucherUse};

/// Which optional fields follow.
const HAS_ROLE: u8 = 1;
const HAS_NOTE: u8 = 2;
const HAS_LIFETIME: u8 = 4;

pub(super) fn encode(voucher: &Voucher, out: &mut Vec<u8>) -> Result<(), RecordTooLong> {
    let Voucher { hash, role, note, lifetime_seconds, uses_max, created, expires, uses } = voucher;
    out.extend_from_slice(hash.bytes());
    put_time(*created, out);
    put_time(*expires, out);
    out.extend_from_slice(&uses_max.to_le_bytes());
    let mut present = 0;
    for (is_some, bit) in [
        (role.is_some(), HAS_ROLE),
        (note.is_some(), HAS_NOTE),
        (lifetime_seconds.is_some(), HAS_LIFETIME),
    ] {
        if is_some {
            present |= bit;
        }
    }
    out.push(present);
    for text in [role, note].into_iter().flatten() {
        put_bytes(text.as_bytes(), out)?;
    }
    if let Some(seconds) = lifetime_seconds {
        out.extend_from_slice(&seconds.to_le_bytes());
    }
    let too_long = RecordTooLong { bytes: uses.len() };
    let count = u16::try_from(uses.len()).map_err(|_| too_long)?;
    out.extend_from_slice(&count.to_le_bytes());
    for one in uses {
        put_hardware(&one.hardware, out);
        put_time(one.since, out);
        // No voucher lets in for ever and a millisecond less.
        put_time(one.ends.unwrap_or(Timestamp::FOREVER), out);
    }
    Ok(())
}

pub(super) fn decode(body: &mut Reader<'_>) -> Result<Voucher, RecordError> {
    const SHORT: RecordError = RecordError::Malformed("the voucher ends early");
    let hash = self::hash(body)?;
    let (created, expires) = (time(body)?, time(body)?);
    let uses_max = body.u16().ok_or(SHORT)?;
    let present = body.u8().ok_or(SHORT)?;
    let has = |bit| present & bit != 0;
    if present & !(HAS_ROLE | HAS_NOTE | HAS_LIFETIME) != 0 {
        return Err(RecordError::Malformed("a voucher has no such field"));
    }
    let role = if has(HAS_ROLE) { Some(text(body)?) } else { None };
    let note = if has(HAS_NOTE) { Some(text(body)?) } else { None };
    let lifetime_seconds = if has(HAS_LIFETIME) { Some(body.u32().ok_or(SHORT)?) } else { None };
    // Grown as they are read: a number on the disk promises nothing.
    let mut uses = Vec::new();
    for _ in 0..body.u16().ok_or(SHORT)? {
        let hardware = hardware(body)?;
        let (since, ends) = (time(body)?, time(body)?);
        let ends = Some(ends).filter(|ends| *ends != Timestamp::FOREVER);
        uses.push(VoucherUse { hardware, since, ends });
    }
    Ok(Voucher { hash, role, note, lifetime_seconds, uses_max, created, expires, uses })
}

pub(super) fn hash(body: &mut Reader<'_>) -> Result<VoucherHash, RecordError> {
    let bytes = body.take(32).and_then(|bytes| bytes.try_into().ok());
    bytes.map(VoucherHash::new).ok_or(RecordError::Malformed("a voucher's hash ends early"))
}
