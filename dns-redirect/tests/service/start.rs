//! What keeps a service from starting, and what it says then.

use crate::lab::{Lab, dns, gate, loopback};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};
use vestibule_config::{Dns, GardenEntry};
use vestibule_dns::port_holder::{self, Protocol};
use vestibule_dns::{Obstacle, Service, StartError};

/// How long is waited for what must come about at some time.
const PATIENCE: Duration = Duration::from_secs(10);

fn refusal(dns: &Dns) -> StartError {
    match Service::bind(dns, &gate(), None) {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_taken_port_names_its_holder() {
    let own = format!("(process {})", std::process::id());
    let udp = UdpSocket::bind(loopback()).unwrap();
    let tcp = TcpListener::bind(loopback()).unwrap();
    let http = TcpListener::bind(loopback()).unwrap();
    let at = |address: SocketAddr| Dns { listen: vec![address], ..dns(&[]) };
    let (udp, tcp) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    let http = http.local_addr().unwrap();
    let redirect = Dns { redirect_listen: vec![http], ..dns(&[]) };
    for (dns, protocol, address, key) in [
        (at(udp), "UDP", udp, "dns.listen"),
        (at(tcp), "TCP", tcp, "dns.listen"),
        (redirect, "TCP", http, "dns.redirect-listen"),
    ] {
        let error = refusal(&dns);
        let StartError::Bind(bind) = &error else { panic!("{error}") };
        assert_eq!(bind.address, address);
        assert!(
            matches!(&bind.obstacle, Obstacle::Taken(Some(holder)) if holder.address == address)
        );
        let text = error.to_string();
        let start = format!("{protocol} port {} of 127.0.0.1 is taken by ", address.port());
        assert!(text.starts_with(&start) && text.contains(&own) && text.ends_with(key), "{text}");
    }
}

/// Whether a socket is bound to exactly this address. Tests that ask use an address of their own, so
/// that no other test's socket can be meant.
fn is_open(protocol: Protocol, address: SocketAddr) -> bool {
    port_holder::find(protocol, address).is_some_and(|holder| holder.address == address)
}

#[tokio::test]
async fn nothing_is_left_open_by_a_start_that_failed() {
    let taken = TcpListener::bind(loopback()).unwrap();
    let free = UdpSocket::bind("127.0.0.3:0").unwrap().local_addr().unwrap();
    let dns =
        Dns { listen: vec![free], redirect_listen: vec![taken.local_addr().unwrap()], ..dns(&[]) };
    refusal(&dns);
    // Another test's child process has all descriptors of this process, until it runs its program.
    let deadline = Instant::now() + PATIENCE;
    while is_open(Protocol::Udp, free) || is_open(Protocol::Tcp, free) {
        assert!(Instant::now() < deadline, "{free} is still open");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn an_address_of_another_host_is_refused_with_a_remedy() {
    let error = refusal(&Dns { listen: vec!["192.0.2.1:0".parse().unwrap()], ..dns(&[]) });
    let text = error.to_string();
    assert!(text.contains("192.0.2.1") && text.contains("ip address add"), "{text}");
    assert!(matches!(error, StartError::Bind(bind) if matches!(bind.obstacle, Obstacle::NotOurs)));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_served_is_refused() {
    let mut no_portal = gate();
    no_portal.portal = None;
    assert!(matches!(Service::bind(&dns(&[]), &no_portal, None), Err(StartError::NoPortal)));
    let mut bad_url = gate();
    bad_url.portal.as_mut().unwrap().url = "http://a/\r\nb: c".into();
    assert!(matches!(Service::bind(&dns(&[]), &bad_url, None), Err(StartError::PortalUrl(_))));
    let mut bad_name = gate();
    bad_name.walled_garden.push(GardenEntry::Below("a..b".into()));
    assert!(matches!(Service::bind(&dns(&[]), &bad_name, None), Err(StartError::NotAName(_))));
}

#[tokio::test]
async fn several_addresses_are_served() {
    let two = vec![loopback(), "127.0.0.2:0".parse().unwrap()];
    let service = Service::bind(
        &Dns { listen: two.clone(), redirect_listen: vec![], metrics_listen: None, ..dns(&[]) },
        &gate(),
        None,
    )
    .unwrap();
    let addresses = service.addresses().unwrap();
    assert_eq!(
        (addresses.dns_udp.len(), addresses.dns_tcp.len(), addresses.redirect.len()),
        (2, 2, 0)
    );
    assert!(addresses.to_string().ends_with("; no redirect"), "{addresses}");
    let lab = Lab::start_with(&Dns { listen: two, ..dns(&[]) }, &gate());
    assert_ne!(lab.udp, lab.tcp);
}

#[tokio::test]
async fn a_service_that_is_stopped_gives_its_ports_back() {
    let own: SocketAddr = "127.0.0.4:0".parse().unwrap();
    let dns = Dns { listen: vec![own], redirect_listen: vec![own], ..dns(&[]) };
    let service = Service::bind(&dns, &gate(), None).unwrap();
    let addresses = service.addresses().unwrap();
    let open = || {
        [
            is_open(Protocol::Udp, addresses.dns_udp[0]),
            is_open(Protocol::Tcp, addresses.dns_tcp[0]),
            is_open(Protocol::Tcp, addresses.redirect[0]),
        ]
    };
    assert_eq!(open(), [true; 3]);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(service.run(async { stopped.await.unwrap() }));
    let mut idle = tokio::net::TcpStream::connect(addresses.dns_tcp[0]).await.unwrap();
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(open(), [false; 3]);
    let read = tokio::io::AsyncReadExt::read(&mut idle, &mut [0; 1]).await;
    assert!(matches!(read, Ok(0) | Err(_)));
}
