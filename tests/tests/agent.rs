//! Enforcement on another host than the servers': `vestibule-firewall agent` on the gateway follows whole
//! `vestibule-dhcpd`s by TLS, and hosts behind it meet what they say.
//!
//! ```text
//!  laptop ── halls ── edge, relay ──┐              ┌─ 10.0.0.67  dhcp-a, gate.mode = "feed"
//!                                   ├── gateway ───┼─ 10.0.0.68  dhcp-b, where there is one
//!  laptop ── annex ── edge, relay ──┘   the agent  └─ 203.0.113.10  a web server outside
//! ```

use std::fmt::Write as _;
use vestibule_tests::lab::{
    Campus, Client, ClientProgram, Host, Process, Site, SiteKind, TOKEN_FILE, VESTIBULE_TOML,
    program, until_ok,
};

const AGENT_TOKEN: &str = "a-token-for-who-follows-the-gate";

const PORTAL_TOKEN: &str = "a-token-for-who-only-registers";

/// What the agent may do: change the firewall, and nothing else.
const LEAST_PRIVILEGE: &str = "setpriv --bounding-set=-all,+net_admin --inh-caps=-all,+net_admin";

/// A second network, which the second server serves.
const ANNEX: Site = Site {
    name: "annex",
    kind: SiteKind::BehindDnsmasq,
    network: "10.50.0",
    prefix_length: 24,
    link: 50,
};

/// One of the servers.
#[derive(Clone, Copy)]
struct Server {
    name: &'static str,
    address: &'static str,
    /// One of the names that the test certificate is for.
    certified: &'static str,
    site: Site,
}

const A: Server = Server {
    name: "dhcp-a",
    address: "10.0.0.67",
    certified: "captive.campus.example",
    site: Site::HALLS,
};
const B: Server = Server {
    name: "dhcp-b",
    address: "10.0.0.68",
    certified: "register.campus.example",
    site: ANNEX,
};

impl Server {
    fn url(&self) -> String {
        format!("https://{}:8443", self.certified)
    }

    /// Its configuration.
    fn toml(&self, lifetime: &str) -> String {
        let Self { name, address, site, .. } = self;
        let (network, length) = (site.network, site.prefix_length);
        format!(
            "[server]\nname = \"{name}\"\nstate-dir = \"/run/{name}\"\nrelay-listen = [\"{address}\"]\n\n\
             [leases]\nlifetime = \"{lifetime}\"\nlifetime-unregistered = \"10m\"\n\n\
             [[network]]\nname = \"{}\"\ngated = true\nipv6-prefixes = []\n[[network.subnet]]\n\
             prefix = \"{network}.0/{length}\"\npools = [\"{network}.10-{network}.250\"]\n\
             options = {{ routers = [\"{network}.1\"], domain-name-servers = [\"10.0.0.53\"] }}\n\n\
             [gate]\nmode = \"feed\"\nlying-resolver = \"10.0.0.54\"\nredirect = \"10.0.0.54:8080\"\n\
             portal = {{ address = \"10.0.0.80\", url = \"http://register.campus.example/\" }}\n\n\
             [api]\nlisten = \"{address}:8067\"\ntoken-file = \"{TOKEN_FILE}\"\ntls-listen = \"{address}:8443\"\n\
             tls-certificate = \"/etc/vestibule/leaf.pem\"\ntls-key = \"/etc/vestibule/leaf.key\"\n\n\
             [[api.token]]\nname = \"gateway\"\nfile = \"/etc/vestibule/gateway.token\"\nscope = \"gate\"\n\n\
             [[api.token]]\nname = \"library\"\nfile = \"/etc/vestibule/portal.token\"\nscope = \"portal\"\n",
            site.name
        )
    }
}

/// A campus whose servers are not its gateway.
struct Ground {
    campus: Campus,
    /// What keeps running for the test.
    running: Vec<Process>,
}

