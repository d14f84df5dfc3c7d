//! The alerting rules and the Grafana dashboard of `docs/examples`: every metric in them exists, promtool
//! takes the rules, and they fire when they should and not before.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use vestibule_tests::lab::peer;

const RULES: &str = "docs/examples/vestibule-alerts.yml";
const DASHBOARD: &str = "docs/examples/vestibule-grafana.json";

fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(at_root(path)).unwrap()
}

/// The names that a document lists, as they stand in an exposition: a counter has `_total`, a histogram
/// three names.
fn exposed() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    // The tables of the DHCP server and of the agent have the kind in their second column.
    for document in ["docs/metrics.md", "docs/agent.md"] {
        for row in read(document).lines() {
            let mut cells = row.split('|').map(str::trim).skip(1);
            let (Some(name), Some(kind)) = (cells.next(), cells.next()) else { continue };
            let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else {
                continue;
            };
            match kind {
                "counter" => names.extend([format!("{name}_total")]),
                "gauge" => names.extend([name.to_owned()]),
                "histogram" => {
                    names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
                }
                _ => {}
            }
        }
    }
    // That of the resolver has the names as they are exposed.
    let dns = read("docs/dns.md");
    names.extend(
        dns.split('`').filter(|name| name.starts_with("vestibule_dns_")).map(str::to_owned),
    );
    names
}

/// Every word of an expression that is a name of ours.
fn named(expressions: &str) -> BTreeSet<String> {
    let is_of_a_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    expressions
        .split(|character| !is_of_a_name(character))
        .filter(|word| word.starts_with("vestibule_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_metric_that_is_watched_exists() {
    let exposed = exposed();
    assert!(exposed.contains("vestibule_sync_seconds_bucket"), "{exposed:?}");
    assert!(exposed.contains("vestibule_dns_lies_total"), "{exposed:?}");
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut expressions = read(RULES);
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "an id twice: {panel}");
        assert!(!panel["title"].as_str().unwrap().is_empty());
        if panel["type"] == "row" {
            continue;
        }
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            expressions.push('\n');
            expressions.push_str(target["expr"].as_str().unwrap());
        }
    }
    let unknown: Vec<_> = named(&expressions).difference(&exposed).cloned().collect();
    assert!(unknown.is_empty(), "these do not exist: {unknown:?}");
}

/// promtool as the set-up unpacked it.
fn promtool(arguments: &[&str]) -> Option<(bool, String)> {
    let path = match peer("usr/bin/promtool") {
        Ok(path) => path,
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{error}");
            // Past the harness, which keeps back what a passing test prints.
            let text = format!("NOT RUN: nobody judged the alerting rules: {error}\n");
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            return None;
        }
    };
    let output = Command::new(path).args(arguments).current_dir(at_root("tests")).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn promtool_takes_the_rules_and_the_expressions_of_the_dashboard() {
    let Some((good, said)) = promtool(&["check", "rules", &format!("../{RULES}")]) else { return };
    assert!(good && said.contains("SUCCESS"), "{said}");
    // The dashboard's expressions, as rules that record them.
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| {
        panel["targets"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|target| target["expr"].as_str().unwrap())
    });
    let rules: Vec<_> = targets
        .enumerate()
        .map(|(number, expression)| {
            let expression =
                expression.replace("$__rate_interval", "5m").replace("$instance", ".*");
            serde_json::json!({ "record": format!("panel:{number}"), "expr": expression })
        })
        .collect();
    assert!(rules.len() > 20);
    let file = tempfile::NamedTempFile::new().unwrap();
    // JSON is YAML.
    let groups = serde_json::json!({ "groups": [{ "name": "panels", "rules": rules }] });
    std::fs::write(file.path(), groups.to_string()).unwrap();
    let (good, said) = promtool(&["check", "rules", file.path().to_str().unwrap()]).unwrap();
    assert!(good, "{said}");
}

#[test]
fn the_rules_fire_when_they_should_and_not_before() {
    let Some((good, said)) = promtool(&["test", "rules", "alerts-test.yml"]) else { return };
    assert!(good && said.contains("SUCCESS"), "{said}");
}
