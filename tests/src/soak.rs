//! Clients through all of a lease's life, against the real server: they renew by unicast, then rebind
//! because unicast is broken, then lose their leases because the server is cut off, and then all is well
//! again.
//!
//! ```text
//!  of three lifetimes L:   0 ........ 7/6 L ........... 7/4 L .......... 9/4 L ........ 3 L
//!  clients arrive for L/3  |  all well  |  renewals lost  |  all is lost   |  all well   |
//! ```
//!
//! With arrivals spread over a third of a lifetime, half of the clients come to T2 while only renewals
//! are lost, and half when all is lost: those must lose their leases, and no others. Packets are dropped
//! by nftables on the server's host. What the stages follow is the load client's own clock, as its live
//! line says it, so a slow machine changes nothing.
//!
//! It promises that the server's files are on the file system that it is told, and that it judges by
//! what was counted: see [`Soaked::checks`].

use crate::lab::{Host, LabError, Process, until_ok};
use crate::servers::{Ground, Networks, RELAY_STEP, RELAYS_MAX, SERVER, Server};
use std::fmt;
use std::path::Path;
use vestibule_load::result::{Ending, Pair, RunResult};
use vestibule_load::story::StoryKind;

/// The shortest lifetime that the server takes, in seconds.
pub const LIFETIME_SECONDS_MIN: u32 = 10;
/// Clients that there are addresses for.
pub const CLIENTS_MAX: u32 = 1_000_000;
/// The run, as the live line names it.
const NAME: &str = "soak";
/// Where rules go.
const RULE: &str = "add rule ip soak arriving";
/// Packets to the server that are no relay's: renewals come from the clients' port.
const RENEWALS: &str = "udp sport 68 udp dport 67";
/// Packets to the server.
const EVERYTHING: &str = "udp dport 67";

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    /// Clients, at most [`CLIENTS_MAX`].
    pub clients: u32,
    /// How long leases last, in seconds, at least [`LIFETIME_SECONDS_MIN`]. The run lasts three times as
    /// long.
    pub lifetime_seconds: u32,
}

/// A part of the run.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// What is lost in it.
    pub name: &'static str,
    /// The second of the run in which it began.
    pub from_seconds: u32,
}

/// What came of it.
#[derive(Debug)]
pub struct Soaked {
    /// What was played.
    pub soak: Soak,
    /// What the load client found.
    pub result: RunResult,
    /// How the load client ended.
    pub status: Option<i32>,
    /// The stages in their order.
    pub stages: Vec<Stage>,
    /// Renewals that were dropped.
    pub renewals_dropped: u64,
    /// Packets that were dropped when all was.
    pub packets_dropped: u64,
}

/// Something that must be so, and whether it is.
#[derive(Clone, Debug)]
pub struct Check {
    /// What must be so, with what was found.
    pub what: String,
    /// Whether it is.
    pub is_good: bool,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", if self.is_good { "good  " } else { "FAILED" }, self.what)
    }
}

