//! Starts that are refused, and ends: each with its cause, a remedy and a status, and nothing half done.

use vestibule_tests::lab::{Host, Lab, Output, program};

const CONFIG: &str = r#"
[server]
name = "dhcp-a"
state-dir = "/run/state"
relay-listen = ["127.0.0.1"]

[[network]]
name = "halls"
gated = true

[[network.subnet]]
prefix = "10.20.0.0/24"
pools = ["10.20.0.10-10.20.0.20"]

[gate]
mode = "local"
lying-resolver = "127.0.0.54"
redirect = "127.0.0.54:8080"
portal = { address = "10.0.0.80", url = "http://register.campus.example/" }

[api]
listen = "127.0.0.1:8067"
token-file = "/run/token"
"#;

struct Gateway {
    host: Host,
    _lab: Lab,
}

impl Gateway {
    fn new(config: &str) -> Self {
        let lab = Lab::new().unwrap();
        let host = lab.host("gateway").unwrap();
        host.write("/run/vestibule.toml", config).unwrap();
        host.write("/run/token", "a-token-of-some-length\n").unwrap();
        host.ok("chmod 600 /run/token && mkdir -p /run/state").unwrap();
        Self { host, _lab: lab }
    }

    fn dhcpd() -> String {
        format!("{} --config /run/vestibule.toml", program("vestibule-dhcpd").unwrap().display())
    }

    /// Starts the server in the foreground; it must end by itself, refused.
    fn refused(&self, wrapper: &str) -> String {
        let output: Output = self.host.run(&format!("{wrapper} {}", Self::dhcpd())).unwrap();
        assert!(!output.success(), "it was to be refused:\n{}", output.both());
        assert_eq!(output.status.code(), Some(1), "{}", output.both());
        assert!(!output.both().contains("ready"), "{}", output.both());
        output.both()
    }
}

fn assert_names(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

#[test]
fn every_mistake_of_the_configuration_is_named_with_its_line() {
    let config = CONFIG.replace("gated = true", "gatd = true").replace("10.20.0.20", "10.21.0.20");
    let said = Gateway::new(&config).refused("");
    assert_names(&said, &["/run/vestibule.toml:9", "gatd", "gated", "/run/vestibule.toml:13"]);
}

#[test]
fn a_token_file_that_cannot_be_read_is_refused_and_its_contents_are_not_told() {
    let gateway = Gateway::new(CONFIG);
    gateway.host.ok("rm /run/token").unwrap();
    assert_names(&gateway.refused(""), &["/run/token", "vestibule.toml:23"]);
    gateway.host.ok("echo a-token-of-some-length >/run/token; chmod 644 /run/token").unwrap();
    let said = gateway.refused("");
    assert_names(&said, &["/run/token", "chmod"]);
    assert!(!said.contains("a-token"), "{said}");
}

#[test]
fn a_taken_port_is_named_with_whoever_has_it() {
    let gateway = Gateway::new(CONFIG);
    let mut first = gateway.host.start("first", &Gateway::dhcpd()).unwrap();
    first.wait_line("ready").unwrap();
    let said = gateway.refused("");
    assert_names(&said, &["127.0.0.1", "67", "vestibule-dhcpd"]);
    assert!(first.ended().is_none(), "the running server is untouched");
}

#[test]
fn two_servers_never_share_a_state_directory() {
    let gateway = Gateway::new(CONFIG);
    let mut first = gateway.host.start("first", &Gateway::dhcpd()).unwrap();
    first.wait_line("ready").unwrap();
    let other = CONFIG.replace("\"127.0.0.1\"", "\"127.0.0.2\"").replace("8067", "8068");
    gateway.host.write("/run/vestibule.toml", &other).unwrap();
    assert_names(&gateway.refused(""), &["/run/state"]);
}

#[test]
fn an_address_that_is_not_ours_is_refused() {
    let gateway = Gateway::new(&CONFIG.replace("\"127.0.0.1\"", "\"192.0.2.67\""));
    assert_names(&gateway.refused(""), &["192.0.2.67"]);
}

#[test]
fn an_interface_that_is_not_there_is_refused() {
    let config = CONFIG.replace("relay-listen = [\"127.0.0.1\"]", "interfaces = [\"lan7\"]");
    assert_names(&Gateway::new(&config).refused(""), &["lan7"]);
}

#[test]
fn without_the_right_to_change_the_kernel_sets_the_start_is_refused() {
    let gateway = Gateway::new(CONFIG);
    let said = gateway.refused("setpriv --bounding-set=-net_admin --inh-caps=-net_admin");
    assert_names(&said, &["CAP_NET_ADMIN", "mode = \"off\""]);
    // The explicit way without.
    gateway.host.write("/run/vestibule.toml", &CONFIG.replace("\"local\"", "\"off\"")).unwrap();
    let line =
        format!("setpriv --bounding-set=-net_admin --inh-caps=-net_admin {}", Gateway::dhcpd());
    let mut server = gateway.host.start("server", &line).unwrap();
    server.wait_line("ready").unwrap();
}

#[test]
fn without_the_right_to_low_ports_the_start_is_refused() {
    let gateway = Gateway::new(CONFIG);
    gateway.host.ok("echo 1024 >/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let drop = "setpriv --bounding-set=-net_bind_service --inh-caps=-net_bind_service";
    assert_names(&gateway.refused(drop), &["CAP_NET_BIND_SERVICE", "67"]);
}

#[test]
fn a_state_directory_that_cannot_be_written_is_refused() {
    let gateway = Gateway::new(CONFIG);
    gateway.host.ok("mount -t tmpfs -o ro tmpfs /run/state").unwrap();
    assert_names(&gateway.refused(""), &["/run/state"]);
}

#[test]
fn a_disk_that_is_full_is_refused_before_the_first_client_comes() {
    let gateway = Gateway::new(CONFIG);
    gateway.host.ok("mount -t tmpfs -o size=1m tmpfs /run/state").unwrap();
    assert_names(&gateway.refused(""), &["/run/state"]);
}

#[test]
fn a_signal_ends_it_cleanly_and_the_table_stays() {
    for signal in ["TERM", "INT"] {
        let gateway = Gateway::new(CONFIG);
        let mut server = gateway.host.start("server", &Gateway::dhcpd()).unwrap();
        server.wait_line("ready").unwrap();
        server.signal(signal).unwrap();
        let status = server.wait_end().unwrap();
        assert!(status.success(), "{status}\n{}", server.log());
        assert!(server.log().contains("ended"), "{}", server.log());
        gateway.host.ok("nft list table inet vestibule").unwrap();
    }
}

#[test]
fn nothing_of_a_refused_start_is_left_in_the_kernel() {
    let gateway = Gateway::new(&CONFIG.replace("\"/run/state\"", "\"/proc/state\""));
    gateway.refused("");
    assert_eq!(gateway.host.ok("nft list ruleset").unwrap(), "");
}

#[test]
fn the_table_that_keeps_gated_networks_shut_at_boot_gives_way_to_the_servers() {
    let gateway = Gateway::new(CONFIG);
    let closed = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/closed.nft");
    gateway.host.ok(&format!("nft -f {closed}")).unwrap();
    let before = gateway.host.ok("nft list table inet vestibule").unwrap();
    assert!(before.contains("chain closed"), "{before}");
    let mut server = gateway.host.start("server", &Gateway::dhcpd()).unwrap();
    server.wait_line("ready").unwrap();
    let table = gateway.host.ok("nft list table inet vestibule").unwrap();
    assert!(table.contains("@registered") && !table.contains("closed"), "{table}");
}
