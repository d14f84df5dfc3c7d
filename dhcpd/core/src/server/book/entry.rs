//! One address's lease as the book keeps it: all of it, in as few bytes as it takes.
//!
//! A server may know a million leases, so each byte here is a megabyte. What every lease has stands in
//! a slot of 64 bytes, one line of the processor's cache; what has no fixed length, or what few leases
//! have, stands in one [block](super::blocks). Most hardware addresses are Ethernet, and most clients go
//! by theirs, with or without the type before it (RFC 2132 section 9.14): then it stands there once.

use super::Standing;
use super::blocks::{BlockId, Blocks};
use super::ends::Place;
use super::siphash::{self, HashKey};
use super::table::SlotId;
use crate::failover::load_balance::bucket;
use crate::{BindingState, ClientIdentifier, HardwareAddress, Lease, Request, Timestamp};
use std::net::Ipv4Addr;

const STATE: u8 = 0b0000_0011;
const STATE_ACTIVE: u8 = 0;
const STATE_RELEASED: u8 = 1;
const STATE_DECLINED: u8 = 2;
const HAS_RELAY: u8 = 0b0000_0100;
const IS_ETHERNET: u8 = 0b0000_1000;
const CLIENT: u8 = 0b0011_0000;
/// The client is the hardware address.
const CLIENT_IS_HARDWARE: u8 = 0;
/// Option 61 is the Ethernet address with its type before it.
const CLIENT_IS_TYPED_ETHERNET: u8 = 0b0001_0000;
/// Option 61 stands in the block.
const CLIENT_IN_BLOCK: u8 = 0b0010_0000;
/// The client is a hardware address, another one, and stands in the block.
const CLIENT_HARDWARE_IN_BLOCK: u8 = 0b0011_0000;
const HAS_RELAY_AGENT: u8 = 0b0100_0000;
const HAS_HOST_NAME: u8 = 0b1000_0000;

/// Bytes of an option 61 that is an Ethernet address with its type.
const TYPED_ETHERNET_BYTES: usize = 7;

/// What every lease has. The links belong to the [finder](super::finder) and to the
/// [queue of ends](super::ends).
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    started: Timestamp,
    changed: Timestamp,
    ends: Timestamp,
    address: u32,
    relay: u32,
    /// In this order, each only if the shape says so: hardware address, client, contents of option 82,
    /// host name.
    block: BlockId,
    pub(super) next_of_client: SlotId,
    pub(super) next_of_hardware: SlotId,
    pub(super) queue_before: SlotId,
    pub(super) queue_after: SlotId,
    pub(super) queued: Place,
    ethernet: [u8; 6],
    shape: u8,
    standing: Standing,
}

impl Slot {
    /// A slot for a lease, whose block still has to be written.
    pub(super) fn new(lease: &Lease) -> Self {
        let mut slot = Self {
            started: lease.started,
            changed: lease.changed,
            ends: lease.ends,
            address: lease.address.into(),
            relay: 0,
            block: BlockId::EMPTY,
            next_of_client: SlotId::NONE,
            next_of_hardware: SlotId::NONE,
            queue_before: SlotId::NONE,
            queue_after: SlotId::NONE,
            queued: Place::NONE,
            ethernet: [0; 6],
            shape: 0,
            standing: Standing::Ended,
        };
        slot.write_shape(lease);
        slot
    }

    /// Puts another lease of the same address in place of this one. The links stay.
    pub(super) fn replace(&mut self, lease: &Lease, blocks: &mut Blocks, scratch: &mut Vec<u8>) {
        let old = Entry { slot: self, blocks };
        let keeps_block = old.is_of(&lease.client, lease.hardware)
            && old.relay_agent() == lease.relay_agent.as_deref()
            && old.host_name() == lease.host_name.as_deref();
        self.started = lease.started;
        self.changed = lease.changed;
        self.ends = lease.ends;
        self.write_shape(lease);
        if !keeps_block {
            self.write_block(lease, blocks, scratch);
        }
    }

