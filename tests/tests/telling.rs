//! Events across the death of the daemon: killed at any moment while registrations come in, it tells
//! every one that it answered after the next start, or a gap that says that it does not.

use serde_json::Value;
use std::collections::BTreeSet;
use vestibule_tests::lab::{Host, Lab, program};

const CONFIG: &str = r#"
[server]
name = "dhcp-a"
state-dir = "/run/state"
relay-listen = ["127.0.0.1"]

[[network]]
name = "halls"
gated = true

[[network.subnet]]
prefix = "10.20.0.0/24"
pools = ["10.20.0.10-10.20.0.20"]

[gate]
mode = "off"

[api]
listen = "127.0.0.1:8067"
token-file = "/run/token"
"#;

/// How often it is killed.
const LIVES: usize = 6;

/// Asks for everything that is kept.
fn events(host: &Host) -> Vec<Value> {
    let tool = program("vestibule").unwrap();
    let command = format!("{} --config /run/vestibule.toml events --json", tool.display());
    let output = host.run(&command).unwrap();
    assert!(output.success(), "{}", output.both());
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_registration_that_was_answered_is_told_after_any_crash_or_a_gap_is() {
    let lab = Lab::new().unwrap();
    let host = lab.host("gateway").unwrap();
    host.write("/run/vestibule.toml", CONFIG).unwrap();
    host.write("/run/token", "a-token-of-some-length\n").unwrap();
    host.ok("chmod 600 /run/token && mkdir -p /run/state").unwrap();
    // Registers one device after the other, and notes those that were answered.
    host.write(
        "/run/register.sh",
        "n=0\nwhile :; do\n  n=$((n + 1)); mac=$(printf '02:00:00:%s:%02x:%02x' $1 $((n / 256)) $((n % 256)))\n  \
         curl -sf -o /dev/null -H 'Authorization: Bearer a-token-of-some-length' -d \"{\\\"mac\\\":\\\"$mac\\\"}\" \
         http://127.0.0.1:8067/v1/registrations || exit 0\n  echo $mac >> /run/answered\n  echo $n\ndone\n",
    )
    .unwrap();
    let daemon =
        format!("{} --config /run/vestibule.toml", program("vestibule-dhcpd").unwrap().display());
    let (mut told, mut gaps, mut last) = (BTreeSet::new(), 0, 0);
    for life in 0..=LIVES {
        let mut server = host.start(&format!("server-{life}"), &daemon).unwrap();
        server.wait_line("ready").unwrap();
        let all = events(&host);
        let mut before = 0;
        for event in &all {
            let id = event["id"].as_u64().unwrap();
            assert!(id > before, "ids ascend: {before}, then {id}");
            before = id;
            if event["type"] == "registered" {
                told.insert(event["mac"].as_str().unwrap().to_owned());
            }
        }
        assert!(before >= last, "what was told stays: {before}, {last}");
        last = before;
        gaps = all.iter().filter(|event| event["type"] == "gap").count();
        if life < LIVES {
            let script = format!("sh /run/register.sh {life:02x}");
            let mut client = host.start(&format!("client-{life}"), &script).unwrap();
            // In the middle of it, a little later each time.
            client.wait_line(&format!("{}", 5 + 7 * life)).unwrap();
            server.kill().unwrap();
            client.wait_end().unwrap();
        }
    }
    let answered = host.ok("cat /run/answered").unwrap();
    let answered: BTreeSet<String> = answered.lines().map(str::to_owned).collect();
    assert!(answered.len() > LIVES * 5);
    let missing = answered.difference(&told).count();
    assert!(missing == 0 || gaps > 0, "{missing} of {} are missing without a word", answered.len());
    // At most what one life had in its last moment.
    assert!(missing <= gaps * 4, "{missing} are missing, and {gaps} gaps were told");
}
