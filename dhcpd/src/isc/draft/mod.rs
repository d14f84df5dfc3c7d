//! What a `dhcpd.conf` says, gathered: scopes with their settings, networks, hosts, classes.
//!
//! One walk through the tree. It decides nothing about our configuration, that is the [plan](super::plan)'s
//! part, but it reports every statement that no part of the plan will look at.

mod access;
mod hosts;
mod networks;
mod options;

pub(super) use access::{Permit, Who};
pub(super) use hosts::{ClassDraft, HostDraft, hardware_of};
pub(super) use networks::{NetworkDraft, PoolDraft, RangeDraft};
pub(super) use options::Setting;

use super::option_data::{self, Format};
use super::option_toml::OptionWriter;
use super::report::{Kind, Report};
use super::statements;
use super::syntax::{Configuration, Piece, Place, Statement, joined};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Numbers that a scope may set and that somebody looks at; truth values are 0 and 1.
const NUMBERS: &[&str] = &[
    "abandon-lease-time",
    "default-lease-time",
    "dhcp-cache-threshold",
    "max-lease-time",
    "min-lease-time",
    "use-host-decl-names",
];

/// Names a scope.
pub(super) type ScopeNumber = usize;

/// What stands in one pair of braces, or outside of all, and what is around it.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) parent: Option<ScopeNumber>,
    /// By code.
    pub(super) options: BTreeMap<u8, Setting>,
    /// By keyword, those of [`NUMBERS`] and `unknown-clients`, which is 1 if they are allowed.
    pub(super) numbers: BTreeMap<&'static str, (i64, Place)>,
}

/// One `failover peer "name" { … }`: what each of its statements says.
#[derive(Debug)]
pub(super) struct PeerDraft {
    pub(super) place: Place,
    pub(super) name: String,
    /// By keywords, as `peer address`; a keyword alone has no value.
    pub(super) settings: BTreeMap<String, (String, Place)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) report: Report,
    /// The outermost is number 0.
    pub(super) scopes: Vec<Scope>,
    pub(super) networks: Vec<NetworkDraft>,
    pub(super) hosts: Vec<HostDraft>,
    pub(super) classes: BTreeMap<String, ClassDraft>,
    pub(super) peers: Vec<PeerDraft>,
    /// Addresses that the server is said to have: `local-address`, `server-identifier`.
    pub(super) own_addresses: Vec<Ipv4Addr>,
    /// `None`: it is not said, which means no.
    pub(super) is_authoritative: Option<bool>,
    pub(super) writer: OptionWriter,
    /// Options that the file defines, by name.
    formats: BTreeMap<String, (u8, Format)>,
    updates_dns: bool,
}

/// Where a statement stands.
#[derive(Clone, Copy, Debug, Default)]
struct Context {
    scope: ScopeNumber,
    network: Option<usize>,
    /// A subnet of that network.
    subnet: Option<usize>,
    /// A pool of that network.
    pool: Option<usize>,
    host: Option<usize>,
}

impl Draft {
    /// Gathers what a configuration says.
    pub(super) fn of(configuration: &Configuration) -> Self {
        let updates_dns = configuration
            .statements
            .iter()
            .any(|statement| statement.is(0, "ddns-update-style") && !statement.is(1, "none"));
        let report = Report { files: configuration.files.clone(), ..Report::default() };
        let mut draft = Self {
            report,
            scopes: vec![Scope::default()],
            networks: Vec::new(),
            hosts: Vec::new(),
            classes: BTreeMap::new(),
            peers: Vec::new(),
            own_addresses: Vec::new(),
            is_authoritative: None,
            writer: OptionWriter::default(),
            formats: BTreeMap::new(),
            updates_dns,
        };
        draft.statements(Context::default(), &configuration.statements);
        draft
    }

