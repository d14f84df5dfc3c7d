//! What a run does, as a small TOML file.
//!
//! It promises that a key that is not known, a value out of its range and a combination that makes no
//! sense are refused with the line or the key, and with what was probably meant. A scenario says what
//! clients do; where relays and servers are, the command line says. Several are in the program
//! ([`SHIPPED`]) and can be run by their names.

use crate::client::Manner;
use crate::conduct::Conduct;
use crate::engine::{Arrivals, CLIENTS_MAX, Mix, Renewals, Return, Stay};
use crate::registration::RegistrationTable;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// Bytes of the longest scenario that is read.
pub const BYTES_MAX: usize = 64 << 10;
/// The longest run, in seconds: a week.
pub const SECONDS_MAX: f64 = 604_800.0;
/// Arrivals a second, at most.
pub const RATE_MAX: f64 = 1e7;
/// How close a key must be to a known one to be taken for a slip of the hand (Jaro-Winkler).
const SIMILAR: f64 = 0.7;

/// The scenarios in the program: name and text.
pub const SHIPPED: [(&str, &str); 11] = [
    ("steady", include_str!("../scenarios/steady.toml")),
    ("morning", include_str!("../scenarios/morning.toml")),
    ("avalanche", include_str!("../scenarios/avalanche.toml")),
    ("batches", include_str!("../scenarios/batches.toml")),
    ("churn", include_str!("../scenarios/churn.toml")),
    ("misbehaving", include_str!("../scenarios/misbehaving.toml")),
    ("starve", include_str!("../scenarios/starve.toml")),
    ("ramp", include_str!("../scenarios/ramp.toml")),
    ("crowd", include_str!("../scenarios/crowd.toml")),
    ("registration", include_str!("../scenarios/registration.toml")),
    ("ceiling", include_str!("../scenarios/ceiling.toml")),
];

/// See the module.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// Its name in the result.
    pub name: String,
    /// What it shows, in a sentence.
    pub description: String,
    /// Clients that there are at once, 1 to [`CLIENTS_MAX`].
    pub clients: u32,
    /// How they arrive.
    pub arrivals: ArrivalsSetting,
    /// How long it lasts, in seconds; without it, until every client has its lease. A ramp needs none.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// What becomes of a client with a lease.
    #[serde(default)]
    pub stay: StaySetting,
    /// Who arrives when all have.
    #[serde(default)]
    pub returns: ReturnSetting,
    /// Which way renewals go.
    #[serde(default)]
    pub renewals: RenewalsSetting,
    /// Milliseconds until a client asks again for the first time, 10 to 60,000; doubled each time.
    #[serde(default = "first_wait")]
    pub first_wait_milliseconds: u64,
    /// Which of a hundred clients misbehave, by kind; the others are orderly.
    #[serde(default)]
    pub misbehaving: BTreeMap<Conduct, f64>,
    /// Milliseconds between the messages of clients that flood, 1 to 60,000.
    #[serde(default = "flood_interval")]
    pub flood_interval_milliseconds: u32,
    /// Whether the power goes, and all clients come back at once.
    #[serde(default)]
    pub power_cut: Option<PowerCut>,
    /// What a client does between its first lease and a network that it can use.
    #[serde(default)]
    pub registration: Option<RegistrationTable>,
}

/// All clients are off without a word, and then on at once.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PowerCut {
    /// When it goes, in seconds since the beginning.
    pub after_seconds: f64,
    /// How long it is gone, in seconds.
    pub dark_seconds: f64,
    /// How many of a hundred clients have forgotten their leases; the others ask for them in
    /// INIT-REBOOT.
    #[serde(default)]
    pub forgetful_percent: f64,
}

/// What of a scenario's size is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Size {
    /// Clients.
    pub clients: Option<u32>,
    /// The duration, in seconds.
    pub seconds: Option<f64>,
    /// Arrivals a second.
    pub per_second: Option<f64>,
}

/// How clients arrive.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ArrivalsSetting {
    /// So many a second.
    PerSecond(f64),
    /// A rate that changes: `[seconds, arrivals a second]`, ascending, with straight lines between.
    Curve(Vec<(f64, f64)>),
    /// All at once.
    AtOnce,
    /// So many at once, then the next ones.
    Batches(u32),
    /// One whenever fewer than so many exchanges are open.
    InFlight(u32),
    /// A rate that is raised until the server does not bear it, and then the knee between.
    Ramp(Ramp),
}

