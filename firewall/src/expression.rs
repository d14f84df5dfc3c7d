//! Conditions and actions of rules, as expressions of nftnl.
//!
//! Each condition loads what it compares into register 1 and ends the rule if it does not hold. What
//! nftnl has no safe expression for is made here from its raw ones.

#![allow(
    unsafe_code,
    reason = "nftnl's safe calls have no notrack, ct direction or inverted lookup"
)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::message::{attribute, new_set, out_of_memory};
use crate::ruleset::{
    Action, FLOW_BUDGET_MILLISECONDS, FLOWS_AT_ONCE_MAX, FLOWS_PER_SECOND_MAX, Family, LED_ASTRAY,
    Match,
};
use crate::sets::{KeyKind, SetName};
use nftnl::expr::{Bitwise, Cmp, CmpOp, Expression, Immediate, Lookup, Nat, NatType, Register};
use nftnl::expr::{IcmpCode, RejectionType, Verdict};
use nftnl::{ProtoFamily, Table, nft_expr, nftnl_sys as sys};
use std::ffi::CStr;
use std::ptr::NonNull;

/// Adds the condition that the packet is one of the family.
pub(crate) fn add_family(rule: &mut nftnl::Rule<'_>, family: Family) {
    let number = match family {
        Family::Ipv4 => libc::NFPROTO_IPV4,
        Family::Ipv6 => libc::NFPROTO_IPV6,
    };
    rule.add_expr(&nft_expr!(meta nfproto));
    rule.add_expr(&equal(&[u8::try_from(number).unwrap_or_default()]));
}

/// Loads the packet's source as what the set has addresses of.
fn add_source(rule: &mut nftnl::Rule<'_>, set: SetName) {
    match set.key() {
        KeyKind::Ipv4 => rule.add_expr(&nft_expr!(payload ipv4 saddr)),
        KeyKind::Ipv6 => rule.add_expr(&nft_expr!(payload ipv6 saddr)),
        KeyKind::Ethernet => rule.add_expr(&nft_expr!(payload ethernet saddr)),
    }
}

/// Loads the packet's destination as what the set has addresses of.
fn add_destination(rule: &mut nftnl::Rule<'_>, set: SetName) {
    match set.key() {
        KeyKind::Ipv4 => rule.add_expr(&nft_expr!(payload ipv4 daddr)),
        KeyKind::Ipv6 => rule.add_expr(&nft_expr!(payload ipv6 daddr)),
        KeyKind::Ethernet => rule.add_expr(&nft_expr!(payload ethernet daddr)),
    }
}

fn equal(bytes: &[u8]) -> Cmp<&[u8]> {
    Cmp::new(CmpOp::Eq, bytes)
}

