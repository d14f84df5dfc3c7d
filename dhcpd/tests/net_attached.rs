//! The sockets of an attached LAN, over a veth pair between two network namespaces: the server's, in
//! which the test runs, and the client's.

#![allow(unsafe_code, reason = "a client without an address speaks through a packet socket")]
#![allow(clippy::cast_possible_truncation, reason = "constants of libc, which all fit")]

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};
use vestibule_core::{Arrival, Destination, HardwareAddress, Reason, SocketIndex};
use vestibule_dhcpd::net::frame::{UdpChecksum, headers, parse};
use vestibule_dhcpd::net::{NetError, Outgoing, SocketPlan, Sockets};

/// How long a test waits for something that must happen before it fails.
const DEADLINE: Duration = Duration::from_secs(20);
/// Set in a process that runs one test in namespaces of its own.
const ISOLATED: &str = "VESTIBULE_TEST_ISOLATED";

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 9);
const OFFERED: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 77);
const CLIENT_HARDWARE: [u8; 6] = [0x02, 0x00, 0x5e, 0x00, 0x53, 0x09];
const BROADCAST_HARDWARE: [u8; 6] = [0xff; 6];

/// Runs the calling test again, alone, in a fresh network namespace; returns whether this is that
/// run. As an ordinary user it needs a kernel that allows user namespaces.
fn isolated(test: &str) -> bool {
    isolated_without(test, &[])
}

/// As [`isolated`], in a process that lacks these capabilities.
fn isolated_without(test: &str, capabilities: &[&str]) -> bool {
    if std::env::var_os(ISOLATED).is_some() {
        run("ip link set lo up");
        return true;
    }
    // SAFETY: the call has no arguments and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !root {
        command.args(["--user", "--map-root-user"]);
    }
    if !capabilities.is_empty() {
        let lacking: Vec<String> = capabilities.iter().map(|name| format!("-{name}")).collect();
        command.args(["setpriv", "--bounding-set", &lacking.join(",")]);
    }
    let output = command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ISOLATED, "1")
        .output()
        .expect("unshare (package util-linux) runs");
    // Kept back unless it failed: its own summary line would be counted as another test's.
    assert!(
        output.status.success(),
        "{test} failed in its own namespace: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Runs a command of the lab in the namespace of this thread.
fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
}

/// The client's end of the LAN.
struct Client {
    /// Sends and receives whole Ethernet frames.
    link: Socket,
    /// A socket of an ordinary program, at 10.9.0.9 port 68.
    udp: UdpSocket,
}

/// A LAN with the server at `lan0`, 10.9.0.1/24, and the client in a namespace of its own.
fn lan() -> Client {
    let client = std::thread::spawn(|| {
        // SAFETY: it moves this thread only, which ends before anybody else could be surprised.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
        let server = std::process::id();
        run(&format!("ip link add client0 type veth peer name lan0 netns {server}"));
        run("ip link set client0 address 02:00:5e:00:53:09");
        run("ip address add 10.9.0.9/24 dev client0");
        run("ip link set client0 up");
        let link = link_socket("client0").unwrap();
        let udp = UdpSocket::bind((CLIENT, 68)).unwrap();
        udp.set_broadcast(true).unwrap();
        udp.set_read_timeout(Some(DEADLINE)).unwrap();
        Client { link, udp }
    })
    .join()
    .unwrap();
    run("ip address add 10.9.0.1/24 dev lan0");
    run("ip link set lan0 up");
    client
}

fn link_socket(interface: &str) -> io::Result<Socket> {
    let every_protocol = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(every_protocol))?;
    socket.set_read_timeout(Some(DEADLINE))?;
    let name = std::ffi::CString::new(interface).unwrap();
    // SAFETY: the name is a C string, and the address is written within the storage and its length
    // is that of what was written.
    let (_, address) = unsafe {
        let index = libc::if_nametoindex(name.as_ptr());
        SockAddr::try_init(|storage, length| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = libc::AF_PACKET as u16;
            (*link).sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            (*link).sll_ifindex = index.cast_signed();
            *length = size_of::<libc::sockaddr_ll>() as u32;
            Ok(())
        })?
    };
    socket.bind(&address)?;
    Ok(socket)
}

impl Client {
    /// Sends a UDP packet in a frame to everybody, as a client without an address does.
    fn send_frame(&self, source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) {
        let packet = [&headers(source, destination, payload).unwrap(), payload].concat();
        self.send_packet(BROADCAST_HARDWARE, &packet);
    }