    /// Writes the block for a lease that the slot is of.
    pub(super) fn write_block(
        &mut self,
        lease: &Lease,
        blocks: &mut Blocks,
        scratch: &mut Vec<u8>,
    ) {
        scratch.clear();
        push_block(lease, self.shape, scratch);
        self.block = blocks.replace(self.block, scratch);
    }

    /// Lets go of what it holds beyond itself: nobody looks at it any more.
    pub(super) fn clear(&mut self, blocks: &mut Blocks) {
        blocks.remove(std::mem::replace(&mut self.block, BlockId::EMPTY));
    }

    fn write_shape(&mut self, lease: &Lease) {
        let ethernet = ethernet_of(lease.hardware);
        self.shape = match lease.state {
            BindingState::Active => STATE_ACTIVE,
            BindingState::Released => STATE_RELEASED,
            BindingState::Declined => STATE_DECLINED,
        };
        self.relay = lease.relay.map_or(0, u32::from);
        self.ethernet = ethernet.unwrap_or_default();
        let mut set = |bit: u8, is_so: bool| self.shape |= if is_so { bit } else { 0 };
        set(HAS_RELAY, lease.relay.is_some());
        set(IS_ETHERNET, ethernet.is_some());
        set(HAS_RELAY_AGENT, lease.relay_agent.is_some());
        set(HAS_HOST_NAME, lease.host_name.is_some());
        self.shape |= match &lease.client {
            ClientIdentifier::Hardware(hardware) if *hardware == lease.hardware => {
                CLIENT_IS_HARDWARE
            }
            ClientIdentifier::Hardware(_) => CLIENT_HARDWARE_IN_BLOCK,
            ClientIdentifier::Option61(bytes) if ethernet.is_some_and(|e| **bytes == typed(e)) => {
                CLIENT_IS_TYPED_ETHERNET
            }
            ClientIdentifier::Option61(_) => CLIENT_IN_BLOCK,
        };
    }

    pub(super) const fn standing(&self) -> Standing {
        self.standing
    }

    pub(super) fn set_standing(&mut self, standing: Standing) {
        self.standing = standing;
    }

    /// Whether its end changes how its address stands.
    pub(super) fn waits_for_its_end(&self) -> bool {
        self.standing != Standing::Ended
    }

    pub(super) fn address(&self) -> Ipv4Addr {
        self.address.into()
    }

    pub(super) const fn ends(&self) -> Timestamp {
        self.ends
    }
}

/// The newest lease of an address.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Entry<'a> {
    pub(super) slot: &'a Slot,
    pub(super) blocks: &'a Blocks,
}

impl<'a> Entry<'a> {
    pub(in crate::server) const fn standing(self) -> Standing {
        self.slot.standing
    }

    pub(in crate::server) fn address(self) -> Ipv4Addr {
        self.slot.address()
    }

    pub(in crate::server) const fn started(self) -> Timestamp {
        self.slot.started
    }

    pub(in crate::server) const fn changed(self) -> Timestamp {
        self.slot.changed
    }

    pub(in crate::server) const fn ends(self) -> Timestamp {
        self.slot.ends
    }

    pub(in crate::server) const fn state(self) -> BindingState {
        match self.slot.shape & STATE {
            STATE_ACTIVE => BindingState::Active,
            STATE_RELEASED => BindingState::Released,
            _ => BindingState::Declined,
        }
    }

    /// As [`Lease::is_held`].
    pub(in crate::server) fn is_held(self, now: Timestamp) -> bool {
        self.state() == BindingState::Active && now < self.slot.ends
    }

    /// As [`Lease::is_blocked`].
    pub(in crate::server) fn is_blocked(self, now: Timestamp) -> bool {
        self.state() != BindingState::Released && now < self.slot.ends
    }

    pub(in crate::server) fn relay(self) -> Option<Ipv4Addr> {
        (self.slot.shape & HAS_RELAY != 0).then(|| self.slot.relay.into())
    }

    pub(in crate::server) fn hardware(self) -> HardwareAddress {
        if self.slot.shape & IS_ETHERNET != 0 {
            return HardwareAddress::ethernet(self.slot.ethernet);
        }
        self.block().hardware()
    }

