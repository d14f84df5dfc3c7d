//! What the gate's table says: sets, chains and rules, as data that a person can read.
//!
//! The rules decide by address and port, packet by packet. They touch only packets from or to gated
//! prefixes, whatever the other tables do: each chain's policy is to accept.
//!
//! A host's address is in one of three states, which the kernel sees by two sets:
//!
//! - in `registered`: forwarded like anybody;
//! - in `unregistered`: its DNS goes to the lying resolver, its port 80 to the redirect, it reaches the
//!   garden (the portal first of all, and what the garden's names lead to), and is refused everything else at once, so that nothing hangs;
//! - in neither (no lease backs it): refused everything but DHCP.
//!
//! IPv6 of gated networks is refused, because no lease of ours says whose an IPv6 address is; unless the
//! network lets through by Ethernet address those that hold a registered IPv4 address.

use crate::FirewallError;
use crate::ranges::{Range, merged_ipv4, merged_ipv6};
use crate::sets::SetName;
use ipnetwork::{Ipv4Network, Ipv6Network};
use serde::{Deserialize, Serialize};
use std::ffi::CStr;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The table's name unless it is configured otherwise.
pub const TABLE_DEFAULT: &str = "vestibule";

/// What the table is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ruleset {
    /// The table's name (family `inet`): a letter, then letters, digits, `_`, `-` or `.`, 31 at most.
    /// Whatever is in a table of this name is replaced.
    pub table: String,
    /// Networks whose hosts meet the gate.
    pub gated_prefixes: Vec<Ipv4Network>,
    /// The IPv6 prefixes of the same networks: refused, but for those of the next list.
    pub gated_prefixes_ipv6: Vec<Ipv6Network>,
    /// Those of them whose hosts are let through by their Ethernet address. Servers before this was
    /// possible say nothing of it.
    #[serde(default)]
    pub gated_prefixes_ipv6_by_hardware: Vec<Ipv6Network>,
    /// The registration page's address.
    pub portal: Ipv4Addr,
    /// Whether port 80 of that address goes to the redirect too. Every lied name leads there, and so
    /// every probe: where the page itself is elsewhere (https), nobody else may answer them right.
    pub portal_redirected: bool,
    /// What unregistered hosts may reach besides the portal.
    pub garden_prefixes: Vec<Ipv4Network>,
    /// Where DNS of unregistered hosts is sent.
    pub lying_resolver: SocketAddrV4,
    /// Where port 80 of unregistered hosts is sent.
    pub redirect: SocketAddrV4,
    /// Where this host answers the captive portal API (TCP), if it does so for hosts directly.
    pub captive: Option<SocketAddrV4>,
    /// The addresses that DHCP servers are reached at and send their ping checks from.
    pub server_addresses: Vec<Ipv4Addr>,
    /// How many addresses have a lease in gated networks at most; at least 1.
    pub elements_max: u32,
}

/// Which packets a rule looks at, and what a set has addresses of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

/// Where a base chain hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    RawPrerouting,
    RawOutput,
    NatPrerouting,
    Forward,
    Input,
}

impl Hook {
    /// Kind of chain, number of the hook and priority, as the kernel has them.
    pub(crate) const fn place(self) -> (&'static str, u32, i32) {
        const PRIORITY_RAW: i32 = -300;
        const PRIORITY_DESTINATION_NAT: i32 = -100;
        const PRIORITY_FILTER: i32 = 0;
        let (kind, hook, priority) = match self {
            Self::RawPrerouting => ("filter", libc::NF_INET_PRE_ROUTING, PRIORITY_RAW),
            Self::RawOutput => ("filter", libc::NF_INET_LOCAL_OUT, PRIORITY_RAW),
            Self::NatPrerouting => ("nat", libc::NF_INET_PRE_ROUTING, PRIORITY_DESTINATION_NAT),
            Self::Forward => ("filter", libc::NF_INET_FORWARD, PRIORITY_FILTER),
            Self::Input => ("filter", libc::NF_INET_LOCAL_IN, PRIORITY_FILTER),
        };
        (kind, hook.unsigned_abs(), priority)
    }
}

/// One chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: &'static CStr,
    /// `None`: other chains jump to it.
    pub(crate) hook: Option<Hook>,
}

