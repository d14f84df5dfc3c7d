//! The gateway, its surroundings, and what packets between them meet.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;
use vestibule_core::{GateChange, GateContents, Side};
use vestibule_firewall::{Dialect, Gate, Ruleset};
use vestibule_tests::isolated::{Namespace, command};

pub(crate) const HOUR_MILLISECONDS: u64 = 3_600_000;
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const BOTH_DIALECTS: [Dialect; 2] = [Dialect::Probed, Dialect::Portable];

pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 5);
pub(crate) const HOST_SECOND: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 6);
pub(crate) const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 21, 0, 5);
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const RESOLVER_LYING: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 54);
pub(crate) const RESOLVER_TRUE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 53);
pub(crate) const PORTAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 80);
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 99);
pub(crate) const REDIRECT_PORT: u16 = 8080;

pub(crate) fn ruleset(elements_max: u32) -> Ruleset {
    Ruleset {
        table: "vestibule".to_owned(),
        gated_prefixes: vec!["10.20.0.0/16".parse().unwrap(), "10.21.0.0/16".parse().unwrap()],
        gated_prefixes_ipv6: vec![
            "2001:db8:20::/64".parse().unwrap(),
            "2001:db8:21::/64".parse().unwrap(),
        ],
        gated_prefixes_ipv6_by_hardware: Vec::new(),
        portal: PORTAL,
        portal_redirected: false,
        garden_prefixes: vec!["10.0.0.88/30".parse().unwrap()],
        lying_resolver: SocketAddrV4::new(RESOLVER_LYING, 53),
        redirect: SocketAddrV4::new(RESOLVER_LYING, REDIRECT_PORT),
        captive: None,
        server_addresses: vec![SERVER],
        elements_max,
    }
}

pub(crate) fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 20, 0, 0)) + number)
}

pub(crate) fn put(address: Ipv4Addr, side: Side, milliseconds: u64) -> GateChange {
    GateChange { address, side: Some((side, milliseconds)), forget_flows: false, holder: None }
}

pub(crate) fn out(address: Ipv4Addr) -> GateChange {
    GateChange { address, side: None, forget_flows: false, holder: None }
}

pub(crate) fn forgetting(change: GateChange) -> GateChange {
    GateChange { forget_flows: true, ..change }
}

/// Contents with nobody who is let through by an Ethernet address.
pub(crate) fn elements(elements: Vec<(Ipv4Addr, Side, u64)>) -> GateContents {
    GateContents { elements, ..GateContents::default() }
}

pub(crate) fn sides(gate: &mut Gate) -> Vec<(Ipv4Addr, Side)> {
    gate.contents().unwrap().into_iter().map(|(address, side, _)| (address, side)).collect()
}

/// The gateway's surroundings: a gated host with two addresses, a neighbour in another gated network,
/// and the campus.
pub(crate) struct Surroundings {
    pub(crate) host: Namespace,
    pub(crate) neighbour: Namespace,
    pub(crate) campus: Namespace,
}

impl Surroundings {
    pub(crate) fn new() -> Self {
        let host = Namespace::new("host");
        let neighbour = Namespace::new("neighbour");
        let campus = Namespace::new("campus");
        for (namespace, gateways, addresses) in [
            (&host, vec![GATEWAY], vec![HOST, HOST_SECOND]),
            (&neighbour, vec![Ipv4Addr::new(10, 21, 0, 1)], vec![NEIGHBOUR]),
            (
                &campus,
                vec![SERVER, RESOLVER_LYING],
                vec![RESOLVER_TRUE, PORTAL, Ipv4Addr::new(10, 0, 0, 89), OUTSIDE],
            ),
        ] {
            let name = namespace.name();
            command(&format!("ip link add {name} type veth peer name uplink netns {name}"));
            command(&format!("ip link set {name} up"));
            for gateway in &gateways {
                command(&format!("ip address add {gateway}/24 dev {name}"));
            }
            for address in addresses {
                namespace.command(&format!("ip address add {address}/24 dev uplink"));
            }
            namespace.command("ip link set uplink up");
            namespace.command(&format!("ip route add default via {}", gateways[0]));
        }
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        serve_udp(UdpSocket::bind((RESOLVER_LYING, 53)).unwrap(), "lie");
        serve_tcp(TcpListener::bind((RESOLVER_LYING, 53)).unwrap(), "lie");
        serve_tcp(TcpListener::bind((RESOLVER_LYING, REDIRECT_PORT)).unwrap(), "redirect");
        serve_tcp(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8067)).unwrap(), "api");
        for address in [SERVER, GATEWAY] {
            serve_udp(UdpSocket::bind((address, 67)).unwrap(), "dhcp");
        }
        campus.run(|| {
            serve_udp(UdpSocket::bind((RESOLVER_TRUE, 53)).unwrap(), "truth");
            serve_tcp(TcpListener::bind((RESOLVER_TRUE, 53)).unwrap(), "truth");
            serve_udp(UdpSocket::bind((OUTSIDE, 4000)).unwrap(), "outside");
            for port in [80, 443] {
                serve_tcp(TcpListener::bind((PORTAL, port)).unwrap(), "portal");
                serve_tcp(TcpListener::bind((OUTSIDE, port)).unwrap(), "outside");
            }
            serve_tcp(TcpListener::bind(("10.0.0.89", 443)).unwrap(), "garden");
        });
        for (namespace, address) in [(&host, HOST), (&neighbour, NEIGHBOUR)] {
            namespace.run(|| {
                serve_tcp(TcpListener::bind((address, 22)).unwrap(), "host");
                serve_udp(UdpSocket::bind((address, 4000)).unwrap(), "host");
            });
        }
        Self { host, neighbour, campus }
    }
}

