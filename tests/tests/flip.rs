//! Registration flips a host from the lying resolver to the true one at once, even for a source port
//! that connection tracking remembers; eviction flips it back; a server killed in between changes nothing.

use vestibule_tests::lab::{Campus, Client, ClientProgram, Gate, Host, Process, Site};

const MAC: &str = "02:00:5e:00:53:01";
const LIE: &str = "10.0.0.80\n";
const TRUTH: &str = "203.0.113.10\n";

/// A campus with everything on, and a laptop with a lease.
struct Setting {
    campus: Campus,
    laptop: Host,
    client: Client,
    dhcpd: Process,
    address: String,
    _others: Vec<Process>,
}

impl Setting {
    fn new() -> Self {
        let campus = Campus::new(&[Site::HALLS]).unwrap();
        campus.configure(Gate::Local, "1h", "2m").unwrap();
        let dhcpd = campus.start_dhcpd().unwrap();
        let others = vec![
            campus.start_true_dns().unwrap(),
            campus.start_outside(8080).unwrap(),
            campus.start_dns().unwrap(),
            campus.start_relay(&Site::HALLS).unwrap(),
        ];
        let laptop = campus.laptop(&Site::HALLS, "laptop", MAC).unwrap();
        let client = Client::start(ClientProgram::Udhcpc, &laptop).unwrap();
        let address = client.wait_address().unwrap().to_string();
        Self { campus, laptop, client, dhcpd, address, _others: others }
    }

    /// Asks a DNS server outside from one source port, by UDP unless `options` say otherwise.
    fn dig(&self, options: &str) -> String {
        let address = &self.address;
        let line = format!(
            "dig +short +tries=2 +time=5 {options} -b {address}#40053 @203.0.113.53 www.example.edu"
        );
        self.laptop.ok(&line).unwrap()
    }

    fn reach_outside(&self) -> String {
        self.laptop.run("curl -sS -v --max-time 20 http://203.0.113.10:8080/").unwrap().both()
    }

    fn register(&self) {
        let body = format!("{{\"ip\":\"{}\",\"owner\":\"mia\"}}", self.address);
        let answer = self.campus.api("POST", "/v1/registrations", Some(&body)).unwrap();
        assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text);
        assert_eq!(answer.body["mac"], MAC);
    }

    fn evict(&self) {
        let answer = self.campus.api("DELETE", &format!("/v1/registrations/{MAC}"), None).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    fn is_in(&self, set: &str) -> bool {
        let shown = self.campus.gateway.ok(&format!("nft list set inet vestibule {set}")).unwrap();
        shown.split([' ', '\t', ',', '\n']).any(|word| word == self.address)
    }

    fn assert_unregistered(&self) {
        assert_eq!((self.is_in("unregistered"), self.is_in("registered")), (true, false));
        assert_eq!(self.dig(""), LIE);
        let refused = self.reach_outside();
        assert!(refused.contains("Connection refused"), "refused, not dropped: {refused}");
    }

    fn assert_registered(&self) {
        assert_eq!((self.is_in("unregistered"), self.is_in("registered")), (false, true));
        assert_eq!(self.dig(""), TRUTH);
        let reached = self.reach_outside();
        assert!(reached.contains("it is really me"), "{reached}");
    }
}

#[test]
fn the_next_query_from_the_same_source_port_is_answered_truly_and_back() {
    let setting = Setting::new();
    setting.assert_unregistered();
    setting.register();
    setting.assert_registered();
    setting.evict();
    setting.assert_unregistered();
    setting.register();
    setting.assert_registered();
}

#[test]
fn dns_over_tcp_flips_too() {
    let setting = Setting::new();
    // Without a fixed port: the kernel would not open the same connection again so soon.
    let dig = || setting.laptop.ok("dig +short +tcp @203.0.113.53 www.example.edu").unwrap();
    assert_eq!(dig(), LIE);
    setting.register();
    assert_eq!(dig(), TRUTH);
}

#[test]
fn a_killed_server_comes_back_with_leases_registrations_and_sets() {
    let mut setting = Setting::new();
    setting.register();
    setting.dhcpd.kill().unwrap();
    // What the kernel was told stays true without the server.
    setting.assert_registered();
    // Whatever happens to the sets in between is mended at the start.
    setting.campus.gateway.ok("nft flush set inet vestibule registered").unwrap();
    setting.dhcpd = setting.campus.start_dhcpd().unwrap();
    setting.assert_registered();
    let whoami =
        setting.campus.api("GET", &format!("/v1/whoami?ip={}", setting.address), None).unwrap();
    assert_eq!(
        (&whoami.body["mac"], &whoami.body["registered"]),
        (&MAC.into(), &true.into()),
        "{}",
        whoami.text
    );
    setting.client.renew().unwrap();
    assert_eq!(setting.client.wait_address().unwrap().to_string(), setting.address);
    setting.assert_registered();
}

#[test]
fn an_address_that_no_lease_backs_gains_nothing() {
    let setting = Setting::new();
    setting.register();
    setting.laptop.ip("address add 10.20.3.200/22 dev eth0").unwrap();
    let refused = setting
        .laptop
        .run("curl -sS -v --max-time 20 --interface 10.20.3.200 http://203.0.113.10:8080/")
        .unwrap()
        .both();
    assert!(refused.contains("Connection refused"), "{refused}");
}
