//! How replies are laid out and made to fit.

mod wire_support;

use vestibule_core::{HardwareAddress, MessageType, Reason, Reply};
use vestibule_dhcpd::wire::{Fit, MANDATORY, encode, encode_reporting};
use wire_support::{HARDWARE, ack};

/// The pieces of options in a field, as they lie there.
fn pieces(field: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut pieces = Vec::new();
    let mut rest = field;
    loop {
        match rest {
            [255, ..] => return pieces,
            [0, tail @ ..] => rest = tail,
            [code, length, tail @ ..] => {
                let (contents, tail) = tail.split_at(usize::from(*length));
                pieces.push((*code, contents.to_vec()));
                rest = tail;
            }
            _ => panic!("no End"),
        }
    }
}

fn codes(field: &[u8]) -> Vec<u8> {
    pieces(field).into_iter().map(|(code, _)| code).collect()
}

fn encoded(reply: &Reply) -> (Vec<u8>, Fit) {
    let mut buffer = b"what was here before".to_vec();
    let fit = encode_reporting(reply, &mut buffer).unwrap();
    (buffer, fit)
}

#[test]
fn the_fixed_part_is_where_the_rfc_puts_it_and_short_replies_are_padded() {
    let (bytes, fit) = encoded(&ack(vec![]));
    assert_eq!(fit, Fit::default());
    assert_eq!(bytes[..12], [2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0x80, 0]);
    assert_eq!(bytes[12..16], [10, 20, 0, 9], "ciaddr");
    assert_eq!(bytes[16..20], [10, 20, 3, 7], "yiaddr");
    assert_eq!(bytes[20..24], [10, 0, 0, 69], "siaddr");
    assert_eq!(bytes[24..28], [10, 20, 0, 1], "giaddr");
    assert_eq!(bytes[28..34], HARDWARE);
    assert!(bytes[34..236].iter().all(|byte| *byte == 0), "chaddr's rest, sname, file");
    assert_eq!(bytes[236..240], [99, 130, 83, 99]);
    assert_eq!(bytes.len(), 300);
    assert_eq!(codes(&bytes[240..]), [53, 54, 51, 58, 59, 1]);
}

#[test]
fn htype_and_hlen_are_the_clients() {
    let mut reply = ack(vec![]);
    reply.hardware = HardwareAddress::new(32, &[]).unwrap();
    assert_eq!(encoded(&reply).0[1..3], [32, 0]);
    reply.hardware = HardwareAddress::new(6, &[9; 16]).unwrap();
    assert_eq!(encoded(&reply).0[1..3], [6, 16]);
}

#[test]
fn options_keep_their_order_and_option_82_is_last_byte_for_byte() {
    let raw = b"\x02\x02rr\x01\x02cc\x01\x02dd\x05\x03\x0a\x14\0";
    let mut reply = ack(vec![(121, vec![0; 5]), (3, vec![1; 4]), (80, vec![]), (6, vec![2; 8])]);
    reply.relay_agent = Some(raw[..].into());
    let (bytes, _) = encoded(&reply);
    assert_eq!(codes(&bytes[240..]), [53, 54, 51, 58, 59, 1, 121, 3, 80, 6, 82]);
    assert_eq!(pieces(&bytes[240..]).last().unwrap().1, raw);
    reply.relay_agent = Some([].into());
    assert_eq!(pieces(&encoded(&reply).0[240..]).last().unwrap(), &(82, vec![]));
}

#[test]
fn the_message_type_is_first_and_what_the_encoder_writes_itself_is_not_taken_from_the_list() {
    let mut reply = ack(vec![(52, vec![3]), (82, vec![1]), (0, vec![1]), (255, vec![1])]);
    reply.message_type = MessageType::Nak;
    reply.options.rotate_left(1);
    let (bytes, _) = encoded(&reply);
    assert_eq!(codes(&bytes[240..]), [53, 54, 51, 58, 59, 1]);
    assert_eq!(pieces(&bytes[240..])[0].1, [6]);
}

#[test]
fn long_contents_are_split_at_255_and_never_into_an_empty_piece() {
    for (length, expected) in
        [(255, &[255][..]), (256, &[255, 1]), (510, &[255, 255]), (600, &[255, 255, 90])]
    {
        let url: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut reply = ack(vec![(114, url.clone())]);
        reply.message_size_max = 1500;
        let (bytes, fit) = encoded(&reply);
        assert_eq!(fit, Fit::default());
        let pieces: Vec<Vec<u8>> = pieces(&bytes[240..])
            .into_iter()
            .filter(|(code, _)| *code == 114)
            .map(|(_, contents)| contents)
            .collect();
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), expected);
        assert_eq!(pieces.concat(), url);
    }
}

