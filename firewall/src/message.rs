//! nf_tables messages: one transaction's bytes, built by nftnl.
//!
//! It promises that a transaction is one stretch of bytes for one `send` (the kernel discards a batch
//! whose end comes with another), that only the last message asks for an acknowledgement (so that
//! answers never overflow a queue), and that the subject of every message can be named afterwards.

#![allow(
    unsafe_code,
    reason = "nftnl's safe calls have no timeouts and no set flags, and write to a pointer"
)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::existing::Existing;
use crate::expression;
use crate::garden::GARDEN_ADDRESSES_MAX;
use crate::ranges::Range;
use crate::ruleset::{Chain, FLOW_BUDGETS_MAX, Hook, Rule, Ruleset};
use crate::sets::{KeyKind, SetName};
use crate::wire;
use nftnl::set::{Set, SetKey};
use nftnl::{ChainType, MsgType, NlMsg, Policy, ProtoFamily, Table, nftnl_sys as sys};
use std::ffi::{CStr, c_void};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr::NonNull;
use vestibule_core::EthernetAddress;

/// Elements in one message: 40 bytes each, in an attribute of at most 65,535.
const ELEMENTS_PER_MESSAGE: usize = 1500;
/// Ranges in one message: two elements each, and those of IPv6 are longer.
const RANGES_PER_MESSAGE: usize = 400;
/// Bytes of a transaction's buffer that are kept for the next one.
const BUFFER_KEPT_BYTES: usize = 1 << 20;
/// Where a message's flags are in its header.
const FLAGS_OFFSET: usize = 6;
/// Milliseconds between two walks of the kernel over a set's expired elements.
const COLLECTION_INTERVAL_MILLISECONDS: u32 = 30_000;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Batch,
    Table,
    /// Something that was in the table before.
    Remains,
    Set(SetName),
    Elements(SetName),
    Chain(&'static CStr),
    Rule(&'static CStr),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch => f.write_str("the batch"),
            Self::Table => f.write_str("the table"),
            Self::Remains => f.write_str("the removal of former contents"),
            Self::Set(set) => write!(f, "the set {}", set.name().to_string_lossy()),
            Self::Elements(set) => {
                write!(f, "elements of the set {}", set.name().to_string_lossy())
            }
            Self::Chain(name) => write!(f, "the chain {}", name.to_string_lossy()),
            Self::Rule(name) => write!(f, "a rule of the chain {}", name.to_string_lossy()),
        }
    }
}

/// What is done with elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elements {
    /// Put in; one that is there is changed (Linux 6.12) or left alone (before).
    Put,
    /// Put in; one that is there is an error.
    PutNew,
    /// Taken out; one that is not there is an error.
    Take,
    /// Taken out if there (Linux 6.3).
    TakeIfThere,
}

impl Elements {
    /// Message number and flags.
    const fn header(self) -> (u16, u16) {
        /// `NFT_MSG_NEWSETELEM`
        const NEW: u16 = 12;
        /// `NFT_MSG_DELSETELEM`
        const DELETE: u16 = 14;
        /// `NFT_MSG_DESTROYSETELEM`
        const DESTROY: u16 = 30;
        /// `NLM_F_CREATE`
        const CREATE: u16 = 0x400;
        /// `NLM_F_EXCL`
        const EXCLUSIVE: u16 = 0x200;
        match self {
            Self::Put => (NEW, CREATE),
            Self::PutNew => (NEW, CREATE | EXCLUSIVE),
            Self::Take => (DELETE, 0),
            Self::TakeIfThere => (DESTROY, 0),
        }
    }
}

/// One transaction, being built. Its memory is used again.
pub(crate) struct Transaction {
    table: Table,
    buffer: Vec<u8>,
    used: usize,
    last_message: usize,
    sequence: u32,
    subjects: Vec<Subject>,
}

impl Transaction {
    /// For the table with this name.
    pub(crate) fn new(table: &CStr) -> Self {
        Self {
            table: Table::new(table, ProtoFamily::Inet),
            buffer: Vec::new(),
            used: 0,
            last_message: 0,
            sequence: 0,
            subjects: Vec::new(),
        }
    }

