//! Which state follows from which event: the protocol's transition tables, as data.
//!
//! The table is ISC dhcpd 4.4's, with the cells changed that would end service until an operator
//! comes (P7): [`DEVIATIONS`] lists each with its reason, and a test holds the rest to ISC's.
//! Nothing here knows connections, leases or time.

use super::state::{PartnerState, Role, State};
use State::{
    CommunicationsInterrupted as COMM, ConflictDone as CDONE, Normal as NORM, PartnerDown as PDOWN,
    Paused as PAUS, PotentialConflict as PCONF, Recover as RECV, RecoverDone as RDONE,
    RecoverWait as RWAIT, ResolutionInterrupted as RINT, Shutdown as SHUT, Startup as START,
};

/// The columns of [`TABLE`]: what the partner says that it is. [`Startup`](State::Startup) stands for
/// a partner that nobody has heard of, too.
pub const COLUMNS: [State; 12] =
    [NORM, COMM, PDOWN, PCONF, RINT, CDONE, RECV, RWAIT, RDONE, SHUT, PAUS, START];

/// The new state by one's own state (the saved one while starting) and the partner's, in the order of
/// [`COLUMNS`]; `None`: no change.
#[rustfmt::skip]
pub const TABLE: [(State, [Option<State>; 12]); 11] = [
    //        NORM         COMM         PDOWN        PCONF        RINT         CDONE        RECV         RWAIT        RDONE        SHUT         PAUS         START
    (NORM,  [None,        None,        Some(PCONF), Some(PCONF), Some(PCONF), Some(PCONF), Some(PDOWN), None,        None,        Some(PDOWN), Some(COMM),  None]),
    (COMM,  [Some(NORM),  Some(NORM),  Some(PCONF), Some(PCONF), Some(PCONF), Some(PCONF), Some(PDOWN), Some(NORM),  Some(NORM),  Some(PDOWN), None,        None]),
    (PDOWN, [Some(PCONF), Some(PCONF), Some(PCONF), Some(PCONF), Some(PCONF), Some(PCONF), None,        None,        Some(NORM),  None,        None,        None]),
    (PCONF, [Some(RECV),  None,        None,        None,        None,        None,        Some(RECV),  None,        None,        Some(PDOWN), None,        None]),
    (RINT,  [Some(PCONF), Some(PCONF), Some(PCONF), Some(PCONF), Some(PCONF), Some(PCONF), Some(PCONF), Some(PCONF), Some(PCONF), Some(PDOWN), None,        None]),
    (CDONE, [Some(NORM),  Some(PCONF), Some(PCONF), None,        None,        Some(PCONF), Some(PDOWN), Some(PDOWN), Some(NORM),  Some(PDOWN), None,        None]),
    (RECV,  [Some(PCONF), None,        None,        Some(PCONF), Some(PCONF), Some(PCONF), None,        None,        None,        Some(PDOWN), None,        None]),
    (RWAIT, [None,        None,        None,        None,        None,        None,        None,        None,        None,        None,        None,        None]),
    (RDONE, [Some(NORM),  None,        None,        None,        None,        None,        None,        None,        Some(NORM),  Some(PDOWN), None,        None]),
    (SHUT,  [None,        None,        None,        None,        None,        None,        None,        None,        None,        None,        None,        None]),
    (PAUS,  [None,        None,        None,        None,        None,        None,        None,        None,        None,        None,        None,        None]),
];

/// A cell of [`TABLE`] that is not ISC dhcpd's.
#[derive(Clone, Copy, Debug)]
pub struct Deviation {
    /// One's own state.
    pub own: State,
    /// The partner's.
    pub partner: State,
    /// What ISC dhcpd does there.
    pub isc: Isc,
    /// Why this server does not.
    pub reason: &'static str,
}

/// What ISC dhcpd does in a cell where this server does something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isc {
    /// It goes to this state.
    To(State),
    /// Its process ends.
    Exits,
}

const NEVER_STOP: &str = "SHUTDOWN would stop service until an operator comes";
const NEVER_EXIT: &str = "a message of the partner never ends the process";