impl Ground {
    fn new(sites: &[Site]) -> Self {
        let campus = Campus::new(sites).unwrap();
        campus
            .gateway
            .ip("address flush dev campus\naddress add 10.0.0.1/24 dev campus\n\
                 route add 203.0.113.0/24 via 10.0.0.53")
            .unwrap();
        campus
            .servers
            .ip("address add 10.0.0.67/24 dev campus\naddress add 10.0.0.68/24 dev campus\n\
                 route replace default via 10.0.0.1")
            .unwrap();
        let servers = &campus.servers;
        let leaf = include_str!("../../dhcpd/tests/certificates/leaf.pem");
        let key = include_str!("../../dhcpd/tests/certificates/leaf.key");
        for (path, text) in [
            ("/etc/vestibule/leaf.pem", leaf),
            ("/etc/vestibule/leaf.key", key),
            ("/etc/vestibule/gateway.token", AGENT_TOKEN),
            ("/etc/vestibule/portal.token", PORTAL_TOKEN),
            (TOKEN_FILE, "a-token-for-one-lab-only-0123456789abcdef"),
        ] {
            servers.write(path, text).unwrap();
            servers.ok(&format!("chmod 600 {path}")).unwrap();
        }
        let gateway = &campus.gateway;
        let authority = include_str!("../../dhcpd/tests/certificates/ca.pem");
        gateway.write("/etc/vestibule/authority.pem", authority).unwrap();
        gateway.write("/etc/vestibule/agent.token", AGENT_TOKEN).unwrap();
        gateway.ok("chmod 600 /etc/vestibule/agent.token").unwrap();
        servers.write("/etc/vestibule/authority.pem", authority).unwrap();
        let names = "10.0.0.67 captive.campus.example\n10.0.0.68 register.campus.example\n";
        for host in [gateway, servers] {
            host.write("/etc/hosts", names).unwrap();
            host.write("/etc/nsswitch.conf", "hosts: files\n").unwrap();
        }
        let outside = campus.start_outside(80).unwrap();
        Self { campus, running: vec![outside] }
    }

    fn start_server(&self, server: &Server, lifetime: &str) -> Process {
        self.start_configured(server, &server.toml(lifetime))
    }

    /// One half of a pair that serves the same network and exchanges registrations.
    fn start_half(&self, server: &Server, partner: &Server, of_the_role: &str) -> Process {
        let alike = Server { site: A.site, ..*server };
        let toml = format!(
            "{}\n[[api.token]]\nname = \"partner\"\nfile = \"/etc/vestibule/{}.token\"\nscope = \"partner\"\n\
             [failover]\nname = \"pair\"\naddress = \"{}\"\npeer = \"{}\"\n{of_the_role}\n\
             registrations = \"{}\"\ntoken-file = \"/etc/vestibule/{}.token\"\n\
             ca-file = \"/etc/vestibule/authority.pem\"\n",
            alike.toml("1h"),
            partner.name,
            server.address,
            partner.address,
            partner.url(),
            server.name,
        );
        self.start_configured(server, &toml)
    }

    fn start_configured(&self, server: &Server, toml: &str) -> Process {
        program("vestibule-dhcpd").unwrap();
        let path = format!("/etc/vestibule/{}.toml", server.name);
        self.campus.servers.write(&path, toml).unwrap();
        let line = format!("vestibule-dhcpd --config {path}");
        let mut dhcpd = self.campus.servers.start(server.name, &line).unwrap();
        dhcpd.wait_line("ready").unwrap();
        dhcpd
    }

    /// The relay of a server's site, to that server.
    fn relay(&mut self, server: &Server) {
        let edge = self.campus.edge(&server.site).unwrap();
        let line = format!(
            "dnsmasq --keep-in-foreground --log-facility=- --conf-file=/dev/null --pid-file= --user=root --port=0 \
             --dhcp-relay={},{}",
            server.site.router(),
            server.address
        );
        let mut relay = edge.start("relay", &line).unwrap();
        relay.wait_line("DHCP relay from").unwrap();
        self.running.push(relay);
    }

