//! Vouchers across the death of the daemon: killed at any moment while devices use a code, it never lets
//! in more of them than the voucher may, and lets those in again that it let in.

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
const LIVES: usize = 5;

/// How many devices the voucher lets in. More than one life gets to, fewer than all lives would.
const USES: usize = 60;

/// One device after the other uses the code; each that was answered 201 or 200 is noted.
const DEVICES: &str = "n=0\nwhile :; do\n  n=$((n + 1)); mac=$(printf '02:00:00:%s:%02x:%02x' $1 $((n / 256)) $((n % 256)))\n  \
     status=$(curl -s -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer a-token-of-some-length' \
     -d \"{\\\"mac\\\":\\\"$mac\\\",\\\"voucher\\\":\\\"$2\\\"}\" http://127.0.0.1:8067/v1/registrations) || exit 0\n  \
     case $status in 20*) echo $mac >> /run/let-in ;; 409) echo $mac >> /run/refused ;; *) exit 1 ;; esac\n  echo $n\ndone\n";

fn vestibule(host: &Host, arguments: &str) -> Value {
    let tool = program("vestibule").unwrap();
    let command = format!("{} --config /run/vestibule.toml {arguments} --json", tool.display());
    let output = host.run(&command).unwrap();
    assert!(output.success(), "{}", output.both());
    serde_json::from_str(&output.stdout).unwrap()
}

#[test]
fn a_voucher_never_lets_in_more_devices_than_it_may_whatever_crashes() {
    let lab = Lab::new().unwrap();
    let host = lab.host("gateway").unwrap();
    host.write("/run/vestibule.toml", CONFIG).unwrap();
    host.write("/run/token", "a-token-of-some-length\n").unwrap();
    host.write("/run/devices.sh", DEVICES).unwrap();
    host.ok("chmod 600 /run/token && mkdir -p /run/state && touch /run/let-in /run/refused")
        .unwrap();
    let daemon =
        format!("{} --config /run/vestibule.toml", program("vestibule-dhcpd").unwrap().display());
    let (mut code, mut id) = (String::new(), String::new());
    let mut server = host.start("server-0", &daemon).unwrap();
    server.wait_line("ready").unwrap();
    for life in 0..LIVES {
        if life == 0 {
            let made = vestibule(&host, &format!("voucher create --uses {USES} --lifetime 3d"));
            let text = |key: &str| made["vouchers"][0][key].as_str().unwrap().to_owned();
            (code, id) = (text("code"), text("id"));
        }
        let script = format!("sh /run/devices.sh {life:02x} {code}");
        let mut devices = host.start(&format!("devices-{life}"), &script).unwrap();
        // In the middle of it, a little later each time.
        devices.wait_line(&format!("{}", 8 + 5 * life)).unwrap();
        server.kill().unwrap();
        devices.wait_end().unwrap();
        server = host.start(&format!("server-{}", life + 1), &daemon).unwrap();
        server.wait_line("ready").unwrap();
        let voucher = vestibule(&host, &format!("voucher show {id}"));
        let of = |value: &Value| value.as_str().unwrap().to_owned();
        let users: BTreeSet<String> = voucher["devices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|device| of(&device["mac"]))
            .collect();
        let let_in = host.ok("cat /run/let-in").unwrap();
        let let_in: BTreeSet<String> = let_in.lines().map(str::to_owned).collect();
        assert!(users.len() <= USES && let_in.is_subset(&users), "{let_in:?} of {users:?}");
        // Whoever was registered with it is one of its users: no registration without its use.
        let registered = vestibule(&host, "registrations list");
        for registration in registered["registrations"].as_array().unwrap() {
            assert!(users.contains(&of(&registration["mac"])), "{registration}");
        }
    }
    let refused = host.ok("cat /run/refused").unwrap();
    assert!(refused.lines().count() > 0, "it was not used up: raise what each life does");
    // Whom it let in is let in again, and the code itself is on no disk.
    let let_in = host.ok("cat /run/let-in").unwrap();
    for mac in let_in.lines().take(3) {
        let again = format!(
            "curl -s -o /dev/null -w '%{{http_code}}' -H 'Authorization: Bearer a-token-of-some-length' \
             -d '{{\"mac\":\"{mac}\",\"voucher\":\"{code}\"}}' http://127.0.0.1:8067/v1/registrations"
        );
        assert_eq!(host.ok(&again).unwrap(), "200");
    }
    let search = format!("grep -r -l -i -e {code} -e {} /run/state || true", code.replace('-', ""));
    assert_eq!(host.ok(&search).unwrap(), "");
}
