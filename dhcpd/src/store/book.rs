//! What replaying records ends in: the newest image of each thing, in the order of its last record.
//!
//! It bounds the memory of a start by the size of the book, however long the journal is. It keeps
//! records as the bytes that they have on disk, and lets go of them as they are taken out; so the book
//! is there once, and not twice, while the core takes it over.

use super::record;
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use vestibule_core::exchange::{ExchangeRecord, HybridTime};
use vestibule_core::failover::FailoverRecord;
use vestibule_core::{HardwareAddress, HoldOff, Record, Timestamp, Voucher, VoucherHash};

/// Superseded records that are put up with before the rest is moved together.
const SUPERSEDED_MIN: usize = 4096;

/// Bytes of records that are kept and let go of together, about. It is more than glibc ever takes from its
/// heap (32 MiB), so that it goes back to the system when it is let go of, and leaves no holes between what
/// the core makes of it meanwhile. Only what is written to takes memory.
const CHUNK_BYTES: usize = 33 * 1024 * 1024;

/// The records replayed so far, folded.
#[derive(Debug, Default)]
pub(super) struct Book {
    kept: Kept,
    newest: Newest,
    superseded: usize,
    /// The largest [`Record::Time`].
    time: Option<Timestamp>,
    /// All of [`Record::HoldOff`] together.
    hold_off: Option<HoldOff>,
    /// The newest states of the failover pair.
    failover: Option<FailoverRecord>,
    /// The latest of [`ExchangeRecord::ForgottenThrough`].
    forgotten_through: Option<HybridTime>,
    /// The largest time in any record.
    newest_time: Timestamp,
    /// Records replayed.
    replayed: u64,
}

/// Encoded records in the order of replay, superseded ones among them.
#[derive(Debug, Default)]
struct Kept {
    chunks: Vec<Vec<u8>>,
    records: usize,
}

/// The place of the newest record of each thing, counted from 0 in the order of replay.
#[derive(Debug, Default)]
struct Newest {
    leases: Places,
    pair: Places,
    registrations: HashMap<HardwareAddress, usize>,
    vouchers: HashMap<VoucherHash, usize>,
}

/// A place for each address, by pages of 256 addresses: leases stand close together, and a million of
/// them have to be found again before the server is ready.
#[derive(Debug, Default)]
struct Places(BTreeMap<[u8; 3], Box<[Option<NonZeroU32>; 256]>>);

impl Places {
    /// The place that the address had before.
    fn insert(&mut self, address: Ipv4Addr, place: usize) -> Option<NonZeroU32> {
        let [a, b, c, d] = address.octets();
        // A book in memory has fewer records than a u32 has values.
        let place = u32::try_from(place + 1).ok().and_then(NonZeroU32::new);
        let page = self.0.entry([a, b, c]).or_insert_with(|| Box::new([None; 256]));
        std::mem::replace(&mut page[usize::from(d)], place)
    }

    fn remove(&mut self, address: Ipv4Addr) -> Option<NonZeroU32> {
        let [a, b, c, d] = address.octets();
        self.0.get_mut(&[a, b, c])?[usize::from(d)].take()
    }

    fn get(&self, address: Ipv4Addr) -> Option<usize> {
        let [a, b, c, d] = address.octets();
        let place = self.0.get(&[a, b, c])?[usize::from(d)]?;
        usize::try_from(place.get() - 1).ok()
    }
}

/// The time that a record states to have been, if it does: the ends of leases and registrations lie
/// ahead, and do not count.
pub(super) fn time_of(record: &Record) -> Option<Timestamp> {
    match record {
        Record::Lease(lease) => Some(lease.changed),
        Record::Registration(registration) => Some(registration.registered),
        Record::Time(time) => Some(*time),
        Record::HoldOff(hold_off) => Some(hold_off.since),
        Record::Voucher(voucher) => {
            let used = voucher.uses.iter().map(|one| one.since).max();
            Some(used.map_or(voucher.created, |used| used.max(voucher.created)))
        }
        // By this server's own clock; what the partner dates by its own does not count.
        Record::Exchange(
            ExchangeRecord::Registration { taken, .. } | ExchangeRecord::Ended { taken, .. },
        ) => Some(*taken),
        Record::LeaseForgotten(_)
        | Record::RegistrationRemoved(_)
        | Record::VoucherRemoved(_)
        | Record::Failover(_)
        | Record::PairBinding(_)
        | Record::Exchange(_) => None,
    }
}

