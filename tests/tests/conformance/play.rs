//! Plays a case: bytes in, decode, decide, encode, bytes out.

use super::case::{Case, Event};
use super::field::{address, milliseconds};
use super::incoming::{Incoming, SERVER};
use super::outgoing;
use std::path::Path;
use vestibule_core::{
    Answer, Command, Configuration, Effect, Effects, HardwareAddress, Input, Record, Register,
    RegistrationTarget, Release, Reply, Sequence, Server, Ticket, Timestamp,
};
use vestibule_dhcpd::wire;

struct Player {
    configuration: Configuration,
    server: Server,
    now: Timestamp,
    durable: Vec<Record>,
    /// Whether steps become durable at once; if not, those that wait.
    commits_wait: bool,
    waiting: Vec<(Sequence, Vec<Record>)>,
}

/// What every event of the case led to; nothing for those that are no packets.
pub(crate) fn play(case: &Case, configurations: &Path) -> Result<Vec<Vec<String>>, String> {
    let path = configurations.join(format!("{}.toml", case.configuration));
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let vestibule = vestibule_config::parse(&text, &path.display().to_string())
        .map_err(|mistakes| mistakes.to_string())?;
    let now = Timestamp::from_seconds(1_000_000);
    let mut player = Player {
        server: Server::new(vestibule.core.clone(), [SERVER], [], now),
        configuration: vestibule.core,
        now,
        durable: Vec::new(),
        commits_wait: false,
        waiting: Vec::new(),
    };
    case.events
        .iter()
        .map(|event| match event {
            Event::Packet { incoming, .. } => player.packet(incoming),
            Event::Other(line) => {
                player.other(line).map(|()| Vec::new()).map_err(|why| format!("'= {line}': {why}"))
            }
        })
        .collect()
}

impl Player {
    fn packet(&mut self, incoming: &Incoming) -> Result<Vec<String>, String> {
        let request = match wire::decode_keeping(
            &incoming.bytes,
            incoming.arrival,
            &self.server.kept_options(),
        ) {
            Ok(request) => request,
            Err(reason) => return Ok(vec![format!("nothing: {reason}")]),
        };
        for effect in self.input(Input::Packet(&request)) {
            match effect {
                Effect::Unanswered(unanswered) => {
                    return Ok(vec![format!("nothing: {}", unanswered.reason)]);
                }
                Effect::Reply { reply, release, reason } => {
                    let mut bytes = Vec::new();
                    if let Err(reason) = wire::encode(&reply, &mut bytes) {
                        return Ok(vec![format!("nothing: {reason}")]);
                    }
                    let (name, lines) = outgoing::lines(&bytes)?;
                    let because = reason.map(|reason| format!(" because {reason},"));
                    let commit = match release {
                        Release::Immediately => "",
                        Release::AfterCommit(_) => " after its commit,",
                    };
                    let first = format!(
                        "{name}{}{commit} to {}, from {}:67",
                        because.unwrap_or_default(),
                        outgoing::destination(reply.destination),
                        reply.source
                    );
                    return Ok([vec![first], lines].concat());
                }
                _ => {}
            }
        }
        Err("the packet has no end".to_owned())
    }

    fn input(&mut self, input: Input<'_>) -> Vec<Effect> {
        let mut effects = Effects::new();
        let sequence = self.server.step(self.now, input, &mut effects);
        let effects: Vec<Effect> = effects.drain().collect();
        if let Some(sequence) = sequence {
            let records = effects.iter().filter_map(|effect| match effect {
                Effect::Persist(record) => Some(record.clone()),
                _ => None,
            });
            self.waiting.push((sequence, records.collect()));
            if !self.commits_wait {
                self.commit();
            }
        }
        effects
    }

    fn commit(&mut self) {
        for (sequence, records) in std::mem::take(&mut self.waiting) {
            self.durable.extend(records);
            self.server.step(self.now, Input::Committed(sequence), &mut Effects::new());
        }
    }

    /// Everything that can happen besides packets; see the README of the cases.
    fn other(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["time", "passes:", time] => {
                let passed = milliseconds(time)?;
                self.now = Timestamp::from_milliseconds(self.now.milliseconds() + passed);
                self.input(Input::Tick);
            }
            ["commits", "wait"] => self.commits_wait = true,
            ["commits", "are", "done"] => {
                self.commits_wait = false;
                self.commit();
            }
            ["restart"] => {
                self.waiting.clear();
                let records = self.durable.clone();
                self.server = Server::new(self.configuration.clone(), [SERVER], records, self.now);
            }
            ["registered:", device, rest @ ..] => {
                let expires = match rest {
                    [] => None,
                    ["for", time] => Some(Timestamp::from_milliseconds(
                        self.now.milliseconds() + milliseconds(time)?,
                    )),
                    _ => return Err("write it as 'registered: MAC for 60s'".to_owned()),
                };
                let target = RegistrationTarget::Hardware(hardware(device)?);
                let command = Command::Register(Register { expires, ..Register::of(target) });
                self.command(command)?;
            }
            ["unregistered:", device] => {
                self.command(Command::Unregister(hardware(device)?))?;
            }
            ["lease:", leased, "to", device, "through", relay] => {
                let reply = self.exchange(leased, device, relay)?;
                if reply.yiaddr != address(leased)? {
                    return Err(format!("it got {}", reply.yiaddr));
                }
            }
            _ => return Err("nothing of this name can happen".to_owned()),
        }
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<(), String> {
        let done = self.input(Input::Command(Ticket(0), command)).into_iter().any(|effect| {
            matches!(
                effect,
                Effect::Answer {
                    answer: Answer::Registered { .. } | Answer::Unregistered { .. },
                    ..
                }
            )
        });
        if done { Ok(()) } else { Err("it was refused".to_owned()) }
    }

    /// DISCOVER and REQUEST of an ordinary client; the ACK.
    fn exchange(&mut self, leased: &str, device: &str, relay: &str) -> Result<Reply, String> {
        let way = format!("relayed by {relay}");
        let lines = |kind: &str, server: &[String]| -> Vec<String> {
            [
                &[format!("{kind} {way}"), format!("chaddr {device}")],
                &[format!("requested-address {leased}")][..],
                server,
            ]
            .concat()
        };
        let mut reply = None;
        for (kind, server) in
            [("DISCOVER", vec![]), ("REQUEST", vec![format!("server-identifier {SERVER}")])]
        {
            let incoming = Incoming::read(&lines(kind, &server))?;
            let request = wire::decode(&incoming.bytes, incoming.arrival)
                .map_err(|reason| reason.to_string())?;
            reply =
                self.input(Input::Packet(&request)).into_iter().find_map(|effect| match effect {
                    Effect::Reply { reply, .. } => Some(*reply),
                    _ => None,
                });
        }
        reply.ok_or_else(|| "no reply".to_owned())
    }
}

fn hardware(text: &str) -> Result<HardwareAddress, String> {
    text.parse().map_err(|_| format!("'{text}' is not a hardware address"))
}
