//! What must hold of every packet that could arrive on port 67.

use crate::wire;
use dhcproto::v4::{self, DhcpOption, OptionCode, borrowed};
use dhcproto::{Decodable, Decoder};
use std::net::{Ipv4Addr, SocketAddrV4};
use vestibule_core::options::code;
use vestibule_core::{
    Arrival, Destination, MessageType, Octets, Reason, Reply, Request, SocketIndex,
};

/// Decodes the packet as one from a relay and as one from an attached LAN; compares what comes out
/// with what dhcproto's borrowed view shows; answers it, encodes the answer and reads that back with
/// dhcproto's owned decoder.
///
/// # Panics
/// If a promise of `wire` is broken.
pub fn check(bytes: &[u8]) {
    let relayed = wire::decode(bytes, arrival(false));
    let attached = wire::decode(bytes, arrival(true));
    let request = match (relayed, attached) {
        (Ok(relayed), Ok(attached)) => {
            assert_eq!(Request { arrival: arrival(true), ..relayed.clone() }, attached);
            relayed
        }
        (Ok(relayed), Err(Reason::RelayAgentInformationWithoutRelay)) => {
            assert!(relayed.relay_agent.is_some() && relayed.giaddr.is_unspecified());
            relayed
        }
        (Err(relayed), Err(attached)) => {
            // Only the last two checks can differ: identity, and option 82 without a relay.
            assert!(
                relayed == attached
                    || (relayed, attached)
                        == (Reason::NoIdentity, Reason::RelayAgentInformationWithoutRelay)
            );
            return;
        }
        (relayed, attached) => panic!("{relayed:?} from a relay, but {attached:?} on a LAN"),
    };
    invariants(&request, bytes);
    compare_with_borrowed_view(&request, bytes);
    let mut buffer = Vec::new();
    for size_max in [request.maximum_message_size.unwrap_or(576), 1500] {
        let reply = reply(&request, size_max);
        match wire::encode_reporting(&reply, &mut buffer) {
            Ok(fit) => read_back(&reply, &buffer, fit, size_max),
            Err(reason) => assert_eq!(reason, Reason::ReplyTooLarge),
        }
    }
}

/// How the packets of these checks arrive.
fn arrival(attached: bool) -> Arrival {
    Arrival {
        socket: SocketIndex(0),
        local_address: Ipv4Addr::new(192, 0, 2, 1),
        source: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 9), 67),
        broadcast: attached,
        attached,
    }
}

/// The types of [`Request`] promise more than Rust can say.
fn invariants(request: &Request, bytes: &[u8]) {
    assert!((wire::MESSAGE_LENGTH_MIN..=wire::MESSAGE_LENGTH_MAX).contains(&bytes.len()));
    assert!(request.hops <= wire::HOPS_MAX);
    assert!(request.chaddr.starts_with(request.hardware.bytes()));
    let client_identifier = request.client_identifier.as_deref();
    assert!(client_identifier.is_none_or(|id| (1..=255).contains(&id.len())));
    assert!(client_identifier.is_some() || !request.hardware.is_zero());
    let host_name = request.host_name.as_deref();
    assert!(host_name.is_none_or(|name| (1..=255).contains(&name.len())));
    assert!(host_name.is_none_or(|name| name.last() != Some(&0)));
    assert!(!matches!(
        request.message_type,
        MessageType::Offer | MessageType::Ack | MessageType::Nak
    ));
}

/// Where dhcproto's view can see everything (no overload, no code in two places), it sees the same.
fn compare_with_borrowed_view(request: &Request, bytes: &[u8]) {
    let view = borrowed::Message::new(bytes).expect("long enough");
    assert_eq!(view.xid(), request.xid);
    assert_eq!(view.secs(), request.secs);
    assert_eq!(u16::from(view.flags()), request.flags);
    assert_eq!(view.ciaddr(), request.ciaddr);
    assert_eq!(view.giaddr(), request.giaddr);
    assert_eq!(view.chaddr(), request.hardware.bytes());
    let options: Vec<(u8, Vec<u8>)> =
        view.opts().map(|option| (option.code().into(), option.data().to_vec())).collect();
    let overloaded = options.iter().any(|(code, _)| *code == code::OVERLOAD);
    let find = |wanted: u8| {
        let mut of_this_code = options.iter().filter(|(code, _)| *code == wanted);
        match (of_this_code.next(), of_this_code.next()) {
            _ if overloaded => None,
            (None, _) => Some(None),
            (Some((_, contents)), None) => Some(Some(&**contents)),
            (Some(_), Some(_)) => None,
        }
    };
    let same = |code: u8, ours: Option<&[u8]>| {
        if let Some(theirs) = find(code) {
            assert_eq!(theirs.filter(|contents| !contents.is_empty()), ours, "option {code}");
        }
    };
    same(code::MESSAGE_TYPE, Some(&[request.message_type as u8]));
    same(code::CLIENT_IDENTIFIER, request.client_identifier.as_deref());
    same(
        code::REQUESTED_ADDRESS,
        request.requested_address.map(|a| a.octets()).as_ref().map(|a| &a[..]),
    );
    same(
        code::SERVER_IDENTIFIER,
        request.server_identifier.map(|a| a.octets()).as_ref().map(|a| &a[..]),
    );
    same(
        code::SUBNET_SELECTION,
        request.subnet_selection.map(|a| a.octets()).as_ref().map(|a| &a[..]),
    );
    same(
        code::MAXIMUM_MESSAGE_SIZE,
        request.maximum_message_size.map(u16::to_be_bytes).as_ref().map(|size| &size[..]),
    );
    same(
        code::LEASE_TIME,
        request.requested_lifetime_seconds.map(u32::to_be_bytes).as_ref().map(|time| &time[..]),
    );
    let list = &*request.parameter_request_list;
    same(code::PARAMETER_REQUEST_LIST, Some(list).filter(|list| !list.is_empty()));
    if let Some(theirs) = find(code::RELAY_AGENT_INFORMATION) {
        assert_eq!(theirs, request.relay_agent.as_ref().map(|information| information.raw()));
    }
}

