//! What is run, in which order.
//!
//! It promises that every server of a measure has the same number of runs, and that no server is
//! always first: repetition *n* begins with the *n*-th server, so that what the machine does meanwhile
//! meets all of them alike.

use crate::servers::{RELAYS_MAX, Server};
use std::fmt;

/// Exchanges in flight of the main table.
pub const IN_FLIGHT: u32 = 64;
/// Exchanges in flight of the measure with a slow disk.
pub const CROWD_IN_FLIGHT: u32 = 2000;
/// Milliseconds that a slow disk adds to each sync.
pub const SLOW_MILLISECONDS: u32 = 8;
/// Hundredths of a processor that a server has where it is offered more than it can serve.
pub const SHARE_PERCENT: u32 = 50;
/// How many times what it serves with that it is offered then.
pub const OVERLOAD_TIMES: u32 = 5;
/// More clients than any server serves in a second here; nobody is to run out of strangers.
const CLIENTS_PER_SECOND: u32 = 300_000;
/// Clients of a run, at most; the pools have room for them.
const CLIENTS_MAX: u32 = 1_900_000;
/// Relays of every run.
pub const RELAYS: u32 = RELAYS_MAX;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// As fast as it goes with [`IN_FLIGHT`]: the main table.
    Peak,
    /// The same on a slow disk.
    PeakSlowDisk,
    /// As fast as it goes with [`CROWD_IN_FLIGHT`].
    Crowd,
    /// The same on a slow disk.
    CrowdSlowDisk,
    /// Half as many arrivals a second as the server's own median of [`Measure::Peak`].
    Half,
    /// One exchange after the other.
    Alone,
    /// As fast as it goes with [`CROWD_IN_FLIGHT`] and [`SHARE_PERCENT`] of a processor.
    Share,
    /// With the same share, [`OVERLOAD_TIMES`] as many arrivals a second as the server's own median of
    /// [`Measure::Share`].
    Overload,
}

impl Measure {
    /// All of them, in the order in which they are run: first the one that is compared with the time of
    /// a sync, which has just been measured then; [`Measure::Half`] and [`Measure::Overload`] after what
    /// they are a part or a multiple of.
    pub const ALL: [Self; 8] = [
        Self::Alone,
        Self::Peak,
        Self::PeakSlowDisk,
        Self::Crowd,
        Self::CrowdSlowDisk,
        Self::Half,
        Self::Share,
        Self::Overload,
    ];

    /// All of them, in the order in which they are read: the main table first.
    pub const READ: [Self; 8] = [
        Self::Peak,
        Self::PeakSlowDisk,
        Self::Crowd,
        Self::CrowdSlowDisk,
        Self::Half,
        Self::Alone,
        Self::Share,
        Self::Overload,
    ];