    /// Begins anew. Its messages are numbered from `sequence`.
    pub(crate) fn begin(&mut self, sequence: u32) {
        self.used = 0;
        self.sequence = sequence;
        self.subjects.clear();
        self.write(Subject::Batch, |buffer, sequence, _| {
            // SAFETY: there is room for any message, and this one is a header.
            unsafe { sys::nftnl_batch_begin(buffer.cast(), sequence) };
        });
    }

    /// Ends it: what is to be sent in one piece.
    pub(crate) fn end(&mut self) -> &[u8] {
        // The batch is handled in order and only if it is whole, so the last message's acknowledgement
        // without any error beside it proves the commit (kernels before 6.10 acknowledge no batch end).
        self.change_flags(self.last_message, |flags| {
            flags | u16::try_from(libc::NLM_F_ACK).unwrap_or_default()
        });
        self.write(Subject::Batch, |buffer, sequence, _| {
            // SAFETY: there is room for any message, and this one is a header.
            unsafe { sys::nftnl_batch_end(buffer.cast(), sequence) };
        });
        self.buffer.get(..self.used).unwrap_or_default()
    }

    /// Gives the memory of a large transaction back. Only when its bytes are not needed any more.
    pub(crate) fn shrink(&mut self) {
        if self.buffer.len() > BUFFER_KEPT_BYTES {
            self.buffer = Vec::new();
        }
    }

    /// What the message with this number was about.
    pub(crate) fn subject(&self, sequence: u32) -> Option<Subject> {
        let position = usize::try_from(sequence.checked_sub(self.sequence)?).ok()?;
        self.subjects.get(position).copied()
    }

    /// How many messages it has at most, for the numbering.
    pub(crate) fn messages_max(elements: usize) -> u32 {
        /// More than any ruleset has, and than the rounding of ten lists of elements adds.
        const BESIDES_ELEMENTS: usize = 256;
        u32::try_from(3 * elements / ELEMENTS_PER_MESSAGE + BESIDES_ELEMENTS).unwrap_or(u32::MAX)
    }

    /// Creates the table if it is not there; changes nothing if it is.
    pub(crate) fn add_table(&mut self) {
        self.table_message(MsgType::Add);
    }

    /// Deletes the table with everything in it.
    pub(crate) fn delete_table(&mut self) {
        self.table_message(MsgType::Del);
    }

    fn table_message(&mut self, message_type: MsgType) {
        self.write(Subject::Table, |buffer, sequence, table| {
            // SAFETY: there is room for any message.
            unsafe { table.write(buffer, sequence, message_type) };
        });
    }

    /// Has the kernel refuse the batch if anything was changed by anybody since `generation`. Only right
    /// after [`begin`](Self::begin).
    pub(crate) fn only_if_generation_is(&mut self, generation: u32) {
        /// `NFNL_BATCH_GENID`
        const GENERATION: u16 = 1;
        let mut attribute = wire::Writer::default();
        attribute.attribute(GENERATION, &generation.to_be_bytes());
        let end = self.used + attribute.bytes().len();
        if let Some(room) = self.buffer.get_mut(self.used..end) {
            room.copy_from_slice(attribute.bytes());
        }
        self.used = end;
        let length = u32::try_from(self.used - self.last_message).unwrap_or(u32::MAX);
        if let Some(field) = self.buffer.get_mut(self.last_message..self.last_message + 4) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
    }

    /// Takes rules and sets out of the table, and chains that are not ours. What of ours is right stays,
    /// because making it anew in one transaction leaves packets a moment: of two chains at one place a
    /// packet can meet the new one before the change and the old one after it, and kernels that keep
    /// ranges in an array fill a new set of ranges only at the end of the commit. Rules, and sets of
    /// addresses, change in one moment.
    pub(crate) fn clear(&mut self, existing: &Existing) {
        /// `NFT_MSG_DELCHAIN`
        const DELETE_CHAIN: u8 = 5;
        /// `NFTA_CHAIN_NAME`
        const CHAIN_NAME: u16 = 3;
        /// `NFT_MSG_DELRULE`
        const DELETE_RULES: u8 = 8;
        /// `NFT_MSG_DELSET`
        const DELETE_SET: u8 = 11;
        /// `NFTA_SET_NAME`
        const SET_NAME: u16 = 2;
        // Without a chain: those of all chains.
        self.delete(DELETE_RULES, None);
        for chain in &existing.chains_foreign {
            self.delete(DELETE_CHAIN, Some((CHAIN_NAME, chain)));
        }
        for set in &existing.sets {
            self.delete(DELETE_SET, Some((SET_NAME, set)));
        }
    }

