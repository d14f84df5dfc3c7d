//! Two servers of a failover pair in namespaces, each of them ours or a real ISC dhcpd, for tests.
//!
//! ```text
//!                      switch
//!   primary 10.0.0.67 ---+--- load 10.0.0.5
//! secondary 10.0.0.68 ---+    (vestibule-load: the relay and the clients of 10.32.0.0/14)
//! ```
//!
//! The link between the two goes over the same switch, and can be cut. It promises that both have the same
//! pool and the same relationship, that a half can be killed, started again, robbed of its store and
//! replaced by the other program, and that what each believes of its state and its leases can be read in
//! the same words. ISC dhcpd is what `tests/setup.sh peers` unpacked; nothing is installed.

mod isc;
mod ours;
mod view;

use crate::lab::{Host, Lab, LabError, Process, until_ok};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
pub use view::SeenLease;

/// The primary's address.
pub const PRIMARY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 67);
/// The secondary's address.
pub const SECONDARY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 68);
/// The load host's address.
const LOAD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// The relay's address.
pub const RELAY: Ipv4Addr = Ipv4Addr::new(10, 32, 0, 1);
/// The clients' network.
const CLIENTS: &str = "10.32.0.0";
/// The length of its prefix, and the mask of it.
const CLIENTS_PREFIX: (u8, Ipv4Addr) = (14, Ipv4Addr::new(255, 252, 0, 0));
/// The first address of the pool.
const POOL_FIRST: Ipv4Addr = Ipv4Addr::new(10, 32, 0, 16);
/// What the relationship is called.
const RELATIONSHIP: &str = "test-pair";

/// Which server plays a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Ours.
    Vestibule,
    /// ISC dhcpd.
    Isc,
}

/// Which half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It speaks first.
    Primary,
    /// The other one.
    Secondary,
}

impl Role {
    /// The half's address.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        match self {
            Self::Primary => PRIMARY,
            Self::Secondary => SECONDARY,
        }
    }

    /// The other half.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Primary => Self::Secondary,
            Self::Secondary => Self::Primary,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }
}

/// What both servers are told.
#[derive(Clone, Copy, Debug)]
pub struct PairPlan {
    /// Addresses in the pool.
    pub pool: u32,
    /// How long leases last, in seconds.
    pub lifetime_seconds: u32,
    /// The maximum client lead time in seconds.
    pub mclt_seconds: u32,
    /// How long a silent partner is put up with, in seconds.
    pub response_delay_seconds: u32,
    /// How many updates may be under way. Up to 3, ISC dhcpd acknowledges each at once; with more it waits
    /// up to two seconds.
    pub unacknowledged_max: u32,
    /// Up to which `secs` a DISCOVER is left to the server of its bucket; 0: never.
    pub load_balance_seconds_max: u32,
}

impl PairPlan {
    /// Quick: short times, acknowledgements at once, both answer everybody.
    pub const QUICK: Self = Self {
        pool: 16,
        lifetime_seconds: 600,
        mclt_seconds: 60,
        response_delay_seconds: 6,
        unacknowledged_max: 3,
        load_balance_seconds_max: 0,
    };

    fn pool_last(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(POOL_FIRST) + self.pool - 1)
    }
}

/// The ground that the pair plays on.
#[derive(Debug)]
pub struct Pair {
    /// The primary.
    pub primary: Half,
    /// The secondary.
    pub secondary: Half,
    /// Where `vestibule-load` runs.
    pub load: Host,
}

/// One server of the pair.
#[derive(Debug)]
pub struct Half {
    /// Its host.
    pub host: Host,
    role: Role,
    program: Program,
    plan: PairPlan,
    process: Option<Process>,
}

