//! What the packages bring, as far as it can be told without installing them: units that systemd finds
//! hardened, a configuration that starts, a user, manual pages of every command. `make deb-test` installs
//! them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use vestibule_tests::lab::{Lab, peer, program};
use vestibule_tests::servers::libraries;

/// What `systemd-analyze security` may find at most, in tenths: 0 is the best, 100 the worst. What is left
/// is what the servers are for: sockets, the kernel sets, the host's network.
const EXPOSURE_MAX: [(&str, u32); 2] = [
    ("dhcpd/packaging/vestibule-dhcpd.service", 21),
    ("dns-redirect/packaging/vestibule-dns.service", 17),
];

/// A user who is nobody, by number: the lab's hosts know no names.
const USER: u32 = 65534;

fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// systemd-analyze as the set-up unpacked it, with the libraries beside it.
fn systemd_analyze() -> Option<Command> {
    let path = match peer("usr/bin/systemd-analyze") {
        Ok(path) => path,
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{error}");
            // Past the harness, which keeps back what a passing test prints.
            let text = format!("NOT RUN: nobody judged the units: {error}\n");
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            return None;
        }
    };
    let mut command = Command::new(&path);
    command.env("LD_LIBRARY_PATH", libraries(&path).unwrap());
    Some(command)
}

#[test]
fn systemd_finds_the_units_hardened() {
    for (unit, exposure_max) in EXPOSURE_MAX {
        let Some(mut analyze) = systemd_analyze() else { return };
        let output = analyze
            .args(["security", "--offline=true", "--no-pager"])
            .arg(format!("--threshold={exposure_max}"))
            .arg(at_root(unit))
            .output()
            .expect("systemd-analyze starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            said.contains("Overall exposure level"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{unit} is weaker than {exposure_max}:\n{said}");
    }
}

/// The values of a key in a unit.
fn values<'a>(unit: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    unit.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='))
}

/// The server with the shipped configuration, as the unit has it started: its user, its capabilities and
/// no others, the socket of the service manager.
#[test]
fn the_server_starts_as_its_unit_says_with_the_shipped_configuration() {
    let unit = std::fs::read_to_string(at_root("dhcpd/packaging/vestibule-dhcpd.service")).unwrap();
    assert_eq!(values(&unit, "Type").collect::<Vec<_>>(), ["notify"]);
    let capabilities: Vec<_> = values(&unit, "AmbientCapabilities").collect();
    assert_eq!(capabilities, values(&unit, "CapabilityBoundingSet").collect::<Vec<_>>());
    let kept = capabilities.join(" ").to_lowercase().replace("cap_", "+").replace(' ', ",");

    let lab = Lab::new().unwrap();
    let host = lab.host("gateway").unwrap();
    let shipped = std::fs::read_to_string(at_root("dhcpd/packaging/vestibule.toml")).unwrap();
    // The lab's hosts have folders of their own only under /run.
    let config = shipped
        .replace("/var/lib/vestibule", "/run/state")
        .replace("/etc/vestibule/token", "/run/conf/token");
    assert_ne!(config, shipped);
    host.ok("mkdir -p /run/state /run/conf && chmod 755 /run /run/conf").unwrap();
    // Whoever runs the tests without being root has no other user to change to.
    let other_user = host.run(&format!("chown {USER}:{USER} /run/state")).unwrap().success();
    let user = if other_user {
        format!("--reuid={USER} --regid={USER} --clear-groups")
    } else {
        String::new()
    };
    host.write("/run/conf/vestibule.toml", &config).unwrap();
    host.write("/run/conf/token", "a-token-of-some-length\n").unwrap();
    if other_user {
        host.ok(&format!("chgrp {USER} /run/conf/token")).unwrap();
    }
    host.ok("chmod 640 /run/conf/token").unwrap();
    // What a service manager does: listens, and says what it hears.
    let manager = concat!(
        "python3 -u -c 'import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); ",
        "s.bind(\"/run/conf/notify\"); os.chmod(\"/run/conf/notify\", 0o777); print(\"listening\")\n",
        "while True: print(s.recv(4096).decode())'"
    );
    let mut manager = host.start("manager", manager).unwrap();
    manager.wait_line("listening").unwrap();
    let mut server = host
        .start(
            "dhcpd",
            &format!(
                "env NOTIFY_SOCKET=/run/conf/notify WATCHDOG_USEC=300000 setpriv {user} --no-new-privs --inh-caps=-all,{kept} --ambient-caps=-all,{kept} \
                 --bounding-set=-all,{kept} {} --config /run/conf/vestibule.toml",
                program("vestibule-dhcpd").unwrap().display()
            ),
        )
        .unwrap();
    server.wait_line("ready").unwrap();
    manager.wait_line("READY=1").unwrap();
    let alive = manager.log().len();
    manager.wait_line_after(alive, "WATCHDOG=1").unwrap();
    server.signal("TERM").unwrap();
    manager.wait_line("STOPPING=1").unwrap();
    assert!(server.wait_end().unwrap().success());
}

/// Every file that a package takes is there, or made by the build.
#[test]
fn every_page_that_the_packages_take_is_made() {
    let lab = Lab::new().unwrap();
    let out = lab.folder().join("packaging");
    let made = Command::new(program("vestibule-manuals").unwrap())
        .arg("--out")
        .arg(&out)
        .output()
        .expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for package in ["dhcpd", "dns-redirect", "loadtest-client"] {
        let manifest = std::fs::read_to_string(at_root(package).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
        assert!(!assets.is_empty());
        for asset in assets {
            let source = asset[0].as_str().unwrap();
            let path = match (source.strip_prefix("../target/packaging/"), source) {
                (Some(made), _) => out.join(made),
                (None, built) if built.starts_with("target/release/") => continue,
                (None, kept) => at_root(package).join(kept),
            };
            let pattern = path.file_name().unwrap().to_str().unwrap();
            let found = match pattern.split_once('*') {
                None => path.is_file(),
                Some((before, after)) => std::fs::read_dir(path.parent().unwrap())
                    .map(|mut entries| {
                        entries.any(|entry| {
                            let name = entry.unwrap().file_name().into_string().unwrap();
                            name.starts_with(before) && name.ends_with(after)
                        })
                    })
                    .unwrap_or(false),
            };
            assert!(found, "{package} takes {source}, which is not at {}", path.display());
        }
    }
    let page = std::fs::read_to_string(out.join("vestibule/vestibule-suspend.1")).unwrap();
    assert!(page.contains("vestibule"), "{page}");
}
