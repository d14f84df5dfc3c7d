//! A [`Reply`] to the bytes of a DHCP message.
//!
//! It promises that the message is never longer than its client takes, that it is at least 300
//! bytes long, that the message type comes first and option 82 last and byte for byte (RFC 3046
//! section 2.2), and that every option lies whole in one field, in pieces of 255 bytes where it is
//! longer (RFC 3396).
//!
//! The rule by which a reply is made to fit ([`Reply::message_size_max`]):
//!
//! 1. everything in the options field, in the order given;
//! 2. if that is too long, the fields `file` and `sname` carry options too (option 52). Those that
//!    the client cannot do without ([`MANDATORY`]) are placed first, the longest first; then the
//!    others in the order given, that is as the client asked for them. Each goes into the first of
//!    options, file and sname that has room for it;
//! 3. one of the others that fits nowhere is left out, and those after it still get their chance:
//!    as many as possible, the most wanted first;
//! 4. if a mandatory one fits nowhere, the reply is [`Reason::ReplyTooLarge`].

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use dhcproto::v4::{MAGIC, Opcode};
use vestibule_core::limits::{MESSAGE_SIZE_MAX, MESSAGE_SIZE_MIN};
use vestibule_core::options::code;
use vestibule_core::{Reason, Reply};

/// Bytes that every reply has at least: BOOTP clients and some relays drop shorter ones (RFC 1542
/// section 2.1).
pub const MESSAGE_LENGTH_PADDED: usize = 300;

/// Options that are never left out.
pub const MANDATORY: [u8; 8] = [
    code::MESSAGE_TYPE,
    code::SERVER_IDENTIFIER,
    code::LEASE_TIME,
    code::RENEWAL_TIME,
    code::REBINDING_TIME,
    code::SUBNET_MASK,
    code::CLIENT_IDENTIFIER,
    code::RELAY_AGENT_INFORMATION,
];

/// What fitting a reply into its size took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// The value of option 52, 0 if it was not needed: 1 for `file`, 2 for `sname`, 3 for both.
    pub overload: u8,
    /// How many options were left out.
    pub left_out: usize,
}

/// Writes `reply` into `buffer`, whose former contents are gone.
///
/// # Errors
/// [`Reason::ReplyTooLarge`] if even the mandatory options do not fit; `buffer` is then empty.
pub fn encode(reply: &Reply, buffer: &mut Vec<u8>) -> Result<(), Reason> {
    encode_reporting(reply, buffer).map(|_| ())
}

/// As [`encode`]; tells what it took to make the reply fit.
///
/// Pad, End, the message type, option 52 and option 82 are the encoder's own to write: they are
/// skipped in `reply.options` (the message type is taken from `reply.message_type`).
///
/// # Errors
/// As [`encode`].
pub fn encode_reporting(reply: &Reply, buffer: &mut Vec<u8>) -> Result<Fit, Reason> {
    buffer.clear();
    append(reply, buffer)
}

/// As [`encode_reporting`], behind what `buffer` holds already; after an error it holds nothing more.
///
/// # Errors
/// As [`encode`].
pub fn append(reply: &Reply, buffer: &mut Vec<u8>) -> Result<Fit, Reason> {
    let start = buffer.len();
    let size_max = reply.message_size_max.clamp(MESSAGE_SIZE_MIN, MESSAGE_SIZE_MAX);
    let length_max = usize::from(size_max - IP_AND_UDP_HEADER_LENGTH);
    let relay_agent = reply.relay_agent.as_deref();
    // Before and behind the options that can be moved: 53; 82 and End.
    let fixed = MESSAGE_TYPE_LENGTH + relay_agent.map_or(0, encoded_length) + 1;
    let room = length_max.saturating_sub(FIXED_PART_LENGTH + fixed);
    let wanted: usize = movable(reply).map(|(_, contents)| encoded_length(contents)).sum();
    let mut fit = Fit::default();
    if wanted <= room && length_max >= FIXED_PART_LENGTH + fixed {
        fixed_part(reply, &[], &[], buffer);
        put(buffer, code::MESSAGE_TYPE, &[reply.message_type as u8]);
        for (code, contents) in movable(reply) {
            put(buffer, code, contents);
        }
    } else {
        let room = length_max
            .checked_sub(FIXED_PART_LENGTH + fixed + OVERLOAD_LENGTH)
            .ok_or(Reason::ReplyTooLarge)?;
        let placed = place(reply, room)?;
        fit = Fit { overload: placed.overload(), left_out: placed.left_out };
        fixed_part(reply, &placed.file, &placed.sname, buffer);
        put(buffer, code::MESSAGE_TYPE, &[reply.message_type as u8]);
        if fit.overload != 0 {
            put(buffer, code::OVERLOAD, &[fit.overload]);
        }
        buffer.extend_from_slice(&placed.options);
    }
    if let Some(contents) = relay_agent {
        put(buffer, code::RELAY_AGENT_INFORMATION, contents);
    }
    buffer.push(END);
    if buffer.len() - start < MESSAGE_LENGTH_PADDED {
        buffer.resize(start + MESSAGE_LENGTH_PADDED, 0);
    }
    debug_assert!(buffer.len() - start <= length_max);
    Ok(fit)
}

