//! The one thread that changes the kernel: takes what the feeds tell, in groups, and makes it so.
//!
//! While a transaction is under way the next events gather, and go together in the one after it. It promises
//! that what others change in the table is made anew at once, that a refusal by the kernel is tried again twice
//! a second with the whole, and that its end leaves the table as it is. It never waits for a server, except that
//! a table which is there already stays as it is until there is something to put in its place.

use super::book::{ADDRESSES_MAX, Book};
use super::counters::Counters;
use super::error::AgentError;
use super::reading::{Event, Snapshot};
use super::rulesets::joined;
use super::watched::Watched;
use crate::feed::{Element, Held};
use crate::{FirewallError, Gate, Interference, Ruleset, TABLE_DEFAULT, contents_of};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use vestibule_config::WhenSilent;
use vestibule_core::GateChange;

/// Events that wait for the kernel at most, each with one line's changes or one snapshot.
pub(super) const EVENTS_WAITING_MAX: usize = 64;

/// Changes that are made in one transaction, about.
const CHANGES_PER_TRANSACTION: usize = 16_384;

/// How long a table that is there already stays as it is because a server has not spoken yet.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked for what has run out, for silence, and whether to try again.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Addresses that are looked at each time: a few milliseconds.
const SWEPT_AT_ONCE: usize = 65_536;

/// At most one line about the same in this time.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// What one server has told.
#[derive(Debug, Default)]
struct Told {
    ruleset: Option<Ruleset>,
    has_told_all: bool,
    heard: Option<Instant>,
}

/// What it works by.
pub(super) struct Plan {
    /// How many servers there are.
    pub(super) servers: usize,
    pub(super) when_silent: WhenSilent,
    pub(super) silent_after: Duration,
    /// What this host's own file says of the table.
    pub(super) ruleset: Option<Ruleset>,
}

/// See the module.
pub(super) struct Enforcer {
    events: mpsc::Receiver<(usize, Event)>,
    counters: Arc<Counters>,
    plan: Plan,
    servers: Vec<Told>,
    book: Book,
    gate: Option<(Gate, Watched)>,
    /// Whether an earlier agent's table stands.
    has_table: bool,
    /// The table has to be made from the beginning: there is none of ours, its ruleset is another one, or the
    /// kernel refused something.
    is_to_be_opened: bool,
    /// The contents have to be told as a whole.
    is_to_be_replaced: bool,
    is_silent: bool,
    tried: Option<Instant>,
    complained: Option<Instant>,
    interference_said: Option<Instant>,
    /// Decisions that wait for their transaction.
    decided: Vec<Instant>,
}

impl Enforcer {
    /// Looks at what the kernel holds.
    ///
    /// # Errors
    /// [`AgentError::Firewall`] if the process may not change the firewall.
    pub(super) fn new(
        events: mpsc::Receiver<(usize, Event)>,
        counters: Arc<Counters>,
        plan: Plan,
    ) -> Result<Self, AgentError> {
        let mut enforcer = Self {
            events,
            counters,
            servers: (0..plan.servers).map(|_| Told::default()).collect(),
            plan,
            book: Book::new(),
            gate: None,
            has_table: false,
            is_to_be_opened: true,
            is_to_be_replaced: false,
            is_silent: false,
            tried: None,
            complained: None,
            interference_said: None,
            decided: Vec::new(),
        };
        enforcer.look_for_table()?;
        Ok(enforcer)
    }