/// How the knee is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ramp {
    /// The first rate, in exchanges a second; doubled while it is borne.
    pub from_per_second: f64,
    /// The highest rate that is tried.
    pub to_per_second: f64,
    /// How long each rate is kept, in seconds.
    pub step_seconds: f64,
    /// What the 99th percentile may be, in milliseconds.
    pub p99_milliseconds: f64,
    /// Of a hundred exchanges, how many may be lost.
    pub lost_percent: f64,
    /// How close the bounds of the knee are at the end, in per cent of it.
    pub precision_percent: f64,
}

/// What becomes of a client with a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum StaySetting {
    /// It renews it.
    Renewing,
    /// It does nothing more.
    #[default]
    Idle,
    /// It leaves after so many seconds and gives the lease back.
    ReleasesAfterSeconds(f64),
    /// It leaves after so many seconds and says nothing.
    VanishesAfterSeconds(f64),
}

/// Who arrives when all have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReturnSetting {
    /// Nobody.
    #[default]
    Never,
    /// The same ones, who remember nothing.
    Same,
    /// The same ones, who ask for their leases in INIT-REBOOT.
    Reboot,
    /// Ones with new hardware addresses.
    Strangers,
    /// The same, each behind the next relay.
    RoamingStrangers,
}

/// Which way renewals go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RenewalsSetting {
    /// From the client's own address, as real clients do.
    #[default]
    Unicast,
    /// Through the relay.
    Relayed,
}

const fn first_wait() -> u64 {
    4000
}

const fn flood_interval() -> u32 {
    100
}

