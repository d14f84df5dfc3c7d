//! DHCP servers side by side: ours, Kea, ISC dhcpd and the null responder, each with the same networks
//! behind the same relays, for tests and benchmarks that compare them.
//!
//! ```text
//!   load 10.0.0.5 ------- wire ------- server 10.0.0.67
//!   (vestibule-load:                   (one of the servers, in turn)
//!   relays and clients of 10.32.0.0/11)
//! ```
//!
//! It promises that all get the same networks, pools, lifetimes and options, that none looks for an
//! address that is in use by sending a ping, and that every server runs otherwise as its makers ship
//! it; Kea with its threads switched on, which its version 2.2 does not do by itself. No server is
//! installed: Kea and ISC dhcpd are what `tests/setup.sh peers` unpacked.

use crate::lab::{Host, Lab, LabError, Process, TOKEN_FILE, peer, program, until_ok};
use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;

/// The server's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);
/// The load host's address.
pub const LOAD_HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// The prefix that all clients' networks lie in; the load host has all of it.
const CLIENTS_PREFIX: &str = "10.32.0.0/11";
/// The first address of it.
const CLIENTS_FIRST: Ipv4Addr = Ipv4Addr::new(10, 32, 0, 0);
/// Length of the prefix of each network.
const NETWORK_PREFIX_LENGTH: u32 = 14;
/// How far a network, and its relay, is from the one before it.
pub const RELAY_STEP: u32 = 1 << (32 - NETWORK_PREFIX_LENGTH);
/// Networks that there is room for.
pub const RELAYS_MAX: u32 = 8;
/// Addresses at each end of a network that are in no pool.
const KEPT: u32 = 10;
/// A client that is no client of any run: it only asks whether a server serves.
const PROBE_CLIENT: u32 = 4_000_000_000;
/// Where configurations are, on the server's host.
const FOLDER: &str = "/etc/servers";
/// Our configuration there.
pub const CONFIGURATION: &str = "/etc/servers/vestibule.toml";

/// A server that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// `vestibule-load null-server`: answers from nothing.
    Null,
    /// Ours, with networks that are not gated.
    Vestibule,
    /// Ours, with every network gated and nobody registered: every lease changes a kernel set.
    VestibuleGated,
    /// Kea with its memfile, which it never syncs.
    Kea,
    /// ISC dhcpd, which syncs after every lease.
    Isc,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Null, Self::Vestibule, Self::VestibuleGated, Self::Kea, Self::Isc];

    /// What a reader of a table sees.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null responder",
            Self::Vestibule => "Vestibule, gate off",
            Self::VestibuleGated => "Vestibule, gate on",
            Self::Kea => "Kea, memfile",
            Self::Isc => "ISC dhcpd",
        }
    }

    /// What is on stable storage when an ACK of it leaves.
    #[must_use]
    pub const fn durability(self) -> &'static str {
        match self {
            Self::Null => "no (keeps nothing)",
            Self::Vestibule => "yes (one sync for each group)",
            Self::VestibuleGated => "yes (one sync for each group), and the kernel sets are right",
            Self::Kea => "no (never syncs)",
            Self::Isc => "yes (one sync for each lease)",
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A server's host and a load host, with a cable between them.
#[derive(Debug)]
pub struct Ground {
    /// Where the server runs.
    pub server: Host,
    /// Where `vestibule-load` runs; it has every address of every client and relay.
    pub load: Host,
}

/// The networks that a server is told of.
#[derive(Clone, Copy, Debug)]
pub struct Networks {
    /// How many, each with its relay; at most [`RELAYS_MAX`].
    pub relays: u32,
    /// Addresses in the pool of each; what a network of 262,144 addresses has room for.
    pub pool: u32,
    /// How long leases last, in seconds, registered or not.
    pub lifetime_seconds: u32,
}

impl Networks {
    /// The address of a relay, from 0; it is the router of its network too.
    #[must_use]
    pub fn relay(number: u32) -> Ipv4Addr {
        Self::address(number, 1)
    }

    /// An address of the pools of the first so many relays, from 0: the first of each pool, then the
    /// second of each, and so on. They are given out in this order, but for one of the first pool, which
    /// goes to who asks whether the server is there.
    #[must_use]
    pub fn pooled(number: u32, relays: u32) -> Ipv4Addr {
        Self::address(number % relays, KEPT + number / relays)
    }

    fn address(relay: u32, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(CLIENTS_FIRST) + relay * RELAY_STEP + offset)
    }

    /// Prefix, router, and the first and last address of the pool of each.
    fn each(self) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr, Ipv4Addr, Ipv4Addr)> {
        let pool = self.pool.clamp(1, RELAY_STEP - 2 * KEPT);
        (0..self.relays.min(RELAYS_MAX)).map(move |number| {
            let at = |offset| Self::address(number, offset);
            (at(0), at(1), at(KEPT), at(KEPT + pool - 1))
        })
    }
}

