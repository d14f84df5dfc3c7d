//! Lease tokens through the API: whoever holds one can ask and register for that lease, and for nothing
//! else.

mod api_support;

use api_support::{Api, NOW, Setup, lease, mac};
use std::net::Ipv4Addr;
use vestibule_core::{BindingState, Lease, LeaseTokens, Query, QueryAnswer, Record};
use vestibule_dhcpd::api::CaptivePortal;

const ADDRESS: [u8; 4] = [10, 20, 0, 17];

fn tokens() -> LeaseTokens {
    LeaseTokens::new(&[7; 32], 86_400, "https://register.example/captive")
}

fn start(records: Vec<Record>) -> Api {
    Api::start(Setup { records, lease_tokens: Some(tokens()), ..Setup::default() })
}

fn token(lease: &Lease) -> String {
    tokens().token(lease.address, lease.hardware, lease.started, NOW).to_string()
}

fn register(token: &str) -> String {
    format!(r#"{{"lease-token":"{token}","owner":"alice"}}"#)
}

#[test]
fn a_token_names_its_lease_to_a_portal() {
    let held = lease(ADDRESS, &mac(1));
    let token = token(&held);
    let api = start(vec![Record::Lease(held)]);
    let query = Query::LeaseToken(Ipv4Addr::from(ADDRESS));
    let given = api.runtime().block_on(api.door.query(query)).unwrap();
    let QueryAnswer::LeaseToken(Some(given)) = given else { panic!("{given:?}") };
    assert_eq!(given.to_string(), token, "the one that the device was given");
    let host = api.get(&format!("/v1/whoami?lease-token={token}")).json();
    assert_eq!((&host["ip"], &host["mac"]), (&"10.20.0.17".into(), &mac(1).into()));
    let answer = api.post(&register(&token));
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json()["addresses"][0], "10.20.0.17");
    assert_eq!(api.post(&register(&token)).status, 200, "and again");
}

#[test]
fn a_token_is_no_password_for_the_api() {
    let held = lease(ADDRESS, &mac(1));
    let token = token(&held);
    let api = start(vec![Record::Lease(held)]);
    let path = format!("/v1/whoami?lease-token={token}");
    api.request_with("GET", &path, "", "").assert_problem(401, "unauthorized");
    api.request_with("POST", "/v1/registrations", "", &register(&token))
        .assert_problem(401, "unauthorized");
}

#[test]
fn what_is_changed_forged_or_of_another_lease_is_refused() {
    let held = lease(ADDRESS, &mac(1));
    let genuine = token(&held);
    let other = Lease { hardware: mac(2).parse().unwrap(), ..held.clone() };
    let earlier = Lease { started: NOW, ..held.clone() };
    let changed: String = genuine
        .char_indices()
        .map(|(place, c)| if place == 20 { if c == 'A' { 'B' } else { 'A' } } else { c })
        .collect();
    let foreign = LeaseTokens::new(&[8; 32], 86_400, "");
    let forged = foreign.token(held.address, held.hardware, held.started, NOW).to_string();
    let api = start(vec![Record::Lease(held)]);
    for (what, token) in [
        ("of another device", token(&other)),
        ("of an earlier lease", token(&earlier)),
        ("changed", changed),
        ("by another key", forged),
        ("none", "hello".to_owned()),
        ("empty", String::new()),
        ("too long", format!("{genuine}A")),
        ("cut", genuine[..27].to_owned()),
        ("huge", "A".repeat(4000)),
    ] {
        let path = format!("/v1/whoami?lease-token={token}");
        let detail = api.get(&path).assert_problem(403, "lease-token-invalid");
        assert!(detail.contains("reconnect"), "{what}: {detail}");
        api.post(&register(&token)).assert_problem(403, "lease-token-invalid");
    }
    assert!(api.core.lock().unwrap().records().is_empty(), "nothing was registered");
    for body in [
        format!(r#"{{"lease-token":"{genuine}","ip":"10.20.0.17"}}"#),
        format!(r#"{{"lease-token":"{genuine}","mac":"{}"}}"#, mac(1)),
        r#"{"owner":"alice"}"#.to_owned(),
    ] {
        api.post(&body).assert_problem(400, "bad-field");
    }
    let both = format!("/v1/whoami?lease-token={genuine}&ip=10.20.0.17");
    api.get(&both).assert_problem(400, "bad-parameter");
}

/// The token of a device whose address is another's by now opens nothing for either.
#[test]
fn a_token_dies_with_its_lease() {
    let held = lease(ADDRESS, &mac(1));
    let token = token(&held);
    let ended = Lease { state: BindingState::Released, ends: NOW, ..held.clone() };
    let api = start(vec![Record::Lease(ended)]);
    api.post(&register(&token)).assert_problem(409, "lease-token-ended");
    api.get(&format!("/v1/whoami?lease-token={token}")).assert_problem(409, "lease-token-ended");
    let api = start(vec![Record::Lease(lease(ADDRESS, &mac(2)))]);
    api.post(&register(&token)).assert_problem(403, "lease-token-invalid");
    api.get(&format!("/v1/registrations/{}", mac(2))).assert_problem(404, "not-registered");
}

#[test]
fn a_server_without_tokens_takes_none() {
    let held = lease(ADDRESS, &mac(1));
    let token = token(&held);
    let api = Api::with(vec![Record::Lease(held)]);
    api.post(&register(&token)).assert_problem(403, "lease-token-invalid");
}

#[test]
fn a_device_finds_its_token_in_the_url_of_the_portal() {
    let text = "[server]\nname = \"a\"\nrelay-listen = [\"10.0.0.67\"]\n[[network]]\nname = \"here\"\ngated = true\n\
        [[network.subnet]]\nprefix = \"127.0.0.0/24\"\n[gate]\nmode = \"local\"\nlying-resolver = \"10.0.0.54\"\n\
        redirect = \"10.0.0.54:8080\"\nportal = { address = \"10.0.0.80\", url = \"https://register.example/?lang=en\" }\n\
        [captive]\nurl = \"https://register.example/captive\"\nlease-token = true\n";
    let configuration = vestibule_config::parse(text, "f").unwrap_or_else(|m| panic!("{m}"));
    let held = lease([127, 0, 0, 1], &mac(1));
    let token = token(&held);
    let api = Api::start(Setup {
        records: vec![Record::Lease(held)],
        lease_tokens: Some(tokens()),
        captive: CaptivePortal::new(&configuration),
        ..Setup::default()
    });
    let answer = api.request_with("GET", "/captive", "", "").json();
    let wanted = format!("https://register.example/?lang=en&lease-token={token}");
    assert_eq!((&answer["captive"], &answer["user-portal-url"]), (&true.into(), &wanted.into()));
}