impl Book {
    /// Replays one record; `bytes` are those that it was decoded from.
    pub(super) fn apply(&mut self, record: &Record, bytes: &[u8]) {
        self.replayed += 1;
        self.newest_time = time_of(record).map_or(self.newest_time, |t| t.max(self.newest_time));
        let place = self.kept.records;
        let newest = &mut self.newest;
        let supersedes = match record {
            Record::Lease(lease) => newest.leases.insert(lease.address, place).is_some(),
            Record::LeaseForgotten(address) => {
                newest.pair.remove(*address);
                newest.leases.remove(*address).is_some()
            }
            Record::Registration(registration) => {
                newest.registrations.insert(registration.hardware, place).is_some()
            }
            Record::RegistrationRemoved(hardware) => {
                newest.registrations.remove(hardware).is_some()
            }
            Record::Voucher(voucher) => newest.vouchers.insert(voucher.hash, place).is_some(),
            Record::VoucherRemoved(hash) => newest.vouchers.remove(hash).is_some(),
            Record::Time(time) => {
                self.time = self.time.max(Some(*time));
                false
            }
            Record::HoldOff(found) => {
                self.hold_off = Some(self.hold_off.map_or(*found, |before| before.and(*found)));
                false
            }
            Record::Failover(failover) => {
                self.failover = Some(*failover);
                false
            }
            Record::PairBinding(binding) => newest.pair.insert(binding.address, place).is_some(),
            Record::Exchange(exchanged) => match exchanged {
                ExchangeRecord::Registration { registration, .. } => {
                    newest.registrations.insert(registration.hardware, place).is_some()
                }
                ExchangeRecord::Ended { hardware, .. } => {
                    newest.registrations.insert(*hardware, place).is_some()
                }
                ExchangeRecord::VoucherRevoked { hash, .. } => {
                    newest.vouchers.insert(*hash, place).is_some()
                }
                ExchangeRecord::EndForgotten { hardware, through } => {
                    self.forgotten_through = self.forgotten_through.max(Some(*through));
                    newest.registrations.remove(hardware).is_some()
                }
                ExchangeRecord::ForgottenThrough(through) => {
                    self.forgotten_through = self.forgotten_through.max(Some(*through));
                    false
                }
            },
        };
        self.superseded += usize::from(supersedes);
        let is_kept = matches!(
            record,
            Record::Lease(_)
                | Record::Registration(_)
                | Record::Voucher(_)
                | Record::PairBinding(_)
                | Record::Exchange(
                    ExchangeRecord::Registration { .. }
                        | ExchangeRecord::Ended { .. }
                        | ExchangeRecord::VoucherRevoked { .. }
                )
        );
        if is_kept {
            self.kept.push(bytes);
        }
        if self.superseded >= SUPERSEDED_MIN && self.superseded > self.kept.records / 2 {
            self.move_together();
        }
    }

    /// Records replayed.
    pub(super) fn replayed(&self) -> u64 {
        self.replayed
    }

    /// The largest time in any record.
    pub(super) fn newest_time(&self) -> Timestamp {
        self.newest_time
    }

    /// The hold-off, if records were ever lost.
    pub(super) fn hold_off(&self) -> Option<HoldOff> {
        self.hold_off
    }

    /// The book as records, each made when it is taken. What was forgotten or removed is not among them:
    /// against an empty book, its absence says the same.
    pub(super) fn into_records(self) -> impl Iterator<Item = Record> + Send {
        let Self { kept, newest, time, hold_off, failover, forgotten_through, .. } = self;
        let forgotten_through = forgotten_through.map(ExchangeRecord::ForgottenThrough);
        kept.into_records()
            .filter(move |(place, record)| newest.is(*place, record))
            .map(|(_, record)| record)
            .chain(time.map(Record::Time))
            .chain(hold_off.map(Record::HoldOff))
            .chain(failover.map(Record::Failover))
            .chain(forgotten_through.map(Record::Exchange))
    }

