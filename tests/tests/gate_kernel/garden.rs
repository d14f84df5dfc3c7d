//! What names in the garden lead to: in the kernel when the resolver may answer, whatever becomes of the
//! table meanwhile, and never more than a name may open.

use crate::surroundings::*;
use std::net::{Ipv4Addr, TcpListener};
use vestibule_core::Side;
use vestibule_firewall::{
    FirewallError, GARDEN_ADDRESSES_MAX, GARDEN_SECONDS_MAX, GARDEN_SECONDS_MIN, Garden,
    GardenVerdict, Gate, Interference,
};
use vestibule_tests::isolated;
use vestibule_tests::isolated::{Namespace, command};

const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 8);
const NAMED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// An address of the gateway itself.
const UPLINK: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

fn permit(garden: &mut Garden, address: Ipv4Addr) -> GardenVerdict {
    garden.permit(&[(address, 60)]).unwrap()[0]
}

/// The set as `nft` shows it: addresses, each with its time-out in the words of `nft`.
fn named() -> Vec<(Ipv4Addr, String)> {
    let shown = command("nft list set inet vestibule garden_names");
    let Some((_, elements)) = shown.split_once("elements = {") else { return Vec::new() };
    let elements = elements.split('}').next().unwrap_or_default().split(',');
    let mut named: Vec<(Ipv4Addr, String)> = elements
        .map(|element| {
            let words: Vec<&str> = element.split_whitespace().collect();
            let timeout = words.iter().position(|word| *word == "timeout");
            let timeout = timeout.and_then(|at| words.get(at + 1)).copied().unwrap_or("for ever");
            (words[0].parse().unwrap(), timeout.to_owned())
        })
        .collect();
    named.sort();
    named
}

fn addresses() -> Vec<Ipv4Addr> {
    named().into_iter().map(|(address, _)| address).collect()
}

/// The outside has public addresses too.
fn surroundings() -> Surroundings {
    let surroundings = Surroundings::new();
    let campus = &surroundings.campus;
    command(&format!("ip address add {UPLINK}/24 dev {}", campus.name()));
    for address in [NAMED, OTHER] {
        campus.command(&format!("ip address add {address}/24 dev uplink"));
        campus.run(|| {
            for port in [80, 443] {
                serve_tcp(TcpListener::bind((address, port)).unwrap(), "named");
            }
            serve_udp(std::net::UdpSocket::bind((address, 53)).unwrap(), "truth");
        });
    }
    serve_tcp(TcpListener::bind((UPLINK, 443)).unwrap(), "gateway");
    surroundings
}

fn open_gate() -> Gate {
    Gate::open(ruleset(10), &[(HOST, Side::Unregistered, HOUR_MILLISECONDS)]).unwrap()
}

#[test]
fn what_a_name_leads_to_is_reached_when_permit_returns_and_only_that() {
    isolated!(|| {
        let Surroundings { host, campus, .. } = surroundings();
        let gate = open_gate();
        let mut garden = gate.garden().unwrap();
        assert_eq!(connect(&host, HOST, (NAMED, 443)), RESET);
        assert_eq!(connect(&host, HOST, (NAMED, 80)), says("redirect"));
        assert_eq!(permit(&mut garden, NAMED), GardenVerdict::Open);
        assert_eq!(connect(&host, HOST, (NAMED, 443)), says("named"));
        assert_eq!(connect(&host, HOST, (NAMED, 80)), says("named"), "its own page");
        assert_eq!(connect(&host, HOST, (OTHER, 443)), RESET);
        // It is no way out for questions, and no way in.
        assert_eq!(ask_new(&host, HOST, (NAMED, 53)), says("lie"));
        let from = |namespace: &Namespace, from, to| {
            namespace.command(&format!("ip route replace {HOST}/32 via {SERVER} src {from}"));
            let stream = namespace.run(|| std::net::TcpStream::connect_timeout(&to, PATIENCE));
            stream.map_err(|error| error.kind()).map(|_| String::new())
        };
        assert_eq!(from(&campus, NAMED, (HOST, 22).into()), RESET);
        // Nobody else gets there: who has no lease, who is refused for other reasons.
        assert_eq!(connect(&host, HOST_SECOND, (NAMED, 443)), RESET);
        // Whoever rules over a name cannot open the gateway with it.
        assert_eq!(permit(&mut garden, UPLINK), GardenVerdict::Open);
        assert_eq!(connect(&host, HOST, (UPLINK, 443)), RESET);
    });
}

#[test]
fn no_name_opens_private_reserved_gated_or_own_addresses() {
    isolated!(|| {
        let gate = open_gate();
        let mut garden = gate.garden().unwrap();
        for refused in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.99",
            "10.20.0.9",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.9",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "10.0.0.54",
            "10.0.0.1",
        ] {
            let address = refused.parse().unwrap();
            assert_eq!(permit(&mut garden, address), GardenVerdict::Refused, "{refused}");
        }
        assert_eq!(named(), []);
        // The portal and the garden's prefixes are open as it is, private or not.
        for open in [PORTAL, Ipv4Addr::new(10, 0, 0, 89)] {
            assert_eq!(permit(&mut garden, open), GardenVerdict::Open);
        }
        assert_eq!(named(), []);
        for open in ["100.128.0.1", "172.32.0.1", "198.20.0.1", "223.255.255.255", "11.0.0.1"] {
            let address = open.parse().unwrap();
            assert_eq!(permit(&mut garden, address), GardenVerdict::Open, "{open}");
        }
        assert_eq!(named().len(), 5);
    });
}

