//! Every trap that a DHCP decoder can fall into, each as the packet that springs it. `docs/packets.md`
//! lists them with their names.

mod wire_support;

use std::net::Ipv4Addr;
use vestibule_core::{HardwareAddress, MessageType, Reason, Request};
use vestibule_dhcpd::wire::decode;
use wire_support::{HARDWARE, Packet, RELAY, attached, relayed};

const OPTION_82: &[u8] = b"\x01\x02\x00\x07";

fn decoded(packet: &[u8]) -> Request {
    decode(packet, relayed()).unwrap()
}

fn refused(packet: &[u8]) -> Reason {
    decode(packet, relayed()).unwrap_err()
}

// One bad option costs only itself.

/// Contents that make dhcproto's owned decoder lose option 82 behind them.
const UNDECODABLE: [(u8, &[u8]); 19] = [
    (12, b"caf\xe9"),
    (12, b""),
    (81, b"\0\0\0DESKTOP-4F2K1Q.campus.example"),
    (81, b"\x05\0\0\x06laptop"),
    (81, b"\0\0"),
    (81, b"\x05\0\0\xc0\x00"),
    (80, b"\0"),
    (3, &[1, 2, 3, 4, 5, 6]),
    (94, &[1, 2]),
    (93, &[0, 7, 0, 0]),
    (116, &[2]),
    (121, &[24, 10, 0, 0, 1]),
    (151, &[]),
    (114, &[0xff]),
    (77, b"\x04iPXE"),
    (224, b""),
    (119, &[0xc0, 0]),
    (90, &[1, 2, 3]),
    (145, &[]),
];

#[test]
fn an_undecodable_option_does_not_hide_option_82() {
    for (code, contents) in UNDECODABLE {
        let packet = Packet::of(1).option(code, contents).option(82, OPTION_82).end();
        let request = decoded(&packet);
        assert_eq!(request.message_type, MessageType::Discover);
        assert_eq!(request.relay_agent.unwrap().raw(), OPTION_82, "option {code} {contents:?}");
    }
}

#[test]
fn a_host_name_is_bytes_without_trailing_nuls() {
    for (sent, kept) in [
        (&b"laptop"[..], Some(&b"laptop"[..])),
        (b"caf\xe9", Some(b"caf\xe9")),
        (b"laptop\0\0", Some(b"laptop")),
        (b"lap\0top", Some(b"lap\0top")),
        (b"\0\0", None),
        (b"", None),
    ] {
        let request = decoded(&Packet::of(1).option(12, sent).end());
        assert_eq!(request.host_name.as_deref(), kept);
    }
    let long = Packet::of(1).option(12, &[b'a'; 255]).option(12, &[b'b'; 255]).end();
    assert_eq!(decoded(&long).host_name.unwrap().len(), 255);
}

#[test]
fn rapid_commit_with_contents_is_no_rapid_commit() {
    assert!(decoded(&Packet::of(1).option(80, b"").end()).rapid_commit);
    assert!(!decoded(&Packet::of(1).option(80, b"\0").end()).rapid_commit);
    assert!(!decoded(&Packet::of(1).end()).rapid_commit);
}

// Options that the decision depends on.

#[test]
fn a_wrong_length_of_a_deciding_option_drops_the_packet() {
    for (code, right) in [(50, 4), (51, 4), (54, 4), (57, 2), (118, 4)] {
        for length in 0..=9 {
            let packet = Packet::of(3).option(code, &vec![1; length]).end();
            if length == right {
                decoded(&packet);
            } else {
                assert_eq!(refused(&packet), Reason::BadOptionLength, "option {code}, {length}");
            }
        }
    }
}

#[test]
fn a_message_type_is_one_byte_and_one_that_clients_send() {
    for number in 0..=255 {
        let result = decode(&Packet::of(number).end(), relayed());
        match number {
            1 | 3 | 4 | 7 | 8 => assert_eq!(result.unwrap().message_type as u8, number),
            _ => assert_eq!(result, Err(Reason::BadMessageType), "{number}"),
        }
    }
    assert_eq!(refused(&Packet::new().option(53, &[]).end()), Reason::BadMessageType);
    assert_eq!(refused(&Packet::new().option(53, &[1, 1]).end()), Reason::BadMessageType);
    let twice = Packet::of(1).option(53, &[3]).end();
    assert_eq!(refused(&twice), Reason::BadMessageType, "two types are none");
}

