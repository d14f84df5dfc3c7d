//! Every ACK that the clients got, and what may never happen to them.
//!
//! The file has one JSON object a line, written as the ACK arrives by one `write` each, so that it
//! is whole up to the last ACK even if the process is killed; a last line that is cut off counts as
//! not written. Times in it are milliseconds since the Unix epoch, because it outlives the process.
//!
//! It promises to find two clients with one address, terms other than offered (address, lifetime,
//! server), and a lease that was lost before it ended. It believes only what a server said.

use crate::client::Offer;
use crate::message::Hardware;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;

/// Bytes of the longest line that is read.
pub const LINE_LENGTH_MAX: usize = 1024;

/// One ACK, or the end of a lease by its client's own wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// When it arrived.
    pub at: u64,
    /// Whose lease it is: its hardware address.
    pub client: String,
    /// The address.
    pub address: Ipv4Addr,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// When the lease ends, reckoned from the arrival of the ACK. A server reckons from a moment
    /// before that, so the last second of it is nobody's promise.
    pub ends: u64,
    /// Whether the client gave it back at `at`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
}

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An address was acknowledged to a client while another one still had it.
    DuplicateAddress {
        /// The address.
        address: Ipv4Addr,
        /// Who had it.
        holder: Hardware,
        /// Until when.
        until: u64,
        /// Who got it, too.
        other: Hardware,
        /// When.
        at: u64,
    },
    /// A client was acknowledged another address than it had been offered.
    OtherTerms {
        /// The client.
        client: Hardware,
        /// What it was offered.
        offered: Ipv4Addr,
        /// What it was acknowledged.
        acknowledged: Ipv4Addr,
    },
    /// A client was acknowledged a lease for less time than it had been offered.
    ShortenedLease {
        /// The client.
        client: Hardware,
        /// The address.
        address: Ipv4Addr,
        /// What it was offered, in seconds.
        offered_seconds: u32,
        /// What it was acknowledged, in seconds.
        acknowledged_seconds: u32,
    },
    /// An ACK named another server than the one whose offer the client had taken.
    OtherServer {
        /// The client.
        client: Hardware,
        /// The server whose offer it took.
        offered: Ipv4Addr,
        /// The server identifier in the ACK.
        acknowledged: Ipv4Addr,
    },
    /// A lease was refused to its holder before its end.
    LeaseLost {
        /// The client.
        client: Hardware,
        /// Its address.
        address: Ipv4Addr,
        /// When it should have ended.
        until: u64,
        /// When it was refused.
        at: u64,
    },
}

impl Violation {
    /// The rule that it breaks, in a fixed wording: `duplicate-address`, `other-terms`, `shortened-lease`,
    /// `other-server`, `lease-lost`.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::DuplicateAddress { .. } => "duplicate-address",
            Self::OtherTerms { .. } => "other-terms",
            Self::ShortenedLease { .. } => "shortened-lease",
            Self::OtherServer { .. } => "other-server",
            Self::LeaseLost { .. } => "lease-lost",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateAddress { address, holder, until, other, at } => write!(
                f,
                "{address} was acknowledged to {other} at {at}, and {holder} has it until {until}"
            ),
            Self::OtherTerms { client, offered, acknowledged } => {
                write!(f, "{client} was offered {offered} and acknowledged {acknowledged}")
            }
            Self::ShortenedLease { client, address, offered_seconds, acknowledged_seconds } => {
                write!(
                    f,
                    "{client} was offered {address} for {offered_seconds} s and acknowledged it for \
                 {acknowledged_seconds} s"
                )
            }
            Self::OtherServer { client, offered, acknowledged } => {
                write!(f, "{client} took an offer of {offered}, and the ACK names {acknowledged}")
            }
            Self::LeaseLost { client, address, until, at } => {
                write!(f, "{client} was refused {address} at {at}, and has it until {until}")
            }
        }
    }
}

/// A lease as its client believes in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The client.
    pub client: Hardware,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// When it ends.
    pub ends: u64,
}

