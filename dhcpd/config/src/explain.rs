//! What the server understood, in an operator's words: what `vestibule check FILE` prints.
//!
//! It promises that everything with a default stands there with its value, and that the text is the
//! same for the same configuration. Options are shown as they would be written in the file.

use crate::agent::{Agent, WhenSilent};
use crate::checked::{
    Api, ApiTls, BuiltinPortal, Captive, Dns, Failover, GardenEntry, Gate, GateMode, GatedIpv6,
    Identify, Server, Tls, Vestibule,
};
use crate::value::{duration_in_words, size_in_words};
use crate::warnings::warnings;
use crate::{explain_networks, explain_policy};
use ipnetwork::Ipv6Network;
use std::fmt::{self, Display, Write as _};
use vestibule_core::failover::Role;
use vestibule_core::{Configuration, Network, RegistrationRules};

/// The whole configuration in words, warnings last. Ends with a line break.
#[must_use]
pub fn explain(vestibule: &Vestibule) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let written = write_all(&mut text, vestibule);
    debug_assert!(written.is_ok());
    text
}

fn write_all(text: &mut String, vestibule: &Vestibule) -> fmt::Result {
    server(text, &vestibule.server)?;
    leases(text, &vestibule.core)?;
    registrations(text, &vestibule.core.registration)?;
    explain_policy::policy(text, vestibule)?;
    for network_configured in &vestibule.core.networks {
        explain_networks::network(text, network_configured, vestibule)?;
    }
    let by_pools = |network: &Network| network.gated && network.gate_by.pools;
    let by_pools = vestibule.core.networks.iter().any(by_pools);
    gate(text, &vestibule.gate, by_pools, &vestibule.gated_ipv6)?;
    if let Some(configured) = &vestibule.captive {
        captive(text, configured)?;
    }
    if let Some(configured) = &vestibule.builtin_portal {
        builtin_portal(text, configured)?;
    }
    dns(text, vestibule.dns.as_ref())?;
    api(text, &vestibule.api)?;
    told(text, vestibule)?;
    failover(text, vestibule.failover.as_ref())?;
    if let Some(configured) = &vestibule.agent {
        agent(text, configured)?;
    }
    let warnings = warnings(vestibule);
    if !warnings.is_empty() {
        writeln!(text)?;
    }
    for warning in warnings {
        writeln!(text, "warning: {warning}")?;
    }
    Ok(())
}

fn server(text: &mut String, server: &Server) -> fmt::Result {
    writeln!(text, "server {}", server.name)?;
    writeln!(text, "  keeps its state in {}", server.state_dir.display())?;
    if !server.relay_listen.is_empty() {
        let addresses = listed(&server.relay_listen);
        writeln!(text, "  takes packets of relays and renewing clients at {addresses}, port 67")?;
    }
    if !server.interfaces.is_empty() {
        writeln!(text, "  serves the attached interfaces {}", listed(&server.interfaces))?;
    }
    let receive_buffer = size_in_words(server.receive_buffer_bytes as u64);
    writeln!(text, "  asks the kernel for receive buffers of {receive_buffer}")
}

fn leases(text: &mut String, core: &Configuration) -> fmt::Result {
    writeln!(text, "\nleases")?;
    writeln!(text, "  last {}", duration_in_words(core.lifetime_seconds))?;
    let unregistered = duration_in_words(core.lifetime_unregistered_seconds);
    writeln!(text, "  last {unregistered} for unregistered hosts of gated networks")?;
    let quarantine = duration_in_words(core.decline_quarantine_seconds);
    writeln!(text, "  keep a declined address from everybody for {quarantine}")?;
    if let Some(pressure) = core.policy.pressure {
        let lifetime = duration_in_words(pressure.lifetime_seconds);
        let percent = pressure.threshold_percent;
        writeln!(text, "  last {lifetime} at most in a pool that is {percent}% in use")?;
    }
    if let Some(limit) = core.policy.lease_limits.per_circuit {
        writeln!(text, "  behind one circuit: {limit} at most")?;
    }
    if let Some(limit) = core.policy.lease_limits.per_owner {
        writeln!(text, "  of one owner's devices: {limit} at most")?;
    }
    match core.cache_threshold_percent {
        0 => writeln!(text, "  every renewal is written")?,
        percent => writeln!(
            text,
            "  a renewal is answered without a write while less than {percent}% of the lease has passed"
        )?,
    }
    writeln!(text, "  rapid commit is {}", if core.rapid_commit { "on" } else { "off" })
}