    fn delete(&mut self, what: u8, name: Option<(u16, &[u8])>) {
        /// `NFTA_RULE_TABLE`, and the same in chains and sets.
        const TABLE: u16 = 1;
        let sequence = self.next_sequence();
        let family = u8::try_from(libc::NFPROTO_INET).unwrap_or_default();
        let mut writer = wire::Writer::default();
        writer.begin((wire::SUBSYSTEM_NFTABLES, what), 0, sequence, family, 0);
        writer.attribute(TABLE, self.table.get_name().to_bytes_with_nul());
        if let Some((number, name)) = name {
            writer.attribute(number, name);
        }
        writer.end();
        self.write(Subject::Remains, |buffer, _, _| {
            let bytes = writer.bytes();
            // SAFETY: the buffer has room for any message, and these bytes are not in it.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast(), bytes.len()) };
        });
    }

    /// The number of the message that is written next.
    fn next_sequence(&self) -> u32 {
        let position = u32::try_from(self.subjects.len()).unwrap_or(u32::MAX);
        self.sequence.wrapping_add(position)
    }

    /// Adds sets to a table that was [cleared](Self::clear), and fills those that do not follow the leases.
    pub(crate) fn add_sets(&mut self, ruleset: &Ruleset, sets_kept: &[SetName]) {
        for name in SetName::ALL.into_iter().filter(|name| !sets_kept.contains(name)) {
            self.add_set(name, ruleset.elements_max);
            self.add_ranges(name, &ruleset.ranges(name));
        }
        let servers: Vec<(Ipv4Addr, u64)> =
            ruleset.server_addresses.iter().map(|&address| (address, 0)).collect();
        self.elements(SetName::Servers, Elements::Put, &servers);
    }

    /// Adds chains and rules. From the commit on packets meet them.
    pub(crate) fn add_rules(&mut self, ruleset: &Ruleset) {
        for chain in crate::ruleset::CHAINS {
            self.add_chain(chain);
        }
        for rule in ruleset.rules() {
            self.add_rule(&rule);
        }
    }

    fn add_set(&mut self, name: SetName, elements_max: u32) {
        self.write(Subject::Set(name), |buffer, sequence, table| {
            let set = new_set(table, name);
            let mut flags = 0;
            if name.is_interval() {
                flags |= libc::NFT_SET_INTERVAL;
            }
            if name.has_timeouts() {
                flags |= libc::NFT_SET_TIMEOUT;
                let elements_max =
                    if name == SetName::GardenNames { GARDEN_ADDRESSES_MAX } else { elements_max };
                // Expired elements take room until they are collected.
                set_number(&set, sys::NFTNL_SET_DESC_SIZE, elements_max.saturating_mul(2));
                set_number(&set, sys::NFTNL_SET_GC_INTERVAL, COLLECTION_INTERVAL_MILLISECONDS);
            }
            if name == SetName::FlowBudgets {
                flags |= libc::NFT_SET_TIMEOUT | libc::NFT_SET_EVAL;
                set_number(&set, sys::NFTNL_SET_DESC_SIZE, FLOW_BUDGETS_MAX);
                set_number(&set, sys::NFTNL_SET_GC_INTERVAL, COLLECTION_INTERVAL_MILLISECONDS);
            }
            set_number(&set, sys::NFTNL_SET_FLAGS, flags.unsigned_abs());
            // SAFETY: there is room for any message.
            unsafe { set.write(buffer, sequence, MsgType::Add) };
        });
    }

    fn add_ranges(&mut self, name: SetName, ranges: &[Range]) {
        for chunk in ranges.chunks(RANGES_PER_MESSAGE) {
            self.write(Subject::Elements(name), |buffer, sequence, table| {
                let set = new_set(table, name);
                for (first, end) in chunk {
                    add_element(&set, *first, 0, false);
                    if let Some(end) = end {
                        add_element(&set, *end, 0, true);
                    }
                }
                write_elements(&set, Elements::Put, buffer, sequence);
            });
        }
    }

