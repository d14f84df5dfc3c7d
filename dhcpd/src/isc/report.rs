//! What came of each statement and each lease: the report of an import.
//!
//! It promises that nothing is dropped in silence: what was left out, what behaves otherwise now, and
//! what was not needed stands in it with file, line and what to do, or is at least counted if there is
//! more of it than [`FINDINGS_MAX`].

use super::syntax::{FileNumber, Place};
use crate::api::is_active;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Findings that are kept; the rest is counted.
pub const FINDINGS_MAX: usize = 100_000;

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It has no equal here, and what it did does not happen any more.
    LeftOut,
    /// It was taken over, and behaves otherwise than before.
    Changed,
    /// It says what this server does anyway, or means nothing here.
    NotNeeded,
}

impl Kind {
    /// All of them, the gravest first.
    pub const ALL: [Self; 3] = [Self::LeftOut, Self::Changed, Self::NotNeeded];

    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeftOut => "left-out",
            Self::Changed => "changed",
            Self::NotNeeded => "not-needed",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::LeftOut => "left out",
            Self::Changed => "changed",
            Self::NotNeeded => "not needed",
        }
    }
}

/// One thing that the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    /// `None`: it is about no single line.
    pub(super) place: Option<Place>,
    /// What it is about. It may hold whatever a stranger chose, and is escaped where it is shown.
    pub(super) what: String,
    /// What to do, or why nothing is to be done.
    pub(super) remedy: String,
}

/// What was found, and what was taken over.
#[derive(Debug, Default)]
pub struct Report {
    pub(super) files: Vec<String>,
    pub(super) findings: Vec<Finding>,
    /// How many there were of each kind, those beyond [`FINDINGS_MAX`] included.
    pub(super) found: BTreeMap<Kind, u64>,
    /// What was taken over.
    pub counts: Counts,
}

/// What was taken over, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Networks.
    pub networks: u64,
    /// Subnets.
    pub subnets: u64,
    /// Addresses in pools.
    pub pool_addresses: u64,
    /// Reservations.
    pub reservations: u64,
    /// Options, each place where one is set counted.
    pub options: u64,
    /// Leases that are held.
    pub leases_held: u64,
    /// Addresses in quarantine.
    pub leases_abandoned: u64,
    /// Leases that have ended, kept so that their clients get their addresses again.
    pub leases_ended: u64,
    /// Devices that are registered.
    pub registrations: u64,
}

impl Report {
    pub(super) fn file(&mut self, name: String) -> FileNumber {
        self.files.push(name);
        // The configuration's files are bounded far below.
        FileNumber(u16::try_from(self.files.len() - 1).unwrap_or(u16::MAX))
    }

    pub(super) fn add(
        &mut self,
        kind: Kind,
        place: impl Into<Option<Place>>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        *self.found.entry(kind).or_default() += 1;
        if self.findings.len() < FINDINGS_MAX {
            let (place, what, remedy) = (place.into(), what.into(), remedy.into());
            self.findings.push(Finding { kind, place, what, remedy });
        }
    }