const RAW_PREROUTING: Chain = Chain { name: c"raw_prerouting", hook: Some(Hook::RawPrerouting) };
const RAW_OUTPUT: Chain = Chain { name: c"raw_output", hook: Some(Hook::RawOutput) };
const NAT_PREROUTING: Chain = Chain { name: c"nat_prerouting", hook: Some(Hook::NatPrerouting) };
const FORWARD: Chain = Chain { name: c"gate_forward", hook: Some(Hook::Forward) };
const INPUT: Chain = Chain { name: c"gate_input", hook: Some(Hook::Input) };
const FROM_GATED: Chain = Chain { name: c"from_gated", hook: None };
const TO_GATED: Chain = Chain { name: c"to_gated", hook: None };
const TO_GATEWAY: Chain = Chain { name: c"to_gateway", hook: None };
const REFUSE: Chain = Chain { name: c"refuse", hook: None };
const FROM_GATED_IPV6: Chain = Chain { name: c"from_gated_ipv6", hook: None };
const TO_GATED_IPV6: Chain = Chain { name: c"to_gated_ipv6", hook: None };
const TO_GATEWAY_IPV6: Chain = Chain { name: c"to_gateway_ipv6", hook: None };
const REFUSE_IPV6: Chain = Chain { name: c"refuse_ipv6", hook: None };

/// Every chain; those that others jump to stand before them.
pub(crate) const CHAINS: [Chain; 13] = [
    REFUSE_IPV6,
    FROM_GATED_IPV6,
    TO_GATED_IPV6,
    TO_GATEWAY_IPV6,
    REFUSE,
    FROM_GATED,
    TO_GATED,
    TO_GATEWAY,
    RAW_PREROUTING,
    RAW_OUTPUT,
    NAT_PREROUTING,
    FORWARD,
    INPUT,
];

/// A condition on a packet. Each rule also asks for its family first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    SourceIn(SetName),
    SourceNotIn(SetName),
    DestinationIn(SetName),
    DestinationNotIn(SetName),
    /// The frame that brought the packet here came from an Ethernet address of the set.
    SourceHardwareIn(SetName),
    Source(Ipv4Addr),
    Destination(Ipv4Addr),
    Udp,
    Tcp,
    Icmp,
    Icmpv6,
    SourcePort(u16),
    DestinationPort(u16),
    IcmpType(u8),
    /// A TCP segment that opens a connection: SYN without ACK.
    Opening,
    /// Belongs to the answers of a connection that the other side opened.
    ReplyDirection,
    /// An ICMP error about a tracked flow.
    Related,
    /// Tracked in the zone of those that are led astray, [`LED_ASTRAY`].
    LedAstray,
    /// The source begins more flows than [`FLOWS_PER_SECOND_MAX`] and [`FLOWS_AT_ONCE_MAX`] allow.
    FlowBudgetSpent,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Jump(Chain),
    Goto(Chain),
    Return,
    NoTracking,
    /// From here on the packet's flow is sought, and begun, in the zone [`LED_ASTRAY`].
    LeadAstray,
    SendTo(SocketAddrV4),
    ResetConnection,
    Prohibit,
    /// Counted, and answered by nothing.
    Drop,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) chain: Chain,
    pub(crate) family: Family,
    pub(crate) matches: Vec<Match>,
    pub(crate) action: Action,
}

/// The zone of connection tracking in which the flows of unregistered hosts stand that are sent
/// elsewhere, for packets of the host. A host that changes sides meets none of the other side's: its next
/// question begins a flow anew, also from the same port. What goes straight to its destination stands
/// in the default zone, whichever side the host is on, so the portal's page outlives the registration. Answers
/// come back in the default zone: whatever another table translates is unique there.
pub(crate) const LED_ASTRAY: u16 = 22_082;

/// Flows per second that one unregistered host may begin in the long run: enough for every name and
/// page that a phone asks for when it finds itself behind a portal.
pub(crate) const FLOWS_PER_SECOND_MAX: u64 = 20;
/// Flows that it may begin at once after a rest.
pub(crate) const FLOWS_AT_ONCE_MAX: u32 = 300;
/// Hosts whose budgets are kept at once; beyond it a host is not limited.
pub(crate) const FLOW_BUDGETS_MAX: u32 = 65_536;
/// How long a budget is kept after the last flow: longer than it takes to fill up again.
pub(crate) const FLOW_BUDGET_MILLISECONDS: u64 = 60_000;

const PORT_DNS: u16 = 53;
const PORT_HTTP: u16 = 80;
const PORT_DHCP_SERVER: u16 = 67;