#[test]
fn an_address_stays_as_long_as_was_asked_within_limits_and_a_shorter_wish_takes_nothing() {
    isolated!(|| {
        for dialect in BOTH_DIALECTS {
            let gate = Gate::open_with(ruleset(10), &[], dialect).unwrap();
            let mut garden = gate.garden().unwrap();
            garden.permit(&[(NAMED, 0), (OTHER, u32::MAX), (NAMED, 1)]).unwrap();
            let left = |address| -> u64 {
                let shown = command(&format!(
                    "nft get element inet vestibule garden_names {{ {address} }}"
                ));
                let expires = shown.split("expires ").nth(1).unwrap();
                seconds(expires.split([' ', '}']).next().unwrap().trim())
            };
            let (least, most) = (u64::from(GARDEN_SECONDS_MIN), u64::from(GARDEN_SECONDS_MAX));
            assert!((least - 60..=least).contains(&left(NAMED)), "{dialect:?}");
            assert!((most - 60..=most).contains(&left(OTHER)), "{dialect:?}");
            garden.permit(&[(NAMED, 3000), (OTHER, 1)]).unwrap();
            assert!((2940..=3000).contains(&left(NAMED)), "{dialect:?}");
            assert!((most - 60..=most).contains(&left(OTHER)), "{dialect:?}");
            gate.remove().unwrap();
        }
    });
}

/// A time as `nft` writes it, as in `1h59s990ms`.
fn seconds(text: &str) -> u64 {
    let text =
        text.split_once("ms").map_or(text, |(rest, _)| rest.trim_end_matches(char::is_numeric));
    let mut total = 0;
    let mut number = String::new();
    for letter in text.chars() {
        let factor = match letter {
            '0'..='9' => {
                number.push(letter);
                continue;
            }
            'd' => 86_400,
            'h' => 3600,
            'm' => 60,
            _ => 1,
        };
        total += std::mem::take(&mut number).parse::<u64>().unwrap() * factor;
    }
    total
}

#[test]
fn the_set_has_a_limit_and_what_is_in_it_is_not_pushed_out() {
    isolated!(|| {
        let gate = open_gate();
        let mut garden = gate.garden().unwrap();
        let many: Vec<(Ipv4Addr, u32)> = (0..GARDEN_ADDRESSES_MAX)
            .map(|number| (Ipv4Addr::from(u32::from(Ipv4Addr::new(20, 0, 0, 0)) + number), 60))
            .collect();
        for some in many.chunks(100) {
            let verdicts = garden.permit(some).unwrap();
            assert!(verdicts.iter().all(|verdict| *verdict == GardenVerdict::Open));
        }
        assert_eq!(permit(&mut garden, NAMED), GardenVerdict::Full);
        assert_eq!(permit(&mut garden, many[7].0), GardenVerdict::Open, "it is there already");
        assert_eq!(garden.count(), many.len());
        assert_eq!(named().len(), many.len());
        assert!(!addresses().contains(&NAMED));
    });
}

#[test]
fn a_table_that_is_made_anew_has_what_was_learnt_and_a_foreign_hand_s_work_goes() {
    isolated!(|| {
        let unregistered = [(HOST, Side::Unregistered, HOUR_MILLISECONDS)];
        let (mut gate, mut watch) =
            Gate::open_watched(ruleset(10), &elements(unregistered.to_vec())).unwrap();
        let mut garden = gate.garden().unwrap();
        watch.ignore(&garden).unwrap();
        for _ in 0..100 {
            assert_eq!(permit(&mut garden, NAMED), GardenVerdict::Open);
            gate.replace(&unregistered).unwrap();
        }
        assert_eq!(watch.poll().unwrap(), None, "our own changes");
        for interference in [
            "flush ruleset",
            "flush set inet vestibule garden_names",
            "delete element inet vestibule garden_names { 203.0.113.7 }",
            "add element inet vestibule garden_names { 203.0.113.9 }",
            "add element inet vestibule garden_names { 203.0.113.9 timeout 10m }",
        ] {
            command(&format!("nft {interference}"));
            let found = watch.poll().unwrap();
            assert!(matches!(found, Some(Interference::Changed { .. })), "{interference}");
            gate.replace(&unregistered).unwrap();
            assert_eq!(addresses(), [NAMED], "{interference}");
        }
        // While there is no table nothing is opened, and nothing is promised for later.
        command("nft flush ruleset");
        let error = garden.permit(&[(OTHER, 60)]).unwrap_err();
        assert!(matches!(error, FirewallError::TableMissing), "{error:?}");
        gate.replace(&unregistered).unwrap();
        assert_eq!(addresses(), [NAMED]);
        assert_eq!(permit(&mut garden, OTHER), GardenVerdict::Open);
        assert_eq!(addresses(), [NAMED, OTHER]);
    });
}

#[test]
fn the_next_daemon_keeps_what_hosts_were_told_as_far_as_it_would_have_told_it() {
    isolated!(|| {
        let gate = open_gate();
        let mut garden = gate.garden().unwrap();
        garden.permit(&[(NAMED, 60), (OTHER, 60)]).unwrap();
        drop((gate, garden));
        for forged in ["203.0.113.9", "203.0.113.10 timeout 2h", "192.168.0.1 timeout 10m"] {
            command(&format!("nft add element inet vestibule garden_names {{ {forged} }}"));
        }
        let before = named();
        assert_eq!(before.len(), 5, "{before:?}");
        let mut gate = open_gate();
        assert_eq!(addresses(), [NAMED, OTHER]);
        let garden = gate.garden().unwrap();
        assert_eq!(garden.count(), 2);
        // Also if it is not the start that makes the table.
        command("nft flush ruleset");
        gate.replace(&[]).unwrap();
        assert_eq!(addresses(), [NAMED, OTHER]);
    });
}
