//! What the documents say of scenarios and ledgers is what the program knows: every key, value, kind and
//! rule is there, and the examples are read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use vestibule_load::conduct::Conduct;
use vestibule_load::ledger::{Ended, Entry, Ledger, Violation};
use vestibule_load::message::Hardware;
use vestibule_load::scenario::{SHIPPED, Scenario};

fn document(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", name].iter().collect();
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The examples of a language in a document.
fn examples<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

const WHOLE: &str = "name = \"a\"\ndescription = \"b\"\nclients = 5\narrivals = \"at-once\"\n";

/// The names that the parser would have taken instead of `unknown-one`, as it says itself.
fn known(text: &str) -> BTreeSet<String> {
    let error = toml::from_str::<Scenario>(text).unwrap_err();
    let message = error.message().to_owned();
    assert!(message.contains("`unknown-one`, expected"), "{message}");
    let names: BTreeSet<String> =
        message.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(names.len() >= 2, "{message}");
    names
}

#[test]
fn every_key_and_value_of_a_scenario_is_in_its_document() {
    let text = document("load-scenarios.md");
    let without = |key: &str| {
        WHOLE.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n")
    };
    let mut names = known(&format!("unknown-one = 1\n{WHOLE}"));
    assert!(names.len() >= 12, "{names:?}");
    for key in ["stay", "returns", "renewals"] {
        names.extend(known(&format!("{WHOLE}{key} = \"unknown-one\"\n")));
    }
    names.extend(known(&format!("{}\narrivals = \"unknown-one\"\n", without("arrivals"))));
    let ramp = format!("{}\n[arrivals.ramp]\nunknown-one = 1\n", without("arrivals"));
    names.extend(known(&ramp));
    names.extend(known(&format!("{WHOLE}[power-cut]\nunknown-one = 1\n")));
    names.extend(known(&format!("{WHOLE}[registration]\nunknown-one = 1\n")));
    names.extend(known(&format!("{WHOLE}[misbehaving]\nunknown-one = 1\n")));
    assert!(names.contains("forgetful-percent") && names.contains("in-flight"), "{names:?}");
    for name in names {
        // A value is quoted, a key of an inline table stands before its sign.
        let forms = [format!("`{name}`"), format!("`\"{name}\"`"), format!("{{ {name} = ")];
        let is_there = forms.iter().any(|form| text.contains(form.as_str()))
            || text.contains(&format!("`[arrivals.{name}]`"));
        assert!(is_there, "docs/load-scenarios.md does not have {name}");
    }
    for (name, _) in SHIPPED {
        assert!(text.contains(&format!("| `{name}` |")), "no scenario {name}");
    }
    for conduct in Conduct::ALL {
        assert!(text.contains(&format!("| `{conduct}` |")), "no kind {conduct}");
    }
}

#[test]
fn the_examples_of_scenarios_are_read() {
    let text = document("load-scenarios.md");
    let examples = examples(&text, "toml");
    assert!(!examples.is_empty());
    for example in examples {
        Scenario::parse(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}

#[test]
fn the_limits_of_numbers_are_those_of_the_parser() {
    let text = document("load-scenarios.md");
    for said in ["1 to 4,000,000", "10 to 60,000 ms", "1 to 60,000 ms", "at most 604,800"] {
        assert!(text.contains(said), "{said}");
    }
    let parse = |more: &str| Scenario::parse(&format!("{WHOLE}{more}\n")).is_ok();
    for (key, lowest, highest) in
        [("first-wait-milliseconds", 10, 60_000), ("flood-interval-milliseconds", 1, 60_000)]
    {
        let takes = |value: i64| parse(&format!("{key} = {value}"));
        assert!(takes(lowest) && takes(highest), "{key}");
        assert!(!takes(lowest - 1) && !takes(highest + 1), "{key}");
    }
    assert!(parse("seconds = 604800.0") && !parse("seconds = 604801.0") && !parse("seconds = 0.0"));
    let clients = |count: u32| {
        Scenario::parse(&WHOLE.replace("clients = 5", &format!("clients = {count}"))).is_ok()
    };
    assert!(clients(1) && clients(4_000_000) && !clients(0) && !clients(4_000_001));
}

#[test]
fn every_rule_and_key_of_the_ledger_is_in_its_document_and_its_example_is_one() {
    let text = document("load-ledger.md");
    for rule in Violation::RULES {
        assert!(text.contains(&format!("| `{rule}` |")), "no rule {rule}");
    }
    let entry = Entry {
        at: 0,
        client: Hardware::of_client(1),
        address: [10, 20, 0, 10].into(),
        server: [10, 0, 0, 67].into(),
        ends: 1,
        giaddr: Some([10, 20, 0, 1].into()),
        ended: Some(Ended::Released),
    };
    let written = serde_json::to_value(&entry).unwrap();
    for key in written.as_object().unwrap().keys() {
        assert!(text.contains(&format!("| `{key}` |")), "no key {key}");
    }
    for ended in [Ended::Released, Ended::Declined, Ended::Refused] {
        let name = serde_json::to_string(&ended).unwrap().replace('"', "`");
        assert!(text.contains(&name), "no {name}");
    }
    let examples = examples(&text, "json");
    assert_eq!(examples.len(), 1);
    let folder = tempfile::tempdir().unwrap();
    let path: &Path = &folder.path().join("ledger.jsonl");
    std::fs::write(path, format!("{}\n", examples[0])).unwrap();
    let (ledger, violations) = Ledger::read(path).unwrap();
    assert_eq!((ledger.held(0).count(), violations.len()), (0, 0));
    let first = examples[0].lines().next().unwrap();
    std::fs::write(path, format!("{first}\n")).unwrap();
    assert_eq!(Ledger::read(path).unwrap().0.held(0).count(), 1);
}
