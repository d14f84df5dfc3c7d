//! One client's way from its lease to a network that it can use.
//!
//! ```text
//! ACK ─ lie ─ (a person at the portal's page) ─ registration ─ truth ─ reach
//! ```
//!
//! It promises that each step begins when the one before it is done, that no step takes longer than the
//! settings let it, and that the second look-up leaves from the same port as the first: a gate that
//! forgets to forget a connection is found.

use super::lookup::{self, Answer};
use super::portal::{Portal, Refusal};
use super::reach::Unreached;
use super::settings::Settings;
use super::socket;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

/// Between two questions to a resolver that still lies.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A client that has just got its first lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    /// Its address.
    pub(super) address: Ipv4Addr,
    /// When it was meant to begin with its DISCOVER.
    pub(super) intended: Instant,
    /// When its ACK came.
    pub(super) leased: Instant,
}

/// Why a client has no usable network, or had to wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The step and what happened, in a fixed wording.
    pub(super) kind: String,
    /// What it means, what to do, or an example.
    pub(super) remark: String,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    /// How long after its ACK it began: more than nothing if too many others were on their way.
    pub(super) late: Duration,
    /// From the ACK to the lie.
    pub(super) lie: Option<Duration>,
    /// From the portal's call to its answer.
    pub(super) registration: Option<Duration>,
    /// From that answer to the truth, from the same port as the lie and then from another.
    pub(super) truth: Option<Duration>,
    /// From that to what lies beyond the gate.
    pub(super) reach: Option<Duration>,
    /// From the intended DISCOVER to the end of all that, without the time of a person at the page.
    pub(super) usable: Option<Duration>,
    /// That it was lied to after its registration.
    pub(super) was_lied_to: Option<Trouble>,
    /// Why it did not get there.
    pub(super) failure: Option<Trouble>,
}

impl Trouble {
    fn new(kind: &str, remark: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), remark: remark.into() }
    }
}

/// Goes the whole way, or as far as it leads.
pub(super) async fn walk(newcomer: Newcomer, settings: &Settings, portal: &Portal) -> Walk {
    let mut walk = Walk { late: newcomer.leased.elapsed(), ..Walk::default() };
    let ended = steps(&mut walk, newcomer, settings, portal).await;
    walk.failure = ended.err();
    walk
}

async fn steps(
    walk: &mut Walk,
    newcomer: Newcomer,
    settings: &Settings,
    portal: &Portal,
) -> Result<(), Trouble> {
    let client = newcomer.address;
    let open = |step: &str| {
        socket::udp(client, settings.dns_server).map_err(|error| no_socket(step, client, &error))
    };
    let first = open("lie")?;
    see_the_lie(&first, settings).await?;
    walk.lie = Some(newcomer.leased.elapsed());

    sleep(settings.portal_delay).await;
    let began = Instant::now();
    portal.register(client, began + settings.give_up).await.map_err(not_registered)?;
    walk.registration = Some(began.elapsed());

    let began = Instant::now();
    see_the_truth(walk, &first, settings, "from the port of the lie").await?;
    see_the_truth(walk, &open("truth")?, settings, "from another port than the lie").await?;
    walk.truth = Some(began.elapsed());

    let began = Instant::now();
    let attempt = timeout(settings.give_up, settings.reach.attempt(client)).await;
    match attempt {
        Ok(Ok(())) => {}
        Ok(Err(why)) => return Err(not_reached(settings, client, why)),
        Err(_elapsed) => {
            let remark = format!("nothing came back from {}", settings.reach);
            return Err(Trouble::new("reach: no answer", remark));
        }
    }
    walk.reach = Some(began.elapsed());
    walk.usable = Some(newcomer.intended.elapsed().saturating_sub(settings.portal_delay));
    Ok(())
}

async fn see_the_lie(socket: &UdpSocket, settings: &Settings) -> Result<(), Trouble> {
    let deadline = Instant::now() + settings.give_up;
    match lookup::addresses(socket, &settings.dns_name, deadline).await {
        Ok(Answer::Addresses(found)) if found.contains(&settings.lie) => Ok(()),
        Ok(Answer::Addresses(found)) if found.contains(&settings.truth) => Err(Trouble::new(
            "lie: the truth",
            "a client without a registration is not lied to; if it is registered since an earlier run, \
             end that registration or choose another --first-client",
        )),
        Ok(other) => Err(Trouble::new("lie: another answer", unexpected(&other, settings.lie))),
        Err(error) => Err(no_answer("lie", settings, &error)),
    }
}