#[test]
fn a_packet_without_a_message_type_is_bootp() {
    assert_eq!(refused(&Packet::new().option(82, OPTION_82).end()), Reason::Bootp);
    assert_eq!(refused(&Packet::new().0), Reason::Bootp);
    assert_eq!(refused(&Packet::new().raw(&[255, 53, 1, 1]).0), Reason::Bootp, "after the End");
}

#[test]
fn all_fields_and_deciding_options_are_read() {
    let packet = Packet::of(3)
        .at(3, &[2])
        .at(8, &[0x01, 0x02, 0x80, 0x01])
        .at(12, &[10, 20, 3, 7])
        .option(61, b"\x01\x02\x00\x5e\x00\x53\x01")
        .option(50, &[10, 20, 3, 8])
        .option(54, &[10, 0, 0, 67])
        .option(55, &[1, 121, 3, 6, 3])
        .option(57, &[5, 220])
        .option(51, &[0, 1, 81, 128])
        .option(118, &[10, 20, 4, 0])
        .option(82, b"\x05\x04\x0a\x14\x04\x00")
        .end();
    let request = decoded(&packet);
    assert_eq!(request.arrival, relayed());
    assert_eq!(request.hops, 2);
    assert_eq!(request.xid, 0xdead_beef);
    assert_eq!(request.secs, 0x0102);
    assert_eq!(request.flags, 0x8001);
    assert!(request.wants_broadcast());
    assert_eq!(request.ciaddr, Ipv4Addr::new(10, 20, 3, 7));
    assert_eq!(request.giaddr, RELAY);
    assert_eq!(request.hardware, HardwareAddress::ethernet(HARDWARE));
    assert_eq!(request.chaddr[..6], HARDWARE);
    assert_eq!(request.client_identifier.as_deref(), Some(&b"\x01\x02\x00\x5e\x00\x53\x01"[..]));
    assert_eq!(request.requested_address, Some(Ipv4Addr::new(10, 20, 3, 8)));
    assert_eq!(request.server_identifier, Some(Ipv4Addr::new(10, 0, 0, 67)));
    assert_eq!(*request.parameter_request_list, [1, 121, 3, 6, 3]);
    assert_eq!(request.maximum_message_size, Some(1500));
    assert_eq!(request.requested_lifetime_seconds, Some(86_400));
    assert_eq!(request.subnet_selection, Some(Ipv4Addr::new(10, 20, 4, 0)));
    let relay_agent = request.relay_agent.unwrap();
    assert_eq!(relay_agent.link_selection(), Some(Ipv4Addr::new(10, 20, 4, 0)));
}

// The fixed part.

#[test]
fn every_length_below_the_cookie_is_truncated_and_the_limit_is_sharp() {
    let packet = Packet::of(1).end();
    for length in 0..240 {
        assert_eq!(refused(&packet[..length]), Reason::Truncated, "{length}");
    }
    let mut long = packet;
    long.resize(1500, 0);
    decoded(&long);
    long.push(0);
    assert_eq!(refused(&long), Reason::Oversized);
    assert_eq!(refused(&[0; 65_507]), Reason::Oversized);
}

#[test]
fn only_op_1_is_a_request() {
    for op in 0..=255 {
        let result = decode(&Packet::of(1).at(0, &[op]).end(), relayed());
        assert_eq!(result.is_ok(), op == 1);
        if op != 1 {
            assert_eq!(result, Err(Reason::NotARequest));
        }
    }
}

#[test]
fn a_hardware_length_over_16_does_not_reach_the_library_that_panics_on_it() {
    for length in 17..=255 {
        let packet = Packet::of(1).at(2, &[length]).end();
        assert_eq!(refused(&packet), Reason::BadHardwareLength, "{length}");
    }
}

#[test]
fn an_ethernet_address_has_six_bytes_and_other_types_have_their_own() {
    for length in 0..=16 {
        let ethernet = Packet::of(1).at(2, &[length]).option(61, b"\xffid").end();
        match length {
            0 | 6 => assert_eq!(decoded(&ethernet).hardware.bytes().len(), usize::from(length)),
            _ => assert_eq!(refused(&ethernet), Reason::BadHardwareLength, "{length}"),
        }
    }
    for hardware_type in (0..=255).filter(|hardware_type| *hardware_type != 1) {
        let other = Packet::of(1).at(1, &[hardware_type, 16]).end();
        let hardware = decoded(&other).hardware;
        assert_eq!(hardware.hardware_type(), hardware_type);
        assert_eq!(hardware.bytes().len(), 16);
    }
}

