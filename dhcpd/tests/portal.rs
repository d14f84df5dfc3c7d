//! The built-in portal before a real core: what each visitor is shown, what a form may do, and what
//! strangers cannot.

mod api_support;

use api_support::{Api, NOW, PATIENCE, Response, Setup, configuration, lease, mac, until};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use vestibule_core::{RandomisedAddresses, Record, Registration, Role, Suspension};
use vestibule_dhcpd::api::{BODY_BYTES_MAX, Timeouts, is_active};
use vestibule_dhcpd::portal::Portal;

const HOST: &str = "register.campus.example";
const URL: &str = "http://register.campus.example/";

/// A hardware address that a maker gave.
const OWN: &str = "00:00:5e:00:53:01";

/// The portal of a configuration with these lines in `[portal]`.
fn portal(lines: &str) -> Portal {
    portal_with(lines, RandomisedAddresses::Allow)
}

/// The same, where random hardware addresses are treated so.
fn portal_with(lines: &str, randomised_addresses: RandomisedAddresses) -> Portal {
    let text = format!(
        "[server]\nname = \"a\"\nrelay-listen = [\"10.0.0.67\"]\n\
         [[network]]\nname = \"here\"\ngated = true\n[[network.subnet]]\nprefix = \"127.0.0.0/24\"\n\
         [gate]\nmode = \"local\"\nlying-resolver = \"10.0.0.54\"\nredirect = \"10.0.0.54:8080\"\n\
         portal = {{ address = \"10.0.0.80\", url = \"{URL}\" }}\n\
         [portal]\nmode = \"builtin\"\nlisten = [\"10.0.0.80:80\"]\n{lines}\n"
    );
    match vestibule_config::parse(&text, "vestibule.toml") {
        Ok(mut vestibule) => {
            for network in &mut vestibule.core.networks {
                network.randomised_addresses = randomised_addresses;
            }
            Portal::new(&vestibule, Arc::new(|| NOW)).unwrap().unwrap()
        }
        Err(mistakes) => panic!("{mistakes}"),
    }
}

/// The test's own device, and others.
fn records() -> Vec<Record> {
    vec![Record::Lease(lease([127, 0, 0, 1], &mac(1)))]
}

fn with(lines: &str) -> Api {
    with_setup(lines, Setup { records: records(), ..Setup::default() })
}

fn with_setup(lines: &str, setup: Setup) -> Api {
    Api::start(Setup { portal: Some(portal(lines)), ..setup })
}

fn by_name() -> Api {
    with("identify = \"name\"")
}

/// A request to the portal, from this host to that address of it.
fn request_from(
    api: &Api,
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Response {
    let _ = api;
    let length = body.len();
    let bytes =
        format!("{method} {path} HTTP/1.1\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
    exchange(address, bytes.as_bytes())
}

fn exchange(address: SocketAddr, bytes: &[u8]) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may answer and close before it has read all.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Response::parse(&answer)
}

fn request(api: &Api, method: &str, path: &str, headers: &str, body: &str) -> Response {
    let headers = format!("host: {HOST}\r\n{headers}");
    request_from(api, api.portal_addresses[0], method, path, &headers, body)
}

fn get(api: &Api, path: &str) -> Response {
    request(api, "GET", path, "", "")
}

fn post(api: &Api, body: &str) -> Response {
    request(api, "POST", "/?lang=en", "", body)
}

/// The value of a hidden field on a page.
fn hidden(page: &Response, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.body.split_once(&mark).unwrap_or_else(|| panic!("no {name}: {page:?}"));
    rest.split('"').next().unwrap().to_owned()
}

fn stamp(api: &Api) -> String {
    hidden(&get(api, "/?lang=en"), "stamp")
}

#[track_caller]
fn assert_page(response: &Response, status: u16, heading: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert!(response.has_header("content-type: text/html; charset=utf-8"), "{response:?}");
    assert!(response.body.contains(&format!("{heading}</h1>")), "no {heading:?}: {response:?}");
    assert_sound(&response.body);
}

/// What every page has to be, by the tags in it: every tag is closed, every field has its label, every
/// reference leads to something, and nothing is loaded or run.
#[track_caller]
fn assert_sound(page: &str) {
    let void = ["meta", "input", "br", "hr"];
    let mut open = Vec::new();
    let (mut ids, mut references, mut fields) = (Vec::new(), Vec::new(), Vec::new());
    let body = page.strip_prefix("<!DOCTYPE html>").unwrap_or_else(|| panic!("no type: {page}"));
    let (before_style, rest) = body.split_once("<style>").unwrap();
    let (_, after_style) = rest.split_once("</style>").unwrap();
    for piece in format!("{before_style}{after_style}").split('<').skip(1) {
        let tag = piece.split('>').next().unwrap();
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{page}");
            continue;
        }
        let name = tag.split(' ').next().unwrap().to_owned();
        let known = [
            "html", "head", "meta", "title", "body", "header", "bdi", "main", "h1", "h2", "h3",
            "span", "p", "dl", "dt", "dd", "form", "input", "label", "div", "button", "details",
            "summary", "footer", "nav", "ul", "li", "a", "time", "fieldset", "legend", "em",
            "strong",
        ];
        assert!(known.contains(&name.as_str()), "<{name}> in {page}");
        let value = |key: &str| {
            let (_, rest) = tag.split_once(&format!(" {key}=\""))?;
            rest.split('"').next()
        };
        for forbidden in ["src", "onclick", "onload", "onerror", "onmouseover", "style"] {
            assert!(value(forbidden).is_none(), "{forbidden} in {page}");
        }
        ids.extend(value("id").map(str::to_owned));
        references.extend(value("for").map(str::to_owned));
        for key in ["aria-describedby", "aria-labelledby"] {
            references.extend(value(key).unwrap_or_default().split_whitespace().map(str::to_owned));
        }
        references.extend(value("href").and_then(|to| to.strip_prefix('#')).map(str::to_owned));
        if name == "input" && value("type") != Some("hidden") {
            fields.push(value("id").expect("a field has an id").to_owned());
        }
        if !void.contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} in {page}");
    for reference in &references {
        assert!(ids.contains(reference), "nothing is called {reference}: {page}");
    }
    for field in fields {
        assert!(page.contains(&format!("for=\"{field}\"")), "{field} has no label: {page}");
    }
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), ids.len(), "two things have one id: {page}");
    assert_eq!(page.matches("<h1>").count(), 1, "{page}");
}

