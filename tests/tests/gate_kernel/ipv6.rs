//! IPv6 of gated networks: refused for everybody, or let through for those that hold a registered address, told
//! by their Ethernet address.

use crate::surroundings::*;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use vestibule_core::{EthernetAddress, GateChange, GateContents, Side};
use vestibule_firewall::{Dialect, Gate, Ruleset};
use vestibule_tests::isolated;
use vestibule_tests::isolated::{Namespace, command, until};

const CAMPUS_WEB: &str = "[2001:db8:1::5]:443";
const CAMPUS_ECHO: &str = "[2001:db8:1::5]:4000";
const HOST_SHELL: &str = "[2001:db8:20::5]:22";

/// How the host's own hardware address is written.
const HOST_HARDWARE: EthernetAddress = EthernetAddress([2, 0, 0x5e, 0, 0x53, 1]);
const OTHER_HARDWARE: EthernetAddress = EthernetAddress([2, 0, 0x5e, 0, 0x53, 2]);

/// Gives the host's network, which is gated, the neighbour's, which is not, and the campus IPv6 too.
fn with_ipv6() -> Surroundings {
    let surroundings = Surroundings::new();
    let Surroundings { host, neighbour, campus } = &surroundings;
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    host.command(&format!("ip link set uplink address {HOST_HARDWARE}"));
    for (namespace, network) in
        [(host, "2001:db8:20::"), (neighbour, "2001:db8:22::"), (campus, "2001:db8:1::")]
    {
        command(&format!("ip address add {network}1/64 dev {} nodad", namespace.name()));
        namespace.command(&format!("ip address add {network}5/64 dev uplink nodad"));
        namespace.command(&format!("ip route add default via {network}1"));
        let address: Ipv6Addr = format!("{network}5").parse().unwrap();
        let port = if network == "2001:db8:1::" { 443 } else { 22 };
        namespace.run(|| {
            serve_udp(UdpSocket::bind((address, 4000)).unwrap(), namespace.name());
            serve_tcp(TcpListener::bind((address, port)).unwrap(), namespace.name());
        });
    }
    serve_tcp(TcpListener::bind(("::", 8068)).unwrap(), "gateway");
    surroundings
}

fn open(from: &Namespace, to: &str) -> Result<TcpStream, ErrorKind> {
    let to: SocketAddr = to.parse().unwrap();
    let stream = from.run(|| TcpStream::connect_timeout(&to, PATIENCE));
    let stream = stream.map_err(|error| error.kind())?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Ok(stream)
}

fn connect_ipv6(from: &Namespace, to: &str) -> Result<String, ErrorKind> {
    open(from, to).and_then(|mut stream| talk(&mut stream))
}

fn socket_to(from: &Namespace, to: &str) -> UdpSocket {
    let to: SocketAddr = to.parse().unwrap();
    let socket = from.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to).unwrap();
    socket
}

fn ask_by(socket: &UdpSocket) -> Result<String, ErrorKind> {
    socket.send(b"?").map_err(|error| error.kind())?;
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer).map_err(|error| error.kind())?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn ask_ipv6(from: &Namespace, to: &str) -> Result<String, ErrorKind> {
    ask_by(&socket_to(from, to))
}

/// The host's network lets registered hosts through by their Ethernet address.
fn by_hardware() -> Ruleset {
    let prefix = "2001:db8:20::/64".parse().unwrap();
    Ruleset { gated_prefixes_ipv6_by_hardware: vec![prefix], ..ruleset(10) }
}

fn held_by(holder: EthernetAddress, change: GateChange) -> GateChange {
    GateChange { holder: Some(holder), ..change }
}