/// Bytes for options other than the mandatory ones, End included, in a 576-byte reply: 576 - 28
/// for headers - 240 - 33 for the mandatory options.
const ROOM: usize = 576 - 28 - 240 - 33;

#[test]
fn a_reply_that_just_fits_needs_no_overload_and_one_byte_more_does() {
    let (fits, fit) = encoded(&ack(vec![(43, vec![7; ROOM - 1 - 4])]));
    assert_eq!(fits.len() + 28, 576);
    assert_eq!(fit, Fit::default());

    let options = vec![(43, vec![7; ROOM - 1 - 20 - 2 + 1]), (12, vec![b'h'; 18])];
    let (bytes, fit) = encoded(&ack(options));
    assert_eq!(fit, Fit { overload: 1, left_out: 0 });
    assert!(bytes.len() + 28 <= 576);
    assert_eq!(codes(&bytes[240..])[..2], [53, 52], "52 behind 53, before what it is about");
    assert_eq!(pieces(&bytes[108..236]), [(12, vec![b'h'; 18])]);
    assert!(bytes[44..108].iter().all(|byte| *byte == 0));
}

#[test]
fn file_and_sname_are_filled_to_the_last_byte_with_whole_options() {
    let options = vec![
        (43, vec![1; 255]),
        (200, vec![2; 125]), // exactly file, with its End
        (201, vec![3; 61]),  // exactly sname, with its End
    ];
    let (bytes, fit) = encoded(&ack(options));
    assert_eq!(fit, Fit { overload: 3, left_out: 0 });
    assert_eq!(bytes[108..110], [200, 125]);
    assert_eq!(bytes[235], 255);
    assert_eq!(bytes[44..46], [201, 61]);
    assert_eq!(bytes[107], 255);
}

#[test]
fn what_fits_nowhere_is_left_out_but_never_what_the_client_needs() {
    let mut options: Vec<(u8, Vec<u8>)> = (100..130).map(|code| (code, vec![code; 30])).collect();
    options.push((61, vec![0x61; 200]));
    let mut reply = ack(options);
    reply.relay_agent = Some(vec![1; 20].into());
    let (bytes, fit) = encoded(&reply);
    assert!(bytes.len() + 28 <= 576);
    assert_eq!(fit.overload, 3);
    let kept: Vec<u8> =
        [&bytes[240..], &bytes[108..236], &bytes[44..108]].into_iter().flat_map(codes).collect();
    for code in MANDATORY {
        assert!(kept.contains(&code), "{code}");
    }
    assert_eq!(codes(&bytes[240..]).last(), Some(&82));
    let others: Vec<u8> = (100..130).filter(|code| kept.contains(code)).collect();
    assert_eq!(fit.left_out, 30 - others.len());
    assert!(!others.is_empty() && fit.left_out > 0);
    // Of options of one size, those at the end of the list are left out.
    assert_eq!(others, (100..).take(others.len()).collect::<Vec<u8>>());
}

#[test]
fn one_huge_option_does_not_push_out_those_behind_it() {
    let reply = ack(vec![(114, vec![b'u'; 600]), (3, vec![1; 4]), (6, vec![2; 8])]);
    let (bytes, fit) = encoded(&reply);
    assert_eq!(fit.left_out, 1);
    assert_eq!(codes(&bytes[240..])[fit.overload.min(1).into()..], [53, 54, 51, 58, 59, 1, 3, 6]);
}

#[test]
fn only_mandatory_options_make_a_reply_too_large() {
    let mut reply = ack(vec![(61, vec![1; 255])]);
    reply.relay_agent = Some(vec![2; 255].into());
    let mut buffer = vec![1];
    assert_eq!(encode(&reply, &mut buffer), Err(Reason::ReplyTooLarge));
    assert!(buffer.is_empty());
    reply.message_size_max = 1500;
    assert_eq!(encode(&reply, &mut buffer), Ok(()));
    reply.message_size_max = 576;
    reply.relay_agent = Some(vec![2; 2000].into());
    assert_eq!(encode(&reply, &mut buffer), Err(Reason::ReplyTooLarge));
}

#[test]
fn the_message_size_is_kept_within_its_limits() {
    let options = vec![(43, vec![7; 250]), (114, vec![8; 250]), (225, vec![9; 250])];
    for (asked, limit) in [(0, 576), (300, 576), (576, 576), (900, 900), (1500, 1500), (9000, 1500)]
    {
        let mut reply = ack(options.clone());
        reply.message_size_max = asked;
        assert!(encoded(&reply).0.len() + 28 <= limit, "{asked}");
    }
}