/// Adds the expressions of a condition.
pub(crate) fn add_match(rule: &mut nftnl::Rule<'_>, table: &Table, condition: Match) {
    let protocol = |rule: &mut nftnl::Rule<'_>, number: i32| {
        rule.add_expr(&nft_expr!(meta l4proto));
        rule.add_expr(&equal(&[u8::try_from(number).unwrap_or_default()]));
    };
    match condition {
        Match::SourceIn(set) => {
            add_source(rule, set);
            rule.add_expr(&Lookup::new(&new_set(table, set)));
        }
        Match::SourceNotIn(set) => {
            add_source(rule, set);
            rule.add_expr(&NotIn(set));
        }
        Match::DestinationIn(set) => {
            add_destination(rule, set);
            rule.add_expr(&Lookup::new(&new_set(table, set)));
        }
        Match::DestinationNotIn(set) => {
            add_destination(rule, set);
            rule.add_expr(&NotIn(set));
        }
        Match::SourceHardwareIn(set) => {
            // Frames of another kind have something else there.
            rule.add_expr(&nft_expr!(meta iiftype));
            rule.add_expr(&equal(&libc::ARPHRD_ETHER.to_ne_bytes()));
            add_source(rule, set);
            rule.add_expr(&Lookup::new(&new_set(table, set)));
        }
        Match::Source(address) => {
            rule.add_expr(&nft_expr!(payload ipv4 saddr));
            rule.add_expr(&equal(&address.octets()));
        }
        Match::Destination(address) => {
            rule.add_expr(&nft_expr!(payload ipv4 daddr));
            rule.add_expr(&equal(&address.octets()));
        }
        Match::Udp => protocol(rule, libc::IPPROTO_UDP),
        Match::Tcp => protocol(rule, libc::IPPROTO_TCP),
        Match::Icmp => protocol(rule, libc::IPPROTO_ICMP),
        Match::Icmpv6 => protocol(rule, libc::IPPROTO_ICMPV6),
        // The ports of TCP and UDP are at the same places.
        Match::SourcePort(port) => {
            rule.add_expr(&nft_expr!(payload udp sport));
            rule.add_expr(&equal(&port.to_be_bytes()));
        }
        Match::DestinationPort(port) => {
            rule.add_expr(&nft_expr!(payload udp dport));
            rule.add_expr(&equal(&port.to_be_bytes()));
        }
        Match::IcmpType(number) => {
            rule.add_expr(&nft_expr!(payload_raw th 0, 1));
            rule.add_expr(&equal(&[number]));
        }
        Match::Opening => {
            const FLAGS_OFFSET: u32 = 13;
            const SYN: u8 = 0x02;
            const ACK: u8 = 0x10;
            rule.add_expr(&nft_expr!(payload_raw th FLAGS_OFFSET, 1));
            rule.add_expr(&Bitwise::new(SYN | ACK, 0_u8));
            rule.add_expr(&equal(&[SYN]));
        }
        Match::ReplyDirection => {
            const REPLY: u8 = 1;
            rule.add_expr(&TrackingDirection);
            rule.add_expr(&equal(&[REPLY]));
        }
        Match::Related => {
            let related = nftnl::expr::ct::States::RELATED.bits();
            rule.add_expr(&nft_expr!(ct state));
            rule.add_expr(&Bitwise::new(related, 0_u32));
            rule.add_expr(&Cmp::new(CmpOp::Neq, 0_u32));
        }
        Match::LedAstray => {
            rule.add_expr(&TrackingZone);
            rule.add_expr(&equal(&LED_ASTRAY.to_ne_bytes()));
        }
        Match::FlowBudgetSpent => {
            rule.add_expr(&nft_expr!(payload ipv4 saddr));
            rule.add_expr(&BudgetSpent);
        }
    }
}

/// Adds the expressions of what the rule does.
pub(crate) fn add_action(rule: &mut nftnl::Rule<'_>, action: Action) {
    match action {
        Action::Jump(chain) => rule.add_expr(&Verdict::Jump { chain: chain.name.to_owned() }),
        Action::Goto(chain) => rule.add_expr(&Verdict::Goto { chain: chain.name.to_owned() }),
        Action::Return => rule.add_expr(&Verdict::Return),
        Action::NoTracking => rule.add_expr(&NoTracking),
        Action::LeadAstray => {
            rule.add_expr(&Immediate::new(LED_ASTRAY.to_ne_bytes(), Register::Reg1));
            rule.add_expr(&SetTrackingZone);
        }
        Action::SendTo(service) => {
            rule.add_expr(&Immediate::new(service.ip().octets(), Register::Reg1));
            rule.add_expr(&Immediate::new(service.port().to_be_bytes(), Register::Reg2));
            rule.add_expr(&Nat {
                nat_type: NatType::DNat,
                family: ProtoFamily::Ipv4,
                ip_register: Register::Reg1,
                port_register: Some(Register::Reg2),
            });
        }
        Action::ResetConnection => rule.add_expr(&Verdict::Reject(RejectionType::TcpRst)),
        Action::Prohibit => {
            rule.add_expr(&Verdict::Reject(RejectionType::Icmp(IcmpCode::AdminProhibited)));
        }
        Action::Drop => {
            rule.add_expr(&nft_expr!(counter));
            rule.add_expr(&Verdict::Drop);
        }
    }
}

