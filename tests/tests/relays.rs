//! Real clients behind real relays: each gets an address of its own network, and the server knows by
//! which relay and which circuit.

use vestibule_tests::lab::{Campus, Client, ClientProgram, Gate, Site, SiteKind};

const HALLS_WITH_OPTION_82: Site = Site { kind: SiteKind::BehindIscRelay, ..Site::HALLS };

#[test]
fn two_clients_behind_two_relays_with_option_82() {
    let sites = [HALLS_WITH_OPTION_82, Site::LIBRARY];
    let campus = Campus::new(&sites).unwrap();
    campus.configure(Gate::Local, "1h", "2m").unwrap();
    let _dhcpd = campus.start_dhcpd().unwrap();
    let _relays = sites.map(|site| campus.start_relay(&site).unwrap());
    let macs = ["02:00:5e:00:53:01", "02:00:5e:00:53:02"];
    let laptops = [
        campus.laptop(&sites[0], "one", macs[0]).unwrap(),
        campus.laptop(&sites[1], "other", macs[1]).unwrap(),
    ];
    let clients = [
        Client::start(ClientProgram::Udhcpc, &laptops[0]).unwrap(),
        Client::start(ClientProgram::Dhclient, &laptops[1]).unwrap(),
    ];
    for ((site, mac), client) in sites.iter().zip(macs).zip(&clients) {
        let address = client.wait_address().unwrap().to_string();
        assert!(address.starts_with(&format!("{}.", site.network)), "{address} in {}", site.name);
        let lease = campus.api("GET", &format!("/v1/leases/{address}"), None).unwrap();
        assert_eq!(lease.status, 200, "{}", lease.text);
        assert_eq!(lease.body["mac"], mac);
        assert_eq!(lease.body["network"], site.name);
        assert_eq!(lease.body["state"], "active");
        assert_eq!(lease.body["relay"], site.router());
        // The relay names a circuit after the interface that the request came in by.
        assert_eq!(lease.body["circuit-id"], "lan");
    }
}

#[test]
fn a_client_behind_dnsmasq_as_relay() {
    let campus = Campus::new(&[Site::HALLS]).unwrap();
    campus.configure(Gate::Local, "1h", "2m").unwrap();
    let _dhcpd = campus.start_dhcpd().unwrap();
    let _relay = campus.start_relay(&Site::HALLS).unwrap();
    let laptop = campus.laptop(&Site::HALLS, "laptop", "02:00:5e:00:53:01").unwrap();
    let client = Client::start(ClientProgram::Udhcpc, &laptop).unwrap();
    let address = client.wait_address().unwrap();
    assert!(address.to_string().starts_with("10.20."), "{address}");
    let lease = campus.api("GET", &format!("/v1/leases/{address}"), None).unwrap();
    assert_eq!(lease.body["relay"], Site::HALLS.router(), "{}", lease.text);
    assert_eq!(lease.body["circuit-id"], serde_json::Value::Null, "dnsmasq adds no option 82");
}

#[test]
fn a_laptop_that_moves_is_told_no_and_gets_an_address_there() {
    let sites = [HALLS_WITH_OPTION_82, Site::LIBRARY];
    let campus = Campus::new(&sites).unwrap();
    campus.configure(Gate::Local, "1h", "1h").unwrap();
    let _dhcpd = campus.start_dhcpd().unwrap();
    let _relays = sites.map(|site| campus.start_relay(&site).unwrap());
    let mac = "02:00:5e:00:53:01";
    let laptop = campus.laptop(&sites[0], "laptop", mac).unwrap();
    let mut client = Client::start(ClientProgram::Dhclient, &laptop).unwrap();
    assert!(client.wait_address().unwrap().to_string().starts_with("10.20."));

    // Asleep in one LAN, awake in another: it asks for the address that it remembers.
    client.process().kill().unwrap();
    laptop.ip("link delete dev eth0").unwrap();
    campus.lab.plug(sites[1].name, &laptop, "eth0").unwrap();
    laptop.ip(&format!("link set dev eth0 address {mac}")).unwrap();
    let mut client = Client::start(ClientProgram::Dhclient, &laptop).unwrap();
    assert!(client.wait_address().unwrap().to_string().starts_with("10.30.0."));
    let log = client.process().log();
    assert!(log.contains("DHCPREQUEST for 10.20."), "{log}");
    assert!(log.contains("DHCPNAK from"), "{log}");
}
