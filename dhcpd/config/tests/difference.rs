//! What a reload would change, in words: every change shows under the place that it is about, nothing shows that
//! only moved, and what only a restart can change is named.

use vestibule_config::{Difference, Vestibule, difference, parse};

const FILE: &str = r#"
[server]
name = "dhcp-a"
relay-listen = ["10.0.0.67"]

[leases]
lifetime = "8h"

[[option]]
name = "printer-queue"
code = 224
type = "text"

[options]
printer-queue = "first"

[[class]]
name = "phones"
vendor-class = "Phone*"

[registration]
device-limit = 5

[[registration.role]]
name = "staff"

[[network]]
name = "hall"
gated = true
gate-by = ["pools"]
options-unregistered = { domain-name-servers = ["10.0.0.54"] }

[[network.subnet]]
prefix = "10.70.0.0/22"
pools-registered = ["10.70.0.10-10.70.2.255"]
pools-unregistered = ["10.70.3.0-10.70.3.250"]

[[network]]
name = "offices"
gated = false

[[network.subnet]]
prefix = "10.80.0.0/24"
pools = ["10.80.0.10-10.80.0.99"]
options = { routers = ["10.80.0.1"] }

[[network.subnet.reservation]]
mac = "02:00:5e:00:53:07"
address = "10.80.0.5"

[gate]
mode = "off"

[api]
listen = "unix:/run/vestibule/api"
token-file = "/etc/vestibule/token"
"#;

fn file(text: &str) -> Vestibule {
    match parse(text, "vestibule.toml") {
        Ok(vestibule) => vestibule,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

fn changed(from: &str, to: &str) -> Difference {
    assert!(FILE.contains(from), "{from}");
    difference(&file(FILE), &file(&FILE.replace(from, to)))
}

#[test]
fn every_change_shows_under_its_place() {
    for (from, to, said) in [
        ("lifetime = \"8h\"", "lifetime = \"4h\"", "leases.lifetime: 4h, was 8h"),
        ("\"first\"", "\"second\"", "everybody, option printer-queue: second, was first"),
        ("code = 224", "code = 225", "option printer-queue: code 225"),
        ("\"Phone*\"", "\"Desk*\"", "class phones, what it asks for"),
        ("device-limit = 5", "device-limit = 6", "registration.device-limit: 6, was 5"),
        (
            "name = \"staff\"",
            "name = \"staff\"\nquarantine = true",
            "role staff: held back by the gate, was let in by the gate",
        ),
        ("10.80.0.99", "10.80.0.98", "subnet 10.80.0.0/24, pool 10.80.0.10-10.80.0.98: new"),
        ("10.80.0.99", "10.80.0.98", "subnet 10.80.0.0/24, pool 10.80.0.10-10.80.0.99: gone"),
        ("\"10.80.0.1\"", "\"10.80.0.2\"", "subnet 10.80.0.0/24, option routers: 10.80.0.2"),
        ("\"10.80.0.5\"", "\"10.80.0.6\"", "in offices: 10.80.0.6, was 10.80.0.5"),
        ("name = \"offices\"", "name = \"rooms\"", "in network rooms, was in network offices"),
        (
            "pools-registered = [\"10.70.0.10-",
            "pools-registered = [\"10.70.0.11-",
            "subnet 10.70.0.0/22, pool 10.70.0.11-10.70.2.255: new: for registered",
        ),
    ] {
        let Difference { changes, needs_restart } = changed(from, to);
        assert!(changes.iter().any(|change| change.contains(said)), "{said}: {changes:#?}");
        assert_eq!(needs_restart, Vec::<String>::new(), "{said}");
    }
}

#[test]
fn what_only_moved_is_no_change() {
    let cut = FILE.find("[[network]]\nname = \"offices\"").expect("it is there");
    let end = FILE.find("[gate]").expect("it is there");
    let first = FILE.find("[[network]]").expect("it is there");
    let moved = [&FILE[..first], &FILE[cut..end], &FILE[first..cut], &FILE[end..]].concat();
    let Difference { changes, needs_restart } = difference(&file(FILE), &file(&moved));
    assert_eq!(changes, ["the order of things in the file"]);
    assert_eq!(needs_restart, Vec::<String>::new());
    assert_eq!(difference(&file(FILE), &file(FILE)), Difference::default());
}

#[test]
fn what_needs_a_restart_is_named() {
    for (from, to, section) in [
        ("\"dhcp-a\"", "\"dhcp-b\"", "[server]"),
        ("/etc/vestibule/token", "/etc/vestibule/other", "[api]"),
        ("[gate]", "[history]\nkeep-days = 7\n\n[gate]", "[history]"),
        ("[gate]", "[events]\npool-low = \"7%\"\n\n[gate]", "[events]"),
        (
            "gated = true\ngate-by = [\"pools\"]",
            "gated = false",
            "which prefixes are gated, and by what",
        ),
        ("10.70.0.0/22", "10.70.0.0/21", "which prefixes are gated, and by what"),
    ] {
        let to = if section.starts_with("which") && to == "gated = false" {
            // Pools by class are for gated networks.
            let text = FILE.replace(from, to).replace("pools-registered", "pools");
            let kept: Vec<&str> =
                text.lines().filter(|line| !line.contains("-unregistered")).collect();
            difference(&file(FILE), &file(&kept.join("\n")))
        } else {
            changed(from, to)
        };
        assert_eq!(to.needs_restart, [section]);
    }
}