    /// Whether this client holds or held it.
    pub(in crate::server) fn has_client(self, client: &ClientIdentifier) -> bool {
        match (self.slot.shape & CLIENT, client) {
            (CLIENT_IS_HARDWARE, ClientIdentifier::Hardware(hardware)) => {
                self.hardware() == *hardware
            }
            (CLIENT_HARDWARE_IN_BLOCK, ClientIdentifier::Hardware(hardware)) => {
                self.behind_hardware().hardware() == *hardware
            }
            (CLIENT_IS_TYPED_ETHERNET, ClientIdentifier::Option61(bytes)) => {
                **bytes == typed(self.slot.ethernet)
            }
            (CLIENT_IN_BLOCK, ClientIdentifier::Option61(bytes)) => {
                self.behind_hardware().counted() == &**bytes
            }
            _ => false,
        }
    }

    /// Whether it is of this client on this device.
    pub(in crate::server) fn is_of(
        self,
        client: &ClientIdentifier,
        hardware: HardwareAddress,
    ) -> bool {
        self.hardware() == hardware && self.has_client(client)
    }

    /// Whether it has the same client as another one.
    pub(super) fn shares_client_with(self, other: Entry<'_>) -> bool {
        let is_inline = |slot: &Slot| slot.shape & CLIENT == CLIENT_IS_TYPED_ETHERNET;
        if is_inline(self.slot) && is_inline(other.slot) {
            return self.slot.ethernet == other.slot.ethernet;
        }
        self.has_client(&other.client())
    }

    pub(in crate::server) fn client(self) -> ClientIdentifier {
        match self.slot.shape & CLIENT {
            CLIENT_IS_HARDWARE => ClientIdentifier::Hardware(self.hardware()),
            CLIENT_IS_TYPED_ETHERNET => {
                ClientIdentifier::Option61(typed(self.slot.ethernet).into())
            }
            CLIENT_IN_BLOCK => ClientIdentifier::Option61(self.behind_hardware().counted().into()),
            _ => ClientIdentifier::Hardware(self.behind_hardware().hardware()),
        }
    }

    /// The bucket of its client, by which a failover pair shares clients out (RFC 3074).
    pub(in crate::server) fn bucket(self) -> u8 {
        match self.slot.shape & CLIENT {
            CLIENT_IS_TYPED_ETHERNET => bucket(&typed(self.slot.ethernet)),
            CLIENT_IN_BLOCK => bucket(self.behind_hardware().counted()),
            _ => bucket(self.hardware().bytes()),
        }
    }

    /// The hash of its client, as of [`hash_of_client`].
    pub(super) fn client_hash(self, key: HashKey) -> u64 {
        match self.slot.shape & CLIENT {
            CLIENT_IS_HARDWARE => hash_of_hardware(key, self.hardware()),
            CLIENT_IS_TYPED_ETHERNET => hash_of_option_61(key, &typed(self.slot.ethernet)),
            CLIENT_IN_BLOCK => hash_of_option_61(key, self.behind_hardware().counted()),
            _ => hash_of_hardware(key, self.behind_hardware().hardware()),
        }
    }

    /// The hash of its hardware address, as of [`hash_of_hardware`].
    pub(super) fn hardware_hash(self, key: HashKey) -> u64 {
        hash_of_hardware(key, self.hardware())
    }

