//! The campus that tests and the demo play on, and our programs on it.
//!
//! ```text
//!  laptop ─┐                                   ┌─ 10.0.0.53      true DNS
//!  laptop ─┴─ LAN ── edge router ── gateway ───┼─ 10.0.0.80      portal
//!                    with a relay   10.0.0.67  ├─ 203.0.113.10   a web server outside
//!                                   10.0.0.54  └─ 203.0.113.53   a DNS server outside
//!                                   |
//!                                   vestibule-dhcpd, vestibule-dns, the kernel sets
//! ```
//!
//! A [`Site`] is a LAN with its network, behind an edge router or attached to the gateway itself.

use super::{Host, Lab, LabError, Process, own_program, programs_folder, until_ok};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Where our programs' configuration is, on the gateway.
pub const VESTIBULE_TOML: &str = "/etc/vestibule/vestibule.toml";

/// Where the API's token is, on gateway and servers.
pub const TOKEN_FILE: &str = "/etc/vestibule/token";

/// How a site meets the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteKind {
    /// Behind an edge router, where dnsmasq relays.
    BehindDnsmasq,
    /// Behind an edge router, where ISC's relay adds option 82.
    BehindIscRelay,
    /// The gateway itself has an interface on the LAN, named as the site.
    Attached,
}

/// A LAN and its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Name of the LAN, the network in the configuration, and the edge router's name after `edge-`.
    pub name: &'static str,
    /// How it meets the gateway.
    pub kind: SiteKind,
    /// Its first three numbers: `{network}.0` is its first address, `{network}.1` its router.
    pub network: &'static str,
    /// The length of its prefix.
    pub prefix_length: u8,
    /// The number in the third place of the link between edge router and gateway: `10.0.{link}.0/30`.
    pub link: u8,
}

impl Site {
    /// The residence halls, behind dnsmasq.
    pub const HALLS: Self = Self {
        name: "halls",
        kind: SiteKind::BehindDnsmasq,
        network: "10.20.0",
        prefix_length: 22,
        link: 20,
    };
    /// The library, behind ISC's relay.
    pub const LIBRARY: Self = Self {
        name: "library",
        kind: SiteKind::BehindIscRelay,
        network: "10.30.0",
        prefix_length: 24,
        link: 30,
    };
    /// A workshop, attached to the gateway.
    pub const WORKSHOP: Self = Self {
        name: "workshop",
        kind: SiteKind::Attached,
        network: "10.40.0",
        prefix_length: 24,
        link: 40,
    };

    /// The router's address.
    #[must_use]
    pub fn router(&self) -> String {
        format!("{}.1", self.network)
    }

    /// The first address of its pool.
    #[must_use]
    pub fn pool_first(&self) -> String {
        format!("{}.10", self.network)
    }
}

/// Whether the gate is enforced, for [`Campus::configure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// By kernel sets on the gateway, with the lying resolver.
    Local,
    /// Not at all.
    Off,
}

/// What the API answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; null if it is no JSON.
    pub body: serde_json::Value,
    /// The body as it came.
    pub text: String,
}

/// Gateway, servers and sites, linked and routed. No program runs yet.
#[derive(Debug)]
pub struct Campus {
    /// The lab that it is in.
    pub lab: Lab,
    /// Where our programs run, between the sites and everything else.
    pub gateway: Host,
    /// True DNS, portal and the outside.
    pub servers: Host,
    sites: Vec<(Site, Option<Host>)>,
}

impl Campus {
    /// Builds the campus.
    ///
    /// # Errors
    /// [`LabError::Machine`] if this machine does not let us.
    pub fn new(sites: &[Site]) -> Result<Self, LabError> {
        let lab = Lab::new()?;
        let gateway = lab.host("gateway")?;
        let servers = lab.host("servers")?;
        lab.link((&gateway, "campus"), (&servers, "campus"))?;
        gateway.ip("address add 10.0.0.67/24 dev campus\naddress add 10.0.0.54/24 dev campus\n\
             route add 203.0.113.0/24 via 10.0.0.53")?;
        gateway.forward()?;
        servers.ip(
            "address add 10.0.0.53/24 dev campus\naddress add 10.0.0.80/24 dev campus\n\
             address add 203.0.113.10/32 dev lo\naddress add 203.0.113.53/32 dev lo\nroute add default via 10.0.0.67",
        )?;
        let mut campus = Self { lab, gateway, servers, sites: Vec::new() };
        for site in sites {
            campus.add_site(site)?;
        }
        Ok(campus)
    }

