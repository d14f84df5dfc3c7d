//! What the packet socket of an attached LAN gets: the filter that the kernel runs on each packet.
//!
//! It promises that nothing reaches the server that is not DHCP for it: a gateway's packet socket
//! would otherwise see all that it forwards. It never looks into the message.

use socket2::SockFilter;
use std::net::Ipv4Addr;

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

const fn jump_if_any_bit(mask: u32, if_true: u8, if_false: u8) -> SockFilter {
    instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, if_true, if_false, mask)
}

const fn give(bytes: u32) -> SockFilter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, bytes)
}
