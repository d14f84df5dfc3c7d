//! Host declarations, classes and their members.

use super::{Context, Draft, ScopeNumber, UNREADABLE};
use crate::isc::option_data::hexadecimal;
use crate::isc::report::Kind;
use crate::isc::syntax::{Piece, Place, Statement};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::HardwareAddress;

/// One `host`.
#[derive(Debug)]
pub(in crate::isc) struct HostDraft {
    pub(in crate::isc) place: Place,
    pub(in crate::isc) name: String,
    pub(in crate::isc) scope: ScopeNumber,
    pub(in crate::isc) hardware: Option<HardwareAddress>,
    pub(in crate::isc) addresses: Vec<(Ipv4Addr, Place)>,
    /// The line that names it by something else than its hardware address.
    pub(in crate::isc) identifier: Option<Place>,
    /// Deleted through OMAPI.
    pub(in crate::isc) is_deleted: bool,
}

/// One `class`.
#[derive(Debug)]
pub(in crate::isc) struct ClassDraft {
    pub(in crate::isc) place: Place,
    /// Whether hardware addresses make its members, one subclass each, and nothing else is said of them.
    pub(in crate::isc) is_of_devices: bool,
    pub(in crate::isc) members: BTreeMap<HardwareAddress, Place>,
}

impl Draft {
    pub(super) fn host(&mut self, context: Context, statement: &Statement, block: &[Statement]) {
        let (Some(name), None) = (statement.name(1), context.host) else {
            return self.report.left_out(statement.place, statement.shown(), UNREADABLE);
        };
        let scope = self.new_scope(context.scope);
        self.hosts.push(HostDraft {
            place: statement.place,
            name,
            scope,
            hardware: None,
            addresses: Vec::new(),
            identifier: None,
            is_deleted: false,
        });
        let host = Some(self.hosts.len() - 1);
        self.statements(Context { scope, host, ..context }, block);
    }

    /// What only a host can say.
    pub(super) fn of_host(&mut self, context: Context, statement: &Statement) {
        let Some(host) = context.host.and_then(|number| self.hosts.get_mut(number)) else { return };
        let place = statement.place;
        if statement.is(0, "hardware") {
            host.hardware = hardware_of(statement.from(1));
            if host.hardware.is_none() {
                self.report.left_out(place, statement.shown(), "it is no hardware address");
            }
        } else if statement.is(0, "fixed-address") {
            for piece in statement.from(1) {
                match piece {
                    Piece::Mark(b',') => {}
                    Piece::Word(word) => match word.parse() {
                        Ok(address) => host.addresses.push((address, place)),
                        Err(_) => {
                            let remedy = "names are not looked up here: write a reservation with the address";
                            self.report.left_out(place, format!("fixed-address {word}"), remedy);
                        }
                    },
                    _ => self.report.left_out(place, statement.shown(), UNREADABLE),
                }
            }
        } else if statement.is(0, "deleted") {
            host.is_deleted = true;
        } else if !statement.is(0, "dynamic") {
            host.identifier = Some(place);
        }
    }

    pub(super) fn class(&mut self, statement: &Statement, block: &[Statement]) {
        let Some(name) = statement.name(1) else {
            return self.report.left_out(statement.place, statement.shown(), UNREADABLE);
        };
        let is_of_devices = match block {
            [only] => only.is(0, "match") && only.is(1, "hardware") && only.pieces.len() == 2,
            _ => false,
        };
        if !is_of_devices {
            self.report.left_out(
                statement.place,
                statement.shown(),
                "hosts are told apart by network, subnet, reservation and registration, not by what they send: give \
                 the devices reservations with options of their own, or a network of their own",
            );
        }
        let place = statement.place;
        self.classes.insert(name, ClassDraft { place, is_of_devices, members: BTreeMap::new() });
    }

    pub(super) fn subclass(&mut self, statement: &Statement, block: Option<&[Statement]>) {
        let class = statement.name(1).and_then(|name| self.classes.get_mut(&name));
        let Some(class) = class else {
            let remedy = "no class of this name stands before it";
            return self.report.left_out(statement.place, statement.shown(), remedy);
        };
        if !class.is_of_devices {
            let remedy = format!("as the class of line {}", class.place.line);
            return self.report.left_out(statement.place, statement.shown(), remedy);
        }
        match typed_hardware_of(statement.from(2)) {
            Some(hardware) => {
                class.members.insert(hardware, statement.place);
                if block.is_some_and(|block| !block.is_empty()) {
                    let remedy = "what holds for this member alone: give the device a reservation with options";
                    self.report.left_out(statement.place, statement.shown(), remedy);
                }
            }
            None => {
                let remedy = "it is no hardware address with its type, as in 1:02:00:5e:00:53:01";
                self.report.left_out(statement.place, statement.shown(), remedy);
            }
        }
    }

    /// Takes the hosts of a lease file over, which were made through OMAPI: the last word on each.
    pub(in crate::isc) fn dynamic_hosts(&mut self, statements: &[Statement]) {
        for statement in statements {
            let before = self.hosts.len();
            match &statement.block {
                Some(block) if statement.is(0, "host") => {
                    self.host(Context::default(), statement, block);
                }
                _ => self.report.left_out(
                    statement.place,
                    statement.shown(),
                    "what was declared through OMAPI is taken over for hosts alone: write it into the configuration",
                ),
            }
            if self.hosts.len() > before
                && let Some(name) = self.hosts.last().map(|host| host.name.clone())
            {
                let older = self.hosts.iter().take(before).rposition(|host| host.name == name);
                if let Some(older) = older {
                    self.hosts.swap_remove(older);
                }
            }
        }
        let deleted = self.hosts.iter().filter(|host| host.is_deleted);
        let places: Vec<(Place, String)> =
            deleted.map(|host| (host.place, format!("host {}", host.name))).collect();
        for (place, what) in places {
            self.report.add(Kind::NotNeeded, place, what, "it was deleted through OMAPI");
        }
        self.hosts.retain(|host| !host.is_deleted);
        self.hosts.sort_by_key(|host| host.place);
    }
}

/// `ethernet 02:00:5e:00:53:01`
pub(in crate::isc) fn hardware_of(pieces: &[Piece]) -> Option<HardwareAddress> {
    let (Piece::Word(kind), address) = pieces.split_first()? else { return None };
    let hardware_type = match kind.to_ascii_lowercase().as_str() {
        "ethernet" => HardwareAddress::ETHERNET,
        "token-ring" => 6,
        "fddi" => 8,
        "infiniband" => 32,
        other => other.strip_prefix("unknown-")?.parse().ok()?,
    };
    HardwareAddress::new(hardware_type, &colon_list(address)?)
}

/// `1:02:00:5e:00:53:01`
fn typed_hardware_of(pieces: &[Piece]) -> Option<HardwareAddress> {
    let bytes = colon_list(pieces)?;
    let (hardware_type, address) = bytes.split_first()?;
    HardwareAddress::new(*hardware_type, address).filter(|_| !address.is_empty())
}

/// Bytes in hexadecimal with colons between them.
fn colon_list(pieces: &[Piece]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        match (at % 2, piece) {
            (0, Piece::Word(word)) => bytes.push(hexadecimal(word).ok()?),
            (1, Piece::Mark(b':')) => {}
            _ => return None,
        }
    }
    (pieces.len() % 2 == 1 || pieces.is_empty()).then_some(bytes)
}
