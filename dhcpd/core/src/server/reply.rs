//! How a reply is put together: its fields, its options and their order, and where it goes.

use super::levels::Levels;
use super::topology::Topology;
use crate::options::{Codes, code};
use crate::{Class, ClassSet, Destination, MessageType, Reply, Request, limits};
use std::net::{Ipv4Addr, SocketAddrV4};

/// UDP port of DHCP servers and relays.
const SERVER_PORT: u16 = 67;

/// Options that most replies have at most: room is made for so many at once.
const OPTIONS_USUALLY: usize = 14;

/// The lifetime of a lease as its client is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) lifetime_seconds: u32,
    /// Whose options it gets.
    pub(super) class: Class,
    /// The classes of clients that it is in.
    pub(super) clients: ClassSet,
    /// Whether the address is reserved for this client.
    pub(super) is_own: bool,
}

impl Terms {
    /// T1, when the client begins to renew: half the lifetime (RFC 2131 section 4.4.5).
    const fn renewal_seconds(self) -> u32 {
        self.lifetime_seconds / 2
    }

    /// T2, when it begins to rebind: seven eighths of the lifetime (RFC 2131 section 4.4.5).
    fn rebinding_seconds(self) -> u32 {
        let seven_eighths = u64::from(self.lifetime_seconds) * 7 / 8;
        u32::try_from(seven_eighths).unwrap_or(self.lifetime_seconds)
    }
}

/// The address that the client knows this server by: the override that the relay asks for (RFC 5107),
/// else the address that the request was sent to.
pub(super) fn server_identifier(request: &Request) -> Ipv4Addr {
    request
        .relay_agent
        .as_ref()
        .and_then(crate::RelayAgentInformation::server_identifier_override)
        .unwrap_or(request.arrival.local_address)
}

fn empty(request: &Request, message_type: MessageType, destination: Destination) -> Reply {
    let mut options = Vec::with_capacity(OPTIONS_USUALLY);
    options.push((code::MESSAGE_TYPE, [message_type as u8].into()));
    options.push((code::SERVER_IDENTIFIER, server_identifier(request).octets().into()));
    Reply {
        message_type,
        socket: request.arrival.socket,
        source: request.arrival.local_address,
        destination,
        xid: request.xid,
        flags: request.flags,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::UNSPECIFIED,
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: request.giaddr,
        hardware: request.hardware,
        chaddr: request.chaddr,
        options,
        relay_agent: request.relay_agent.as_ref().map(|relay_agent| relay_agent.raw().into()),
        message_size_max: request
            .maximum_message_size
            .unwrap_or(limits::MESSAGE_SIZE_MIN)
            .clamp(limits::MESSAGE_SIZE_MIN, limits::MESSAGE_SIZE_MAX),
    }
}

fn to_relay(request: &Request) -> Destination {
    // RFC 8357 section 5.2: back to the port that the relay sent from, if it says so.
    let port = match &request.relay_agent {
        Some(relay_agent) if relay_agent.wants_source_port() => request.arrival.source.port(),
        _ => SERVER_PORT,
    };
    Destination::Relay(SocketAddrV4::new(request.giaddr, port))
}

/// Where an OFFER or an ACK goes (RFC 2131 section 4.1).
fn destination(request: &Request, yiaddr: Ipv4Addr) -> Destination {
    if request.is_relayed() {
        to_relay(request)
    } else if !request.ciaddr.is_unspecified() && request.message_type != MessageType::Discover {
        Destination::Client(request.ciaddr)
    } else if request.wants_broadcast() || request.hardware.bytes().len() != 6 {
        Destination::Broadcast
    } else {
        Destination::Unconfigured { address: yiaddr, hardware: request.hardware }
    }
}

/// A DHCPNAK (RFC 2131 section 4.3.2): to the relay with the broadcast bit set, so that it reaches a
/// client whose address is wrong; broadcast on an attached LAN; else to the address that the client
/// believes to be its own, the only way there is to a client behind routers.
pub(super) fn nak(request: &Request, message: &str) -> Reply {
    let relayed = request.is_relayed();
    let destination = if relayed {
        to_relay(request)
    } else if request.arrival.attached {
        Destination::Broadcast
    } else {
        Destination::Client(request.ciaddr)
    };
    let mut reply = empty(request, MessageType::Nak, destination);
    if relayed {
        reply.flags |= Request::FLAG_BROADCAST;
    }
    reply.options.push((code::MESSAGE, message.as_bytes().into()));
    push_client_identifier(request, &mut reply);
    reply
}

