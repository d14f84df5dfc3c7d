//! What is counted: each operation of the packet's way a thousand times, on inputs that are always the same.
//!
//! The book holds 10,000 leases of five subnets that are 99 % full, of the campus that
//! [`crate::scale::population`] describes. Each operation is done a hundred times before it is counted,
//! so that buffers and tables have grown. What prepares it, and what puts the book back after it, is
//! not counted; giving back the memory that it took is.

use super::InstructionsError;
use crate::scale::population;
use std::hint::black_box;
use std::net::Ipv4Addr;
use vestibule_core::{
    Effect, Effects, Input, MessageType, Record, Reply, Request, Sequence, Server, Timestamp,
};
use vestibule_dhcpd::store::{Store, StoreError, StoreOptions};
use vestibule_dhcpd::wire;

/// Leases in the book.
const RESIDENTS: u32 = 10_000;
/// Times that are not counted, at the beginning.
const WARM_UP: u32 = 100;
/// Times that are.
const COUNTED: u32 = 1000;
/// Records in a commit of the journal: as many as a burst of 64 exchanges makes.
const RECORDS_PER_COMMIT: u32 = 64;
/// When it all happens.
const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

/// Something to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A DISCOVER's bytes to a request.
    DecodeDiscover,
    /// A unicast renewal's bytes to a request.
    DecodeRenewal,
    /// The core's step for a DISCOVER of a device that is not known.
    StepDiscover,
    /// For the REQUEST that selects what was offered to it.
    StepRequest,
    /// For a renewal past half of the lifetime.
    StepRenewal,
    /// For the word that one record is durable.
    StepCommitted,
    /// An OFFER to bytes.
    EncodeOffer,
    /// An ACK to bytes.
    EncodeAck,
    /// One of the records of a commit, with the system calls' user side.
    JournalRecord,
}

/// All of them by name, in the order of a packet's way.
pub const OPERATIONS: [(&str, Operation); 9] = [
    ("decode-discover", Operation::DecodeDiscover),
    ("decode-renewal", Operation::DecodeRenewal),
    ("step-discover", Operation::StepDiscover),
    ("step-request", Operation::StepRequest),
    ("step-renewal", Operation::StepRenewal),
    ("journal-record", Operation::JournalRecord),
    ("step-committed", Operation::StepCommitted),
    ("encode-offer", Operation::EncodeOffer),
    ("encode-ack", Operation::EncodeAck),
];

impl Operation {
    /// How often a run does it under count.
    #[must_use]
    pub fn times(self) -> u64 {
        let parts = if self == Self::JournalRecord { RECORDS_PER_COMMIT } else { 1 };
        u64::from(COUNTED) * u64::from(parts)
    }
}

/// What callgrind counts is what happens below this function: it is told its name.
#[inline(never)]
pub fn counted_by_callgrind<T>(operation: impl FnOnce() -> T) -> T {
    operation()
}

/// Does it, under count only if `counted`.
fn maybe_counted<T>(counted: bool, operation: impl FnOnce() -> T) -> T {
    if counted { counted_by_callgrind(operation) } else { operation() }
}

/// Whether each turn is counted.
fn turns() -> impl Iterator<Item = (u32, bool)> {
    (0..WARM_UP + COUNTED).map(|turn| (turn, turn >= WARM_UP))
}

/// A device for each turn, in an order without a pattern, none twice.
const fn resident(turn: u32) -> u32 {
    turn * 7919 % RESIDENTS
}

/// One that nobody has seen, in a subnet where others live.
const fn stranger(turn: u32) -> u32 {
    population::SUBNETS * population::DEVICES_PER_SUBNET + resident(turn)
}

/// Does what is to be counted.
///
/// # Errors
/// [`InstructionsError::Program`] if the store fails.
///
/// # Panics
/// If the server does not answer as it must: then the count is of something else.
pub fn run(operation: Operation) -> Result<(), InstructionsError> {
    match operation {
        Operation::DecodeDiscover => {
            decode(|device| population::request(device, MessageType::Discover));
        }
        Operation::DecodeRenewal => decode(population::renewal),
        Operation::StepDiscover
        | Operation::StepRequest
        | Operation::StepRenewal
        | Operation::StepCommitted => step(operation),
        Operation::EncodeOffer | Operation::EncodeAck => encode(operation),
        Operation::JournalRecord => {
            return journal().map_err(|error| InstructionsError::Program {
                name: "store".to_owned(),
                said: error.to_string(),
            });
        }
    }
    Ok(())
}

fn decode(request: impl Fn(u32) -> Request) {
    for (turn, counted) in turns() {
        let wanted = request(resident(turn));
        let bytes = message(&wanted);
        let arrival = wanted.arrival;
        let decoded =
            maybe_counted(counted, || black_box(wire::decode(black_box(&bytes), arrival)).is_ok());
        assert!(decoded, "a good message is decoded");
    }
}

fn step(operation: Operation) {
    let mut campus = Campus::new();
    for (turn, counted) in turns() {
        let count = counted.then_some(operation);
        if operation == Operation::StepRenewal {
            let (sequence, reply) = campus.step(&population::renewal(resident(turn)), counted);
            assert!(reply.is_some() && sequence.is_some(), "a renewal is granted and written");
            campus.committed(sequence, false);
        } else {
            campus.visit(stranger(turn), count);
        }
    }
}