/// `notrack`.
struct NoTracking;

impl Expression for NoTracking {
    fn to_expr(&self, _rule: &nftnl::Rule<'_>) -> NonNull<sys::nftnl_expr> {
        expression(c"notrack")
    }
}

/// `ct direction`, into register 1.
struct TrackingDirection;

impl Expression for TrackingDirection {
    fn to_expr(&self, _rule: &nftnl::Rule<'_>) -> NonNull<sys::nftnl_expr> {
        const DESTINATION_REGISTER: u16 = attribute(sys::NFTNL_EXPR_CT_DREG);
        const KEY: u16 = attribute(sys::NFTNL_EXPR_CT_KEY);
        let new = expression(c"ct");
        // SAFETY: the expression is new, and both attributes are 32-bit numbers of a `ct` expression.
        unsafe {
            let register = libc::NFT_REG_1.unsigned_abs();
            sys::nftnl_expr_set_u32(new.as_ptr(), DESTINATION_REGISTER, register);
            sys::nftnl_expr_set_u32(new.as_ptr(), KEY, libc::NFT_CT_DIRECTION.unsigned_abs());
        }
        new
    }
}

/// `ct original zone`, into register 1.
struct TrackingZone;

impl Expression for TrackingZone {
    fn to_expr(&self, _rule: &nftnl::Rule<'_>) -> NonNull<sys::nftnl_expr> {
        zone(attribute(sys::NFTNL_EXPR_CT_DREG))
    }
}

/// `ct original zone set`, from register 1.
struct SetTrackingZone;

impl Expression for SetTrackingZone {
    fn to_expr(&self, _rule: &nftnl::Rule<'_>) -> NonNull<sys::nftnl_expr> {
        zone(attribute(sys::NFTNL_EXPR_CT_SREG))
    }
}

/// The zone of the original direction: read into register 1, or set from it.
fn zone(register_attribute: u16) -> NonNull<sys::nftnl_expr> {
    const KEY: u16 = attribute(sys::NFTNL_EXPR_CT_KEY);
    const DIRECTION: u16 = attribute(sys::NFTNL_EXPR_CT_DIR);
    /// `IP_CT_DIR_ORIGINAL`
    const ORIGINAL: u8 = 0;
    let new = expression(c"ct");
    // SAFETY: the expression is new, and the attributes have the types of a `ct` expression.
    unsafe {
        let register = libc::NFT_REG_1.unsigned_abs();
        sys::nftnl_expr_set_u32(new.as_ptr(), register_attribute, register);
        sys::nftnl_expr_set_u32(new.as_ptr(), KEY, libc::NFT_CT_ZONE.unsigned_abs());
        sys::nftnl_expr_set_u8(new.as_ptr(), DIRECTION, ORIGINAL);
    }
    new
}

/// Register 1 is not in the set.
struct NotIn(SetName);

impl Expression for NotIn {
    fn to_expr(&self, _rule: &nftnl::Rule<'_>) -> NonNull<sys::nftnl_expr> {
        const SOURCE_REGISTER: u16 = attribute(sys::NFTNL_EXPR_LOOKUP_SREG);
        const SET: u16 = attribute(sys::NFTNL_EXPR_LOOKUP_SET);
        const SET_ID: u16 = attribute(sys::NFTNL_EXPR_LOOKUP_SET_ID);
        const FLAGS: u16 = attribute(sys::NFTNL_EXPR_LOOKUP_FLAGS);
        /// `NFT_LOOKUP_F_INV`.
        const INVERTED: u32 = 1;
        let new = expression(c"lookup");
        // SAFETY: the expression is new, the attributes have the types of a `lookup` expression, and
        // nftnl copies the name.
        unsafe {
            let register = libc::NFT_REG_1.unsigned_abs();
            sys::nftnl_expr_set_u32(new.as_ptr(), SOURCE_REGISTER, register);
            sys::nftnl_expr_set_str(new.as_ptr(), SET, self.0.name().as_ptr());
            sys::nftnl_expr_set_u32(new.as_ptr(), SET_ID, self.0.id());
            sys::nftnl_expr_set_u32(new.as_ptr(), FLAGS, INVERTED);
        }
        new
    }
}

