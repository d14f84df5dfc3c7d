//! The six steps of the demo, each with what it must show.

use super::stage::{Failure, Stage};
use crate::lab::{
    Campus, Client, ClientProgram, Host, Process, Site, TOKEN_FILE, VESTIBULE_TOML, program,
};

const SITE: Site = Site::HALLS;
const MAC: &str = "02:00:5e:00:53:01";
const PORTAL: &str = "10.0.0.80";
const PORTAL_URL: &str = "http://register.campus.example/";
const OUTSIDE: &str = "203.0.113.10";

const PICTURE: &str = "
  laptop ---- edge-halls ------------ gateway ------------------ servers
  (udhcpc)    10.20.0.1               10.0.0.67, 10.0.0.54       10.0.0.53     true DNS
              relay (dnsmasq)         10.0.0.80, the portal      203.0.113.10  a web server outside
                                      vestibule-dhcpd            203.0.113.53  a DNS server outside
                                      vestibule-dns, kernel sets
";

/// Plays the demo.
///
/// # Errors
/// [`Failure`] at the first step that is not as expected; the logs have been printed then.
pub fn play() -> Result<(), Failure> {
    for name in ["vestibule-dhcpd", "vestibule-dns", "vestibule"] {
        program(name)?;
    }
    let stage = Stage::new();
    stage.heading("A campus out of network namespaces")?;
    stage.say(PICTURE.trim_matches('\n'))?;
    let campus = Campus::new(&[SITE])?;
    let result = Story::begin(&stage, &campus).and_then(|mut story| story.play());
    if result.is_err() {
        campus.lab.print_logs();
    }
    drop(campus);
    result.and_then(|()| stage.end())
}

/// What lives from step to step.
struct Story<'a> {
    stage: &'a Stage,
    campus: &'a Campus,
    laptop: Host,
    dhcpd: Process,
    /// Only kept alive.
    _servers: Vec<Process>,
}

impl<'a> Story<'a> {
    fn begin(stage: &'a Stage, campus: &'a Campus) -> Result<Self, Failure> {
        campus.portal_on_gateway()?;
        campus.configure_with(include_str!("../../demo/vestibule.toml"))?;
        campus.gateway.write("/etc/vestibule/terms.md", include_str!("../../demo/terms.md"))?;
        let laptop = campus.laptop(&SITE, "laptop", MAC)?;
        let mut servers = vec![campus.start_true_dns()?];
        for port in [80, 8080] {
            servers.push(campus.start_outside(port)?);
        }
        stage.command(&campus.gateway, &format!("vestibule-dhcpd --config {VESTIBULE_TOML}"))?;
        let dhcpd = campus.start_dhcpd()?;
        stage.command(&campus.gateway, &format!("vestibule-dns --config {VESTIBULE_TOML}"))?;
        servers.push(campus.start_dns()?);
        servers.push(campus.start_relay(&SITE)?);
        stage.expect("server, portal, lying resolver and relay are ready", true)?;
        stage.say(&format!("  The portal is the server's own, at {PORTAL_URL} ({PORTAL})."))?;
        Ok(Self { stage, campus, laptop, dhcpd, _servers: servers })
    }

    fn play(&mut self) -> Result<(), Failure> {
        let (mut client, address) = self.lease()?;
        self.gated(&address)?;
        self.register(&address)?;
        self.free(&address)?;
        self.killed(&mut client, &address)?;
        self.evicted(&address)
    }

    fn lease(&mut self) -> Result<(Client, String), Failure> {
        let stage = self.stage;
        stage.heading("1. An unregistered laptop behind a relay gets a lease")?;
        stage.command(&self.laptop, ClientProgram::Udhcpc.line())?;
        let mut client = Client::start(ClientProgram::Udhcpc, &self.laptop)?;
        let address = client.wait_address()?.to_string();
        stage.output(&client.process().log())?;
        let shown = stage.run(&self.laptop, "ip -4 -brief address show dev eth0")?;
        stage.expect(
            &format!("the laptop has an address of the residence halls, {address}"),
            shown.contains(&address) && address.starts_with("10.20."),
        )?;
        let leases = stage
            .run(&self.campus.gateway, &format!("vestibule --config {VESTIBULE_TOML} leases"))?;
        stage.expect(
            "the server knows the lease",
            leases.contains(&address) && leases.contains(MAC),
        )?;
        Ok((client, address))
    }

    fn gated(&self, address: &str) -> Result<(), Failure> {
        let stage = self.stage;
        stage.heading("2. Every name leads to the portal, and nothing else answers")?;
        self.sets(address, "unregistered")?;
        self.behind_the_lie(address)?;
        for url in ["http://anything.example/", &format!("http://{OUTSIDE}/")] {
            let answer =
                stage.run(&self.laptop, &format!("curl -sS -o /dev/null -w '{ANSWER}' {url}"))?;
            stage.expect("led to the portal", answer == format!("302 {PORTAL_URL}\n"))?;
        }
        let page = stage
            .run(&self.laptop, "curl -sS -L http://anything.example/ | grep -o '<h1>.*</h1>'")?;
        stage.expect("this is the portal", page.contains("Register this device"))
    }

    fn register(&mut self, address: &str) -> Result<(), Failure> {
        let stage = self.stage;
        stage.heading("3. The portal knows who this is, and registers the laptop")?;
        let page = stage.run(&self.laptop, &format!("curl -sS {PORTAL_URL} | {PAGE}"))?;
        stage.expect(
            "the portal knows the laptop by its lease",
            page.contains(MAC) && page.contains(address),
        )?;
        let log = self.dhcpd.log().len();
        let line = format!("curl -sS -o /dev/null -w '{ANSWER}' -d \"{FORM}\" {PORTAL_URL}");
        let answer = stage
            .run(&self.laptop, &format!("stamp=$(curl -sS {PORTAL_URL} | {STAMP}); {line}"))?;
        stage.expect("registered", answer == format!("303 {PORTAL_URL}?lang=en\n"))?;
        self.dhcpd.wait_line_after(log, "registered at the portal")?;
        stage.output(self.dhcpd.log().get(log..).unwrap_or_default())?;
        stage.say("  The answer came when the kernel had the permit:")?;
        self.sets(address, "registered")
    }