    /// The scopes from one outwards.
    pub(super) fn chain(&self, scope: ScopeNumber) -> impl Iterator<Item = ScopeNumber> + '_ {
        std::iter::successors(Some(scope), |number| self.scopes.get(*number)?.parent)
    }

    /// What a scope or the nearest one around it sets.
    pub(super) fn number(&self, scope: ScopeNumber, keyword: &str) -> Option<(i64, Place)> {
        self.chain(scope).find_map(|number| self.scopes.get(number)?.numbers.get(keyword).copied())
    }

    fn new_scope(&mut self, parent: ScopeNumber) -> ScopeNumber {
        self.scopes.push(Scope { parent: Some(parent), ..Scope::default() });
        self.scopes.len() - 1
    }

    fn statements(&mut self, context: Context, statements: &[Statement]) {
        for statement in statements {
            self.statement(context, statement);
        }
    }

    fn statement(&mut self, context: Context, statement: &Statement) {
        let keyword = statement.word(0).unwrap_or_default().to_ascii_lowercase();
        match (keyword.as_str(), &statement.block) {
            ("option", None) => self.option(context, statement),
            ("group", Some(block)) => {
                let scope = self.new_scope(context.scope);
                self.statements(Context { scope, ..context }, block);
            }
            ("shared-network", Some(block)) => self.shared_network(context, statement, block),
            ("subnet", Some(block)) => self.subnet(context, statement, block),
            ("pool", Some(block)) => self.pool(context, statement, block),
            ("range", None) => self.range(context, statement),
            ("host", Some(block)) => self.host(context, statement, block),
            ("class" | "user-class" | "vendor-class", Some(block)) => {
                self.class(statement, block);
            }
            ("subclass", block) => self.subclass(statement, block.as_deref()),
            ("failover", _) => self.failover(context, statement),
            ("no", None) if statement.begins(&["no", "failover", "peer"]) => {
                if let Some(pool) = self.pool_of(context) {
                    pool.peer = None;
                }
            }
            ("allow" | "deny" | "ignore", None) => self.access(context, statement),
            ("authoritative", None) => self.authority(statement, true),
            ("not", None) if statement.is(1, "authoritative") => self.authority(statement, false),
            (
                "hardware" | "fixed-address" | "uid" | "host-identifier" | "dynamic" | "deleted",
                None,
            ) if context.host.is_some() => self.of_host(context, statement),
            ("ignore-client-uids", None) if is_true(statement) => self.report.changed(
                statement.place,
                statement.shown(),
                "a client that sends an identifier (option 61) is known by it here, and by its hardware address \
                 only if it sends none: such a client does not find its lease again, and gets another address when \
                 it renews",
            ),
            _ => self.simple(context, &keyword, statement),
        }
    }

    /// A statement of a keyword and a value, or one that is not taken over.
    fn simple(&mut self, context: Context, keyword: &str, statement: &Statement) {
        if let Some(known) = NUMBERS.iter().find(|known| **known == keyword) {
            return self.set_number(context, known, statement);
        }
        if keyword == "boot-unknown-clients" {
            let is_allowed = i64::from(is_true(statement));
            if let Some(scope) = self.scopes.get_mut(context.scope) {
                scope.numbers.insert("unknown-clients", (is_allowed, statement.place));
            }
            return;
        }
        if matches!(keyword, "local-address" | "server-identifier")
            && let Some(address) = statement.word(1).and_then(|word| word.parse().ok())
        {
            self.own_addresses.push(address);
        }
        let (kind, remedy) = match (keyword, statements::fate(keyword)) {
            ("ddns-update-style", _) if !self.updates_dns => {
                (Kind::NotNeeded, "this server changes nothing in the DNS either")
            }
            (keyword, _) if keyword.starts_with("ddns-") && !self.updates_dns => {
                (Kind::NotNeeded, "without ddns-update-style it did nothing")
            }
            ("ping-check", _) if !is_true(statement) => {
                (Kind::NotNeeded, "this server pings no address before it offers it either")
            }
            ("duplicates" | "one-lease-per-client" | "echo-client-id", Some((_, remedy)))
                if !is_true(statement) =>
            {
                (Kind::Changed, remedy)
            }
            (_, Some(fate)) => fate,
            (_, None) => {
                (Kind::LeftOut, "this statement is not known: see what dhcpd.conf(5) says of it")
            }
        };
        // A secret is nobody's business.
        let what = match keyword {
            "ldap-password" | "secret" => format!("{keyword} …"),
            _ => statement.shown(),
        };
        self.report.add(kind, statement.place, what, remedy);
    }

    fn set_number(&mut self, context: Context, known: &'static str, statement: &Statement) {
        let number = match statement.from(1) {
            [Piece::Word(word)] => match word.to_ascii_lowercase().as_str() {
                "true" | "on" => Some(1),
                "false" | "off" => Some(0),
                "infinite" => Some(i64::from(u32::MAX)),
                word => option_data::number(word).filter(|number| *number >= 0),
            },
            _ => None,
        };
        match (number, self.scopes.get_mut(context.scope)) {
            (Some(number), Some(scope)) => {
                scope.numbers.insert(known, (number, statement.place));
            }
            _ => self.report.left_out(
                statement.place,
                statement.shown(),
                "its value is no number: what is computed for each client has no equal here",
            ),
        }
    }

    fn authority(&mut self, statement: &Statement, is_authoritative: bool) {
        self.is_authoritative = Some(is_authoritative);
        if is_authoritative {
            self.report.add(
                Kind::NotNeeded,
                statement.place,
                statement.shown(),
                "this server always answers for the networks in its file",
            );
        } else {
            self.report.changed(statement.place, statement.shown(), NOT_AUTHORITATIVE);
        }
    }

    /// `failover peer "name" { … }`, or which relationship a shared network or a pool belongs to.
    fn failover(&mut self, context: Context, statement: &Statement) {
        let name = statement.name(2).filter(|_| statement.is(1, "peer"));
        let (Some(name), is_state) = (name, statement.is(3, "state")) else {
            return self.report.left_out(statement.place, statement.shown(), UNREADABLE);
        };
        match &statement.block {
            Some(block) if !is_state => {
                let mut settings = BTreeMap::new();
                for setting in block {
                    let (keywords, value) = keywords_and_value(setting);
                    settings.insert(keywords, (value, setting.place));
                }
                let place = statement.place;
                self.peers.push(PeerDraft { place, name, settings });
            }
            // What a lease file says of it.
            Some(_) => {}
            None => {
                if let Some(pool) = self.pool_of(context) {
                    pool.peer = Some(name);
                } else if let Some(network) =
                    context.network.and_then(|number| self.networks.get_mut(number))
                {
                    network.peer = Some(name);
                } else {
                    self.report.left_out(statement.place, statement.shown(), UNREADABLE);
                }
            }
        }
    }

    fn pool_of(&mut self, context: Context) -> Option<&mut PoolDraft> {
        self.networks.get_mut(context.network?)?.pools.get_mut(context.pool?)
    }
}