    fn add_site(&mut self, site: &Site) -> Result<(), LabError> {
        let Site { name, network, prefix_length, link, .. } = site;
        self.lab.switch(name)?;
        let edge = if site.kind == SiteKind::Attached {
            self.lab.plug(name, &self.gateway, name)?;
            self.gateway.ip(&format!("address add {network}.1/{prefix_length} dev {name}"))?;
            None
        } else {
            let edge = self.lab.host(&format!("edge-{name}"))?;
            self.lab.plug(name, &edge, "lan")?;
            self.lab.link((&edge, "uplink"), (&self.gateway, name))?;
            edge.ip(&format!(
                "address add {network}.1/{prefix_length} dev lan\naddress add 10.0.{link}.2/30 dev uplink\n\
                 route add default via 10.0.{link}.1"
            ))?;
            edge.forward()?;
            self.gateway.ip(&format!(
                "address add 10.0.{link}.1/30 dev {name}\nroute add {network}.0/{prefix_length} via 10.0.{link}.2"
            ))?;
            Some(edge)
        };
        self.sites.push((*site, edge));
        Ok(())
    }

    /// Moves the portal's address, 10.0.0.80, from the servers to the gateway, for the built-in portal.
    ///
    /// # Errors
    /// [`LabError::Command`] if it was moved before.
    pub fn portal_on_gateway(&self) -> Result<(), LabError> {
        self.servers.ip("address delete 10.0.0.80/24 dev campus")?;
        self.gateway.ip("address add 10.0.0.80/24 dev campus")
    }

    /// A new host on a site's LAN, without an address; its interface is `eth0`.
    ///
    /// # Errors
    /// [`LabError::Command`] if there is no such site.
    pub fn laptop(
        &self,
        site: &Site,
        name: &str,
        hardware_address: &str,
    ) -> Result<Host, LabError> {
        let laptop = self.lab.host(name)?;
        self.lab.plug(site.name, &laptop, "eth0")?;
        laptop.ip(&format!("link set eth0 address {hardware_address}"))?;
        Ok(laptop)
    }

    /// The edge router of a site; `None` if it is attached.
    #[must_use]
    pub fn edge(&self, site: &Site) -> Option<&Host> {
        self.sites.iter().find(|(known, _)| known == site).and_then(|(_, edge)| edge.as_ref())
    }

    /// Starts the relay of a site, and waits until it listens.
    ///
    /// # Errors
    /// [`LabError::NoPeer`] if ISC's relay has not been unpacked, [`LabError::Deadline`] if it does not start.
    pub fn start_relay(&self, site: &Site) -> Result<Process, LabError> {
        let edge = self.edge(site).ok_or_else(|| LabError::Machine {
            what: format!("starting the relay of {}", site.name),
            said: "the site has no edge router".to_owned(),
        })?;
        let mut relay = if site.kind == SiteKind::BehindIscRelay {
            let dhcrelay = peer("usr/sbin/dhcrelay")?;
            let program = dhcrelay.display();
            edge.start("relay", &format!("'{program}' -4 -d -a -id lan -iu uplink 10.0.0.67"))?
        } else {
            edge.start(
                "relay",
                &format!("{} --dhcp-relay={},10.0.0.67", dnsmasq("--port=0"), site.router()),
            )?
        };
        relay.wait_line(if site.kind == SiteKind::BehindIscRelay {
            "Sending on   Socket/"
        } else {
            "DHCP relay from"
        })?;
        Ok(relay)
    }