#[test]
fn a_device_is_let_in_by_a_form_and_told_the_truth() {
    let api = by_name();
    let page = get(&api, "/");
    assert_page(&page, 200, "Register this device");
    let form = format!("do=register&stamp={}&name=+Mia+", hidden(&page, "stamp"));
    let answer = post(&api, &form);
    assert_eq!(answer.status, 303, "{answer:?}");
    assert!(answer.has_header("location: /?lang=en"), "{answer:?}");
    let page = get(&api, "/");
    assert_page(&page, 200, "This device is online");
    assert!(
        page.body.contains("<bdi>Mia</bdi>") && page.body.contains("without an end"),
        "{page:?}"
    );
    let registration = api.get(&format!("/v1/registrations/{}", mac(1))).json();
    assert_eq!(registration["owner"], "Mia");
    // Sent again, as browsers do: nothing is changed, and the page is the same.
    assert_eq!(post(&api, &form.replace("Mia", "Eve")).status, 303);
    assert_eq!(api.get(&format!("/v1/registrations/{}", mac(1))).json()["owner"], "Mia");
    assert_eq!(api.request("DELETE", &format!("/v1/registrations/{}", mac(1)), "").status, 200);
    assert_page(&get(&api, "/"), 200, "Register this device");
}

#[test]
fn a_page_of_success_is_shown_only_when_the_kernel_has_the_permit() {
    let setup = Setup { records: records(), hold_commits: true, ..Setup::default() };
    let api = with_setup("identify = \"name\"", setup);
    let form = format!("do=register&stamp={}&name=mia", stamp(&api));
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| post(&api, &form));
        until("the core has decided", || api.core.lock().unwrap().answers_held() == 1);
        let looking = scope.spawn(|| get(&api, "/"));
        until("the page waits", || api.core.lock().unwrap().barriers_held() == 1);
        assert!(!sent.is_finished() && !looking.is_finished());
        api.core.lock().unwrap().commit();
        assert_eq!(sent.join().unwrap().status, 303);
        assert_page(&looking.join().unwrap(), 200, "This device is online");
    });
}

