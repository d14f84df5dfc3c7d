//! The built-in portal as a person meets it: a real browser on a device of a gated network, from any name
//! to the form, from the form to the web outside. Without scripts, with a finger or a mouse, in the light
//! and in the dark, in two directions of writing.
//!
//! `VESTIBULE_PICTURES=FOLDER` keeps the pictures of the pages there.

use serde_json::Value;
use std::path::PathBuf;
use vestibule_tests::browser::{Browser, View};
use vestibule_tests::lab::{
    Campus, Client, ClientProgram, Gate, Host, Process, Site, VESTIBULE_TOML,
};

const MAC: &str = "00:00:5e:00:53:01";
const PORTAL: &str = "http://register.campus.example/";

const PHONE: View = View { width: 390, height: 844, is_phone: true, is_dark: false };
/// A small telephone.
const SMALL: View = View { width: 360, height: 740, is_phone: true, is_dark: false };
const DESKTOP: View = View { width: 1280, height: 860, is_phone: false, is_dark: false };
/// The narrowest that WCAG 2.2 wants pages to fit without scrolling sideways (1.4.10).
const NARROW: View = View { width: 320, height: 640, is_phone: true, is_dark: false };

const TERMS: &str = "\
1. Be kind to others on this network.
2. Do not share your access with anybody.
3. Traffic is **not** looked into; [statistics](https://www.campus.example/privacy) are kept for a week.

Whoever breaks these rules may be disconnected.
";

/// A campus with the built-in portal on the gateway, and a device that has its lease.
struct Setting {
    campus: Campus,
    laptop: Host,
    _client: Client,
    _processes: Vec<Process>,
}

impl Setting {
    fn new(portal: &str) -> Self {
        let campus = Campus::new(&[Site::HALLS]).unwrap();
        campus.portal_on_gateway().unwrap();
        campus.configure(Gate::Local, "1h", "2m").unwrap();
        let toml = campus.gateway.read(VESTIBULE_TOML).unwrap();
        campus.gateway.write("/etc/vestibule/terms.md", TERMS).unwrap();
        campus.gateway.write("/etc/vestibule/bedingungen.md", "Seid freundlich.").unwrap();
        let section = format!(
            "\n[portal]\nmode = \"builtin\"\nlisten = [\"10.0.0.80:80\"]\ntitle = \"Campus network\"\n\
             contact = \"help desk, phone 12345\"\n{portal}\n"
        );
        campus.configure_with(&(toml + &section)).unwrap();
        let dhcpd = campus.start_dhcpd().unwrap();
        let mut processes =
            vec![dhcpd, campus.start_true_dns().unwrap(), campus.start_dns().unwrap()];
        processes.push(campus.start_relay(&Site::HALLS).unwrap());
        processes.push(campus.start_outside(80).unwrap());
        let laptop = campus.laptop(&Site::HALLS, "laptop", MAC).unwrap();
        let client = Client::start(ClientProgram::Udhcpc, &laptop).unwrap();
        client.wait_address().unwrap();
        Self { campus, laptop, _client: client, _processes: processes }
    }
}

/// Contrast by WCAG 2.2 (1.4.3) of every text on the page with what is behind it, as the browser draws
/// them: the texts that have less than 4.5, or 3 if they are large.
const PALE_TEXTS: &str = r"(() => {
    const parts = colour => colour.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = it => {
        for (; it; it = it.parentElement) {
            const colour = parts(getComputedStyle(it).backgroundColor);
            if (colour.length < 4 || colour[3] === 1) return colour;
        }
        throw new Error('nothing is behind it');
    };
    const pale = [];
    let texts = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const it = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim()) continue;
        const style = getComputedStyle(it);
        const [a, b] = [light(parts(style.color)), light(behind(it))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
        texts += 1;
        if (contrast < (large ? 3 : 4.5)) pale.push([walker.currentNode.data, contrast]);
    }
    return { texts, pale };
})()";