/// All cells that differ, in the order of the table.
pub const DEVIATIONS: [Deviation; 13] = [
    deviation(NORM, PCONF, Isc::To(SHUT), NEVER_STOP),
    deviation(NORM, RINT, Isc::To(SHUT), NEVER_STOP),
    deviation(NORM, CDONE, Isc::To(SHUT), NEVER_STOP),
    deviation(PCONF, NORM, Isc::To(SHUT), NEVER_STOP),
    deviation(CDONE, COMM, Isc::Exits, NEVER_EXIT),
    deviation(CDONE, PDOWN, Isc::Exits, NEVER_EXIT),
    deviation(CDONE, CDONE, Isc::Exits, NEVER_EXIT),
    deviation(CDONE, RECV, Isc::Exits, NEVER_EXIT),
    deviation(CDONE, RWAIT, Isc::Exits, NEVER_EXIT),
    deviation(CDONE, RDONE, Isc::Exits, NEVER_EXIT),
    deviation(CDONE, SHUT, Isc::To(SHUT), NEVER_STOP),
    deviation(CDONE, PAUS, Isc::Exits, NEVER_EXIT),
    deviation(CDONE, START, Isc::Exits, NEVER_EXIT),
];

const fn deviation(own: State, partner: State, isc: Isc, reason: &'static str) -> Deviation {
    Deviation { own, partner, isc, reason }
}

/// What the partner's STATE brings about; `None`: no change.
///
/// `own` is the saved state while `starting`. `startup` is the flag of the message: a server that
/// believes its partner down waits for the message without it. A code that means nothing changes
/// nothing (ISC dhcpd: SHUTDOWN).
#[must_use]
pub fn on_partner_state(
    own: State,
    starting: bool,
    partner: PartnerState,
    startup: bool,
) -> Option<State> {
    let partner = match partner {
        PartnerState::Known(state) => state,
        PartnerState::Unknown => START,
        PartnerState::Undefined(_) => return None,
    };
    match (own, partner) {
        // Back from a restart with everything in order, but the partner took over meanwhile: what it
        // did is fetched, instead of comparing.
        (NORM, PDOWN) if starting => return Some(RECV),
        (PDOWN, _) if startup => return None,
        _ => {}
    }
    let (_, row) = TABLE.iter().find(|(state, _)| *state == own)?;
    let column = COLUMNS.iter().position(|state| *state == partner)?;
    row.get(column).copied().flatten()
}

/// What the loss of the connection brings about; `None`: no change.
#[must_use]
pub const fn on_disconnect(own: State) -> Option<State> {
    match own {
        NORM => Some(COMM),
        PCONF => Some(RINT),
        _ => None,
    }
}