/// The budget that the set of budgets has for register 1 is spent. Each look at it costs one.
struct BudgetSpent;

impl Expression for BudgetSpent {
    fn to_expr(&self, _rule: &nftnl::Rule<'_>) -> NonNull<sys::nftnl_expr> {
        const KEY_REGISTER: u16 = attribute(sys::NFTNL_EXPR_DYNSET_SREG_KEY);
        const OPERATION: u16 = attribute(sys::NFTNL_EXPR_DYNSET_OP);
        const TIMEOUT: u16 = attribute(sys::NFTNL_EXPR_DYNSET_TIMEOUT);
        const SET: u16 = attribute(sys::NFTNL_EXPR_DYNSET_SET_NAME);
        const SET_ID: u16 = attribute(sys::NFTNL_EXPR_DYNSET_SET_ID);
        const BUDGET: u16 = attribute(sys::NFTNL_EXPR_DYNSET_EXPR);
        const RATE: u16 = attribute(sys::NFTNL_EXPR_LIMIT_RATE);
        const UNIT: u16 = attribute(sys::NFTNL_EXPR_LIMIT_UNIT);
        const BURST: u16 = attribute(sys::NFTNL_EXPR_LIMIT_BURST);
        const KIND: u16 = attribute(sys::NFTNL_EXPR_LIMIT_TYPE);
        const FLAGS: u16 = attribute(sys::NFTNL_EXPR_LIMIT_FLAGS);
        /// `NFT_DYNSET_OP_UPDATE`
        const UPDATE: u32 = 1;
        /// Seconds in the unit of the rate.
        const PER_SECOND: u64 = 1;
        /// `NFT_LIMIT_PKTS`
        const PACKETS: u32 = 0;
        /// `NFT_LIMIT_F_INV`: it holds when the limit is exceeded.
        const EXCEEDED: u32 = 1;
        let budget = expression(c"limit");
        let new = expression(c"dynset");
        let name = SetName::FlowBudgets;
        // SAFETY: both expressions are new, the attributes have the types of a `limit` and of a
        // `dynset` expression, nftnl copies the name, and the `dynset` owns and frees the `limit`.
        unsafe {
            let register = libc::NFT_REG_1.unsigned_abs();
            sys::nftnl_expr_set_u64(budget.as_ptr(), RATE, FLOWS_PER_SECOND_MAX);
            sys::nftnl_expr_set_u64(budget.as_ptr(), UNIT, PER_SECOND);
            sys::nftnl_expr_set_u32(budget.as_ptr(), BURST, FLOWS_AT_ONCE_MAX);
            sys::nftnl_expr_set_u32(budget.as_ptr(), KIND, PACKETS);
            sys::nftnl_expr_set_u32(budget.as_ptr(), FLAGS, EXCEEDED);
            sys::nftnl_expr_set_u32(new.as_ptr(), KEY_REGISTER, register);
            sys::nftnl_expr_set_u32(new.as_ptr(), OPERATION, UPDATE);
            sys::nftnl_expr_set_u64(new.as_ptr(), TIMEOUT, FLOW_BUDGET_MILLISECONDS);
            sys::nftnl_expr_set_str(new.as_ptr(), SET, name.name().as_ptr());
            sys::nftnl_expr_set_u32(new.as_ptr(), SET_ID, name.id());
            sys::nftnl_expr_set(new.as_ptr(), BUDGET, budget.as_ptr().cast(), 0);
        }
        new
    }
}

fn expression(name: &CStr) -> NonNull<sys::nftnl_expr> {
    // SAFETY: the name is a string of C.
    let new = unsafe { sys::nftnl_expr_alloc(name.as_ptr()) };
    NonNull::new(new).unwrap_or_else(|| out_of_memory())
}