    fn send_packet(&self, to: [u8; 6], packet: &[u8]) {
        let frame = [&to[..], &CLIENT_HARDWARE, &[8, 0], packet].concat();
        self.link.send(&frame).unwrap();
    }

    fn discover(&self, payload: &[u8]) {
        self.send_frame(
            SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
            SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
            payload,
        );
    }

    /// The next frame from the server that `wanted` accepts.
    fn frame(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            let mut frame = vec![0; 2000];
            let length = (&self.link).read(&mut frame).unwrap();
            frame.truncate(length);
            if frame[6..12] != CLIENT_HARDWARE && wanted(&frame) {
                return frame;
            }
        }
        panic!("no such frame");
    }
}

fn plan(relay_listen: &[Ipv4Addr]) -> SocketPlan {
    SocketPlan {
        relay_listen: relay_listen.to_vec(),
        port: 67,
        client_port: 68,
        interfaces: vec!["lan0".into()],
        receive_buffer_bytes: 1 << 20,
    }
}

type Received = (Result<Vec<u8>, Reason>, Arrival);

/// Receives what there is until a packet with contents `last` was received, and gives all before it.
fn receive_until(sockets: &mut Sockets, last: &[u8]) -> Vec<Received> {
    let mut received = Vec::new();
    let mut done = false;
    let end = Instant::now() + DEADLINE;
    while !done {
        assert!(Instant::now() < end, "still waiting for {last:?}, got {received:?}");
        sockets.receiver.wait(Some(Duration::from_millis(100))).unwrap();
        sockets.receiver.receive(|packet, arrival| match packet {
            Ok(packet) if packet == last => done = true,
            _ => received.push((packet.map(<[u8]>::to_vec), arrival)),
        });
    }
    received
}

/// Opens the sockets, and waits until frames cross the LAN: a veth's carrier comes a moment after it
/// is set up.
fn open(client: &Client, plan: &SocketPlan) -> Sockets {
    let mut sockets = Sockets::open(plan).unwrap_or_else(|error| panic!("{error}"));
    let end = Instant::now() + DEADLINE;
    let mut crossed = 0;
    while crossed == 0 {
        assert!(Instant::now() < end, "no frame crosses the LAN");
        client.discover(b"carrier?");
        sockets.receiver.wait(Some(Duration::from_millis(100))).unwrap();
        crossed = sockets.receiver.receive(|_, _| {});
    }
    client.discover(b"carrier!");
    assert!(
        receive_until(&mut sockets, b"carrier!")
            .iter()
            .all(|(packet, _)| packet.as_deref() == Ok(b"carrier?"))
    );
    sockets
}

/// Something like a message, with this relay address in it.
fn message(giaddr: Ipv4Addr, mark: u8) -> Vec<u8> {
    let mut message = vec![mark; 300];
    message[24..28].copy_from_slice(&giaddr.octets());
    message
}

fn no_error(position: usize, errno: i32) {
    panic!("reply {position}: error {errno}");
}

#[test]
fn a_client_without_an_address_is_heard_and_answered_without_arp() {
    if !isolated("a_client_without_an_address_is_heard_and_answered_without_arp") {
        return;
    }
    let client = lan();
    let mut sockets = open(&client, &plan(&[]));
    client.discover(b"discover");
    client.discover(b"end");
    let [(packet, arrival)] = &receive_until(&mut sockets, b"end")[..] else { panic!("one") };
    assert_eq!(packet.as_deref(), Ok(&b"discover"[..]));
    let expected = Arrival {
        socket: SocketIndex(0),
        local_address: SERVER,
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        broadcast: true,
        attached: true,
    };
    assert_eq!(*arrival, expected);

    let hardware = HardwareAddress::ethernet(CLIENT_HARDWARE);
    let offer = Outgoing {
        bytes: b"offer",
        socket: arrival.socket,
        source: arrival.local_address,
        destination: Destination::Unconfigured { address: OFFERED, hardware },
    };
    let broadcast = Outgoing { destination: Destination::Broadcast, bytes: b"nak", ..offer };
    let infiniband = HardwareAddress::new(32, &[]).unwrap();
    let no_ethernet = Outgoing {
        destination: Destination::Unconfigured { address: OFFERED, hardware: infiniband },
        ..offer
    };
    sockets.sender.send(&[offer, broadcast, no_ethernet], no_error);
    for (to, address, payload) in [
        (CLIENT_HARDWARE, OFFERED, &b"offer"[..]),
        (BROADCAST_HARDWARE, Ipv4Addr::BROADCAST, b"nak"),
        (BROADCAST_HARDWARE, OFFERED, b"offer"),
    ] {
        // The very first frame that is IPv4 or ARP: ARP would have come before it.
        let frame = client.frame(|frame| frame[12] == 8);
        assert_eq!(frame[12..14], [8, 0], "IPv4, not ARP");
        assert_eq!(frame[..6], to);
        let packet = parse(&frame[14..], UdpChecksum::Present).unwrap();
        assert_eq!(packet.source, SocketAddrV4::new(SERVER, 67));
        assert_eq!(packet.destination, SocketAddrV4::new(address, 68));
        assert_eq!(packet.payload, payload);
        assert_eq!(frame[14 + 8], 64, "time to live");
    }
    assert_eq!(sockets.monitor.send_errors(), []);
}