impl Pair {
    /// Makes the hosts; nothing runs yet.
    ///
    /// # Errors
    /// [`LabError::Machine`] if this machine does not let us, [`LabError::NoPeer`] if ISC dhcpd is needed and
    /// not there.
    pub fn new(plan: PairPlan, primary: Program, secondary: Program) -> Result<Self, LabError> {
        if [primary, secondary].contains(&Program::Isc) {
            isc::program()?;
        }
        let lab = Lab::new()?;
        lab.switch("wire")?;
        let load = lab.host("load")?;
        lab.plug("wire", &load, "wire")?;
        load.ip(&format!(
            "address add {LOAD}/24 dev wire\nroute add local {CLIENTS}/{} dev lo",
            CLIENTS_PREFIX.0
        ))?;
        let half = |role: Role, program| -> Result<Half, LabError> {
            let host = lab.host(role.name())?;
            lab.plug("wire", &host, "wire")?;
            host.ip(&format!(
                "address add {}/24 dev wire\nroute add {CLIENTS}/{} via {LOAD}",
                role.address(),
                CLIENTS_PREFIX.0
            ))?;
            Ok(Half { host, role, program, plan, process: None })
        };
        let (primary, secondary) =
            (half(Role::Primary, primary)?, half(Role::Secondary, secondary)?);
        Ok(Self { primary, secondary, load })
    }

    /// One half.
    pub fn half(&mut self, role: Role) -> &mut Half {
        match role {
            Role::Primary => &mut self.primary,
            Role::Secondary => &mut self.secondary,
        }
    }

    /// Starts both and waits until both are in NORMAL.
    ///
    /// # Errors
    /// [`LabError::Deadline`] with what they say instead.
    pub fn start(&mut self) -> Result<(), LabError> {
        self.primary.start()?;
        self.secondary.start()?;
        self.both_normal()
    }

    /// Waits until both are in NORMAL, and believe it of each other.
    ///
    /// # Errors
    /// [`LabError::Deadline`] with what they say instead.
    pub fn both_normal(&mut self) -> Result<(), LabError> {
        for half in [&mut self.primary, &mut self.secondary] {
            half.wait_states("normal", "normal")?;
        }
        Ok(())
    }

    /// Nothing of the link passes any more, and nobody is told.
    ///
    /// # Errors
    /// [`LabError::Command`] if it is cut already.
    pub fn cut(&self) -> Result<(), LabError> {
        self.primary
            .host
            .ok("nft 'add table inet cut; \
                 add chain inet cut in { type filter hook input priority 0; }; \
                 add chain inet cut out { type filter hook output priority 0; }; \
                 add rule inet cut in tcp dport 647 drop; add rule inet cut in tcp sport 647 drop; \
                 add rule inet cut out tcp dport 647 drop; add rule inet cut out tcp sport 647 drop'")
            .map(drop)
    }

    /// The link is whole again.
    ///
    /// # Errors
    /// [`LabError::Command`] if it was not cut.
    pub fn heal(&self) -> Result<(), LabError> {
        self.primary.host.ok("nft delete table inet cut").map(drop)
    }

    /// So many clients from this number on get a lease; only these servers hear of them.
    ///
    /// # Errors
    /// [`LabError::Command`] if one does not, with what the load client says.
    pub fn lease(&self, servers: &[Role], first: u32, clients: u32) -> Result<(), LabError> {
        let servers = server_arguments(servers);
        self.load
            .ok(&format!(
                "vestibule-load dora {servers} --giaddr {RELAY} --first-client {first} --clients {clients} \
                 --first-wait 300 --ledger /run/ledger"
            ))
            .map(drop)
    }

    /// So many clients from this number on get a lease of these servers and renew it, so that it lasts as
    /// long as is configured: the first is no longer than the lead time.
    ///
    /// # Errors
    /// [`LabError::Command`] with what the load client says.
    pub fn lease_for_long(
        &self,
        servers: &[Role],
        first: u32,
        clients: u32,
    ) -> Result<(), LabError> {
        let servers = server_arguments(servers);
        let seconds = self.primary.plan.mclt_seconds / 2 + 3;
        self.load.write(
            "/run/renews.toml",
            &format!(
                "name = \"renews\"\ndescription = \"lease and renew\"\nclients = {clients}\n\
                 arrivals = \"at-once\"\nstay = \"renewing\"\n\
                 first-wait-milliseconds = 300\nseconds = {seconds}.0\n"
            ),
        )?;
        self.load
            .ok(&format!(
                "vestibule-load run /run/renews.toml {servers} --giaddr {RELAY} --first-client {first} \
                 --ledger /run/ledger"
            ))
            .map(drop)
    }

