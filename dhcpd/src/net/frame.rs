//! IPv4 and UDP headers of packets on an attached LAN: taken apart and put together.
//!
//! It promises that no packet makes it panic, that what it hands on is an intact, unfragmented UDP
//! payload, and that padding of the link is cut off. It never decides whether a packet is for us:
//! the filter of the socket has done that.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::net::{Ipv4Addr, SocketAddrV4};
use vestibule_core::Reason;

/// Bytes of the headers that [`headers`] builds: IPv4 without options, UDP.
pub const HEADERS_LENGTH: usize = IP_HEADER_LENGTH_MIN + UDP_HEADER_LENGTH;

/// Whether the UDP checksum of a received packet says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpChecksum {
    /// It is what the sender computed.
    Present,
    /// The packet never left this host's memory, and the kernel left the sum to a network card that
    /// is not there (`TP_STATUS_CSUMNOTREADY`: veth, bridges), or has verified it already.
    NotNeeded,
}

/// A UDP packet as it lies in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Who sent it.
    pub source: SocketAddrV4,
    /// To whom.
    pub destination: SocketAddrV4,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Takes apart an IPv4 packet: what a link-layer frame carries, with or without padding behind it.
///
/// # Errors
/// [`Reason::BadFrame`] if it is not one whole UDP packet: wrong version, protocol or lengths, a
/// fragment, a wrong checksum of either header.
pub fn parse(packet: &[u8], udp_checksum: UdpChecksum) -> Result<Frame<'_>, Reason> {
    parse_option(packet, udp_checksum).ok_or(Reason::BadFrame)
}

/// Builds the IPv4 and UDP headers for `payload`, with both checksums. `None` if the payload is
/// longer than UDP can carry.
#[must_use]
pub fn headers(
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: &[u8],
) -> Option<[u8; HEADERS_LENGTH]> {
    let total_length = u16::try_from(HEADERS_LENGTH.checked_add(payload.len())?).ok()?;
    let udp_length = u16::try_from(UDP_HEADER_LENGTH.checked_add(payload.len())?).ok()?;
    let [a, b, c, d] = source.ip().octets();
    let [e, f, g, h] = destination.ip().octets();
    let [total_high, total_low] = total_length.to_be_bytes();
    let ip = [
        0x45, // version 4, five words of header
        0,
        total_high,
        total_low,
        0, // identification: needed by fragments only, and there are none (RFC 6864)
        0,
        DONT_FRAGMENT,
        0,
        TIME_TO_LIVE,
        PROTOCOL_UDP,
        0, // checksum, below
        0,
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
    ];
    let [ip_sum_high, ip_sum_low] = (!sum(&ip, 0)).to_be_bytes();
    let [source_high, source_low] = source.port().to_be_bytes();
    let [destination_high, destination_low] = destination.port().to_be_bytes();
    let [length_high, length_low] = udp_length.to_be_bytes();
    let udp =
        [source_high, source_low, destination_high, destination_low, length_high, length_low, 0, 0];
    let udp_sum =
        !sum(payload, sum(&udp, pseudo_header(*source.ip(), *destination.ip(), udp_length)).into());
    // A computed zero is sent as ones: zero says that there is no checksum (RFC 768).
    let [udp_sum_high, udp_sum_low] = if udp_sum == 0 { u16::MAX } else { udp_sum }.to_be_bytes();
    let mut headers = [0; HEADERS_LENGTH];
    let (ip_part, udp_part) = headers.split_at_mut(IP_HEADER_LENGTH_MIN);
    ip_part.copy_from_slice(&ip);
    udp_part.copy_from_slice(&udp);
    if let [.., high, low] = udp_part {
        (*high, *low) = (udp_sum_high, udp_sum_low);
    }
    if let Some([high, low]) = ip_part.get_mut(10..12) {
        (*high, *low) = (ip_sum_high, ip_sum_low);
    }
    Some(headers)
}