impl Soak {
    /// Plays it. `folder` is an empty folder for the server's files and for `result.json` and
    /// `report.html`; `say` is told each line that the load client writes meanwhile.
    ///
    /// # Errors
    /// [`LabError`] if it could not be played.
    pub fn play(self, folder: &Path, say: &mut dyn FnMut(&str)) -> Result<Soaked, LabError> {
        let ground = Ground::new()?;
        let file = |path: &Path, error| LabError::File { path: path.display().to_string(), error };
        let folder = folder.canonicalize().map_err(|error| file(folder, error))?;
        let state = folder.join("state");
        std::fs::create_dir(&state).map_err(|error| file(&state, error))?;
        let lifetime_seconds = self.lifetime_seconds.max(LIFETIME_SECONDS_MIN);
        let clients = self.clients.clamp(1, CLIENTS_MAX);
        // One more in each pool than there can be clients: who asked whether the server is there.
        let pool = clients / RELAYS_MAX + 2;
        let networks = Networks { relays: RELAYS_MAX, pool, lifetime_seconds };
        let _server = ground.start(Server::Vestibule, networks, &state, "")?;
        set(&ground.server, "")?;
        ground.load.write("/run/soak.toml", &self.scenario())?;
        let (json, page) = (folder.join("result.json"), folder.join("report.html"));
        let mut load = ground.load.start(
            NAME,
            &format!(
                "vestibule-load run /run/soak.toml --server {SERVER} --giaddr {} --relays {RELAYS_MAX} \
                 --relay-step {RELAY_STEP} --circuit-id --durability 'synced before every ACK' \
                 --json '{}' --report '{}'",
                Networks::relay(0),
                json.display(),
                page.display()
            ),
        )?;
        let renewals_lost = format!("{RULE} {RENEWALS} counter name renewals drop");
        let all_lost = format!("{RULE} {EVERYTHING} counter name everything drop");
        let mut stages = vec![Stage { name: "all is well", from_seconds: 0 }];
        let mut seen = 0;
        for (name, twelfths, rule) in [
            ("unicast renewals are lost", 14, renewals_lost.as_str()),
            ("everything is lost", 21, all_lost.as_str()),
            ("all is well again", 27, ""),
        ] {
            let at = lifetime_seconds * twelfths / 12;
            let Some(from_seconds) = second(&mut load, at, &mut seen, say)? else { break };
            set(&ground.server, rule)?;
            stages.push(Stage { name, from_seconds });
        }
        second(&mut load, u32::MAX, &mut seen, say)?;
        let status = load.wait_end()?.code();
        let text = std::fs::read_to_string(&json).map_err(|_| LabError::Deadline {
            what: "the load client writes its result".to_owned(),
            seen: load.log(),
        })?;
        let result = serde_json::from_str(&text).map_err(|error| file(&json, error.into()))?;
        let [renewals_dropped, packets_dropped] = dropped(&ground.server)?;
        let soak = Self { clients, lifetime_seconds };
        Ok(Soaked { soak, result, status, stages, renewals_dropped, packets_dropped })
    }

    fn scenario(self) -> String {
        let lifetime = f64::from(self.lifetime_seconds);
        format!(
            "name = \"{NAME}\"\ndescription = \"Leases are renewed, rebound and lost\"\nclients = {}\n\
             arrivals = {{ per-second = {:.3} }}\nseconds = {:.1}\nstay = \"renewing\"\n\
             first-wait-milliseconds = {:.0}\n",
            self.clients,
            f64::from(self.clients) * 3.0 / lifetime,
            lifetime * 3.0,
            // Four seconds of a minute, as RFC 2131 section 4.1 has it.
            (lifetime * 1000.0 / 15.0).min(4000.0),
        )
    }
}

/// Waits until the load client says that `at` seconds are over, and gives the second that it says; `None`
/// when it has ended.
fn second(
    load: &mut Process,
    at: u32,
    seen: &mut usize,
    say: &mut dyn FnMut(&str),
) -> Result<Option<u32>, LabError> {
    loop {
        let line = until_ok("the load client goes on", || {
            // In this order: what was written before the end counts.
            let ended = load.ended().is_some();
            let log = load.log();
            let next = log.rsplit_once('\n').and_then(|(whole, _)| whole.lines().nth(*seen));
            match next {
                Some(line) => Ok(Some(line.to_owned())),
                None if ended => Ok(None),
                None => Err(log),
            }
        })?;
        let Some(line) = line else { return Ok(None) };
        *seen += 1;
        say(&line);
        let words = line.strip_prefix(NAME).map(str::trim_start);
        let elapsed = words.and_then(|words| words.split(' ').next()?.parse().ok());
        if let Some(elapsed) = elapsed.filter(|elapsed| *elapsed >= at) {
            return Ok(Some(elapsed));
        }
    }
}

/// Has the server's host drop what `rule` says, and nothing else, from one packet to the next.
fn set(server: &Host, rule: &str) -> Result<(), LabError> {
    let table = format!(
        "add table ip soak\nadd counter ip soak renewals\nadd counter ip soak everything\n\
         add chain ip soak arriving {{ type filter hook input priority 0; }}\n\
         flush chain ip soak arriving\n{rule}\n"
    );
    server.write("/run/soak.nft", &table)?;
    server.ok("nft -f /run/soak.nft").map(drop)
}

