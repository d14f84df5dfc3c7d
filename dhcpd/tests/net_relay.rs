//! The relays' sockets, over loopback: what comes in by which socket, and how replies leave.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};
use vestibule_core::limits::RELAYS_SIEVED_MAX;
use vestibule_core::sieve::{Mesh, Part};
use vestibule_core::{Arrival, Destination, HardwareAddress, Reason, SocketIndex};
use vestibule_dhcpd::net::{NetError, Outgoing, Sender, SocketPlan, Sockets, Waker};

/// How long a test waits for something that must happen before it fails.
const DEADLINE: Duration = Duration::from_secs(20);

fn loopback(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 67, 0, last)
}

fn plan(relay_listen: &[Ipv4Addr], port: u16) -> SocketPlan {
    SocketPlan {
        relay_listen: relay_listen.to_vec(),
        port,
        client_port: 68,
        interfaces: vec![],
        receive_buffer_bytes: 1 << 20,
    }
}

/// Opens sockets on a port that is free on all these addresses.
fn open(relay_listen: &[Ipv4Addr], receive_buffer_bytes: usize) -> (Sockets, u16) {
    loop {
        let free = UdpSocket::bind((relay_listen[0], 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        // Another process may take the port in between; then another port is tried.
        match Sockets::open(&SocketPlan { receive_buffer_bytes, ..plan(relay_listen, port) }) {
            Ok(sockets) => return (sockets, port),
            Err(NetError::PortTaken { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn relay(last: u8) -> (UdpSocket, SocketAddrV4) {
    let socket = UdpSocket::bind((loopback(last), 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("IPv4") };
    (socket, address)
}

type Received = (Result<Vec<u8>, Reason>, Arrival);

/// Receives until `count` packets are there.
fn receive(sockets: &mut Sockets, count: usize) -> Vec<Received> {
    let mut received = Vec::new();
    let end = Instant::now() + DEADLINE;
    while received.len() < count {
        assert!(Instant::now() < end, "{} of {count} packets", received.len());
        sockets.receiver.wait(Some(Duration::from_millis(100))).unwrap();
        sockets.receiver.receive(|packet, arrival| {
            received.push((packet.map(<[u8]>::to_vec), arrival));
        });
    }
    received
}

fn no_error(position: usize, errno: i32) {
    panic!("reply {position}: error {errno}");
}

#[test]
fn a_reply_leaves_from_the_address_and_port_that_the_request_came_to() {
    let (mut sockets, port) = open(&[loopback(1), loopback(2)], 1 << 20);
    for (last, index) in [(2, 1), (1, 0)] {
        let (relay, relay_address) = relay(9);
        relay.send_to(b"request", (loopback(last), port)).unwrap();
        let [(packet, arrival)] = &receive(&mut sockets, 1)[..] else { panic!("one") };
        assert_eq!(packet.as_deref(), Ok(&b"request"[..]));
        let expected = Arrival {
            socket: SocketIndex(index),
            local_address: loopback(last),
            source: relay_address,
            broadcast: false,
            attached: false,
        };
        assert_eq!(*arrival, expected);
        let reply = Outgoing {
            bytes: b"reply",
            socket: arrival.socket,
            source: arrival.local_address,
            destination: Destination::Relay(relay_address),
        };
        sockets.sender.send(&[reply], no_error);
        let mut buffer = [0; 100];
        let (length, from) = relay.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"reply");
        assert_eq!(from, SocketAddr::from((loopback(last), port)));
    }
}

#[test]
fn a_client_with_an_address_is_answered_on_the_clients_port() {
    let (client, client_address) = relay(3);
    let port = UdpSocket::bind((loopback(4), 0)).unwrap().local_addr().unwrap().port();
    let sockets = Sockets::open(&SocketPlan {
        client_port: client_address.port(),
        ..plan(&[loopback(4)], port)
    })
    .unwrap();
    let reply = Outgoing {
        bytes: b"reply",
        socket: SocketIndex(0),
        source: loopback(4),
        destination: Destination::Client(loopback(3)),
    };
    sockets.sender.send(&[reply], no_error);
    assert_eq!(client.recv_from(&mut [0; 9]).unwrap().1, SocketAddr::from((loopback(4), port)));
}

#[test]
fn more_than_a_batch_from_several_sockets_arrives_once_and_in_order() {
    let (mut sockets, port) = open(&[loopback(5), loopback(6)], 4 << 20);
    let (relay, relay_address) = relay(9);
    for number in 0..200u16 {
        for last in [5, 6] {
            relay.send_to(&number.to_be_bytes(), (loopback(last), port)).unwrap();
        }
    }
    let received = receive(&mut sockets, 400);
    for (index, last) in [(0, 5), (1, 6)] {
        let numbers: Vec<u16> = received
            .iter()
            .filter(|(_, arrival)| arrival.socket == SocketIndex(index))
            .inspect(|(_, arrival)| assert_eq!(arrival.local_address, loopback(last)))
            .map(|(packet, _)| u16::from_be_bytes(packet.clone().unwrap().try_into().unwrap()))
            .collect();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    }
    // Neither socket waited until the other was empty.
    let first_of_second = received.iter().position(|(_, a)| a.socket == SocketIndex(1)).unwrap();
    let last_of_first = received.iter().rposition(|(_, a)| a.socket == SocketIndex(0)).unwrap();
    assert!(first_of_second < last_of_first);

    let numbers: Vec<[u8; 2]> = (0..200u16).map(u16::to_be_bytes).collect();
    let replies: Vec<Outgoing<'_>> = numbers
        .iter()
        .map(|bytes| Outgoing {
            bytes,
            socket: SocketIndex(u16::from(bytes[1] % 2)),
            source: loopback(5 + bytes[1] % 2),
            destination: Destination::Relay(relay_address),
        })
        .collect();
    sockets.sender.send(&replies, no_error);
    let mut answered = [false; 200];
    for _ in 0..200 {
        let mut buffer = [0; 2];
        let (_, from) = relay.recv_from(&mut buffer).unwrap();
        assert_eq!(from, SocketAddr::from((loopback(5 + buffer[1] % 2), port)));
        let first_time = &mut answered[usize::from(u16::from_be_bytes(buffer))];
        assert!(!std::mem::replace(first_time, true));
    }
}

#[test]
fn one_refused_reply_costs_only_itself_and_is_counted_by_its_number() {
    let (sockets, _) = open(&[loopback(7)], 1 << 20);
    let (relay, relay_address) = relay(9);
    let good = Outgoing {
        bytes: b"good",
        socket: SocketIndex(0),
        source: loopback(7),
        destination: Destination::Relay(relay_address),
    };
    let not_ours = Outgoing { source: Ipv4Addr::new(192, 0, 2, 1), ..good };
    let no_lan = Outgoing { destination: Destination::Broadcast, ..good };
    let no_lan_either = Outgoing {
        destination: Destination::Unconfigured {
            address: loopback(8),
            hardware: HardwareAddress::ethernet([2, 0, 0, 0, 0, 1]),
        },
        ..good
    };
    let no_socket = Outgoing { socket: SocketIndex(1), ..good };
    let too_long = Outgoing { bytes: &[0; 65_508], ..good };
    let mut errors = Vec::new();
    sockets.sender.send(
        &[not_ours, good, no_lan, no_socket, good, too_long, not_ours, no_lan_either, good],
        |position, errno| errors.push((position, errno)),
    );
    errors.sort_unstable();
    // Kernels differ in what they say of a source address that is not this host's.
    let foreign_source = errors[0].1;
    assert!([libc::EINVAL, libc::ENETUNREACH].contains(&foreign_source));
    assert_eq!(
        errors,
        [
            (0, foreign_source),
            (2, libc::EDESTADDRREQ),
            (3, libc::EBADF),
            (5, libc::EMSGSIZE),
            (6, foreign_source),
            (7, libc::EDESTADDRREQ),
        ]
    );
    for _ in 0..3 {
        relay.recv_from(&mut [0; 9]).unwrap();
    }
    relay.set_nonblocking(true).unwrap();
    assert!(relay.recv_from(&mut [0; 9]).is_err(), "three good ones, no more");
    let mut counted =
        [(libc::EBADF, 1), (foreign_source, 2), (libc::EDESTADDRREQ, 2), (libc::EMSGSIZE, 1)];
    counted.sort_unstable();
    assert_eq!(sockets.monitor.send_errors(), counted);
    assert_eq!(sockets.monitor.receive_errors(), []);
}

#[test]
fn a_packet_longer_than_any_message_is_oversized_and_the_next_is_served() {
    let (mut sockets, port) = open(&[loopback(10)], 1 << 20);
    let (relay, _) = relay(9);
    relay.send_to(&[1; 3000], (loopback(10), port)).unwrap();
    relay.send_to(&[2; 2048], (loopback(10), port)).unwrap();
    relay.send_to(&[], (loopback(10), port)).unwrap();
    let packets: Vec<_> = receive(&mut sockets, 3).into_iter().map(|(packet, _)| packet).collect();
    assert_eq!(packets, [Err(Reason::Oversized), Ok(vec![2; 2048]), Ok(vec![])]);
}

#[test]
fn what_the_kernel_drops_is_counted_and_nothing_else() {
    let (mut sockets, port) = open(&[loopback(11), loopback(12)], 8 << 10);
    let granted = sockets.monitor.sockets()[0].receive_buffer_bytes;
    assert!((1 << 10..=64 << 10).contains(&granted), "{granted}");
    let (relay, _) = relay(9);
    let flood = 2000;
    for _ in 0..flood {
        relay.send_to(&[0; 300], (loopback(11), port)).unwrap();
    }
    let drops = sockets.monitor.drops();
    let [(SocketIndex(0), dropped), (SocketIndex(1), 0)] = drops[..] else { panic!("{drops:?}") };
    assert!(dropped > 0 && dropped < flood);
    let kept = usize::try_from(flood - dropped).unwrap();
    assert_eq!(receive(&mut sockets, kept).len(), kept);
    // The counter that comes with the packets and the one that is asked for are the same.
    relay.send_to(&[1; 300], (loopback(11), port)).unwrap();
    receive(&mut sockets, 1);
    assert_eq!(sockets.monitor.drops()[0].1, dropped);
    assert_eq!(sockets.monitor.sockets()[0].dropped, dropped);
    assert_eq!(&*sockets.monitor.sockets()[0].name, format!("127.67.0.11:{port}"));
}

#[test]
fn a_waker_ends_the_wait_it_finds_or_the_next_one() {
    let (sockets, _) = open(&[loopback(13)], 1 << 20);
    let Sockets { mut receiver, waker, .. } = sockets;
    assert!(!receiver.wait(Some(Duration::ZERO)).unwrap());
    waker.wake();
    waker.wake();
    assert!(receiver.wait(None).unwrap());
    assert!(!receiver.wait(Some(Duration::ZERO)).unwrap(), "waking twice wakes once");
    let other = waker.clone();
    let thread = std::thread::spawn(move || other.wake());
    assert!(receiver.wait(None).unwrap());
    thread.join().unwrap();
    assert_eq!(receiver.receive(|_, _| panic!("no packet")), 0);
}

#[test]
fn a_taken_port_names_the_process_that_holds_it() {
    let holder = UdpSocket::bind((loopback(14), 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let error = Sockets::open(&plan(&[loopback(15), loopback(14)], port)).unwrap_err();
    let NetError::PortTaken { address, port: taken, holder: Some(found) } = &error else {
        panic!("{error}");
    };
    assert_eq!((*address, *taken), (loopback(14), port));
    assert_eq!(found.process_id, std::process::id());
    let text = error.to_string();
    assert!(text.contains(&format!("UDP port {port} of 127.67.0.14 is taken by ")), "{text}");
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    // Nothing of the failed plan stays open.
    UdpSocket::bind((loopback(15), port)).unwrap();
}

#[test]
fn a_socket_once_open_is_not_shared_with_anybody() {
    let (_sockets, port) = open(&[loopback(16)], 1 << 20);
    let again = Sockets::open(&plan(&[loopback(16)], port));
    assert!(matches!(again, Err(NetError::PortTaken { .. })));
}

#[test]
fn plans_that_cannot_work_are_refused_with_what_to_do() {
    let error = |plan: &SocketPlan| Sockets::open(plan).unwrap_err().to_string();
    assert!(error(&plan(&[], 1067)).contains("server.relay-listen"));
    let not_ours = Ipv4Addr::new(192, 0, 2, 1);
    for address in [not_ours, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST] {
        let text = error(&plan(&[address], 1067));
        assert!(text.contains(&format!("{address} is no address of this host")), "{text}");
    }
    assert!(error(&plan(&[not_ours, not_ours], 1067)).contains("named twice"));
    let interfaces = vec!["no-such-lan-0".into()];
    let text = error(&SocketPlan { interfaces, ..plan(&[], 1067) });
    assert!(text.contains("there is no interface no-such-lan-0"), "{text}");
    let many: Vec<Ipv4Addr> = (0..257).map(|n| Ipv4Addr::from_bits(0x7f44_0000 + n)).collect();
    assert!(error(&plan(&many, 1067)).contains("257"));
}

#[test]
fn threads_may_send_and_wake_at_once() {
    fn shared_by_threads<T: Clone + Send + Sync>() {}
    fn moved_to_a_thread<T: Send>() {}
    shared_by_threads::<Sender>();
    shared_by_threads::<Waker>();
    shared_by_threads::<vestibule_dhcpd::net::Monitor>();
    moved_to_a_thread::<vestibule_dhcpd::net::Receiver>();
}

/// What may be a message of this type (option 53) that a relay passed on.
fn message(giaddr: Ipv4Addr, message_type: u8) -> Vec<u8> {
    let mut message = vec![0; 300];
    message[0] = 1;
    message[24..28].copy_from_slice(&giaddr.octets());
    message[236..240].copy_from_slice(&[99, 130, 83, 99]);
    message[240..244].copy_from_slice(&[53, 1, message_type, 255]);
    message
}

/// Sends each message so often, and counts how many of each come in.
fn pass(sockets: &mut Sockets, port: u16, messages: &[Vec<u8>], times: usize) -> Vec<usize> {
    let (relay, _) = relay(9);
    let mut counts = vec![0; messages.len()];
    for round in 0..times {
        for message in messages {
            relay.send_to(message, (loopback(1), port)).unwrap();
        }
        // The socket's queue is never full: what was sent is read before more is.
        let mark = format!("round {round}").into_bytes();
        relay.send_to(&mark, (loopback(1), port)).unwrap();
        let mut is_through = false;
        let end = Instant::now() + DEADLINE;
        while !is_through {
            assert!(Instant::now() < end, "{round} of {times}");
            sockets.receiver.wait(Some(Duration::from_millis(100))).unwrap();
            sockets.receiver.receive(|packet, _| {
                let packet = packet.unwrap();
                is_through |= packet == mark;
                if let Some(place) = messages.iter().position(|message| message == packet) {
                    counts[place] += 1;
                }
            });
        }
    }
    counts
}

#[test]
fn the_kernel_throws_away_discovers_of_the_relays_that_it_is_told_and_says_how_many() {
    const TIMES: usize = 4096;
    let (mut sockets, port) = open(&[loopback(1), loopback(2)], 1 << 20);
    let [busy, halved, whole, other] = [1, 2, 3, 4].map(|last| Ipv4Addr::new(10, 20, last, 1));
    let mut behind = message(busy, 1);
    behind[240..247].copy_from_slice(&[12, 1, b'a', 53, 1, 1, 255]);
    let messages = [
        message(busy, 1),
        message(halved, 1),
        message(whole, 1),
        message(other, 1),
        message(busy, 3),
        message(Ipv4Addr::UNSPECIFIED, 1),
        message(busy, 1)[..242].to_vec(),
        behind,
    ];
    let relays = vec![(busy, Part::of(0, 1)), (halved, Part::of(1, 2)), (whole, Part::ALL)];
    sockets.receiver.sieve(&Mesh { relays, others: Part::of(1, 4) }).unwrap();
    let counts = pass(&mut sockets, port, &messages, TIMES);
    // Of 4096 drawn by chance, the bounds are further than ten standard deviations away.
    assert!(counts[0] < TIMES / 64, "{counts:?}");
    assert!(counts[1].abs_diff(TIMES / 2) < TIMES / 8, "{counts:?}");
    assert!(counts[3].abs_diff(TIMES / 4) < TIMES / 8, "{counts:?}");
    assert_eq!(counts[2], TIMES, "a relay that may bring in everything");
    assert_eq!(counts[4..], [TIMES; 4], "what is no relayed DISCOVER passes");
    let lost: usize = counts.iter().map(|count| TIMES - count).sum();
    assert_eq!(sockets.receiver.unread(), lost as u64);
    assert_eq!(sockets.receiver.unread(), 0, "each is told once");
    assert!(sockets.monitor.drops().iter().all(|(_, drops)| *drops == 0), "no queue was full");

    // The longest program that there is; the kernel takes it in the place of the one before.
    let relays = (0x0b00_0000..)
        .map(|number: u32| (Ipv4Addr::from(number), Part::of(1, 2)))
        .take(RELAYS_SIEVED_MAX - 1)
        .chain([(busy, Part::of(0, 1))])
        .collect();
    sockets.receiver.sieve(&Mesh { relays, others: Part::ALL }).unwrap();
    let counts = pass(&mut sockets, port, &messages, TIMES);
    assert!(counts[0] < TIMES / 64, "{counts:?}");
    assert_eq!(counts[1..], [TIMES; 7]);

    sockets.receiver.sieve(&Mesh::OPEN).unwrap();
    sockets.receiver.unread();
    assert_eq!(pass(&mut sockets, port, &messages, 64), [64; 8]);
    assert_eq!(sockets.receiver.unread(), 0);
}

#[test]
fn a_full_queue_is_told_apart_from_what_was_thrown_away() {
    let (mut sockets, port) = open(&[loopback(1)], 4096);
    let (relay, _) = relay(9);
    let send = |count: u32| {
        let message = message(Ipv4Addr::new(10, 20, 0, 1), 3);
        for _ in 0..count {
            relay.send_to(&message, (loopback(1), port)).unwrap();
        }
    };
    send(100);
    let full = sockets.monitor.drops()[0].1;
    assert!(full > 0, "the queue holds 4096 bytes");
    let relays = vec![(Ipv4Addr::new(10, 20, 0, 1), Part::of(0, 1))];
    sockets.receiver.sieve(&Mesh { relays, others: Part::ALL }).unwrap();
    send(100);
    assert_eq!(sockets.receiver.unread(), 100, "dropped while there is a filter, whatever for");
    assert_eq!(sockets.monitor.drops()[0].1, full);
    sockets.receiver.sieve(&Mesh::OPEN).unwrap();
    send(100);
    assert_eq!(sockets.monitor.drops()[0].1, full + 100);
    assert_eq!(sockets.receiver.unread(), 0);
}