    pub(super) fn left_out(
        &mut self,
        place: impl Into<Option<Place>>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Kind::LeftOut, place, what, remedy);
    }

    pub(super) fn changed(
        &mut self,
        place: impl Into<Option<Place>>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Kind::Changed, place, what, remedy);
    }

    /// How many findings of a kind there are.
    #[must_use]
    pub fn found(&self, kind: Kind) -> u64 {
        self.found.get(&kind).copied().unwrap_or_default()
    }

    /// `FILE:LINE`, as in every message.
    pub(super) fn place_text(&self, place: Place) -> String {
        let file = self.files.get(usize::from(place.file.0)).map_or("", String::as_str);
        format!("{}:{}", shown(file), place.line)
    }

    /// By kind, the gravest first, then by place.
    fn in_order(&self) -> Vec<&Finding> {
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        findings.sort_by_key(|finding| (finding.kind, finding.place));
        findings
    }

    /// For people: each finding, then what was taken over. Ends with a line break.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for finding in self.in_order() {
            let place = finding
                .place
                .map_or_else(String::new, |place| format!("{}: ", self.place_text(place)));
            let (kind, what, remedy) =
                (finding.kind.words(), shown(&finding.what), shown(&finding.remedy));
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{place}{kind}: {what}\n    {remedy}");
        }
        let omitted = self.omitted();
        if omitted > 0 {
            let _ = writeln!(text, "and {omitted} more");
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let Counts {
            networks,
            subnets,
            pool_addresses,
            reservations,
            options,
            leases_held,
            leases_abandoned,
            leases_ended,
            registrations,
        } = self.counts;
        let _ = writeln!(
            text,
            "taken over: {networks} networks, {subnets} subnets, {pool_addresses} addresses in pools, \
             {reservations} reservations, {options} options"
        );
        let _ = writeln!(
            text,
            "taken over: {leases_held} leases that are held, {leases_ended} that have ended, {leases_abandoned} \
             abandoned addresses, {registrations} registrations"
        );
        let of = |kind| self.found(kind);
        let _ = writeln!(
            text,
            "not taken over as it was: {} left out, {} changed; {} not needed",
            of(Kind::LeftOut),
            of(Kind::Changed),
            of(Kind::NotNeeded)
        );
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let Counts {
            networks,
            subnets,
            pool_addresses,
            reservations,
            options,
            leases_held,
            leases_abandoned,
            leases_ended,
            registrations,
        } = self.counts;
        let findings = self.in_order().into_iter().map(|finding| {
            let file = finding.place.and_then(|place| self.files.get(usize::from(place.file.0)));
            json!({
                "kind": finding.kind.name(),
                "file": file,
                "line": finding.place.map(|place| place.line),
                "what": finding.what,
                "remedy": finding.remedy,
            })
        });
        json!({
            "taken-over": {
                "networks": networks,
                "subnets": subnets,
                "pool-addresses": pool_addresses,
                "reservations": reservations,
                "options": options,
                "leases-held": leases_held,
                "leases-ended": leases_ended,
                "leases-abandoned": leases_abandoned,
                "registrations": registrations,
            },
            "left-out": self.found(Kind::LeftOut),
            "changed": self.found(Kind::Changed),
            "not-needed": self.found(Kind::NotNeeded),
            "findings-omitted": self.omitted(),
            "findings": findings.collect::<Vec<_>>(),
        })
    }

    fn omitted(&self) -> u64 {
        self.found.values().sum::<u64>().saturating_sub(self.findings.len() as u64)
    }
}

/// A text from a file on one line, with everything in it that could act on a terminal written out.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_active(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_stand_first_and_nothing_acts_on_a_terminal() {
        let mut report = Report::default();
        let file = report.file("dhcpd.conf".to_owned());
        report.add(Kind::NotNeeded, Place { file, line: 1 }, "authoritative", "always");
        report.left_out(Place { file, line: 7 }, "host \u{1b}[2J", "look at it\nnow");
        report.left_out(Place { file, line: 3 }, "next-server", "no");
        let text = report.text();
        let lines: Vec<&str> = text.lines().take(6).collect();
        assert_eq!(
            lines,
            [
                "dhcpd.conf:3: left out: next-server",
                "    no",
                "dhcpd.conf:7: left out: host \\u{1b}[2J",
                "    look at it\\u{a}now",
                "dhcpd.conf:1: not needed: authoritative",
                "    always",
            ]
        );
        assert!(text.ends_with("not taken over as it was: 2 left out, 0 changed; 1 not needed\n"));
        assert_eq!(report.json()["findings"][1]["line"], 7);
    }

    #[test]
    fn what_is_beyond_the_limit_is_counted() {
        let mut report = Report::default();
        for _ in 0..FINDINGS_MAX + 5 {
            report.left_out(None, "x", "y");
        }
        assert!(report.text().contains("and 5 more"));
        assert_eq!(report.json()["left-out"], FINDINGS_MAX as u64 + 5);
    }
}