    /// Starts the true DNS server, on the campus and outside: it knows `www.example.edu` and
    /// `register.campus.example`.
    ///
    /// # Errors
    /// [`LabError::Deadline`] if it does not start.
    pub fn start_true_dns(&self) -> Result<Process, LabError> {
        self.start_true_dns_with(&[])
    }

    /// The same with more names, each with its address.
    ///
    /// # Errors
    /// As [`Campus::start_true_dns`].
    pub fn start_true_dns_with(&self, names: &[(&str, &str)]) -> Result<Process, LabError> {
        let mut arguments =
            "--no-resolv --no-hosts --local-ttl=60 --bind-interfaces --listen-address=10.0.0.53 \
             --listen-address=203.0.113.53 --host-record=www.example.edu,203.0.113.10 \
             --host-record=register.campus.example,10.0.0.80"
                .to_owned();
        for (name, address) in names {
            // Writing to a String cannot fail.
            let _ = write!(arguments, " --host-record={name},{address}");
        }
        let mut dns = self.servers.start("true-dns", &dnsmasq(&arguments))?;
        dns.wait_line("started")?;
        Ok(dns)
    }

    /// Writes a configuration for these sites, with the given lifetimes, and the API's token.
    ///
    /// # Errors
    /// [`LabError::Command`] if they cannot be written.
    pub fn configure(
        &self,
        gate: Gate,
        lifetime: &str,
        lifetime_unregistered: &str,
    ) -> Result<(), LabError> {
        let attached: Vec<String> = self
            .sites
            .iter()
            .filter(|(site, _)| site.kind == SiteKind::Attached)
            .map(|(site, _)| format!("\"{}\"", site.name))
            .collect();
        let mut toml = format!(
            "[server]\nname = \"dhcp-a\"\nstate-dir = \"/run/vestibule\"\nrelay-listen = [\"10.0.0.67\"]\n\
             interfaces = [{}]\n\n[leases]\nlifetime = \"{lifetime}\"\n\
             lifetime-unregistered = \"{lifetime_unregistered}\"\n",
            attached.join(", ")
        );
        for (Site { name, network, prefix_length, .. }, _) in &self.sites {
            // Writing to a String cannot fail.
            let _ = write!(
                toml,
                "\n[[network]]\nname = \"{name}\"\ngated = {}\nipv6-prefixes = []\n[[network.subnet]]\nprefix = \"{network}.0/{prefix_length}\"\n\
                 pools = [\"{network}.10-{network}.250\"]\noptions = {{ routers = [\"{network}.1\"], \
                 domain-name-servers = [\"10.0.0.53\"], domain-name = \"campus.example\" }}\n",
                gate == Gate::Local
            );
        }
        toml.push_str(match gate {
            Gate::Off => "\n[gate]\nmode = \"off\"\n",
            Gate::Local => {
                "\n[gate]\nmode = \"local\"\nlying-resolver = \"10.0.0.54\"\n\
                 portal = { address = \"10.0.0.80\", url = \"http://register.campus.example/\" }\n\
                 walled-garden = [\"register.campus.example\"]\n\n[dns]\nlisten = [\"10.0.0.54:53\"]\n\
                 redirect-listen = [\"10.0.0.54:8080\"]\nupstream = [\"10.0.0.53:53\"]\n"
            }
        });
        let _ =
            write!(toml, "\n[api]\nlisten = \"10.0.0.67:8067\"\ntoken-file = \"{TOKEN_FILE}\"\n");
        self.configure_with(&toml)
    }

    /// Writes the configuration given, and the API's token.
    ///
    /// # Errors
    /// [`LabError::Command`] if they cannot be written.
    pub fn configure_with(&self, toml: &str) -> Result<(), LabError> {
        let token = "a-token-for-one-lab-only-0123456789abcdef\n";
        for host in [&self.gateway, &self.servers] {
            host.write(TOKEN_FILE, token)?;
            host.ok(&format!("chmod 600 {TOKEN_FILE}"))?;
        }
        self.gateway.write(VESTIBULE_TOML, toml)
    }