#[test]
fn a_renewing_client_is_heard_once_and_answered_with_arp_and_no_icmp() {
    if !isolated("a_renewing_client_is_heard_once_and_answered_with_arp_and_no_icmp") {
        return;
    }
    let client = lan();
    let mut sockets = open(&client, &plan(&[]));
    // Through the kernel's own stack: on a veth its checksum is left to a card that is not there.
    client.udp.send_to(&message(Ipv4Addr::UNSPECIFIED, 1), (SERVER, 67)).unwrap();
    client.udp.send_to(b"end", (SERVER, 67)).unwrap();
    let [(packet, arrival)] = &receive_until(&mut sockets, b"end")[..] else { panic!("once") };
    assert_eq!(packet.as_deref(), Ok(&message(Ipv4Addr::UNSPECIFIED, 1)[..]));
    let expected = Arrival {
        socket: SocketIndex(0),
        local_address: SERVER,
        source: SocketAddrV4::new(CLIENT, 68),
        broadcast: false,
        attached: true,
    };
    assert_eq!(*arrival, expected);
    let ack = Outgoing {
        bytes: b"ack",
        socket: arrival.socket,
        source: arrival.local_address,
        destination: Destination::Client(CLIENT),
    };
    sockets.sender.send(&[ack], no_error);
    let mut buffer = [0; 9];
    let (length, from) = client.udp.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"ack"[..], SocketAddr::from((SERVER, 67))));
    // Everything that the server's host has sent us by now: an ICMP error would be among it.
    client.link.set_nonblocking(true).unwrap();
    let mut frame = [0; 2000];
    while let Ok(length) = (&client.link).read(&mut frame) {
        let icmp = length > 34 && frame[12..14] == [8, 0] && frame[14 + 9] == 1;
        assert!(!icmp, "ICMP: {:?}", &frame[..length]);
    }
}

#[test]
fn a_relay_on_the_attached_lan_is_served_by_exactly_one_socket() {
    if !isolated("a_relay_on_the_attached_lan_is_served_by_exactly_one_socket") {
        return;
    }
    let client = lan();
    // (addresses that relays send to, then for a relay's and a client's unicast: socket, attached)
    for (relay_listen, relays, clients) in [
        (&[][..], (0, true), (0, true)),
        (&[SERVER][..], (0, false), (1, true)),
        (&[Ipv4Addr::new(127, 0, 0, 1)][..], (1, true), (1, true)),
    ] {
        let mut sockets = open(&client, &plan(relay_listen));
        client.udp.send_to(&message(CLIENT, 1), (SERVER, 67)).unwrap();
        client.udp.send_to(&message(Ipv4Addr::UNSPECIFIED, 2), (SERVER, 67)).unwrap();
        client.udp.send_to(&message(CLIENT, 3), (Ipv4Addr::new(10, 9, 0, 255), 67)).unwrap();
        // Over each way a packet cannot overtake one before it.
        client.udp.send_to(&message(CLIENT, 4), (SERVER, 67)).unwrap();
        let mut received = receive_until(&mut sockets, &message(CLIENT, 4));
        client.discover(b"end");
        received.extend(receive_until(&mut sockets, b"end"));
        received.sort_by_key(|(packet, _)| packet.clone().unwrap()[0]);
        let seen: Vec<_> = received
            .iter()
            .map(|(packet, arrival)| {
                let mark = packet.as_ref().unwrap()[0];
                (mark, arrival.socket.0, arrival.attached, arrival.broadcast)
            })
            .collect();
        let lan = clients.0;
        let expected = [
            (1, relays.0, relays.1, false),
            (2, clients.0, clients.1, false),
            (3, lan, true, true),
        ];
        assert_eq!(seen, expected, "{relay_listen:?}");
        assert!(received.iter().all(|(_, arrival)| arrival.local_address == SERVER));

        let reply = Outgoing {
            bytes: b"to the relay",
            socket: SocketIndex(relays.0),
            source: SERVER,
            destination: Destination::Relay(SocketAddrV4::new(CLIENT, 68)),
        };
        let to_client = Outgoing {
            bytes: b"to the client",
            socket: SocketIndex(clients.0),
            destination: Destination::Client(CLIENT),
            ..reply
        };
        sockets.sender.send(&[reply, to_client], no_error);
        for _ in 0..2 {
            let (_, from) = client.udp.recv_from(&mut [0; 99]).unwrap();
            assert_eq!(from, SocketAddr::from((SERVER, 67)));
        }
    }
}

