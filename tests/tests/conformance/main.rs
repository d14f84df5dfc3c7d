//! One case, as data, for every rule of the server side of RFC 2131 and of the RFCs beside it:
//! `tests/conformance/`, whose README says how to read a case.
//!
//! Each packet goes the whole way from bytes to bytes: decode, decide, encode. What comes out is
//! read by dhcproto's owned decoder, which no part of the server uses, and printed in the form of
//! the cases. `VESTIBULE_CONFORMANCE=rewrite` writes what came out into the cases; look at the
//! difference before it is committed.

mod case;
mod field;
mod incoming;
mod option;
mod outgoing;
mod play;

use case::Case;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use vestibule_core::Reason;

/// Reasons that no conformance case can show: what the shell finds before a message is there, or
/// after it was decided, and what takes hundreds of packets, a salvaged store or a failover partner (the
/// core's unit tests show that).
const REASONS_WITHOUT_A_CASE: [Reason; 12] = [
    Reason::BadFrame,
    Reason::HoldOff,
    Reason::Overload,
    Reason::OverloadUnread,
    Reason::DuplicateWaiting,
    Reason::DiscoverTooOld,
    Reason::GateUnavailable,
    Reason::SendFailed,
    Reason::TooManyLeases,
    Reason::LoadBalanced,
    Reason::PartnersAddress,
    Reason::PairNotServing,
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// Every case with its path, in the order of the names.
fn cases() -> Vec<(PathBuf, Case)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let case = Case::read(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            (path, case)
        })
        .collect()
}

#[test]
fn every_case_ends_as_it_says() {
    let rewrite = std::env::var_os("VESTIBULE_CONFORMANCE").is_some_and(|value| value == "rewrite");
    let mut complaints = Vec::new();
    for (path, case) in cases() {
        let played = play::play(&case, &folder().join("configurations"));
        let played = played.unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        if rewrite {
            fs::write(&path, case.with(&played)).unwrap();
        } else if let Some(difference) = case.difference(&played) {
            complaints.push(format!("{}\n{difference}", path.display()));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_reason_has_a_case() {
    let mut seen: BTreeMap<Reason, usize> = BTreeMap::new();
    for (_, case) in cases() {
        for expected in case.expectations() {
            let reason = Reason::ALL.iter().find(|reason| {
                expected.starts_with(&format!("nothing: {reason}"))
                    || expected.starts_with(&format!("NAK because {reason},"))
            });
            if let Some(reason) = reason {
                *seen.entry(*reason).or_default() += 1;
            }
        }
    }
    let missing: BTreeSet<&str> = Reason::ALL
        .iter()
        .filter(|reason| !seen.contains_key(reason) && !REASONS_WITHOUT_A_CASE.contains(reason))
        .map(|reason| reason.name())
        .collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
}

#[test]
fn every_case_names_its_rule_and_no_two_are_the_same() {
    let mut rules = BTreeMap::new();
    for (path, case) in cases() {
        assert!(!case.rule.is_empty() && !case.source.is_empty(), "{}", path.display());
        if let Some(other) = rules.insert(case.rule.clone(), path.clone()) {
            panic!("{} and {} have one rule", path.display(), other.display());
        }
    }
    assert!(!rules.is_empty());
}
