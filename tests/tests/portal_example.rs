//! `docs/examples/portal.py`, the portal of one's own that `docs/portal.md` explains: it is as short as it
//! says, and lets a device in, end to end, before the real server.

use std::path::{Path, PathBuf};
use vestibule_tests::lab::{Campus, Client, ClientProgram, Gate, Site, TOKEN_FILE};

const MAC: &str = "02:00:5e:00:53:01";
const URL: &str = "http://register.campus.example/";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/portal.py")
}

#[test]
fn it_is_a_hundred_lines_of_the_standard_library() {
    let text = std::fs::read_to_string(example()).unwrap();
    assert!(text.lines().count() <= 100, "{} lines", text.lines().count());
    let imports =
        text.lines().filter(|line| line.starts_with("import ") || line.starts_with("from "));
    let known = [
        "argparse",
        "html",
        "http.server",
        "json",
        "secrets",
        "urllib.error",
        "urllib.parse",
        "urllib.request",
    ];
    for import in imports {
        for module in import.trim_start_matches("import ").split(", ") {
            assert!(known.contains(&module), "{module}");
        }
    }
}

#[test]
fn it_lets_a_device_in_and_tells_what_is_wrong() {
    let campus = Campus::new(&[Site::HALLS]).unwrap();
    campus.configure(Gate::Local, "1h", "2m").unwrap();
    let _dhcpd = campus.start_dhcpd().unwrap();
    let _true_dns = campus.start_true_dns().unwrap();
    let _dns = campus.start_dns().unwrap();
    let _relay = campus.start_relay(&Site::HALLS).unwrap();
    let line = format!(
        "python3 {} --listen 10.0.0.80:80 --url {URL} --api http://10.0.0.67:8067 --token-file {TOKEN_FILE}",
        example().display()
    );
    let mut portal = campus.servers.start("portal", &line).unwrap();
    portal.wait_line("ready").unwrap();
    let laptop = campus.laptop(&Site::HALLS, "laptop", MAC).unwrap();
    let client = Client::start(ClientProgram::Udhcpc, &laptop).unwrap();
    client.wait_address().unwrap();

    let page = laptop.ok("curl -sS -L http://anything.example/").unwrap();
    assert!(page.contains("<h1>Register this device</h1>"), "{page}");
    let post = |form: &str| {
        laptop.ok(&format!("curl -sS -w '%{{http_code}} ' -d '{form}' {URL}")).unwrap()
    };
    // Without the stamp of a page that was shown to this device, nothing happens.
    post("owner=eve&stamp=0");
    let path = format!("/v1/registrations/{MAC}");
    assert_eq!(campus.api("GET", &path, None).unwrap().status, 404);
    let page = laptop.ok(&format!("curl -sS {URL}")).unwrap();
    let (_, stamp) = page.split_once("name=stamp value=").unwrap();
    let stamp = stamp.split('>').next().unwrap();
    let answer = post(&format!("owner=%3Cb%3Emia&stamp={stamp}"));
    assert!(answer.ends_with("303 "), "{answer}");
    let page = laptop.ok(&format!("curl -sS {URL}")).unwrap();
    assert!(
        page.contains("<h1>This device is online</h1>") && page.contains("&lt;b&gt;mia"),
        "{page}"
    );
    assert_eq!(laptop.ok("dig +short www.example.edu").unwrap(), "203.0.113.10\n");

    let stranger = campus
        .gateway
        .ok("curl -sS -w '%{http_code}' http://10.0.0.80/ -H 'Host: register.campus.example'");
    let stranger = stranger.unwrap();
    assert!(stranger.contains("not known here") && stranger.ends_with("409"), "{stranger}");
    let claimed = laptop.ok(&format!("curl -sS -H 'X-Forwarded-For: 10.0.0.1' {URL}")).unwrap();
    assert!(claimed.contains("This device is online"), "nobody else's word counts: {claimed}");
    let long = laptop.ok(&format!(
        "head -c 5000 /dev/zero | curl -sS -w '%{{http_code}}' --data-binary @- {URL}"
    ));
    assert!(long.unwrap().ends_with("400"));
}
