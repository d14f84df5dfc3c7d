//! Options as they go on the wire, held against bytes that were written by hand from the RFCs.

use vestibule_config::option_table::{COMPUTED, KNOWN, Kind};
use vestibule_core::OptionSet;

/// The options of a subnet with these lines under `[network.subnet.options]`.
fn options(lines: &str) -> Result<OptionSet, String> {
    let text = format!(
        "[server]\nname = \"a\"\ninterfaces = [\"eth0\"]\n[gate]\nmode = \"off\"\n[[network]]\n\
         name = \"n\"\ngated = false\n[[network.subnet]]\nprefix = \"10.20.0.0/22\"\n\
         [network.subnet.options]\n{lines}\n"
    );
    let vestibule = vestibule_config::parse(&text, "f").map_err(|mistakes| mistakes.to_string())?;
    let mut networks = vestibule.core.networks;
    Ok(networks.remove(0).subnets.remove(0).options)
}

#[track_caller]
fn check(line: &str, code: u8, contents: &[u8]) {
    let options = options(line).unwrap_or_else(|mistakes| panic!("{line}: {mistakes}"));
    let found: Vec<(u8, &[u8])> = options.iter().collect();
    assert_eq!(found, [(code, contents)], "{line}");
}

#[test]
fn addresses() {
    check("routers = [\"10.20.0.1\"]", 3, &[10, 20, 0, 1]);
    check("routers = \"10.20.0.1\"", 3, &[10, 20, 0, 1]);
    let two = &[10, 0, 0, 53, 10, 0, 1, 53];
    check("domain-name-servers = [\"10.0.0.53\", \"10.0.1.53\"]", 6, two);
    check("log-servers = \"10.0.0.7\"", 7, &[10, 0, 0, 7]);
    check("ntp-servers = \"10.0.0.123\"", 42, &[10, 0, 0, 123]);
    check("netbios-name-servers = \"10.0.0.44\"", 44, &[10, 0, 0, 44]);
    check("broadcast-address = \"10.20.3.255\"", 28, &[10, 20, 3, 255]);
    check("tftp-server-address = [\"10.0.0.69\"]", 150, &[10, 0, 0, 69]);
}

#[test]
fn numbers() {
    check("time-offset = -18000", 2, &[0xff, 0xff, 0xb9, 0xb0]);
    check("time-offset = 3600", 2, &[0, 0, 0x0e, 0x10]);
    check("interface-mtu = 1500", 26, &[0x05, 0xdc]);
    check("interface-mtu = 0x05dc", 26, &[0x05, 0xdc]);
    check("default-ip-ttl = 64", 23, &[64]);
    check("ip-forwarding = false", 19, &[0]);
    check("auto-configure = true", 116, &[1]);
    check("path-mtu-plateaus = [68, 1500]", 25, &[0, 68, 0x05, 0xdc]);
    check("v6-only-preferred = \"30m\"", 108, &[0, 0, 0x07, 0x08]);
    check("netbios-node-type = \"h-node\"", 46, &[8]);
}

#[test]
fn texts() {
    check("host-name = \"printer\"", 12, b"printer");
    check("domain-name = \"Campus.example\"", 15, b"campus.example");
    check("tftp-server-name = \"boot.example\"", 66, b"boot.example");
    check("bootfile-name = \"a/b c.efi\"", 67, b"a/b c.efi");
    check("vendor-class-identifier = \"PXEClient\"", 60, b"PXEClient");
    let url = "https://register.campus.example/captive";
    check(&format!("captive-portal = \"{url}\""), 114, url.as_bytes());
    let url = "http://wpad.campus.example/wpad.dat";
    check(&format!("web-proxy-auto-discovery = \"{url}\""), 252, url.as_bytes());
}

#[test]
fn domain_search_in_dns_encoding() {
    check(
        "domain-search = [\"eng.example\", \"B.example.\"]",
        119,
        b"\x03eng\x07example\x00\x01b\x07example\x00",
    );
}