/// Milliseconds before the reckoned end in which a lease counts as over already: the server's clock
/// began a little earlier, and the ACK was some time on its way.
const END_UNCERTAIN_MILLISECONDS: u64 = 1000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    by_address: HashMap<Ipv4Addr, Holding>,
    by_client: HashMap<Hardware, Ipv4Addr>,
}

impl Ledger {
    /// Notes an ACK. A client has one lease: a new address ends its former one. `offered`: the terms of
    /// the offer that it answers, if it answers one, with the lifetime of the ACK in seconds.
    pub fn acknowledged(
        &mut self,
        at: u64,
        address: Ipv4Addr,
        holding: Holding,
        offered: Option<(Offer, u32)>,
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        let client = holding.client;
        if let Some((offer, acknowledged_seconds)) = offered {
            if offer.address != address {
                let offered = offer.address;
                violations.push(Violation::OtherTerms { client, offered, acknowledged: address });
            }
            if acknowledged_seconds < offer.lifetime_seconds {
                violations.push(Violation::ShortenedLease {
                    client,
                    address,
                    offered_seconds: offer.lifetime_seconds,
                    acknowledged_seconds,
                });
            }
            if offer.server != holding.server {
                violations.push(Violation::OtherServer {
                    client,
                    offered: offer.server,
                    acknowledged: holding.server,
                });
            }
        }
        if let Some(other) = self.by_address.get(&address)
            && other.client != client
            && at < other.ends.saturating_sub(END_UNCERTAIN_MILLISECONDS)
        {
            violations.push(Violation::DuplicateAddress {
                address,
                holder: other.client,
                until: other.ends,
                other: client,
                at,
            });
        }
        self.forget(client);
        if let Some(other) = self.by_address.insert(address, holding) {
            self.by_client.remove(&other.client);
        }
        self.by_client.insert(client, address);
        violations
    }

    /// Notes that a server refused a client its lease.
    pub fn refused(&mut self, at: u64, client: Hardware) -> Option<Violation> {
        let (address, holding) = self.forget(client)?;
        (at < holding.ends.saturating_sub(END_UNCERTAIN_MILLISECONDS))
            .then_some(Violation::LeaseLost { client, address, until: holding.ends, at })
    }

    /// Notes that a client gave its lease back, or let it end.
    pub fn ended(&mut self, client: Hardware) {
        self.forget(client);
    }

    /// Every lease that is surely not over at `at`, by its address.
    pub fn held(&self, at: u64) -> impl Iterator<Item = (Ipv4Addr, Holding)> {
        let mut held: Vec<_> = self
            .by_address
            .iter()
            .filter(|(_, holding)| at < holding.ends.saturating_sub(END_UNCERTAIN_MILLISECONDS))
            .map(|(address, holding)| (*address, *holding))
            .collect();
        held.sort_unstable_by_key(|(address, _)| *address);
        held.into_iter()
    }

    fn forget(&mut self, client: Hardware) -> Option<(Ipv4Addr, Holding)> {
        let address = self.by_client.remove(&client)?;
        Some((address, self.by_address.remove(&address)?))
    }

    /// Reads a ledger file: what is held by it, and every violation in it.
    ///
    /// # Errors
    /// The file cannot be read, or a line that is not the cut-off last one is no entry.
    pub fn read(path: &Path) -> io::Result<(Self, Vec<Violation>)> {
        let mut reader = BufReader::new(File::open(path)?);
        let mut ledger = Self::default();
        let mut violations = Vec::new();
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let limit = LINE_LENGTH_MAX as u64 + 1;
            io::Read::take(&mut reader, limit).read_until(b'\n', &mut line)?;
            if line.len() > LINE_LENGTH_MAX {
                return Err(broken(number, "it is too long"));
            }
            // Whoever wrote it was killed in the middle of the line, or this is the end.
            if line.last() != Some(&b'\n') {
                break;
            }
            let entry: Entry = serde_json::from_slice(&line)
                .map_err(|error| broken(number, &error.to_string()))?;
            let client = entry.client.parse().map_err(|error: String| broken(number, &error))?;
            if entry.released {
                ledger.ended(client);
                continue;
            }
            let holding = Holding { client, server: entry.server, ends: entry.ends };
            violations.extend(ledger.acknowledged(entry.at, entry.address, holding, None));
        }
        Ok((ledger, violations))
    }
}