/// Why a scenario is not run. All are the operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// The line, from 1, if it can be said.
    pub line: Option<usize>,
    /// What is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for ScenarioError {}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// It is no TOML, has an unknown key, or a value that makes no sense.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        if text.len() > BYTES_MAX {
            return Err(ScenarioError {
                line: None,
                what: format!("it is longer than {BYTES_MAX} bytes"),
            });
        }
        let scenario: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map(|before| before.matches('\n').count() + 1);
            ScenarioError { line, what: with_suggestion(error.message()) }
        })?;
        scenario.check().map_err(|what| ScenarioError { line: None, what })?;
        Ok(scenario)
    }

    /// The same scenario in another size. With another duration, a curve and a power cut are stretched to
    /// it; of a ramp, it is how long each rate is kept. Another rate is the highest of a curve, and the
    /// highest that a ramp tries.
    ///
    /// # Errors
    /// The scenario has no rate, or makes no sense in this size.
    pub fn resized(mut self, size: Size) -> Result<Self, ScenarioError> {
        self.clients = size.clients.unwrap_or(self.clients);
        let error = |what| ScenarioError { line: None, what };
        if let Some(wanted) = size.per_second {
            range("--per-second", wanted, RATE_MAX).map_err(error)?;
            match &mut self.arrivals {
                ArrivalsSetting::PerSecond(rate) => *rate = wanted,
                ArrivalsSetting::Curve(points) => {
                    let highest = points.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
                    points.iter_mut().for_each(|(_, rate)| *rate *= wanted / highest);
                }
                ArrivalsSetting::Ramp(ramp) => {
                    ramp.to_per_second = wanted;
                    ramp.from_per_second = ramp.from_per_second.min(wanted);
                }
                _ => return Err(error("it has no rate that --per-second could change".to_owned())),
            }
        }
        if let Some(wanted) = size.seconds {
            range("--seconds", wanted, SECONDS_MAX).map_err(error)?;
            let factor = self.seconds.map_or(1.0, |seconds| wanted / seconds);
            match &mut self.arrivals {
                ArrivalsSetting::Curve(points) => {
                    points.iter_mut().for_each(|(at, _)| *at *= factor);
                }
                ArrivalsSetting::Ramp(ramp) => ramp.step_seconds = wanted,
                _ => {}
            }
            if let Some(cut) = &mut self.power_cut {
                cut.after_seconds *= factor;
                cut.dark_seconds *= factor;
            }
            if !matches!(self.arrivals, ArrivalsSetting::Ramp(_)) {
                self.seconds = Some(wanted);
            }
        }
        self.check().map_err(error)?;
        Ok(self)
    }

    /// How clients arrive; of a ramp, at its first rate.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        match &self.arrivals {
            ArrivalsSetting::PerSecond(rate) => Arrivals::Rate(*rate),
            ArrivalsSetting::Curve(points) => Arrivals::Curve(points.clone()),
            ArrivalsSetting::AtOnce => Arrivals::AtOnce,
            ArrivalsSetting::Batches(size) => Arrivals::Batches(*size),
            ArrivalsSetting::InFlight(limit) => Arrivals::InFlight(*limit),
            ArrivalsSetting::Ramp(ramp) => Arrivals::Rate(ramp.from_per_second),
        }
    }

    /// What becomes of a client with a lease.
    #[must_use]
    pub fn stay(&self) -> Stay {
        let leaving = |seconds, releases| Stay::Leaving {
            after_milliseconds: milliseconds(seconds),
            releases,
        };
        match self.stay {
            StaySetting::Renewing => Stay::Renewing,
            StaySetting::Idle => Stay::Idle,
            StaySetting::ReleasesAfterSeconds(seconds) => leaving(seconds, true),
            StaySetting::VanishesAfterSeconds(seconds) => leaving(seconds, false),
        }
    }

    /// Who arrives when all have.
    #[must_use]
    pub const fn returns(&self) -> Return {
        match self.returns {
            ReturnSetting::Never => Return::Never,
            ReturnSetting::Same => Return::Same,
            ReturnSetting::Reboot => Return::Reboot,
            ReturnSetting::Strangers => Return::Stranger { roams: false },
            ReturnSetting::RoamingStrangers => Return::Stranger { roams: true },
        }
    }

    /// Which way renewals go.
    #[must_use]
    pub const fn renewals(&self) -> Renewals {
        match self.renewals {
            RenewalsSetting::Unicast => Renewals::Unicast,
            RenewalsSetting::Relayed => Renewals::Relayed,
        }
    }

    /// How clients ask again.
    #[must_use]
    pub fn manner(&self) -> Manner {
        Manner {
            first_wait_milliseconds: self.first_wait_milliseconds,
            flood_interval_milliseconds: self.flood_interval_milliseconds,
            conduct: Conduct::Orderly,
        }
    }

    /// Which clients misbehave.
    #[must_use]
    pub fn mix(&self) -> Mix {
        Mix::of_percent(self.misbehaving.iter().map(|(conduct, percent)| (*conduct, *percent)))
    }

    fn check_conduct(&self) -> Result<(), String> {
        for (conduct, percent) in &self.misbehaving {
            range(&format!("misbehaving.{conduct}"), *percent, 100.0)?;
            if *conduct == Conduct::Orderly {
                return Err("misbehaving.orderly: whoever does not misbehave is orderly".to_owned());
            }
        }
        if self.misbehaving.values().sum::<f64>() > 100.0 {
            return Err("misbehaving: the shares are more than 100 in sum".to_owned());
        }
        if !(1..=60_000).contains(&self.flood_interval_milliseconds) {
            return Err("flood-interval-milliseconds must be 1 to 60,000".to_owned());
        }
        let Some(cut) = self.power_cut else { return Ok(()) };
        range("power-cut.after-seconds", cut.after_seconds, SECONDS_MAX)?;
        range("power-cut.dark-seconds", cut.dark_seconds, SECONDS_MAX)?;
        if !(0.0..=100.0).contains(&cut.forgetful_percent) {
            return Err("power-cut.forgetful-percent must be 0 to 100".to_owned());
        }
        let is_over = cut.after_seconds + cut.dark_seconds;
        if matches!(self.arrivals, ArrivalsSetting::Ramp(_))
            || self.seconds.is_none_or(|seconds| seconds <= is_over)
        {
            return Err(format!(
                "power-cut: it is over after {is_over} seconds; say for how many `seconds` more than that \
                 the scenario lasts, and have no ramp"
            ));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if !(1..=CLIENTS_MAX).contains(&self.clients) {
            return Err(format!("clients is {}; it must be 1 to {CLIENTS_MAX}", self.clients));
        }
        if !(10..=60_000).contains(&self.first_wait_milliseconds) {
            return Err("first-wait-milliseconds must be 10 to 60,000".to_owned());
        }
        self.check_conduct()?;
        if let Some(seconds) = self.seconds {
            range("seconds", seconds, SECONDS_MAX)?;
        }
        if let StaySetting::ReleasesAfterSeconds(seconds)
        | StaySetting::VanishesAfterSeconds(seconds) = self.stay
        {
            range("stay", seconds, SECONDS_MAX)?;
        }
        if self.registration.is_some() && self.returns == ReturnSetting::Same {
            return Err(
                "who returns is registered already: with [registration], returns must be \"never\" or strangers"
                    .to_owned(),
            );
        }
        let is_endless = self.returns != ReturnSetting::Never || self.stay == StaySetting::Renewing;
        let is_ramp = matches!(self.arrivals, ArrivalsSetting::Ramp(_));
        if is_endless && self.seconds.is_none() && !is_ramp {
            return Err(
                "clients that return or renew never come to an end: say for how many `seconds`"
                    .to_owned(),
            );
        }
        match &self.arrivals {
            ArrivalsSetting::PerSecond(rate) => range("arrivals.per-second", *rate, RATE_MAX),
            ArrivalsSetting::Curve(points) => curve(points),
            ArrivalsSetting::Batches(0) => Err("arrivals.batches must be at least 1".to_owned()),
            ArrivalsSetting::InFlight(0) => Err("arrivals.in-flight must be at least 1".to_owned()),
            ArrivalsSetting::Ramp(ramp) => {
                if self.returns == ReturnSetting::Never {
                    return Err("a ramp needs clients that return: returns = \"same\"".to_owned());
                }
                ramp.check()
            }
            _ => Ok(()),
        }
    }
}

