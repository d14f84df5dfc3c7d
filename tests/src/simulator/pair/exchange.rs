//! The halves of a pair exchange registrations, in every third seed: each asks the other now and then, when that
//! one can be reached, for what changed after what it knows.
//!
//! As in the daemon, only what is durable is told, and what a process knows of its partner's words dies with it.
//! Words come twice, and an older page may come again. What both hold at the end is one of the checks.

use super::plan;
use super::world::{Event, Pair};
use crate::simulator::checks::Violation;
use crate::simulator::plan as names;
use vestibule_core::exchange::Exchanged;
use vestibule_core::{
    Command, HardwareAddress, Query, QueryAnswer, Register, Registration, RegistrationTarget,
};

/// Records that are told at once: few, so that it takes several turns.
const PAGE: usize = 5;

/// What a process knows of its partner's words.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// The lives of this process and of its partner's that the rest is about.
    lives: [u64; 2],
    /// The number up to which it has taken over.
    through: u64,
    /// A page that may come again.
    last: Vec<Exchanged>,
}

impl Pair {
    /// A server asks its partner what is new.
    pub(super) fn exchange(&mut self, number: usize) {
        let next = 50 + self.random.below(2_000);
        self.arrange(next, Event::Exchange(number));
        let lives = [self.nodes[number].life, self.nodes[1 - number].life];
        if self.heard[number].lives != lives {
            let last = std::mem::take(&mut self.heard[number].last);
            self.heard[number] = Heard { lives, through: 0, last };
        }
        if self.nodes[number].process.is_none() || !self.link.is_whole(self.now) {
            return;
        }
        let server_now = self.nodes[1 - number].time(self.now);
        let Some(partner) = &self.nodes[1 - number].process else { return };
        // What is not durable yet is told in another turn.
        if !partner.is_settled() {
            return;
        }
        let query = Query::Exchange { after: self.heard[number].through, limit: PAGE };
        let QueryAnswer::Exchange { records, through, newest } =
            partner.server.query(server_now, &query)
        else {
            return;
        };
        if !self.is_healed && self.chance(200) && !self.heard[number].last.is_empty() {
            let records = self.heard[number].last.clone();
            self.command(number, Command::Merge { records, is_whole: false }, None);
        }
        if records.is_empty() {
            return;
        }
        // The answer is lost: the same comes again.
        if self.is_healed || !self.chance(100) {
            self.heard[number].through = through;
        }
        self.heard[number].last = records.clone();
        self.command(number, Command::Merge { records, is_whole: through == newest }, None);
    }

    /// The portal registers a device at one of the halves, or ends or suspends its registration there.
    pub(super) fn portal_of_one(&mut self, hardware: HardwareAddress, seconds: Option<u64>) {
        let number = names::to_usize(self.random.below(2));
        let expires =
            seconds.map(|seconds| self.nodes[number].time(self.now).plus_seconds(seconds));
        let command = match self.random.below(6) {
            0 | 1 => Command::Unregister(hardware),
            2 => Command::Suspend { hardware, reason: None },
            3 => Command::Resume(hardware),
            _ => Command::Register(Register {
                expires,
                ..Register::of(RegistrationTarget::Hardware(hardware))
            }),
        };
        self.command(number, command, None);
    }

    /// Both hold the same registrations, if they exchange them.
    pub(super) fn registrations_agree(&self) -> Result<(), Violation> {
        if !self.plan.exchanges {
            return Ok(());
        }
        let [one, other] = plan::NODES.map(|number| self.registrations(number));
        if one == other {
            return Ok(());
        }
        let what = format!("the halves hold other registrations: {one:?} and {other:?}");
        Err(Violation::new("P7", what))
    }

    fn registrations(&self, number: usize) -> Option<Vec<Registration>> {
        let node = &self.nodes[number];
        let server = &node.process.as_ref()?.server;
        let query = Query::Registrations { after: None, limit: usize::MAX, owner: None };
        match server.query(node.time(self.now), &query) {
            QueryAnswer::Registrations { registrations, .. } => {
                Some(registrations.into_iter().map(|view| view.registration).collect())
            }
            _ => None,
        }
    }
}