#[test]
fn a_form_from_elsewhere_changes_nothing() {
    let api = by_name();
    let good = stamp(&api);
    let other = {
        // Another process, or the server before its restart: another key.
        let api = by_name();
        stamp(&api)
    };
    for stamp in ["", "0-", "0-00112233445566778899aabbccddeeff", &other, &good.replace('-', "1-")]
    {
        let answer = post(&api, &format!("do=register&stamp={stamp}&name=mia"));
        assert_page(&answer, 403, "Register this device");
        assert!(answer.body.contains("open for too long"), "{answer:?}");
        // What was typed is not lost, and the new page can be sent.
        assert!(answer.body.contains("value=\"mia\""), "{answer:?}");
        assert_ne!(hidden(&answer, "stamp"), stamp);
    }
    assert!(api.core.lock().unwrap().records().is_empty());
    // A page of a stranger's name could be read by the stranger's scripts: it is never shown.
    for host in
        ["evil.example", "10.0.0.1", "register.campus.example.evil.example", "", "[::1", "x@y"]
    {
        let headers = format!("host: {host}\r\norigin: http://{host}\r\n");
        let body = format!("do=register&stamp={good}&name=mia");
        let address = api.portal_addresses[0];
        for (method, body) in [("GET", ""), ("HEAD", ""), ("POST", body.as_str())] {
            let answer = request_from(&api, address, method, "/any?x", &headers, body);
            assert_eq!(answer.status, 302, "{host} {answer:?}");
            assert!(answer.has_header(&format!("location: {URL}")), "{answer:?}");
            assert!(answer.has_header("cache-control: no-store"), "{answer:?}");
            assert!(!answer.body.contains("stamp"), "{answer:?}");
        }
    }
    assert!(api.core.lock().unwrap().records().is_empty());
    assert_eq!(post(&api, &format!("do=register&stamp={good}&name=mia")).status, 303);
}

