//! What a phone, a laptop and a browser make of the gate: the probes of each system, the captive portal
//! API that option 114 names, before the registration and right after it, against the real programs and
//! a web outside that answers every probe truly. And that nothing hangs: what is refused is refused at
//! once.

use vestibule_config::{PageProbe, Probes};
use vestibule_tests::lab::{
    Campus, Client, ClientProgram, Gate, Host, Process, Site, VESTIBULE_TOML,
};

const MAC: &str = "02:00:5e:00:53:01";
const PORTAL: &str = "https://register.campus.example/";
const BUILTIN_PORTAL: &str = "http://register.campus.example/";
const API: &str = "https://captive.campus.example/captive";

/// Where all the web is, outside.
const OUTSIDE: &str = "203.0.113.10";

/// What a system calls the network.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// There is a way to the Internet.
    Online,
    /// There is a portal, and this is where it is opened.
    Portal(String),
    /// Neither: what a person reads as "no internet".
    Offline,
}

/// What came back to a question by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// A campus with a gate, the API by TLS, and a web outside.
struct Setting {
    campus: Campus,
    probes: Probes,
    _processes: Vec<Process>,
}

impl Setting {
    fn new() -> Self {
        Self::with(|_, toml| {
            let toml = toml.replace(BUILTIN_PORTAL, PORTAL);
            assert!(toml.contains(PORTAL), "{toml}");
            toml
        })
    }

    /// The same with the server's own portal, on the gateway.
    fn builtin() -> Self {
        Self::with(|campus, toml| {
            campus.portal_on_gateway().unwrap();
            campus.gateway.write("/etc/vestibule/terms.md", "Be kind.").unwrap();
            assert!(toml.contains(BUILTIN_PORTAL), "{toml}");
            toml + "\n[portal]\nmode = \"builtin\"\nlisten = [\"10.0.0.80:80\"]\nidentify = \"terms\"\n\
                    terms-file = \"/etc/vestibule/terms.md\"\nlifetime = \"1d\"\n\
                    [[registration.role]]\nname = \"infected\"\nquarantine = true\n\
                    portal-url = \"http://203.0.113.10/cleaning\"\n"
        })
    }

    /// With a configuration that was changed first.
    fn with(change: impl Fn(&Campus, String) -> String) -> Self {
        let campus = Campus::new(&[Site::HALLS]).unwrap();
        campus.configure(Gate::Local, "1h", "2m").unwrap();
        let toml = campus.gateway.read(VESTIBULE_TOML).unwrap();
        let toml = change(&campus, toml);
        let captive = format!(
            "\n[captive]\nurl = \"{API}\"\nlisten = \"10.0.0.67:443\"\n\
             tls-certificate = \"/etc/vestibule/leaf.pem\"\ntls-key = \"/etc/vestibule/leaf.key\"\n\
             can-extend-session = true\nvenue-info-url = \"https://www.campus.example/\"\n"
        );
        for host in [&campus.gateway, &campus.servers] {
            let leaf = include_str!("../../dhcpd/tests/certificates/leaf.pem");
            let key = include_str!("../../dhcpd/tests/certificates/leaf.key");
            host.write("/etc/vestibule/leaf.pem", leaf).unwrap();
            host.write("/etc/vestibule/leaf.key", key).unwrap();
            host.ok("chmod 600 /etc/vestibule/leaf.key").unwrap();
        }
        campus.configure_with(&(toml + &captive)).unwrap();
        let probes = Probes::known();
        let mut names: Vec<(&str, &str)> =
            probes.pages.iter().map(|page| (page.host(), OUTSIDE)).collect();
        names.push(("captive.campus.example", "10.0.0.67"));
        let fixed: Vec<(String, String)> =
            probes.names.iter().map(|name| (name.name.clone(), name.address.to_string())).collect();
        names.extend(fixed.iter().map(|(name, address)| (name.as_str(), address.as_str())));
        let dhcpd = campus.start_dhcpd().unwrap();
        let true_dns = campus.start_true_dns_with(&names).unwrap();
        let mut processes = vec![dhcpd, true_dns, campus.start_dns().unwrap()];
        processes.push(campus.start_relay(&Site::HALLS).unwrap());
        // Something answers wherever the gate should refuse.
        processes.push(campus.start_outside(80).unwrap());
        processes.push(campus.start_outside(853).unwrap());
        let line = format!(
            "vestibule-demo outside --listen {OUTSIDE}:443 --tls-certificate /etc/vestibule/leaf.pem \
             --tls-key /etc/vestibule/leaf.key"
        );
        let mut tls = campus.servers.start("outside-443", &line).unwrap();
        tls.wait_line("ready").unwrap();
        processes.push(tls);
        Self { campus, probes, _processes: processes }
    }

