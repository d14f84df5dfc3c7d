//! Every warning, by a change to a file that has none.

use vestibule_config::{parse, warnings};

/// No gate and everything a host needs: nothing to warn of.
const QUIET: &str = "[server]
name = \"a\"
relay-listen = [\"10.0.0.67\"]
[leases]
[[network]]
name = \"n\"
gated = false
[[network.subnet]]
prefix = \"10.20.0.0/24\"
pools = [\"10.20.0.10-10.20.0.99\"]
[network.subnet.options]
routers = [\"10.20.0.1\"]
domain-name-servers = [\"10.0.0.53\"]
[gate]
mode = \"off\"
[api]
";

/// The same, gated on this host; only the warning about IPv6 is left.
const GATED: &str = "[server]
name = \"a\"
relay-listen = [\"10.0.0.67\"]
[leases]
[[network]]
name = \"n\"
gated = true
[[network.subnet]]
prefix = \"10.20.0.0/24\"
pools = [\"10.20.0.10-10.20.0.99\"]
options = { routers = [\"10.20.0.1\"], domain-name-servers = [\"10.0.0.53\"] }
[gate]
mode = \"local\"
lying-resolver = \"10.0.0.54\"
portal = { address = \"10.0.0.80\", url = \"https://register.example/\" }
walled-garden = [\"register.example\", \"10.0.0.90\"]
[dns]
listen = [\"10.0.0.54\"]
redirect-listen = [\"10.0.0.54:8080\"]
upstream = [\"10.0.0.53\"]
";

const IPV6: &str = "the gated network n does not say whether it has IPv6";

#[track_caller]
fn of(text: &str) -> Vec<String> {
    let vestibule = parse(text, "f").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    warnings(&vestibule)
}

/// Replaces one text in a file, and expects exactly these beginnings of warnings.
#[track_caller]
fn check(file: &str, from: &str, to: &str, expected: &[&str]) {
    assert_eq!(file.matches(from).count(), 1, "{from}");
    let warnings = of(&file.replace(from, to));
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.contains(expected), "{expected} is not in {warning}");
    }
}

#[test]
fn a_plain_file_has_none() {
    assert_eq!(of(QUIET), [""; 0]);
    let warnings = of(GATED);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].starts_with(IPV6));
}

#[test]
fn ipv6_of_gated_networks() {
    check(GATED, "gated = true", "gated = true\nipv6-prefixes = []", &[]);
    check(GATED, "gated = true", "gated = true\nipv6-prefixes = \"2001:db8::/48\"", &[]);
    check(QUIET, "gated = false", "gated = false\nipv6-prefixes = []", &[]);
}

#[test]
fn leases() {
    let to = "[leases]\nlifetime-unregistered = \"2h\"";
    check(GATED, "[leases]", to, &["lifetime-unregistered is longer", IPV6]);
    check(QUIET, "[leases]", to, &[]);
}

#[test]
fn options_of_a_subnet() {
    let place = "subnet 10.20.0.0/24 of network n";
    let none = format!("{place} gives no routers");
    check(QUIET, "routers = [\"10.20.0.1\"]\n", "", &[&none]);
    let none = format!("{place} gives no domain-name-servers");
    check(QUIET, "domain-name-servers = [\"10.0.0.53\"]\n", "", &[&none]);
    // A network's options reach its subnets.
    let text = QUIET.replace("routers = [\"10.20.0.1\"]\n", "");
    let to = "gated = false\noptions = { routers = [\"10.20.0.1\"] }";
    check(&text, "gated = false", to, &[]);
    let routers = "routers = [\"10.20.0.1\"]\n";
    let route = |prefix: &str| {
        format!("classless-static-route = {{ prefix = \"{prefix}\", router = \"10.20.0.1\" }}\n")
    };
    let both = format!("{routers}{}", route("10.0.0.0/8"));
    check(QUIET, routers, &both, &["without a route for 0.0.0.0/0"]);
    check(QUIET, routers, &format!("{routers}{}", route("0.0.0.0/0")), &[]);
    check(QUIET, routers, &route("0.0.0.0/0"), &[]);
    check(QUIET, routers, &format!("{routers}host-name = \"x\"\n"), &["the same host-name"]);
    let portal = format!("{routers}captive-portal = \"http://a.example/\"\n");
    check(QUIET, routers, &portal, &["captive-portal that is not https"]);
}

#[test]
fn pools() {
    check(QUIET, "pools = [\"10.20.0.10-10.20.0.99\"]\n", "", &["neither pools nor reservations"]);
    let router = "[\"10.20.0.1\"]";
    check(QUIET, router, "[\"10.20.0.50\"]", &["10.20.0.50 (its router) in a pool"]);
    let own = "10.20.0.60 (server.relay-listen) in a pool";
    check(QUIET, "[\"10.0.0.67\"]", "[\"10.20.0.60\"]", &[own]);
    let portal = "10.20.0.70 (gate.portal) in a pool";
    check(GATED, "address = \"10.0.0.80\"", "address = \"10.20.0.70\"", &[portal, IPV6]);
    // Reserved for the router's own card, it is nobody else's.
    let text = QUIET.replace(router, "[\"10.20.0.50\"]");
    let to = "[[network.subnet.reservation]]\nmac = \"02:00:5e:00:53:01\"\naddress = \"10.20.0.50\"\n[gate]";
    check(&text, "[gate]", to, &[]);
}

#[test]
fn the_gate() {
    check(
        QUIET,
        "gated = false",
        "gated = true",
        &["network n is gated, but gate.mode is \"off\""],
    );
    check(GATED, "gated = true", "gated = false", &["no network is gated"]);
    let elsewhere = "gate.lying-resolver is 10.0.0.55:53, which is not in dns.listen";
    check(
        GATED,
        "lying-resolver = \"10.0.0.54\"",
        "lying-resolver = \"10.0.0.55\"",
        &[IPV6, elsewhere],
    );
    check(GATED, "listen = [\"10.0.0.54\"]", "listen = [\"0.0.0.0\"]", &[IPV6]);
    let elsewhere = "gate.redirect is 10.0.0.54:80, which is not in dns.redirect-listen";
    check(GATED, "[dns]", "redirect = \"10.0.0.54:80\"\n[dns]", &[IPV6, elsewhere]);
    let loopback = GATED.replace("10.0.0.54", "127.0.0.54");
    let warnings = of(&loopback);
    assert_eq!(warnings.iter().filter(|warning| warning.contains("route_localnet")).count(), 2);
    let without_dns = GATED.split("[dns]").next().unwrap_or_default();
    let none = [
        "there is no [dns]: something else must answer at gate.lying-resolver 10.0.0.54:53",
        "there is no [dns]: something else must answer at gate.redirect 10.0.0.54:80",
    ];
    check(
        without_dns,
        "walled-garden",
        "redirect = \"10.0.0.54:80\"\nwalled-garden",
        &[IPV6, none[0], none[1]],
    );
    check(
        GATED,
        "https://register.example/",
        "http://10.0.0.81:8080/",
        &[IPV6, "leads to another host", "such as register.example"],
    );
    check(
        GATED,
        "https://register.example/\" }\nwalled-garden = [\"register.example\", ",
        "http://10.0.0.80:8080/\" }\nwalled-garden = [",
        &[IPV6],
    );
}

#[test]
fn the_walled_garden() {
    check(GATED, "\"10.0.0.90\"", "\"*.idp.example\"", &[IPV6, "such as *.idp.example"]);
    check(GATED, "\"10.0.0.90\"", "\"8.0.0.0/7\"", &[IPV6, "gate.walled-garden has 8.0.0.0/7"]);
    // Devices find out by these whether they are online.
    for garden in ["captive.apple.com", "*.gstatic.com", "dns.msftncsi.com"] {
        let truly = format!("gate.walled-garden has {garden}, so ");
        let named = format!("such as {garden}");
        check(GATED, "\"10.0.0.90\"", &format!("\"{garden}\""), &[IPV6, &named, &truly]);
        // Names open what they lead to.
        let learnt = format!("\"{garden}\"]\ngarden-socket = \"/run/garden\"");
        check(GATED, "\"10.0.0.90\"]", &learnt, &[IPV6, &truly]);
    }
    let beside = "*.captive.apple.com";
    check(GATED, "\"10.0.0.90\"", &format!("\"{beside}\""), &[IPV6, beside]);
    for garden in ["10.20.0.0/16", "10.20.0.200", "10.16.0.0/12"] {
        let overlaps = format!("gate.walled-garden has {garden}");
        check(GATED, "\"10.0.0.90\"", &format!("\"{garden}\""), &[IPV6, &overlaps]);
    }
}

#[test]
fn captive() {
    let captive = "[captive]\nurl = \"https://captive.example/captive\"\n[dns]";
    check(GATED, "[dns]", captive, &[IPV6]);
    let nobody = "there is a [captive], but no gate";
    check(QUIET, "[api]", &captive.replace("[dns]", "[api]"), &[nobody]);
    let gated = GATED.replace("[dns]", captive);
    let by_address = "captive.url is https://10.0.0.80/captive: devices want a name";
    check(&gated, "https://captive.example/", "https://10.0.0.80/", &[IPV6, by_address]);
    let portal = "gate.portal.url is http://register.example/, which is not https";
    check(&gated, "https://register.example/", "http://register.example/", &[IPV6, portal]);
    let options = "domain-name-servers = [\"10.0.0.53\"]";
    let same = format!("{options}, captive-portal = \"https://captive.example/captive\"");
    check(&gated, options, &same, &[IPV6]);
    let other = format!("{options}, captive-portal = \"https://other.example/\"");
    let told = "network n tells its hosts another captive-portal (https://other.example/)";
    check(&gated, options, &other, &[IPV6, told]);
    // A network without a portal may say so.
    let options = "routers = [\"10.20.0.1\"]\n";
    let urn = format!("{options}captive-portal = \"urn:ietf:params:capport:unrestricted\"\n");
    check(QUIET, options, &urn, &[]);
}

#[test]
fn listening() {
    check(QUIET, "[api]", "[api]\nlisten = \"10.0.0.67:8067\"", &["the token crosses the network"]);
    check(QUIET, "[api]", "[api]\nlisten = \"[::1]:8067\"", &[]);
    check(QUIET, "[api]", "[api]\nlisten = \"/run/vestibule/api\"", &[]);
    check(
        QUIET,
        "[api]",
        "[api]\nlisten = \"127.0.0.1:0\"",
        &["api.listen has 127.0.0.1:0: port 0"],
    );
}

#[test]
fn a_pair() {
    let failover = "[failover]\nname = \"pair\"\nrole = \"primary\"\naddress = \"10.0.0.67\"\n\
        peer = \"10.0.1.67\"\nmclt = \"30m\"\nload-balance-max-seconds = 3\n[api]";
    let both =
        "failover.load-balance-max-seconds is 0, as ISC dhcpd's default: both servers answer";
    check(QUIET, "[api]", failover, &[]);
    check(QUIET, "[api]", &failover.replace("load-balance-max-seconds = 3\n", ""), &[both]);
    let longer = "failover.mclt is longer than leases.lifetime: it limits no lease";
    check(QUIET, "[api]", &failover.replace("30m", "2h"), &[longer]);
    let down = failover.replace("[api]", "auto-partner-down = \"1h\"\n[api]");
    check(
        QUIET,
        "[api]",
        &down,
        &["failover.auto-partner-down takes a cut link for a dead partner"],
    );
}