/// An ACK that echoes everything that the client sent. Foreign bytes travel in options that
/// dhcproto does not interpret (43, 224, 225), so that its decoder can be the oracle.
fn reply(request: &Request, message_size_max: u16) -> Reply {
    let mut options: Vec<(u8, Octets)> = vec![
        (code::MESSAGE_TYPE, [MessageType::Ack as u8].into()),
        (code::SERVER_IDENTIFIER, [192, 0, 2, 1].into()),
        (code::LEASE_TIME, 3600u32.to_be_bytes().into()),
        (code::RENEWAL_TIME, 1800u32.to_be_bytes().into()),
        (code::REBINDING_TIME, 3150u32.to_be_bytes().into()),
        (code::SUBNET_MASK, [255, 255, 252, 0].into()),
    ];
    if let Some(identifier) = &request.client_identifier {
        options.push((code::CLIENT_IDENTIFIER, identifier.clone().into()));
    }
    if request.rapid_commit {
        options.push((code::RAPID_COMMIT, Octets::default()));
    }
    if let Some(name) = &request.host_name {
        options.push((224, name.clone()));
    }
    options.push((225, request.parameter_request_list.clone()));
    Reply {
        message_type: MessageType::Ack,
        socket: request.arrival.socket,
        source: request.arrival.local_address,
        destination: Destination::Client(Ipv4Addr::new(192, 0, 2, 77)),
        xid: request.xid,
        flags: request.flags,
        ciaddr: request.ciaddr,
        yiaddr: Ipv4Addr::new(192, 0, 2, 77),
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: request.giaddr,
        hardware: request.hardware,
        chaddr: request.chaddr,
        options,
        relay_agent: request.relay_agent.as_ref().map(|information| information.raw().into()),
        message_size_max,
    }
}

/// The encoded reply says what the reply says, within its size.
fn read_back(reply: &Reply, bytes: &[u8], fit: wire::Fit, size_max: u16) {
    assert!(bytes.len() >= wire::MESSAGE_LENGTH_PADDED);
    assert!(bytes.len() + 28 <= usize::from(size_max.clamp(576, 1500)));
    let options = options_of_reply(bytes);
    assert_eq!(options.first().map(|(code, _)| *code), Some(code::MESSAGE_TYPE));
    let last = options.iter().rfind(|(code, _)| *code == code::RELAY_AGENT_INFORMATION);
    assert_eq!(last.map(|(_, contents)| &**contents), reply.relay_agent.as_deref());
    for (code, contents) in &reply.options {
        let theirs = options.iter().find(|(candidate, _)| candidate == code);
        match theirs {
            Some((_, theirs)) => assert_eq!(theirs[..], contents[..], "option {code}"),
            None => assert!(fit.left_out > 0 && !wire::MANDATORY.contains(code), "{code} lost"),
        }
    }

    let message = v4::Message::decode(&mut Decoder::new(bytes)).expect("the oracle reads it");
    assert_eq!(message.opcode(), v4::Opcode::BootReply);
    assert_eq!(message.xid(), reply.xid);
    assert_eq!(u16::from(message.flags()), reply.flags);
    assert_eq!(message.ciaddr(), reply.ciaddr);
    assert_eq!(message.yiaddr(), reply.yiaddr);
    assert_eq!(message.siaddr(), reply.siaddr);
    assert_eq!(message.giaddr(), reply.giaddr);
    assert_eq!(u8::from(message.htype()), reply.hardware.hardware_type());
    assert_eq!(message.chaddr(), reply.hardware.bytes());
    assert_eq!(message.opts().msg_type(), Some(v4::MessageType::Ack));
    if fit.overload == 0 {
        let opts = message.opts();
        assert_eq!(
            opts.get(OptionCode::AddressLeaseTime),
            Some(&DhcpOption::AddressLeaseTime(3600))
        );
        assert_eq!(
            opts.get(OptionCode::ServerIdentifier),
            Some(&DhcpOption::ServerIdentifier(Ipv4Addr::new(192, 0, 2, 1)))
        );
        if let Some(identifier) = reply.option(code::CLIENT_IDENTIFIER) {
            assert_eq!(
                opts.get(OptionCode::ClientIdentifier),
                Some(&DhcpOption::ClientIdentifier(identifier.to_vec()))
            );
        }
    }
}

/// The options of a reply in RFC 3396's order of fields, joined: dhcproto's own iterator over each
/// field that option 52 names.
fn options_of_reply(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let walk = |field| {
        borrowed::DhcpOptionIterator::new(field)
            .map(|option| (u8::from(option.code()), option.data().to_vec()))
            .collect::<Vec<_>>()
    };
    let mut options = walk(&bytes[240..]);
    let overload = options.iter().find(|(code, _)| *code == code::OVERLOAD);
    let overload = overload.map_or(0, |(_, contents)| contents[0]);
    if overload & 1 != 0 {
        options.extend(walk(&bytes[108..236]));
    }
    if overload & 2 != 0 {
        options.extend(walk(&bytes[44..108]));
    }
    options
}
