//! What is open: for each address, the interval that goes on, or when the last one ended, in 25 bytes.
//!
//! It is what tells a renewal from a new holder without looking anything up. It keeps no name and no
//! option: only a keyed digest of the client and of the place, so that nobody can choose a client
//! identifier that is taken for another's.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::interval::GrantedBy;
use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::{ClientIdentifier, Lease, Timestamp};

/// Bytes of an entry, in memory and on disk.
pub(super) const ENTRY_BYTES: usize = 25;

/// What digests are keyed with: drawn when the history was begun.
pub(super) type DigestKey = [u8; 16];

/// An interval that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) from: Timestamp,
    /// When the lease ends as it is now.
    pub(super) ends: Timestamp,
    pub(super) granted_by: GrantedBy,
    /// It is over since `from`, and nothing has begun since: all that counts is that time.
    pub(super) is_over: bool,
    /// Of the client identifier and the hardware address.
    pub(super) holder: u64,
    /// Of the relay, option 82 and the host name.
    pub(super) place: u32,
}

const OURS: u8 = 1;
const PARTNERS: u8 = 2;
const OVER: u8 = 3;

const TIME_MAX: u64 = (1 << 48) - 1;

impl Open {
    /// The interval that this lease opens.
    pub(super) fn new(key: &DigestKey, lease: &Lease, from: Timestamp) -> Self {
        let ends = Timestamp::from_milliseconds(lease.ends.milliseconds().min(TIME_MAX));
        let (holder, place) = digests(key, lease);
        Self { from, ends, granted_by: GrantedBy::ThisServer, is_over: false, holder, place }
    }

    pub(super) fn pack(&self) -> [u8; ENTRY_BYTES] {
        let mut packed = [0; ENTRY_BYTES];
        let time = |time: Timestamp| time.milliseconds().min(TIME_MAX).to_le_bytes();
        let bytes = time(self.from)
            .into_iter()
            .take(6)
            .chain(time(self.ends).into_iter().take(6))
            .chain(self.holder.to_le_bytes())
            .chain(self.place.to_le_bytes())
            // Never 0: an entry of zeros is none.
            .chain([match (self.is_over, self.granted_by) {
                (true, _) => OVER,
                (false, GrantedBy::ThisServer) => OURS,
                (false, GrantedBy::Partner) => PARTNERS,
            }]);
        for (to, byte) in packed.iter_mut().zip(bytes) {
            *to = byte;
        }
        packed
    }

    pub(super) fn unpack(packed: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let granted_by = match *packed.last()? {
            OURS | OVER => GrantedBy::ThisServer,
            PARTNERS => GrantedBy::Partner,
            _ => return None,
        };
        let number = |from: usize, length: usize| {
            let bytes = packed.iter().skip(from).take(length).rev();
            bytes.fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        Some(Self {
            from: Timestamp::from_milliseconds(number(0, 6)),
            ends: Timestamp::from_milliseconds(number(6, 6)),
            holder: number(12, 8),
            place: u32::try_from(number(20, 4)).ok()?,
            granted_by,
            is_over: packed.last() == Some(&OVER),
        })
    }
}

/// Of the client, and of the place that it is at.
pub(super) fn digests(key: &DigestKey, lease: &Lease) -> (u64, u32) {
    let mut holder = Context::new(&SHA256);
    holder.update(key);
    holder.update(&[lease.hardware.hardware_type(), hardware_length(lease)]);
    holder.update(lease.hardware.bytes());
    if let ClientIdentifier::Option61(bytes) = &lease.client {
        holder.update(bytes);
    }
    let mut place = Context::new(&SHA256);
    place.update(key);
    place.update(&lease.relay.map_or([0; 4], |relay| relay.octets()));
    for bytes in [&lease.relay_agent, &lease.host_name] {
        let length = bytes.as_ref().map_or(u64::MAX, |bytes| bytes.len() as u64);
        place.update(&length.to_le_bytes());
        place.update(bytes.as_deref().unwrap_or_default());
    }
    let first = |context: Context| {
        let digest = context.finish();
        digest.as_ref().iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    (first(holder), (first(place) >> 32) as u32)
}

fn hardware_length(lease: &Lease) -> u8 {
    u8::try_from(lease.hardware.bytes().len()).unwrap_or(u8::MAX)
}

type Page = Box<[[u8; ENTRY_BYTES]; 256]>;

/// Every interval that goes on, by its address.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By the first three bytes of the address.
    pages: BTreeMap<u32, (u32, Page)>,
    count: usize,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The interval that goes on at an address.
    pub(super) fn open(&self, address: Ipv4Addr) -> Option<Open> {
        self.get(address).filter(|open| !open.is_over)
    }

    pub(super) fn get(&self, address: Ipv4Addr) -> Option<Open> {
        let [.., last] = address.octets();
        let (_, page) = self.pages.get(&(u32::from(address) >> 8))?;
        Open::unpack(page.get(usize::from(last))?)
    }

    /// Puts an entry in, or takes it out.
    pub(super) fn set(&mut self, address: Ipv4Addr, open: Option<Open>) {
        let number = u32::from(address) >> 8;
        let [.., last] = address.octets();
        let (used, page) =
            self.pages.entry(number).or_insert_with(|| (0, Box::new([[0; ENTRY_BYTES]; 256])));
        let Some(slot) = page.get_mut(usize::from(last)) else { return };
        let was_there = slot.last() != Some(&0);
        *slot = open.map_or([0; ENTRY_BYTES], |open| open.pack());
        match (was_there, open.is_some()) {
            (false, true) => {
                *used += 1;
                self.count += 1;
            }
            (true, false) => {
                *used -= 1;
                self.count -= 1;
            }
            _ => {}
        }
        if *used == 0 {
            self.pages.remove(&number);
        }
    }

    /// Every interval that goes on, from this address on, in order. What is over costs one look.
    pub(super) fn open_from(&self, address: u32) -> impl Iterator<Item = (Ipv4Addr, Open)> + '_ {
        let pages = self.pages.range(address >> 8..);
        pages
            .flat_map(|(number, (_, page))| {
                let open = page.iter().enumerate().filter(|(_, packed)| {
                    packed.last().is_some_and(|kind| matches!(*kind, OURS | PARTNERS))
                });
                open.filter_map(move |(last, packed)| {
                    let last = u32::try_from(last).ok()?;
                    Some((Ipv4Addr::from(number << 8 | last), Open::unpack(packed)?))
                })
            })
            .filter(move |(found, _)| u32::from(*found) >= address)
    }

    /// Every entry from this address on, in order.
    pub(super) fn iter_from(&self, address: u32) -> impl Iterator<Item = (Ipv4Addr, Open)> + '_ {
        let pages = self.pages.range(address >> 8..);
        pages
            .flat_map(|(number, (_, page))| {
                page.iter().enumerate().filter_map(move |(last, packed)| {
                    let last = u32::try_from(last).ok()?;
                    Some((Ipv4Addr::from(number << 8 | last), Open::unpack(packed)?))
                })
            })
            .filter(move |(found, _)| u32::from(*found) >= address)
    }
}