/// What the kernel's set of Ethernet addresses holds, as `nft` shows it.
fn hardware_in_the_kernel() -> String {
    let command = ["list", "set", "inet", "vestibule", "registered_hardware"];
    let output = Command::new("nft").args(command).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn ipv6_of_gated_networks_is_refused_at_once_and_that_of_others_is_left_alone() {
    isolated!(|| {
        let Surroundings { host, neighbour, campus } = &with_ipv6();
        assert_eq!(connect_ipv6(host, CAMPUS_WEB), says("campus"), "before the gate");
        let _gate =
            Gate::open(ruleset(10), &[(HOST, Side::Registered, HOUR_MILLISECONDS)]).unwrap();
        assert_eq!(connect_ipv6(host, CAMPUS_WEB), RESET);
        assert_eq!(ask_ipv6(host, CAMPUS_ECHO), FORBIDDEN);
        assert_eq!(connect_ipv6(host, "[2001:db8:22::5]:22"), RESET);
        assert_eq!(connect_ipv6(host, "[2001:db8:20::1]:8068"), RESET, "the gateway's own service");
        host.command("ping -n -c 1 -W 10 2001:db8:20::1");
        // Nobody gets to it either.
        assert_eq!(connect_ipv6(campus, HOST_SHELL), RESET);
        assert_eq!(ask_ipv6(neighbour, "[2001:db8:20::5]:4000"), FORBIDDEN);
        // The gateway itself may, say to look at an access point.
        let mut stream =
            TcpStream::connect_timeout(&HOST_SHELL.parse().unwrap(), PATIENCE).unwrap();
        assert_eq!(talk(&mut stream), says("host"));
        // Networks that are not gated.
        assert_eq!(connect_ipv6(neighbour, CAMPUS_WEB), says("campus"));
        assert_eq!(ask_ipv6(neighbour, CAMPUS_ECHO), says("campus"));
        assert_eq!(connect_ipv6(campus, "[2001:db8:22::5]:22"), says("neighbour"));
        assert_eq!(connect_ipv6(neighbour, "[2001:db8:22::1]:8068"), says("gateway"));
        // IPv4 of the same host goes on.
        assert_eq!(connect(host, HOST, (OUTSIDE, 443)), says("outside"));
    });
}

#[test]
fn a_registered_host_is_let_through_by_its_hardware_address_and_by_no_other() {
    isolated!(|| register_and_borrow(Dialect::Probed));
}

#[test]
fn a_registered_host_is_let_through_by_its_hardware_address_and_by_no_other_on_every_kernel() {
    isolated!(|| register_and_borrow(Dialect::Portable));
}

fn register_and_borrow(dialect: Dialect) {
    let Surroundings { host, campus, .. } = &with_ipv6();
    let unregistered = [(HOST, Side::Unregistered, HOUR_MILLISECONDS)];
    let mut gate = Gate::open_with(by_hardware(), &unregistered, dialect).unwrap();
    assert_eq!(connect_ipv6(host, CAMPUS_WEB), RESET);
    assert_eq!(ask_ipv6(host, CAMPUS_ECHO), FORBIDDEN);
    let registered = put(HOST, Side::Registered, HOUR_MILLISECONDS);
    gate.apply(&[held_by(HOST_HARDWARE, forgetting(registered))]).unwrap();
    assert_eq!(connect_ipv6(host, CAMPUS_WEB), says("campus"));
    assert_eq!(ask_ipv6(host, CAMPUS_ECHO), says("campus"));
    assert_eq!(connect_ipv6(host, "[2001:db8:20::1]:8068"), says("gateway"));
    // Answers come in, and nothing that it has not asked for.
    assert_eq!(connect_ipv6(campus, HOST_SHELL), RESET);
    assert_eq!(ask_ipv6(campus, "[2001:db8:20::5]:4000"), FORBIDDEN);
    // It makes itself another address, as hosts do.
    host.command("ip address add 2001:db8:20::77/64 dev uplink nodad");
    host.command("ip route replace 2001:db8:1::/64 via 2001:db8:20::1 src 2001:db8:20::77");
    assert_eq!(connect_ipv6(host, CAMPUS_WEB), says("campus"));
    // Another device with the address of the first.
    host.command(&format!("ip link set uplink address {OTHER_HARDWARE}"));
    command("ip -6 neighbour flush dev host");
    assert_eq!(connect_ipv6(host, CAMPUS_WEB), RESET);
    assert_eq!(ask_ipv6(host, CAMPUS_ECHO), FORBIDDEN);
    // A renewal changes nothing for either.
    gate.apply(&[held_by(HOST_HARDWARE, registered)]).unwrap();
    assert_eq!(ask_ipv6(host, CAMPUS_ECHO), FORBIDDEN);
}

#[test]
fn a_revocation_ends_flows_of_ipv6_that_are_under_way_in_both_directions() {
    isolated!(|| revoke(Dialect::Probed));
}

#[test]
fn a_revocation_ends_flows_of_ipv6_that_are_under_way_in_both_directions_on_every_kernel() {
    isolated!(|| revoke(Dialect::Portable));
}

fn revoke(dialect: Dialect) {
    let Surroundings { host, campus, .. } = &with_ipv6();
    let mut gate = Gate::open_with(by_hardware(), &[], dialect).unwrap();
    let registered = put(HOST, Side::Registered, HOUR_MILLISECONDS);
    gate.apply(&[held_by(HOST_HARDWARE, registered)]).unwrap();
    // A stream that only comes in, as of somebody who watches television.
    let outside = campus.run(|| UdpSocket::bind("[2001:db8:1::5]:5000").unwrap());
    let inside = socket_to(host, "[2001:db8:1::5]:5000");
    inside.send(b"send me everything").unwrap();
    let mut packet = [0; 64];
    outside.set_read_timeout(Some(PATIENCE)).unwrap();
    let (_, viewer) = outside.recv_from(&mut packet).unwrap();
    outside.send_to(b"1", viewer).unwrap();
    assert_eq!(inside.recv(&mut packet).unwrap(), 1);
    let mut stream = open(host, CAMPUS_WEB).unwrap();
    assert_eq!(talk(&mut stream), says("campus"));

    let revoked = put(HOST, Side::Unregistered, HOUR_MILLISECONDS);
    gate.apply(&[forgetting(revoked)]).unwrap();
    assert!(talk(&mut stream).is_err(), "what it sends is refused");
    outside.send_to(b"2", viewer).unwrap();
    // The refusal comes back to the sender once the packet was judged.
    outside.connect(viewer).unwrap();
    let refused = outside.send(b"3").and_then(|_| outside.recv(&mut packet));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
    inside.set_nonblocking(true).unwrap();
    let nothing = inside.recv(&mut packet).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "not one packet came in after it");

    // Registered again, it begins anew.
    gate.apply(&[held_by(HOST_HARDWARE, forgetting(registered))]).unwrap();
    assert_eq!(connect_ipv6(host, CAMPUS_WEB), says("campus"));
}

