//! Why did this client get nothing: two real clients and one address. `vestibule trace` says what the server
//! decided about each, live and afterwards.

use vestibule_tests::lab::{Campus, Client, ClientProgram, Host, Site, program, until};

const CONFIG: &str = r#"
[server]
name = "dhcp-a"
state-dir = "/run/vestibule"
relay-listen = ["10.0.0.67"]
interfaces = ["workshop"]

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

fn command(what: &str) -> String {
    let tool = program("vestibule").unwrap();
    format!("{} --config /etc/vestibule/vestibule.toml trace {what}", tool.display())
}

/// The last moments as message, answer and reason.
fn last(host: &Host, mac: &str) -> Vec<(String, String, String)> {
    let output = host.run(&command(&format!("{mac} --last --json"))).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let moments = output.stdout.lines().map(|line| {
        let moment: serde_json::Value = serde_json::from_str(line).unwrap();
        (text(&moment["message"]), text(&moment["answer"]), text(&moment["reason"]))
    });
    moments.collect()
}

#[test]
fn each_client_can_be_told_why_it_got_what_it_got_or_nothing() {
    let campus = Campus::new(&[Site::WORKSHOP]).unwrap();
    campus.configure_with(CONFIG).unwrap();
    let gateway = &campus.gateway;
    let _dhcpd = campus.start_dhcpd().unwrap();
    assert!(last(gateway, FIRST).is_empty());
    let mut live = gateway.start("trace", &command(SECOND)).unwrap();

    let laptop = campus.laptop(&Site::WORKSHOP, "one", FIRST).unwrap();
    let client = Client::start(ClientProgram::Udhcpc, &laptop).unwrap();
    assert_eq!(client.wait_address().unwrap().to_string(), "10.40.0.77");
    let moment = |message: &str, answer: &str, reason: &str| {
        (message.to_owned(), answer.to_owned(), reason.to_owned())
    };
    let told = last(gateway, FIRST);
    assert_eq!(told, [moment("discover", "offer", ""), moment("request", "ack", "")]);

    let laptop = campus.laptop(&Site::WORKSHOP, "two", SECOND).unwrap();
    let _client = Client::start(ClientProgram::Udhcpc, &laptop).unwrap();
    let refused = moment("discover", "", "pool-exhausted");
    until("the second one is refused", || last(gateway, SECOND).contains(&refused).then_some(()))
        .unwrap();
    assert!(last(gateway, SECOND).iter().all(|told| *told == refused));
    let line = live.wait_line("pool-exhausted").unwrap();
    assert!(line.contains("DISCOVER -> no answer"), "{line}");
    assert_eq!(last(gateway, FIRST), told);
}