impl Ground {
    /// Makes the two hosts.
    ///
    /// # Errors
    /// [`LabError::Machine`] if this machine does not let us.
    pub fn new() -> Result<Self, LabError> {
        let lab = Lab::new()?;
        let (server, load) = (lab.host("server")?, lab.host("load")?);
        lab.link((&server, "wire"), (&load, "wire"))?;
        server.ip(&format!(
            "address add {SERVER}/24 dev wire\nroute add {CLIENTS_PREFIX} via {LOAD_HOST}"
        ))?;
        load.ip(&format!(
            "address add {LOAD_HOST}/24 dev wire\nroute add local {CLIENTS_PREFIX} dev lo"
        ))?;
        Ok(Self { server, load })
    }

    /// Starts a server on empty files in `state`, a folder that exists, and waits until it has
    /// answered. `environment` is put before its command line: variables as `env` takes them.
    ///
    /// # Errors
    /// [`LabError::NoPeer`] or [`LabError::NotBuilt`] if there is no such program,
    /// [`LabError::Deadline`] with its log if it does not serve.
    pub fn start(
        &self,
        server: Server,
        networks: Networks,
        state: &Path,
        environment: &str,
    ) -> Result<Process, LabError> {
        let line = self.prepare(server, networks, state)?;
        let process = self.server.start(&slug(server), &format!("env {environment} {line}"))?;
        self.wait(process)
    }

    /// The same for ours with the gate on, with more sections at the end of its configuration.
    ///
    /// # Errors
    /// As [`Ground::start`].
    pub fn start_gated_with(
        &self,
        networks: Networks,
        state: &Path,
        sections: &str,
    ) -> Result<Process, LabError> {
        let line = self.prepare(Server::VestibuleGated, networks, state)?;
        let toml = self.server.read(CONFIGURATION)? + sections;
        self.server.write(CONFIGURATION, &toml)?;
        let process = self.server.start(&slug(Server::VestibuleGated), &line)?;
        self.wait(process)
    }

    /// Waits until the server answers.
    fn wait(&self, mut process: Process) -> Result<Process, LabError> {
        program("vestibule-load")?;
        let probe = format!(
            "timeout 2 vestibule-load dora --server {SERVER} --giaddr {} --clients 1 \
             --first-client {PROBE_CLIENT} --first-wait 50",
            Networks::relay(0)
        );
        until_ok("the server answers", || {
            if let Some(status) = process.ended() {
                return Ok(Err(LabError::Deadline {
                    what: format!("the server serves; it ended: {status}"),
                    seen: process.log(),
                }));
            }
            match self.load.run(&probe) {
                Ok(output) if output.success() => Ok(Ok(())),
                Ok(output) => Err(format!("{}{}", output.both(), process.log())),
                Err(error) => Ok(Err(error)),
            }
        })??;
        Ok(process)
    }

    /// Writes what the server reads, and gives its command line.
    fn prepare(
        &self,
        server: Server,
        networks: Networks,
        state: &Path,
    ) -> Result<String, LabError> {
        let state = state.display();
        match server {
            Server::Null => {
                program("vestibule-load")?;
                let lifetime = networks.lifetime_seconds;
                Ok(format!(
                    "vestibule-load null-server --listen {SERVER} --first-address {CLIENTS_FIRST} \
                     --lifetime {lifetime}"
                ))
            }
            Server::Vestibule | Server::VestibuleGated => {
                program("vestibule-dhcpd")?;
                let gated = server == Server::VestibuleGated;
                self.server.write(TOKEN_FILE, "a-token-for-one-lab-only-0123456789abcdef\n")?;
                self.server.ok(&format!("chmod 600 {TOKEN_FILE}"))?;
                self.server
                    .write(CONFIGURATION, &vestibule_toml(networks, &state.to_string(), gated))?;
                Ok(format!("vestibule-dhcpd --config {CONFIGURATION}"))
            }
            Server::Kea => {
                let kea = peer("usr/sbin/kea-dhcp4")?;
                let file = format!("{FOLDER}/kea.json");
                self.server.write(&file, &kea_json(networks, &state.to_string()))?;
                Ok(format!(
                    "LD_LIBRARY_PATH='{}' KEA_PIDFILE_DIR=/run KEA_LOCKFILE_DIR=/run '{}' -c {file}",
                    libraries(&kea)?,
                    kea.display()
                ))
            }
            Server::Isc => {
                let dhcpd = peer("usr/sbin/dhcpd")?;
                let file = format!("{FOLDER}/dhcpd.conf");
                self.server.write(&file, &isc_conf(networks))?;
                self.server.ok(&format!(": >'{state}/dhcpd.leases'"))?;
                Ok(format!(
                    "'{}' -4 -f -cf {file} -lf '{state}/dhcpd.leases' --no-pid wire",
                    dhcpd.display()
                ))
            }
        }
    }
}