    /// A name for files and for the machine-readable result.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Peak => "peak",
            Self::PeakSlowDisk => "peak-slow-disk",
            Self::Crowd => "crowd",
            Self::CrowdSlowDisk => "crowd-slow-disk",
            Self::Half => "half",
            Self::Alone => "alone",
            Self::Share => "share",
            Self::Overload => "overload",
        }
    }

    /// Whether syncs are made slower.
    #[must_use]
    pub const fn is_slow_disk(self) -> bool {
        matches!(self, Self::PeakSlowDisk | Self::CrowdSlowDisk)
    }

    /// The hundredths of a processor that the server has, if it has not all of them.
    #[must_use]
    pub const fn share_percent(self) -> Option<u32> {
        match self {
            Self::Share | Self::Overload => Some(SHARE_PERCENT),
            _ => None,
        }
    }

    /// The measure whose median says how many arrivals a second this one has, and how many times that
    /// it has.
    #[must_use]
    pub fn follows(self) -> Option<(Self, f64)> {
        match self {
            Self::Half => Some((Self::Peak, 0.5)),
            Self::Overload => Some((Self::Share, f64::from(OVERLOAD_TIMES))),
            _ => None,
        }
    }

    /// Whose figures of this kind say something. Kea and the null responder never sync, so a slow disk
    /// is nothing to them; ISC dhcpd, which syncs for each lease, would only queue a crowd.
    #[must_use]
    pub fn concerns(self, server: Server) -> bool {
        let is_ours = matches!(server, Server::Vestibule | Server::VestibuleGated);
        match self {
            Self::Peak | Self::Half | Self::Alone => true,
            Self::PeakSlowDisk => is_ours || server == Server::Isc,
            Self::Crowd | Self::CrowdSlowDisk | Self::Share | Self::Overload => is_ours,
        }
    }

    /// The load client's scenario; `per_second` is what a measure sends that [follows](Self::follows) another.
    #[must_use]
    pub fn scenario(self, seconds: u32, per_second: f64) -> String {
        let (arrivals, clients) = match self {
            Self::Peak | Self::PeakSlowDisk => (format!("{{ in-flight = {IN_FLIGHT} }}"), None),
            Self::Crowd | Self::CrowdSlowDisk | Self::Share => {
                (format!("{{ in-flight = {CROWD_IN_FLIGHT} }}"), None)
            }
            Self::Half | Self::Overload => {
                let clients = (per_second * f64::from(seconds) * 1.1) as u32 + 100;
                (format!("{{ per-second = {per_second:.1} }}"), Some(clients))
            }
            Self::Alone => ("{ in-flight = 1 }".to_owned(), None),
        };
        let clients = clients.unwrap_or(CLIENTS_PER_SECOND.saturating_mul(seconds));
        let clients = clients.min(CLIENTS_MAX);
        format!(
            "name = \"{}\"\ndescription = \"{self}\"\nclients = {clients}\narrivals = {arrivals}\nseconds = {seconds}.0\n",
            self.key()
        )
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peak => write!(f, "{IN_FLIGHT} in flight"),
            Self::PeakSlowDisk => {
                write!(f, "{IN_FLIGHT} in flight, {SLOW_MILLISECONDS} ms added to each sync")
            }
            Self::Crowd => write!(f, "{CROWD_IN_FLIGHT} in flight"),
            Self::CrowdSlowDisk => {
                write!(f, "{CROWD_IN_FLIGHT} in flight, {SLOW_MILLISECONDS} ms added to each sync")
            }
            Self::Half => f.write_str("half the peak rate"),
            Self::Alone => f.write_str("one exchange at a time"),
            Self::Share => {
                write!(f, "{CROWD_IN_FLIGHT} in flight, {SHARE_PERCENT} % of a processor")
            }
            Self::Overload => write!(
                f,
                "{OVERLOAD_TIMES} times that rate offered, {SHARE_PERCENT} % of a processor"
            ),
        }
    }
}

/// One run of the load client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What is measured.
    pub measure: Measure,
    /// Against whom.
    pub server: Server,
    /// The how manieth time, from 1.
    pub repetition: u32,
}

/// All turns in their order.
#[must_use]
pub fn turns(measures: &[Measure], servers: &[Server], repetitions: u32) -> Vec<Turn> {
    let mut turns = Vec::new();
    for &measure in measures {
        let concerned: Vec<Server> =
            servers.iter().copied().filter(|server| measure.concerns(*server)).collect();
        for repetition in 1..=repetitions {
            let first = (repetition as usize - 1) % concerned.len().max(1);
            let order = concerned.iter().cycle().skip(first).take(concerned.len());
            turns.extend(order.map(|&server| Turn { measure, server, repetition }));
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use vestibule_load::scenario::Scenario;

    #[test]
    fn servers_take_turns_and_all_have_as_many() {
        let turns = turns(&Measure::ALL, &Server::ALL, 3);
        for measure in Measure::ALL {
            let of_it: Vec<&Turn> = turns.iter().filter(|turn| turn.measure == measure).collect();
            let concerned = Server::ALL.iter().filter(|server| measure.concerns(**server)).count();
            assert_eq!(of_it.len(), 3 * concerned);
            let firsts: Vec<Server> =
                of_it.chunks(concerned).map(|turns| turns[0].server).collect();
            for (index, first) in firsts.iter().enumerate().take(concerned) {
                assert!(!firsts[..index].contains(first), "{measure}: {first} is first again");
            }
            for repetition in 1..=3 {
                for server in Server::ALL.into_iter().filter(|server| measure.concerns(*server)) {
                    let turn = Turn { measure, server, repetition };
                    assert_eq!(of_it.iter().filter(|found| ***found == turn).count(), 1);
                }
            }
        }
        assert_eq!(super::turns(&Measure::ALL, &[], 3), []);
    }

    #[test]
    fn every_scenario_is_one_and_has_clients_for_its_time() {
        for measure in Measure::ALL {
            let scenario = Scenario::parse(&measure.scenario(5, 40_000.0)).expect("a scenario");
            assert_eq!(scenario.name, measure.key());
            assert!(scenario.clients >= 200_000, "{measure}: {}", scenario.clients);
        }
    }
}