const PAD: u8 = 0;
const END: u8 = 255;
/// Bytes of an IP header without options and a UDP header.
const IP_AND_UDP_HEADER_LENGTH: u16 = 28;
/// Bytes of the fixed part with the cookie.
const FIXED_PART_LENGTH: usize = 240;
const FILE_LENGTH: usize = 128;
const SNAME_LENGTH: usize = 64;
const MESSAGE_TYPE_LENGTH: usize = 3;
const OVERLOAD_LENGTH: usize = 3;
/// Bytes of contents that one piece of an option carries.
const PIECE_LENGTH_MAX: usize = 255;

/// The options that go where there is room, in the order given.
fn movable(reply: &Reply) -> impl Iterator<Item = (u8, &[u8])> {
    reply
        .options
        .iter()
        .map(|(code, contents)| (*code, &**contents))
        .filter(|(code, _)| !is_ours(*code))
}

/// Whether the encoder itself writes this code.
const fn is_ours(code: u8) -> bool {
    matches!(code, PAD | END | code::MESSAGE_TYPE | code::OVERLOAD | code::RELAY_AGENT_INFORMATION)
}

/// Bytes that an option takes on the wire, the headers of its pieces included.
fn encoded_length(contents: &[u8]) -> usize {
    contents.len() + 2 * contents.len().div_ceil(PIECE_LENGTH_MAX).max(1)
}

/// Appends an option, in pieces if it is long.
fn put(field: &mut Vec<u8>, code: u8, contents: &[u8]) {
    if contents.is_empty() {
        field.extend_from_slice(&[code, 0]);
    }
    for piece in contents.chunks(PIECE_LENGTH_MAX) {
        // A piece is at most 255 bytes long, so nothing is cut off.
        field.extend_from_slice(&[code, u8::try_from(piece.len()).unwrap_or(u8::MAX)]);
        field.extend_from_slice(piece);
    }
}

fn fixed_part(reply: &Reply, file: &[u8], sname: &[u8], buffer: &mut Vec<u8>) {
    let hardware_length = u8::try_from(reply.hardware.bytes().len()).unwrap_or(u8::MAX);
    let hops = 0;
    buffer.extend_from_slice(&[
        Opcode::BootReply.into(),
        reply.hardware.hardware_type(),
        hardware_length,
        hops,
    ]);
    buffer.extend_from_slice(&reply.xid.to_be_bytes());
    let secs = 0u16;
    buffer.extend_from_slice(&secs.to_be_bytes());
    buffer.extend_from_slice(&reply.flags.to_be_bytes());
    for address in [reply.ciaddr, reply.yiaddr, reply.siaddr, reply.giaddr] {
        buffer.extend_from_slice(&address.octets());
    }
    buffer.extend_from_slice(&reply.chaddr);
    for (field, length) in [(sname, SNAME_LENGTH), (file, FILE_LENGTH)] {
        let end = buffer.len() + length;
        buffer.extend_from_slice(field);
        buffer.resize(end, PAD);
    }
    buffer.extend_from_slice(&MAGIC);
}

/// The fields of a reply that does not fit into the options field alone.
#[derive(Default)]
struct Placed {
    options: Vec<u8>,
    file: Vec<u8>,
    sname: Vec<u8>,
    left_out: usize,
}

impl Placed {
    fn overload(&self) -> u8 {
        u8::from(!self.file.is_empty()) | u8::from(!self.sname.is_empty()) << 1
    }
}

/// Where one option goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Options,
    File,
    Sname,
    Nowhere,
}

/// Distributes the options by the rule at the head of this file. `room` is what the options field
/// has for them.
fn place(reply: &Reply, room: usize) -> Result<Placed, Reason> {
    let mut options: Vec<(u8, &[u8], Field)> =
        movable(reply).map(|(code, contents)| (code, contents, Field::Nowhere)).collect();
    let mut rooms =
        [(Field::Options, room), (Field::File, FILE_LENGTH - 1), (Field::Sname, SNAME_LENGTH - 1)];
    let mut first_fit = |contents: &[u8]| {
        let length = encoded_length(contents);
        rooms.iter_mut().find(|(_, room)| length <= *room).map_or(
            Field::Nowhere,
            |(field, room)| {
                *room -= length;
                *field
            },
        )
    };
    let mut mandatory: Vec<&mut (u8, &[u8], Field)> =
        options.iter_mut().filter(|(code, ..)| MANDATORY.contains(code)).collect();
    mandatory.sort_by_key(|(_, contents, _)| std::cmp::Reverse(contents.len()));
    for (_, contents, field) in mandatory {
        *field = first_fit(contents);
        if *field == Field::Nowhere {
            return Err(Reason::ReplyTooLarge);
        }
    }
    for (_, contents, field) in options.iter_mut().filter(|(code, ..)| !MANDATORY.contains(code)) {
        *field = first_fit(contents);
    }
    let mut placed = Placed::default();
    for (code, contents, field) in options {
        match field {
            Field::Options => put(&mut placed.options, code, contents),
            Field::File => put(&mut placed.file, code, contents),
            Field::Sname => put(&mut placed.sname, code, contents),
            Field::Nowhere => placed.left_out += 1,
        }
    }
    for field in [&mut placed.file, &mut placed.sname] {
        if !field.is_empty() {
            field.push(END);
        }
    }
    Ok(placed)
}