    /// Writes the agent's configuration.
    fn configure(&self, servers: &[Server], rest: &str) {
        let mut toml = format!("[agent]\nstatus-listen = \"127.0.0.1:8069\"\n{rest}\n");
        for server in servers {
            // Writing to a String cannot fail.
            let _ = write!(
                toml,
                "\n[[agent.server]]\nurl = \"{}\"\ntoken-file = \"/etc/vestibule/agent.token\"\n\
                 ca-file = \"/etc/vestibule/authority.pem\"\n",
                server.url()
            );
        }
        self.gateway().write(VESTIBULE_TOML, &toml).unwrap();
    }

    fn start_agent(&self) -> Process {
        program("vestibule-firewall").unwrap();
        let mut agent = self
            .gateway()
            .start("agent", &format!("{LEAST_PRIVILEGE} vestibule-firewall agent"))
            .unwrap();
        agent.wait_line("ready").unwrap();
        agent
    }

    fn gateway(&self) -> &Host {
        &self.campus.gateway
    }

    /// A laptop with a lease, and its address.
    fn laptop(&self, site: &Site, name: &str, hardware: &str) -> (Host, Client, String) {
        let laptop = self.campus.laptop(site, name, hardware).unwrap();
        let client = Client::start(ClientProgram::Udhcpc, &laptop).unwrap();
        let address = client.wait_address().unwrap().to_string();
        (laptop, client, address)
    }

    /// Waits until the gateway has an address in just this set.
    fn wait_in(&self, set: Option<&str>, address: &str) {
        let what = format!("{address} in {set:?}");
        until_ok(&what, || {
            let mut seen = String::new();
            for known in ["registered", "unregistered"] {
                let held = self.gateway().run(&format!("nft list set inet vestibule {known}"));
                let held = held.unwrap().both();
                let is_there = held.split([' ', ',', '\n']).any(|word| word == address);
                if is_there != (set == Some(known)) {
                    seen = held;
                }
            }
            if seen.is_empty() { Ok(()) } else { Err(seen) }
        })
        .unwrap();
    }

    /// Asks the API of a server.
    fn api(&self, server: &Server, rest: &str) -> String {
        let line = format!(
            "curl -sS -H \"Authorization: Bearer $(cat {TOKEN_FILE})\" -w '\\n%{{http_code}}' {}",
            rest.replace("API", &format!("http://{}:8067/v1", server.address))
        );
        self.campus.servers.ok(&line).unwrap()
    }

    fn register(&self, server: &Server, address: &str) {
        let answer = self.api(server, &format!("-d '{{\"ip\":\"{address}\"}}' API/registrations"));
        assert!(answer.ends_with("201"), "{answer}");
    }

