//! Tests of what a person sees: golden files, well-formed pages, hostile texts, results of any kind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests say so by panicking"
)]

mod any_result;
pub(super) mod samples;

use super::{compared_html, compared_text, html, number, text};
use crate::result::{Ending, ErrorCount, Pair, RunResult, ViolationRow};
use proptest::prelude::*;
use roxmltree::{Document, Node, ParsingOptions};
use samples::{busy, empty, one_sample, ramp, repeated, troubled, violated};

/// Texts that somebody on the network may choose.
const HOSTILE: &str = "<script>alert(1)</script>\"'&amp; \u{1b}[2J\u{1b}]0;x\u{7} \u{202e}gnp\u{2066} \u{0}\u{ffff}]]>";

fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).expect("a page is well-formed")
}

fn text_of(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|text| text.text()).collect()
}

/// The cells of the table whose caption begins so, without its head.
fn table_of(page: &str, caption: &str) -> Vec<Vec<String>> {
    let document = parsed(page);
    let table = document
        .descendants()
        .filter(|node| node.has_tag_name(("http://www.w3.org/1999/xhtml", "table")))
        .find(|table| {
            table.children().any(|child| {
                child.tag_name().name() == "caption" && text_of(child).starts_with(caption)
            })
        })
        .unwrap_or_else(|| panic!("no table {caption}"));
    let body = table.children().find(|child| child.tag_name().name() == "tbody").unwrap();
    let rows = body.children().filter(Node::is_element);
    rows.map(|row| row.children().filter(Node::is_element).map(text_of).collect()).collect()
}

/// What every page must be.
fn assert_sound(page: &str) {
    let document = parsed(page);
    let mut ids = std::collections::BTreeSet::new();
    for node in document.descendants().filter(Node::is_element) {
        let name = node.tag_name().name();
        assert!(!["script", "link", "iframe", "object", "img", "base", "form"].contains(&name));
        for attribute in node.attributes() {
            let name = attribute.name();
            assert!(!name.starts_with("on") && !["src", "href", "style"].contains(&name), "{name}");
            assert!(!attribute.value().contains("NaN") && !attribute.value().contains("inf "));
        }
        if let Some(id) = node.attribute("id") {
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
        }
    }
    for node in document.descendants().filter(Node::is_element) {
        for id in node.attribute("aria-labelledby").unwrap_or_default().split(' ') {
            assert!(id.is_empty() || ids.contains(id), "{id} names nothing");
        }
        match node.tag_name().name() {
            "svg" => {
                let described = node.attribute("role") == Some("img")
                    && node.children().any(|child| child.tag_name().name() == "title");
                assert!(described || node.attribute("aria-hidden") == Some("true"));
            }
            "th" => assert!(node.has_attribute("scope")),
            "table" => assert!(node.children().any(|child| child.tag_name().name() == "caption")),
            "section" => assert!(node.has_attribute("aria-labelledby")),
            _ => {}
        }
    }
    for landmark in ["header", "main", "footer", "h1"] {
        let of = |node: &Node<'_, '_>| node.tag_name().name() == landmark;
        assert_eq!(document.descendants().filter(of).count(), 1, "{landmark}");
    }
    let shown = text_of(document.root());
    assert!(!shown.contains(|character: char| character.is_control() && character != '\n'));
}

fn assert_harmless(text: &str) {
    let obeyed = |character: char| {
        (character.is_control() && character != '\n')
            || ('\u{202a}'..='\u{202e}').contains(&character)
            || ('\u{2066}'..='\u{2069}').contains(&character)
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{61c}')
    };
    assert!(!text.contains(obeyed), "{text:?}");
}

/// Compares with a file of the folder `golden`. `VESTIBULE_GOLDEN=write` writes it anew; then read
/// the difference.
fn assert_golden(name: &str, found: &str) {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/tests/golden").join(name);
    if std::env::var("VESTIBULE_GOLDEN").is_ok_and(|value| value == "write") {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name} differs");
}

