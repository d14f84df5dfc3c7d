//! A client on a LAN that the server itself is attached to: no relay, and answers to a host that has no
//! address yet.

use vestibule_tests::lab::{Campus, Client, ClientProgram, Gate, Site};

fn lease_and_renew(program: ClientProgram) {
    let campus = Campus::new(&[Site::WORKSHOP]).unwrap();
    // dhclient renews by itself only, so it gets the shortest lifetime that a configuration may have.
    let lifetime = if program == ClientProgram::Dhclient { "10s" } else { "1h" };
    campus.configure(Gate::Local, "1h", lifetime).unwrap();
    let _dhcpd = campus.start_dhcpd().unwrap();
    let laptop = campus.laptop(&Site::WORKSHOP, "laptop", "02:00:5e:00:53:01").unwrap();
    let mut client = Client::start(program, &laptop).unwrap();
    let address = client.wait_address().unwrap();
    assert!(address.to_string().starts_with("10.40.0."), "{address}");
    let lease = campus.api("GET", &format!("/v1/leases/{address}"), None).unwrap();
    assert_eq!(lease.body["mac"], "02:00:5e:00:53:01", "{}", lease.text);
    assert_eq!(lease.body["network"], "workshop");
    assert_eq!(lease.body["relay"], serde_json::Value::Null);
    client.renew().unwrap();
    assert_eq!(client.wait_address().unwrap(), address);
}

#[test]
fn udhcpc_on_an_attached_lan() {
    lease_and_renew(ClientProgram::Udhcpc);
}

#[test]
fn dhclient_on_an_attached_lan() {
    lease_and_renew(ClientProgram::Dhclient);
}

#[test]
fn a_relayed_and_an_attached_network_of_one_server() {
    let campus = Campus::new(&[Site::WORKSHOP, Site::HALLS]).unwrap();
    campus.configure(Gate::Off, "1h", "2m").unwrap();
    let _dhcpd = campus.start_dhcpd().unwrap();
    let _relay = campus.start_relay(&Site::HALLS).unwrap();
    for (site, name, mac) in
        [(Site::WORKSHOP, "near", "02:00:5e:00:53:01"), (Site::HALLS, "far", "02:00:5e:00:53:02")]
    {
        let laptop = campus.laptop(&site, name, mac).unwrap();
        let client = Client::start(ClientProgram::Udhcpc, &laptop).unwrap();
        let address = client.wait_address().unwrap().to_string();
        assert!(address.starts_with(&format!("{}.", site.network)), "{address} in {}", site.name);
    }
}
