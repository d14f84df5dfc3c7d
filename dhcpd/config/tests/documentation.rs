//! `docs/configuration.md` says what the grammar says: every key, every option, every limit, and its
//! examples are files that the server takes.

use std::path::{Path, PathBuf};
use vestibule_config::grammar::{FILE, ROUTE, SECTIONS, Section};
use vestibule_config::limits;
use vestibule_config::option_table::{COMPUTED, KNOWN, Kind, UNRESTRICTED};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md")
}

fn documentation() -> String {
    std::fs::read_to_string(path()).expect("the documentation is there")
}

/// What stands under a heading, up to the next one.
fn under<'d>(documentation: &'d str, heading: &str) -> &'d str {
    let start = documentation.find(&format!("\n{heading}\n"));
    let start = start.unwrap_or_else(|| panic!("there is no heading {heading}"));
    let text = &documentation[start + heading.len() + 2..];
    let end = text
        .match_indices("\n#")
        .find(|(at, _)| text[at + 1..].trim_start_matches('#').starts_with(' '));
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

fn heading(section: &Section) -> String {
    if *section == FILE {
        return "## The file".to_owned();
    }
    if *section == ROUTE {
        return "### Keys of a route of classless-static-route".to_owned();
    }
    format!("## `{}`", section.header)
}

/// The keys in the first column of the tables of a text.
fn keys(text: &str) -> Vec<&str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).collect()
}

#[test]
fn every_key_stands_under_its_section_and_no_other() {
    let documentation = documentation();
    for section in &SECTIONS {
        let mut documented = keys(under(&documentation, &heading(section)));
        let mut known = section.keys.to_vec();
        documented.sort_unstable();
        known.sort_unstable();
        assert_eq!(documented, known, "{}", section.header);
    }
}

fn kind_in_words(kind: Kind) -> String {
    match kind {
        Kind::Address => "IPv4 address".to_owned(),
        Kind::Addresses => "list of IPv4 addresses".to_owned(),
        Kind::Flag => "true or false".to_owned(),
        Kind::Number8(min) => format!("number, {min} to 255"),
        Kind::Number16(min) => format!("number, {min} to 65535"),
        Kind::Numbers16(min) => format!("list of numbers, {min} to 65535"),
        Kind::Signed32 => "number, may be negative".to_owned(),
        Kind::Seconds => "duration".to_owned(),
        Kind::Text => "ASCII text".to_owned(),
        Kind::DomainName => "domain name".to_owned(),
        Kind::DomainNames => "list of domain names".to_owned(),
        Kind::Url => "URL, `http` or `https`".to_owned(),
        Kind::UrlOrUnrestricted => format!("URL, `http` or `https`; or `{UNRESTRICTED}`"),
        Kind::Routes => "list of `{ prefix = …, router = … }`".to_owned(),
        Kind::NetbiosNodeType => "`b-node`, `p-node`, `m-node` or `h-node`".to_owned(),
        Kind::Bytes => "bytes".to_owned(),
        Kind::Number32 => "number, 0 to 4294967295".to_owned(),
        Kind::EncodedName => "domain name".to_owned(),
        Kind::AddressMasks => "list of prefixes".to_owned(),
        Kind::HostRoutes => {
            "list of `{ prefix = …, router = … }`, hosts only; clients ignore it beside 121"
                .to_owned()
        }
        Kind::AddressesOrNames => "list of IPv4 addresses, or of domain names".to_owned(),
        Kind::AddressLists => "list of IPv4 addresses, or of lists of them".to_owned(),
        Kind::Urls => "list of URLs, `http` or `https`".to_owned(),
        Kind::Ipv6Prefix => unreachable!("only inside of others"),
        Kind::Fields(fields) => {
            let keys: Vec<String> =
                fields.section.keys.iter().map(|key| format!("{key} = …")).collect();
            format!("`{{ {} }}`", keys.join(", "))
        }
        Kind::SubOptions => "table of sub-options, as `{ 1 = \"ipv4:10.0.0.5\" }`".to_owned(),
        Kind::VendorClasses => "list of `{ enterprise = 9, data = \"text:…\" }`".to_owned(),
        Kind::VendorOptions => "list of `{ enterprise = 9, options = { 1 = \"…\" } }`".to_owned(),
        Kind::Resolvers => "list of [resolvers](#encrypted-resolvers)".to_owned(),
    }
}