#[test]
fn what_is_not_for_the_server_is_not_seen_and_broken_frames_are_named() {
    if !isolated("what_is_not_for_the_server_is_not_seen_and_broken_frames_are_named") {
        return;
    }
    let client = lan();
    let mut sockets = open(&client, &plan(&[]));
    let from = SocketAddrV4::new(CLIENT, 68);
    let to = SocketAddrV4::new(SERVER, 67);
    // Another port, another address, another hardware address, another protocol, a later fragment.
    client.send_frame(from, SocketAddrV4::new(SERVER, 68), b"other port");
    client.send_frame(from, SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 5), 67), b"other address");
    let good = [&headers(from, to, b"payload").unwrap()[..], b"payload"].concat();
    client.send_packet([2, 0, 0, 0, 0, 0x77], &good);
    for (offset, value) in [(9, 6), (7, 1)] {
        let mut packet = good.clone();
        packet[offset] = value;
        client.send_packet(BROADCAST_HARDWARE, &packet);
    }
    // Broken: a checksum that is wrong in fact, lengths, a first fragment.
    for (offset, value) in [(26, 0xee), (25, 3), (2, 9), (6, 0x20)] {
        let mut packet = good.clone();
        packet[offset] = value;
        client.send_packet(BROADCAST_HARDWARE, &packet);
    }
    client.send_packet(BROADCAST_HARDWARE, &good);
    client.discover(b"end");
    let received = receive_until(&mut sockets, b"end");
    let packets: Vec<_> = received.iter().map(|(packet, _)| packet.clone()).collect();
    let bad = Err(Reason::BadFrame);
    assert_eq!(packets, [bad.clone(), bad.clone(), bad.clone(), bad, Ok(b"payload".to_vec())]);
    assert!(received.iter().all(|(_, arrival)| arrival.attached));
}

#[test]
fn a_flood_on_the_lan_raises_the_drop_counter() {
    if !isolated("a_flood_on_the_lan_raises_the_drop_counter") {
        return;
    }
    let client = lan();
    let tiny = SocketPlan { receive_buffer_bytes: 8 << 10, ..plan(&[]) };
    let mut sockets = open(&client, &tiny);
    assert_eq!(sockets.monitor.drops(), [(SocketIndex(0), 0)]);
    // Frames cross a veth in softirqs; the sender's socket buffer holds it up until they have.
    let flood = 2000;
    for _ in 0..flood {
        client.discover(&message(Ipv4Addr::UNSPECIFIED, 7));
    }
    let mut received = 0;
    let end = Instant::now() + DEADLINE;
    loop {
        let dropped = sockets.monitor.drops()[0].1;
        if dropped + received == flood {
            assert!(dropped > 0);
            break;
        }
        assert!(Instant::now() < end, "{received} received, {dropped} dropped of {flood}");
        // Only once something was dropped; a server that keeps up would lose nothing.
        if dropped > 0 {
            sockets.receiver.wait(Some(Duration::from_millis(10))).unwrap();
            received += sockets.receiver.receive(|_, _| {}) as u64;
        }
    }
}

#[test]
fn interfaces_that_cannot_work_are_refused_with_what_to_do() {
    if !isolated("interfaces_that_cannot_work_are_refused_with_what_to_do") {
        return;
    }
    let _client = lan();
    run("ip link set lan0 down");
    let error = Sockets::open(&plan(&[])).unwrap_err();
    assert!(matches!(error, NetError::InterfaceDown { .. }));
    assert!(error.to_string().contains("ip link set lan0 up"), "{error}");
    run("ip link set lan0 up");
    run("ip address flush dev lan0");
    let error = Sockets::open(&plan(&[])).unwrap_err();
    assert!(matches!(error, NetError::NoAddress { .. }), "{error}");
    run("ip address add 10.9.0.1/24 dev lan0");
    let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).unwrap();
    let error = Sockets::open(&plan(&[])).unwrap_err().to_string();
    assert!(error.contains("UDP port 67 of 10.9.0.1 is taken by "), "{error}");
    assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
    drop(holder);
    Sockets::open(&plan(&[])).unwrap();
}

