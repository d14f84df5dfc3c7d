//! Who is let through with IPv6 by its Ethernet address, as the kernel is told.

use super::*;
use crate::{EthernetAddress, GateContents};

const DEVICE: EthernetAddress = EthernetAddress([2, 0, 0x5e, 0, 0x53, 1]);

fn bench(ipv6_by_hardware: bool) -> Bench {
    let mut configuration = configuration(4);
    configuration.networks[0].gate_by.ipv6_by_hardware = ipv6_by_hardware;
    let now = Timestamp::from_seconds(1_000_000);
    Bench { server: Server::new(configuration, [SERVER], [], now), now }
}

fn register(bench: &mut Bench, address: Ipv4Addr, seconds: u64) -> Vec<GateChange> {
    let register = Register {
        expires: Some(bench.now.plus_seconds(seconds)),
        ..Register::of(RegistrationTarget::Address(address))
    };
    gate_changes(&bench.input(Input::Command(Ticket(1), Command::Register(register))))
}

fn pages(bench: &Bench) -> Vec<Option<EthernetAddress>> {
    let query = Query::Gate { after: None, limit: 10 };
    let QueryAnswer::Gate { elements, .. } = bench.server.query(bench.now, &query) else {
        panic!("another answer")
    };
    elements.iter().map(|element| element.holder).collect()
}

#[test]
fn the_holder_is_told_with_the_permit_and_only_while_it_is_registered() {
    let mut bench = bench(true);
    let address = bench.lease(1).unwrap();
    assert_eq!(bench.server.gate_contents(bench.now).holders, []);
    assert_eq!(pages(&bench), [None]);
    let changes = register(&mut bench, address, 60);
    assert_eq!(changes.iter().map(|change| change.holder).collect::<Vec<_>>(), [Some(DEVICE)]);
    assert_eq!(bench.server.gate_contents(bench.now).holders, [(address, DEVICE)]);
    assert_eq!(pages(&bench), [Some(DEVICE)]);
    // The kernel sets are lost: the replacement has the holder too.
    let effects = bench.input(Input::GateLost);
    let [Effect::GateReplace(GateContents { holders, .. })] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(*holders, [(address, DEVICE)]);
    // A renewal tells it again: it restarts the clock of the kernel's element.
    let mut renewal = request(1, MessageType::Request);
    renewal.ciaddr = address;
    let changes = gate_changes(&bench.packet(renewal));
    assert_eq!((changes[0].holder, changes[0].forget_flows), (Some(DEVICE), false));
    bench.now = bench.now.plus_seconds(60);
    let changes = gate_changes(&bench.input(Input::Tick));
    assert_eq!((changes[0].side.unwrap().0, changes[0].holder), (Side::Unregistered, None));
    assert_eq!(bench.server.gate_contents(bench.now).holders, []);
}

#[test]
fn where_ipv6_is_refused_nobody_is_told_of() {
    let mut bench = bench(false);
    let address = bench.lease(1).unwrap();
    let changes = register(&mut bench, address, 60);
    assert_eq!((changes[0].side.unwrap().0, changes[0].holder), (Side::Registered, None));
    assert_eq!(bench.server.gate_contents(bench.now).holders, []);
    assert_eq!(pages(&bench), [None]);
}

#[test]
fn the_end_of_a_lease_is_told_where_flows_of_ipv6_have_to_go_with_it() {
    for (ipv6_by_hardware, told) in [(true, 1), (false, 0)] {
        let mut bench = bench(ipv6_by_hardware);
        let address = bench.lease(1).unwrap();
        register(&mut bench, address, 100_000);
        bench.now = bench.now.plus_seconds(4000);
        let changes = gate_changes(&bench.input(Input::Tick));
        assert_eq!(changes.len(), told);
        assert!(changes.iter().all(|change| {
            *change == GateChange { address, side: None, forget_flows: true, holder: None }
        }));
    }
}