#[test]
fn every_wrong_cookie_byte_is_noticed() {
    for offset in 236..240 {
        let packet = Packet::of(1);
        let wrong = packet.0[offset] ^ 1;
        assert_eq!(refused(&packet.at(offset, &[wrong]).end()), Reason::BadCookie);
    }
}

#[test]
fn a_relay_loop_ends_at_16_hops() {
    assert_eq!(decoded(&Packet::of(1).at(3, &[16]).end()).hops, 16);
    for hops in 17..=255 {
        assert_eq!(refused(&Packet::of(1).at(3, &[hops]).end()), Reason::TooManyHops);
    }
}

// Who it is.

#[test]
fn infiniband_has_no_hardware_address_but_a_client_identifier() {
    let without = Packet::of(1).at(1, &[32, 0]).end();
    assert_eq!(refused(&without), Reason::NoIdentity);
    let with = Packet::of(1).at(1, &[32, 0]).option(61, b"\xff\0\0\0\x01\0\x04id").end();
    let request = decoded(&with);
    assert_eq!(request.hardware.hardware_type(), 32);
    assert!(request.hardware.bytes().is_empty());
}

#[test]
fn a_hardware_address_of_zeros_is_nobodys() {
    let zeros = Packet::of(1).at(28, &[0; 6]);
    assert_eq!(refused(&zeros.end()), Reason::NoIdentity);
    let identified = Packet::of(1).at(28, &[0; 6]).option(61, b"\0x").end();
    assert!(decoded(&identified).hardware.is_zero());
}

#[test]
fn an_empty_client_identifier_is_none_and_one_that_no_option_can_carry_is_refused() {
    assert_eq!(decoded(&Packet::of(1).option(61, b"").end()).client_identifier, None);
    let longest = Packet::of(1).option(61, &[7; 255]).end();
    assert_eq!(decoded(&longest).client_identifier.unwrap().len(), 255);
    let split = Packet::of(1).option(61, &[7; 255]).option(61, &[7]).end();
    assert_eq!(refused(&split), Reason::BadOptionLength);
}

// The options field.

#[test]
fn options_that_overrun_their_field_are_noticed_wherever_they_are() {
    assert_eq!(refused(&Packet::of(1).raw(&[12]).0), Reason::OptionsOverrun);
    assert_eq!(refused(&Packet::of(1).raw(&[12, 1]).0), Reason::OptionsOverrun);
    assert_eq!(refused(&Packet::of(1).raw(&[12, 255, 1, 2]).0), Reason::OptionsOverrun);
    let mut cut = Packet::of(1).option(82, OPTION_82).end();
    cut.truncate(cut.len() - 3);
    assert_eq!(refused(&cut), Reason::OptionsOverrun);
}

#[test]
fn a_missing_end_and_anything_after_it_are_accepted() {
    let without = Packet::of(1).option(82, OPTION_82).0;
    assert_eq!(decoded(&without).relay_agent.unwrap().raw(), OPTION_82);
    let garbage = Packet::of(1).raw(&[255, 82, 200, 12, 53]).0;
    assert_eq!(decoded(&garbage).relay_agent, None);
    let padded = Packet::new().raw(&[0, 0, 53, 1, 1, 0, 0, 255, 0, 0]).0;
    assert_eq!(decoded(&padded).message_type, MessageType::Discover);
}

#[test]
fn pieces_of_an_option_are_one_option_even_apart_and_across_fields() {
    let packet = Packet::of(1)
        .option(52, &[3])
        .option(61, b"\0a")
        .option(50, &[10, 20])
        .option(12, b"lap")
        .option(61, b"bc")
        .at(108, &[61, 1, b'd', 12, 3, b't', b'o', b'p', 255, 77])
        .at(44, &[61, 1, b'e', 50, 2, 3, 7, 255, 77])
        .end();
    let request = decoded(&packet);
    assert_eq!(request.client_identifier.as_deref(), Some(&b"\0abcde"[..]));
    assert_eq!(request.host_name.as_deref(), Some(&b"laptop"[..]));
    assert_eq!(request.requested_address, Some(Ipv4Addr::new(10, 20, 3, 7)));
}