    /// Starts `vestibule-dhcpd` on the gateway, and waits until it serves.
    ///
    /// # Errors
    /// [`LabError::NotBuilt`], or [`LabError::Deadline`] with its log.
    pub fn start_dhcpd(&self) -> Result<Process, LabError> {
        let mut dhcpd = self.start_program("vestibule-dhcpd")?;
        dhcpd.wait_line("ready")?;
        Ok(dhcpd)
    }

    /// Starts `vestibule-dns` on the gateway, and waits until it answers.
    ///
    /// # Errors
    /// [`LabError::NotBuilt`], or [`LabError::Deadline`] with its log.
    pub fn start_dns(&self) -> Result<Process, LabError> {
        let mut dns = self.start_program("vestibule-dns")?;
        until_ok("vestibule-dns answers", || {
            if let Some(status) = dns.ended() {
                return Ok(Err(LabError::Deadline {
                    what: format!("vestibule-dns serves; it ended: {status}"),
                    seen: dns.log(),
                }));
            }
            let answer = self.gateway.run("dig +short +tries=1 +time=1 @10.0.0.54 any.example");
            match answer {
                Ok(answer) if answer.stdout.trim() == "10.0.0.80" => Ok(Ok(())),
                Ok(answer) => Err(format!("{}{}", answer.both(), dns.log())),
                Err(error) => Ok(Err(error)),
            }
        })??;
        Ok(dns)
    }

    fn start_program(&self, name: &str) -> Result<Process, LabError> {
        program(name)?;
        self.gateway.start(name, &format!("{name} --config {VESTIBULE_TOML}"))
    }

    /// Starts a web server outside, which says `it is really me`.
    ///
    /// # Errors
    /// [`LabError::NotBuilt`], or [`LabError::Deadline`] with its log.
    pub fn start_outside(&self, port: u16) -> Result<Process, LabError> {
        program("vestibule-demo")?;
        let line = format!("vestibule-demo outside --listen 203.0.113.10:{port}");
        let mut outside = self.servers.start(&format!("outside-{port}"), &line)?;
        outside.wait_line("ready")?;
        Ok(outside)
    }

    /// Asks the API, from where the portal is, with the token.
    ///
    /// # Errors
    /// [`LabError::Command`] if there is no answer at all. The HTTP status is in the answer.
    pub fn api(&self, method: &str, path: &str, body: Option<&str>) -> Result<Answer, LabError> {
        let body = body.map_or(String::new(), |json| {
            format!("-H 'Content-Type: application/json' -d '{json}'")
        });
        let text = self.servers.ok(&format!(
            "curl -sS -X {method} -H \"Authorization: Bearer $(cat {TOKEN_FILE})\" {body} \
             -w '\\n%{{http_code}}' 'http://10.0.0.67:8067{path}'"
        ))?;
        let (text, status) = text.rsplit_once('\n').unwrap_or(("", text.as_str()));
        Ok(Answer {
            status: status.parse().unwrap_or_default(),
            body: serde_json::from_str(text).unwrap_or_default(),
            text: text.to_owned(),
        })
    }
}

/// One of our own programs, built with the same profile as the one that runs now. Hosts have its folder
/// in their PATH.
///
/// # Errors
/// [`LabError::NotBuilt`].
pub fn program(name: &str) -> Result<PathBuf, LabError> {
    let path = programs_folder(&own_program()?).join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(LabError::NotBuilt { path: path.display().to_string() })
    }
}

/// A program that the set-up has unpacked into `target/peers`, by its path there.
///
/// # Errors
/// [`LabError::NoPeer`].
pub fn peer(path: &str) -> Result<PathBuf, LabError> {
    let here = own_program()?;
    let candidates = here.ancestors().map(|folder| folder.join("peers").join(path));
    candidates
        .into_iter()
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| LabError::NoPeer { path: format!("target/peers/{path}") })
}

/// A dnsmasq that stays in the foreground, reads no file of the machine and changes to no other user.
fn dnsmasq(arguments: &str) -> String {
    format!(
        "dnsmasq --keep-in-foreground --log-facility=- --conf-file=/dev/null --pid-file= --user=root {arguments}"
    )
}
