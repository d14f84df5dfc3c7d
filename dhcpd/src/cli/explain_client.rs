//! `vestibule check --explain`: what a client would get of a configuration, and why.
//!
//! It makes the client's DISCOVER, and has it decoded and answered by what serves: the decoder and the core,
//! with no leases in its book and, as if a partner were down, alone. So what it says is what the server would do on
//! its first day; who holds addresses by now is for `vestibule leases` to say.

use super::{Failure, show};
use crate::api::json_text;
use crate::wire;
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;
use vestibule_config::{Vestibule, duration_in_words, option_in_words};
use vestibule_core::options::code;
use vestibule_core::{
    Arrival, Effect, Effects, Explanation, HardwareAddress, Input, LifetimeSource, MessageType,
    OptionLevel, Reason, Record, Registration, Reply, Server, SocketIndex, Timestamp,
};

/// A device and the relay that its packets come through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    hardware: HardwareAddress,
    relay: Ipv4Addr,
}

impl FromStr for Client {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HOW: &str = "not MAC@RELAY, as in 02:00:5e:00:53:01@10.20.0.1; on an attached LAN, the address of \
                           this server there stands for the relay";
        let (hardware, relay) = text.split_once('@').ok_or(HOW)?;
        Ok(Self {
            hardware: hardware.parse().map_err(|_| HOW)?,
            relay: relay.parse().map_err(|_| HOW)?,
        })
    }
}

/// The client that `check` explains.
#[derive(Args, Debug)]
pub(super) struct ExplainArguments {
    /// Say what this client would get, and why
    #[arg(long, value_name = "MAC@RELAY")]
    explain: Option<Client>,
    /// Its vendor class (option 60)
    #[arg(long, value_name = "TEXT", requires = "explain")]
    vendor_class: Option<String>,
    /// Its user class (option 77)
    #[arg(long, value_name = "TEXT", requires = "explain")]
    user_class: Option<String>,
    /// Its architecture (option 93), by IANA's number
    #[arg(long, value_name = "NUMBER", requires = "explain")]
    architecture: Option<u16>,
    /// Its client identifier (option 61): text, or hex:…
    #[arg(long, value_name = "BYTES", requires = "explain")]
    client_identifier: Option<String>,
    /// Its host name (option 12)
    #[arg(long, value_name = "TEXT", requires = "explain")]
    host_name: Option<String>,
    /// Its circuit (option 82, sub-option 1): text, or hex:…
    #[arg(long, value_name = "BYTES", requires = "explain")]
    circuit_id: Option<String>,
    /// Its remote end (option 82, sub-option 2): text, or hex:…
    #[arg(long, value_name = "BYTES", requires = "explain")]
    remote_id: Option<String>,
    /// As if it were registered
    #[arg(long, requires = "explain")]
    registered: bool,
    /// As if it were registered with this role
    #[arg(long, value_name = "ROLE", requires = "explain")]
    role: Option<String>,
}

impl ExplainArguments {
    /// The client, if one is to be explained.
    pub(super) const fn client(&self) -> Option<Client> {
        self.explain
    }