    pub(in crate::server) fn relay_agent(self) -> Option<&'a [u8]> {
        (self.slot.shape & HAS_RELAY_AGENT != 0).then(|| self.behind_client().counted())
    }

    pub(in crate::server) fn host_name(self) -> Option<&'a [u8]> {
        if self.slot.shape & HAS_HOST_NAME == 0 {
            return None;
        }
        let mut rest = self.behind_client();
        if self.slot.shape & HAS_RELAY_AGENT != 0 {
            rest.counted();
        }
        Some(rest.0)
    }

    /// Reads a little of it, so that the rest is at hand when it is wanted. What it gives says nothing.
    pub(super) fn touch(self) -> u8 {
        self.slot.shape ^ self.blocks.get(self.slot.block).first().copied().unwrap_or_default()
    }

    /// The whole lease.
    pub(in crate::server) fn lease(self) -> Lease {
        Lease {
            address: self.address(),
            client: self.client(),
            hardware: self.hardware(),
            state: self.state(),
            started: self.started(),
            changed: self.changed(),
            ends: self.ends(),
            relay: self.relay(),
            relay_agent: self.relay_agent().map(Box::from),
            host_name: self.host_name().map(Box::from),
        }
    }

    fn block(self) -> Block<'a> {
        Block(self.blocks.get(self.slot.block))
    }

    fn behind_hardware(self) -> Block<'a> {
        let mut rest = self.block();
        if self.slot.shape & IS_ETHERNET == 0 {
            rest.hardware();
        }
        rest
    }

    fn behind_client(self) -> Block<'a> {
        let mut rest = self.behind_hardware();
        match self.slot.shape & CLIENT {
            CLIENT_IN_BLOCK => {
                rest.counted();
            }
            CLIENT_HARDWARE_IN_BLOCK => {
                rest.hardware();
            }
            _ => {}
        }
        rest
    }
}

/// The hash by which whoever sends a packet is found: its client's.
pub(super) fn hash_of_sender(key: HashKey, request: &Request) -> u64 {
    match &request.client_identifier {
        Some(bytes) => hash_of_option_61(key, bytes),
        None => hash_of_hardware(key, request.hardware),
    }
}

/// The hash by which a client is found.
pub(super) fn hash_of_client(key: HashKey, client: &ClientIdentifier) -> u64 {
    match client {
        ClientIdentifier::Option61(bytes) => hash_of_option_61(key, bytes),
        ClientIdentifier::Hardware(hardware) => hash_of_hardware(key, *hardware),
    }
}

/// The hash by which a device is found.
pub(super) fn hash_of_hardware(key: HashKey, hardware: HardwareAddress) -> u64 {
    let mut bytes = [0; 1 + HardwareAddress::LENGTH_MAX];
    bytes[0] = hardware.hardware_type();
    let length = hardware.bytes().len();
    bytes[1..=length].copy_from_slice(hardware.bytes());
    siphash::hash(key, &bytes[..=length])
}

fn hash_of_option_61(key: HashKey, bytes: &[u8]) -> u64 {
    // The two kinds of clients never compare equal; whether their hashes do is of no consequence.
    siphash::hash(key, bytes)
}

fn ethernet_of(hardware: HardwareAddress) -> Option<[u8; 6]> {
    let bytes = hardware.bytes().try_into().ok()?;
    (hardware.hardware_type() == HardwareAddress::ETHERNET).then_some(bytes)
}

fn typed(ethernet: [u8; 6]) -> [u8; TYPED_ETHERNET_BYTES] {
    let [a, b, c, d, e, f] = ethernet;
    [HardwareAddress::ETHERNET, a, b, c, d, e, f]
}

fn push_block(lease: &Lease, shape: u8, block: &mut Vec<u8>) {
    if shape & IS_ETHERNET == 0 {
        push_hardware(block, lease.hardware);
    }
    match (&lease.client, shape & CLIENT) {
        (ClientIdentifier::Option61(bytes), CLIENT_IN_BLOCK) => push_counted(block, bytes),
        (ClientIdentifier::Hardware(hardware), CLIENT_HARDWARE_IN_BLOCK) => {
            push_hardware(block, *hardware);
        }
        _ => {}
    }
    if let Some(relay_agent) = &lease.relay_agent {
        push_counted(block, relay_agent);
    }
    block.extend_from_slice(lease.host_name.as_deref().unwrap_or_default());
}

fn push_hardware(block: &mut Vec<u8>, hardware: HardwareAddress) {
    let bytes = hardware.bytes();
    block.push(hardware.hardware_type());
    block.push(u8::try_from(bytes.len()).unwrap_or(0));
    block.extend_from_slice(bytes);
}