    /// Changes elements: what it is, and milliseconds of life (0: for ever, only for sets without timeouts).
    pub(crate) fn elements<K: Into<Key> + Copy>(
        &mut self,
        name: SetName,
        what: Elements,
        elements: &[(K, u64)],
    ) {
        for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
            self.write(Subject::Elements(name), |buffer, sequence, table| {
                let set = new_set(table, name);
                for &(key, milliseconds) in chunk {
                    let life = match what {
                        // To the kernel 0 means for ever, which no lease is.
                        Elements::Put | Elements::PutNew if name.has_timeouts() => {
                            milliseconds.max(1)
                        }
                        _ => 0,
                    };
                    add_element(&set, key, life, false);
                }
                write_elements(&set, what, buffer, sequence);
            });
        }
    }

    fn add_chain(&mut self, chain: Chain) {
        self.write(Subject::Chain(chain.name), |buffer, sequence, table| {
            let new = new_chain(table, chain);
            // SAFETY: there is room for any message.
            unsafe { new.write(buffer, sequence, MsgType::Add) };
        });
    }

    fn add_rule(&mut self, rule: &Rule) {
        self.write(Subject::Rule(rule.chain.name), |buffer, sequence, table| {
            let chain = new_chain(table, rule.chain);
            let mut new = nftnl::Rule::new(&chain);
            // Without this the addresses of one family would be read at the places of the other.
            expression::add_family(&mut new, rule.family);
            for condition in &rule.matches {
                expression::add_match(&mut new, table, *condition);
            }
            expression::add_action(&mut new, rule.action);
            // SAFETY: there is room for any message.
            unsafe { new.write(buffer, sequence, MsgType::Add) };
        });
    }

    /// Has `build` write one message at the end.
    fn write(&mut self, subject: Subject, build: impl FnOnce(*mut c_void, u32, &Table)) {
        // The longest message that nftnl writes. The buffer is always initialised, because what is
        // between `used` and its end is read when a message's length is.
        let room = usize::try_from(nftnl::nft_nlmsg_maxsize()).unwrap_or(usize::MAX);
        if self.buffer.len() < self.used + room {
            let doubled = self.buffer.len().saturating_mul(2);
            self.buffer.resize(doubled.max(self.used + room), 0);
        }
        let sequence = self.next_sequence();
        let Some(rest) = self.buffer.get_mut(self.used..) else { return };
        build(rest.as_mut_ptr().cast(), sequence, &self.table);
        let length = rest.first_chunk::<4>().map_or(0, |length| u32::from_ne_bytes(*length));
        self.last_message = self.used;
        self.used += usize::try_from(length).unwrap_or_default().next_multiple_of(4);
        self.subjects.push(subject);
        // nftnl asks for an acknowledgement of each message of a ruleset.
        self.change_flags(self.last_message, |flags| {
            flags & !u16::try_from(libc::NLM_F_ACK).unwrap_or_default()
        });
    }

    fn change_flags(&mut self, message: usize, change: impl FnOnce(u16) -> u16) {
        let position = message + FLAGS_OFFSET;
        if let Some(field) = self.buffer.get_mut(position..position + 2)
            && let Ok(bytes) = <[u8; 2]>::try_from(&*field)
        {
            field.copy_from_slice(&change(u16::from_ne_bytes(bytes)).to_ne_bytes());
        }
    }
}

/// nftnl declares the numbers of its attributes wider than it takes them.
#[allow(clippy::cast_possible_truncation, reason = "nftnl has fewer than 32 attributes of a kind")]
pub(crate) const fn attribute(number: u32) -> u16 {
    number as u16
}

pub(crate) fn new_set(table: &Table, name: SetName) -> Set<'_, Ipv4Addr> {
    let set = Set::new_named(name.name(), name.id(), table, ProtoFamily::Inet);
    /// nftables' number for what it calls `ether_addr`: `nft` shows elements by it.
    const ETHERNET: u32 = 9;
    let (kind, length) = match name.key() {
        KeyKind::Ipv4 => return set,
        KeyKind::Ipv6 => (<Ipv6Addr as SetKey>::TYPE, <Ipv6Addr as SetKey>::LEN),
        KeyKind::Ethernet => (ETHERNET, 6),
    };
    set_number(&set, sys::NFTNL_SET_KEY_TYPE, kind);
    set_number(&set, sys::NFTNL_SET_KEY_LEN, length);
    set
}