#[test]
fn the_page_is_shown_under_its_name_and_its_addresses() {
    let api = by_name();
    let address = api.portal_addresses[0];
    for headers in [
        "host: REGISTER.campus.example\r\n",
        "host: register.campus.example:80\r\n",
        "host: register.campus.example.\r\n",
        "host: 10.0.0.80\r\n",
        "host: 10.0.0.80:80\r\n",
    ] {
        assert_page(
            &request_from(&api, address, "GET", "/", headers, ""),
            200,
            "Register this device",
        );
    }
    // As before HTTP/1.1, without a name.
    let answer = exchange(address, b"GET / HTTP/1.0\r\n\r\n");
    assert_page(&answer, 200, "Register this device");
    // As to a proxy.
    let answer = exchange(
        address,
        b"GET http://other.example/ HTTP/1.1\r\nhost: register.campus.example\r\n\r\n",
    );
    assert_eq!(answer.status, 302);
    let head = request(&api, "HEAD", "/", "", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(get(&api, "/favicon.ico").status, 404);
    let elsewhere = get(&api, "/hotspot-detect.html");
    assert!(elsewhere.status == 302 && elsewhere.has_header("location: /"), "{elsewhere:?}");
    let answer = request(&api, "PUT", "/", "", "");
    assert!(answer.status == 405 && answer.has_header("allow: get, head, post"), "{answer:?}");
}

#[test]
fn every_answer_keeps_to_itself() {
    let api = by_name();
    for answer in
        [get(&api, "/"), get(&api, "/x"), post(&api, ""), request(&api, "PUT", "/", "", "")]
    {
        for line in [
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "referrer-policy: no-referrer",
        ] {
            assert!(answer.has_header(line), "{line}: {answer:?}");
        }
        let policy = answer.head.lines().find(|line| line.starts_with("content-security-policy: "));
        let policy = policy.unwrap_or_else(|| panic!("no policy: {answer:?}"));
        for rule in [
            "default-src 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
        assert!(!answer.head.contains("set-cookie"), "{answer:?}");
    }
}

#[test]
fn every_language_has_every_page_and_can_be_chosen() {
    let api = by_name();
    for (tag, direction, heading) in [
        ("en", "ltr", "Register this device"),
        ("de", "ltr", "Gerät anmelden"),
        ("fr", "ltr", "Enregistrer cet appareil"),
        ("es", "ltr", "Registrar este dispositivo"),
        ("zh", "ltr", "注册本设备"),
        ("ar", "rtl", "تسجيل هذا الجهاز"),
    ] {
        let chosen = get(&api, &format!("/?lang={tag}"));
        assert_page(&chosen, 200, heading);
        let html = format!("<html lang=\"{tag}\" dir=\"{direction}\">");
        assert!(chosen.body.contains(&html), "{chosen:?}");
        assert!(chosen.has_header(&format!("content-language: {tag}")), "{chosen:?}");
        let accepted =
            request(&api, "GET", "/", &format!("accept-language: {tag}-XX, en;q=0.1\r\n"), "");
        assert_page(&accepted, 200, heading);
        for other in ["en", "de", "fr", "es", "zh", "ar"] {
            assert!(chosen.body.contains(&format!("href=\"/?lang={other}\"")), "{chosen:?}");
        }
        // A mistake is told in the same language, and so is success.
        let answer = request(&api, "POST", &format!("/?lang={tag}"), "", "do=register");
        assert!(answer.body.contains(&html), "{answer:?}");
        assert_sound(&answer.body);
    }
    let few = with("identify = \"name\"\nlanguages = [\"fr\", \"de\"]");
    assert_page(&get(&few, "/?lang=en"), 200, "Enregistrer cet appareil");
    assert!(!get(&few, "/").body.contains("lang=en"));
}

#[test]
fn what_is_missing_is_told_at_its_field() {
    let folder = TempDir::new().unwrap();
    let api = with(&format!("identify = \"name\"\n{}", terms(folder.path())));
    let answer = post(&api, &format!("do=register&stamp={}", stamp(&api)));
    assert_page(&answer, 422, "Register this device");
    for piece in [
        "role=\"alert\"",
        "<a href=\"#name\">Enter your name.</a>",
        "<a href=\"#agree\">",
        "id=\"name-error\"",
        "aria-describedby=\"name-hint name-error\"",
        "aria-invalid=\"true\"",
    ] {
        assert!(answer.body.contains(piece), "{piece}: {answer:?}");
    }
    let typed = format!("do=register&stamp={}&name=%22%3E%3Cscript%3E", stamp(&api));
    let answer = post(&api, &typed);
    assert_page(&answer, 422, "Register this device");
    assert!(answer.body.contains("value=\"&quot;&gt;&lt;script&gt;\""), "{answer:?}");
    assert!(api.core.lock().unwrap().records().is_empty());
    assert_eq!(post(&api, &(typed + "&agree=on")).status, 303);
}

fn terms(folder: &Path) -> String {
    let path = folder.join("terms.md");
    std::fs::write(&path, "Be **kind**.\n\n- <script>alert(1)</script>\n").unwrap();
    format!("terms-file = \"{}\"", path.display())
}

#[test]
fn terms_are_shown_and_agreed_to() {
    let folder = TempDir::new().unwrap();
    let api = with(&format!("identify = \"terms\"\n{}", terms(folder.path())));
    let page = get(&api, "/");
    assert_page(&page, 200, "Register this device");
    assert!(page.body.contains("Be <strong>kind</strong>."), "{page:?}");
    assert!(!page.body.contains("<script"), "{page:?}");
    assert!(!page.body.contains("name=\"name\""), "nobody is asked for a name: {page:?}");
    let form = format!("do=register&stamp={}", hidden(&page, "stamp"));
    assert_eq!(post(&api, &form).status, 422);
    assert_eq!(post(&api, &(form + "&agree=on")).status, 303);
    let registration = api.get(&format!("/v1/registrations/{}", mac(1))).json();
    assert_eq!(registration["owner"], serde_json::Value::Null);
}

#[test]
fn a_registration_ends_and_can_be_extended_before() {
    let api = with("identify = \"name\"\nlifetime = \"2h\"\nextendable = true");
    assert_eq!(post(&api, &format!("do=register&stamp={}&name=mia", stamp(&api))).status, 303);
    let page = get(&api, "/");
    assert_page(&page, 200, "This device is online");
    assert!(page.body.contains("2026-11-20 15:00 UTC"), "{page:?}");
    assert!(page.body.contains("1\u{a0}h 59\u{a0}min"), "{page:?}");
    assert!(!page.body.contains("value=\"extend\""), "not yet: {page:?}");
    // Less than half is left.
    let body = r#"{"ip":"127.0.0.1","owner":"mia","expires":"2026-11-20T13:30:00Z"}"#;
    assert_eq!(api.post(body).status, 200);
    let page = get(&api, "/");
    let form = format!("do=extend&stamp={}", hidden(&page, "stamp"));
    assert_eq!(post(&api, &form).status, 303);
    let registration = api.get(&format!("/v1/registrations/{}", mac(1))).json();
    assert_eq!(registration["expires"], "2026-11-20T15:00:00.000Z");
    assert_eq!(registration["owner"], "mia");
    // Once more does nothing: more than half is left.
    assert_eq!(post(&api, &form).status, 303);

    let fixed = with("identify = \"name\"\nlifetime = \"2h\"");
    let expires = r#"{"ip":"127.0.0.1","expires":"2026-11-20T13:30:00Z"}"#;
    assert_eq!(fixed.post(expires).status, 201);
    assert!(!get(&fixed, "/").body.contains("value=\"extend\""));
}

#[test]
fn who_has_no_lease_or_needs_no_registration_is_told_so() {
    let unknown = with_setup("identify = \"name\"", Setup::default());
    let page = get(&unknown, "/");
    assert_page(&page, 404, "This device is not known here");
    assert!(page.body.contains("127.0.0.1") && !page.body.contains("<form"), "{page:?}");
    let answer = post(&unknown, "do=register&name=mia&stamp=x");
    assert_page(&answer, 404, "This device is not known here");
    assert!(unknown.core.lock().unwrap().records().is_empty());
    let nobody = lease([127, 0, 0, 1], "00:00:00:00:00:00");
    let setup = Setup { records: vec![Record::Lease(nobody)], ..Setup::default() };
    let page = get(&with_setup("identify = \"name\"", setup), "/");
    assert_page(&page, 404, "This device is not known here");
    assert!(page.body.contains("did not tell the network its hardware address"), "{page:?}");
}

#[test]
fn who_is_held_back_gets_a_page_of_their_own_and_no_form() {
    let mut configuration = configuration();
    configuration.registration.roles = vec![Role {
        name: "infected".into(),
        quarantine: true,
        portal_url: Some("https://help.campus.example/?a=1&b=2".into()),
        ..Role::default()
    }];
    let registration = |change: &dyn Fn(&mut Registration)| {
        let mut registration = Registration::of(mac(1).parse().unwrap(), NOW);
        change(&mut registration);
        let records = [records(), vec![Record::Registration(registration)]].concat();
        let setup = Setup { configuration: configuration.clone(), records, ..Setup::default() };
        with_setup("identify = \"name\"", setup)
    };
    let suspended = registration(&|registration| {
        let reason = Some("sent <b>spam</b>\u{202e}".into());
        registration.suspended = Some(Box::new(Suspension { since: NOW, reason }));
    });
    let quarantined = registration(&|registration| registration.role = Some("infected".into()));
    for (api, heading, piece) in [
        (&suspended, "This device is blocked", "sent &lt;b&gt;spam&lt;/b&gt;\\u{202e}"),
        (
            &quarantined,
            "This device is in quarantine",
            "href=\"https://help.campus.example/?a=1&amp;b=2\"",
        ),
    ] {
        // No form is taken that was made for another purpose.
        let page = post(api, "do=register&name=mia");
        assert_page(&page, 403, heading);
        assert!(page.body.contains(piece), "{page:?}");
        assert!(!page.body.contains("<form"), "{page:?}");
        assert!(api.core.lock().unwrap().records().is_empty());
    }
}

#[test]
fn a_quarantine_with_a_page_of_its_own_leads_there_and_never_round_in_circles() {
    let of = |portal_url: Option<&str>| {
        let mut configuration = configuration();
        configuration.registration.roles = vec![Role {
            name: "infected".into(),
            quarantine: true,
            portal_url: portal_url.map(Into::into),
            ..Role::default()
        }];
        let mut registration = Registration::of(mac(1).parse().unwrap(), NOW);
        registration.role = Some("infected".into());
        let records = [records(), vec![Record::Registration(registration)]].concat();
        let api =
            with_setup("identify = \"name\"", Setup { configuration, records, ..Setup::default() });
        get(&api, "/")
    };
    let url = "https://help.campus.example/?a=1&b=2";
    let answer = of(Some(url));
    assert!(answer.status == 302 && answer.has_header(&format!("location: {url}")), "{answer:?}");
    assert!(answer.has_header("cache-control: no-store"), "{answer:?}");
    for portal_url in [
        None,
        Some(URL),
        Some("http://10.0.0.80/quarantine"),
        Some("http://REGISTER.campus.example"),
    ] {
        assert_page(&of(portal_url), 403, "This device is in quarantine");
    }
}

#[test]
fn terms_are_shown_in_the_language_of_the_page_and_else_in_the_one_that_is_named() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (english, german) = (file("en.md", "Be *kind*."), file("de.txt", "Seid freundlich."));
    let api = with(&format!(
        "identify = \"terms\"\nterms-file = {english:?}\nterms-files = {{ de = {german:?} }}"
    ));
    for (tag, said, language) in [
        ("en", "Be <em>kind</em>.", None),
        ("de", "Seid freundlich.", Some("de")),
        // Nobody has written them in French.
        ("fr", "Be <em>kind</em>.", None),
    ] {
        let page = get(&api, &format!("/?lang={tag}"));
        assert_page(
            &page,
            200,
            if tag == "de" {
                "Gerät anmelden"
            } else if tag == "fr" {
                "Enregistrer cet appareil"
            } else {
                "Register this device"
            },
        );
        assert!(page.body.contains(said), "{tag}: {page:?}");
        let marked = page.body.contains("class=\"terms\" lang=\"de\"");
        assert_eq!(marked, language == Some("de"), "{page:?}");
    }
}

#[test]
fn a_random_hardware_address_is_explained_where_it_is_refused_or_short_lived() {
    let random = vec![Record::Lease(lease([127, 0, 0, 1], "da:a1:19:00:53:01"))];
    let of = |policy: RandomisedAddresses, records: Vec<Record>| {
        let mut configuration = configuration();
        for network in &mut configuration.networks {
            network.randomised_addresses = policy;
        }
        let setup = Setup { configuration, records, ..Setup::default() };
        let portal = portal_with("identify = \"name\"", policy);
        Api::start(Setup { portal: Some(portal), ..setup })
    };
    let refused = of(RandomisedAddresses::Refuse, random.clone());
    let page = get(&refused, "/");
    assert_page(&page, 403, "Switch off the random hardware address");
    for system in ["iPhone", "Android", "Windows"] {
        assert!(page.body.contains(system), "{system}: {page:?}");
    }
    assert!(!page.body.contains("<form"), "{page:?}");
    let brief = of(RandomisedAddresses::AllowBriefly, random.clone());
    assert!(get(&brief, "/").body.contains("only for a short time"));
    let allowed = of(RandomisedAddresses::Allow, random);
    assert!(!get(&allowed, "/").body.contains("short time"));
    let own = of(RandomisedAddresses::Refuse, vec![Record::Lease(lease([127, 0, 0, 1], OWN))]);
    assert_page(&get(&own, "/"), 200, "Register this device");
}

#[test]
fn an_owner_with_too_many_devices_chooses_one_to_be_replaced() {
    let mut configuration = configuration();
    configuration.registration.device_limit = Some(2);
    let old = |number: u16, suspended: bool| {
        let mut registration = Registration::of(mac(number).parse().unwrap(), NOW);
        registration.owner = Some("mia".into());
        registration.suspended =
            suspended.then(|| Box::new(Suspension { since: NOW, reason: None }));
        Record::Registration(registration)
    };
    let records = [records(), vec![old(0x0a02, false), old(0x0b03, false)]].concat();
    let setup = Setup { configuration: configuration.clone(), records, ..Setup::default() };
    let api = with_setup("identify = \"name\"", setup);
    let form = format!("do=register&stamp={}&name=mia", stamp(&api));
    let page = post(&api, &form);
    assert_page(&page, 409, "Too many devices");
    assert!(page.body.contains("…:0a:02") && page.body.contains("…:0b:03"), "{page:?}");
    // Whoever says to be mia is not told the whole of her devices' addresses.
    assert!(!page.body.contains(&mac(0x0a02)), "{page:?}");
    assert!(!page.body.contains("role=\"alert\""), "nothing was done wrong yet: {page:?}");
    let again = post(&api, &format!("{form}&choosing=yes"));
    assert_page(&again, 409, "Too many devices");
    assert!(again.body.contains("href=\"#replaces\""), "{again:?}");
    // A name that was made up, an address, another owner's: none of them is taken.
    for chosen in [mac(0x0a02), "00".repeat(16)] {
        assert_page(&post(&api, &format!("{form}&choosing=yes&replaces={chosen}")), 409, "devices");
    }
    let (_, after) = page.body.split_once("…:0b:03").unwrap();
    let (before, _) = page.body.split_once("…:0b:03").unwrap();
    let (_, value) = before.rsplit_once("name=\"replaces\" type=\"radio\" value=\"").unwrap();
    let name = value.split('"').next().unwrap();
    assert!(!after.contains(name));
    let stolen = form.replace("mia", "eve");
    assert_eq!(post(&api, &format!("{form}&replaces={name}")).status, 303);
    assert_page(&get(&api, "/"), 200, "This device is online");
    assert_eq!(api.get(&format!("/v1/registrations/{}", mac(0x0b03))).status, 404);
    assert_eq!(api.get(&format!("/v1/registrations/{}", mac(0x0a02))).status, 200);
    // For another owner the name is none.
    assert_eq!(post(&api, &format!("{stolen}&replaces={name}")).status, 303);
    assert_eq!(api.get(&format!("/v1/registrations/{}", mac(1))).json()["owner"], "mia");

    let records = [self::records(), vec![old(2, true), old(3, true)]].concat();
    let setup = Setup { configuration, records, ..Setup::default() };
    let held = with_setup("identify = \"name\"", setup);
    let page = post(&held, &format!("do=register&stamp={}&name=mia", stamp(&held)));
    assert_page(&page, 409, "Too many devices");
    assert!(
        page.body.contains("ask for help") && !page.body.contains("type=\"radio\""),
        "{page:?}"
    );
}

#[test]
fn what_devices_call_themselves_does_nothing() {
    let mut own = lease([127, 0, 0, 1], &mac(1));
    let name =
        "<script>alert(1)</script>\u{1b}[2J\u{202e}txt.exe\u{9b}31m\"'&<img src=x onerror=y>";
    own.host_name = Some(name.as_bytes().into());
    let api = with_setup(
        "identify = \"name\"",
        Setup { records: vec![Record::Lease(own)], ..Setup::default() },
    );
    let assert_harmless = |page: &Response| {
        assert_page(page, 200, if page.body.contains("online") { "online" } else { "device" });
        assert!(!page.body.contains("<script") && !page.body.contains("<img"), "{page:?}");
        let acting: Vec<char> = page.body.chars().filter(|c| is_active(*c) && *c != '\n').collect();
        assert!(acting.is_empty(), "{acting:?} in {page:?}");
        assert!(page.body.contains("&lt;script&gt;"), "{page:?}");
    };
    assert_harmless(&get(&api, "/"));
    // An owner comes from the API, and may be anything that its own checks let through.
    let owner = serde_json::json!({ "ip": "127.0.0.1", "owner": "<script>\u{202e}\u{200f}\"onx=" });
    assert_eq!(api.post(&owner.to_string()).status, 201);
    assert_harmless(&get(&api, "/"));
}

#[test]
fn a_busy_server_says_so_and_looks_again() {
    let mut api = with_setup(
        "identify = \"name\"",
        Setup { records: records(), decides: false, ..Setup::default() },
    );
    // The core is gone: the server is ending.
    drop(api.calls.take());
    let page = get(&api, "/");
    assert_page(&page, 503, "One moment, please");
    assert!(page.has_header("retry-after: 5"), "{page:?}");
    assert!(page.body.contains("http-equiv=\"refresh\" content=\"5;url=/?lang=en\""), "{page:?}");
    assert_page(&post(&api, "do=register"), 503, "One moment, please");
}

#[test]
fn a_body_without_end_costs_little() {
    let api = by_name();
    let long = format!("name={}", "x".repeat(BODY_BYTES_MAX));
    let answer = post(&api, &long);
    assert_page(&answer, 413, "That did not work");
    assert!(answer.has_header("connection: close"), "{answer:?}");
    let ten_megabytes = "x".repeat(10_000_000);
    let answer = exchange(
        api.portal_addresses[0],
        format!(
            "POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 10000000\r\n\r\n{ten_megabytes}"
        )
        .as_bytes(),
    );
    assert_page(&answer, 413, "That did not work");
    assert_page(&get(&api, "/"), 200, "Register this device");
}

#[test]
fn a_slow_visitor_holds_nobody_up() {
    let timeouts = Timeouts {
        head: Duration::from_millis(300),
        body: Duration::from_millis(300),
        ..Timeouts::default()
    };
    let setup = Setup { records: records(), timeouts, ..Setup::default() };
    let api = with_setup("identify = \"name\"", setup);
    let address = api.portal_addresses[0];
    // A head that never ends is closed, a body that never ends is answered.
    let mut silent = TcpStream::connect(address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\nhost: ").unwrap();
    assert!(matches!(silent.read_to_end(&mut Vec::new()), Ok(_) | Err(_)));
    let slow = format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 100\r\n\r\nname=");
    assert_page(&exchange(address, slow.as_bytes()), 413, "That did not work");
}

#[test]
fn a_registered_device_that_remembers_the_lie_is_told_the_truth() {
    let api = by_name();
    let probes = vestibule_config::Probes::known().pages;
    let plain: Vec<_> = probes.iter().filter(|probe| probe.url.starts_with("http://")).collect();
    assert!(plain.len() >= 6);
    let ask = |url: &str| {
        let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let headers = format!("host: {host}\r\n");
        request_from(&api, api.portal_addresses[0], "GET", &format!("/{path}"), &headers, "")
    };
    for probe in &plain {
        assert!(ask(&probe.url).has_header(&format!("location: {URL}")), "{probe:?}");
    }
    assert_eq!(api.post(r#"{"ip":"127.0.0.1"}"#).status, 201);
    for probe in &plain {
        let answer = ask(&probe.url);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (probe.status, probe.body.as_str()),
            "{probe:?}"
        );
        assert!(answer.has_header("cache-control: no-store"), "{answer:?}");
    }
    // No other page is made up.
    assert_eq!(ask("http://captive.apple.com/other").status, 302);
    assert_eq!(ask("http://www.example.edu/").status, 302);
}

#[test]
fn what_was_shown_is_counted() {
    let api = by_name();
    get(&api, "/");
    post(&api, "do=register");
    get(&api, "/elsewhere");
    let metrics = api.request_with("GET", "/metrics", "", "").body;
    assert!(metrics.contains("vestibule_portal_pages_total{page=\"form\"} 1\n"), "{metrics}");
    assert!(metrics.contains("vestibule_portal_pages_total{page=\"old-form\"} 1\n"), "{metrics}");
}

/// A voucher for so many devices, made over the API: its code.
fn voucher(api: &Api, body: &str) -> String {
    let made = api.request("POST", "/v1/vouchers", body);
    assert_eq!(made.status, 201, "{made:?}");
    made.json()["vouchers"][0]["code"].as_str().unwrap().to_owned()
}

#[test]
fn a_voucher_lets_a_device_in_and_its_time_is_the_vouchers() {
    let api = with("identify = \"voucher\"");
    let code = voucher(&api, r#"{"lifetime-seconds":3600,"note":"conference"}"#);
    let page = get(&api, "/?lang=en");
    assert_page(&page, 200, "Register this device");
    assert!(page.body.contains("Voucher code") && !page.body.contains("Your name"), "{page:?}");
    // However people type it.
    let typed = code.to_lowercase().replace('-', "+");
    let form = format!("do=register&stamp={}&voucher=++{typed}", hidden(&page, "stamp"));
    assert_eq!(post(&api, &form).status, 303);
    let page = get(&api, "/?lang=en");
    assert_page(&page, 200, "This device is online");
    assert!(page.body.contains("Registered until") && !page.body.contains(&code), "{page:?}");
    let registration = api.get(&format!("/v1/registrations/{}", mac(1))).json();
    assert!(registration["expires"].as_str().unwrap().starts_with("2026-11-20T14:00:00"));
    let owner = registration["owner"].as_str().unwrap().to_owned();
    let id = owner.strip_prefix("voucher ").unwrap();
    let shown = api.get(&format!("/v1/vouchers/{id}")).json();
    assert_eq!((&shown["uses"], &shown["note"]), (&1.into(), &"conference".into()));
    assert_eq!(shown["devices"][0]["mac"], mac(1));
    // Sent again, as browsers do.
    assert_eq!(post(&api, &form).status, 303);
    assert_eq!(api.get(&format!("/v1/vouchers/{id}")).json()["uses"], 1);
}

#[test]
fn what_is_wrong_with_a_voucher_is_said_at_its_field_in_every_language() {
    let api = with("identify = \"voucher\"");
    let used = voucher(&api, "{}");
    let others = format!(r#"{{"mac":"{}","voucher":"{used}"}}"#, mac(2));
    assert_eq!(api.request("POST", "/v1/registrations", &others).status, 201);
    let good = voucher(&api, "{}");
    let mistyped = if good.ends_with('2') { "3" } else { "2" };
    let mistyped = format!("{}{mistyped}", &good[..good.len() - 1]);
    for (voucher, status, said) in [
        ("", 422, "Enter the code on your voucher."),
        ("0000", 422, "This is not a whole code"),
        (&mistyped, 422, "This is not a whole code"),
        ("0000-0000-0000-0000", 422, "This code is not valid"),
        (&used, 422, "This voucher is used up"),
    ] {
        let answer = post(&api, &format!("do=register&stamp={}&voucher={voucher}", stamp(&api)));
        assert_page(&answer, status, "Register this device");
        assert!(answer.body.contains(said), "{voucher}: {answer:?}");
        assert!(answer.body.contains("id=\"voucher-error\""), "{answer:?}");
        assert!(
            answer.body.contains(&format!("value=\"{voucher}\"")),
            "what was typed: {answer:?}"
        );
    }
    for tag in ["de", "fr", "es", "zh", "ar"] {
        let body = format!("do=register&stamp={}&voucher={used}", stamp(&api));
        let answer = request(&api, "POST", &format!("/?lang={tag}"), "", &body);
        assert_eq!(answer.status, 422, "{answer:?}");
        assert_sound(&answer.body);
        assert!(!answer.body.contains("used up"), "{tag}: {answer:?}");
    }
    // Unknown codes are looked at for a while only, and then a good one is not either.
    let guess =
        |code: &str| post(&api, &format!("do=register&stamp={}&voucher={code}", stamp(&api)));
    let stopped = (0..20).map(|_| guess("0000-0000-0000-0000")).find(|page| page.status == 429);
    let stopped = stopped.expect("nobody guesses for ever");
    assert_page(&stopped, 429, "Register this device");
    assert!(stopped.body.contains("Too many wrong codes were entered. Wait "), "{stopped:?}");
    assert_eq!(guess(&good).status, 429);
    assert_eq!(api.get(&format!("/v1/registrations/{}", mac(1))).status, 404);
}

#[test]
fn what_is_typed_as_a_voucher_does_nothing_on_the_page() {
    let api = with("identify = \"voucher\"");
    let hostile = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    let answer = post(&api, &format!("do=register&stamp={}&voucher={hostile}", stamp(&api)));
    assert_page(&answer, 422, "Register this device");
    assert!(!answer.body.contains("<script"), "{answer:?}");
}