const ICMP_ECHO_REPLY: u8 = 0;
const ICMP_DESTINATION_UNREACHABLE: u8 = 3;
const ICMP_ECHO_REQUEST: u8 = 8;
const ICMP_TIME_EXCEEDED: u8 = 11;
const ICMP_PARAMETER_PROBLEM: u8 = 12;

impl Ruleset {
    /// Says why the table cannot be made, if so.
    pub(crate) fn check(&self) -> Result<(), FirewallError> {
        const NAME_LENGTH_MAX: usize = 31;
        let invalid = |reason| Err(FirewallError::RulesetInvalid { reason });
        let name = self.table.as_bytes();
        if !name.first().is_some_and(u8::is_ascii_alphabetic)
            || name.len() > NAME_LENGTH_MAX
            || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte))
        {
            return invalid(
                "the table's name must be a letter, then at most 30 letters, digits, '_', '-' or '.'",
            );
        }
        if self.elements_max == 0 || self.elements_max > u32::MAX / 2 {
            return invalid(
                "the sets must be made for at least 1 and at most 2147483647 addresses",
            );
        }
        if self.lying_resolver.ip().is_unspecified() || self.lying_resolver.port() == 0 {
            return invalid(
                "the lying resolver needs an address and a port that hosts can be sent to",
            );
        }
        if self.redirect.ip().is_unspecified() || self.redirect.port() == 0 {
            return invalid("the redirect needs an address and a port that hosts can be sent to");
        }
        let nowhere = |socket: SocketAddrV4| socket.ip().is_unspecified() || socket.port() == 0;
        if self.captive.is_some_and(nowhere) {
            return invalid("the captive portal API needs an address and a port");
        }
        Ok(())
    }

    /// Whether unregistered hosts reach an address for ever: the portal's, and those of the garden.
    pub(crate) fn garden_has(&self, address: Ipv4Addr) -> bool {
        address == self.portal || self.garden_prefixes.iter().any(|prefix| prefix.contains(address))
    }

    /// Whether an address meets the gate.
    pub(crate) fn gates(&self, address: Ipv4Addr) -> bool {
        self.gated_prefixes.iter().any(|prefix| prefix.contains(address))
    }

    /// The ranges of one of the sets that never end, merged: first address, and the one after the last.
    pub(crate) fn ranges(&self, set: SetName) -> Vec<Range> {
        match set {
            SetName::Gated => merged_ipv4(&self.gated_prefixes),
            SetName::GatedIpv6 => merged_ipv6(&self.gated_prefixes_ipv6),
            SetName::GatedIpv6ByHardware => merged_ipv6(&self.gated_prefixes_ipv6_by_hardware),
            SetName::Garden => {
                let mut prefixes = self.garden_prefixes.clone();
                prefixes.push(Ipv4Network::from(self.portal));
                merged_ipv4(&prefixes)
            }
            SetName::GardenNames
            | SetName::Servers
            | SetName::Unregistered
            | SetName::Registered
            | SetName::RegisteredHardware
            | SetName::FlowBudgets => Vec::new(),
        }
    }

    /// All rules, in order.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        let mut rule = |chain, matches: &[Match], action| {
            let family = Family::Ipv4;
            rules.push(Rule { chain, family, matches: matches.to_vec(), action });
        };
        raw(&mut rule);
        self.lead_astray(&mut rule);
        self.nat(&mut rule);
        rule(FORWARD, &[Match::SourceIn(SetName::Gated)], Action::Jump(FROM_GATED));
        rule(FORWARD, &[Match::DestinationIn(SetName::Gated)], Action::Jump(TO_GATED));
        rule(INPUT, &[Match::SourceIn(SetName::Gated)], Action::Jump(TO_GATEWAY));
        self.forwarded_from(&mut rule);
        self.forwarded_to(&mut rule);
        self.to_this_host(&mut rule);
        rule(REFUSE, &[Match::Tcp], Action::ResetConnection);
        rule(REFUSE, &[], Action::Prohibit);
        ipv6(&mut |chain, matches, action| {
            let family = Family::Ipv6;
            rules.push(Rule { chain, family, matches: matches.to_vec(), action });
        });
        rules
    }

    /// Before tracking: which packets of unregistered hosts are sent elsewhere.
    fn lead_astray(&self, rule: &mut impl FnMut(Chain, &[Match], Action)) {
        let unregistered = Match::SourceIn(SetName::Unregistered);
        for protocol in [Match::Udp, Match::Tcp] {
            // Whatever server they ask, the garden's own resolvers too.
            rule(
                RAW_PREROUTING,
                &[protocol, Match::DestinationPort(PORT_DNS), unregistered],
                Action::LeadAstray,
            );
        }
        let page = [Match::Tcp, Match::DestinationPort(PORT_HTTP), unregistered];
        if self.portal_redirected {
            let of_portal = [page.as_slice(), &[Match::Destination(self.portal)]].concat();
            rule(RAW_PREROUTING, &of_portal, Action::LeadAstray);
        }
        let garden = [SetName::Garden, SetName::GardenNames].map(Match::DestinationNotIn);
        rule(RAW_PREROUTING, &[page.as_slice(), &garden].concat(), Action::LeadAstray);
    }

    /// Before routing: where questions and pages of unregistered hosts really go.
    fn nat(&self, rule: &mut impl FnMut(Chain, &[Match], Action)) {
        // Only the first packet of a flow comes here, and what is dropped here is not tracked. Without
        // this, one host that asks a thousand servers in a second fills the table of tracked flows for
        // everybody, and makes each walk through it take seconds.
        rule(
            NAT_PREROUTING,
            &[
                Match::SourceIn(SetName::Gated),
                Match::SourceNotIn(SetName::Registered),
                Match::FlowBudgetSpent,
            ],
            Action::Drop,
        );
        // By the zone and not by the set, which may have changed since: in each zone is what belongs there.
        for (protocol, port, service) in [
            (Match::Udp, PORT_DNS, self.lying_resolver),
            (Match::Tcp, PORT_DNS, self.lying_resolver),
            (Match::Tcp, PORT_HTTP, self.redirect),
        ] {
            rule(
                NAT_PREROUTING,
                &[Match::LedAstray, protocol, Match::DestinationPort(port)],
                Action::SendTo(service),
            );
        }
    }

    /// The services that unregistered hosts are sent to, and the one that tells them that they are
    /// unregistered: protocol, address, port.
    fn services(&self) -> impl Iterator<Item = (Match, SocketAddrV4)> {
        let sent_to = [
            (Match::Udp, self.lying_resolver),
            (Match::Tcp, self.lying_resolver),
            (Match::Tcp, self.redirect),
        ];
        sent_to.into_iter().chain(self.captive.map(|captive| (Match::Tcp, captive)))
    }

    /// What an unregistered host may reach.
    fn services_and_garden(&self, chain: Chain, rule: &mut impl FnMut(Chain, &[Match], Action)) {
        let unregistered = Match::SourceIn(SetName::Unregistered);
        for (protocol, service) in self.services() {
            rule(
                chain,
                &[
                    unregistered,
                    Match::Destination(*service.ip()),
                    protocol,
                    Match::DestinationPort(service.port()),
                ],
                Action::Return,
            );
        }
        // A question that comes here with another destination was not sent to the lying resolver:
        // packets from port 67 are not tracked and so not translated, and answers of a flow that
        // somebody in the garden began are translated by that flow. A resolver in the garden would
        // be a way out.
        for protocol in [Match::Udp, Match::Tcp] {
            rule(
                chain,
                &[unregistered, protocol, Match::DestinationPort(PORT_DNS)],
                Action::Goto(REFUSE),
            );
        }
        rule(chain, &[unregistered, Match::DestinationIn(SetName::Garden)], Action::Return);
    }

    /// Forwarded, from a gated host. Returning lets it go on to the other direction's rules.
    fn forwarded_from(&self, rule: &mut impl FnMut(Chain, &[Match], Action)) {
        rule(FROM_GATED, &[Match::SourceIn(SetName::Registered)], Action::Return);
        // Relays have their address in the prefix they serve, and a host renews by unicast in any state.
        rule(
            FROM_GATED,
            &[
                Match::DestinationIn(SetName::Servers),
                Match::Udp,
                Match::DestinationPort(PORT_DHCP_SERVER),
            ],
            Action::Return,
        );
        self.services_and_garden(FROM_GATED, rule);
        // Forwarded only: whoever rules over a name in the garden could give it an address of this host.
        let unregistered = Match::SourceIn(SetName::Unregistered);
        rule(
            FROM_GATED,
            &[unregistered, Match::DestinationIn(SetName::GardenNames)],
            Action::Return,
        );
        rule(FROM_GATED, &[], Action::Goto(REFUSE));
    }

    /// Forwarded, to a gated host. What a host may ask may be answered; nobody else gets to it.
    ///
    /// Answers are told by where they come from, not by what connection tracking remembers: whoever has
    /// lost an address has no tracked flows any more, and no verdict may hang on that.
    fn forwarded_to(&self, rule: &mut impl FnMut(Chain, &[Match], Action)) {
        let unregistered = Match::DestinationIn(SetName::Unregistered);
        rule(TO_GATED, &[Match::DestinationIn(SetName::Registered)], Action::Return);
        rule(
            TO_GATED,
            &[Match::SourceIn(SetName::Servers), Match::Udp, Match::SourcePort(PORT_DHCP_SERVER)],
            Action::Return,
        );
        for garden in [SetName::Garden, SetName::GardenNames].map(Match::SourceIn) {
            rule(
                TO_GATED,
                &[unregistered, garden, Match::Tcp, Match::Opening],
                Action::Goto(REFUSE),
            );
            rule(TO_GATED, &[unregistered, garden], Action::Return);
        }
        for (protocol, service) in self.services() {
            // Before tracking turns the source back: that happens after this hook.
            rule(
                TO_GATED,
                &[
                    unregistered,
                    Match::Source(*service.ip()),
                    protocol,
                    Match::SourcePort(service.port()),
                ],
                Action::Return,
            );
        }
        // A router on the way to the garden says "too big", or the page never loads.
        rule(TO_GATED, &[unregistered, Match::Icmp, Match::Related], Action::Return);
        rule(TO_GATED, &[], Action::Goto(REFUSE));
    }

    /// From a gated host to this host itself. A host that has no address yet sends from 0.0.0.0, which
    /// is in no gated prefix.
    fn to_this_host(&self, rule: &mut impl FnMut(Chain, &[Match], Action)) {
        rule(TO_GATEWAY, &[Match::SourceIn(SetName::Registered)], Action::Return);
        rule(TO_GATEWAY, &[Match::Udp, Match::DestinationPort(PORT_DHCP_SERVER)], Action::Return);
        self.services_and_garden(TO_GATEWAY, rule);
        for icmp_type in [
            ICMP_ECHO_REQUEST,
            // The answer to the DHCP server's own ping check: its host is in neither set by nature.
            ICMP_ECHO_REPLY,
            ICMP_DESTINATION_UNREACHABLE,
            ICMP_TIME_EXCEEDED,
            ICMP_PARAMETER_PROBLEM,
        ] {
            rule(TO_GATEWAY, &[Match::Icmp, Match::IcmpType(icmp_type)], Action::Return);
        }
        // What this host itself began, such as a login on an edge router.
        rule(TO_GATEWAY, &[Match::ReplyDirection], Action::Return);
        rule(TO_GATEWAY, &[], Action::Goto(REFUSE));
    }
}