fn registrations(text: &mut String, rules: &RegistrationRules) -> fmt::Result {
    let devices = |limit: Option<u32>| match limit {
        Some(limit) => counted(limit.into(), "device", "devices"),
        None => "any number of devices".to_owned(),
    };
    let lasts = |seconds: Option<u32>| match seconds {
        Some(seconds) => format!("lasts {}", duration_in_words(seconds)),
        None => "has no end".to_owned(),
    };
    writeln!(text, "\nregistrations")?;
    writeln!(text, "  an owner may have {}", devices(rules.device_limit))?;
    let lifetime = lasts(rules.lifetime_seconds);
    writeln!(text, "  a registration that says nothing else {lifetime}")?;
    for role in &rules.roles {
        let limit = devices(role.device_limit.or(rules.device_limit));
        let lifetime = lasts(role.lifetime_seconds.or(rules.lifetime_seconds));
        let quarantine = match (role.quarantine, &role.portal_url) {
            (false, _) => String::new(),
            (true, None) => "; the gate holds its devices back".to_owned(),
            (true, Some(url)) => {
                format!("; the gate holds its devices back, and they are shown {url}")
            }
        };
        writeln!(text, "  role {}: {limit}, {lifetime}{quarantine}", role.name)?;
    }
    Ok(())
}

fn gate(text: &mut String, gate: &Gate, by_pools: bool, ipv6: &GatedIpv6) -> fmt::Result {
    match gate.mode {
        GateMode::Local => writeln!(text, "\ngate, enforced on this host")?,
        GateMode::Feed => writeln!(
            text,
            "\ngate, enforced by those who follow the gate feed, and not by this server"
        )?,
        GateMode::Off if by_pools => {
            writeln!(text, "\ngate, off: only pools and options hold unregistered hosts back")?;
        }
        GateMode::Off => writeln!(text, "\ngate, off: every host has the whole network")?,
    }
    if let Some(socket) = gate.lying_resolver {
        writeln!(text, "  DNS of unregistered hosts goes to {socket}")?;
    }
    if let Some(socket) = gate.redirect {
        writeln!(text, "  port 80 of unregistered hosts goes to {socket}")?;
    }
    if let Some(portal) = &gate.portal {
        writeln!(text, "  the portal is {} at {}", portal.url, portal.address)?;
    }
    if gate.mode == GateMode::Off && gate.walled_garden.is_empty() {
        return Ok(());
    }
    let (prefixes, names): (Vec<&GardenEntry>, Vec<&GardenEntry>) =
        gate.walled_garden.iter().partition(|entry| matches!(entry, GardenEntry::Prefix(_)));
    writeln!(text, "  walled garden, names that are answered truly: {}", listed(&names))?;
    writeln!(text, "  walled garden, addresses that can be reached: {}", listed(&prefixes))?;
    if let Some(path) = &gate.garden_socket {
        writeln!(
            text,
            "  walled garden, what the names lead to can be reached: told at {}",
            path.display()
        )?;
    }
    if gate.mode != GateMode::Off {
        let GatedIpv6 { prefixes, by_hardware, .. } = ipv6;
        let refused: Vec<&Ipv6Network> =
            prefixes.iter().filter(|prefix| !by_hardware.contains(prefix)).collect();
        writeln!(text, "  IPv6 that is refused: {}", listed(&refused))?;
        if !by_hardware.is_empty() {
            writeln!(
                text,
                "  IPv6 of registered hosts only, by their hardware address: {}",
                listed(by_hardware)
            )?;
        }
    }
    Ok(())
}