    fn move_together(&mut self) {
        let (kept, newest) = (std::mem::take(&mut self.kept), std::mem::take(&mut self.newest));
        self.superseded = 0;
        let mut place = 0;
        for chunk in kept.chunks {
            let mut records = record::decode(&chunk);
            while let Some(record) = records.next() {
                let record = record.expect(KEPT);
                if newest.is(place, &record) {
                    match &record {
                        Record::Lease(lease) => {
                            self.newest.leases.insert(lease.address, self.kept.records);
                        }
                        Record::PairBinding(binding) => {
                            self.newest.pair.insert(binding.address, self.kept.records);
                        }
                        Record::Registration(registration) => {
                            let hardware = registration.hardware;
                            self.newest.registrations.insert(hardware, self.kept.records);
                        }
                        Record::Voucher(Voucher { hash, .. })
                        | Record::Exchange(ExchangeRecord::VoucherRevoked { hash, .. }) => {
                            self.newest.vouchers.insert(*hash, self.kept.records);
                        }
                        Record::Exchange(ExchangeRecord::Registration { registration, .. }) => {
                            let hardware = registration.hardware;
                            self.newest.registrations.insert(hardware, self.kept.records);
                        }
                        Record::Exchange(ExchangeRecord::Ended { hardware, .. }) => {
                            self.newest.registrations.insert(*hardware, self.kept.records);
                        }
                        _ => {}
                    }
                    self.kept.push(records.last_bytes());
                }
                place += 1;
            }
        }
    }
}

/// What was decoded before it was kept can be decoded again.
const KEPT: &str = "what is kept was decoded before";

impl Kept {
    fn push(&mut self, record: &[u8]) {
        if self.chunks.last().is_none_or(|chunk| chunk.len() + record.len() > CHUNK_BYTES) {
            self.chunks.push(Vec::with_capacity(CHUNK_BYTES));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.extend_from_slice(record);
            self.records += 1;
        }
    }

    /// The records with their places. Each chunk is let go of when it has been gone through.
    fn into_records(self) -> impl Iterator<Item = (usize, Record)> + Send {
        self.chunks
            .into_iter()
            .flat_map(|chunk| {
                let mut offset = 0;
                std::iter::from_fn(move || {
                    let mut rest = record::decode(chunk.get(offset..)?);
                    let record = rest.next()?.expect(KEPT);
                    offset = chunk.len() - rest.bytes_left();
                    Some(record)
                })
            })
            .enumerate()
    }
}

