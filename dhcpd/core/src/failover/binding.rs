//! One address as the pair sees it, and which of the partner's updates are taken.
//!
//! The rules are those that ISC dhcpd 4.4 was seen to follow, so that two servers that apply them end
//! with the same book. Everything is a function of what is handed in; no lease is changed here.

use super::message::BindingUpdate;
use super::state::{Role, State};
use std::fmt;

/// How long before a lease's end, by one's own clock, the partner may call it expired, in seconds: the
/// clocks of a pair may be apart by a minute.
pub const EXPIRY_ALLOWANCE_SECONDS: u32 = 65;

/// What has become of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BindingStatus {
    /// The primary may give it to anybody.
    Free,
    /// A client has it.
    Active,
    /// A client had it; the partner has not yet agreed that it is over.
    Expired,
    /// A client gave it back; the partner has not yet agreed.
    Released,
    /// Nobody may have it: something else answers there.
    Abandoned,
    /// An administrator freed it; the partner has not yet agreed.
    Reset,
    /// The secondary may give it to anybody.
    Backup,
}

impl BindingStatus {
    /// All, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Free,
        Self::Active,
        Self::Expired,
        Self::Released,
        Self::Abandoned,
        Self::Reset,
        Self::Backup,
    ];

    /// Its code in option 3.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Free => 1,
            Self::Active => 2,
            Self::Expired => 3,
            Self::Released => 4,
            Self::Abandoned => 5,
            Self::Reset => 6,
            Self::Backup => 7,
        }
    }

    /// The status with this code. There is no other: a code outside 1 to 7 ends ISC dhcpd's process.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Its name as logs, metrics and ISC dhcpd's lease file have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Abandoned => "abandoned",
            Self::Reset => "reset",
            Self::Backup => "backup",
        }
    }

    /// The kind of free address that a server may give to anybody.
    #[must_use]
    pub const fn free_of(role: Role) -> Self {
        match role {
            Role::Primary => Self::Free,
            Role::Secondary => Self::Backup,
        }
    }

    /// What it is once both servers know: an address whose lease is over is free.
    #[must_use]
    pub const fn settled(self) -> Self {
        match self {
            Self::Expired | Self::Released | Self::Reset => Self::Free,
            other => other,
        }
    }
}

impl fmt::Display for BindingStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why something is refused, with its code in option 21.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reject {
    /// The address is in no pool of this relationship.
    IllegalAddress,
    /// The status cannot follow the one that is known.
    FatalConflict,
    /// What has to be said of the client was not.
    MissingBinding,
    /// The clocks are more than a minute apart.
    TimeMismatch,
    /// CONNECT without a maximum client lead time.
    InvalidMclt,
    /// None of the others.
    Unspecified,
    /// There is a connection already.
    DuplicateConnection,
    /// The relationship has another name here.
    InvalidPartner,
    /// An update for the same address is on its way to the sender, and is worth more.
    LessCritical,
    /// CONNECT without hash buckets.
    HashBucketConflict,
    /// The address is not reserved here.
    NotReserved,
    /// A code that has no name here.
    Other(u8),
}

impl Reject {
    /// Those with a name, in the order of their codes.
    pub const NAMED: [Self; 11] = [
        Self::IllegalAddress,
        Self::FatalConflict,
        Self::MissingBinding,
        Self::TimeMismatch,
        Self::InvalidMclt,
        Self::Unspecified,
        Self::DuplicateConnection,
        Self::InvalidPartner,
        Self::LessCritical,
        Self::HashBucketConflict,
        Self::NotReserved,
    ];