fn captive(text: &mut String, captive: &Captive) -> fmt::Result {
    writeln!(text, "\ncaptive")?;
    writeln!(text, "  devices in gated networks that ask are told {}", captive.url)?;
    match (captive.listen, &captive.tls) {
        (Some(socket), Some(tls)) => {
            let (certificate, key) = (tls.certificate.display(), tls.key.display());
            writeln!(text, "  answers them at {socket} by TLS, with {certificate} and {key}")?;
        }
        (Some(socket), None) => writeln!(text, "  answers proxies at {socket}")?,
        (None, _) => writeln!(text, "  is answered where the API listens, at /captive")?,
    }
    let header = captive.proxy_header;
    writeln!(text, "  believes {header} of {}", listed(&captive.trusted_proxies))?;
    let extends = if captive.can_extend_session { "can" } else { "cannot" };
    writeln!(text, "  a registration that ends {extends} be extended at the portal")?;
    match &captive.venue_info_url {
        Some(url) => writeln!(text, "  the place is described at {url}"),
        None => Ok(()),
    }
}

fn builtin_portal(text: &mut String, portal: &BuiltinPortal) -> fmt::Result {
    writeln!(text, "\nportal, built in: {}", portal.title)?;
    writeln!(text, "  answers at {} by HTTP", listed(&portal.listen))?;
    if let Some(tls) = &portal.tls {
        let (certificate, key) = (tls.certificate.display(), tls.key.display());
        let addresses = listed(&portal.tls_listen);
        writeln!(text, "  answers at {addresses} by TLS, with {certificate} and {key}")?;
    }
    match portal.identify {
        Identify::Terms => writeln!(text, "  asks people to agree to the terms")?,
        Identify::Name => writeln!(text, "  asks people for their name, which nobody checks")?,
        Identify::Voucher => writeln!(text, "  asks people for the code of a voucher")?,
    }
    if let Some(file) = &portal.terms_file {
        writeln!(text, "  shows the terms in {}", file.display())?;
    }
    for (language, file) in &portal.terms_files {
        writeln!(text, "  shows them in {}, for those who read {language}", file.display())?;
    }
    match portal.lifetime_seconds {
        Some(seconds) => writeln!(text, "  registers for {}", duration_in_words(seconds))?,
        None if portal.identify == Identify::Voucher => {
            writeln!(text, "  registers for as long as the voucher says")?;
        }
        None => writeln!(text, "  registers without an end")?,
    }
    if portal.extendable {
        writeln!(text, "  lets people extend that from half of it on")?;
    }
    if let Some(url) = &portal.continue_url {
        writeln!(text, "  leads on to {url}")?;
    }
    if let Some(contact) = &portal.contact {
        writeln!(text, "  sends people who need help to {contact}")?;
    }
    writeln!(text, "  speaks {}", listed(&portal.languages))
}

fn dns(text: &mut String, dns: Option<&Dns>) -> fmt::Result {
    let Some(dns) = dns else {
        return writeln!(text, "\ndns, none: vestibule-dns cannot run from this file");
    };
    writeln!(text, "\ndns")?;
    writeln!(text, "  answers at {}", listed(&dns.listen))?;
    writeln!(text, "  leads HTTP to the portal at {}", listed(&dns.redirect_listen))?;
    writeln!(text, "  asks {}", listed(&dns.upstream))?;
    writeln!(text, "  lies for {} at a time", duration_in_words(dns.lie_ttl_seconds))
}

fn api(text: &mut String, api: &Api) -> fmt::Result {
    writeln!(text, "\napi")?;
    writeln!(text, "  listens at {}", api.listen)?;
    if let Some(ApiTls { listen, files: Tls { certificate, key } }) = &api.tls {
        let (certificate, key) = (certificate.display(), key.display());
        writeln!(text, "  listens at {listen} by TLS, with {certificate} and {key}")?;
    }
    writeln!(text, "  takes the token in {}", api.token_file.display())?;
    for token in &api.tokens {
        let (name, scope) = (&token.name, token.scope.name());
        writeln!(text, "  lets {name} in as {scope} by the token in {}", token.file.display())?;
    }
    Ok(())
}