    fn register(&self, address: &str, expires: &str) {
        let body = format!("{{\"ip\":\"{address}\",\"owner\":\"mia\"{expires}}}");
        let answer = self.campus.api("POST", "/v1/registrations", Some(&body)).unwrap();
        assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text);
    }
}

/// A device on the gated LAN.
struct Device {
    host: Host,
    _client: Client,
    address: String,
    /// What option 114 of its lease says.
    api: String,
}

impl Device {
    fn new(setting: &Setting) -> Self {
        let host = setting.campus.laptop(&Site::HALLS, "phone", MAC).unwrap();
        let authority = include_str!("../../dhcpd/tests/certificates/ca.pem");
        host.write("/etc/authority.pem", authority).unwrap();
        // Once by a client that asks for option 114, as phones do, and says what it gets.
        host.write("/etc/say", "#!/bin/sh\nenv >>/run/said\n").unwrap();
        host.ok("chmod 755 /etc/say; udhcpc -q -f -n -i eth0 -t 8 -T 1 -O 114 -s /etc/say")
            .unwrap();
        let said = host.read("/run/said").unwrap();
        let api = said.lines().find_map(|line| line.strip_prefix("opt114=")).unwrap_or_else(|| {
            panic!("option 114 is not in the lease: {said}");
        });
        let client = Client::start(ClientProgram::Udhcpc, &host).unwrap();
        let address = client.wait_address().unwrap().to_string();
        Self { host, _client: client, address, api: text_of(api) }
    }