    fn free(&self, address: &str) -> Result<(), Failure> {
        let stage = self.stage;
        stage.heading("4. The same question from the same source port is answered truly")?;
        let answer = stage.run(&self.laptop, &self.question(address))?;
        stage.expect(&format!("the true answer, {OUTSIDE}"), answer == format!("{OUTSIDE}\n"))?;
        let answer = stage.run(&self.laptop, CONNECT)?;
        stage.expect("the outside is reachable", answer.contains("it is really me"))?;
        let page = stage.run(&self.laptop, "curl -sS http://www.example.edu/")?;
        stage.expect("by its name, too", page.contains("You reached www.example.edu"))
    }

    fn killed(&mut self, client: &mut Client, address: &str) -> Result<(), Failure> {
        let stage = self.stage;
        let gateway = &self.campus.gateway;
        stage.heading("5. The server is killed and started again")?;
        stage.run(gateway, "kill -9 $(pidof vestibule-dhcpd)")?;
        self.dhcpd.wait_end()?;
        stage.command(gateway, &format!("vestibule-dhcpd --config {VESTIBULE_TOML}"))?;
        self.dhcpd = self.campus.start_dhcpd()?;
        stage.output(&self.dhcpd.log())?;
        self.sets(address, "registered")?;
        let client_log = client.process().log().len();
        stage.run(&self.laptop, "kill -USR1 $(pidof udhcpc)")?;
        client.process().wait_line_after(client_log, "obtained from")?;
        let renewal = client.process().log().get(client_log..).unwrap_or_default().to_owned();
        stage.output(&renewal)?;
        stage.expect(
            "the laptop renewed its address",
            renewal.contains("sending renew to server 10.0.0.67")
                && renewal.contains(&format!("lease of {address} obtained")),
        )?;
        let page = stage.run(&self.laptop, &format!("curl -sS {PORTAL_URL} | {PAGE}"))?;
        stage.expect(
            "it is still registered",
            page.contains("This device is online") && page.contains("mia"),
        )?;
        self.sets(address, "registered")
    }

    fn evicted(&self, address: &str) -> Result<(), Failure> {
        let stage = self.stage;
        stage.heading("6. An eviction: the laptop is back behind the lie")?;
        let answer = stage.run(
            &self.campus.servers,
            &format!(
                "curl -sS -w '\\n%{{http_code}}\\n' -X DELETE -H \"Authorization: Bearer $(cat {TOKEN_FILE})\" \
                 http://10.0.0.67:8067/v1/registrations/{MAC}"
            ),
        )?;
        stage.expect(
            "the registration is gone",
            answer.trim_end().lines().next_back() == Some("200"),
        )?;
        self.sets(address, "unregistered")?;
        self.behind_the_lie(address)
    }

    /// Shows that names are lied about and connections refused.
    fn behind_the_lie(&self, address: &str) -> Result<(), Failure> {
        let stage = self.stage;
        let lie = format!("{PORTAL}\n");
        let answer = stage.run(&self.laptop, "dig +short www.example.edu")?;
        stage.expect("the laptop's own resolver gives the portal's address", answer == lie)?;
        let answer = stage.run(&self.laptop, &self.question(address))?;
        stage.expect("so does whatever server it asks", answer == lie)?;
        let answer = stage.run(&self.laptop, CONNECT)?;
        stage.expect(
            "a connection to the outside is refused at once",
            answer.contains("Connection refused"),
        )
    }

    /// The question that is asked before and after, always from the same source port, of a server that
    /// the laptop was not told of.
    fn question(&self, address: &str) -> String {
        format!("dig +short +tries=1 -b {address}#40053 @203.0.113.53 www.example.edu")
    }

    /// Shows both kernel sets; `address` must be in the one named and not in the other.
    fn sets(&self, address: &str, expected: &str) -> Result<(), Failure> {
        for set in ["unregistered", "registered"] {
            let shown = self.stage.run(
                &self.campus.gateway,
                &format!("nft list set inet vestibule {set} | {ELEMENTS}"),
            )?;
            let is_in = shown.split([' ', '{', ',', '}', '\n']).any(|word| word == address);
            let should = set == expected;
            let what = format!("{address} is {} {set}", if should { "in" } else { "not in" });
            self.stage.expect(&what, is_in == should)?;
        }
        Ok(())
    }
}

/// A connection to the outside that only the gate can refuse: the server listens.
const CONNECT: &str =
    "curl -sS -v --max-time 10 http://203.0.113.10:8080/ 2>&1 | grep -v '^[<>{}]'";

/// What of an answer is shown: its status, and where it leads.
const ANSWER: &str = r"%{http_code} %{redirect_url}\n";

/// What of the portal's page is shown: its text.
const PAGE: &str = r"tr '\n' ' ' | sed -e 's/.*<main>//; s/<\/main>.*//; s/<[^>]*>/\n/g' | sed -e 's/^/| /' -e '/^| *$/d'";

/// What a browser sends.
const FORM: &str = "do=register&stamp=$stamp&name=mia&agree=on";

/// The form's stamp, which a browser sends unseen.
const STAMP: &str = r#"sed -n 's/.*name="stamp" value="\([^"]*\)".*/\1/p'"#;

/// What of a set is shown.
const ELEMENTS: &str = "grep -e 'set ' -e elements";