/// RFC 3442: only the significant bytes of each prefix.
#[test]
fn classless_routes() {
    check(
        "classless-static-route = [\n\
         { prefix = \"0.0.0.0/0\", router = \"10.20.0.1\" },\n\
         { prefix = \"10.0.0.0/8\", router = \"10.20.0.2\" },\n\
         { prefix = \"10.17.0.0/16\", router = \"10.20.0.3\" },\n\
         { prefix = \"10.27.129.0/24\", router = \"10.20.0.4\" },\n\
         { prefix = \"10.229.0.128/25\", router = \"10.20.0.5\" },\n\
         { prefix = \"10.198.122.47/32\", router = \"0.0.0.0\" },\n\
         ]",
        121,
        &[
            0, 10, 20, 0, 1, //
            8, 10, 10, 20, 0, 2, //
            16, 10, 17, 10, 20, 0, 3, //
            24, 10, 27, 129, 10, 20, 0, 4, //
            25, 10, 229, 0, 128, 10, 20, 0, 5, //
            32, 10, 198, 122, 47, 0, 0, 0, 0,
        ],
    );
    let one = "{ prefix = \"172.16.0.0/12\", router = \"10.20.0.1\" }";
    let contents = &[12, 172, 16, 10, 20, 0, 1];
    check(&format!("classless-static-route = {one}"), 121, contents);
    check(&format!("microsoft-classless-static-route = [{one}]"), 249, contents);
}

#[test]
fn any_other_code_by_its_number() {
    check("option-224 = \"hex:0a0B\"", 224, &[0x0a, 0x0b]);
    check("option-224 = \"hex:0a:0b-0c 0d\"", 224, &[0x0a, 0x0b, 0x0c, 0x0d]);
    check("option-254 = \"text:grüße\"", 254, "grüße".as_bytes());
    check("vendor-specific-information = \"hex:0104deadbeef\"", 43, b"\x01\x04\xde\xad\xbe\xef");
}

/// RFC 9463 section 5.1: length, priority, name, addresses, then the parameters by key (RFC 9460).
#[test]
fn encrypted_resolvers() {
    let resolver = "encrypted-dns = { priority = 2, name = \"ns.example\", addresses = [\"192.0.2.53\"], \
                    alpn = [\"dot\", \"h2\"], port = 853, path = \"/q{?dns}\" }";
    let contents = b"\x00\x31\x00\x02\x0c\x02ns\x07example\x00\x04\xc0\x00\x02\x35\
        \x00\x01\x00\x07\x03dot\x02h2\x00\x03\x00\x02\x03\x55\x00\x07\x00\x08/q{?dns}";
    check(resolver, 162, contents);
    let without_protocol = "encrypted-dns = { name = \"a.b\", addresses = [\"192.0.2.53\"] }";
    let mistakes = options(without_protocol).expect_err("RFC 9463 wants alpn with addresses");
    assert!(mistakes.contains("needs `alpn`"), "{mistakes}");
}

#[test]
fn encapsulated_options() {
    let line = "vendor-specific-information = { 6 = \"u8:8\", 10 = \"hex:00\", 9 = \"text:a\" }";
    check(line, 43, &[6, 1, 8, 9, 1, b'a', 10, 1, 0]);
    let line = "vendor-identifying-vendor-specific = [{ enterprise = 4491, options = { 1 = \"u16:770\" } }, \
                { enterprise = 9, options = { 2 = \"u32:1\" } }]";
    let contents = &[0, 0, 0x11, 0x8b, 4, 1, 2, 3, 2, 0, 0, 0, 9, 6, 2, 4, 0, 0, 0, 1];
    check(line, 125, contents);
    check("sip-servers = [\"sip.example\"]", 120, b"\x00\x03sip\x07example\x00");
    check("sip-servers = [\"192.0.2.5\"]", 120, &[1, 192, 0, 2, 5]);
    check("pcp-servers = [\"192.0.2.5\", \"192.0.2.6\"]", 158, &[8, 192, 0, 2, 5, 192, 0, 2, 6]);
    check("policy-filter = \"10.16.0.0/12\"", 21, &[10, 16, 0, 0, 255, 240, 0, 0]);
}