    /// The packet that such a client sends.
    ///
    /// # Errors
    /// [`Failure::Usage`] if an argument does not fit into it.
    fn discover(&self, client: Client) -> Result<Vec<u8>, Failure> {
        let bytes = |text: &Option<String>| match text {
            Some(text) => vestibule_config::parse_bytes(text).map(Some).map_err(Failure::Usage),
            None => Ok(None),
        };
        let hardware = client.hardware.bytes();
        let mut chaddr = [0; HardwareAddress::LENGTH_MAX];
        chaddr.iter_mut().zip(hardware).for_each(|(to, from)| *to = *from);
        // RFC 2131 section 2: what is not named here is zero.
        let length = u8::try_from(hardware.len()).unwrap_or(0);
        let mut packet = vec![1, client.hardware.hardware_type(), length, 1];
        packet.extend([0; 20]);
        packet.extend(client.relay.octets());
        packet.extend(chaddr);
        packet.extend([0; 64 + 128]);
        packet.extend([99, 130, 83, 99]);
        debug_assert_eq!(packet.len(), wire::MESSAGE_LENGTH_MIN);
        let mut put = |code: u8, contents: &[u8]| -> Result<(), Failure> {
            let length = u8::try_from(contents.len()).map_err(|_| {
                Failure::Usage(format!("what is said of option {code} takes more than 255 bytes"))
            })?;
            packet.extend([code, length]);
            packet.extend(contents);
            Ok(())
        };
        put(code::MESSAGE_TYPE, &[MessageType::Discover as u8])?;
        let mut relay_agent = Vec::new();
        for (sub_option, text) in [(1, &self.circuit_id), (2, &self.remote_id)] {
            if let Some(contents) = bytes(text)? {
                relay_agent.extend([sub_option, u8::try_from(contents.len()).unwrap_or(u8::MAX)]);
                relay_agent.extend(contents);
            }
        }
        for (code, contents) in [
            (code::HOST_NAME, self.host_name.as_ref().map(|text| text.as_bytes().to_vec())),
            (code::VENDOR_CLASS, bytes(&self.vendor_class)?),
            (code::CLIENT_IDENTIFIER, bytes(&self.client_identifier)?),
            (code::USER_CLASS, bytes(&self.user_class)?),
            (code::ARCHITECTURE, self.architecture.map(|number| number.to_be_bytes().to_vec())),
            (code::RELAY_AGENT_INFORMATION, Some(relay_agent).filter(|it| !it.is_empty())),
        ] {
            if let Some(contents) = contents {
                put(code, &contents)?;
            }
        }
        packet.push(255);
        Ok(packet)
    }
}

/// Says what the client would get.
///
/// # Errors
/// [`Failure::Refused`] with the reason if it would get nothing.
pub(super) fn explain(
    vestibule: &Vestibule,
    client: Client,
    wanted: &ExplainArguments,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let packet = wanted.discover(client)?;
    let mut configuration = vestibule.core.clone();
    configuration.failover = None;
    configuration.rapid_commit = false;
    if let Some(role) = &wanted.role
        && configuration.registration.role(role).is_none()
    {
        return Err(Failure::Usage(format!("the configuration has no role {role}")));
    }
    // Any time will do: there is nothing that ends.
    let now = Timestamp::from_milliseconds(1_000);
    let is_registered = wanted.registered || wanted.role.is_some();
    let registration = is_registered.then(|| {
        Record::Registration(Registration {
            hardware: client.hardware,
            owner: None,
            role: wanted.role.as_deref().map(Box::from),
            sponsor: None,
            note: None,
            registered: now,
            expires: None,
            suspended: None,
        })
    });
    let own = vestibule.server.relay_listen.clone();
    let arrival = Arrival {
        socket: SocketIndex(0),
        local_address: own.first().copied().unwrap_or(client.relay),
        source: SocketAddrV4::new(client.relay, 67),
        broadcast: false,
        attached: false,
    };
    let mut server = Server::new(configuration, own, registration, now);
    let nothing = |reason: Reason| {
        Failure::Refused(format!("{}: nothing: {reason} ({})", client.hardware, reason.meaning()))
    };
    let request =
        wire::decode_keeping(&packet, arrival, &server.kept_options()).map_err(nothing)?;
    let mut effects = Effects::new();
    let _nothing_durable = server.step(now, Input::Packet(&request), &mut effects);
    for effect in effects.drain() {
        match effect {
            Effect::Reply { reply, .. } => {
                let Some(why) = server.explain(&request, reply.yiaddr) else { continue };
                let told = Told { vestibule, client, reply: &reply, why: &why };
                if json {
                    writeln!(out, "{}", json_text(&told.json()))?;
                } else {
                    for line in told.text().lines() {
                        writeln!(out, "{}", show::shown(line))?;
                    }
                }
                return Ok(());
            }
            Effect::Unanswered(unanswered) => return Err(nothing(unanswered.reason)),
            _ => {}
        }
    }
    Err(Failure::Refused(format!("{}: nothing", client.hardware)))
}

/// What is said of one client.
struct Told<'a> {
    vestibule: &'a Vestibule,
    client: Client,
    reply: &'a Reply,
    why: &'a Explanation,
}