#[test]
fn a_host_with_two_addresses_is_let_through_until_both_are_gone() {
    isolated!(|| {
        let Surroundings { host, .. } = &with_ipv6();
        let contents = GateContents {
            elements: vec![(HOST, Side::Registered, HOUR_MILLISECONDS)],
            holders: vec![(HOST, HOST_HARDWARE)],
        };
        let (mut gate, mut watch) = Gate::open_watched(by_hardware(), &contents).unwrap();
        assert_eq!(ask_ipv6(host, CAMPUS_ECHO), says("campus"), "from the start");
        let second = put(HOST_SECOND, Side::Registered, HOUR_MILLISECONDS);
        gate.apply(&[held_by(HOST_HARDWARE, second)]).unwrap();
        gate.apply(&[forgetting(out(HOST))]).unwrap();
        assert_eq!(ask_ipv6(host, CAMPUS_ECHO), says("campus"));
        // Somebody flushes the set: noticed, and made anew with what there is.
        command("nft flush set inet vestibule registered_hardware");
        assert_eq!(ask_ipv6(host, CAMPUS_ECHO), FORBIDDEN);
        assert!(watch.poll().unwrap().is_some());
        let contents = GateContents {
            elements: vec![(HOST_SECOND, Side::Registered, HOUR_MILLISECONDS)],
            holders: vec![(HOST_SECOND, HOST_HARDWARE)],
        };
        gate.replace_all(&contents).unwrap();
        assert_eq!(ask_ipv6(host, CAMPUS_ECHO), says("campus"));
        gate.apply(&[forgetting(out(HOST_SECOND))]).unwrap();
        assert_eq!(ask_ipv6(host, CAMPUS_ECHO), FORBIDDEN);
        assert!(!hardware_in_the_kernel().contains("elements"), "{}", hardware_in_the_kernel());
    });
}

#[test]
fn a_permit_by_hardware_address_dies_with_its_lease_though_nobody_takes_it_away() {
    isolated!(|| {
        let Surroundings { host, .. } = &with_ipv6();
        let mut gate = Gate::open(by_hardware(), &[]).unwrap();
        let registered = put(HOST, Side::Registered, 1000);
        gate.apply(&[held_by(HOST_HARDWARE, registered)]).unwrap();
        assert!(hardware_in_the_kernel().contains(&HOST_HARDWARE.to_string()));
        drop(gate);
        until("the end of the permit", || (ask_ipv6(host, CAMPUS_ECHO) == FORBIDDEN).then_some(()));
    });
}