    /// GET; `Err` with what the client said if there was no answer.
    fn get(&self, url: &str, accept: &str) -> Result<Answer, String> {
        let line = format!(
            "curl -sS -v -i --max-time 30 --cacert /etc/authority.pem -H 'Accept: {accept}' '{url}'"
        );
        let output = self.host.run(&line).unwrap();
        if !output.success() {
            return Err(output.stderr);
        }
        let text = output.stdout.replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {text}"));
        Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    fn resolve(&self, name: &str) -> String {
        self.host.ok(&format!("dig +short +tries=2 +time=5 {name}")).unwrap().trim().to_owned()
    }

    /// What a system makes of one page of its.
    fn verdict(&self, page: &PageProbe) -> Verdict {
        judge(page, &self.get(&page.url, "*/*"))
    }
}

fn text_of(hexadecimal: &str) -> String {
    let digits = hexadecimal.as_bytes().chunks(2);
    let bytes = digits.map(|pair| {
        u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("hexadecimal digits")
    });
    String::from_utf8(bytes.collect()).unwrap()
}

/// The rule by which each system judges: docs/captive.md.
fn judge(page: &PageProbe, answer: &Result<Answer, String>) -> Verdict {
    let Ok(answer) = answer else { return Verdict::Offline };
    let portal = || match answer.header("location") {
        Some(location) if (300..400).contains(&answer.status) => {
            Verdict::Portal(location.to_owned())
        }
        _ => Verdict::Portal(page.url.clone()),
    };
    let first_word = page.system.split([' ', ',']).next().unwrap_or_default();
    match first_word {
        // The page says "Success", or there is a portal, whatever came instead.
        "Apple" if answer.status == 200 && answer.body.contains("<BODY>Success</BODY>") => {
            Verdict::Online
        }
        "Apple" => portal(),
        // 204 and nothing; any other answer up to 399 is a portal.
        "Android" | "Huawei" | "Xiaomi" | "Edge" => match answer.status {
            204 => Verdict::Online,
            200..=399 => portal(),
            _ => Verdict::Offline,
        },
        "ChromeOS" => match answer.status {
            204 => Verdict::Online,
            200..=399 | 511 => portal(),
            _ => Verdict::Offline,
        },
        // The very text; another page or a redirect is a portal.
        "Windows" | "Firefox" => match answer.status {
            200 if answer.body == page.body => Verdict::Online,
            200..=399 => portal(),
            _ => Verdict::Offline,
        },
        // What the text begins with, or nothing where nothing is expected.
        "NetworkManager" => match answer.status {
            204 => Verdict::Online,
            200 if !page.body.is_empty() && answer.body.starts_with(&page.body) => Verdict::Online,
            200..=399 => portal(),
            _ => Verdict::Offline,
        },
        other => panic!("how does {other} judge?"),
    }
}

#[test]
fn every_system_finds_the_portal_and_then_the_internet() {
    let setting = Setting::new();
    let device = Device::new(&setting);
    for page in &setting.probes.pages {
        if page.url.starts_with("https:") {
            // Refused, not answered by somebody else, and not left without an answer.
            let refused = device.get(&page.url, "*/*").unwrap_err();
            assert!(refused.contains("Connection refused"), "{page:?}: {refused}");
            continue;
        }
        let answer = device.get(&page.url, "*/*").unwrap();
        assert_eq!(
            judge(page, &Ok(answer.clone())),
            Verdict::Portal(PORTAL.to_owned()),
            "{page:?}"
        );
        assert_eq!(answer.status, 302, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    }
    for name in &setting.probes.names {
        assert_eq!(device.resolve(&name.name), "10.0.0.80", "{name:?}");
    }

    setting.register(&device.address, "");
    // At once: nothing is waited for, as Apple's assistant and Android wait for nothing.
    for page in &setting.probes.pages {
        assert_eq!(device.verdict(page), Verdict::Online, "{page:?}");
    }
    for name in &setting.probes.names {
        assert_eq!(device.resolve(&name.name), name.address.to_string(), "{name:?}");
    }

    let path = format!("/v1/registrations/{MAC}");
    assert_eq!(setting.campus.api("DELETE", &path, None).unwrap().status, 200);
    let page = &setting.probes.pages[0];
    assert_eq!(device.verdict(page), Verdict::Portal(PORTAL.to_owned()), "captive again");
}

#[test]
fn option_114_leads_to_an_api_that_says_what_the_probes_find() {
    let setting = Setting::new();
    let device = Device::new(&setting);
    assert_eq!(device.api, API);
    let ask = || {
        let answer = device.get(&device.api, "application/captive+json").unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/captive+json"));
        assert_eq!(answer.header("cache-control"), Some("private, no-store"));
        serde_json::from_str::<serde_json::Value>(&answer.body).unwrap()
    };
    let captive = serde_json::json!({ "captive": true, "user-portal-url": PORTAL });
    assert_eq!(ask(), captive);
    // Nothing else of the gateway is open: neither the server's own API nor another path.
    let refused = device.get("http://10.0.0.67:8067/healthz", "*/*").unwrap_err();
    assert!(refused.contains("Connection refused"), "{refused}");
    assert_eq!(device.get("https://captive.campus.example/metrics", "*/*").unwrap().status, 404);
    let to_portal = device.get(&device.api, "text/html").unwrap();
    assert_eq!((to_portal.status, to_portal.header("location")), (302, Some(PORTAL)));

    setting.register(&device.address, ",\"expires\":\"2100-01-01T00:00:00Z\"");
    let free = ask();
    assert_eq!(free["captive"], false, "{free}");
    assert_eq!(free["can-extend-session"], true, "{free}");
    assert_eq!(free["venue-info-url"], "https://www.campus.example/", "{free}");
    assert!(free["seconds-remaining"].as_u64().is_some_and(|seconds| seconds > 0), "{free}");
    assert_eq!(device.verdict(&setting.probes.pages[0]), Verdict::Online);
}

#[test]
fn what_is_refused_is_refused_at_once() {
    let setting = Setting::new();
    let device = Device::new(&setting);
    // DNS over TLS, and HTTPS to an address that no resolver was asked for. A packet that is dropped
    // would end in another complaint, after 30 s.
    let web = [format!("http://{OUTSIDE}:853/"), format!("https://{OUTSIDE}/")];
    for url in &web {
        let refused = device.get(url, "*/*").unwrap_err();
        assert!(refused.contains("Connection refused"), "{url}: {refused}");
    }
    // QUIC: any datagram to UDP 443 will do.
    let quic = || {
        let line = format!("dig -p 443 +tries=1 +time=30 @{OUTSIDE} www.example.edu");
        device.host.run(&line).unwrap().both()
    };
    let refused = quic();
    assert!(refused.contains("host unreachable"), "{refused}");
    setting.register(&device.address, "");
    assert_eq!(device.get(&web[0], "*/*").unwrap().status, 200);
    // Now it is the host outside that refuses: nothing listens there.
    let passed = quic();
    assert!(passed.contains("connection refused"), "{passed}");
}

/// As the built-in portal is: every lied name leads to it, so it is what answers the systems itself.
#[test]
fn every_system_finds_the_builtin_portal_and_the_internet_once_the_form_is_sent() {
    let setting = Setting::builtin();
    let device = Device::new(&setting);
    let pages = || setting.probes.pages.iter().filter(|page| page.url.starts_with("http:"));
    for page in pages() {
        let answer = device.get(&page.url, "*/*").unwrap();
        let wanted = Verdict::Portal(BUILTIN_PORTAL.to_owned());
        assert_eq!(judge(page, &Ok(answer.clone())), wanted, "{page:?}");
        assert_eq!(answer.status, 302, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    }
    for name in &setting.probes.names {
        assert_eq!(device.resolve(&name.name), "10.0.0.80", "{name:?}");
    }

    // What the pop-up window shows, and what is sent from it.
    let form = device.get(BUILTIN_PORTAL, "text/html").unwrap();
    assert_eq!(form.status, 200, "{form:?}");
    let (_, rest) = form.body.split_once("name=\"stamp\" value=\"").expect("a form");
    let stamp = rest.split('"').next().unwrap();
    let line = format!(
        "curl -sS -o /dev/null -w '%{{http_code}}' --max-time 30 -d 'do=register&agree=on&stamp={stamp}' \
         {BUILTIN_PORTAL}"
    );
    assert_eq!(device.host.ok(&line).unwrap(), "303");
    // At once, also for a system that goes on asking the address that the name was lied to be.
    for page in setting.probes.pages.iter() {
        assert_eq!(device.verdict(page), Verdict::Online, "{page:?}");
        if page.url.starts_with("http:") {
            let line = format!(
                "curl -sS -i --max-time 30 --resolve {}:80:10.0.0.80 '{}'",
                page.host(),
                page.url
            );
            let text = device.host.ok(&line).unwrap().replace("\r\n", "\n");
            let (head, body) = text.split_once("\n\n").expect("a head and a body");
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            let answer = Answer { status, head: head.to_owned(), body: body.to_owned() };
            assert_eq!(judge(page, &Ok(answer)), Verdict::Online, "by the lie: {page:?}");
        }
    }
    for name in &setting.probes.names {
        assert_eq!(device.resolve(&name.name), name.address.to_string(), "{name:?}");
    }

    // In a quarantine, port 80 leads to that role's own page.
    let body = format!("{{\"mac\":\"{MAC}\",\"role\":\"infected\"}}");
    let answer = setting.campus.api("POST", "/v1/registrations", Some(&body)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    let to_portal = device.get("http://anything.example/", "*/*").unwrap();
    assert_eq!(to_portal.header("location"), Some(BUILTIN_PORTAL), "{to_portal:?}");
    let to_role = device.get(BUILTIN_PORTAL, "*/*").unwrap();
    assert_eq!(to_role.status, 302, "{to_role:?}");
    assert_eq!(to_role.header("location"), Some("http://203.0.113.10/cleaning"), "{to_role:?}");
}