/// The block between two marks is what it should be; `UPDATE_DOCS=1` makes it so.
fn check_block(name: &str, expected: &str) {
    let documentation = documentation();
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = documentation.split_once(&begin).expect("the mark is there");
    let (found, after) = rest.split_once(&end).expect("the mark is there");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{before}{begin}{expected}{end}{after}");
        std::fs::write(path(), text).expect("the documentation can be written");
        return;
    }
    assert_eq!(found, expected, "run with UPDATE_DOCS=1 if this is meant");
}

// One test for both tables, because both rewrite the same file.
#[test]
fn the_tables_of_options_are_those_of_the_source() {
    let mut table = "| option | code | value |\n| --- | --- | --- |\n".to_owned();
    for option in KNOWN {
        let row =
            format!("| `{}` | {} | {} |\n", option.name, option.code, kind_in_words(option.kind));
        table.push_str(&row);
    }
    check_block("options", &table);
    let mut table = "| option | code | because |\n| --- | --- | --- |\n".to_owned();
    for option in COMPUTED {
        table.push_str(&format!("| `{}` | {} | {} |\n", option.name, option.code, option.reason));
    }
    check_block("computed", &table);
}

#[test]
fn defaults_and_limits_are_those_of_the_source() {
    let documentation = documentation();
    let row = |section: &str, key: &str| {
        let rows = under(&documentation, section);
        let row = rows.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
        row.unwrap_or_else(|| panic!("{key} is not under {section}")).to_owned()
    };
    let device_limit = format!("1 to {}", vestibule_core::limits::DEVICE_LIMIT_MAX);
    let roles = format!("at most {}", vestibule_core::limits::ROLES_MAX);
    for (section, key, text) in [
        ("## `[registration]`", "device-limit", device_limit.clone()),
        ("## `[registration]`", "role", roles),
        ("## `[[registration.role]]`", "device-limit", device_limit),
        ("## `[server]`", "name", limits::NAME_LENGTH_MAX.to_string()),
        ("## `[server]`", "state-dir", limits::STATE_DIR_DEFAULT.to_owned()),
        ("## `[server]`", "relay-listen", format!("at most {}", limits::RELAY_LISTEN_MAX)),
        ("## `[server]`", "interfaces", format!("at most {}", limits::INTERFACES_MAX)),
        ("## `[[network.subnet]]`", "pools", format!("at most {}", limits::POOLS_MAX)),
        ("## `[gate]`", "walled-garden", format!("at most {}", limits::WALLED_GARDEN_MAX)),
        ("## `[gate.portal]`", "url", format!("at most {} bytes", limits::URL_LENGTH_MAX)),
        ("## `[captive]`", "url", format!("at most {} bytes", limits::CAPTIVE_URL_LENGTH_MAX)),
        ("## `[captive]`", "trusted-proxies", format!("at most {}", limits::TRUSTED_PROXIES_MAX)),
        ("## `[portal]`", "listen", format!("at most {}", limits::PORTAL_ADDRESSES_MAX)),
        ("## `[portal]`", "tls-listen", format!("at most {}", limits::PORTAL_ADDRESSES_MAX)),
        ("## `[portal]`", "title", format!("at most {} bytes", limits::PORTAL_TEXT_LENGTH_MAX)),
        ("## `[portal]`", "title", format!("`\"{}\"`", limits::PORTAL_TITLE_DEFAULT)),
        ("## `[portal]`", "contact", format!("at most {} bytes", limits::PORTAL_TEXT_LENGTH_MAX)),
        (
            "## `[portal]`",
            "lifetime",
            format!(
                "{}m to {}d",
                limits::PORTAL_LIFETIME_SECONDS_MIN / 60,
                limits::PORTAL_LIFETIME_SECONDS_MAX / 86_400
            ),
        ),
        ("## `[dns]`", "listen", format!("1 to {}", limits::DNS_ADDRESSES_MAX)),
        ("## `[dns]`", "upstream", format!("1 to {}", limits::DNS_ADDRESSES_MAX)),
        (
            "## `[dns]`",
            "lie-ttl",
            format!("{}s to {}s", limits::LIE_TTL_SECONDS_MIN, limits::LIE_TTL_SECONDS_MAX),
        ),
        ("## `[dns]`", "lie-ttl", format!("`\"{}s\"`", limits::LIE_TTL_SECONDS_DEFAULT)),
        ("## `[agent]`", "server", format!("1 or {}", limits::AGENT_SERVERS_MAX)),
        (
            "## `[agent]`",
            "silent-after",
            format!("`\"{}s\"`", limits::SILENT_AFTER_SECONDS_DEFAULT),
        ),
        (
            "## `[agent]`",
            "silent-after",
            format!(
                "{}s to {}d",
                limits::SILENT_AFTER_SECONDS_MIN,
                limits::SILENT_AFTER_SECONDS_MAX / 86_400
            ),
        ),
        ("## `[agent]`", "status-listen", format!("`\"{}\"`", limits::AGENT_STATUS_LISTEN_DEFAULT)),
        ("## `[[agent.server]]`", "ca-file", format!("`\"{}\"`", limits::CA_FILE_DEFAULT)),
        ("## `[api]`", "listen", format!("`\"{}\"`", limits::API_LISTEN_DEFAULT)),
        ("## `[api]`", "listen", format!("at most {} bytes", limits::UNIX_PATH_LENGTH_MAX)),
        ("## `[api]`", "token-file", format!("`\"{}\"`", limits::TOKEN_FILE_DEFAULT)),
        ("## `[api]`", "token-file", format!("at least {}", limits::TOKEN_LENGTH_MIN)),
        ("## `[failover]`", "name", format!("1 to {}", limits::RELATIONSHIP_LENGTH_MAX)),
        ("## `[failover]`", "port", format!("`{}`", limits::FAILOVER_PORT_DEFAULT)),
        (
            "## `[failover]`",
            "mclt",
            format!("{}s to {}d", limits::MCLT_SECONDS_MIN, limits::MCLT_SECONDS_MAX / 86_400),
        ),
        ("## `[failover]`", "split", format!("`{}`", limits::SPLIT_DEFAULT)),
        ("## `[failover]`", "split", format!("0 to {}", limits::SPLIT_MAX)),
        (
            "## `[failover]`",
            "max-unacked-updates",
            format!(
                "`{}` | 1 to {}",
                limits::MAX_UNACKED_UPDATES_DEFAULT,
                limits::MAX_UNACKED_UPDATES_MAX
            ),
        ),
        (
            "## `[failover]`",
            "max-response-delay",
            format!(
                "`\"{}s\"` | {}s to {}h",
                limits::MAX_RESPONSE_DELAY_SECONDS_DEFAULT,
                limits::MAX_RESPONSE_DELAY_SECONDS_MIN,
                limits::MAX_RESPONSE_DELAY_SECONDS_MAX / 3600
            ),
        ),
        (
            "## `[failover]`",
            "load-balance-max-seconds",
            format!("0 to {}", limits::LOAD_BALANCE_SECONDS_LIMIT),
        ),
        (
            "## `[failover]`",
            "max-lease-misbalance",
            format!("`\"{}%\"`", limits::MAX_LEASE_MISBALANCE_PERCENT_DEFAULT),
        ),
        (
            "## `[failover]`",
            "max-lease-ownership",
            format!("`\"{}%\"`", limits::MAX_LEASE_OWNERSHIP_PERCENT_DEFAULT),
        ),
        (
            "## `[failover]`",
            "min-balance",
            format!("`\"{}m\"`", limits::MIN_BALANCE_SECONDS_DEFAULT / 60),
        ),
        (
            "## `[failover]`",
            "max-balance",
            format!("`\"{}h\"`", limits::MAX_BALANCE_SECONDS_DEFAULT / 3600),
        ),
    ] {
        let row = row(section, key);
        assert!(row.contains(&text), "{text} is not in {row}");
    }
    for (section, text) in [
        ("## `[[network]]`", format!("At most {}.", limits::NETWORKS_MAX)),
        ("## `[[network.subnet]]`", format!("At most {} subnets", limits::SUBNETS_MAX)),
        ("## `[[network.subnet]]`", format!("at most {} addresses", limits::POOL_ADDRESSES_MAX)),
        ("## `[[network.subnet.reservation]]`", format!("At most {}.", limits::RESERVATIONS_MAX)),
        ("## `[[api.token]]`", format!("at most {}.", limits::API_TOKENS_MAX)),
        ("### Any other option", format!("at most {} bytes", limits::OPTION_LENGTH_MAX)),
        ("## Limits", format!("at most {} MiB", limits::FILE_BYTES_MAX >> 20)),
        ("## Limits", format!("Beyond {} mistakes", limits::MISTAKES_MAX)),
    ] {
        assert!(under(&documentation, section).contains(&text), "{text} is not under {section}");
    }
}