fn broken(number: u64, why: &str) -> io::Error {
    let message = format!("line {number} is no entry of a ledger: {why}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// A ledger file that is being written.
#[derive(Debug)]
pub struct LedgerFile {
    file: File,
}

impl LedgerFile {
    /// Opens a file to append to, or makes it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn append(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file })
    }

    /// Writes one entry.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry).map_err(io::Error::from)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 20, 0, last)
    }

    fn holding(client: u32, ends: u64) -> Holding {
        Holding { client: Hardware::of_client(client), server: SERVER, ends }
    }

    #[test]
    fn two_clients_with_one_address_are_found() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.acknowledged(0, address(1), holding(1, 60_000), None), []);
        let violations = ledger.acknowledged(10_000, address(1), holding(2, 70_000), None);
        assert!(matches!(violations[..], [Violation::DuplicateAddress { until: 60_000, .. }]));
    }

    #[test]
    fn an_ended_or_left_lease_is_free_for_others() {
        let mut ledger = Ledger::default();
        ledger.acknowledged(0, address(1), holding(1, 60_000), None);
        assert_eq!(ledger.acknowledged(60_000, address(1), holding(2, 90_000), None), []);
        assert_eq!(ledger.acknowledged(61_000, address(2), holding(2, 90_000), None), []);
        assert_eq!(ledger.acknowledged(62_000, address(1), holding(3, 90_000), None), []);
        ledger.ended(Hardware::of_client(3));
        assert_eq!(ledger.acknowledged(62_000, address(1), holding(4, 90_000), None), []);
        assert_eq!(ledger.held(63_000).count(), 2);
        assert_eq!(ledger.held(89_500).count(), 0);
    }

    #[test]
    fn other_terms_and_lost_leases_are_found() {
        let mut ledger = Ledger::default();
        let offer = Offer { address: address(1), server: SERVER, lifetime_seconds: 60 };
        let mut acknowledged = |offer, seconds| {
            ledger.acknowledged(0, address(1), holding(1, 60_000), Some((offer, seconds)))
        };
        assert_eq!(acknowledged(offer, 60), []);
        let violations = acknowledged(Offer { address: address(2), ..offer }, 60);
        assert!(matches!(violations[..], [Violation::OtherTerms { .. }]));
        let violations = acknowledged(offer, 59);
        assert!(matches!(violations[..], [Violation::ShortenedLease { .. }]));
        let violations = acknowledged(Offer { server: address(9), ..offer }, 60);
        assert!(matches!(violations[..], [Violation::OtherServer { .. }]));
        let lost = ledger.refused(30_000, Hardware::of_client(1));
        assert!(matches!(lost, Some(Violation::LeaseLost { until: 60_000, .. })));
        assert_eq!(ledger.refused(30_001, Hardware::of_client(1)), None);
    }

    fn entry(client: u32, last: u8, at: u64) -> Entry {
        Entry {
            at,
            client: Hardware::of_client(client).to_string(),
            address: address(last),
            server: SERVER,
            ends: at + 60_000,
            released: false,
        }
    }

    #[test]
    fn a_file_is_read_up_to_where_its_writer_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let mut file = LedgerFile::append(&path).unwrap();
        for (client, last) in [(1, 10), (2, 11), (3, 12)] {
            file.write(&entry(client, last, 1000)).unwrap();
        }
        file.write(&Entry { released: true, ..entry(3, 12, 2000) }).unwrap();
        file.file.write_all(b"{\"at\":3000,\"client\":\"02:56").unwrap();
        let (ledger, violations) = Ledger::read(&path).unwrap();
        assert_eq!(violations, []);
        let held: Vec<_> = ledger.held(2000).map(|(address, _)| address).collect();
        assert_eq!(held, [address(10), address(11)]);
    }

    #[test]
    fn a_broken_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let mut file = LedgerFile::append(&path).unwrap();
        file.write(&entry(1, 10, 1000)).unwrap();
        file.file.write_all(b"what is this?\n").unwrap();
        let error = Ledger::read(&path).unwrap_err().to_string();
        assert!(error.starts_with("line 2 is no entry"), "{error}");
    }
}
