//! `vestibule registrations`, `suspend` and `resume` against a real API: files out and in, bad lines, and
//! what strangers chose.

mod api_support;

use api_support::{Api, Setup, configuration, lease, mac};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use vestibule_core::{Record, RegistrationRules, Role};
use vestibule_dhcpd::cli::{OK, REFUSED, USAGE, run};

fn start() -> Api {
    let roles = vec![Role { name: "staff".into(), ..Role::default() }];
    let mut configuration = configuration();
    configuration.registration = RegistrationRules { roles, ..RegistrationRules::default() };
    Api::start(Setup {
        configuration,
        records: vec![Record::Lease(lease([10, 20, 0, 17], &mac(1)))],
        ..Setup::default()
    })
}

/// Exit status, output, complaints.
fn on(api: &Api, arguments: &[&str]) -> (u8, String, String) {
    let url = api.url();
    let token_file = api.token_file.display().to_string();
    let access = ["--api", &url, "--token-file", &token_file];
    let arguments = ["vestibule"].iter().chain(arguments).chain(&access).map(OsString::from);
    let (mut out, mut complaints) = (Vec::new(), Vec::new());
    let status = run(arguments, &mut out, &mut complaints);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status, text(out), text(complaints))
}

#[track_caller]
fn ok(ran: (u8, String, String)) -> String {
    assert_eq!((ran.0, ran.2.as_str()), (OK, ""), "{}", ran.1);
    ran.1
}