/// What of a page can be told by a program: it fits, every text can be read, every field has a name, what
/// can be pressed can be hit.
const UNSOUND: &str = r"(() => {
    const wrong = [];
    if (document.documentElement.scrollWidth > innerWidth) wrong.push('it scrolls sideways');
    if (!document.documentElement.lang) wrong.push('it has no language');
    if (!document.title) wrong.push('it has no title');
    for (const it of document.querySelectorAll('input:not([type=hidden]), button')) {
        if (it.labels?.length !== 1 && !it.textContent.trim()) wrong.push('no label: ' + it.outerHTML);
        const box = it.getBoundingClientRect();
        if (box.height < 24 || box.width < 24) wrong.push('too small: ' + it.outerHTML);
    }
    for (const it of document.querySelectorAll('[aria-describedby]'))
        for (const id of it.getAttribute('aria-describedby').split(' '))
            if (!document.getElementById(id)) wrong.push('nothing is called ' + id);
    return wrong;
})()";

#[track_caller]
fn assert_sound(browser: &mut Browser, what: &str) {
    let unsound = browser.evaluate(UNSOUND).unwrap();
    assert_eq!(unsound, Value::Array(Vec::new()), "{what}");
    let texts = browser.evaluate(PALE_TEXTS).unwrap();
    assert_eq!(texts["pale"], Value::Array(Vec::new()), "{what}");
    assert!(texts["texts"].as_u64().unwrap() > 5, "{what}: {texts}");
    assert_eq!(browser.complaints(), Vec::<String>::new(), "{what}");
    assert_eq!(browser.cookies().unwrap(), Value::Array(Vec::new()), "{what}");
}

/// Looks at the page in every way, and keeps a picture of each if somebody wants them.
fn look_in_every_way(browser: &mut Browser, name: &str) {
    for (view, way) in
        [(NARROW, "narrow"), (SMALL, "small"), (PHONE, "phone"), (DESKTOP, "desktop")]
    {
        for is_dark in [true, false] {
            browser.look_as(View { is_dark, ..view }).unwrap();
            assert_sound(browser, &format!("{name}, {way}, dark: {is_dark}"));
            let shade = if is_dark { "dark" } else { "light" };
            keep_picture(browser, &format!("{name}-{way}-{shade}"));
        }
    }
}

fn keep_picture(browser: &mut Browser, name: &str) {
    let Some(folder) = std::env::var_os("VESTIBULE_PICTURES") else { return };
    let picture = browser.picture().unwrap();
    std::fs::write(PathBuf::from(folder).join(format!("{name}.png.base64")), picture).unwrap();
}

#[test]
fn a_person_goes_from_any_name_to_the_form_and_online() {
    let setting = Setting::new(
        "identify = \"name\"\nterms-file = \"/etc/vestibule/terms.md\"\nlifetime = \"180d\"",
    );
    let mut browser = Browser::start(&setting.laptop, false).unwrap();
    browser.look_as(PHONE).unwrap();

    browser.open("http://anything.example/some/page?a=1").unwrap();
    assert_eq!(browser.url().unwrap(), PORTAL);
    assert_eq!(browser.text("h1").unwrap(), "Register this device");
    assert!(browser.text(".terms").unwrap().contains("Be kind to others"));
    look_in_every_way(&mut browser, "form");

    // Sent as it is: what is missing is told where it is missing.
    browser.follow("button").unwrap();
    assert_eq!(browser.text("#name-error").unwrap(), "⚠ Enter your name.");
    assert!(browser.text("[role=alert]").unwrap().contains("Tick the box"));
    // The browser's own word for the answer 422 is no complaint of the page's.
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|said| said.contains("422")), "{complaints:?}");
    browser.click("[role=alert] a[href=\"#name\"]").unwrap();
    browser.click("#name").unwrap();
    browser.type_in("Mia <b>Meier</b>").unwrap();
    browser.click("label[for=agree]").unwrap();
    browser.follow("button").unwrap();
    assert_eq!(browser.text("h1").unwrap(), "✓This device is online");
    assert!(browser.text("dl").unwrap().contains("Mia <b>Meier</b>"));
    look_in_every_way(&mut browser, "online");

    // The very next question is answered truly, and the way is open.
    let answer = setting.laptop.ok("dig +short +tries=1 www.example.edu").unwrap();
    assert_eq!(answer, "203.0.113.10\n");
    browser.open("http://www.example.edu/").unwrap();
    assert!(browser.text("body").unwrap().contains("it is really me"));
    let path = format!("/v1/registrations/{MAC}");
    let registration = setting.campus.api("GET", &path, None).unwrap();
    assert_eq!(registration.body["owner"], "Mia <b>Meier</b>");

    // A way back is no way in.
    assert_eq!(setting.campus.api("DELETE", &path, None).unwrap().status, 200);
    browser.open(PORTAL).unwrap();
    assert_eq!(browser.text("h1").unwrap(), "Register this device");
}