const IP_HEADER_LENGTH_MIN: usize = 20;
const UDP_HEADER_LENGTH: usize = 8;
const PROTOCOL_UDP: u8 = 17;
const TIME_TO_LIVE: u8 = 64;
const DONT_FRAGMENT: u8 = 0x40;
/// "More fragments" and the fragment offset.
const FRAGMENT_MASK: u16 = 0x3fff;

fn parse_option(packet: &[u8], udp_checksum: UdpChecksum) -> Option<Frame<'_>> {
    let (&version_and_length, _) = packet.split_first()?;
    let header_length = usize::from(version_and_length & 0x0f) * 4;
    if version_and_length >> 4 != 4 || header_length < IP_HEADER_LENGTH_MIN {
        return None;
    }
    let header = packet.get(..header_length)?;
    let total_length = usize::from(u16_at(header, 2)?);
    let datagram = packet.get(header_length..total_length)?;
    if *header.get(9)? != PROTOCOL_UDP
        || u16_at(header, 6)? & FRAGMENT_MASK != 0
        || sum(header, 0) != u16::MAX
    {
        return None;
    }
    let source = address_at(header, 12)?;
    let destination = address_at(header, 16)?;
    let udp_length = u16_at(datagram, 4)?;
    let datagram = datagram.get(..usize::from(udp_length))?;
    let payload = datagram.get(UDP_HEADER_LENGTH..)?;
    let sent_checksum = u16_at(datagram, 6)?;
    if udp_checksum == UdpChecksum::Present
        && sent_checksum != 0
        && sum(datagram, pseudo_header(source, destination, udp_length)) != u16::MAX
    {
        return None;
    }
    Some(Frame {
        source: SocketAddrV4::new(source, u16_at(datagram, 0)?),
        destination: SocketAddrV4::new(destination, u16_at(datagram, 2)?),
        payload,
    })
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn address_at(bytes: &[u8], offset: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.get(offset..)?.first_chunk::<4>()?))
}

/// The sum of the UDP pseudo header (RFC 768), unfolded.
fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, udp_length: u16) -> u32 {
    let words = |address: Ipv4Addr| (address.to_bits() >> 16) + (address.to_bits() & 0xffff);
    words(source) + words(destination) + u32::from(PROTOCOL_UDP) + u32::from(udp_length)
}

