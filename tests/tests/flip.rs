//! Registration flips a host from the lying resolver to the true one at once, even for a source port
//! that connection tracking remembers; eviction flips it back; a server killed in between changes
//! nothing; and a permit belongs to one host, not to an address.

use vestibule_tests::lab::{
    Campus, Client, ClientProgram, Gate, Host, Process, Site, VESTIBULE_TOML, until,
};

const MAC: &str = "02:00:5e:00:53:01";
const OTHER_MAC: &str = "02:00:5e:00:53:02";
const LIE: &str = "10.0.0.80\n";
const TRUTH: &str = "203.0.113.10\n";

/// A campus with everything on.
struct Setting {
    campus: Campus,
    dhcpd: Process,
    _others: Vec<Process>,
}

impl Setting {
    fn new() -> Self {
        Self::with(|toml| toml)
    }

    /// With a configuration that was changed first.
    fn with(change: impl Fn(String) -> String) -> Self {
        let campus = Campus::new(&[Site::HALLS]).unwrap();
        campus.configure(Gate::Local, "1h", "2m").unwrap();
        let toml = campus.gateway.read(VESTIBULE_TOML).unwrap();
        campus.configure_with(&change(toml)).unwrap();
        let dhcpd = campus.start_dhcpd().unwrap();
        let others = vec![
            campus.start_true_dns().unwrap(),
            campus.start_outside(8080).unwrap(),
            campus.start_dns().unwrap(),
            campus.start_relay(&Site::HALLS).unwrap(),
        ];
        Self { campus, dhcpd, _others: others }
    }

    fn is_in(&self, set: &str, address: &str) -> bool {
        let shown = self.campus.gateway.ok(&format!("nft list set inet vestibule {set}")).unwrap();
        shown.split([' ', '\t', ',', '\n']).any(|word| word == address)
    }

    fn register(&self, laptop: &Laptop) {
        let body = format!("{{\"ip\":\"{}\",\"owner\":\"mia\"}}", laptop.address);
        let answer = self.campus.api("POST", "/v1/registrations", Some(&body)).unwrap();
        assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text);
        assert_eq!(answer.body["mac"], laptop.mac);
    }

    fn evict(&self, laptop: &Laptop) {
        let path = format!("/v1/registrations/{}", laptop.mac);
        let answer = self.campus.api("DELETE", &path, None).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    fn assert_unregistered(&self, laptop: &Laptop) {
        let sets = ["unregistered", "registered"].map(|set| self.is_in(set, &laptop.address));
        assert_eq!(sets, [true, false]);
        assert_eq!(laptop.dig(), LIE);
        let refused = laptop.reach_outside();
        assert!(refused.contains("Connection refused"), "refused, not dropped: {refused}");
    }

    fn assert_registered(&self, laptop: &Laptop) {
        let sets = ["unregistered", "registered"].map(|set| self.is_in(set, &laptop.address));
        assert_eq!(sets, [false, true]);
        assert_eq!(laptop.dig(), TRUTH);
        let reached = laptop.reach_outside();
        assert!(reached.contains("it is really me"), "{reached}");
    }
}

/// A host with a lease.
struct Laptop {
    host: Host,
    client: Client,
    mac: &'static str,
    address: String,
}

impl Laptop {
    fn new(setting: &Setting, name: &str, mac: &'static str) -> Self {
        let host = setting.campus.laptop(&Site::HALLS, name, mac).unwrap();
        let client = Client::start(ClientProgram::Udhcpc, &host).unwrap();
        let address = client.wait_address().unwrap().to_string();
        Self { host, client, mac, address }
    }

    /// Asks a DNS server outside, always from the same source port.
    fn dig(&self) -> String {
        let address = &self.address;
        let line =
            format!("dig +short +tries=2 +time=5 -b {address}#40053 @203.0.113.53 www.example.edu");
        self.host.ok(&line).unwrap()
    }

    fn reach_outside(&self) -> String {
        self.host.run("curl -sS -v --max-time 20 http://203.0.113.10:8080/").unwrap().both()
    }
}