impl Ramp {
    fn check(&self) -> Result<(), String> {
        range("arrivals.ramp.from-per-second", self.from_per_second, RATE_MAX)?;
        range("arrivals.ramp.to-per-second", self.to_per_second, RATE_MAX)?;
        range("arrivals.ramp.step-seconds", self.step_seconds, SECONDS_MAX)?;
        range("arrivals.ramp.p99-milliseconds", self.p99_milliseconds, 1e6)?;
        range("arrivals.ramp.precision-percent", self.precision_percent, 100.0)?;
        if !(0.0..100.0).contains(&self.lost_percent) {
            return Err(
                "arrivals.ramp.lost-percent must be 0 or more, and less than 100".to_owned()
            );
        }
        if self.to_per_second < self.from_per_second {
            return Err(
                "arrivals.ramp goes down: to-per-second is less than from-per-second".to_owned()
            );
        }
        Ok(())
    }
}

fn range(key: &str, value: f64, limit: f64) -> Result<(), String> {
    // Written so that what is no number is out of range.
    if value > 0.0 && value <= limit {
        return Ok(());
    }
    Err(format!("{key} is {value}; it must be more than 0 and at most {limit}"))
}

fn curve(points: &[(f64, f64)]) -> Result<(), String> {
    let is_ascending = points.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b));
    let fits = points
        .iter()
        .all(|(at, rate)| (0.0..=SECONDS_MAX).contains(at) && (0.0..=RATE_MAX).contains(rate));
    if points.len() >= 2 && is_ascending && fits {
        return Ok(());
    }
    Err("arrivals.curve needs at least two points [seconds, arrivals a second], ascending, none below 0".to_owned())
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be positive and at most a week"
)]
const fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