/// Sets a number of a set.
fn set_number(set: &Set<'_, Ipv4Addr>, number: u32, value: u32) {
    // SAFETY: the set lives, and the attribute is one that takes a 32-bit number.
    unsafe { sys::nftnl_set_set_u32(set.as_ptr().as_ptr(), attribute(number), value) };
}

/// An element as the kernel compares it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    Ipv4([u8; 4]),
    Ipv6([u8; 16]),
    Ethernet([u8; 6]),
}

impl Key {
    fn octets(&self) -> &[u8] {
        match self {
            Self::Ipv4(octets) => octets,
            Self::Ipv6(octets) => octets,
            Self::Ethernet(octets) => octets,
        }
    }
}

impl From<Ipv4Addr> for Key {
    fn from(address: Ipv4Addr) -> Self {
        Self::Ipv4(address.octets())
    }
}

impl From<IpAddr> for Key {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Self::Ipv6(address.octets()),
        }
    }
}

impl From<EthernetAddress> for Key {
    fn from(address: EthernetAddress) -> Self {
        Self::Ethernet(address.0)
    }
}

fn add_element(set: &Set<'_, Ipv4Addr>, key: impl Into<Key>, milliseconds: u64, ends_range: bool) {
    const KEY: u16 = attribute(sys::NFTNL_SET_ELEM_KEY);
    const TIMEOUT: u16 = attribute(sys::NFTNL_SET_ELEM_TIMEOUT);
    const EXPIRATION: u16 = attribute(sys::NFTNL_SET_ELEM_EXPIRATION);
    const FLAGS: u16 = attribute(sys::NFTNL_SET_ELEM_FLAGS);
    let key: Key = key.into();
    let octets = key.octets();
    let length = u32::try_from(octets.len()).unwrap_or_default();
    // SAFETY: the element is new and given to the set, which frees it; nftnl copies the key.
    unsafe {
        let Some(element) = NonNull::new(sys::nftnl_set_elem_alloc()) else { out_of_memory() };
        let element = element.as_ptr();
        sys::nftnl_set_elem_set(element, KEY, octets.as_ptr().cast(), length);
        if milliseconds > 0 {
            sys::nftnl_set_elem_set_u64(element, TIMEOUT, milliseconds);
            // Without this, putting it in again with the same timeout does not restart its clock.
            sys::nftnl_set_elem_set_u64(element, EXPIRATION, milliseconds);
        }
        if ends_range {
            let flag = libc::NFT_SET_ELEM_INTERVAL_END.unsigned_abs();
            sys::nftnl_set_elem_set_u32(element, FLAGS, flag);
        }
        sys::nftnl_set_elem_add(set.as_ptr().as_ptr(), element);
    }
}

fn write_elements(set: &Set<'_, Ipv4Addr>, what: Elements, buffer: *mut c_void, sequence: u32) {
    let (number, flags) = what.header();
    let family = ProtoFamily::Inet as u16;
    // SAFETY: callers have room for any message and put at most `ELEMENTS_PER_MESSAGE` elements in.
    unsafe {
        let header = sys::nftnl_nlmsg_build_hdr(buffer.cast(), number, family, flags, sequence);
        sys::nftnl_set_elems_nlmsg_build_payload(header, set.as_ptr().as_ptr());
    }
}

fn new_chain(table: &Table, chain: Chain) -> nftnl::Chain<'_> {
    let mut new = nftnl::Chain::new(chain.name, table);
    if let Some(hook) = chain.hook {
        let (_, _, priority) = hook.place();
        let (kind, hook) = match hook {
            Hook::RawPrerouting => (ChainType::Filter, nftnl::Hook::PreRouting),
            Hook::RawOutput => (ChainType::Filter, nftnl::Hook::Out),
            Hook::NatPrerouting => (ChainType::Nat, nftnl::Hook::PreRouting),
            Hook::Forward => (ChainType::Filter, nftnl::Hook::Forward),
            Hook::Input => (ChainType::Filter, nftnl::Hook::In),
        };
        new.set_type(kind);
        new.set_hook(hook, priority);
        new.set_policy(Policy::Accept);
    }
    new
}

/// nftnl gives nothing only if memory is out (or, for an expression, if the library is older than the
/// one it was built for, which the linker refuses): as everywhere in Rust, that ends the process.
pub(crate) fn out_of_memory() -> ! {
    std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u64; 8]>())
}