    /// So many clients from this number on get a lease of these servers and give it back.
    ///
    /// # Errors
    /// [`LabError::Command`] with what the load client says.
    pub fn lease_and_release(
        &self,
        servers: &[Role],
        first: u32,
        clients: u32,
    ) -> Result<(), LabError> {
        let servers = server_arguments(servers);
        self.load.write(
            "/run/releases.toml",
            &format!(
                "name = \"releases\"\ndescription = \"lease and release\"\nclients = {clients}\n\
                 arrivals = \"at-once\"\nstay = {{ releases-after-seconds = 0.5 }}\n\
                 first-wait-milliseconds = 300\nseconds = 2.0\n"
            ),
        )?;
        self.load
            .ok(&format!(
                "vestibule-load run /run/releases.toml {servers} --giaddr {RELAY} --first-client {first}"
            ))
            .map(drop)
    }

    /// Every client that has a lease asks these servers for it, whoever gave it. How many asked, and got it.
    ///
    /// # Errors
    /// [`LabError::Command`] if one does not get it, with what the load client says.
    pub fn ask_for_leases(&self, servers: &[Role]) -> Result<usize, LabError> {
        let servers = server_arguments(servers);
        let line = format!(
            "vestibule-load check {servers} --ledger /run/ledger --giaddr {RELAY} --first-wait 300 --seconds 2"
        );
        let said = self.load.ok(&line)?;
        let asked = said.lines().find_map(|line| line.strip_prefix("checked "));
        asked.and_then(|asked| asked.split_whitespace().next()?.parse().ok()).ok_or_else(|| {
            LabError::Command {
                command: line,
                status: "it did not say how many".to_owned(),
                output: said,
            }
        })
    }

    /// Waits until what both servers know of every address that anybody ever had agrees, and so many are
    /// held; gives it.
    ///
    /// # Errors
    /// [`LabError::Deadline`] with where they differ.
    pub fn agree(&self, held: usize) -> Result<BTreeMap<Ipv4Addr, SeenLease>, LabError> {
        self.agree_on(Some(held))
    }

    /// As [`Pair::agree`], however many are held.
    ///
    /// # Errors
    /// As [`Pair::agree`].
    pub fn agree_on(&self, held: Option<usize>) -> Result<BTreeMap<Ipv4Addr, SeenLease>, LabError> {
        let mut first = None;
        until_ok("both servers know the same leases", || {
            let one = self.primary.leases().map_err(|error| error.to_string())?;
            let other = self.secondary.leases().map_err(|error| error.to_string())?;
            let held_by_both = one.values().filter(|lease| lease.is_active()).count();
            if one == other && held.is_none_or(|held| held_by_both == held) {
                return Ok(one);
            }
            if one == other {
                return Err(format!("{held_by_both} are held, and not {held:?}: {one:?}"));
            }
            let addresses: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
            let differences = addresses.into_iter().filter_map(|address| {
                let (one, other) = (one.get(address), other.get(address));
                (one != other).then(|| format!("{address}: {one:?} and {other:?}"))
            });
            let differences = differences.collect::<Vec<_>>().join("\n");
            let first = first.get_or_insert_with(|| differences.clone());
            Err(format!("{differences}\nand at first\n{first}"))
        })
    }
}

impl Half {
    /// Which program it is.
    #[must_use]
    pub fn program(&self) -> Program {
        self.program
    }

    /// Another program takes its place; its store is another one, and empty.
    pub fn replace_by(&mut self, program: Program) {
        self.program = program;
    }

    /// Starts it, on the store that it has.
    ///
    /// # Errors
    /// [`LabError::Deadline`] with its log if it does not run.
    pub fn start(&mut self) -> Result<(), LabError> {
        let process = match self.program {
            Program::Isc => isc::start(&self.host, self.role, self.plan)?,
            Program::Vestibule => ours::start(&self.host, self.role, self.plan)?,
        };
        self.process = Some(process);
        Ok(())
    }

