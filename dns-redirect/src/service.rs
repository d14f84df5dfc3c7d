//! The service: made of a configuration, bound, run, ended.
//!
//! It promises that either every listener is bound or none serves, and that when [`Service::run`]
//! returns, every socket and every task of it is gone. It keeps nothing on disk.

use crate::bind::{self, BindError};
use crate::cache::Cache;
use crate::counters::{Counters, Counts};
use crate::decision::{DomainName, Rules};
use crate::flights::Flights;
use crate::garden::Link;
use crate::handler::Handler;
use crate::limits::{
    COUNTERS_LOG_INTERVAL, DNS_CONNECTIONS_MAX, DNS_CONNECTIONS_PER_SOURCE_MAX,
    METRICS_CONNECTIONS_MAX, REDIRECT_CONNECTIONS_MAX, REDIRECT_CONNECTIONS_PER_SOURCE_MAX,
    UPSTREAM_LOOKUPS_MADE_UP_MAX, UPSTREAM_LOOKUPS_MAX, UPSTREAM_LOOKUPS_PER_SOURCE_MAX,
    WAITING_MAX, WAITING_PER_SOURCE_MAX,
};
use crate::metrics::Metrics;
use crate::redirect::Redirect;
use crate::resolver::{Lookups, Resolver};
use crate::slots::Slots;
use crate::upstream::Upstream;
use crate::{dns_tcp, dns_udp, garden, kernel_drops, metrics, redirect};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use vestibule_config::{Captive, Dns, GardenEntry, Gate};

/// A lying resolver and its redirect, with every socket bound and nothing answered yet.
pub struct Service {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    http: Vec<TcpListener>,
    metrics: Option<TcpListener>,
    resolver: Arc<Resolver>,
    redirect: Arc<Redirect>,
    garden_link: Option<Link>,
    counters: Arc<Counters>,
}

/// Where a service listens, in the order of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// DNS over UDP.
    pub dns_udp: Vec<SocketAddr>,
    /// DNS over TCP. The same as over UDP, unless the configured port was 0.
    pub dns_tcp: Vec<SocketAddr>,
    /// The redirect.
    pub redirect: Vec<SocketAddr>,
    /// The metrics.
    pub metrics: Option<SocketAddr>,
}

/// Why a service did not start.
#[derive(Debug)]
pub enum StartError {
    /// The operator: there is no portal to lead to.
    NoPortal,
    /// The operator: the portal's URL cannot stand in an HTTP header.
    PortalUrl(Box<str>),
    /// The operator: this is not a domain name.
    NotAName(Box<str>),
    /// A socket could not be bound.
    Bind(BindError),
    /// The kernel: it would not say what a socket is bound to.
    Kernel(io::Error),
}

/// A part of the service that ended by itself, which none may.
#[derive(Debug)]
pub struct Stopped;