    /// The status as JSON, whatever it says.
    fn status(&self) -> serde_json::Value {
        let output = self.gateway().run("vestibule-firewall status --json").unwrap();
        serde_json::from_str(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", output.both()))
    }
}

/// Whether a host reaches the web server outside.
fn gets_out(laptop: &Host) -> bool {
    let answer = laptop.run("curl -sS --max-time 10 http://203.0.113.10/").unwrap();
    answer.stdout.contains("it is really me")
}

#[test]
fn the_agent_lets_through_whom_the_server_registers_and_heals_its_table() {
    let mut ground = Ground::new(&[Site::HALLS]);
    ground.relay(&A);
    ground.configure(&[A], "");
    let _dhcpd = ground.start_server(&A, "1h");
    let mut agent = ground.start_agent();
    agent.wait_line("the gate is enforced here").unwrap();
    assert_eq!(ground.campus.servers.ok("nft list tables").unwrap(), "");

    let (laptop, _client, address) = ground.laptop(&Site::HALLS, "laptop", "02:00:5e:00:53:01");
    ground.wait_in(Some("unregistered"), &address);
    assert!(!gets_out(&laptop));
    ground.register(&A, &address);
    ground.wait_in(Some("registered"), &address);
    assert!(gets_out(&laptop));

    // Somebody else's rules come and go.
    for interference in
        ["flush ruleset", "flush set inet vestibule registered", "delete table inet vestibule"]
    {
        ground.gateway().ok(&format!("nft {interference}")).unwrap();
        ground.wait_in(Some("registered"), &address);
    }
    assert!(gets_out(&laptop));

    let answer = ground.api(&A, "-X DELETE API/registrations/02:00:5e:00:53:01");
    assert!(answer.ends_with("200"), "{answer}");
    ground.wait_in(Some("unregistered"), &address);
    assert!(!gets_out(&laptop));

    let output = ground.gateway().run("vestibule-firewall status").unwrap();
    assert!(output.success(), "{}", output.both());
    assert!(output.stdout.starts_with("everything is well\nserver https://"), "{}", output.both());
    let status = ground.status();
    assert_eq!(status["servers"][0]["server"], "dhcp-a", "{status}");
    assert_eq!(status["servers"][0]["cursor"], status["servers"][0]["newest"], "{status}");
    assert_eq!(status["sets"]["unregistered"], 1, "{status}");
    assert!(status["interferences"].as_u64() >= Some(3), "{status}");
    // Three decisions at least came to the kernel, and each was timed.
    assert!(status["lag-milliseconds"]["mean"].as_f64() > Some(0.0), "{status}");
    let metrics = ground.gateway().ok("curl -sS http://127.0.0.1:8069/metrics").unwrap();
    assert!(
        metrics.contains("\nvestibule_agent_set_addresses{set=\"unregistered\"} 1\n"),
        "{metrics}"
    );
    let shown = ground.gateway().ok("vestibule-firewall show").unwrap();
    assert!(shown.contains(&address) && shown.contains("unregistered"), "{shown}");
    assert!(!agent.log().contains(AGENT_TOKEN), "{}", agent.log());

    let privileges = format!("grep -h Cap /proc/{}/status", "$(pidof vestibule-firewall)");
    let capabilities = ground.gateway().ok(&privileges).unwrap();
    let net_admin = format!("CapEff:\t{:016x}\n", 1 << 12);
    assert!(capabilities.contains(&net_admin), "{capabilities}");
}

#[test]
fn an_agent_that_ends_leaves_the_table_and_the_next_one_catches_up() {
    let mut ground = Ground::new(&[Site::HALLS]);
    ground.relay(&A);
    ground.configure(&[A], "");
    let _dhcpd = ground.start_server(&A, "1h");
    let mut agent = ground.start_agent();
    let (laptop, _client, address) = ground.laptop(&Site::HALLS, "laptop", "02:00:5e:00:53:01");
    ground.wait_in(Some("unregistered"), &address);
    ground.register(&A, &address);
    ground.wait_in(Some("registered"), &address);

    agent.signal("TERM").unwrap();
    assert!(agent.wait_end().unwrap().success(), "{}", agent.log());
    assert!(agent.log().contains("the table stays"), "{}", agent.log());
    assert!(gets_out(&laptop));
    let output = ground.gateway().run("vestibule-firewall status").unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", output.both());

    // Meanwhile the registration ends.
    let answer = ground.api(&A, "-X DELETE API/registrations/02:00:5e:00:53:01");
    assert!(answer.ends_with("200"), "{answer}");
    let mut agent = ground.start_agent();
    agent.wait_line("the table of an earlier agent is taken over").unwrap();
    ground.wait_in(Some("unregistered"), &address);
    assert!(!gets_out(&laptop));

    // Killed, it leaves as much.
    ground.register(&A, &address);
    ground.wait_in(Some("registered"), &address);
    agent.kill().unwrap();
    assert!(gets_out(&laptop));
    let _agent = ground.start_agent();
    until_ok("the new agent enforces", || {
        let status = ground.status();
        if status["sets"]["enforced"] == true { Ok(()) } else { Err(status.to_string()) }
    })
    .unwrap();
    ground.wait_in(Some("registered"), &address);
}

#[test]
fn when_the_server_is_killed_permits_hold_and_a_restarted_one_is_taken_up() {
    let mut ground = Ground::new(&[Site::HALLS]);
    ground.relay(&A);
    ground.configure(&[A], "silent-after = \"5s\"\nwhen-silent = \"hold\"");
    let mut dhcpd = ground.start_server(&A, "1h");
    let mut agent = ground.start_agent();
    let (laptop, _client, address) = ground.laptop(&Site::HALLS, "laptop", "02:00:5e:00:53:01");
    ground.register(&A, &address);
    ground.wait_in(Some("registered"), &address);

    dhcpd.kill().unwrap();
    agent.wait_line("permits stay until their leases end").unwrap();
    ground.wait_in(Some("registered"), &address);
    assert!(gets_out(&laptop));
    // It ends by itself: the kernel counts.
    let held = ground.gateway().ok("nft list set inet vestibule registered").unwrap();
    assert!(held.contains(&format!("{address} timeout ")) && held.contains(" expires "), "{held}");
    let output = ground.gateway().run("vestibule-firewall status").unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", output.both());
    assert!(
        output.stdout.contains("NOT WELL\n") && output.stdout.contains("is not followed"),
        "{}",
        output.both()
    );

    let before = agent.log().len();
    let _dhcpd = ground.start_server(&A, "1h");
    agent.wait_line_after(before, "a server speaks again").unwrap();
    let answer = ground.api(&A, "-X DELETE API/registrations/02:00:5e:00:53:01");
    assert!(answer.ends_with("200"), "{answer}");
    ground.wait_in(Some("unregistered"), &address);
    assert_eq!(ground.status()["servers"][0]["snapshots"], 2);
}

#[test]
fn when_the_server_is_killed_and_the_site_wants_it_nobody_is_let_through() {
    let mut ground = Ground::new(&[Site::HALLS]);
    ground.relay(&A);
    ground.configure(&[A], "silent-after = \"5s\"\nwhen-silent = \"close\"");
    // With the server's own file, the gate stands before any server has spoken.
    let agent_toml = ground.gateway().read(VESTIBULE_TOML).unwrap();
    ground.gateway().write(VESTIBULE_TOML, &(A.toml("1h") + "\n" + &agent_toml)).unwrap();
    let mut agent = ground.start_agent();
    agent.wait_line("the gate is enforced here").unwrap();
    let gated = ground.gateway().ok("nft list set inet vestibule gated").unwrap();
    assert!(gated.contains("10.20.0.0/22"), "{gated}");
    assert_eq!(ground.status()["everything-well"], false);

    let mut dhcpd = ground.start_server(&A, "1h");
    let (laptop, _client, address) = ground.laptop(&Site::HALLS, "laptop", "02:00:5e:00:53:01");
    ground.register(&A, &address);
    ground.wait_in(Some("registered"), &address);
    assert!(gets_out(&laptop));

    dhcpd.kill().unwrap();
    ground.wait_in(None, &address);
    agent.wait_line("permits are taken away").unwrap();
    assert!(!gets_out(&laptop));
    assert_eq!(ground.status()["sets"]["closed"], true);
    let _dhcpd = ground.start_server(&A, "1h");
    ground.wait_in(Some("registered"), &address);
    assert!(gets_out(&laptop));
}

#[test]
fn two_servers_for_different_networks_are_followed_and_one_does_without_the_other() {
    let mut ground = Ground::new(&[Site::HALLS, ANNEX]);
    ground.relay(&A);
    ground.relay(&B);
    ground.configure(&[A, B], "");
    let mut first = ground.start_server(&A, "1h");
    let _second = ground.start_server(&B, "1h");
    let mut agent = ground.start_agent();
    let (one, _client, one_address) = ground.laptop(&Site::HALLS, "one", "02:00:5e:00:53:01");
    let (other, _client, other_address) = ground.laptop(&ANNEX, "other", "02:00:5e:00:53:02");
    ground.wait_in(Some("unregistered"), &one_address);
    ground.wait_in(Some("unregistered"), &other_address);
    ground.register(&A, &one_address);
    ground.wait_in(Some("registered"), &one_address);
    assert!(gets_out(&one) && !gets_out(&other));

    first.kill().unwrap();
    ground.register(&B, &other_address);
    ground.wait_in(Some("registered"), &other_address);
    assert!(gets_out(&one) && gets_out(&other));
    // Who starts now knows of the first one's hosts from the kernel only.
    agent.kill().unwrap();
    let mut agent = ground.start_agent();
    agent.wait_line("the gate is enforced here").unwrap();
    let answer = ground.api(&B, "-X DELETE API/registrations/02:00:5e:00:53:02");
    assert!(answer.ends_with("200"), "{answer}");
    ground.wait_in(Some("unregistered"), &other_address);
    ground.wait_in(Some("registered"), &one_address);
}

/// What is registered, suspended or ended at either half of a failover pair holds at both, and at the gateway
/// that follows both, whoever granted the lease.
#[test]
fn a_failover_pair_has_one_truth_about_who_is_registered() {
    let mut ground = Ground::new(&[Site::HALLS]);
    for name in ["dhcp-a", "dhcp-b"] {
        let path = format!("/etc/vestibule/{name}.token");
        ground.campus.servers.write(&path, &format!("the-token-that-{name}-shows")).unwrap();
        ground.campus.servers.ok(&format!("chmod 600 {path}")).unwrap();
    }
    ground.relay(&A);
    ground.configure(&[A, B], "");
    let primary = "role = \"primary\"\nmclt = \"60s\"";
    let mut first = ground.start_half(&A, &B, primary);
    let mut second = ground.start_half(&B, &A, "role = \"secondary\"");
    first.wait_line("registrations are heard from the failover partner").unwrap();
    second.wait_line("registrations are heard from the failover partner").unwrap();
    let _agent = ground.start_agent();
    let answers = |server: &Server, path: &str, wanted: &str| {
        until_ok(&format!("{} answers {path} with {wanted}", server.name), || {
            let answer = ground.api(server, &format!("API/{path}"));
            if answer.contains(wanted) { Ok(()) } else { Err(answer) }
        })
        .unwrap();
    };

    // The primary grants it: the relay asks nobody else.
    let hardware = "02:00:5e:00:53:01";
    let (laptop, _client, address) = ground.laptop(&Site::HALLS, "laptop", hardware);
    answers(&B, &format!("leases/{address}"), "\"state\":\"active\"");
    ground.wait_in(Some("unregistered"), &address);
    ground.register(&B, &address);
    ground.wait_in(Some("registered"), &address);
    assert!(gets_out(&laptop));
    let registration = format!("registrations/{hardware}");
    answers(&A, &registration, "\"state\":\"active\"");

    let answer = ground.api(&A, &format!("-X POST API/{registration}/suspend"));
    assert!(answer.ends_with("200"), "{answer}");
    ground.wait_in(Some("unregistered"), &address);
    assert!(!gets_out(&laptop));
    answers(&B, &registration, "\"state\":\"suspended\"");
    let answer = ground.api(&B, &format!("-X POST API/{registration}/resume"));
    assert!(answer.ends_with("200"), "{answer}");
    ground.wait_in(Some("registered"), &address);

    // What happens while one is away holds when it is back, and is not undone by what it remembers.
    first.kill().unwrap();
    answers(&B, "failover", "\"connected\":false");
    let answer = ground.api(&B, &format!("-X DELETE API/{registration}"));
    assert!(answer.ends_with("200"), "{answer}");
    ground.wait_in(Some("unregistered"), &address);
    let _first = ground.start_half(&A, &B, primary);
    answers(&A, &registration, "not-registered");
    answers(&A, "failover", "\"behind\":0");
    answers(&B, &registration, "not-registered");
    ground.wait_in(Some("unregistered"), &address);
    assert!(!gets_out(&laptop));
    let token = "the-token-that-dhcp-b-shows";
    assert!(!second.log().contains(token), "{}", second.log());
    let shown =
        ground.campus.servers.ok("vestibule failover status --config /etc/vestibule/dhcp-b.toml");
    let shown = shown.unwrap();
    assert!(shown.contains("registrations are heard; 0 changes behind"), "{shown}");
}

#[test]
fn what_keeps_an_agent_from_following_is_said_with_a_remedy() {
    let ground = Ground::new(&[Site::HALLS]);
    let _dhcpd = ground.start_server(&A, "1h");
    let gateway = ground.gateway();
    let check = |url: &str, token: &str, authority: &str| {
        gateway.write("/etc/vestibule/agent.token", token).unwrap();
        let toml = format!(
            "[agent]\n[[agent.server]]\nurl = \"{url}\"\ntoken-file = \"/etc/vestibule/agent.token\"\nca-file = \"{authority}\"\n"
        );
        gateway.write(VESTIBULE_TOML, &toml).unwrap();
        let output = gateway.run("vestibule-firewall check").unwrap();
        (output.status.code(), output.both())
    };
    let authority = "/etc/vestibule/authority.pem";
    let (status, said) = check(&A.url(), AGENT_TOKEN, authority);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("\"dhcp-a\"") && said.contains("gates 10.20.0.0/22"), "{said}");
    let other = include_str!("../../dhcpd/tests/certificates/other-ca.pem");
    gateway.write("/etc/vestibule/other.pem", other).unwrap();
    gateway.write("/etc/vestibule/empty.pem", "").unwrap();
    let other = "a-token-that-nobody-knows-there";
    for (url, token, authority, expected_status, expected) in [
        (A.url(), other, authority, 1, "it does not know the token: one of its [[api.token]]"),
        (A.url(), PORTAL_TOKEN, authority, 1, "it needs the scope \"gate\""),
        (A.url(), AGENT_TOKEN, "/etc/vestibule/other.pem", 1, "no TLS session: "),
        ("https://10.0.0.67:8443".to_owned(), AGENT_TOKEN, authority, 1, "no TLS session: "),
        ("https://10.0.0.67:8067".to_owned(), AGENT_TOKEN, authority, 1, "no TLS session: "),
        ("https://10.0.0.67:9".to_owned(), AGENT_TOKEN, authority, 1, "it cannot be reached: "),
        ("unix:/run/nobody".to_owned(), AGENT_TOKEN, authority, 1, "it cannot be reached: "),
        (A.url(), AGENT_TOKEN, "/etc/vestibule/empty.pem", 2, "no certificate is in it"),
        (A.url(), AGENT_TOKEN, "/etc/vestibule/nowhere.pem", 2, "agent.server.ca-file takes"),
        (A.url(), "brief", authority, 2, "is shorter than 16 characters"),
        ("http://10.0.0.67:8067".to_owned(), AGENT_TOKEN, authority, 2, "would show the token"),
    ] {
        let (status, said) = check(&url, token, authority);
        assert!(said.contains(expected), "{url}: {said}");
        assert_eq!(status, Some(expected_status), "{url}: {said}");
        assert!(!said.contains(token), "{said}");
    }
    // Without the right to change the firewall there is no agent.
    ground.configure(&[A], "");
    gateway.write("/etc/vestibule/agent.token", AGENT_TOKEN).unwrap();
    let output = gateway
        .run("setpriv --bounding-set=-all --inh-caps=-all vestibule-firewall agent")
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", output.both());
    assert!(output.both().contains("CAP_NET_ADMIN"), "{}", output.both());
}
