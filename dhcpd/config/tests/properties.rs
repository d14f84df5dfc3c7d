//! Whatever a file holds: no panic, every mistake with a line of it, and what is accepted is
//! consistent by a check that is too simple to be wrong.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use vestibule_config::{explain, limits, parse};

const EXAMPLES: [&str; 3] = [
    include_str!("../../../docs/examples/campus.toml"),
    include_str!("../../../docs/examples/lan.toml"),
    include_str!("../../../docs/examples/residence.toml"),
];

/// What is true of every answer.
fn check(text: &str) {
    match parse(text, "f") {
        Ok(vestibule) => assert!(explain(&vestibule).ends_with('\n')),
        Err(mistakes) => {
            assert!(!mistakes.list.is_empty());
            assert!(mistakes.list.len() <= limits::MISTAKES_MAX);
            let lines = text.split('\n').count();
            for mistake in &mistakes.list {
                assert!((1..=lines).contains(&mistake.line), "{mistake:?} in {lines} lines");
                assert!(!mistake.to_string().contains(['\n', '\r', '\u{1b}']), "{mistake:?}");
            }
            assert!(mistakes.list.is_sorted_by_key(|mistake| mistake.line));
        }
    }
}

/// An example with some of its text replaced.
fn damaged() -> impl Strategy<Value = String> {
    let strange = prop_oneof![
        ".{0,8}",
        "[0-9a-z.:/\"=\\[\\]{}#\n-]{0,12}",
        Just("\"".to_owned()),
        Just("[[network]]\n".to_owned()),
        Just("= 1".to_owned()),
        Just(" = {}".to_owned()),
        Just("\u{1b}[31m\r".to_owned()),
    ];
    let damage =
        proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..8, strange), 1..4);
    (prop::sample::select(&EXAMPLES[..]), damage).prop_map(|(example, damage)| {
        let mut characters: Vec<char> = example.chars().collect();
        for (place, length, with) in damage {
            let start = place.index(characters.len());
            let end = (start + length).min(characters.len());
            characters.splice(start..end, with.chars());
        }
        characters.into_iter().collect()
    })
}

/// A value of each type for every key, so that sections meet types that they do not expect.
fn confused() -> impl Strategy<Value = String> {
    let keys: Vec<&'static str> = vestibule_config::grammar::SECTIONS
        .iter()
        .flat_map(|section| section.keys)
        .copied()
        .collect();
    let headers: Vec<&'static str> = vestibule_config::grammar::SECTIONS
        .iter()
        .map(|section| section.header)
        .filter(|header| header.starts_with('['))
        .collect();
    let values = [
        "1",
        "-1.5",
        "true",
        "[]",
        "[[]]",
        "{}",
        "\"\"",
        "\"1h\"",
        "\"10.0.0.1\"",
        "1979-05-27",
        "[1, \"a\", {}]",
        "{ address = 1 }",
    ];
    let line = prop_oneof![
        (prop::sample::select(keys), prop::sample::select(values.to_vec()))
            .prop_map(|(key, value)| format!("{key} = {value}")),
        prop::sample::select(headers).prop_map(str::to_owned),
    ];
    proptest::collection::vec(line, 0..24).prop_map(|lines| lines.join("\n"))
}

/// Pools of a small subnet as offsets from its network address, and reserved offsets.
type Plan = (Vec<(u8, u8)>, Vec<u8>);

fn plan() -> impl Strategy<Value = Plan> {
    // Wild plans are mostly wrong; tame ones are right or wrong by one address.
    let wild = proptest::collection::vec((0_u8..20, 0_u8..20), 0..4);
    let pool = (1_u8..=14, 0_u8..4).prop_map(|(first, more)| (first, first + more));
    let tame = proptest::collection::vec(pool, 1..4);
    let reserved = proptest::collection::vec(0_u8..20, 0..3);
    prop_oneof![(wild, reserved.clone()), (tame.clone(), reserved), (tame, Just(Vec::new())),]
}

fn plan_text((pools, reserved): &Plan) -> String {
    let mut text = "[server]\nname = \"a\"\ninterfaces = [\"eth0\"]\n[gate]\nmode = \"off\"\n\
        [[network]]\nname = \"n\"\ngated = false\n[[network.subnet]]\nprefix = \"10.0.0.0/28\"\n"
        .to_owned();
    let pools: Vec<String> =
        pools.iter().map(|(first, last)| format!("\"10.0.0.{first}-10.0.0.{last}\"")).collect();
    writeln!(text, "pools = [{}]", pools.join(", ")).expect("it is a string");
    for (index, offset) in reserved.iter().enumerate() {
        let mac = format!("02:00:5e:00:53:{index:02x}");
        writeln!(
            text,
            "[[network.subnet.reservation]]\nmac = \"{mac}\"\naddress = \"10.0.0.{offset}\""
        )
        .expect("it is a string");
    }
    text
}