/// Asks until it is told the truth, and notes that it was lied to before.
async fn see_the_truth(
    walk: &mut Walk,
    socket: &UdpSocket,
    settings: &Settings,
    whence: &str,
) -> Result<(), Trouble> {
    let deadline = Instant::now() + settings.give_up;
    let still_the_lie = || Trouble::new("truth: still the lie", format!("it never ended {whence}"));
    let mut is_lied_to = false;
    loop {
        match lookup::addresses(socket, &settings.dns_name, deadline).await {
            Ok(Answer::Addresses(found)) if found.contains(&settings.truth) => return Ok(()),
            Ok(Answer::Addresses(found)) if found.contains(&settings.lie) => {
                let late =
                    "after the API had said that the way is open, the answer was still the lie";
                walk.was_lied_to.get_or_insert_with(|| {
                    Trouble::new("truth: not at once", format!("{late} ({whence})"))
                });
                is_lied_to = true;
                if Instant::now() + LOOK_AGAIN >= deadline {
                    return Err(still_the_lie());
                }
                sleep(LOOK_AGAIN).await;
            }
            Ok(other) => {
                return Err(Trouble::new(
                    "truth: another answer",
                    unexpected(&other, settings.truth),
                ));
            }
            // The time was up before the last question was answered: what came before counts.
            Err(error) if is_lied_to && error.kind() == io::ErrorKind::TimedOut => {
                return Err(still_the_lie());
            }
            Err(error) => return Err(no_answer("truth", settings, &error)),
        }
    }
}

fn unexpected(answer: &Answer, expected: Ipv4Addr) -> String {
    match answer {
        Answer::Addresses(found) if found.is_empty() => {
            format!("no address, where {expected} was expected")
        }
        Answer::Addresses(found) => {
            let found: Vec<String> = found.iter().take(3).map(ToString::to_string).collect();
            format!("{}, where {expected} was expected", found.join(" "))
        }
        Answer::Refused(code) => format!("{code}, where {expected} was expected"),
    }
}

fn no_answer(step: &str, settings: &Settings, error: &io::Error) -> Trouble {
    let server = settings.dns_server;
    if error.kind() == io::ErrorKind::TimedOut {
        return Trouble::new(
            &format!("{step}: no answer"),
            format!("nothing came back from {server}; is there a route from it to the clients?"),
        );
    }
    Trouble::new(&format!("{step}: no answer"), format!("asking {server}: {error}"))
}

fn no_socket(step: &str, client: Ipv4Addr, error: &io::Error) -> Trouble {
    Trouble::new(&format!("{step}: no socket"), format!("{client}: {error}"))
}

fn not_registered(refusal: Refusal) -> Trouble {
    let kind = match &refusal {
        Refusal::Network(_) => "registration: not connected".to_owned(),
        Refusal::Http(_) => "registration: broken off".to_owned(),
        Refusal::TimedOut => "registration: no answer".to_owned(),
        Refusal::Answer { status, name, .. } => {
            format!("registration: {status} {name}").trim_end().to_owned()
        }
    };
    Trouble { kind, remark: format!("the API: {refusal}") }
}

fn not_reached(settings: &Settings, client: Ipv4Addr, why: Unreached) -> Trouble {
    let reach = &settings.reach;
    match why {
        Unreached::Network(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Trouble::new(
                "reach: refused",
                format!("{reach} from {client}; the gate refuses it, or nothing listens there"),
            )
        }
        Unreached::Network(error) => {
            Trouble::new("reach: not connected", format!("{reach} from {client}: {error}"))
        }
        Unreached::Answer(status, leads) if leads.is_empty() => {
            Trouble::new(&format!("reach: HTTP {status}"), format!("{reach} from {client}"))
        }
        Unreached::Answer(status, leads) => {
            let remark = format!("{reach} from {client} led to {leads}");
            Trouble::new(&format!("reach: HTTP {status}"), remark)
        }
        Unreached::Http(error) => Trouble::new("reach: no HTTP", format!("{reach}: {error}")),
    }
}