fn told(text: &mut String, vestibule: &Vestibule) -> fmt::Result {
    let events = &vestibule.events;
    writeln!(text, "\nevents")?;
    writeln!(text, "  keeps {} of them", size_in_words(events.retention_bytes))?;
    let ahead = duration_in_words(events.expiring_ahead_seconds);
    writeln!(text, "  says {ahead} ahead that a registration expires")?;
    writeln!(text, "  says that pools are low at {} % free", events.pool_low_percent)?;
    for webhook in &vestibule.webhooks {
        let kinds =
            if webhook.kinds.is_empty() { "all".to_owned() } else { listed(&webhook.kinds) };
        writeln!(text, "  brings {kinds} to {} at {}", webhook.name, webhook.url)?;
    }
    Ok(())
}

fn failover(text: &mut String, failover: Option<&Failover>) -> fmt::Result {
    let Some(failover) = failover else { return Ok(()) };
    let role = match failover.role {
        Role::Primary => "primary",
        Role::Secondary => "secondary",
    };
    writeln!(text, "\nfailover, {role} of {}", failover.relationship)?;
    writeln!(text, "  meets {} from {}", failover.peer, failover.address)?;
    match failover.mclt_seconds {
        Some(seconds) => writeln!(
            text,
            "  no lease is longer than the partner knows by more than {}",
            duration_in_words(seconds)
        )?,
        None => writeln!(text, "  the primary says how leases are shared, and the lead time")?,
    }
    if failover.role == Role::Primary {
        writeln!(text, "  serves {} of 256 buckets of clients", failover.split)?;
    }
    match failover.load_balance_seconds_max {
        0 => writeln!(text, "  both servers answer every DISCOVER")?,
        seconds => writeln!(
            text,
            "  a DISCOVER is left to the server of its bucket until secs is above {seconds}"
        )?,
    }
    let delay = duration_in_words(failover.receive_timer_seconds);
    let updates = failover.unacknowledged_max;
    writeln!(text, "  gives a silent partner up after {delay}; takes {updates} updates at once")?;
    match failover.auto_partner_down_seconds {
        None => writeln!(text, "  only an operator says that the partner is down")?,
        Some(seconds) => writeln!(
            text,
            "  takes the partner to be down after {} without contact",
            duration_in_words(seconds)
        )?,
    }
    if let Some(registrations) = &failover.registrations {
        writeln!(text, "  exchanges registrations and vouchers with {}", registrations.url)?;
    }
    let (min, max) = (failover.min_balance_seconds, failover.max_balance_seconds);
    writeln!(
        text,
        "  shares free addresses anew every {} to {}; out of balance above {} %, moved to their client's server up to {} %",
        duration_in_words(min),
        duration_in_words(max),
        failover.misbalance_percent,
        failover.ownership_percent
    )
}

fn agent(text: &mut String, agent: &Agent) -> fmt::Result {
    writeln!(text, "\nvestibule-firewall agent")?;
    for server in &agent.servers {
        let token_file = server.token_file.display();
        writeln!(text, "  follows the gate feed of {}, token in {token_file}", server.url)?;
    }
    let silence = duration_in_words(agent.silent_after_seconds);
    let when_silent = match agent.when_silent {
        WhenSilent::Hold => "keeps permits until their leases end",
        WhenSilent::Close => "takes permits away",
    };
    writeln!(text, "  {when_silent} when no server has spoken for {silence}")?;
    writeln!(text, "  answers /status and /metrics on {}", agent.status_listen)
}

fn listed<T: Display>(list: &[T]) -> String {
    if list.is_empty() {
        return "none".to_owned();
    }
    list.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    match count {
        0 => format!("no {many}"),
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    }
}