#[test]
fn the_summary_of_a_run() {
    for (name, result) in [
        ("busy.txt", busy()),
        ("violated.txt", violated()),
        ("ramp.txt", ramp()),
        ("empty.txt", empty()),
        ("one-sample.txt", one_sample()),
        ("troubled.txt", troubled()),
    ] {
        let text = text(&result);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_golden(name, &text);
    }
    assert!(text(&violated()).starts_with("LEDGER: 3 violations."));
}

#[test]
fn runs_side_by_side_as_text() {
    let runs = repeated();
    let text = compared_text(&runs);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_golden("compared.txt", &text);
    assert_golden("compared-violated.txt", &compared_text(&[busy(), violated(), ramp()]));
}

#[test]
fn pages_are_well_formed_and_accessible() {
    for result in [busy(), violated(), ramp(), empty(), one_sample(), troubled()] {
        assert_sound(&html(&result));
        assert_sound(&compared_html(std::slice::from_ref(&result)));
    }
    assert_sound(&compared_html(&repeated()));
    assert_sound(&compared_html(&[empty(), busy(), violated(), ramp()]));
    assert_sound(&compared_html(&[]));
    assert_eq!(compared_text(&[]).trim(), "There are no runs.");
}

#[test]
fn figures_on_the_page_are_those_of_the_result() {
    let result = busy();
    let page = html(&result);
    let latencies = table_of(&page, "Latency of each kind");
    assert_eq!(latencies.len(), result.latencies.len());
    for (row, latency) in latencies.iter().zip(&result.latencies) {
        let histogram = &latency.histogram;
        let times = [50.0, 90.0, 99.0, 99.9].map(|percent| histogram.percentile(percent));
        let mut expected = vec![latency.pair.to_string(), number::count(histogram.count())];
        expected.extend(times.map(number::microseconds));
        expected.push(number::microseconds(histogram.max()));
        assert_eq!(row[..7], expected);
    }
    let relays = table_of(&page, "All relays");
    assert_eq!(relays.len(), result.relays.len());
    for (row, relay) in relays.iter().zip(&result.relays) {
        let figures =
            [relay.clients, relay.sent, relay.received, relay.acknowledged, relay.refused];
        assert_eq!(row[0], relay.giaddr.to_string());
        assert_eq!(row[1..6], figures.map(number::count));
        let unanswered = relay.acknowledged == 0;
        let p99 = if unanswered {
            "–".to_owned()
        } else {
            number::microseconds(relay.p99_microseconds)
        };
        assert_eq!(row[8], p99);
    }
    let seconds = table_of(&page, "Each second");
    assert_eq!(seconds.len(), result.timeline.len());
    for (row, second) in seconds.iter().zip(&result.timeline) {
        assert_eq!(row[5], number::microseconds(second.p99_microseconds));
        let counts = [second.retransmitted, second.refused, second.expired, second.kernel_drops];
        assert_eq!(row[7..11], counts.map(number::count));
        assert_eq!(row[11..], [second.in_flight, second.bound].map(number::count));
    }
    let phases = table_of(&page, "Phases");
    assert_eq!(phases[0][4], number::count(result.phases[0].began));
    let errors = table_of(&page, "Errors");
    assert_eq!(
        errors[0][..2],
        [result.errors[0].kind.clone(), number::count(result.errors[0].count)]
    );
}

#[test]
fn a_plot_says_in_words_what_it_shows() {
    let result = busy();
    let page = html(&result);
    let document = parsed(&page);
    let descriptions: Vec<String> = document
        .descendants()
        .filter(|node| node.tag_name().name() == "desc")
        .map(text_of)
        .collect();
    let p99 = number::microseconds(result.latency(Pair::Dora).unwrap().percentile(99.0));
    assert!(descriptions[0].contains(&format!("p99 {p99}")), "{descriptions:?}");
    let retransmitted = result.timeline.iter().map(|second| second.retransmitted).max().unwrap();
    assert!(descriptions.iter().any(|words| {
        words.contains(&format!("sent again: at most {}", number::measured(retransmitted as f64)))
    }));
}

