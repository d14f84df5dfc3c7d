//! The failover pair's records as bytes. See the [module](super).

use super::{Reader, RecordError};
use vestibule_core::failover::{
    BindingStatus, FailoverRecord, HashBuckets, PairBinding, PartnerState, State,
};

const IS_ACKNOWLEDGED: u8 = 1;

/// Bytes of hash buckets.
const BUCKETS_BYTES: usize = 32;

pub(super) fn encode_failover(failover: &FailoverRecord, out: &mut Vec<u8>) {
    let FailoverRecord { state, since, partner, partner_since, mclt_seconds, hash_buckets } =
        failover;
    out.extend_from_slice(&[state.code(), partner.code()]);
    for number in [since, partner_since, mclt_seconds] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    if let Some(buckets) = hash_buckets {
        out.extend_from_slice(&buckets.bytes());
    }
}

pub(super) fn decode_failover(body: &mut Reader<'_>) -> Result<FailoverRecord, RecordError> {
    const SHORT: RecordError = RecordError::Malformed("the pair's states end early");
    let state = State::from_code(body.u8().ok_or(SHORT)?)
        .ok_or(RecordError::Malformed("no failover state has that number"))?;
    let partner = PartnerState::from_code(body.u8().ok_or(SHORT)?);
    let mut number = || body.u32().ok_or(SHORT);
    let (since, partner_since, mclt_seconds) = (number()?, number()?, number()?);
    let hash_buckets = if body.is_empty() {
        None
    } else {
        Some(HashBuckets::from_bytes(body.array::<BUCKETS_BYTES>().ok_or(SHORT)?))
    };
    Ok(FailoverRecord { state, since, partner, partner_since, mclt_seconds, hash_buckets })
}

pub(super) fn encode_binding(binding: &PairBinding, out: &mut Vec<u8>) {
    out.extend_from_slice(&binding.address.octets());
    let flags = if binding.is_acknowledged { IS_ACKNOWLEDGED } else { 0 };
    out.extend_from_slice(&[binding.status.code(), binding.partner_saw.code(), flags]);
    for time in [
        binding.since,
        binding.client_last_transaction,
        binding.potential_expiration,
        binding.agreed_expiration,
        binding.partner_expiration,
    ] {
        out.extend_from_slice(&time.to_le_bytes());
    }
}

pub(super) fn decode_binding(body: &mut Reader<'_>) -> Result<PairBinding, RecordError> {
    const SHORT: RecordError = RecordError::Malformed("the pair's binding ends early");
    let address = body.address().ok_or(SHORT)?;
    let mut status = || {
        BindingStatus::from_code(body.u8().ok_or(SHORT)?)
            .ok_or(RecordError::Malformed("no binding status has that number"))
    };
    let (status, partner_saw) = (status()?, status()?);
    let flags = body.u8().ok_or(SHORT)?;
    if flags & !IS_ACKNOWLEDGED != 0 {
        return Err(RecordError::Malformed("a pair's binding has no such mark"));
    }
    let mut time = || body.u32().ok_or(SHORT);
    Ok(PairBinding {
        address,
        status,
        partner_saw,
        is_acknowledged: flags & IS_ACKNOWLEDGED != 0,
        since: time()?,
        client_last_transaction: time()?,
        potential_expiration: time()?,
        agreed_expiration: time()?,
        partner_expiration: time()?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may end by a panic")]
mod tests {
    use super::super::{decode, encode};
    use super::*;
    use proptest::prelude::*;
    use vestibule_core::Record;

    fn status() -> impl Strategy<Value = BindingStatus> {
        prop::sample::select(BindingStatus::ALL.to_vec())
    }

    fn failover() -> impl Strategy<Value = Record> {
        (
            prop::sample::select(State::ALL.to_vec()),
            any::<u8>(),
            any::<[u32; 3]>(),
            any::<Option<[u8; 32]>>(),
        )
            .prop_map(|(state, partner, [since, partner_since, mclt_seconds], buckets)| {
                Record::Failover(FailoverRecord {
                    state,
                    since,
                    partner: PartnerState::from_code(partner),
                    partner_since,
                    mclt_seconds,
                    hash_buckets: buckets.map(HashBuckets::from_bytes),
                })
            })
    }

    fn binding() -> impl Strategy<Value = Record> {
        (any::<u32>(), status(), status(), any::<bool>(), any::<[u32; 5]>()).prop_map(
            |(address, status, partner_saw, is_acknowledged, times)| {
                Record::PairBinding(PairBinding {
                    address: address.into(),
                    status,
                    partner_saw,
                    is_acknowledged,
                    since: times[0],
                    client_last_transaction: times[1],
                    potential_expiration: times[2],
                    agreed_expiration: times[3],
                    partner_expiration: times[4],
                })
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            records in prop::collection::vec(prop_oneof![failover(), binding()], 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            for record in &records {
                encode(record, &mut bytes).unwrap();
            }
            let read: Vec<Record> = decode(&bytes).map(Result::unwrap).collect();
            prop_assert_eq!(&read, &records);
            // What is torn is refused, and what was before it stays.
            bytes.truncate(cut.index(bytes.len()));
            let read: Vec<_> = decode(&bytes).collect();
            let whole = read.iter().take_while(|record| record.is_ok()).count();
            let whole: Vec<Record> = read.into_iter().take(whole).map(Result::unwrap).collect();
            prop_assert_eq!(&whole[..], &records[..whole.len()]);
        }
    }
}
