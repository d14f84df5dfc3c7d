//! Who had this address: two real clients hold the only address of a network one after the other, the
//! server is killed in between, what can be made anew is deleted, and `vestibule who` names each at its
//! time, asked of the running server and of what a stopped one has left.

use vestibule_tests::lab::{Campus, Client, ClientProgram, Host, Process, Site, program};

const CONFIG: &str = r#"
[server]
name = "dhcp-a"
state-dir = "/run/vestibule"
relay-listen = ["10.0.0.67"]
interfaces = ["workshop"]

[leases]
lifetime = "1h"

[[network]]
name = "workshop"
gated = false

[[network.subnet]]
prefix = "10.40.0.0/24"
pools = ["10.40.0.77-10.40.0.77"]
options = { routers = ["10.40.0.1"], domain-name-servers = ["10.0.0.53"], domain-name = "campus.example" }

[gate]
mode = "off"

[api]
listen = "10.0.0.67:8067"
token-file = "/etc/vestibule/token"
"#;

const FIRST: &str = "02:00:5e:00:53:01";
const SECOND: &str = "02:00:5e:00:53:02";

/// What `vestibule who` prints, one JSON object each.
fn who(host: &Host, what: &str) -> Vec<serde_json::Value> {
    let tool = program("vestibule").unwrap();
    let command =
        format!("{} --config /etc/vestibule/vestibule.toml who {what} --json", tool.display());
    let output = host.run(&command).unwrap();
    let lines = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<_> = lines.collect();
    assert!(output.success() != lines.is_empty(), "{}", output.both());
    lines
}

fn holders(told: &[serde_json::Value]) -> Vec<(&str, Option<&str>)> {
    told.iter().map(|told| (told["mac"].as_str().unwrap(), told["ended"].as_str())).collect()
}

/// Has the device hold the address and give it back.
fn hold(campus: &Campus, name: &str, mac: &str) {
    let laptop = campus.laptop(&Site::WORKSHOP, name, mac).unwrap();
    let client = Client::start(ClientProgram::Udhcpc, &laptop).unwrap();
    assert_eq!(client.wait_address().unwrap().to_string(), "10.40.0.77");
    client.release().unwrap();
}

#[test]
fn each_holder_of_an_address_is_named_at_its_time_through_a_kill_and_a_rebuild() {
    let campus = Campus::new(&[Site::WORKSHOP]).unwrap();
    campus.configure_with(CONFIG).unwrap();
    let gateway = &campus.gateway;
    let mut dhcpd: Process = campus.start_dhcpd().unwrap();
    let registration = format!("{{\"mac\":\"{FIRST}\",\"owner\":\"ada\"}}");
    assert_eq!(campus.api("POST", "/v1/registrations", Some(&registration)).unwrap().status, 201);
    hold(&campus, "one", FIRST);
    dhcpd.kill().unwrap();

    let mut dhcpd = campus.start_dhcpd().unwrap();
    hold(&campus, "two", SECOND);
    let expected = [(FIRST, Some("released")), (SECOND, Some("released"))];
    let told = who(gateway, "10.40.0.77");
    assert_eq!(holders(&told), expected);
    for (held, (mac, _)) in told.iter().zip(expected) {
        let at = held["from"].as_str().unwrap();
        assert_eq!(
            holders(&who(gateway, &format!("10.40.0.77 --at {at}"))),
            [(mac, Some("released"))]
        );
    }
    assert_eq!(holders(&who(gateway, "--owner ada")), expected[..1]);
    assert_eq!(told[0]["registrations"][0]["owner"], "ada");
    assert_eq!(told[0]["network"], "workshop");
    assert!(who(gateway, "10.40.0.77 --at 2001-01-01").is_empty());
    let reply = gateway
        .run(&format!(
            "{} --config /etc/vestibule/vestibule.toml who 10.40.0.77 --state-dir /run/vestibule",
            program("vestibule").unwrap().display()
        ))
        .unwrap();
    assert!(!reply.success() && reply.both().contains("leave out --state-dir"), "{}", reply.both());

    // Killed again, all of it has to be read from the journal; the rest is as it was.
    dhcpd.kill().unwrap();
    assert_eq!(who(gateway, "10.40.0.77 --state-dir /run/vestibule"), told);
    gateway.ok("rm -rf /run/vestibule/history").unwrap();
    assert_eq!(holders(&who(gateway, "10.40.0.77 --state-dir /run/vestibule")), expected);
    let _dhcpd = campus.start_dhcpd().unwrap();
    assert_eq!(holders(&who(gateway, "10.40.0.77")), expected);
    assert_eq!(holders(&who(gateway, &format!("--mac {SECOND}"))), expected[1..]);
}