/// An OFFER or an ACK of an address.
pub(super) fn grant(
    topology: &Topology,
    request: &Request,
    message_type: MessageType,
    address: Ipv4Addr,
    terms: Terms,
) -> Reply {
    let mut reply = empty(request, message_type, destination(request, address));
    reply.yiaddr = address;
    if message_type == MessageType::Ack {
        reply.ciaddr = request.ciaddr;
    }
    let seconds = |value: u32| value.to_be_bytes().into();
    reply.options.push((code::LEASE_TIME, seconds(terms.lifetime_seconds)));
    reply.options.push((code::RENEWAL_TIME, seconds(terms.renewal_seconds())));
    reply.options.push((code::REBINDING_TIME, seconds(terms.rebinding_seconds())));
    if message_type == MessageType::Ack
        && request.message_type == MessageType::Discover
        && request.rapid_commit
    {
        reply.options.push((code::RAPID_COMMIT, [].into()));
    }
    let levels = topology.levels(address.into(), terms.is_own, terms.class, terms.clients);
    push_configured(levels, request, &mut reply);
    push_echoes(request, &mut reply);
    reply
}

/// The ACK to an INFORM: parameters, and neither an address nor a lifetime (RFC 2131 section 4.3.5).
/// It goes straight to the client, also when the INFORM came through a relay.
pub(super) fn inform(levels: Option<Levels<'_>>, request: &Request) -> Reply {
    let mut reply = empty(request, MessageType::Ack, Destination::Client(request.ciaddr));
    reply.ciaddr = request.ciaddr;
    // The relay does not see this reply, so its information has nobody to go back to.
    reply.relay_agent = None;
    push_configured(levels, request, &mut reply);
    push_echoes(request, &mut reply);
    reply
}

/// The configured options for an address, in the order in which the client asks for them (RFC 2132
/// section 9.8); all of them if it asks for none in particular. What is configured for this device
/// itself is sent whether it asks or not (RFC 2131 section 4.3.1).
fn push_configured(levels: Option<Levels<'_>>, request: &Request, reply: &mut Reply) {
    let Some(levels) = levels else { return };
    if let Some((next_server, _)) = levels.next_server() {
        reply.siaddr = next_server;
    }
    let mut there = codes_of(reply);
    let mut push = |code: u8, reply: &mut Reply| {
        if !there.has(code)
            && let Some(contents) = levels.find(code)
        {
            there.add(code);
            reply.options.push((code, contents.into()));
        }
    };
    let asks_for_mask = request.parameter_request_list.contains(&code::SUBNET_MASK);
    for code in request.parameter_request_list.iter() {
        // RFC 2132 section 3.3: the subnet mask comes before the routers, whatever the client's order.
        if *code == code::ROUTERS && asks_for_mask {
            push(code::SUBNET_MASK, reply);
        }
        push(*code, reply);
    }
    if request.parameter_request_list.is_empty() {
        push(code::SUBNET_MASK, reply);
        for code in levels.shared_codes() {
            push(code, reply);
        }
    }
    for code in levels.own_codes() {
        push(code, reply);
    }
}

/// Which options a reply has.
fn codes_of(reply: &Reply) -> Codes {
    let mut codes = Codes::default();
    for (code, _) in &reply.options {
        codes.add(*code);
    }
    codes
}

fn push_echoes(request: &Request, reply: &mut Reply) {
    // RFC 3011 section 3: the option that chose the subnet comes back.
    if let Some(subnet) = request.subnet_selection {
        reply.options.push((code::SUBNET_SELECTION, subnet.octets().into()));
    }
    push_client_identifier(request, reply);
}

/// RFC 6842 section 3: the client identifier comes back as it was sent.
fn push_client_identifier(request: &Request, reply: &mut Reply) {
    if let Some(identifier) = &request.client_identifier {
        reply.options.push((code::CLIENT_IDENTIFIER, (&**identifier).into()));
    }
}