    /// Kills it, as a crash does.
    ///
    /// # Errors
    /// [`LabError::Command`] if it does not run.
    pub fn kill(&mut self) -> Result<(), LabError> {
        self.end("KILL")
    }

    /// Ends it, as an operator does.
    ///
    /// # Errors
    /// [`LabError::Command`] if it does not run.
    pub fn stop(&mut self) -> Result<(), LabError> {
        self.end("TERM")
    }

    fn end(&mut self, signal: &str) -> Result<(), LabError> {
        let mut process = self.process.take().ok_or_else(|| self.does_not_run())?;
        process.signal(signal)?;
        process.wait_end().map(drop)
    }

    /// Its store is lost.
    ///
    /// # Errors
    /// [`LabError::Command`] if it cannot be removed.
    pub fn forget(&self) -> Result<(), LabError> {
        let folder = match self.program {
            Program::Isc => isc::FOLDER,
            Program::Vestibule => ours::FOLDER,
        };
        self.host.ok(&format!("rm -rf {folder}")).map(drop)
    }

    /// The running process.
    ///
    /// # Errors
    /// [`LabError::Command`] if it does not run.
    pub fn process(&mut self) -> Result<&mut Process, LabError> {
        if self.process.is_none() {
            return Err(self.does_not_run());
        }
        self.process.as_mut().ok_or_else(|| unreachable!())
    }

    /// Its own state and what it believes of its partner's.
    ///
    /// # Errors
    /// [`LabError::Command`] if it does not say.
    pub fn states(&self) -> Result<(String, String), LabError> {
        match self.program {
            Program::Isc => isc::states(&self.host),
            Program::Vestibule => ours::states(&self.host),
        }
    }

    /// Waits until it is in this state, and believes that its partner is in that one; an empty word is any.
    ///
    /// # Errors
    /// [`LabError::Deadline`] with what it says instead.
    pub fn wait_states(&mut self, own: &str, partner: &str) -> Result<(), LabError> {
        let what = format!(
            "the {} ({:?}) is in {own} and its partner in {partner}",
            self.role.name(),
            self.program
        );
        until_ok(&what, || {
            let seen = self.states().map_err(|error| error.to_string())?;
            let is = |word: &str, seen: &str| word.is_empty() || word == seen;
            if is(own, &seen.0) && is(partner, &seen.1) {
                return Ok(());
            }
            let log = self.process.as_ref().map(Process::log).unwrap_or_default();
            let tail = log.char_indices().rev().nth(3000).map_or(0, |(at, _)| at);
            Err(format!("{seen:?}\n{}", &log[tail..]))
        })
    }

    /// Every address that anybody ever had, by what it knows.
    ///
    /// # Errors
    /// [`LabError::Command`] if it does not say.
    pub fn leases(&self) -> Result<BTreeMap<Ipv4Addr, SeenLease>, LabError> {
        match self.program {
            Program::Isc => isc::leases(&self.host),
            Program::Vestibule => ours::leases(&self.host),
        }
    }

    /// How many addresses are free for the primary and for the secondary to give, as ours sees it.
    ///
    /// # Errors
    /// [`LabError::Command`] if it does not say.
    pub fn free_addresses(&self) -> Result<(u64, u64), LabError> {
        ours::free_addresses(&self.host)
    }

    /// Its operator says that the partner is down.
    ///
    /// # Errors
    /// [`LabError::Command`] if it refuses.
    pub fn partner_down(&self) -> Result<(), LabError> {
        match self.program {
            Program::Isc => isc::partner_down(&self.host, self.role),
            Program::Vestibule => ours::partner_down(&self.host),
        }
    }

    fn does_not_run(&self) -> LabError {
        LabError::Command {
            command: format!("the {}", self.role.name()),
            status: "it does not run".to_owned(),
            output: String::new(),
        }
    }
}

fn server_arguments(servers: &[Role]) -> String {
    servers.iter().map(|role| format!("--server {} ", role.address())).collect()
}
