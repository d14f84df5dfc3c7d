//! The walled garden by name, with the real daemons: a name opens what it leads to the moment it is
//! answered, and every part may go and come back.

use vestibule_tests::lab::{
    Campus, Client, ClientProgram, Gate, Host, Process, Site, VESTIBULE_TOML, until,
};

const MAC: &str = "02:00:5e:00:53:01";
const SOCKET: &str = "/run/garden";
/// What the name of the login leads to.
const LOGIN: &str = "203.0.113.10";
const NAME: &str = "login.idp.example";

struct Setting {
    campus: Campus,
    dhcpd: Process,
    dns: Process,
    laptop: Host,
    _client: Client,
    _others: Vec<Process>,
}

impl Setting {
    fn new() -> Self {
        let campus = Campus::new(&[Site::HALLS]).unwrap();
        campus.configure(Gate::Local, "1h", "1h").unwrap();
        let toml = campus.gateway.read(VESTIBULE_TOML).unwrap();
        let with_names = toml.replace(
            "walled-garden = [\"register.campus.example\"]",
            &format!(
                "garden-socket = \"{SOCKET}\"\n\
                 walled-garden = [\"register.campus.example\", \"*.idp.example\"]"
            ),
        );
        assert_ne!(with_names, toml);
        campus.configure_with(&with_names).unwrap();
        let dhcpd = campus.start_dhcpd().unwrap();
        let others = vec![
            campus
                .start_true_dns_with(&[(NAME, LOGIN), ("inside.idp.example", "10.0.0.99")])
                .unwrap(),
            campus.start_outside(8080).unwrap(),
            campus.start_relay(&Site::HALLS).unwrap(),
        ];
        let dns = campus.start_dns().unwrap();
        let laptop = campus.laptop(&Site::HALLS, "laptop", MAC).unwrap();
        let client = Client::start(ClientProgram::Udhcpc, &laptop).unwrap();
        client.wait_address().unwrap();
        Self { campus, dhcpd, dns, laptop, _client: client, _others: others }
    }

    fn dig(&self, name: &str) -> String {
        self.laptop.ok(&format!("dig +tries=3 +time=5 @203.0.113.53 {name}")).unwrap()
    }

    /// Asks for the name, and expects it to lead where it should.
    fn resolves(&self) {
        let answer = self.dig(NAME);
        assert!(answer.contains("NOERROR") && answer.contains(LOGIN), "{answer}");
    }

    fn reach(&self) -> String {
        let line = format!("curl -sS -v --max-time 20 http://{LOGIN}:8080/");
        self.laptop.run(&line).unwrap().both()
    }

    fn assert_reached(&self) {
        let reached = self.reach();
        assert!(reached.contains("it is really me"), "{reached}");
    }

    fn assert_refused(&self) {
        let refused = self.reach();
        assert!(refused.contains("Connection refused"), "{refused}");
    }

    fn named(&self) -> String {
        self.campus.gateway.ok("nft list set inet vestibule garden_names").unwrap()
    }
}

#[test]
fn a_name_opens_what_it_leads_to_when_it_is_answered_and_not_before() {
    let setting = Setting::new();
    setting.assert_refused();
    setting.resolves();
    setting.assert_reached();
    // Who rules over names cannot lead hosts into the campus.
    let answer = setting.dig("inside.idp.example");
    assert!(answer.contains("10.0.0.99"), "{answer}");
    assert!(!setting.named().contains("10.0.0.99"));
    assert!(setting.dhcpd.log().contains("leads to 10.0.0.99, which no name may open"));
}

#[test]
fn a_table_that_somebody_flushed_comes_back_with_the_garden() {
    let setting = Setting::new();
    setting.resolves();
    for interference in ["flush ruleset", "flush set inet vestibule garden_names"] {
        setting.campus.gateway.ok(&format!("nft {interference}")).unwrap();
        until("the garden is there again", || {
            let shown = setting.campus.gateway.run("nft list set inet vestibule garden_names");
            shown.is_ok_and(|shown| shown.stdout.contains(LOGIN)).then_some(())
        })
        .unwrap();
        setting.assert_reached();
    }
}

#[test]
fn the_resolver_may_go_and_come_back() {
    let mut setting = Setting::new();
    setting.resolves();
    setting.dns.kill().unwrap();
    // What hosts were told stays true without it.
    setting.assert_reached();
    setting.dns = setting.campus.start_dns().unwrap();
    setting.resolves();
    setting.assert_reached();
}

#[test]
fn the_server_may_go_and_come_back() {
    let mut setting = Setting::new();
    setting.resolves();
    setting.dhcpd.kill().unwrap();
    setting.assert_reached();
    // Nobody could open the gate, so nothing is promised.
    until("the resolver knows", || setting.dig(NAME).contains("SERVFAIL").then_some(())).unwrap();
    // Lies need no server.
    assert!(setting.dig("www.example.edu").contains("10.0.0.80"));
    setting.dhcpd = setting.campus.start_dhcpd().unwrap();
    assert!(setting.named().contains(LOGIN), "{}", setting.named());
    setting.assert_reached();
    until("the resolver answers again", || setting.dig(NAME).contains(LOGIN).then_some(()))
        .unwrap();
    // Flushed while no server was there: the answer opens it again.
    setting.dhcpd.kill().unwrap();
    setting.campus.gateway.ok("nft flush ruleset").unwrap();
    setting.dhcpd = setting.campus.start_dhcpd().unwrap();
    setting.assert_refused();
    until("the resolver answers again", || setting.dig(NAME).contains(LOGIN).then_some(()))
        .unwrap();
    setting.assert_reached();
}