#[test]
fn texts_of_others_are_harmless() {
    let mut result = violated();
    let hostile = || HOSTILE.to_owned();
    result.settings.label = hostile();
    result.settings.scenario = hostile();
    result.settings.scenario_toml = hostile();
    result.settings.durability = Some(hostile());
    result.machine.processor = hostile();
    result.machine.kernel = hostile();
    result.machine.program = hostile();
    result.limits.reason = hostile();
    result.phases[0].name = hostile();
    result.phases.push(result.phases[0].clone());
    result.errors = vec![ErrorCount { kind: hostile(), count: 1, remark: hostile() }];
    result.ledger.shown = vec![ViolationRow { rule: hostile(), story: hostile() }];
    let runs = [busy(), result.clone()];
    for page in [html(&result), compared_html(&runs), compared_html(&[result.clone()])] {
        assert_sound(&page);
        assert_harmless(&page);
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
        assert!(page.contains("\\u{202e}"));
    }
    for text in [text(&result), compared_text(&runs), compared_text(&[result])] {
        assert_harmless(&text);
        assert!(text.contains("\\u{1b}"), "{text}");
    }
}

#[test]
fn a_run_that_was_cut_short_says_so() {
    let mut result = busy();
    result.ending = Ending::Interrupted;
    assert!(text(&result).contains("INTERRUPTED"));
    assert!(html(&result).contains("Interrupted"));
    assert!(compared_text(&[busy(), result]).contains("interrupted in 1 of 2 runs"));
}

#[test]
fn a_million_seconds_and_every_relay_fit_a_page() {
    let mut result = busy();
    result.timeline = result.timeline.iter().copied().cycle().take(1_000_000).collect();
    result.elapsed_seconds = 1e6;
    result.relays = result.relays.iter().copied().cycle().take(5000).collect();
    result.phases = result.phases.iter().cloned().cycle().take(5000).collect();
    let page = html(&result);
    assert_sound(&page);
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
    assert!(page.contains("904 more are in the JSON file"));
    assert!(text(&result).lines().count() < 80);
}

#[test]
fn the_style_has_enough_contrast() {
    let style = include_str!("page.css");
    let dark_from = style.find("prefers-color-scheme: dark").unwrap();
    for (mode, part) in [("light", &style[..dark_from]), ("dark", &style[dark_from..])] {
        let colour = |name: &str| -> f64 {
            let digits = part.split_once(&format!("--{name}: #")).unwrap().1;
            let linear = |from: usize| {
                let value = u8::from_str_radix(&digits[from..from + 2], 16).unwrap();
                let part = f64::from(value) / 255.0;
                if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * linear(0) + 0.7152 * linear(2) + 0.0722 * linear(4)
        };
        let contrast = |one: &str, other: &str| {
            let (one, other) = (colour(one), colour(other));
            (one.max(other) + 0.05) / (one.min(other) + 0.05)
        };
        for (ink, ground, least) in [
            ("ink", "sheet", 7.0),
            ("ink", "ground", 7.0),
            ("quiet", "sheet", 4.5),
            ("quiet", "ground", 4.5),
            ("good", "good-ground", 4.5),
            ("bad", "bad-ground", 4.5),
            ("open", "open-ground", 4.5),
            ("ink", "bad-ground", 7.0),
            ("bad", "sheet", 4.5),
        ] {
            assert!(contrast(ink, ground) >= least, "{mode}: {ink} on {ground}");
        }
        for line in 0..super::plot::LINES_MAX {
            assert!(contrast(&format!("c{line}"), "sheet") >= 3.0, "{mode}: c{line}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_result_panics(result in any_result::any_result(), other in any_result::any_result()) {
        let page = html(&result);
        assert_sound(&page);
        assert_harmless(&page);
        assert_harmless(&text(&result));
        let runs: Vec<RunResult> = vec![result.clone(), other, result];
        assert_sound(&compared_html(&runs));
        assert_harmless(&compared_text(&runs));
    }
}