/// A shell command that prints the version of an unpacked server; `None` of those that are ours, or
/// not there.
#[must_use]
pub fn version_command(server: Server) -> Option<String> {
    match server {
        Server::Kea => {
            let kea = peer("usr/sbin/kea-dhcp4").ok()?;
            Some(format!("LD_LIBRARY_PATH='{}' '{}' -v", libraries(&kea).ok()?, kea.display()))
        }
        Server::Isc => Some(format!("'{}' --version", peer("usr/sbin/dhcpd").ok()?.display())),
        Server::Null | Server::Vestibule | Server::VestibuleGated => None,
    }
}

/// The folders of the unpacked libraries beside an unpacked program, as `LD_LIBRARY_PATH` takes them.
pub fn libraries(program: &Path) -> Result<String, LabError> {
    let folder = program.ancestors().nth(2).unwrap_or(program).join("lib");
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| LabError::File { path: folder.display().to_string(), error })?;
    // Debian has them in a folder of the machine's kind, such as x86_64-linux-gnu.
    let mut folders: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .map(|path| path.display().to_string())
        .collect();
    folders.sort();
    Ok(folders.join(":"))
}

fn slug(server: Server) -> String {
    server.name().replace([',', ' '], "-")
}

fn vestibule_toml(networks: Networks, state: &str, gated: bool) -> String {
    let lifetime = networks.lifetime_seconds;
    let mut toml = format!(
        "[server]\nname = \"dhcp-a\"\nstate-dir = \"{state}\"\nrelay-listen = [\"{SERVER}\"]\n\
         [leases]\nlifetime = \"{lifetime}s\"\nlifetime-unregistered = \"{lifetime}s\"\n\
         [api]\ntoken-file = \"{TOKEN_FILE}\"\n"
    );
    toml.push_str(if gated {
        "[gate]\nmode = \"local\"\nlying-resolver = \"10.0.0.67\"\n\
         portal = { address = \"10.0.0.80\", url = \"https://register.campus.example/\" }\n\
         [dns]\nlisten = [\"10.0.0.67:53\"]\nredirect-listen = [\"10.0.0.67:8080\"]\nupstream = [\"10.0.0.53:53\"]\n"
    } else {
        "[gate]\nmode = \"off\"\n"
    });
    for (number, (prefix, router, first, last)) in networks.each().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(
            toml,
            "[[network]]\nname = \"network-{number}\"\ngated = {gated}\n[[network.subnet]]\n\
             prefix = \"{prefix}/{NETWORK_PREFIX_LENGTH}\"\npools = [\"{first}-{last}\"]\n\
             options = {{ routers = [\"{router}\"], domain-name-servers = [\"10.0.0.53\"] }}\n"
        );
    }
    toml
}

fn kea_json(networks: Networks, state: &str) -> String {
    let subnets: Vec<serde_json::Value> = networks
        .each()
        .enumerate()
        .map(|(number, (prefix, router, first, last))| {
            serde_json::json!({
                "id": number + 1,
                "subnet": format!("{prefix}/{NETWORK_PREFIX_LENGTH}"),
                "pools": [{ "pool": format!("{first} - {last}") }],
                "option-data": [
                    { "name": "routers", "data": router.to_string() },
                    { "name": "domain-name-servers", "data": "10.0.0.53" },
                ],
            })
        })
        .collect();
    let logger = |name: &str| {
        serde_json::json!({
            "name": name, "severity": "WARN", "output_options": [{ "output": "stdout" }],
        })
    };
    serde_json::json!({ "Dhcp4": {
        "interfaces-config": { "interfaces": ["wire"], "dhcp-socket-type": "udp" },
        // Without its clean-up by another program, which would not come in so short a time anyway.
        "lease-database": {
            "type": "memfile", "persist": true, "name": format!("{state}/kea-leases4.csv"), "lfc-interval": 0,
        },
        "multi-threading": { "enable-multi-threading": true, "thread-pool-size": 0 },
        "valid-lifetime": networks.lifetime_seconds,
        "subnet4": subnets,
        "loggers": [logger("kea-dhcp4")],
    }})
    .to_string()
}

fn isc_conf(networks: Networks) -> String {
    let lifetime = networks.lifetime_seconds;
    let mut conf = format!(
        "authoritative;\nping-check off;\nddns-update-style none;\n\
         default-lease-time {lifetime};\nmin-lease-time {lifetime};\nmax-lease-time {lifetime};\n\
         option domain-name-servers 10.0.0.53;\nsubnet 10.0.0.0 netmask 255.255.255.0 {{ }}\n"
    );
    let mask = Ipv4Addr::from(u32::MAX << (32 - NETWORK_PREFIX_LENGTH));
    for (prefix, router, first, last) in networks.each() {
        let _ = writeln!(
            conf,
            "subnet {prefix} netmask {mask} {{ range {first} {last}; option routers {router}; }}"
        );
    }
    conf
}
