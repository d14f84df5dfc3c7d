//! What replaying records ends in: the newest image of each thing, in the order of its last record.
//!
//! It bounds the memory of a start by the size of the book, however long the journal is.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use vestibule_core::{HardwareAddress, Record, Timestamp};

/// Superseded places that are put up with before the rest is moved together.
const SUPERSEDED_MIN: usize = 4096;

/// The records replayed so far, folded.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// In the order of replay; `None` is superseded.
    records: Vec<Option<Record>>,
    superseded: usize,
    leases: HashMap<Ipv4Addr, usize>,
    registrations: HashMap<HardwareAddress, usize>,
    /// The largest [`Record::Time`].
    time: Option<Timestamp>,
    /// The largest time in any record.
    newest_time: Timestamp,
    /// Records replayed.
    replayed: u64,
}

/// The time that a record states to have been, if it does: the ends of leases and registrations lie
/// ahead, and do not count.
pub(super) fn time_of(record: &Record) -> Option<Timestamp> {
    match record {
        Record::Lease(lease) => Some(lease.changed),
        Record::Registration(registration) => Some(registration.registered),
        Record::Time(time) => Some(*time),
        Record::LeaseForgotten(_) | Record::RegistrationRemoved(_) => None,
    }
}

impl Book {
    /// Replays one record.
    pub(super) fn apply(&mut self, record: Record) {
        self.replayed += 1;
        self.newest_time = time_of(&record).map_or(self.newest_time, |t| t.max(self.newest_time));
        let place = self.records.len();
        let before = match &record {
            Record::Lease(lease) => self.leases.insert(lease.address, place),
            Record::LeaseForgotten(address) => self.leases.remove(address),
            Record::Registration(registration) => {
                self.registrations.insert(registration.hardware, place)
            }
            Record::RegistrationRemoved(hardware) => self.registrations.remove(hardware),
            Record::Time(time) => {
                self.time = self.time.max(Some(*time));
                None
            }
        };
        if let Some(superseded) = before.and_then(|before| self.records.get_mut(before)) {
            *superseded = None;
            self.superseded += 1;
        }
        if matches!(record, Record::Lease(_) | Record::Registration(_)) {
            self.records.push(Some(record));
        }
        if self.superseded >= SUPERSEDED_MIN && self.superseded > self.records.len() / 2 {
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

    /// The book as records. What was forgotten or removed is not among them: against an empty book,
    /// its absence says the same.
    pub(super) fn into_records(self) -> Vec<Record> {
        let mut records: Vec<Record> = self.records.into_iter().flatten().collect();
        records.extend(self.time.map(Record::Time));
        records
    }

    fn move_together(&mut self) {
        self.records.retain(Option::is_some);
        self.superseded = 0;
        for (place, record) in self.records.iter().enumerate() {
            match record {
                Some(Record::Lease(lease)) => {
                    self.leases.insert(lease.address, place);
                }
                Some(Record::Registration(registration)) => {
                    self.registrations.insert(registration.hardware, place);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vestibule_core::Registration;

    fn registration(number: u32, time: u64) -> Record {
        let [a, b, c, d] = number.to_be_bytes();
        Record::Registration(Registration {
            hardware: HardwareAddress::ethernet([2, 0, a, b, c, d]),
            owner: None,
            registered: Timestamp::from_seconds(time),
            expires: None,
        })
    }

    #[test]
    fn the_newest_image_of_each_thing_stays_in_the_order_of_its_last_record() {
        let mut book = Book::default();
        for round in 0..10 {
            for number in 0..2000 {
                book.apply(registration(number, round * 10_000 + u64::from(number)));
            }
        }
        book.apply(registration(5, 200_000));
        book.apply(Record::Time(Timestamp::from_seconds(9)));
        let Record::Registration(gone) = registration(7, 0) else { unreachable!() };
        book.apply(Record::RegistrationRemoved(gone.hardware));
        book.apply(Record::RegistrationRemoved(gone.hardware));
        assert_eq!(book.replayed(), 20_004);
        assert_eq!(book.newest_time(), Timestamp::from_seconds(200_000));
        let mut expected: Vec<Record> = (0..2000)
            .filter(|number| ![5, 7].contains(number))
            .map(|number| registration(number, 90_000 + u64::from(number)))
            .collect();
        expected.push(registration(5, 200_000));
        expected.push(Record::Time(Timestamp::from_seconds(9)));
        assert_eq!(book.into_records(), expected);
    }
}