/// Sections that a fragment of the documentation may leave out because they stand elsewhere.
const OTHER_SECTIONS: [(&str, &str); 4] = [
    ("[server]", "[server]\nname = \"a\"\nrelay-listen = [\"10.0.0.67\"]\n"),
    (
        "[[network]]",
        "[[network]]\nname = \"n\"\ngated = true\n[[network.subnet]]\nprefix = \"10.9.0.0/24\"\n",
    ),
    (
        "[gate]",
        "[gate]\nmode = \"off\"\nportal = { address = \"10.0.0.80\", url = \"https://register.example/\" }\n",
    ),
    ("[api]", ""),
];

#[test]
fn every_example_in_the_documentation_is_taken() {
    let documentation = documentation();
    let fences: Vec<&str> = documentation.split("\n```").collect();
    // Every second piece stands inside a fence.
    let examples =
        fences.iter().skip(1).step_by(2).filter_map(|piece| piece.strip_prefix("toml\n"));
    let mut count = 0;
    for example in examples {
        count += 1;
        let mut text = format!("{example}\n");
        for (header, section) in OTHER_SECTIONS {
            if !example.lines().any(|line| line == header) {
                text.push_str(section);
            }
        }
        if let Err(mistakes) = vestibule_config::parse(&text, "docs/configuration.md") {
            panic!("{mistakes}\nin\n{text}");
        }
    }
    assert!(count >= 6, "only {count} examples were found");
}

/// The messages that the documentation shows are those that a file gets.
#[test]
fn the_mistakes_shown_are_real() {
    let text = "[server]\nname = \"a\"\ninterfaces = [\"eth0\"]\n[gate]\nmode = \"off\"\n[leases]\nlifetme = \"1h\"\n\
        [[network]]\nname = \"n\"\ngated = false\n[[network.subnet]]\nprefix = \"10.20.0.0/22\"\npools = [\n\
        \"10.20.0.10-10.20.0.99\",\n\"10.20.0.50-10.20.0.120\"]\n";
    let mistakes = vestibule_config::parse(text, "vestibule.toml").expect_err("it has two");
    let shown = format!("$ vestibule check vestibule.toml\n{mistakes}\n```");
    assert!(documentation().contains(&shown), "{shown}");
}

#[test]
fn links_lead_to_files() {
    let documentation = documentation();
    let folder = path().with_file_name("");
    for link in documentation.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        if !link.starts_with("https://") && !link.starts_with('#') {
            let file = link.split_once('#').map_or(link, |(file, _)| file);
            assert!(folder.join(file).is_file(), "{link}");
        }
    }
}
