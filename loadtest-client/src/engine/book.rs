//! What is noted of leases and of clients that did not get what they should have: the ledger, its file,
//! violations and stories.
//!
//! It promises that no table grows beyond its limit, and that what it is told stands in the file when
//! [`Book::flush`] returns. Times that it is given are milliseconds since the run began.

use super::history::{History, Step};
use crate::client::{Lease, Offer, State};
use crate::ledger::{Ended, Entry, Holding, Ledger, LedgerFile, Violation};
use crate::message::Hardware;
use crate::moment::Moment;
use crate::result::VIOLATIONS_MAX;
use crate::story::{Stories, Story, StoryKind};
use std::io;
use std::net::Ipv4Addr;

/// Whom something is noted of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    pub(super) client: Hardware,
    pub(super) giaddr: Ipv4Addr,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    ledger: Ledger,
    file: Option<LedgerFile>,
    /// The wall clock when the run began, in milliseconds since the Unix epoch.
    epoch: u64,
    violations: u64,
    shown: Vec<Violation>,
    stories: Stories,
}

impl Book {
    pub(super) fn new(ledger: Ledger, file: Option<LedgerFile>, epoch: u64) -> Self {
        let (violations, shown) = (0, Vec::new());
        Self { ledger, file, epoch, violations, shown, stories: Stories::default() }
    }

    pub(super) fn violations(&self) -> (u64, &[Violation]) {
        (self.violations, &self.shown)
    }

    /// Whether leases of earlier runs are known.
    pub(super) fn has_leases(&self) -> bool {
        !self.ledger.is_empty()
    }

    /// A client was acknowledged a lease: with what it was offered, and the lifetime in seconds.
    pub(super) fn acknowledged(
        &mut self,
        now: u64,
        who: Who,
        lease: Lease,
        offered: Option<(Offer, u32)>,
    ) -> io::Result<()> {
        let at = self.at(now);
        let ends = self.at(lease.ends);
        let giaddr = Some(who.giaddr);
        let holding = Holding { client: who.client, server: lease.server, giaddr, ends };
        if let Some(file) = &mut self.file {
            file.add(&entry(at, lease.address, holding, None))?;
        }
        for violation in self.ledger.acknowledged(at, lease.address, holding, offered) {
            self.violation(violation);
        }
        Ok(())
    }

    /// A client was offered something, and may have a lease.
    pub(super) fn offered(&mut self, now: u64, client: Hardware, offer: Offer) {
        if let Some(violation) = self.ledger.offered(self.at(now), client, offer) {
            self.violation(violation);
        }
    }

    /// A server refused a client what it asked for.
    pub(super) fn refused(&mut self, now: u64, client: Hardware) -> io::Result<()> {
        self.ended(now, client, Ended::Refused)?;
        if let Some(violation) = self.ledger.refused(self.at(now), client) {
            self.violation(violation);
        }
        Ok(())
    }

    /// A client gave its lease back.
    pub(super) fn given_back(&mut self, now: u64, client: Hardware, how: Ended) -> io::Result<()> {
        self.ended(now, client, how)?;
        self.ledger.ended(client);
        Ok(())
    }

    fn ended(&mut self, now: u64, client: Hardware, how: Ended) -> io::Result<()> {
        let at = self.at(now);
        if let (Some(file), Some((address, holding))) =
            (&mut self.file, self.ledger.of_client(at, client))
        {
            file.add(&entry(at, address, holding, Some(how)))?;
        }
        Ok(())
    }

    /// A client's lease has ended.
    pub(super) fn expired(&mut self, client: Hardware) {
        self.ledger.ended(client);
    }

    /// A reply to a client names another relay than its own.
    pub(super) fn other_relay(&mut self, now: u64, who: Who, named: Ipv4Addr) {
        let (client, giaddr, at) = (who.client, who.giaddr, self.at(now));
        self.violation(Violation::OtherRelay { client, giaddr, named, at });
    }

    /// What a client went through, if there is room for it. `state`: where it stood.
    pub(super) fn story(
        &mut self,
        now: u64,
        kind: StoryKind,
        who: Who,
        state: State,
        address: Option<Ipv4Addr>,
        history: &History,
    ) {
        if !self.stories.has_room(kind) {
            return;
        }
        let at = Moment(self.at(now)).to_string();
        let (steps, steps_left_out) = history.told(self.epoch);
        let Who { client, giaddr } = who;
        let what = address.map_or_else(String::new, |address| format!(" {address}"));
        let asking = match state {
            State::Requesting => "of an offer",
            State::Rebooting => "in INIT-REBOOT",
            State::Renewing => "in RENEWING",
            State::Rebinding => "in REBINDING",
            _ => "beside its lease",
        };
        let sentence = match kind {
            StoryKind::Expired => {
                let [renewals, rebinds] = history.sent_since_ack([Step::Renew, Step::Rebind]);
                format!(
                    "{client} behind {giaddr} lost{what} at {at}: its lease ended, and {renewals} RENEW \
                     and {rebinds} REBIND had no ACK"
                )
            }
            StoryKind::Refused => {
                format!("{client} behind {giaddr} got a NAK for{what} at {at}, asked {asking}")
            }
            StoryKind::Unanswered => {
                format!("{client} behind {giaddr} gave up{what} at {at}: nobody answered {asking}")
            }
        };
        let client = client.to_string();
        let story = Story { kind, client, giaddr, address, at, sentence, steps, steps_left_out };
        self.stories.told.push(story);
    }

    /// Writes what the file has not.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), LedgerFile::flush)
    }

    pub(super) fn finish(self) -> (Ledger, Stories) {
        (self.ledger, self.stories)
    }

    const fn at(&self, now: u64) -> u64 {
        self.epoch.saturating_add(now)
    }

    fn violation(&mut self, violation: Violation) {
        self.violations += 1;
        if self.shown.len() < VIOLATIONS_MAX {
            self.shown.push(violation);
        }
    }
}

const fn entry(at: u64, address: Ipv4Addr, holding: Holding, ended: Option<Ended>) -> Entry {
    let Holding { client, server, giaddr, ends } = holding;
    Entry { at, client, address, server, ends, giaddr, ended }
}