fn dropped(server: &Host) -> Result<[u64; 2], LabError> {
    let said = server.ok("nft --json list counters table ip soak")?;
    let value: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
    let of = |name: &str| {
        let items = value["nftables"].as_array().into_iter().flatten();
        let mut counters = items.map(|item| &item["counter"]);
        counters.find(|counter| counter["name"] == name)?["packets"].as_u64()
    };
    of("renewals")
        .zip(of("everything"))
        .map(|(one, other)| [one, other])
        .ok_or(LabError::Deadline { what: "nft tells its counters".to_owned(), seen: said.clone() })
}

impl Soaked {
    /// Everything that must be so.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let (result, totals) = (&self.result, &self.result.totals);
        let clients = u64::from(self.soak.clients);
        let count = |pair| result.latency(pair).map_or(0, |latency| latency.count());
        let (renewals, rebinds) = (count(Pair::RenewAck), count(Pair::RebindAck));
        let told = result.stories.told.iter().filter(|story| story.kind == StoryKind::Expired);
        // The last step but one of whoever lost a lease is a REBIND that nobody heard.
        let told = told
            .filter(|story| story.steps.iter().any(|step| step.what.contains("REBIND")))
            .count();
        let early = self.expired(0, self.second_of(2));
        let check = |is_good, what| Check { what, is_good };
        vec![
            check(
                result.ending == Ending::Complete && self.status == Some(0),
                format!(
                    "the load client ended as it should: exit status {}",
                    self.status.map_or_else(
                        || "unknown, by a signal".to_owned(),
                        |status| status.to_string()
                    )
                ),
            ),
            check(
                result.ledger.violations == 0 && result.ledger.acknowledgements > 0,
                format!(
                    "the ledger is clean: {} violations in {} ACKs",
                    result.ledger.violations, result.ledger.acknowledgements
                ),
            ),
            check(
                renewals >= clients,
                format!(
                    "every client renewed by unicast: {renewals} renewals of {clients} clients"
                ),
            ),
            check(
                rebinds > 0 && self.renewals_dropped > 0,
                format!(
                    "clients whose renewals were lost ({} packets) rebound: {rebinds} rebinds",
                    self.renewals_dropped
                ),
            ),
            check(early == 0, format!("nobody lost a lease for a lost renewal: {early} did")),
            check(
                totals.expiries > 0 && self.packets_dropped > 0,
                format!(
                    "leases ran out when everything was lost ({} packets): {} did",
                    self.packets_dropped, totals.expiries
                ),
            ),
            check(
                told > 0,
                format!("whoever lost a lease has a story of a REBIND unheard: {told} are told"),
            ),
            check(
                totals.bound_at_end == clients,
                format!("in the end {} of {clients} clients have a lease", totals.bound_at_end),
            ),
        ]
    }

    /// The stages with what happened in each, as a table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<28}{:>9}{:>10}{:>12}{:>10}{:>11}\n",
            "stage", "from, s", "ACKs", "sent again", "ran out", "with lease"
        );
        for (number, stage) in self.stages.iter().enumerate() {
            let seconds = self.seconds(stage.from_seconds, self.second_of(number + 1));
            let sum = |of: fn(&vestibule_load::result::Second) -> u64| {
                seconds.iter().map(of).sum::<u64>()
            };
            let bound = seconds.last().map_or(0, |second| second.bound);
            table.push_str(&format!(
                "{:<28}{:>9}{:>10}{:>12}{:>10}{:>11}\n",
                stage.name,
                stage.from_seconds,
                sum(|second| second.acknowledged),
                sum(|second| second.retransmitted),
                sum(|second| second.expired),
                bound
            ));
        }
        table
    }

    /// The second in which a stage began, or the end.
    fn second_of(&self, stage: usize) -> u32 {
        self.stages.get(stage).map_or(u32::MAX, |stage| stage.from_seconds)
    }

    fn expired(&self, from: u32, to: u32) -> u64 {
        self.seconds(from, to).iter().map(|second| second.expired).sum()
    }

    fn seconds(&self, from: u32, to: u32) -> &[vestibule_load::result::Second] {
        let all = &self.result.timeline;
        let at = |second: u32| usize::try_from(second).unwrap_or(usize::MAX).min(all.len());
        all.get(at(from)..at(to)).unwrap_or_default()
    }
}