#[test]
fn pages_are_read_in_every_language_and_direction() {
    let setting = Setting::new("identify = \"terms\"\nterms-file = \"/etc/vestibule/terms.md\"");
    let mut browser = Browser::start(&setting.laptop, true).unwrap();
    browser.look_as(PHONE).unwrap();
    browser.read_in("ar-EG,ar;q=0.9,en;q=0.5").unwrap();
    browser.open("http://anything.example/").unwrap();
    assert_eq!(browser.evaluate("document.documentElement.dir").unwrap(), "rtl");
    assert_eq!(browser.text("h1").unwrap(), "تسجيل هذا الجهاز");
    let starts_right = "getComputedStyle(document.querySelector('h1')).direction";
    assert_eq!(browser.evaluate(starts_right).unwrap(), "rtl");
    look_in_every_way(&mut browser, "arabic");
    for (tag, heading) in [
        ("de", "Gerät anmelden"),
        ("fr", "Enregistrer cet appareil"),
        ("es", "Registrar este dispositivo"),
        ("zh", "注册本设备"),
        ("en", "Register this device"),
    ] {
        browser.follow(&format!("nav a[lang={tag}]")).unwrap();
        assert_eq!(browser.text("h1").unwrap(), heading);
        assert_eq!(browser.evaluate("document.documentElement.lang").unwrap(), tag);
        look_in_every_way(&mut browser, tag);
    }
}

#[test]
fn a_person_with_a_voucher_types_it_wrong_and_then_right() {
    let setting = Setting::new(
        "identify = \"voucher\"\nterms-file = \"/etc/vestibule/terms.md\"\n\
         terms-files = { de = \"/etc/vestibule/bedingungen.md\" }",
    );
    let made =
        setting.campus.api("POST", "/v1/vouchers", Some("{\"lifetime-seconds\":3600}")).unwrap();
    let code = made.body["vouchers"][0]["code"].as_str().expect("a code").to_owned();
    let mut browser = Browser::start(&setting.laptop, false).unwrap();
    browser.look_as(SMALL).unwrap();
    browser.open("http://anything.example/").unwrap();
    assert_eq!(browser.url().unwrap(), PORTAL);
    look_in_every_way(&mut browser, "voucher");

    let send = |browser: &mut Browser, typed: &str| {
        browser.evaluate("document.querySelector('#voucher').value = ''").unwrap();
        browser.click("#voucher").unwrap();
        browser.type_in(typed).unwrap();
        if browser.evaluate("document.querySelector('#agree').checked").unwrap() != true {
            browser.click("label[for=agree]").unwrap();
        }
        browser.follow("button").unwrap();
    };
    for (typed, said) in [
        ("K7QM-2X9D", "⚠ This is not a whole code"),
        ("0000 0000 0000 0000", "⚠ This code is not valid"),
    ] {
        send(&mut browser, typed);
        let error = browser.text("#voucher-error").unwrap();
        assert!(error.starts_with(said), "{error}");
        let complaints = browser.complaints();
        assert!(complaints.iter().all(|said| said.contains("422")), "{complaints:?}");
    }
    // Without the complaints: the browser's own word for the answer 422 stands there.
    for is_dark in [true, false] {
        browser.look_as(View { is_dark, ..SMALL }).unwrap();
        assert_eq!(browser.evaluate(UNSOUND).unwrap(), Value::Array(Vec::new()));
        assert_eq!(browser.evaluate(PALE_TEXTS).unwrap()["pale"], Value::Array(Vec::new()));
        let shade = if is_dark { "dark" } else { "light" };
        keep_picture(&mut browser, &format!("voucher-wrong-small-{shade}"));
    }
    // As the pop-up window of a phone has it, in another language.
    browser.follow("nav a[lang=de]").unwrap();
    assert_eq!(browser.text("label[for=voucher]").unwrap(), "Gutscheincode");
    assert!(browser.text(".terms").unwrap().contains("Seid freundlich"));
    send(&mut browser, &code.to_lowercase().replace('-', " "));
    assert!(browser.text("h1").unwrap().contains("online"));
    look_in_every_way(&mut browser, "voucher-online");
    browser.open("http://www.example.edu/").unwrap();
    assert!(browser.text("body").unwrap().contains("it is really me"));
}