/// Whether a plan is good: every address of the pools one by one.
fn plan_good((pools, reserved): &Plan) -> bool {
    let mut seen = BTreeSet::new();
    let hosts = 1..=14;
    pools.iter().all(|(first, last)| {
        first <= last
            && (*first..=*last).all(|offset| hosts.contains(&offset) && seen.insert(offset))
    }) && reserved.iter().all(|offset| hosts.contains(offset))
        && reserved.iter().collect::<BTreeSet<_>>().len() == reserved.len()
}

/// Prefixes in one file, by a nibble and a length.
fn prefixes_text(prefixes: &[(u8, u8)]) -> String {
    let mut text =
        "[server]\nname = \"a\"\ninterfaces = [\"eth0\"]\n[gate]\nmode = \"off\"\n".to_owned();
    for (index, (number, length)) in prefixes.iter().enumerate() {
        let masked = number & (0xff_u8 << (32 - length));
        writeln!(text, "[[network]]\nname = \"n{index}\"\ngated = false").expect("it is a string");
        writeln!(text, "[[network.subnet]]\nprefix = \"10.0.0.{masked}/{length}\"")
            .expect("it is a string");
    }
    text
}

/// How many prefixes lie in another one, compared pair by pair; of equal ones, all but the first.
fn enclosed(prefixes: &[(u8, u8)]) -> usize {
    let mask = |length: u8| 0xff_u8 << (32 - length);
    let encloses = |(outer, a): (usize, &(u8, u8)), (inner, b): (usize, &(u8, u8))| {
        let wider = a.1 < b.1 || (a.1 == b.1 && outer < inner);
        wider && (a.0 & mask(a.1)) == (b.0 & mask(a.1))
    };
    let numbered = || prefixes.iter().enumerate();
    numbered().filter(|inner| numbered().any(|outer| encloses(outer, *inner))).count()
}

/// The same cases in every run; `PROPTEST_CASES` asks for more of them.
fn seeded() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(0x5eed),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn arbitrary_text_never_panics(text in "(?s).{0,200}") {
        check(&text);
    }

    #[test]
    fn damaged_examples_never_panic(text in damaged()) {
        check(&text);
    }

    #[test]
    fn keys_in_wrong_places_with_wrong_types_never_panic(text in confused()) {
        check(&text);
    }

    #[test]
    fn a_subnet_is_taken_exactly_if_its_addresses_are_consistent(plan in plan()) {
        let answer = parse(&plan_text(&plan), "f");
        prop_assert_eq!(answer.is_ok(), plan_good(&plan), "{:?}", answer);
    }

    #[test]
    fn every_prefix_inside_another_is_a_mistake_and_nothing_else_is(
        prefixes in proptest::collection::vec((any::<u8>(), 25_u8..=32), 1..6)
    ) {
        let mistakes = parse(&prefixes_text(&prefixes), "f").map_or_else(|found| found.list, |_| Vec::new());
        prop_assert_eq!(mistakes.len(), enclosed(&prefixes), "{:?}", mistakes);
    }
}

#[test]
fn more_mistakes_than_the_limit_are_counted() {
    let lines: String =
        (0..limits::MISTAKES_MAX + 5).map(|n| format!("unknown{n} = 1\n")).collect();
    let mistakes = parse(&lines, "f").expect_err("nothing in it is known");
    assert_eq!(mistakes.list.len(), limits::MISTAKES_MAX);
    assert!(mistakes.omitted >= 5, "{}", mistakes.omitted);
}

/// A file with many reservations is read whole, and one beyond a limit is refused with the limit.
#[test]
fn lists_have_limits() {
    let mut text = EXAMPLES[1]
        .replace("interfaces = [\"eth0\"]", "interfaces = [\"eth0\"]\nrelay-listen = [@]");
    let addresses = |count: usize| {
        (1..=count).map(|n| format!("\"10.9.0.{n}\"")).collect::<Vec<_>>().join(", ")
    };
    let good = text.replace('@', &addresses(limits::RELAY_LISTEN_MAX));
    assert!(parse(&good, "f").is_ok());
    text = text.replace('@', &addresses(limits::RELAY_LISTEN_MAX + 1));
    let shown = parse(&text, "f").expect_err("one too many").to_string();
    assert_eq!(shown, "f:6: `server.relay-listen` has 65 entries; the limit is 64");
    let pool = EXAMPLES[1]
        .replace("192.0.2.0/24", "8.0.0.0/5")
        .replace("192.0.2.100-192.0.2.199", "8.0.0.1-9.0.0.1");
    let shown = parse(&pool, "f").expect_err("one too many").to_string();
    assert_eq!(shown, "f:7: 16777217 addresses in pools; the limit is 16777216");
}