/// A message about an unknown name, with the known one that is nearest to it.
fn with_suggestion(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let is_unknown = message.starts_with("unknown ");
    let Some(unknown) = names.next().filter(|_| is_unknown) else { return message.to_owned() };
    let nearest = names
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, name)) => format!("'{unknown}' is not known; do you mean '{name}'?"),
        None => message.replace('`', "'"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_scenario_is_one() {
        for (name, text) in SHIPPED {
            let scenario = Scenario::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(scenario.name, name);
            assert!(text.starts_with('#'), "{name} says in a comment what it is for");
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
        assert_eq!(files.count(), SHIPPED.len(), "a file is not in the program");
    }

    #[test]
    fn another_size_stretches_what_has_a_shape() {
        let size = Size { clients: Some(7), seconds: Some(17.0), per_second: Some(40.0) };
        let shipped = |wanted: &str| {
            let (_, text) = SHIPPED.iter().find(|(name, _)| *name == wanted).unwrap();
            Scenario::parse(text).unwrap()
        };
        let morning = shipped("morning").resized(size).unwrap();
        let ArrivalsSetting::Curve(points) = &morning.arrivals else { panic!("no curve") };
        assert_eq!((morning.clients, morning.seconds), (7, Some(17.0)));
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(points[2].0, 9.0) && near(points[2].1, 40.0), "{points:?}");
        assert!(near(points[4].0, 16.0) && near(points[1].1, 10.0), "{points:?}");
        let ArrivalsSetting::Ramp(ramp) = shipped("ramp").resized(size).unwrap().arrivals else {
            panic!("no ramp")
        };
        assert!(near(ramp.step_seconds, 17.0) && near(ramp.to_per_second, 40.0), "{ramp:?}");
        assert!(near(ramp.from_per_second, 40.0), "{ramp:?}");
        let cut = Size { per_second: None, seconds: Some(10.0), ..size };
        let cut = shipped("avalanche").resized(cut).unwrap().power_cut.unwrap();
        assert!(near(cut.after_seconds, 3.0) && near(cut.dark_seconds, 0.5), "{cut:?}");
        let refused = shipped("batches").resized(size).unwrap_err();
        assert!(refused.what.contains("no rate"), "{refused}");
        for wrong in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
            let size = Size { per_second: Some(wrong), ..Size::default() };
            shipped("steady").resized(size).unwrap_err();
            shipped("morning").resized(size).unwrap_err();
        }
    }

    const SMALL: &str = "name = \"a\"\ndescription = \"b\"\nclients = 5\narrivals = \"at-once\"\n";

    #[test]
    fn slips_are_refused_with_their_line_and_what_was_meant() {
        assert!(Scenario::parse(SMALL).is_ok());
        for (line, text, expected) in [
            (Some(3), SMALL.replace("clients", "cleints"), "do you mean 'clients'?"),
            (Some(4), SMALL.replace("at-once", "at-one"), "do you mean 'at-once'?"),
            (Some(5), format!("{SMALL}stay = \"renewin\"\n"), "do you mean 'renewing'?"),
            (Some(3), SMALL.replace('5', "\"five\""), "invalid type"),
            (None, SMALL.replace('5', "0"), "clients is 0"),
            (None, format!("{SMALL}stay = \"renewing\"\n"), "say for how many `seconds`"),
            (None, format!("{SMALL}seconds = -1.0\n"), "seconds is -1"),
            (None, format!("{SMALL}seconds = nan\n"), "seconds is NaN"),
            (None, SMALL.replace("\"at-once\"", "{ curve = [[1, 2], [1, 3]] }"), "ascending"),
            (None, SMALL.replace("\"at-once\"", "{ in-flight = 0 }"), "at least 1"),
            (Some(5), format!("{SMALL}misbehaving = {{ flods = 1 }}\n"), "do you mean 'floods'?"),
            (None, format!("{SMALL}misbehaving = {{ floods = 0 }}\n"), "misbehaving.floods is 0"),
            (None, format!("{SMALL}misbehaving = {{ orderly = 1 }}\n"), "is orderly"),
            (
                None,
                format!("{SMALL}misbehaving = {{ floods = 60, declines = 41 }}\n"),
                "more than 100",
            ),
            (None, format!("{SMALL}flood-interval-milliseconds = 0\n"), "must be 1"),
            (
                None,
                format!("{SMALL}power-cut = {{ after-seconds = 1, dark-seconds = 1 }}\n"),
                "over after 2 seconds",
            ),
        ] {
            let error = Scenario::parse(&text).unwrap_err();
            assert!(error.what.contains(expected), "{error}");
            assert_eq!(error.line, line, "{error}");
        }
    }
}