fn encode(operation: Operation) {
    let mut campus = Campus::new();
    let mut buffer = Vec::with_capacity(wire::MESSAGE_LENGTH_MAX);
    for (turn, counted) in turns() {
        let [offer, ack] = campus.visit(stranger(turn), None);
        let reply = if operation == Operation::EncodeOffer { offer } else { ack };
        let encoded = maybe_counted(counted, || {
            // The last use of a reply: its memory goes with it.
            let reply = black_box(reply);
            wire::encode(&reply, &mut buffer)
        });
        assert_eq!(encoded, Ok(()));
        black_box(&buffer);
    }
}

fn journal() -> Result<(), StoreError> {
    let directory = tempfile::tempdir().expect("a folder for files that are not kept");
    let options = StoreOptions { spares_in_background: false, ..StoreOptions::default() };
    let (mut store, _) = Store::open(directory.path(), options)?;
    for (turn, counted) in turns() {
        let devices = turn * RECORDS_PER_COMMIT..(turn + 1) * RECORDS_PER_COMMIT;
        let records: Vec<_> =
            devices.map(|device| Record::Lease(population::lease(device, NOW, 60))).collect();
        maybe_counted(counted, || store.commit(black_box(&records)))?;
    }
    Ok(())
}

/// The server with its residents, and a clock for it.
struct Campus {
    server: Server,
    effects: Effects,
    now: Timestamp,
}

impl Campus {
    fn new() -> Self {
        // Past half of their lifetime, so that each renewal is a new lease.
        let half = u64::from(population::LIFETIME_SECONDS / 2);
        let records = (0..RESIDENTS).map(|device| {
            Record::Lease(population::lease(device, NOW, half + u64::from(device % 1000)))
        });
        let server = Server::new(population::configuration(), [population::SERVER], records, NOW);
        Self { server, effects: Effects::new(), now: NOW }
    }

    /// One packet, with the reply to it.
    fn step(&mut self, request: &Request, counted: bool) -> (Option<Sequence>, Option<Box<Reply>>) {
        self.now = Timestamp::from_milliseconds(self.now.milliseconds() + 1);
        maybe_counted(counted, || {
            let input = Input::Packet(black_box(request));
            let sequence = self.server.step(self.now, input, &mut self.effects);
            let mut found = None;
            for effect in self.effects.drain() {
                if let Effect::Reply { reply, .. } = effect {
                    found = Some(reply);
                }
            }
            (sequence, found)
        })
    }

    fn committed(&mut self, sequence: Option<Sequence>, counted: bool) {
        let Some(sequence) = sequence else { return };
        maybe_counted(counted, || {
            self.server.step(self.now, Input::Committed(sequence), &mut self.effects);
            self.effects.drain().for_each(drop);
        });
    }

    /// A device comes, gets an address, and goes again, so that the next one finds the subnet as it did.
    fn visit(&mut self, device: u32, counted: Option<Operation>) -> [Reply; 2] {
        let counts = |operation| counted == Some(operation);
        let discover = population::request(device, MessageType::Discover);
        let (_, offer) = self.step(&discover, counts(Operation::StepDiscover));
        let offer = offer.expect("there is an address");
        let address = offer.yiaddr;
        let (sequence, ack) =
            self.step(&selecting(device, address), counts(Operation::StepRequest));
        let ack = ack.expect("what was offered is granted");
        self.committed(sequence, counts(Operation::StepCommitted));
        let mut leaving = population::release(device);
        leaving.ciaddr = address;
        leaving.arrival.source.set_ip(address);
        let (sequence, _) = self.step(&leaving, false);
        assert!(sequence.is_some(), "a RELEASE is written");
        self.committed(sequence, false);
        [*offer, *ack]
    }
}

fn selecting(device: u32, address: Ipv4Addr) -> Request {
    Request {
        requested_address: Some(address),
        server_identifier: Some(population::SERVER),
        ..population::request(device, MessageType::Request)
    }
}

/// The bytes that a relay or client sends for a request of the population's.
fn message(request: &Request) -> Vec<u8> {
    let mut bytes = vec![1, 1, 6, request.hops];
    bytes.extend(request.xid.to_be_bytes());
    bytes.extend([request.secs, request.flags].map(u16::to_be_bytes).concat());
    bytes.extend(request.ciaddr.octets());
    bytes.extend([0; 8]);
    bytes.extend(request.giaddr.octets());
    bytes.extend(request.chaddr);
    bytes.extend([0; 64 + 128]);
    bytes.extend([99, 130, 83, 99]);
    let mut option = |code: u8, contents: &[u8]| {
        bytes.extend([code, u8::try_from(contents.len()).expect("short contents")]);
        bytes.extend(contents);
    };
    option(53, &[request.message_type as u8]);
    if let Some(identifier) = &request.client_identifier {
        option(61, identifier);
    }
    if let Some(size) = request.maximum_message_size {
        option(57, &size.to_be_bytes());
    }
    option(55, &request.parameter_request_list);
    if let Some(name) = &request.host_name {
        option(12, name);
    }
    if let Some(information) = &request.relay_agent {
        option(82, information.raw());
    }
    bytes.push(255);
    bytes.resize(bytes.len().max(wire::MESSAGE_LENGTH_PADDED), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_request() {
        for device in 0..6 {
            for request in
                [population::request(device, MessageType::Discover), population::renewal(device)]
            {
                let decoded = wire::decode(&message(&request), request.arrival);
                assert_eq!(decoded, Ok(request));
            }
        }
    }

    #[test]
    fn every_operation_can_be_done() {
        for (name, operation) in OPERATIONS {
            // Not the one that writes ten megabytes.
            if operation != Operation::JournalRecord {
                run(operation).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }
}
