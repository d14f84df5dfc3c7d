//! A network that is gated by pools and options alone, with real clients: no kernel sets anywhere. Who is
//! unregistered has an address of the one pool and asks the lying resolver; who has registered gets a NAK
//! at its next renewal, an address of the other pool and the true resolver; and back again.

use vestibule_tests::lab::{
    Campus, Client, ClientProgram, Gate, Host, Process, Site, VESTIBULE_TOML,
};

const MAC: &str = "02:00:5e:00:53:01";

/// The sites' common network, changed so that it is gated by pools alone.
fn by_pools(toml: &str) -> String {
    let changes = [
        ("gated = false", "gated = true\ngate-by = [\"pools\"]"),
        (
            "ipv6-prefixes = []\n",
            "options-unregistered = { domain-name-servers = [\"10.0.0.54\"] }\n",
        ),
        (
            "pools = [\"10.20.0.10-10.20.0.250\"]",
            "pools-registered = [\"10.20.0.10-10.20.0.99\"]\npools-unregistered = [\"10.20.0.100-10.20.0.250\"]",
        ),
        (
            "[gate]\nmode = \"off\"\n",
            "[gate]\nmode = \"off\"\nportal = { address = \"10.0.0.80\", url = \"http://register.campus.example/\" }\n\
             [dns]\nlisten = [\"10.0.0.54:53\"]\nupstream = [\"10.0.0.53:53\"]\n",
        ),
    ];
    changes.iter().fold(toml.to_owned(), |toml, (from, to)| {
        assert_eq!(toml.matches(from).count(), 1, "{from} in {toml}");
        toml.replace(from, to)
    })
}

struct Setting {
    campus: Campus,
    laptop: Host,
    dhcpd: Process,
    _others: Vec<Process>,
}

impl Setting {
    fn new(lifetime: &str) -> Self {
        let campus = Campus::new(&[Site::HALLS]).unwrap();
        campus.configure(Gate::Off, lifetime, lifetime).unwrap();
        let toml = campus.gateway.read(VESTIBULE_TOML).unwrap();
        campus.configure_with(&by_pools(&toml)).unwrap();
        let dhcpd = campus.start_dhcpd().unwrap();
        let others = vec![
            campus.start_true_dns().unwrap(),
            campus.start_dns().unwrap(),
            campus.start_relay(&Site::HALLS).unwrap(),
        ];
        let laptop = campus.laptop(&Site::HALLS, "laptop", MAC).unwrap();
        Self { campus, laptop, dhcpd, _others: others }
    }

    /// What the resolver says that the client has configured.
    fn asks(&self) -> String {
        let resolvers = self.laptop.read("/etc/resolv.conf").unwrap();
        let resolver = resolvers.lines().find_map(|line| line.strip_prefix("nameserver "));
        let resolver = resolver.unwrap_or_else(|| panic!("no resolver in {resolvers}"));
        let line = format!("dig +short +tries=2 +time=5 @{} www.example.edu", resolver.trim());
        self.laptop.ok(&line).unwrap()
    }

    fn assert_at(&self, client: &Client, last: std::ops::RangeInclusive<u8>, answer: &str) {
        let address = client.wait_address().unwrap();
        let [a, b, c, d] = address.octets();
        assert!([a, b, c] == [10, 20, 0] && last.contains(&d), "{address} is not of {last:?}");
        assert_eq!(self.asks(), answer);
    }
}

fn moves_from_pool_to_pool(program: ClientProgram) {
    // dhclient renews by itself only, so it gets the shortest lifetime that a configuration may have.
    let lifetime = if program == ClientProgram::Dhclient { "10s" } else { "1h" };
    let setting = Setting::new(lifetime);
    let mut client = Client::start(program, &setting.laptop).unwrap();
    setting.assert_at(&client, 100..=250, "10.0.0.80\n");

    let body = format!("{{\"mac\":\"{MAC}\",\"owner\":\"mia\"}}");
    let answer = setting.campus.api("POST", "/v1/registrations", Some(&body)).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text);
    client.renew().unwrap();
    setting.assert_at(&client, 10..=99, "203.0.113.10\n");

    let status = setting.campus.api("GET", "/v1/status", None).unwrap().body;
    let network = &status["networks"][0];
    assert_eq!(network["gate-by"], serde_json::json!(["pools"]), "{status}");
    assert_eq!(network["class-pools"][0]["held"], 1, "of registered hosts: {status}");
    assert_eq!(network["class-pools"][1]["held"], 0, "the old address was given back: {status}");
    let metrics = setting.campus.api("GET", "/metrics", None).unwrap().text;
    let naks =
        metrics.lines().find(|line| line.contains("naks") && line.contains("\"wrong-class\""));
    assert!(naks.is_some_and(|line| line.ends_with(" 1")), "one NAK, not a loop of them: {naks:?}");

    let answer = setting.campus.api("DELETE", &format!("/v1/registrations/{MAC}"), None).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    client.renew().unwrap();
    setting.assert_at(&client, 100..=250, "10.0.0.80\n");

    let tables = setting.campus.gateway.ok("nft list tables").unwrap();
    assert!(!tables.contains("vestibule"), "the kernel has no part in it: {tables}");
    assert!(!setting.dhcpd.log().contains("panicked"), "{}", setting.dhcpd.log());
}

#[test]
fn dhclient() {
    moves_from_pool_to_pool(ClientProgram::Dhclient);
}

#[test]
fn udhcpc() {
    moves_from_pool_to_pool(ClientProgram::Udhcpc);
}

#[test]
fn dhcpcd() {
    moves_from_pool_to_pool(ClientProgram::Dhcpcd);
}