/// Answers every packet with `name`, as long as the process lives.
pub(crate) fn serve_udp(socket: UdpSocket, name: &'static str) {
    std::thread::spawn(move || {
        let mut packet = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut packet) {
            // A refusal on the way back is the asker's to notice.
            let _ = socket.send_to(name.as_bytes(), from);
        }
    });
}

/// Answers every byte on every connection with `name` and a line end, as long as the process lives.
pub(crate) fn serve_tcp(listener: TcpListener, name: &'static str) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() {
                    if writeln!(stream, "{name}").is_err() {
                        break;
                    }
                }
            });
        }
    });
}

pub(crate) fn udp(namespace: &Namespace, from: Ipv4Addr) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind((from, 0)).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Asks by UDP from this very socket, and gives the answer.
pub(crate) fn ask(socket: &UdpSocket, server: (Ipv4Addr, u16)) -> String {
    socket.send_to(b"?", server).unwrap();
    let mut answer = [0; 64];
    let (length, from) = socket.recv_from(&mut answer).unwrap();
    assert_eq!(from, server.into(), "the answer seems to come from the server that was asked");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// Asks by UDP, with a new port; a refusal is an error.
pub(crate) fn ask_new(
    namespace: &Namespace,
    from: Ipv4Addr,
    server: (Ipv4Addr, u16),
) -> Result<String, ErrorKind> {
    let socket = udp(namespace, from);
    socket.connect(server).unwrap();
    socket.send(b"?").map_err(|error| error.kind())?;
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer).map_err(|error| error.kind())?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Opens a connection and asks.
pub(crate) fn connect(
    namespace: &Namespace,
    from: Ipv4Addr,
    server: (Ipv4Addr, u16),
) -> Result<String, ErrorKind> {
    let mut stream = open(namespace, from, server)?;
    talk(&mut stream)
}

pub(crate) fn open(
    namespace: &Namespace,
    from: Ipv4Addr,
    server: (Ipv4Addr, u16),
) -> Result<TcpStream, ErrorKind> {
    // The standard library cannot bind before it connects; the route's preferred source can.
    let route = format!("ip route replace {}/32 via {{}} src {from}", server.0);
    let gateway = match namespace.name() {
        "host" => GATEWAY,
        "neighbour" => Ipv4Addr::new(10, 21, 0, 1),
        _ => SERVER,
    };
    if server.0 != gateway {
        namespace.command(&route.replace("{}", &gateway.to_string()));
    }
    let stream = namespace.run(|| TcpStream::connect_timeout(&server.into(), PATIENCE));
    let stream = stream.map_err(|error| error.kind())?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Ok(stream)
}

pub(crate) fn talk(stream: &mut TcpStream) -> Result<String, ErrorKind> {
    stream.write_all(b"?").map_err(|error| error.kind())?;
    let mut answer = String::new();
    let mut byte = [0];
    loop {
        if stream.read(&mut byte).map_err(|error| error.kind())? == 0 {
            return Err(ErrorKind::UnexpectedEof);
        }
        if byte == *b"\n" {
            return Ok(answer);
        }
        answer.push(char::from(byte[0]));
    }
}

pub(crate) const RESET: Result<String, ErrorKind> = Err(ErrorKind::ConnectionRefused);
pub(crate) const PROHIBITED: Result<String, ErrorKind> = Err(ErrorKind::HostUnreachable);
/// What ICMPv6 calls it.
pub(crate) const FORBIDDEN: Result<String, ErrorKind> = Err(ErrorKind::PermissionDenied);

pub(crate) fn says(name: &str) -> Result<String, ErrorKind> {
    Ok(name.to_owned())
}