impl Told<'_> {
    fn text(&self) -> String {
        let Self { reply, why, .. } = self;
        let mut text = String::new();
        // Writing into a string cannot fail.
        let mut line = |words: String| {
            let _infallible = writeln!(text, "{words}");
        };
        let gated = if why.gated { ", gated" } else { "" };
        line(format!(
            "{} behind {} would get {}",
            self.client.hardware, self.client.relay, reply.yiaddr
        ));
        line(format!("  network {}{gated}, subnet {}", why.network, why.subnet));
        line(match (why.is_reserved, why.pool) {
            (true, _) => "  the address is reserved for it".to_owned(),
            (false, Some(pool)) => format!("  of the pool {}-{}", pool.first, pool.last),
            (false, None) => "  of no pool".to_owned(),
        });
        line(format!("  the device is {}", why.class.name()));
        let classes = self.classes();
        line(if classes.is_empty() {
            "  it is in no class".to_owned()
        } else {
            format!("  it is in the classes {}", classes.join(", "))
        });
        let (seconds, source) = why.lifetime;
        line(format!("  for {}: {}", duration_in_words(seconds), self.lifetime_source(source)));
        if let Some((address, level)) = why.next_server {
            line(format!("  next-server = {address}: {}", self.level(level)));
        }
        for (code, level) in &why.options {
            let (name, value) = self.option(*code);
            line(format!("  option {name} = {value}: {}", self.level(*level)));
        }
        text
    }

    fn json(&self) -> Value {
        let Self { reply, why, .. } = self;
        let (seconds, source) = why.lifetime;
        let options: Vec<Value> = why
            .options
            .iter()
            .map(|(code, level)| {
                let (name, value) = self.option(*code);
                json!({ "code": code, "name": name, "value": value, "from": self.level(*level) })
            })
            .collect();
        json!({
            "mac": self.client.hardware.to_string(),
            "relay": self.client.relay,
            "address": reply.yiaddr,
            "network": why.network,
            "gated": why.gated,
            "subnet": why.subnet.to_string(),
            "pool": why.pool.map(|pool| format!("{}-{}", pool.first, pool.last)),
            "reserved": why.is_reserved,
            "registration": why.class.name(),
            "classes": self.classes(),
            "lifetime": { "seconds": seconds, "from": self.lifetime_source(source) },
            "next-server": why.next_server.map(|(address, level)| {
                json!({ "value": address, "from": self.level(level) })
            }),
            "options": options,
        })
    }

    fn classes(&self) -> Vec<&str> {
        self.why.clients.iter().map(|index| self.class(*index)).collect()
    }

    fn class(&self, index: usize) -> &str {
        self.vestibule.core.policy.classes.get(index).map_or("", |class| &class.name)
    }

    /// Name and value of an option of the reply.
    fn option(&self, code: u8) -> (String, String) {
        option_in_words(self.vestibule, code, self.reply.option(code).unwrap_or_default())
    }

    fn lifetime_source(&self, source: LifetimeSource) -> String {
        match source {
            LifetimeSource::Everybody => "leases.lifetime".to_owned(),
            LifetimeSource::Unregistered => "leases.lifetime-unregistered".to_owned(),
            LifetimeSource::Profile(index) => {
                let profile = self.vestibule.core.policy.profiles.get(index.0);
                format!("profile {}", profile.map_or("", |profile| &profile.name))
            }
            LifetimeSource::ClientClass(index) => format!("class {}", self.class(index)),
            LifetimeSource::Pressure => "leases.lifetime-under-pressure".to_owned(),
        }
    }

    fn level(&self, level: OptionLevel) -> String {
        match level {
            OptionLevel::Reservation => "the reservation".to_owned(),
            OptionLevel::ReservationProfile => "the reservation's profile".to_owned(),
            OptionLevel::SubnetForClass(class) => {
                format!("the subnet's options-{}", class.name())
            }
            OptionLevel::NetworkForClass(class) => {
                format!("the network's options-{}", class.name())
            }
            OptionLevel::ClientClass(index) => format!("class {}", self.class(index)),
            OptionLevel::Pool => "the pool".to_owned(),
            OptionLevel::Subnet => "the subnet".to_owned(),
            OptionLevel::SubnetProfile => "the subnet's profile".to_owned(),
            OptionLevel::Network => "the network".to_owned(),
            OptionLevel::Everybody => "[options]".to_owned(),
            OptionLevel::Prefix => "the subnet's prefix".to_owned(),
        }
    }
}
