//! Shared networks, subnets, pools and ranges.

use super::{Context, Draft, Permit, ScopeNumber, UNREADABLE};
use crate::isc::report::Kind;
use crate::isc::syntax::{Piece, Place, Statement};
use ipnetwork::Ipv4Network;
use std::net::Ipv4Addr;
use vestibule_core::AddressRange;

/// A shared network, or a subnet that stands alone.
#[derive(Debug)]
pub(in crate::isc) struct NetworkDraft {
    pub(in crate::isc) place: Place,
    /// `None`: it is a subnet alone.
    pub(in crate::isc) name: Option<String>,
    pub(in crate::isc) scope: ScopeNumber,
    pub(in crate::isc) subnets: Vec<SubnetDraft>,
    pub(in crate::isc) pools: Vec<PoolDraft>,
    /// The failover relationship of its pools.
    pub(in crate::isc) peer: Option<String>,
}

#[derive(Debug)]
pub(in crate::isc) struct SubnetDraft {
    pub(in crate::isc) place: Place,
    pub(in crate::isc) prefix: Ipv4Network,
    pub(in crate::isc) scope: ScopeNumber,
}

/// A pool, or a range that stands in no pool.
#[derive(Debug)]
pub(in crate::isc) struct PoolDraft {
    pub(in crate::isc) place: Place,
    pub(in crate::isc) scope: ScopeNumber,
    /// The subnet that it stands in; `None`: its ranges say which.
    pub(in crate::isc) subnet: Option<usize>,
    pub(in crate::isc) ranges: Vec<RangeDraft>,
    pub(in crate::isc) permits: Vec<Permit>,
    pub(in crate::isc) peer: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::isc) struct RangeDraft {
    pub(in crate::isc) place: Place,
    pub(in crate::isc) range: AddressRange,
}

impl Draft {
    pub(super) fn shared_network(
        &mut self,
        context: Context,
        statement: &Statement,
        block: &[Statement],
    ) {
        let (Some(name), None) = (statement.name(1), context.network) else {
            return self.report.left_out(statement.place, statement.shown(), UNREADABLE);
        };
        let network = self.new_network(context, statement.place, Some(name));
        let scope = self.scopes.len() - 1;
        self.statements(Context { scope, network: Some(network), ..context }, block);
    }

    pub(super) fn subnet(&mut self, context: Context, statement: &Statement, block: &[Statement]) {
        let prefix = match (statement.from(1), context.subnet) {
            ([Piece::Word(address), Piece::Word(keyword), Piece::Word(mask)], None)
                if keyword.eq_ignore_ascii_case("netmask") =>
            {
                let prefix = address.parse().ok().zip(mask.parse().ok());
                prefix.and_then(|(address, mask): (Ipv4Addr, Ipv4Addr)| {
                    Ipv4Network::with_netmask(address, mask).ok()
                })
            }
            _ => None,
        };
        let good = prefix.filter(|prefix| prefix.network() == prefix.ip() && prefix.prefix() > 0);
        let Some(prefix) = good else {
            return self.report.left_out(
                statement.place,
                statement.shown(),
                "address and mask are no prefix: write [[network.subnet]] with prefix = \"10.20.0.0/22\" and what \
                 stands in its braces",
            );
        };
        let network = match context.network {
            Some(network) => network,
            None => self.new_network(context, statement.place, None),
        };
        // What a subnet alone says is said of its link, too; here it stands with the subnet.
        let around = context.network.map_or(self.scopes.len() - 1, |_| context.scope);
        let scope = self.new_scope(around);
        let Some(draft) = self.networks.get_mut(network) else { return };
        draft.subnets.push(SubnetDraft { place: statement.place, prefix, scope });
        let subnet = Some(draft.subnets.len() - 1);
        self.statements(Context { scope, network: Some(network), subnet, ..context }, block);
    }

    fn new_network(&mut self, context: Context, place: Place, name: Option<String>) -> usize {
        let scope = self.new_scope(context.scope);
        self.networks.push(NetworkDraft {
            place,
            name,
            scope,
            subnets: Vec::new(),
            pools: Vec::new(),
            peer: None,
        });
        self.networks.len() - 1
    }

    pub(super) fn pool(&mut self, context: Context, statement: &Statement, block: &[Statement]) {
        let scope = self.new_scope(context.scope);
        let network = context.network.and_then(|number| self.networks.get_mut(number));
        let (Some(network), None) = (network, context.pool) else {
            return self.report.left_out(statement.place, statement.shown(), UNREADABLE);
        };
        network.pools.push(PoolDraft {
            place: statement.place,
            scope,
            subnet: context.subnet,
            ranges: Vec::new(),
            permits: Vec::new(),
            peer: network.peer.clone(),
        });
        let pool = Some(network.pools.len() - 1);
        self.statements(Context { scope, pool, ..context }, block);
    }

    pub(super) fn range(&mut self, context: Context, statement: &Statement) {
        let is_bootp = statement.is(1, "dynamic-bootp");
        let addresses: Vec<Option<Ipv4Addr>> = statement
            .from(if is_bootp { 2 } else { 1 })
            .iter()
            .map(|piece| match piece {
                Piece::Word(word) => word.parse().ok(),
                _ => None,
            })
            .collect();
        let range = match addresses.as_slice() {
            [Some(only)] => Some(AddressRange { first: *only, last: *only }),
            // dhcpd takes them in either order.
            [Some(one), Some(other)] => {
                Some(AddressRange { first: *one.min(other), last: *one.max(other) })
            }
            _ => None,
        };
        let network = context.network.and_then(|number| self.networks.get_mut(number));
        let (Some(range), Some(network)) = (range, network) else {
            return self.report.left_out(statement.place, statement.shown(), UNREADABLE);
        };
        let place = statement.place;
        let range = RangeDraft { place, range };
        match context.pool.and_then(|number| network.pools.get_mut(number)) {
            Some(pool) => pool.ranges.push(range),
            None => network.pools.push(PoolDraft {
                place,
                scope: context.scope,
                subnet: context.subnet,
                ranges: vec![range],
                permits: Vec::new(),
                peer: network.peer.clone(),
            }),
        }
        if is_bootp {
            let remedy = "its addresses are given to DHCP clients; this server answers no BOOTP";
            self.report.add(Kind::Changed, place, statement.shown(), remedy);
        }
    }
}
