//! The gate feed of a whole server, as another host follows it by TLS: a lease, its registration, the end
//! of it, and the end of the server, while that server's own kernel is left alone.

use vestibule_tests::lab::{Campus, Client, ClientProgram, Gate, Host, Site, VESTIBULE_TOML};

const FOLLOWERS_TOKEN: &str = "a-token-for-who-follows-the-gate";

/// The API by TLS, as the certificate names it.
const API: &str = "https://captive.campus.example:8443";

/// `curl` that knows where the API is and who vouches for it; a header file names the caller.
fn curl(header: &str, rest: &str) -> String {
    format!(
        "curl -sS -N --cacert /etc/authority.pem --resolve captive.campus.example:8443:10.0.0.67 \
         -H @{header} {rest}"
    )
}

/// What the API answers to a caller with this header file: the status, and the answer before it.
fn ask(host: &Host, header: &str, rest: &str) -> String {
    host.ok(&curl(header, &format!("-w '\\n%{{http_code}}' {rest}"))).unwrap()
}

/// A campus whose server enforces nothing itself, and speaks TLS.
fn campus() -> Campus {
    let campus = Campus::new(&[Site::HALLS]).unwrap();
    campus.configure(Gate::Local, "1h", "2m").unwrap();
    let toml = campus.gateway.read(VESTIBULE_TOML).unwrap();
    let feed = toml.replace("mode = \"local\"", "mode = \"feed\"");
    assert_ne!(feed, toml);
    // `[api]` stands last.
    let api = "tls-listen = \"10.0.0.67:8443\"\ntls-certificate = \"/etc/vestibule/leaf.pem\"\n\
               tls-key = \"/etc/vestibule/leaf.key\"\n\n[[api.token]]\nname = \"router\"\n\
               file = \"/etc/vestibule/router-token\"\nscope = \"gate\"\n";
    campus.configure_with(&(feed + api)).unwrap();
    let leaf = include_str!("../../dhcpd/tests/certificates/leaf.pem");
    let key = include_str!("../../dhcpd/tests/certificates/leaf.key");
    campus.gateway.write("/etc/vestibule/leaf.pem", leaf).unwrap();
    campus.gateway.write("/etc/vestibule/leaf.key", key).unwrap();
    campus.gateway.write("/etc/vestibule/router-token", FOLLOWERS_TOKEN).unwrap();
    campus.gateway.ok("chmod 600 /etc/vestibule/leaf.key /etc/vestibule/router-token").unwrap();

    let authority = include_str!("../../dhcpd/tests/certificates/ca.pem");
    campus.servers.write("/etc/authority.pem", authority).unwrap();
    let header = format!("authorization: Bearer {FOLLOWERS_TOKEN}\n");
    campus.servers.write("/etc/follower", &header).unwrap();
    campus
        .servers
        .ok("echo \"authorization: Bearer $(cat /etc/vestibule/token)\" >/etc/operator")
        .unwrap();
    campus
}

#[test]
fn another_host_learns_by_tls_whom_to_let_through() {
    let campus = campus();
    let mut dhcpd = campus.start_dhcpd().unwrap();
    let _relay = campus.start_relay(&Site::HALLS).unwrap();
    let servers = &campus.servers;
    let status = ask(servers, "/etc/operator", &format!("{API}/v1/status"));
    assert!(status.contains("nobody follows"), "{status}");

    let follow = curl("/etc/follower", &format!("{API}/v1/gate"));
    let mut follower = servers.start("follower", &follow).unwrap();
    let hello = follower.wait_line("hello").unwrap();
    assert!(hello.contains("\"gate-mode\":\"feed\"") && hello.contains("10.20.0.0/"), "{hello}");
    follower.wait_line("snapshot-end").unwrap();
    let status = ask(servers, "/etc/operator", &format!("{API}/v1/status"));
    assert!(!status.contains("nobody follows") && status.ends_with("200"), "{status}");

    let laptop = campus.laptop(&Site::HALLS, "laptop", "02:00:5e:00:53:01").unwrap();
    let client = Client::start(ClientProgram::Udhcpc, &laptop).unwrap();
    let address = client.wait_address().unwrap();
    follower.wait_line(&format!("[\"{address}\",\"unregistered\",")).unwrap();

    let body = format!("-d '{{\"ip\":\"{address}\"}}' {API}/v1/registrations");
    let answer = ask(servers, "/etc/operator", &body);
    assert!(answer.ends_with("201"), "{answer}");
    follower.wait_line(&format!("[\"{address}\",\"registered\",")).unwrap();
    let before = follower.log().len();
    let delete = format!("-X DELETE {API}/v1/registrations/02:00:5e:00:53:01");
    let answer = ask(servers, "/etc/operator", &delete);
    assert!(answer.ends_with("200"), "{answer}");
    follower.wait_line_after(before, &format!("[\"{address}\",\"unregistered\",")).unwrap();

    let tables = campus.gateway.ok("nft list tables").unwrap();
    assert!(!tables.contains("vestibule"), "{tables}");
    // By TLS as by any other way, a token reaches as far as its scope, and who speaks no TLS is not heard.
    let refused = ask(servers, "/etc/follower", &format!("{API}/v1/leases"));
    assert!(refused.ends_with("403"), "{refused}");
    let plain = servers.run("curl -sS --max-time 20 http://10.0.0.67:8443/healthz").unwrap();
    assert!(!plain.success(), "{}", plain.both());

    dhcpd.signal("TERM").unwrap();
    follower.wait_line("the server is ending").unwrap();
    assert!(follower.wait_end().unwrap().success(), "{}", follower.log());
    assert!(dhcpd.wait_end().unwrap().success(), "{}", dhcpd.log());
}
