//! `allow`, `deny` and `ignore`: what servers do for whom, and who may have addresses of a pool.

use super::{Context, Draft, UNREADABLE};
use crate::isc::report::Kind;
use crate::isc::syntax::{Place, Statement};

/// Whom a pool is for, or not for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::isc) enum Who {
    /// Clients with a host declaration.
    Known,
    /// Clients without one.
    Unknown,
    /// Everybody.
    All,
    /// Clients of BOOTP.
    Bootp,
    /// Members of a class.
    Class(String),
    /// Anything else: by date, by authentication.
    Other,
}

/// One `allow` or `deny` of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::isc) struct Permit {
    pub(in crate::isc) place: Place,
    pub(in crate::isc) is_allowed: bool,
    pub(in crate::isc) who: Who,
}

impl Draft {
    pub(super) fn access(&mut self, context: Context, statement: &Statement) {
        let is_allowed = statement.is(0, "allow");
        let place = statement.place;
        let mut words: Vec<String> =
            (1..).map_while(|at| statement.word(at)).map(str::to_ascii_lowercase).collect();
        // `known clients` and `known-clients` are one.
        if words.len() > 1 && words.last().is_some_and(|word| word == "clients") {
            words.pop();
        }
        let words: Vec<&str> =
            words.iter().map(|word| word.strip_suffix("-clients").unwrap_or(word)).collect();
        if context.pool.is_some() {
            let who = match words.as_slice() {
                ["known"] => Who::Known,
                ["unknown"] => Who::Unknown,
                ["all"] => Who::All,
                ["dynamic", "bootp"] | ["bootp"] => Who::Bootp,
                ["members", "of"] => match statement.name(3) {
                    Some(class) => Who::Class(class),
                    None => Who::Other,
                },
                _ => Who::Other,
            };
            if let Some(pool) = self.pool_of(context) {
                pool.permits.push(Permit { place, is_allowed, who });
            }
            return;
        }
        let (kind, remedy) = match (words.as_slice(), is_allowed) {
            (["unknown"], _) => {
                let number = (i64::from(is_allowed), place);
                if let Some(scope) = self.scopes.get_mut(context.scope) {
                    scope.numbers.insert("unknown-clients", number);
                }
                if !is_allowed {
                    return;
                }
                (Kind::NotNeeded, "a pool without further words is for anybody")
            }
            (["booting"], true) => (Kind::NotNeeded, "every device is answered"),
            (["booting"], false) => (
                Kind::LeftOut,
                "every device is answered here: in a gated network, suspend the device (`vestibule suspend`)",
            ),
            (["bootp"], false) => (Kind::NotNeeded, "this server answers no BOOTP"),
            (["bootp"], true) => {
                (Kind::LeftOut, "this server answers no BOOTP: give such a device DHCP")
            }
            (["duplicates"], true) => (
                Kind::NotNeeded,
                "a client is who its identifier says, whatever its hardware address",
            ),
            (["duplicates"], false) => (
                Kind::Changed,
                "two clients with one hardware address and different identifiers may both have leases here",
            ),
            (["declines"], true) => (Kind::NotNeeded, "a DECLINE is believed"),
            (["declines"], false) => {
                (Kind::Changed, "a DECLINE is believed here, up to a limit for each device")
            }
            (["client-updates"], _) => (
                Kind::NotNeeded,
                "this server changes nothing in the DNS, and hinders nobody who does",
            ),
            (["leasequery"], false) => (Kind::NotNeeded, "this server answers no DHCPLEASEQUERY"),
            (["leasequery"], true) => (
                Kind::LeftOut,
                "this server answers no DHCPLEASEQUERY: use the HTTP API (docs/api.md)",
            ),
            _ => (Kind::LeftOut, UNREADABLE),
        };
        self.report.add(kind, place, statement.shown(), remedy);
    }
}