/// What the file names itself is read by its type, and shown under its name.
#[test]
fn options_of_the_files_own() {
    let text = "[server]\nname = \"a\"\ninterfaces = [\"eth0\"]\n[gate]\nmode = \"off\"\n[[option]]\n\
                name = \"printer-queue\"\ncode = 224\ntype = \"number32\"\n[[network]]\nname = \"n\"\n\
                gated = false\noptions = { printer-queue = 70000 }\n[[network.subnet]]\n\
                prefix = \"10.20.0.0/22\"\n";
    let vestibule = vestibule_config::parse(text, "f").unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(vestibule.core.networks[0].options.get(224), Some(&[0, 1, 0x11, 0x70][..]));
    let explained = vestibule_config::explain(&vestibule);
    assert!(explained.contains("option printer-queue = 70000"), "{explained}");
    for (from, to, message) in [
        ("printer-queue = 70000", "printer-queue = \"a\"", "takes a whole number, not text"),
        ("printer-queue = 70000", "option-224 = \"u32:1\"", "write `printer-queue`"),
        ("name = \"printer-queue\"", "name = \"routers\"", "already means an option"),
        ("code = 224", "code = 6", "option 6 has a name"),
        ("code = 224", "code = 53", "cannot be configured"),
        ("\"number32\"", "\"colour\"", "is no type of an option"),
    ] {
        let mistakes = vestibule_config::parse(&text.replace(from, to), "f").expect_err(to);
        assert!(mistakes.to_string().contains(message), "{to}: {mistakes}");
    }
}

#[test]
fn contents_have_a_limit() {
    let names: Vec<String> = (0..200).map(|n| format!("\"a{n:03}.example\"")).collect();
    let mistakes = options(&format!("domain-search = [{}]", names.join(", ")));
    let mistakes = mistakes.expect_err("2800 bytes are too many");
    assert!(mistakes.contains("takes 2800 bytes; the limit is 1024"), "{mistakes}");
    // Longer than 255 bytes is legal: the encoder splits it (RFC 3396).
    let names = names[..70].join(", ");
    assert_eq!(
        options(&format!("domain-search = [{names}]")).map(|set| set.get(119).map(<[u8]>::len)),
        Ok(Some(980))
    );
}