fn push_counted(block: &mut Vec<u8>, bytes: &[u8]) {
    // Nothing in a packet or a record comes near it.
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(bytes.get(..length.into()).unwrap_or(bytes));
}

/// What is left of a block.
struct Block<'a>(&'a [u8]);

impl<'a> Block<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    fn counted(&mut self) -> &'a [u8] {
        let length = self.take(2).try_into().map_or(0, u16::from_le_bytes);
        self.take(length.into())
    }

    fn hardware(&mut self) -> HardwareAddress {
        let [hardware_type, length] = self.take(2).try_into().unwrap_or([0, 0]);
        let bytes = self.take(length.into());
        HardwareAddress::new(hardware_type, bytes)
            .unwrap_or_else(|| HardwareAddress::ethernet([0; 6]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Table;
    use super::*;
    use crate::failover::load_balance::bucket_of;
    use proptest::prelude::*;

    #[test]
    fn an_entry_is_as_small_as_the_documentation_says() {
        assert_eq!(size_of::<Slot>(), 64);
    }

    fn hardware() -> impl Strategy<Value = HardwareAddress> {
        prop_oneof![
            Just(HardwareAddress::ethernet([2, 0, 0x5e, 0, 0x53, 1])),
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..=16))
                .prop_map(|(kind, bytes)| HardwareAddress::new(kind, &bytes).unwrap()),
        ]
    }

    fn bytes() -> impl Strategy<Value = Box<[u8]>> {
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Box::from)
    }

    fn client(hardware: HardwareAddress) -> impl Strategy<Value = ClientIdentifier> {
        let typed = [&[1], hardware.bytes()].concat();
        prop_oneof![
            Just(ClientIdentifier::Hardware(hardware)),
            Just(ClientIdentifier::Option61(typed.into())),
            bytes().prop_map(ClientIdentifier::Option61),
            self::hardware().prop_map(ClientIdentifier::Hardware),
        ]
    }

    fn lease() -> impl Strategy<Value = Lease> {
        let states = [BindingState::Active, BindingState::Released, BindingState::Declined];
        let times = any::<[u64; 3]>();
        (hardware(), prop::sample::select(states.to_vec()), times).prop_flat_map(
            |(hardware, state, times)| {
                let [started, changed, ends] = times.map(Timestamp::from_milliseconds);
                let relay = prop::option::of(any::<u32>().prop_map(Ipv4Addr::from));
                let blocks = (prop::option::of(bytes()), prop::option::of(bytes()));
                (client(hardware), relay, blocks).prop_map(move |(client, relay, blocks)| Lease {
                    address: Ipv4Addr::new(10, 20, 0, 10),
                    client,
                    hardware,
                    state,
                    started,
                    changed,
                    ends,
                    relay,
                    relay_agent: blocks.0,
                    host_name: blocks.1,
                })
            },
        )
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(first in lease(), second in lease()) {
            let key = HashKey(1, 2);
            let mut table = Table::default();
            let id = table.insert(&first);
            for lease in [&first, &second, &second] {
                table.replace(id, lease);
                let entry = table.entry(id);
                prop_assert_eq!(&entry.lease(), lease);
                prop_assert!(entry.is_of(&lease.client, lease.hardware));
                prop_assert_eq!(entry.client_hash(key), hash_of_client(key, &lease.client));
                prop_assert_eq!(entry.hardware_hash(key), hash_of_hardware(key, lease.hardware));
                prop_assert_eq!(entry.bucket(), bucket_of(&lease.client, &lease.hardware));
            }
            table.replace(id, &first);
            let mut others = Table::default();
            let other = others.insert(&second);
            let entry = table.entry(id);
            let is_shared = first.client == second.client;
            prop_assert_eq!(entry.has_client(&second.client), is_shared);
            prop_assert_eq!(others.entry(other).shares_client_with(entry), is_shared);
            for now in [first.ends, first.changed, Timestamp::ZERO] {
                prop_assert_eq!(entry.is_held(now), first.is_held(now));
                prop_assert_eq!(entry.is_blocked(now), first.is_blocked(now));
            }
        }
    }
}
