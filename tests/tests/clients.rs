//! Real clients, each through lease, renewal and release, behind a relay and with the gate on.

use vestibule_tests::lab::{Campus, Client, ClientProgram, Gate, Site, until_ok};

/// dhclient renews by itself only, so it gets the shortest lifetime that a configuration may have.
const fn lifetime(program: ClientProgram) -> &'static str {
    match program {
        ClientProgram::Dhclient => "10s",
        ClientProgram::Udhcpc | ClientProgram::Dhcpcd => "1h",
    }
}

fn lease_renew_release(program: ClientProgram) {
    let campus = Campus::new(&[Site::HALLS]).unwrap();
    campus.configure(Gate::Local, "1h", lifetime(program)).unwrap();
    let _dhcpd = campus.start_dhcpd().unwrap();
    let _relay = campus.start_relay(&Site::HALLS).unwrap();
    let laptop = campus.laptop(&Site::HALLS, "laptop", "02:00:5e:00:53:01").unwrap();

    let mut client = Client::start(program, &laptop).unwrap();
    let address = client.wait_address().unwrap();
    let state = || campus.api("GET", &format!("/v1/leases/{address}"), None).unwrap();
    assert_eq!(state().body["state"], "active", "{}", state().text);
    assert_eq!(
        laptop.ok("ip -4 route show default").unwrap().split_whitespace().nth(2),
        Some("10.20.0.1")
    );
    assert!(laptop.read("/etc/resolv.conf").unwrap().contains("nameserver 10.0.0.53"));

    client.renew().unwrap();
    assert_eq!(client.wait_address().unwrap(), address, "a renewal keeps the address");
    assert_eq!(state().body["state"], "active", "{}", state().text);

    client.release().unwrap();
    until_ok("the server knows of the release", || {
        let answer = state();
        if answer.body["state"] == "released" { Ok(()) } else { Err(answer.text) }
    })
    .unwrap();
    let sets = campus.gateway.ok("nft list set inet vestibule unregistered").unwrap();
    assert!(!sets.contains(&address.to_string()), "a released address is in no set: {sets}");
}

#[test]
fn dhclient() {
    lease_renew_release(ClientProgram::Dhclient);
}

#[test]
fn udhcpc() {
    lease_renew_release(ClientProgram::Udhcpc);
}

#[test]
fn dhcpcd() {
    lease_renew_release(ClientProgram::Dhcpcd);
}