fn file(api: &Api, name: &str, contents: &str) -> PathBuf {
    let path = api.directory.path().join(name);
    std::fs::write(&path, contents).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn all(api: &Api) -> Value {
    api.get("/v1/registrations?limit=1000").json()["registrations"].clone()
}

#[test]
fn what_is_exported_is_imported_elsewhere_as_it_was() {
    let api = start();
    // What a spreadsheet, a terminal and a page could trip over.
    let owner = "O'Neil, \"Ada\" <script>\u{202e}";
    let register = [
        "register",
        "10.20.0.17",
        "--owner",
        owner,
        "--role",
        "staff",
        "--sponsor",
        "s",
        "--note",
        "=1+1",
    ];
    ok(on(&api, &register));
    ok(on(&api, &["register", &mac(2)]));
    let said = ok(on(&api, &["suspend", &mac(1), "--reason", "spam,\u{202e} more"]));
    assert!(said.contains("suspended since 2026-11-20T13:00:00"), "{said}");
    assert!(said.contains("the gate is closed for 10.20.0.17"), "{said}");
    assert!(!said.contains('\u{202e}'), "{said}");
    for name in ["all.csv", "all.json"] {
        let exported = api.directory.path().join(name);
        let said = ok(on(&api, &["registrations", "export", text(&exported)]));
        assert!(said.starts_with("2 registrations are in"), "{said}");
        let other = start();
        // Each call takes a millisecond there: the other server is not behind this one.
        for _ in 0..10 {
            other.get("/v1/status");
        }
        let said = ok(on(&other, &["registrations", "import", text(&exported)]));
        assert_eq!(said, "imported: 2 new, 0 changed, 0 as they were, 0 ended already\n");
        assert_eq!(all(&other), all(&api), "{name}");
        let again = ok(on(&other, &["registrations", "import", text(&exported), "--json"]));
        let again: Value = serde_json::from_str(&again).unwrap();
        assert_eq!(
            again,
            json!({"created":0,"changed":0,"unchanged":2,"ended":0,"bad":0,"dry-run":false})
        );
    }
    let json = ok(on(&api, &["registrations", "export"]));
    assert_eq!(json.lines().count(), 2);
    assert!(!json.contains(['<', '\u{202e}']), "{json}");
    let (status, _, complaints) = on(&api, &["registrations", "export", "--format", "csv"]);
    assert_eq!(status, USAGE, "{complaints}");
    let listed = ok(on(&api, &["registrations", "list"]));
    assert!(listed.contains("suspended") && listed.contains("\\u{202e}"), "{listed}");
    let said = ok(on(&api, &["resume", &mac(1)]));
    assert!(said.contains("the gate is open for 10.20.0.17"), "{said}");
    let listed = ok(on(&api, &["registrations", "list", "--owner", owner, "--json"]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["registrations"].as_array().unwrap().len(), 1);
}

#[test]
fn every_bad_line_is_named_and_nothing_is_imported() {
    let api = start();
    let csv = format!(
        "\u{feff}Owner,MAC,role\n\
         ada,{},staff\n\
         bob,not-a-mac,\n\
         \"two\nlines\",{},\n\
         cy,{},king\n\
         dee,0200.0000.0001,\n\
         eve,{}\n\
         fay,{},\n",
        mac(1),
        mac(2),
        mac(3),
        mac(4),
        mac(5)
    );
    let path = file(&api, "bad.csv", &csv);
    let (status, out, complaints) = on(&api, &["registrations", "import", text(&path)]);
    assert_eq!((status, out.as_str()), (REFUSED, ""));
    for (line, says) in [
        (3, "hardware address"),
        (4, "control character"),
        (6, "the configuration has staff"),
        (7, "stands on line 2 too"),
        (8, "2 fields"),
    ] {
        let found = complaints.lines().find(|said| said.starts_with(&format!("line {line}: ")));
        assert!(found.is_some_and(|said| said.contains(says)), "{line} {says}: {complaints}");
    }
    assert!(complaints.contains("5 bad lines"), "{complaints}");
    assert_eq!(all(&api), json!([]));
    let (status, out, complaints) =
        on(&api, &["registrations", "import", text(&path), "--keep-going", "--dry-run"]);
    assert_eq!(status, REFUSED);
    assert!(out.starts_with("would be imported: 2 new"), "{out}{complaints}");
    assert_eq!(all(&api), json!([]));
    let (status, out, complaints) =
        on(&api, &["registrations", "import", text(&path), "--keep-going"]);
    assert_eq!(status, REFUSED);
    assert!(out.starts_with("imported: 2 new"), "{out}{complaints}");
    assert!(complaints.contains("5 bad lines were left out"), "{complaints}");
    assert_eq!(all(&api).as_array().unwrap().len(), 2);
}

#[test]
fn files_that_cannot_be_read_are_refused_with_what_to_do() {
    let api = start();
    for (name, contents, says) in [
        ("a.txt", "mac\n", "--format"),
        ("b.csv", "owner\nada\n", "no column mac"),
        ("c.csv", "mac,colour\n", "colour"),
        ("d.csv", "mac,mac\n", "twice"),
    ] {
        let path = file(&api, name, contents);
        let (status, _, complaints) = on(&api, &["registrations", "import", text(&path)]);
        assert_eq!(status, USAGE, "{name}: {complaints}");
        assert!(complaints.contains(says), "{name}: {complaints}");
    }
    let (status, _, complaints) =
        on(&api, &["registrations", "import", "/dev/null", "--format", "csv"]);
    assert_eq!(status, USAGE, "{complaints}");
    let long = format!("{{\"mac\":\"{}\"}}\n{}\nnonsense\n", mac(1), "x".repeat(100_000));
    let path = file(&api, "e.json", &long);
    let (status, _, complaints) = on(&api, &["registrations", "import", text(&path)]);
    assert_eq!(status, REFUSED);
    assert!(complaints.contains("line 2: it is too long"), "{complaints}");
    assert!(complaints.contains("line 3: "), "{complaints}");
}

#[test]
fn more_than_fit_into_one_request_are_imported_in_order() {
    let api = start();
    let lines: String = (0..2000_u16)
        .map(|number| {
            let note = "n".repeat(usize::from(number) % 900);
            format!("{}\n", json!({ "mac": mac(number), "owner": "ada", "note": note }))
        })
        .collect();
    let path = file(&api, "many.json", &lines.replace("\"note\":\"\",", ""));
    let said = on(&api, &["registrations", "import", text(&path)]);
    // The empty notes were written as none.
    assert_eq!(said.0, OK, "{}", said.2);
    assert_eq!(said.1, "imported: 2000 new, 0 changed, 0 as they were, 0 ended already\n");
    assert_eq!(api.get("/v1/status").json()["registrations"], 2000);
}
