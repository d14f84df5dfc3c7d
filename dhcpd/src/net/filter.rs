//! The filters that the kernel runs on each packet, in front of a socket.
//!
//! That of an attached LAN's packet socket promises that nothing reaches the server that is not DHCP for it: a
//! gateway's packet socket would otherwise see all that it forwards. It never looks into the message.
//!
//! That of a relays' socket, which is there only under overload, throws DISCOVERs away, by relay, at
//! random and in the parts that it is told. It never throws anything else away: what does not
//! look exactly like a relayed DISCOVER whose first option is its type passes.

use socket2::SockFilter;
use std::net::Ipv4Addr;
use vestibule_core::sieve::{Mesh, Part};

/// A classic BPF program over IPv4 packets: unfragmented (or first) UDP to `port`, addressed to
/// `address`, to `broadcast` or to 255.255.255.255, that came in by the link (not sent by this host,
/// not meant for another's hardware address).
pub(super) fn program(address: Ipv4Addr, broadcast: Ipv4Addr, port: u16) -> [SockFilter; 16] {
    // Jump offsets count from the next instruction; 14 accepts, 15 drops.
    [
        load_word(PACKET_TYPE),
        jump_if_equal(PACKET_HOST, 1, 0),
        jump_if_equal(PACKET_BROADCAST, 0, 12),
        load_byte(9), // protocol
        jump_if_equal(PROTOCOL_UDP, 0, 10),
        load_half(6), // flags and fragment offset
        jump_if_any_bit(FRAGMENT_OFFSET_MASK, 8, 0),
        load_word(16), // destination
        jump_if_equal(address.to_bits(), 2, 0),
        jump_if_equal(broadcast.to_bits(), 1, 0),
        jump_if_equal(u32::MAX, 0, 4),
        load_header_length(),
        load_half_behind_header(2), // UDP destination port
        jump_if_equal(port as u32, 0, 1),
        give(PACKET_BYTES_ALL),
        give(0),
    ]
}

/// A classic BPF program over UDP datagrams, beginning with the UDP header: of DISCOVERs, what the mesh lets
/// through; of everything else, everything.
pub(super) fn sieve(mesh: &Mesh) -> Vec<SockFilter> {
    // Jump offsets count from the next instruction; a conditional one reaches 255 instructions far.
    let mut program = vec![
        load_packet_length(),
        jump_if_at_least(OPTIONS + 3, 1, 0),
        give(PACKET_BYTES_ALL),
        load_half(OPTIONS),
        jump_if_equal(MESSAGE_TYPE_OF_ONE_BYTE, 1, 0),
        give(PACKET_BYTES_ALL),
        load_byte(OPTIONS + 2),
        jump_if_equal(DISCOVER, 1, 0),
        give(PACKET_BYTES_ALL),
        load_word(GIADDR),
        jump_if_equal(0, 0, 1),
        give(PACKET_BYTES_ALL),
    ];
    // What draws the number and compares it stands at the end: so far from each relay's three.
    let mut to_end = 3 * mesh.relays.len() + 2;
    for (relay, part) in &mesh.relays {
        to_end -= 3;
        program.push(jump_if_equal(relay.to_bits(), 0, 2));
        program.extend(let_through(*part, to_end));
    }
    program.extend(let_through(mesh.others, 0));
    program.extend([
        load_word(RANDOM),
        jump_if_at_least_index(0, 1),
        give(0),
        give(PACKET_BYTES_ALL),
    ]);
    program
}

/// Two instructions that go to the end of the program, with the part in the index register. The number of
/// instructions between them and the end is small: there are some thousands at most.
#[allow(clippy::cast_possible_truncation, reason = "far below 2^32")]
fn let_through(part: Part, to_end: usize) -> [SockFilter; 2] {
    if part == Part::ALL {
        return [give(PACKET_BYTES_ALL), give(PACKET_BYTES_ALL)];
    }
    [load_index(part.threshold()), jump(to_end as u32)]
}

/// Where things are, from the UDP header on.
const GIADDR: u32 = 8 + 24;
const OPTIONS: u32 = 8 + 240;
/// Option 53 with its length.
const MESSAGE_TYPE_OF_ONE_BYTE: u32 = 53 << 8 | 1;
const DISCOVER: u32 = 1;
/// Where the kernel shows filters a random number (`SKF_AD_OFF + SKF_AD_RANDOM`; since Linux 3.15).
const RANDOM: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM).cast_unsigned();

/// Where the kernel shows a packet's type to filters (`SKF_AD_OFF + SKF_AD_PKTTYPE`).
const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
const PACKET_HOST: u32 = libc::PACKET_HOST as u32;
const PACKET_BROADCAST: u32 = libc::PACKET_BROADCAST as u32;
const PROTOCOL_UDP: u32 = 17;
const FRAGMENT_OFFSET_MASK: u32 = 0x1fff;
const PACKET_BYTES_ALL: u32 = 0x4_0000;

#[allow(clippy::cast_possible_truncation, reason = "libc's codes are all below 256")]
const fn instruction(code: u32, if_true: u8, if_false: u8, k: u32) -> SockFilter {
    SockFilter::new(code as u16, if_true, if_false, k)
}

const fn load_word(offset: u32) -> SockFilter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

const fn load_half(offset: u32) -> SockFilter {
    instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, offset)
}

const fn load_byte(offset: u32) -> SockFilter {
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, offset)
}

const fn load_packet_length() -> SockFilter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0, 0, 0)
}

/// The index register gets the number.
const fn load_index(value: u32) -> SockFilter {
    instruction(libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM, 0, 0, value)
}

/// The index register gets the length of the IP header.
const fn load_header_length() -> SockFilter {
    instruction(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0)
}

const fn load_half_behind_header(offset: u32) -> SockFilter {
    instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 0, 0, offset)
}

const fn jump_if_equal(value: u32, if_true: u8, if_false: u8) -> SockFilter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, if_true, if_false, value)
}

const fn jump(by: u32) -> SockFilter {
    instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, by)
}

const fn jump_if_at_least(value: u32, if_true: u8, if_false: u8) -> SockFilter {
    instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, if_true, if_false, value)
}

/// Compares with the index register.
const fn jump_if_at_least_index(if_true: u8, if_false: u8) -> SockFilter {
    instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_X, if_true, if_false, 0)
}

const fn jump_if_any_bit(mask: u32, if_true: u8, if_false: u8) -> SockFilter {
    instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, if_true, if_false, mask)
}

const fn give(bytes: u32) -> SockFilter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, bytes)
}