    /// Enforces until nobody can send events any more.
    ///
    /// # Errors
    /// [`AgentError::Firewall`] if the process may not change the firewall: trying again is of no use.
    pub(super) async fn run(mut self) -> Result<(), AgentError> {
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                interfered = Watched::interference(self.gate.as_mut().map(|(_, watched)| watched)) => {
                    self.interfered(interfered);
                }
                event = self.events.recv() => {
                    let Some((number, event)) = event else { return Ok(()) };
                    let mut changes = self.take(number, event);
                    while changes < CHANGES_PER_TRANSACTION
                        && let Ok((number, event)) = self.events.try_recv()
                    {
                        changes += self.take(number, event);
                    }
                }
                _ = look.tick() => self.look(),
            }
            self.enforce()?;
        }
    }

    fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// A moment on the book's clock, which begins long before the agent: statements may be older than it.
    fn at(&self, moment: Instant) -> u64 {
        const BEFORE_START: u64 = 1 << 42;
        let started = self.counters.started;
        let milliseconds = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let after = milliseconds(moment.saturating_duration_since(started));
        let before = milliseconds(started.saturating_duration_since(moment));
        BEFORE_START.saturating_add(after).saturating_sub(before)
    }

    /// Takes in an event; how many changes it brought.
    fn take(&mut self, number: usize, event: Event) -> usize {
        let Some(told) = self.servers.get_mut(number) else { return 0 };
        told.heard = Some(Instant::now());
        match event {
            Event::Alive => 0,
            Event::Hello(hello) => {
                if told.ruleset.as_ref() != Some(&hello.ruleset) {
                    told.ruleset = Some(hello.ruleset);
                    self.is_to_be_opened = true;
                }
                0
            }
            Event::Snapshot(snapshot) => {
                told.has_told_all = true;
                self.take_snapshot(number, snapshot);
                0
            }
            Event::Changes(changes, decided) => {
                let (decided_at, now) = (self.at(decided), self.now());
                let count = changes.len();
                for change in changes {
                    self.book.change(number, change, decided_at, now);
                }
                if count > 0 {
                    self.decided.push(decided);
                }
                count
            }
        }
    }

    fn take_snapshot(&mut self, number: usize, snapshot: Snapshot) {
        let now = self.now();
        let elements: Vec<Held<Element>> = snapshot
            .pages
            .into_iter()
            .flat_map(|(page, arrived)| {
                let waited = now.saturating_sub(self.at(arrived));
                page.into_iter().map(move |held| {
                    let Element(address, side, life, age) = held.what;
                    let (life, age) = (life.saturating_sub(waited), age.saturating_add(waited));
                    Held { what: Element(address, side, life, age), ..held }
                })
            })
            .collect();
        self.book.snapshot(number, &elements, now);
        for (changes, decided, arrived) in snapshot.changes {
            let (decided, arrived) = (self.at(decided), self.at(arrived));
            for change in changes {
                self.book.change(number, change, decided, arrived);
            }
        }
        if self.servers.iter().all(|told| told.has_told_all) {
            self.book.forget_found();
        }
    }

    fn interfered(&mut self, interfered: Result<Interference, FirewallError>) {
        self.counters.enforced().interferences += 1;
        self.is_to_be_replaced = true;
        let what = match interfered {
            Ok(interference) => interference.to_string(),
            Err(error) => {
                // Only a new one would notice anything.
                self.gate = None;
                self.is_to_be_opened = true;
                error.to_string()
            }
        };
        if self.interference_said.is_none_or(|last| last.elapsed() >= COMPLAINT_PAUSE) {
            self.interference_said = Some(Instant::now());
            tracing::warn!("{what}; the gate is made anew (said once a minute)");
        }
    }

    /// What only time brings.
    fn look(&mut self) {
        let now = self.now();
        self.book.sweep(now, SWEPT_AT_ONCE);
        let started = self.counters.started;
        let silence = |told: &Told| told.heard.unwrap_or(started).elapsed();
        let is_silent = self.servers.iter().all(|told| silence(told) >= self.plan.silent_after);
        if is_silent != self.is_silent {
            self.is_silent = is_silent;
            self.silence_changed();
        }
        let mut enforced = self.counters.enforced();
        enforced.is_silent = is_silent;
        enforced.sizes = self.book.sizes();
        enforced.unheard = self.book.unheard();
    }

    fn silence_changed(&mut self) {
        let seconds = self.plan.silent_after.as_secs();
        let closes = self.plan.when_silent == WhenSilent::Close;
        match (self.is_silent, closes) {
            (true, true) => tracing::error!(
                "no server has said anything for {seconds} s: permits are taken away, as agent.when-silent says"
            ),
            (true, false) => tracing::error!(
                "no server has said anything for {seconds} s: permits stay until their leases end"
            ),
            (false, _) => tracing::info!("a server speaks again"),
        }
        if closes {
            self.book.close(self.is_silent);
            self.is_to_be_replaced = true;
        }
    }

    /// Brings the kernel to what is known.
    fn enforce(&mut self) -> Result<(), AgentError> {
        if self.is_to_be_opened {
            return self.open();
        }
        let now = self.now();
        let Some((gate, _)) = &mut self.gate else { return Ok(()) };
        if self.is_to_be_replaced {
            let contents = self.book.contents(now);
            self.counters.enforced().reconciles += 1;
            let replaced = gate.replace_all(&contents.all);
            let replaced = replaced.and_then(|()| forget_flows(gate, &contents.moved));
            return self.judge(replaced, contents.all.elements.len(), &contents.moved);
        }
        let changes = self.book.changes(now);
        if changes.is_empty() {
            self.decided.clear();
            return Ok(());
        }
        let applied = gate.apply(&changes);
        self.judge(applied, changes.len(), &changes)
    }

    /// Makes the table from the beginning, once it is known what to put in.
    fn open(&mut self) -> Result<(), AgentError> {
        if !self.is_ready() || self.tried.is_some_and(|tried| tried.elapsed() < LOOK_INTERVAL) {
            return Ok(());
        }
        let told = self.servers.iter().filter_map(|told| told.ruleset.as_ref());
        let rulesets: Vec<&Ruleset> = told.chain(&self.plan.ruleset).collect();
        let Some((ruleset, differences)) = joined(&rulesets) else { return Ok(()) };
        if !differences.is_empty() && self.counters.enforced().differences != differences {
            tracing::warn!(
                "the servers, or this host's own file, differ in {}: the first server is followed",
                differences.join(", ")
            );
        }
        self.counters.enforced().differences = differences;
        let contents = self.book.contents(self.now());
        // Leases outlive the pools that they came from.
        let held = u32::try_from(contents.all.elements.len()).unwrap_or(u32::MAX);
        let most = u32::try_from(ADDRESSES_MAX).unwrap_or(u32::MAX / 2);
        let elements_max = ruleset.elements_max.saturating_add(held).min(most);
        let opened = Gate::open_watched(Ruleset { elements_max, ..ruleset }, &contents.all);
        let opened = opened.and_then(|(gate, watch)| Ok((gate, Watched::new(watch)?)));
        let (mut gate, watched) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.judge(Err(error), 0, &contents.moved),
        };
        let moved = forget_flows(&mut gate, &contents.moved);
        self.gate = Some((gate, watched));
        self.has_table = false;
        self.is_to_be_opened = false;
        self.counters.enforced().is_enforcing = true;
        tracing::info!(addresses = contents.all.elements.len(), "the gate is enforced here");
        self.judge(moved, contents.all.elements.len(), &contents.moved)
    }

    /// Whether there is something to put into the table.
    fn is_ready(&self) -> bool {
        let have_told = self.servers.iter().filter(|told| told.has_told_all).count();
        let is_late = self.counters.started.elapsed() >= START_PATIENCE;
        if self.has_table && !self.is_silent {
            // It enforces until then, a late server's part too.
            return have_told == self.servers.len() || (have_told > 0 && is_late);
        }
        have_told > 0 || self.plan.ruleset.is_some()
    }

    /// What an earlier agent left is kept for a server that does not answer yet: its hosts have leases.
    fn look_for_table(&mut self) -> Result<(), AgentError> {
        match contents_of(TABLE_DEFAULT) {
            Ok(Some(contents)) => {
                tracing::info!(
                    addresses = contents.len(),
                    "the table of an earlier agent is taken over"
                );
                let now = self.now();
                self.book.found(&contents, now);
                self.has_table = true;
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error @ (FirewallError::CapabilityMissing | FirewallError::KernelLacks { .. })) => {
                Err(AgentError::Firewall(error))
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    "what the table of an earlier agent holds cannot be read: it stands until servers have spoken, \
                     and hosts of a server that stays silent lose their permits then"
                );
                self.has_table = true;
                Ok(())
            }
        }
    }

    /// Takes in what became of a transaction; `changes` are those whose flows had to be deleted with it.
    fn judge(
        &mut self,
        outcome: Result<(), FirewallError>,
        count: usize,
        changes: &[GateChange],
    ) -> Result<(), AgentError> {
        let Err(error) = outcome else {
            self.is_to_be_replaced = false;
            self.counters.applied(count, &self.decided);
            self.decided.clear();
            let mut enforced = self.counters.enforced();
            enforced.sizes = self.book.sizes();
            enforced.is_closed = self.book.is_closed();
            if enforced.failing.take().is_some() {
                tracing::info!("the kernel sets are right again");
                self.complained = None;
            }
            return Ok(());
        };
        for change in changes.iter().filter(|change| change.forget_flows) {
            self.book.touch(change.address, true);
        }
        if !matches!(error, FirewallError::Flows { .. }) {
            // The table is made from the beginning, so nothing is lost with what was given to the kernel.
            self.is_to_be_opened = true;
            self.tried = Some(Instant::now());
        }
        {
            let mut enforced = self.counters.enforced();
            enforced.transactions_failed += 1;
            enforced.failing = Some(error.to_string());
        }
        if matches!(error, FirewallError::CapabilityMissing | FirewallError::KernelLacks { .. }) {
            return Err(AgentError::Firewall(error));
        }
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAINT_PAUSE) {
            self.complained = Some(Instant::now());
            tracing::error!(%error, "the kernel sets cannot be changed; they are tried again (said once a minute)");
        }
        Ok(())
    }
}

/// Deletes the tracked flows of addresses that are on another side than before.
fn forget_flows(gate: &mut Gate, moved: &[GateChange]) -> Result<(), FirewallError> {
    moved.chunks(CHANGES_PER_TRANSACTION).try_for_each(|changes| gate.apply(changes))
}