/// What to do about a statement that dhcpd does not understand either.
const UNREADABLE: &str = "it is not as dhcpd.conf(5) has it";

/// What is other for a site whose dhcpd was not authoritative.
pub(super) const NOT_AUTHORITATIVE: &str = "this server always answers for the networks in its file: a client that asks \
                                            for an address that is wrong there gets a NAK, where dhcpd kept silent";

fn is_true(statement: &Statement) -> bool {
    !(statement.is(1, "false") || statement.is(1, "off"))
}

/// `max-response-delay 30` as keyword and value; `load balance max seconds 3` too.
fn keywords_and_value(setting: &Statement) -> (String, String) {
    let is_keyword = |piece: &&Piece| matches!(piece, Piece::Word(word) if word.starts_with(|first: char| first.is_ascii_alphabetic()));
    // `address` may be followed by a name.
    let address = setting.pieces.iter().position(
        |piece| matches!(piece, Piece::Word(word) if word.eq_ignore_ascii_case("address")),
    );
    let count = match address {
        Some(at) => at + 1,
        None => setting.pieces.iter().take_while(is_keyword).count(),
    };
    let (keywords, value) = setting.pieces.split_at_checked(count).unwrap_or_default();
    (joined(keywords).to_ascii_lowercase(), joined(value))
}