    /// Its code in option 21.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::IllegalAddress => 1,
            Self::FatalConflict => 2,
            Self::MissingBinding => 3,
            Self::TimeMismatch => 4,
            Self::InvalidMclt => 5,
            Self::Unspecified => 6,
            Self::DuplicateConnection => 7,
            Self::InvalidPartner => 8,
            Self::LessCritical => 16,
            Self::HashBucketConflict => 18,
            Self::NotReserved => 19,
            Self::Other(code) => code,
        }
    }

    /// What it means and, where an operator has to do something, what.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::IllegalAddress => {
                "the address is in no pool of the pair; configure the same pools on both servers"
            }
            Self::FatalConflict => "this cannot follow what is known of the address",
            Self::MissingBinding => "the client's hardware address was not said",
            Self::TimeMismatch => {
                "the clocks are more than 60 s apart, which an ISC dhcpd does not bear; set both, and run NTP on both"
            }
            Self::InvalidMclt => "no maximum client lead time; configure mclt on the primary",
            Self::Unspecified => "no reason was said",
            Self::DuplicateConnection => "there is a connection already",
            Self::InvalidPartner => {
                "the pair has another name there; configure the same failover name on both servers"
            }
            Self::LessCritical => "another update of the address was on its way and counts more",
            Self::HashBucketConflict => "no hash buckets; configure split on the primary",
            Self::NotReserved => "the address is not reserved",
            Self::Other(_) => "a reason that has no name",
        }
    }

    /// What a code says.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self::NAMED.into_iter().find(|reject| reject.code() == code).unwrap_or(Self::Other(code))
    }
}

/// What is known here of the address that an update is about.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// What it is.
    pub status: BindingStatus,
    /// When its lease ends, in seconds since 1970; 0: it never had one.
    pub ends: u32,
    /// Whether it is reserved for a client here.
    pub reserved: bool,
    /// The update of ours that the partner has not acknowledged.
    pub pending: Option<Pending>,
}

/// An update of ours that is on its way.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// What it says that the address is.
    pub status: BindingStatus,
    /// What it says of the client's last contact; 0 if nothing.
    pub client_last_transaction: u32,
}

/// Whether an update of the partner is taken, by a server that is `role` in `state`, at `now`
/// (seconds since 1970).
///
/// # Errors
/// The reason that the partner is told. Where several hold, the first of: our own update wins, data
/// of a client where none may be, missing data of a client, a reservation that is not ours, a status
/// that cannot follow.
pub fn accept(
    update: &BindingUpdate,
    known: &Known,
    role: Role,
    state: State,
    now: u32,
) -> Result<(), Reject> {
    if let Some(pending) = known.pending
        && !incoming_wins(update, pending, role)
    {
        return Err(Reject::LessCritical);
    }
    let client = update.client_identifier.is_some() || update.hardware.is_some();
    match update.status {
        BindingStatus::Abandoned if client => return Err(Reject::Unspecified),
        BindingStatus::Active | BindingStatus::Expired | BindingStatus::Released
            if update.hardware.is_none() =>
        {
            return Err(Reject::MissingBinding);
        }
        _ => {}
    }
    if known.status == BindingStatus::free_of(role) {
        if update.flags & BindingUpdate::RESERVED != 0 && !known.reserved {
            return Err(Reject::NotReserved);
        }
        if update.flags & BindingUpdate::BOOTP != 0 {
            return Err(Reject::Unspecified);
        }
    }
    if may_follow(update, known, role, state, now) { Ok(()) } else { Err(Reject::FatalConflict) }
}

/// Two updates for one address crossed: whether the partner's counts.
///
/// A lease counts more than its end, whoever says so. ISC dhcpd takes an incoming ACTIVE too, but also
/// gives its own ACTIVE up for the partner's end of it: then each server believes the other, and an
/// address whose client holds a lease is free on one of them (P1). So here ACTIVE stays; the end is
/// sent again once it is true.
fn incoming_wins(update: &BindingUpdate, own: Pending, role: Role) -> bool {
    let theirs = (update.status == BindingStatus::Active, update.client_last_transaction);
    let ours = (own.status == BindingStatus::Active, own.client_last_transaction);
    match (ours, theirs) {
        ((true, _), (false, _)) => false,
        ((false, _), (true, _)) => true,
        ((true, ours), (true, theirs)) => match theirs.unwrap_or(0).cmp(&ours) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => role == Role::Secondary,
        },
        ((false, _), (false, _)) => role == Role::Secondary,
    }
}