/// A value of each kind, as it is written in a file and as `check` prints it.
fn sample(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Address => ("\"192.0.2.1\"", "192.0.2.1"),
        Kind::Addresses => ("[\"192.0.2.1\", \"192.0.2.2\"]", "192.0.2.1, 192.0.2.2"),
        Kind::Flag => ("true", "true"),
        Kind::Number8(_) => ("255", "255"),
        Kind::Number16(_) => ("1500", "1500"),
        Kind::Numbers16(_) => ("[68, 1500]", "68, 1500"),
        Kind::Signed32 => ("-3600", "-3600"),
        Kind::Seconds => ("\"90m\"", "1h30m"),
        Kind::Text => ("\"some text\"", "some text"),
        Kind::DomainName => ("\"a.example\"", "a.example"),
        Kind::DomainNames => ("[\"a.example\", \"b.example\"]", "a.example, b.example"),
        Kind::Url => ("\"http://a.example/\"", "http://a.example/"),
        Kind::UrlOrUnrestricted => ("\"https://a.example/captive\"", "https://a.example/captive"),
        Kind::Routes => {
            ("{ prefix = \"10.0.0.0/8\", router = \"192.0.2.1\" }", "10.0.0.0/8 via 192.0.2.1")
        }
        Kind::NetbiosNodeType => ("\"p-node\"", "p-node"),
        Kind::Bytes => ("\"text:ab\"", "hex:6162"),
        Kind::Number32 => ("70000", "70000"),
        Kind::EncodedName => ("\"a.example\"", "a.example"),
        Kind::AddressMasks => ("[\"10.0.0.0/8\"]", "10.0.0.0/255.0.0.0"),
        Kind::HostRoutes => {
            ("{ prefix = \"192.0.2.9/32\", router = \"192.0.2.1\" }", "192.0.2.9 via 192.0.2.1")
        }
        Kind::AddressesOrNames => ("[\"192.0.2.1\", \"192.0.2.2\"]", "192.0.2.1, 192.0.2.2"),
        Kind::AddressLists => ("[[\"192.0.2.1\"], [\"192.0.2.2\"]]", "hex:04c000020104c0000202"),
        Kind::Urls => ("[\"https://a/\"]", "hex:000a68747470733a2f2f612f"),
        Kind::Ipv6Prefix => unreachable!("only inside of others"),
        Kind::Fields(fields) => match fields.section.header {
            "slp-directory-agent" => {
                ("{ mandatory = true, servers = [\"192.0.2.1\"] }", "hex:01c0000201")
            }
            "slp-service-scope" => ("{ mandatory = false, scopes = \"AB\" }", "hex:004142"),
            "rdnss-selection" => (
                "{ preference = 1, primary = \"192.0.2.1\", secondary = \"192.0.2.2\", \
                 domains = [\"a.b\"] }",
                "hex:01c0000201c00002020161016200",
            ),
            "port-parameters" => ("{ offset = 6, psid-length = 8, psid = 0x3400 }", "hex:06083400"),
            "6rd" => (
                "{ ipv4-mask-length = 8, prefix = \"2001:db8::/32\", relays = [\"192.0.2.1\"] }",
                "hex:082020010db8000000000000000000000000c0000201",
            ),
            other => panic!("{other} needs a sample"),
        },
        Kind::SubOptions => {
            ("{ 2 = \"u16:1500\", 1 = \"ipv4:192.0.2.1\" }", "1 = hex:c0000201, 2 = hex:05dc")
        }
        Kind::VendorClasses => ("{ enterprise = 9, data = \"text:ab\" }", "hex:00000009026162"),
        Kind::VendorOptions => {
            ("{ enterprise = 4491, options = { 2 = \"u8:1 2\" } }", "enterprise 4491: 2 = hex:0102")
        }
        Kind::Resolvers => ("{ name = \"a.b\" }", "hex:00080001050161016200"),
    }
}

/// Every option of the table can be configured by its name, and `check` shows it as it was written.
#[test]
fn every_named_option_comes_back_in_words() {
    for option in KNOWN {
        let (written, shown) = sample(option.kind);
        let text = format!(
            "[server]\nname = \"a\"\ninterfaces = [\"eth0\"]\n[gate]\nmode = \"off\"\n[[network]]\n\
             name = \"n\"\ngated = false\noptions = {{ {} = {written} }}\n[[network.subnet]]\n\
             prefix = \"10.20.0.0/22\"\n",
            option.name
        );
        let vestibule = vestibule_config::parse(&text, option.name)
            .unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let options = &vestibule.core.networks[0].options;
        assert!(options.get(option.code).is_some(), "{}", option.name);
        let line = format!("\n  option {} = {shown}\n", option.name);
        let explained = vestibule_config::explain(&vestibule);
        assert!(explained.contains(&line), "{line} is not in {explained}");
    }
}

/// What the server computes is refused under its name and under its code, each time with the reason.
#[test]
fn computed_options_are_refused_with_the_reason() {
    for option in COMPUTED {
        for key in [option.name.to_owned(), format!("option-{}", option.code)] {
            let mistakes = options(&format!("{key} = \"hex:00\"")).expect_err("it is refused");
            assert!(mistakes.contains(option.reason), "{mistakes}");
        }
    }
}