#[test]
fn overload_is_honoured_field_by_field() {
    let packet = |overload: u8| {
        Packet::of(1)
            .option(52, &[overload])
            .at(108, &[12, 1, b'f', 255])
            .at(44, &[60, 1, b's', 55, 1, 3, 255])
            .end()
    };
    let seen = |overload| {
        let request = decoded(&packet(overload));
        (request.host_name.is_some(), !request.parameter_request_list.is_empty())
    };
    assert_eq!(seen(1), (true, false));
    assert_eq!(seen(2), (false, true));
    assert_eq!(seen(3), (true, true));
    assert_eq!(seen(0), (false, false), "no such value: option 52 counts as absent");
    assert_eq!(seen(4), (false, false), "no such value: option 52 counts as absent");
}

#[test]
fn an_overloaded_field_may_be_full_and_may_overrun() {
    let mut sname = [b'x'; 64];
    sname[..2].copy_from_slice(&[12, 62]);
    let full = Packet::of(1).option(52, &[2]).at(44, &sname).end();
    assert_eq!(decoded(&full).host_name.unwrap().len(), 62);
    sname[1] = 63;
    let overrun = Packet::of(1).option(52, &[2]).at(44, &sname).end();
    assert_eq!(refused(&overrun), Reason::OptionsOverrun);
    let text = Packet::of(1).at(44, &sname).end();
    assert_eq!(decoded(&text).host_name, None, "a server name is no option");
}

// Option 82.

#[test]
fn option_82_keeps_every_byte_in_its_order() {
    for contents in [
        &b"\x02\x02rr\x01\x02cc\x01\x02dd\x97\x03\0vp\x05\x04\x0a\x14\0\0"[..],
        b"\x05\x03\x0a\x14\0\x02\x02rr",
        b"\x0a\x00\x01\x02cc",
        b"",
    ] {
        let request = decoded(&Packet::of(1).option(82, contents).end());
        assert_eq!(request.relay_agent.unwrap().raw(), contents);
    }
    let split = Packet::of(1).option(82, b"\x01\x05ab").option(12, b"x").option(82, b"cde").end();
    assert_eq!(decoded(&split).relay_agent.unwrap().raw(), b"\x01\x05abcde");
}

#[test]
fn option_82_whose_sub_options_do_not_fit_is_not_trusted() {
    for contents in [&b"\x01"[..], b"\x01\x02a", b"\x01\x01a\x02", b"\x01\xff\x01\x02cc"] {
        let packet = Packet::of(1).option(82, contents).end();
        assert_eq!(refused(&packet), Reason::BadRelayAgentInformation, "{contents:?}");
    }
}

#[test]
fn a_client_on_an_attached_lan_cannot_say_which_port_it_is_on() {
    let without_relay = Packet::of(1).at(24, &[0; 4]).option(82, OPTION_82).end();
    assert_eq!(decode(&without_relay, attached()), Err(Reason::RelayAgentInformationWithoutRelay));
    // A trusted switch that adds option 82 to what a routed client unicasts.
    assert!(decode(&without_relay, relayed()).unwrap().relay_agent.is_some());
    let with_relay = Packet::of(1).option(82, OPTION_82).end();
    assert!(decode(&with_relay, attached()).unwrap().relay_agent.is_some());
    let no_option = Packet::of(1).at(24, &[0; 4]).end();
    assert!(decode(&no_option, attached()).is_ok());
}

// Order and totality.

#[test]
fn a_packet_with_several_faults_is_counted_by_the_first() {
    let everything = Packet::new()
        .at(0, &[2, 1, 17, 99])
        .at(236, &[0])
        .option(53, &[9])
        .option(50, &[1])
        .raw(&[82, 9])
        .0;
    let mut bytes = everything;
    assert_eq!(refused(&bytes), Reason::NotARequest);
    bytes[0] = 1;
    assert_eq!(refused(&bytes), Reason::BadHardwareLength);
    bytes[2] = 6;
    assert_eq!(refused(&bytes), Reason::BadCookie);
    bytes[236] = 99;
    assert_eq!(refused(&bytes), Reason::TooManyHops);
    bytes[3] = 0;
    assert_eq!(refused(&bytes), Reason::OptionsOverrun);
    bytes.truncate(bytes.len() - 2);
    assert_eq!(refused(&bytes), Reason::BadMessageType);
    bytes[242] = 1;
    assert_eq!(refused(&bytes), Reason::BadOptionLength);
}