impl Service {
    /// Binds every listener of `dns`, for the portal and the walled garden of `gate`, and the API of
    /// `captive`. Must be called inside a tokio runtime that has its IO and its clock enabled.
    ///
    /// # Errors
    ///
    /// What of the configuration cannot be served, or the first socket that cannot be bound; none
    /// is open then.
    pub fn bind(dns: &Dns, gate: &Gate, captive: Option<&Captive>) -> Result<Self, StartError> {
        let portal = gate.portal.as_ref().ok_or(StartError::NoPortal)?;
        let redirect =
            Redirect::new(&portal.url).ok_or_else(|| StartError::PortalUrl(portal.url.clone()))?;
        let rules = rules(gate, captive)?;
        let counters = Arc::new(Counters::default());
        let handler =
            Handler::new(rules, portal.address, dns.lie_ttl_seconds, Arc::clone(&counters));
        let (garden, garden_link) = garden::garden(gate.garden_socket.clone());
        let resolver = Resolver {
            handler,
            lookups: Arc::new(Lookups {
                upstream: Upstream::new(&dns.upstream),
                cache: Cache::default(),
                cache_made_up: Cache::default(),
                flights: Flights::default(),
                slots: Slots::new(UPSTREAM_LOOKUPS_MAX, UPSTREAM_LOOKUPS_PER_SOURCE_MAX),
                slots_made_up: Slots::new(
                    UPSTREAM_LOOKUPS_MADE_UP_MAX,
                    UPSTREAM_LOOKUPS_PER_SOURCE_MAX,
                ),
            }),
            garden,
            waiting: Slots::new(WAITING_MAX, WAITING_PER_SOURCE_MAX),
            counters: Arc::clone(&counters),
        };
        let listen = || dns.listen.iter().copied();
        let redirect_listen = || dns.redirect_listen.iter().copied();
        Ok(Self {
            udp: listen().map(|at| bind::udp(at, "dns.listen")).collect::<Result<_, _>>()?,
            tcp: listen().map(|at| bind::tcp(at, "dns.listen")).collect::<Result<_, _>>()?,
            http: redirect_listen()
                .map(|at| bind::tcp(at, "dns.redirect-listen"))
                .collect::<Result<_, _>>()?,
            metrics: dns
                .metrics_listen
                .map(|at| bind::tcp(at, "dns.metrics-listen"))
                .transpose()?,
            resolver: Arc::new(resolver),
            redirect: Arc::new(redirect),
            garden_link,
            counters,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// [`StartError::Kernel`].
    pub fn addresses(&self) -> Result<Addresses, StartError> {
        let of = |listeners: &[TcpListener]| -> io::Result<Vec<SocketAddr>> {
            listeners.iter().map(TcpListener::local_addr).collect()
        };
        let collect = || -> io::Result<Addresses> {
            Ok(Addresses {
                dns_udp: self.udp.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?,
                dns_tcp: of(&self.tcp)?,
                redirect: of(&self.http)?,
                metrics: self.metrics.as_ref().map(TcpListener::local_addr).transpose()?,
            })
        };
        collect().map_err(StartError::Kernel)
    }

    /// What was answered how, to be read at any time.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Answers until `stop` is done. Every connection that is open then is closed, and look-ups
    /// that are on their way are given up: their clients ask again.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if a listener ended by itself: a fault of ours.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Stopped> {
        let udp: Vec<SocketAddr> =
            self.udp.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        let mut parts = JoinSet::new();
        let tasks = tokio::runtime::Handle::current().metrics().num_workers();
        for socket in self.udp {
            // One socket, because nobody else's may have a share of its port (`bind`).
            let socket = Arc::new(socket);
            for _ in 0..tasks {
                parts.spawn(dns_udp::serve(Arc::clone(&socket), Arc::clone(&self.resolver)));
            }
        }
        let slots = Slots::new(DNS_CONNECTIONS_MAX, DNS_CONNECTIONS_PER_SOURCE_MAX);
        for listener in self.tcp {
            let resolver = Arc::clone(&self.resolver);
            parts.spawn(dns_tcp::serve(listener, Arc::clone(&slots), resolver));
        }
        let slots = Slots::new(REDIRECT_CONNECTIONS_MAX, REDIRECT_CONNECTIONS_PER_SOURCE_MAX);
        for listener in self.http {
            let (redirect, counters) = (Arc::clone(&self.redirect), Arc::clone(&self.counters));
            parts.spawn(redirect::serve(listener, Arc::clone(&slots), redirect, counters));
        }
        if let Some(listener) = self.metrics {
            let slots = Slots::new(METRICS_CONNECTIONS_MAX, METRICS_CONNECTIONS_MAX);
            let metrics = Metrics { counters: Arc::clone(&self.counters), udp: udp.clone() };
            parts.spawn(metrics::serve(listener, slots, Arc::new(metrics)));
        }
        if let Some(link) = self.garden_link {
            parts.spawn(link.run());
        }
        parts.spawn(log_counters(Arc::clone(&self.counters), udp));
        let outcome = tokio::select! {
            () = stop => Ok(()),
            _ended = parts.join_next() => Err(Stopped),
        };
        parts.shutdown().await;
        self.resolver.lookups.flights.end().await;
        outcome
    }
}

/// The names that are answered truly: the portal's own, the captive portal API's, and the walled
/// garden's.
fn rules(gate: &Gate, captive: Option<&Captive>) -> Result<Rules, StartError> {
    let name =
        |text: &str| DomainName::from_text(text).ok_or_else(|| StartError::NotAName(text.into()));
    let mut names = Vec::new();
    let mut below = Vec::new();
    let portal = gate.portal.as_ref().and_then(|portal| portal.host_name.as_deref());
    let api = captive.and_then(|captive| captive.host_name.as_deref());
    for host_name in portal.into_iter().chain(api) {
        names.push(name(host_name)?);
    }
    for entry in &gate.walled_garden {
        match entry {
            GardenEntry::Name(text) => names.push(name(text)?),
            GardenEntry::Below(text) => below.push(name(text)?),
            // The firewall's, not ours.
            GardenEntry::Prefix(_) => {}
        }
    }
    Ok(Rules::new(names, below))
}

/// Logs the counters now and then, and what the kernel holds against us.
async fn log_counters(counters: Arc<Counters>, udp: Vec<SocketAddr>) {
    let mut logged = Counts::default();
    let first = tokio::time::Instant::now() + COUNTERS_LOG_INTERVAL;
    let mut interval = tokio::time::interval_at(first, COUNTERS_LOG_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        counters.dropped_by_kernel.raise_to(kernel_drops::of_udp_sockets(&udp));
        let counts = counters.counts();
        if counts == logged {
            continue;
        }
        tracing::info!("since the start: {counts}");
        if counts.dropped_by_kernel > logged.dropped_by_kernel {
            tracing::warn!(
                "questions were lost because the receive buffer was full: give the host more CPU, or \
                 limit the rate of questions at the gate"
            );
        }
        if let Some(error) = counters.last_send_error.get()
            && counts.sends_failed > logged.sends_failed
        {
            tracing::warn!(%error, "answers were not sent; the last time because of");
        }
        if let Some(error) = counters.last_receive_error.get()
            && counts.receives_failed > logged.receives_failed
        {
            tracing::warn!(%error, "the kernel gave no datagram or connection; the last time because of");
        }
        logged = counts;
    }
}

/// One line that says where the service listens.
impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |addresses: &[SocketAddr]| {
            addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
        };
        if self.dns_udp == self.dns_tcp {
            write!(f, "DNS (UDP and TCP) on {}", list(&self.dns_udp))?;
        } else {
            write!(
                f,
                "DNS over UDP on {}, over TCP on {}",
                list(&self.dns_udp),
                list(&self.dns_tcp)
            )?;
        }
        if self.redirect.is_empty() {
            f.write_str("; no redirect")?;
        } else {
            write!(f, "; redirect on {}", list(&self.redirect))?;
        }
        match self.metrics {
            Some(metrics) => write!(f, "; metrics on {metrics}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPortal => f.write_str(
                "there is no gate.portal: a lying resolver needs an address to lead to; set \
                 gate.portal = { address = ..., url = ... }",
            ),
            Self::PortalUrl(url) => write!(
                f,
                "gate.portal.url {url:?} cannot stand in an HTTP header: percent-encode its \
                 control characters"
            ),
            Self::NotAName(text) => write!(
                f,
                "{text:?} in gate is not a domain name: labels have 1 to 63 bytes, the whole name \
                 at most 253"
            ),
            Self::Bind(error) => error.fmt(f),
            Self::Kernel(error) => {
                write!(f, "the kernel does not tell a socket's address: {error}")
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(error) => error.source(),
            Self::Kernel(error) => Some(error),
            Self::NoPortal | Self::PortalUrl(_) | Self::NotAName(_) => None,
        }
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part of the service ended by itself; this is a fault of vestibule-dns, please report it")
    }
}

impl std::error::Error for Stopped {}