#[test]
fn the_next_query_from_the_same_source_port_is_answered_truly_and_back() {
    let setting = Setting::new();
    let laptop = Laptop::new(&setting, "laptop", MAC);
    setting.assert_unregistered(&laptop);
    setting.register(&laptop);
    setting.assert_registered(&laptop);
    setting.evict(&laptop);
    setting.assert_unregistered(&laptop);
    setting.register(&laptop);
    setting.assert_registered(&laptop);
}

#[test]
fn dns_over_tcp_flips_too() {
    let setting = Setting::new();
    let laptop = Laptop::new(&setting, "laptop", MAC);
    // Without a fixed port: the kernel would not open the same connection again so soon.
    let dig = || laptop.host.ok("dig +short +tcp @203.0.113.53 www.example.edu").unwrap();
    assert_eq!(dig(), LIE);
    setting.register(&laptop);
    assert_eq!(dig(), TRUTH);
}

#[test]
fn a_killed_server_comes_back_with_leases_registrations_and_sets() {
    let mut setting = Setting::new();
    let mut laptop = Laptop::new(&setting, "laptop", MAC);
    setting.register(&laptop);
    setting.dhcpd.kill().unwrap();
    // What the kernel was told stays true without the server.
    setting.assert_registered(&laptop);
    // Whatever happens to the sets in between is mended at the start.
    setting.campus.gateway.ok("nft flush set inet vestibule registered").unwrap();
    setting.dhcpd = setting.campus.start_dhcpd().unwrap();
    setting.assert_registered(&laptop);
    let path = format!("/v1/whoami?ip={}", laptop.address);
    let whoami = setting.campus.api("GET", &path, None).unwrap();
    assert_eq!(whoami.body["mac"], MAC, "{}", whoami.text);
    assert_eq!(whoami.body["registered"], true, "{}", whoami.text);
    laptop.client.renew().unwrap();
    assert_eq!(laptop.client.wait_address().unwrap().to_string(), laptop.address);
    setting.assert_registered(&laptop);
}

#[test]
fn an_address_that_no_lease_backs_gains_nothing() {
    let setting = Setting::new();
    let laptop = Laptop::new(&setting, "laptop", MAC);
    setting.register(&laptop);
    laptop.host.ip("address add 10.20.3.200/22 dev eth0").unwrap();
    let line = "curl -sS -v --max-time 20 --interface 10.20.3.200 http://203.0.113.10:8080/";
    let refused = laptop.host.run(line).unwrap().both();
    assert!(refused.contains("Connection refused"), "{refused}");
}

#[test]
fn a_registration_opens_the_door_for_one_host_only() {
    let setting = Setting::new();
    let first = Laptop::new(&setting, "first", MAC);
    let second = Laptop::new(&setting, "second", OTHER_MAC);
    setting.register(&first);
    setting.assert_registered(&first);
    setting.assert_unregistered(&second);
    setting.evict(&first);
    setting.assert_unregistered(&first);
    setting.assert_unregistered(&second);
}

#[test]
fn a_permit_ends_with_its_holder_and_does_not_pass_on_with_the_address() {
    let setting = Setting::with(|toml| {
        let one_address = toml.replace("10.20.0.10-10.20.0.250", "10.20.0.10-10.20.0.10");
        assert_ne!(one_address, toml);
        one_address
    });
    let first = Laptop::new(&setting, "first", MAC);
    setting.register(&first);
    setting.assert_registered(&first);
    let address = first.address.clone();
    first.client.release().unwrap();
    until("the released address is in no set", || {
        let is_in = ["unregistered", "registered"].map(|set| setting.is_in(set, &address));
        (is_in == [false, false]).then_some(())
    })
    .unwrap();

    let second = Laptop::new(&setting, "second", OTHER_MAC);
    assert_eq!(second.address, address, "there is only one");
    // Also for the source port that the former holder asked from.
    setting.assert_unregistered(&second);
    // The registration is the first one's still: it belongs to the device.
    let registration =
        setting.campus.api("GET", &format!("/v1/registrations/{MAC}"), None).unwrap();
    assert_eq!(registration.status, 200, "{}", registration.text);
}