/// Whether the status may follow the one that is known.
fn may_follow(update: &BindingUpdate, known: &Known, role: Role, state: State, now: u32) -> bool {
    use BindingStatus::{Abandoned, Active, Backup, Expired, Free, Released, Reset};
    if update.status == known.status {
        return true;
    }
    let normal = state == State::Normal;
    // An update that does not say until when it was promised promises nothing.
    let promised_past = update.potential_expiration.unwrap_or(0) <= now;
    match (known.status, update.status) {
        (Active, Free | Backup) => normal && role == Role::Secondary && promised_past,
        (Active, Expired) => {
            (!normal || role == Role::Secondary)
                && known.ends.saturating_sub(EXPIRY_ALLOWANCE_SECONDS) <= now
        }
        (Active, Reset) => !normal || role == Role::Secondary,
        (Expired | Reset, Free | Backup) => !normal || promised_past,
        (Free | Backup | Abandoned | Released | Active | Expired | Reset, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HardwareAddress;
    use BindingStatus::{Abandoned, Active, Backup, Expired, Free, Released, Reset};
    use std::net::Ipv4Addr;

    const NOW: u32 = 1_000_000;
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 100);

    fn update(status: BindingStatus) -> BindingUpdate {
        let mut update = BindingUpdate::new(ADDRESS, status);
        if matches!(status, Active | Expired | Released) {
            update.hardware = Some(HardwareAddress::ethernet([2, 0, 0, 0, 0, 0x0c]));
        }
        update
    }

    fn known(status: BindingStatus) -> Known {
        Known { status, ends: NOW, reserved: false, pending: None }
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        for code in 0..=u8::MAX {
            assert_eq!(Reject::from_code(code).code(), code);
            let status = BindingStatus::from_code(code);
            assert_eq!(status.map(BindingStatus::code), (1..=7).contains(&code).then_some(code));
        }
    }

    /// Every pair of statuses in the three columns that the rules tell apart; `+` taken, `-` refused.
    /// Columns: FREE ACTIVE EXPIRED RELEASED ABANDONED RESET BACKUP.
    #[test]
    fn every_status_after_every_other() {
        // (known, promise past) -> by: secondary in NORMAL, primary in NORMAL, either elsewhere.
        #[rustfmt::skip]
        let table: [(BindingStatus, bool, [&str; 3]); 14] = [
            (Free,      true,  ["+++++++", "+++++++", "+++++++"]),
            (Active,    true,  ["+++++++", "-+-++--", "-+++++-"]),
            (Expired,   true,  ["+++++++", "+++++++", "+++++++"]),
            (Released,  true,  ["+++++++", "+++++++", "+++++++"]),
            (Abandoned, true,  ["+++++++", "+++++++", "+++++++"]),
            (Reset,     true,  ["+++++++", "+++++++", "+++++++"]),
            (Backup,    true,  ["+++++++", "+++++++", "+++++++"]),
            (Free,      false, ["+++++++", "+++++++", "+++++++"]),
            (Active,    false, ["-+++++-", "-+-++--", "-+++++-"]),
            (Expired,   false, ["-+++++-", "-+++++-", "+++++++"]),
            (Released,  false, ["+++++++", "+++++++", "+++++++"]),
            (Abandoned, false, ["+++++++", "+++++++", "+++++++"]),
            (Reset,     false, ["-+++++-", "-+++++-", "+++++++"]),
            (Backup,    false, ["+++++++", "+++++++", "+++++++"]),
        ];
        for (from, past, columns) in table {
            let settings = [
                (Role::Secondary, State::Normal),
                (Role::Primary, State::Normal),
                (Role::Primary, State::PotentialConflict),
            ];
            for ((role, state), row) in settings.into_iter().zip(columns) {
                for (to, expected) in BindingStatus::ALL.into_iter().zip(row.chars()) {
                    let mut update = update(to);
                    update.potential_expiration = Some(if past { NOW } else { NOW + 1 });
                    let accepted = accept(&update, &known(from), role, state, NOW);
                    let expected =
                        if expected == '+' { Ok(()) } else { Err(Reject::FatalConflict) };
                    assert_eq!(accepted, expected, "{from} to {to}, {role:?} in {state}, {past}");
                }
            }
        }
    }

    #[test]
    fn a_lease_is_not_called_expired_before_its_end() {
        for (ends, expected) in [(NOW + 65, Ok(())), (NOW + 66, Err(Reject::FatalConflict))] {
            let known = Known { ends, ..known(Active) };
            let result = accept(&update(Expired), &known, Role::Secondary, State::Normal, NOW);
            assert_eq!(result, expected);
        }
    }

    #[test]
    fn an_update_says_of_the_client_what_it_must() {
        for status in [Active, Expired, Released] {
            let bare = BindingUpdate::new(ADDRESS, status);
            let result = accept(&bare, &known(Free), Role::Primary, State::Normal, NOW);
            assert_eq!(result, Err(Reject::MissingBinding), "{status}");
        }
        let mut abandoned = BindingUpdate::new(ADDRESS, Abandoned);
        abandoned.client_identifier = Some([1][..].into());
        let result = accept(&abandoned, &known(Active), Role::Primary, State::Normal, NOW);
        assert_eq!(result, Err(Reject::Unspecified));
    }

    #[test]
    fn a_reservation_must_be_ours_too() {
        let mut reserved = update(Active);
        reserved.flags = BindingUpdate::RESERVED;
        let asked = |known| accept(&reserved, &known, Role::Secondary, State::Normal, NOW);
        assert_eq!(asked(known(Backup)), Err(Reject::NotReserved));
        assert_eq!(asked(Known { reserved: true, ..known(Backup) }), Ok(()));
        assert_eq!(asked(known(Free)), Ok(()));
        let mut bootp = update(Active);
        bootp.flags = BindingUpdate::BOOTP;
        let result = accept(&bootp, &known(Backup), Role::Secondary, State::Normal, NOW);
        assert_eq!(result, Err(Reject::Unspecified));
    }

    #[test]
    fn of_two_updates_that_cross_both_servers_take_the_same() {
        for own in BindingStatus::ALL {
            for theirs in BindingStatus::ALL {
                for (own_time, their_time) in [(5, 6), (6, 5), (5, 5)] {
                    let mut incoming = update(theirs);
                    incoming.client_last_transaction = Some(their_time);
                    let mut outgoing = update(own);
                    outgoing.client_last_transaction = Some(own_time);
                    let pending = |status, client_last_transaction| Pending {
                        status,
                        client_last_transaction,
                    };
                    let at_primary =
                        incoming_wins(&incoming, pending(own, own_time), Role::Primary);
                    let at_secondary =
                        incoming_wins(&outgoing, pending(theirs, their_time), Role::Secondary);
                    assert_ne!(at_primary, at_secondary, "{own} and {theirs}");
                    if (own == Active) != (theirs == Active) {
                        assert_eq!(at_primary, theirs == Active, "the lease counts");
                    }
                }
            }
        }
    }

    #[test]
    fn a_duel_that_is_lost_is_told_as_such() {
        let pending = Some(Pending { status: Free, client_last_transaction: 0 });
        let known = Known { pending, ..known(Free) };
        let asked = |role| accept(&update(Free), &known, role, State::Recover, NOW);
        assert_eq!(asked(Role::Primary), Err(Reject::LessCritical));
        assert_eq!(asked(Role::Secondary), Ok(()));
    }
}