/// What UPDDONE brings about, when everything that was asked for is on stable storage.
///
/// `waited`: nobody can still hold a promise of this server's former self (its start of state and
/// the maximum client lead time have passed).
#[must_use]
pub fn on_update_done(
    own: State,
    role: Role,
    partner: PartnerState,
    waited: bool,
) -> Option<State> {
    match (own, role, partner) {
        // Both came back with nothing, so nobody served meanwhile, and nobody is waited for.
        (RECV, _, PartnerState::Known(RECV | RDONE)) => Some(RDONE),
        (RECV, ..) => Some(if waited { RDONE } else { RWAIT }),
        // Two primaries: a contradiction that no state mends. ISC dhcpd: SHUTDOWN.
        (PCONF, Role::Primary, PartnerState::Known(CDONE)) => None,
        (PCONF, Role::Primary, _) => Some(CDONE),
        (PCONF, Role::Secondary, PartnerState::Known(CDONE)) => Some(NORM),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ISC dhcpd 4.4.3's table, each cell exercised against it: `-` no change, `!` its process ends.
    const ISC: &str = "
              NORM  COMM  PDOWN PCONF RINT  CDONE RECV  RWAIT RDONE SHUT  PAUS  START
        NORM  -     -     PCONF SHUT  SHUT  SHUT  PDOWN -     -     PDOWN COMM  -
        COMM  NORM  NORM  PCONF PCONF PCONF PCONF PDOWN NORM  NORM  PDOWN -     -
        PDOWN PCONF PCONF PCONF PCONF PCONF PCONF -     -     NORM  -     -     -
        PCONF SHUT  -     -     -     -     -     RECV  -     -     PDOWN -     -
        RINT  PCONF PCONF PCONF PCONF PCONF PCONF PCONF PCONF PCONF PDOWN -     -
        CDONE NORM  !     !     -     -     !     !     !     !     SHUT  !     !
        RECV  PCONF -     -     PCONF PCONF PCONF -     -     -     PDOWN -     -
        RWAIT -     -     -     -     -     -     -     -     -     -     -     -
        RDONE NORM  -     -     -     -     -     -     -     NORM  PDOWN -     -
        SHUT  -     -     -     -     -     -     -     -     -     -     -     -
        PAUS  -     -     -     -     -     -     -     -     -     -     -     -
    ";

    fn named(name: &str) -> State {
        match name {
            "NORM" => NORM,
            "COMM" => COMM,
            "PDOWN" => PDOWN,
            "PCONF" => PCONF,
            "RINT" => RINT,
            "CDONE" => CDONE,
            "RECV" => RECV,
            "RWAIT" => RWAIT,
            "RDONE" => RDONE,
            "SHUT" => SHUT,
            "PAUS" => PAUS,
            "START" => START,
            other => panic!("no state is called {other}"),
        }
    }

    #[test]
    fn every_cell_is_isc_dhcpds_or_a_deviation_with_a_reason() {
        let mut lines = ISC.lines().map(str::trim).filter(|line| !line.is_empty());
        let columns: Vec<State> =
            lines.next().expect("a head").split_whitespace().map(named).collect();
        assert_eq!(columns, COLUMNS);
        let mut cells = 0;
        let mut deviations = DEVIATIONS.iter();
        for line in lines {
            let mut words = line.split_whitespace();
            let own = named(words.next().expect("a row has a name"));
            for (word, partner) in words.zip(columns.iter().copied()) {
                cells += 1;
                let ours = on_partner_state(own, false, PartnerState::Known(partner), false);
                let isc = match word {
                    "-" => None,
                    "!" => {
                        let deviation = deviations.next().expect("listed");
                        assert_eq!(
                            (deviation.own, deviation.partner, deviation.isc),
                            (own, partner, Isc::Exits)
                        );
                        continue;
                    }
                    word => Some(named(word)),
                };
                if ours != isc {
                    let deviation = deviations.next().expect("listed");
                    assert_eq!((deviation.own, deviation.partner), (own, partner));
                    assert_eq!(Some(deviation.isc), isc.map(Isc::To));
                }
            }
        }
        assert_eq!(cells, 11 * 12);
        assert!(deviations.next().is_none(), "a deviation that is none");
    }

    #[test]
    fn no_message_of_the_partner_stops_service_for_good() {
        for own in State::ALL {
            for code in 0..=u8::MAX {
                for (starting, startup) in
                    [(false, false), (false, true), (true, false), (true, true)]
                {
                    let partner = PartnerState::from_code(code);
                    let next = on_partner_state(own, starting, partner, startup);
                    assert!(!matches!(next, Some(SHUT | PAUS | START)), "{own} and {partner}");
                }
            }
        }
    }

    #[test]
    fn a_server_that_took_over_waits_for_the_state_without_the_startup_flag() {
        for partner in State::ALL {
            assert_eq!(on_partner_state(PDOWN, false, PartnerState::Known(partner), true), None);
        }
        let partner = PartnerState::Known(NORM);
        assert_eq!(on_partner_state(PDOWN, false, partner, false), Some(PCONF));
    }

    #[test]
    fn who_comes_back_from_a_restart_fetches_what_the_partner_did() {
        let partner = PartnerState::Known(PDOWN);
        assert_eq!(on_partner_state(NORM, true, partner, false), Some(RECV));
        assert_eq!(on_partner_state(NORM, false, partner, false), Some(PCONF));
        assert_eq!(on_partner_state(COMM, true, partner, false), Some(PCONF));
    }

    #[test]
    fn a_code_that_means_nothing_changes_nothing() {
        for own in State::ALL {
            assert_eq!(on_partner_state(own, false, PartnerState::Undefined(99), false), None);
        }
    }

    #[test]
    fn losing_the_connection_never_stops_who_serves() {
        for own in State::ALL {
            let next = on_disconnect(own).unwrap_or(own);
            assert_eq!(
                own.service() == super::super::Service::None,
                next.service() == super::super::Service::None,
                "{own}"
            );
        }
    }

    #[test]
    fn after_everything_was_fetched_an_old_promise_is_waited_for() {
        let survivor = PartnerState::Known(PDOWN);
        assert_eq!(on_update_done(RECV, Role::Secondary, survivor, false), Some(RWAIT));
        assert_eq!(on_update_done(RECV, Role::Secondary, survivor, true), Some(RDONE));
        for partner in [RECV, RDONE] {
            let partner = PartnerState::Known(partner);
            assert_eq!(on_update_done(RECV, Role::Primary, partner, false), Some(RDONE));
        }
    }

    #[test]
    fn the_primary_compares_first() {
        let comparing = PartnerState::Known(PCONF);
        let done = PartnerState::Known(CDONE);
        assert_eq!(on_update_done(PCONF, Role::Primary, comparing, true), Some(CDONE));
        assert_eq!(on_update_done(PCONF, Role::Secondary, comparing, true), None);
        assert_eq!(on_update_done(PCONF, Role::Secondary, done, true), Some(NORM));
        assert_eq!(on_update_done(PCONF, Role::Primary, done, true), None);
        assert_eq!(on_update_done(NORM, Role::Primary, comparing, true), None);
    }
}