/// Before tracking: DHCP and the ping check of the DHCP server bypass it in both directions, or bursts
/// of them fill the table and are then dropped by it. Every DHCP packet has port 67 at one end.
fn raw(rule: &mut impl FnMut(Chain, &[Match], Action)) {
    for chain in [RAW_PREROUTING, RAW_OUTPUT] {
        for port in [Match::DestinationPort(PORT_DHCP_SERVER), Match::SourcePort(PORT_DHCP_SERVER)]
        {
            rule(chain, &[Match::Udp, port], Action::NoTracking);
        }
    }
    // Nor is it sent elsewhere, which nothing is that is not tracked.
    rule(RAW_PREROUTING, &[Match::Udp, Match::SourcePort(PORT_DHCP_SERVER)], Action::Return);
    rule(
        RAW_PREROUTING,
        &[Match::DestinationIn(SetName::Servers), Match::Icmp, Match::IcmpType(ICMP_ECHO_REPLY)],
        Action::NoTracking,
    );
    rule(
        RAW_OUTPUT,
        &[Match::SourceIn(SetName::Servers), Match::Icmp, Match::IcmpType(ICMP_ECHO_REQUEST)],
        Action::NoTracking,
    );
}

/// IPv6 from and to gated networks: refused at once, so that hosts go on with IPv4; but for what comes from
/// the Ethernet address of a registered host, and the answers to it. Of this host itself they reach what the
/// link needs (neighbour discovery, ping), and answers to what it began.
///
/// An answer's destination is known by no Ethernet address here, so tracking tells it; with a permit the flows
/// that were tracked by it go too.
fn ipv6(rule: &mut impl FnMut(Chain, &[Match], Action)) {
    let from_gated = Match::SourceIn(SetName::GatedIpv6);
    let is_let_through = [
        Match::SourceIn(SetName::GatedIpv6ByHardware),
        Match::SourceHardwareIn(SetName::RegisteredHardware),
    ];
    rule(FORWARD, &[from_gated], Action::Jump(FROM_GATED_IPV6));
    rule(FORWARD, &[Match::DestinationIn(SetName::GatedIpv6)], Action::Jump(TO_GATED_IPV6));
    rule(INPUT, &[from_gated], Action::Jump(TO_GATEWAY_IPV6));
    rule(FROM_GATED_IPV6, &is_let_through, Action::Return);
    rule(FROM_GATED_IPV6, &[], Action::Goto(REFUSE_IPV6));
    rule(
        TO_GATED_IPV6,
        &[Match::DestinationIn(SetName::GatedIpv6ByHardware), Match::ReplyDirection],
        Action::Return,
    );
    rule(TO_GATED_IPV6, &[], Action::Goto(REFUSE_IPV6));
    rule(TO_GATEWAY_IPV6, &[Match::Icmpv6], Action::Return);
    rule(TO_GATEWAY_IPV6, &[Match::ReplyDirection], Action::Return);
    rule(TO_GATEWAY_IPV6, &is_let_through, Action::Return);
    rule(TO_GATEWAY_IPV6, &[], Action::Goto(REFUSE_IPV6));
    rule(REFUSE_IPV6, &[Match::Tcp], Action::ResetConnection);
    rule(REFUSE_IPV6, &[], Action::Prohibit);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn ipv6_prefixes_become_ranges_too() {
        let ranges = |prefixes: &[&str]| {
            let gated_prefixes_ipv6 = prefixes.iter().map(|prefix| prefix.parse().unwrap());
            let ruleset = Ruleset { gated_prefixes_ipv6: gated_prefixes_ipv6.collect(), ..good() };
            ruleset.ranges(SetName::GatedIpv6)
        };
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(ranges(&[]), []);
        assert_eq!(
            ranges(&["2001:db8:1::/64", "2001:db8::/48", "2001:db8:0:7::/64", "ff00::/8"]),
            [(address("2001:db8::"), Some(address("2001:db8:1:1::"))), (address("ff00::"), None),],
        );
    }

    fn good() -> Ruleset {
        Ruleset {
            table: TABLE_DEFAULT.to_owned(),
            gated_prefixes: Vec::new(),
            gated_prefixes_ipv6: Vec::new(),
            gated_prefixes_ipv6_by_hardware: Vec::new(),
            portal: Ipv4Addr::new(10, 0, 0, 80),
            portal_redirected: true,
            garden_prefixes: Vec::new(),
            lying_resolver: "10.0.0.54:53".parse().unwrap(),
            redirect: "10.0.0.54:8080".parse().unwrap(),
            captive: None,
            server_addresses: Vec::new(),
            elements_max: 1,
        }
    }

    #[test]
    fn a_ruleset_that_cannot_be_is_refused() {
        let good = good();
        assert!(good.check().is_ok());
        for table in ["", "1a", "a b", "a\0b", "ä", &"a".repeat(32)] {
            assert!(
                Ruleset { table: table.to_owned(), ..good.clone() }.check().is_err(),
                "{table}"
            );
        }
        assert!(Ruleset { elements_max: 0, ..good.clone() }.check().is_err());
        let nowhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 53);
        assert!(Ruleset { lying_resolver: nowhere, ..good.clone() }.check().is_err());
        assert!(Ruleset { redirect: nowhere, ..good.clone() }.check().is_err());
        assert!(Ruleset { captive: Some(nowhere), ..good }.check().is_err());
    }

    #[test]
    fn every_jump_leads_to_a_chain_that_stands_before() {
        let position =
            |chain: Chain| CHAINS.iter().position(|candidate| *candidate == chain).unwrap();
        assert!(CHAINS.iter().filter(|chain| chain.hook.is_none()).all(|chain| {
            CHAINS
                .iter()
                .filter(|base| base.hook.is_some())
                .all(|b| position(*chain) < position(*b))
        }));
    }
}