/// The one's complement sum of RFC 1071 over at most 64 KiB, continued from `start`.
fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut words = bytes.chunks_exact(2);
    // 32,768 words and a start of a few more stay below 2^32.
    let mut total = start;
    for word in &mut words {
        if let [high, low] = word {
            total += u32::from(u16::from_be_bytes([*high, *low]));
        }
    }
    if let [last] = words.remainder() {
        total += u32::from(*last) << 8;
    }
    while total > u32::from(u16::MAX) {
        total = (total & 0xffff) + (total >> 16);
    }
    // Folded above, so nothing is cut off.
    u16::try_from(total).unwrap_or(u16::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    const SOURCE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    const DESTINATION: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);

    fn packet(payload: &[u8]) -> Vec<u8> {
        [&headers(SOURCE, DESTINATION, payload).unwrap(), payload].concat()
    }

    /// Corrects the checksum of the IP header after a test has changed it.
    fn resum(packet: &mut [u8], header_length: usize) {
        packet[10..12].fill(0);
        let checksum = !sum(&packet[..header_length], 0);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }

    #[test]
    fn what_is_built_is_read_back_for_even_and_odd_lengths() {
        for length in [0, 1, 2, 299, 300, 1472] {
            let payload: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let packet = packet(&payload);
            let frame = parse(&packet, UdpChecksum::Present).unwrap();
            assert_eq!(
                frame,
                Frame { source: SOURCE, destination: DESTINATION, payload: &payload }
            );
        }
        assert_eq!(headers(SOURCE, DESTINATION, &[0; 65_508]), None);
        assert!(headers(SOURCE, DESTINATION, &[0xff; 65_507]).is_some());
    }

    #[test]
    fn a_checksum_that_comes_out_as_zero_is_sent_as_ones() {
        // Two bytes of payload can bring any sum to any value: take the one that gives zero.
        let zero = (0..=u16::MAX)
            .map(|word| packet(&word.to_be_bytes()))
            .filter(|packet| packet[26..28] == [0xff, 0xff])
            .collect::<Vec<_>>();
        assert_eq!(zero.len(), 1);
        assert!(parse(&zero[0], UdpChecksum::Present).is_ok());
    }

    #[test]
    fn the_checksums_are_those_of_the_words_summed_by_hand() {
        // RFC 1071 worked word by word: 192.0.2.1:67 to 192.0.2.9:68, "DHCP".
        let headers = headers(
            SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 67),
            SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 9), 68),
            b"DHCP",
        )
        .unwrap();
        let ip_words = [0x4500u32, 0x0020, 0x0000, 0x4000, 0x4011, 0xc000, 0x0201, 0xc000, 0x0209];
        let total: u32 = ip_words.iter().sum();
        let folded = (total & 0xffff) + (total >> 16);
        assert_eq!(headers[10..12], (!u16::try_from(folded).unwrap()).to_be_bytes());
        let udp_words = [
            0xc000u32, 0x0201, 0xc000, 0x0209, 17, 12, // pseudo header
            67, 68, 12, 0x4448, 0x4350,
        ];
        let total: u32 = udp_words.iter().sum();
        let folded = (total & 0xffff) + (total >> 16);
        assert_eq!(headers[26..28], (!u16::try_from(folded).unwrap()).to_be_bytes());
    }

    #[test]
    fn padding_of_the_link_is_cut_off_and_options_are_stepped_over() {
        let mut padded = packet(b"abc");
        padded.extend_from_slice(&[0xee; 15]);
        assert_eq!(parse(&padded, UdpChecksum::Present).unwrap().payload, b"abc");

        let mut with_options = packet(b"abc");
        with_options.splice(20..20, [0x94, 4, 0, 0]);
        with_options[0] = 0x46;
        with_options[3] += 4;
        resum(&mut with_options, 24);
        assert_eq!(parse(&with_options, UdpChecksum::Present).unwrap().payload, b"abc");
    }

    #[test]
    fn a_checksum_that_the_kernel_left_out_is_not_asked_for_and_an_absent_one_is_accepted() {
        let mut wrong = packet(b"abc");
        wrong[26] ^= 0x55;
        assert_eq!(parse(&wrong, UdpChecksum::Present), Err(Reason::BadFrame));
        assert_eq!(parse(&wrong, UdpChecksum::NotNeeded).unwrap().payload, b"abc");
        let mut absent = packet(b"abc");
        absent[26..28].fill(0);
        assert!(parse(&absent, UdpChecksum::Present).is_ok());
    }

    #[test]
    fn every_kind_of_damage_is_a_bad_frame() {
        let good = packet(b"abc");
        let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut packet = good.clone();
            change(&mut packet);
            if packet.len() >= 20 {
                resum(&mut packet, 20);
            }
            assert_eq!(parse(&packet, UdpChecksum::NotNeeded), Err(Reason::BadFrame), "{packet:?}");
        };
        damaged(&|packet| packet.clear());
        for length in 0..good.len() {
            damaged(&|packet| packet.truncate(length));
        }
        damaged(&|packet| packet[0] = 0x65); // version 6
        damaged(&|packet| packet[0] = 0x44); // header of four words
        damaged(&|packet| packet[0] = 0x4f); // header longer than the packet
        damaged(&|packet| packet[3] = 19); // total length below the header
        damaged(&|packet| packet[2] = 0xff); // total length beyond the packet
        damaged(&|packet| packet[6] = 0x20); // more fragments follow
        damaged(&|packet| packet[7] = 1); // a later fragment
        damaged(&|packet| packet[9] = 6); // TCP
        damaged(&|packet| packet[25] = 7); // UDP length below its header
        damaged(&|packet| packet[25] = 12); // UDP length beyond the packet
        let mut bad_sum = good.clone();
        bad_sum[8] = 63;
        assert_eq!(parse(&bad_sum, UdpChecksum::NotNeeded), Err(Reason::BadFrame));
    }
}