#[test]
fn a_capability_that_is_missing_is_named() {
    let lacking = ["net_raw", "net_bind_service"];
    if !isolated_without("a_capability_that_is_missing_is_named", &lacking) {
        return;
    }
    let relay_plan = SocketPlan { interfaces: vec![], ..plan(&[Ipv4Addr::LOCALHOST]) };
    let error = Sockets::open(&relay_plan).unwrap_err().to_string();
    assert!(
        error.contains("bind UDP port 67") && error.contains("CAP_NET_BIND_SERVICE"),
        "{error}"
    );
    let lan_plan = SocketPlan { interfaces: vec!["lo".into()], ..plan(&[]) };
    let error = Sockets::open(&lan_plan).unwrap_err().to_string();
    assert!(error.contains("packet socket on lo") && error.contains("CAP_NET_RAW"), "{error}");
}

#[test]
fn an_interface_that_goes_down_is_counted_and_serves_again_when_it_is_up() {
    if !isolated("an_interface_that_goes_down_is_counted_and_serves_again_when_it_is_up") {
        return;
    }
    let client = lan();
    let mut sockets = open(&client, &plan(&[]));
    run("ip link set lan0 down");
    let end = Instant::now() + DEADLINE;
    while sockets.monitor.receive_errors().is_empty() {
        assert!(Instant::now() < end);
        sockets.receiver.wait(Some(Duration::from_millis(100))).unwrap();
        sockets.receiver.receive(|_, _| {});
    }
    assert_eq!(sockets.monitor.receive_errors(), [(libc::ENETDOWN, 1)]);
    let broadcast = Outgoing {
        bytes: b"nak",
        socket: SocketIndex(0),
        source: SERVER,
        destination: Destination::Broadcast,
    };
    let mut errors = Vec::new();
    sockets.sender.send(&[broadcast], |_, errno| errors.push(errno));
    assert_eq!(errors, [libc::ENETDOWN]);
    run("ip link set lan0 up");
    loop {
        assert!(Instant::now() < end, "no frame crosses the LAN again");
        client.discover(b"again?");
        sockets.receiver.wait(Some(Duration::from_millis(100))).unwrap();
        if sockets.receiver.receive(|_, _| {}) > 0 {
            break;
        }
    }
}

#[test]
fn an_interface_that_is_deleted_is_counted_and_does_not_keep_the_receiver_awake() {
    if !isolated("an_interface_that_is_deleted_is_counted_and_does_not_keep_the_receiver_awake") {
        return;
    }
    let client = lan();
    let mut sockets = open(&client, &plan(&[Ipv4Addr::LOCALHOST]));
    run("ip link delete lan0");
    let end = Instant::now() + DEADLINE;
    while sockets.monitor.receive_errors().is_empty() {
        assert!(Instant::now() < end);
        sockets.receiver.wait(Some(Duration::from_millis(100))).unwrap();
        sockets.receiver.receive(|_, _| {});
    }
    let broadcast = Outgoing {
        bytes: b"nak",
        socket: SocketIndex(1),
        source: SERVER,
        destination: Destination::Broadcast,
    };
    let mut errors = Vec::new();
    sockets.sender.send(&[broadcast], |_, errno| errors.push(errno));
    assert_eq!(errors, [libc::ENXIO]);
    for _ in 0..50 {
        sockets.receiver.wait(Some(Duration::ZERO)).unwrap();
        sockets.receiver.receive(|_, _| {});
    }
    // Down, then gone: told once each, and from then on the socket is silent.
    let told: u64 = sockets.monitor.receive_errors().iter().map(|(_, count)| count).sum();
    assert!(told <= 2, "{:?}", sockets.monitor.receive_errors());
    // The other sockets serve on.
    let relay = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    relay.send_to(b"end", (Ipv4Addr::LOCALHOST, 67)).unwrap();
    assert_eq!(receive_until(&mut sockets, b"end"), []);
}

/// `isolated` must be given the name of a test, or it would run nothing and pass.
#[test]
fn every_isolated_test_is_found_under_its_name() {
    let output = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let source = include_str!("net_attached.rs");
    let names = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("if !isolated"))
        .map(|call| call.split('"').nth(1).unwrap());
    assert_eq!(
        names.clone().count(),
        listed.lines().filter(|line| line.ends_with(": test")).count() - 1
    );
    for name in names {
        assert!(listed.contains(&format!("{name}: test")), "{name}");
    }
}