impl Newest {
    /// Whether the record at this place is the newest of its thing.
    fn is(&self, place: usize, record: &Record) -> bool {
        let newest = match record {
            Record::Lease(lease) => self.leases.get(lease.address),
            Record::PairBinding(binding) => self.pair.get(binding.address),
            Record::Registration(registration)
            | Record::Exchange(ExchangeRecord::Registration { registration, .. }) => {
                self.registrations.get(&registration.hardware).copied()
            }
            Record::Exchange(ExchangeRecord::Ended { hardware, .. }) => {
                self.registrations.get(hardware).copied()
            }
            Record::Voucher(Voucher { hash, .. })
            | Record::Exchange(ExchangeRecord::VoucherRevoked { hash, .. }) => {
                self.vouchers.get(hash).copied()
            }
            _ => None,
        };
        newest == Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vestibule_core::failover::Role;
    use vestibule_core::failover::{PairBinding, PartnerState, State};
    use vestibule_core::{Registration, VoucherUse};

    fn registration(number: u32, time: u64) -> Record {
        let [a, b, c, d] = number.to_be_bytes();
        let hardware = HardwareAddress::ethernet([2, 0, a, b, c, d]);
        Record::Registration(Registration::of(hardware, Timestamp::from_seconds(time)))
    }

    fn apply(book: &mut Book, record: &Record) {
        let mut bytes = Vec::new();
        record::encode(record, &mut bytes).unwrap();
        book.apply(record, &bytes);
    }

    #[test]
    fn a_voucher_is_kept_with_its_newest_uses_until_it_is_removed() {
        let voucher = |number: u8, uses: u64| {
            let hardware = HardwareAddress::ethernet([2; 6]);
            let since = |second| VoucherUse {
                hardware,
                since: Timestamp::from_seconds(1000 + second),
                ends: None,
            };
            Record::Voucher(Voucher {
                hash: VoucherHash::new([number; 32]),
                role: None,
                note: None,
                lifetime_seconds: None,
                uses_max: 9,
                created: Timestamp::from_seconds(1000),
                expires: Timestamp::from_seconds(9_000_000),
                uses: (0..uses).map(since).collect(),
            })
        };
        let mut book = Book::default();
        for record in [voucher(1, 0), voucher(2, 0), voucher(1, 3), voucher(3, 0)] {
            apply(&mut book, &record);
        }
        apply(&mut book, &Record::VoucherRemoved(VoucherHash::new([2; 32])));
        assert_eq!(book.newest_time(), Timestamp::from_seconds(1002), "of a use, not of an end");
        book.move_together();
        assert_eq!(book.into_records().collect::<Vec<_>>(), [voucher(1, 3), voucher(3, 0)]);
    }

    #[test]
    fn what_was_exchanged_is_kept_with_its_end_until_that_is_forgotten() {
        let stamp = |milliseconds| HybridTime { milliseconds, counter: 0, server: Role::Primary };
        let hardware = |number: u8| HardwareAddress::ethernet([2, 0, 0, 0, 0, number]);
        // The partner's clock says that it registered the device in the year 2286.
        let exchanged = |number: u8, at: u64| {
            Record::Exchange(ExchangeRecord::Registration {
                registration: Registration::of(
                    hardware(number),
                    Timestamp::from_seconds(9_999_999_999),
                ),
                stamp: stamp(at),
                taken: Timestamp::from_seconds(at),
                devices_counted: 1,
            })
        };
        let ended = |number: u8, at: u64| {
            Record::Exchange(ExchangeRecord::Ended {
                hardware: hardware(number),
                stamp: stamp(at),
                taken: Timestamp::from_seconds(at),
                is_by_time: false,
            })
        };
        let forgotten = |number: u8, at: u64| {
            let (hardware, through) = (hardware(number), stamp(at));
            Record::Exchange(ExchangeRecord::EndForgotten { hardware, through })
        };
        let revoked = Record::Exchange(ExchangeRecord::VoucherRevoked {
            hash: VoucherHash::new([7; 32]),
            expires: Timestamp::from_seconds(5000),
        });
        let mut book = Book::default();
        for record in [
            registration(1, 10),
            exchanged(1, 20),
            exchanged(2, 21),
            ended(2, 22),
            ended(3, 23),
            forgotten(3, 23),
            // Registered anew after that.
            exchanged(3, 24),
            ended(4, 25),
            forgotten(4, 19),
            revoked.clone(),
        ] {
            apply(&mut book, &record);
        }
        assert_eq!(book.newest_time(), Timestamp::from_seconds(25));
        book.move_together();
        let records: Vec<Record> = book.into_records().collect();
        let through = Record::Exchange(ExchangeRecord::ForgottenThrough(stamp(23)));
        let expected = [exchanged(1, 20), ended(2, 22), exchanged(3, 24), revoked, through];
        assert_eq!(records, expected);
    }

    #[test]
    fn the_newest_image_of_each_thing_stays_in_the_order_of_its_last_record() {
        let mut book = Book::default();
        let failover = FailoverRecord {
            state: State::Normal,
            since: 1,
            partner: PartnerState::Unknown,
            partner_since: 7,
            mclt_seconds: 600,
            hash_buckets: None,
        };
        for round in 0..10 {
            for number in 0..2000 {
                apply(&mut book, &registration(number, round * 10_000 + u64::from(number)));
            }
        }
        apply(&mut book, &registration(5, 200_000));
        apply(&mut book, &Record::Time(Timestamp::from_seconds(9)));
        let Record::Registration(gone) = registration(7, 0) else { unreachable!() };
        apply(&mut book, &Record::RegistrationRemoved(gone.hardware));
        apply(&mut book, &Record::RegistrationRemoved(gone.hardware));
        for (round, partner_since) in (0..2).zip(7..) {
            for number in 0..3_u32 {
                let since = round * 10 + number;
                let binding = PairBinding { since, ..PairBinding::untouched(number.into()) };
                apply(&mut book, &Record::PairBinding(binding));
            }
            apply(&mut book, &Record::Failover(FailoverRecord { partner_since, ..failover }));
        }
        apply(&mut book, &Record::LeaseForgotten(Ipv4Addr::from(1)));
        assert_eq!(book.replayed(), 20_013);
        assert_eq!(book.newest_time(), Timestamp::from_seconds(200_000));
        let mut expected: Vec<Record> = (0..2000)
            .filter(|number| ![5, 7].contains(number))
            .map(|number| registration(number, 90_000 + u64::from(number)))
            .collect();
        expected.push(registration(5, 200_000));
        for (number, since) in [(0_u32, 10), (2, 12)] {
            let binding = PairBinding { since, ..PairBinding::untouched(number.into()) };
            expected.push(Record::PairBinding(binding));
        }
        expected.push(Record::Time(Timestamp::from_seconds(9)));
        expected.push(Record::Failover(FailoverRecord { partner_since: 8, ..failover }));
        assert_eq!(book.into_records().collect::<Vec<_>>(), expected);
    }
}
