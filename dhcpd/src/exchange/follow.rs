//! Following the partner: connected to, read, its words given to the core, taken up again after the last cursor.
//!
//! It promises that a line counts as heard only when the core has it durable and in the kernel, and that nothing
//! that the partner or the network does ends it. Between two tries it pauses, longer each time.

use super::status::ExchangeCounts;
use super::wire::{ExchangeHello, ExchangeLine, NotExchangeable, VERSION};
use crate::decide::Quiet;
use crate::door::{Door, DoorError};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vestibule_core::exchange::Exchanged;
use vestibule_core::failover::Role;
use vestibule_core::{Answer, Command, limits};
use vestibule_firewall::feed::{Cursor, LineTooLong};
use vestibule_firewall::source::{Pauses, Source, StreamError};

/// How long is waited before the core is asked again when too many calls wait for it.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Characters of the partner's words that are shown.
const SHOWN_CHARACTERS_MAX: usize = 120;

/// Why the partner is not heard at the moment.
#[derive(Debug)]
pub enum ExchangeError {
    /// The connection, or what was asked for by it.
    Stream(StreamError),
    /// The partner's: a line has no end.
    LineTooLong,
    /// The partner's: a line is none of an exchange.
    Line(String),
    /// The partner's: a record is none that could be asked for.
    Record(NotExchangeable),
    /// The partner's: a line where it cannot be.
    Misplaced(&'static str),
    /// The operator's: another release.
    OtherVersion(u32),
    /// The operator's: it is another pair's server.
    OtherPair(String),
    /// The operator's: it has the same role, or is this server itself.
    SameRole,
    /// The partner closed the stream, and said why.
    Ended(String),
    /// This server is ending.
    Ending,
}

impl ExchangeError {
    /// The reasons that are counted, in the order of [`ExchangeError::reason_number`].
    pub const REASONS: [&'static str; 16] = [
        "connect",
        "tls",
        "http",
        "token-unknown",
        "token-scope",
        "not-exchanging",
        "status",
        "too-slow",
        "broken-off",
        "line-too-long",
        "line-invalid",
        "line-misplaced",
        "version",
        "other-pair",
        "same-role",
        "ended",
    ];

    /// Which of [`ExchangeError::REASONS`] it is; `None` if it is none.
    #[must_use]
    pub fn reason_number(&self) -> Option<usize> {
        let reason = match self {
            Self::Stream(StreamError::Connect(_)) => "connect",
            Self::Stream(StreamError::Tls(_)) => "tls",
            Self::Stream(StreamError::Http(_)) => "http",
            Self::Stream(StreamError::TokenUnknown) => "token-unknown",
            Self::Stream(StreamError::TokenScope) => "token-scope",
            Self::Stream(StreamError::NotFound) => "not-exchanging",
            Self::Stream(StreamError::Status(_)) => "status",
            Self::Stream(StreamError::TooSlow(_)) => "too-slow",
            Self::Stream(StreamError::BrokenOff) => "broken-off",
            Self::LineTooLong => "line-too-long",
            Self::Line(_) | Self::Record(_) => "line-invalid",
            Self::Misplaced(_) => "line-misplaced",
            Self::OtherVersion(_) => "version",
            Self::OtherPair(_) => "other-pair",
            Self::SameRole => "same-role",
            Self::Ended(_) => "ended",
            Self::Ending => return None,
        };
        Self::REASONS.iter().position(|known| *known == reason)
    }

    /// Whether what the partner said before may be wrong too.
    const fn is_of_its_words(&self) -> bool {
        matches!(self, Self::LineTooLong | Self::Line(_) | Self::Record(_) | Self::Misplaced(_))
    }
}

impl From<StreamError> for ExchangeError {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl From<LineTooLong> for ExchangeError {
    fn from(LineTooLong: LineTooLong) -> Self {
        Self::LineTooLong
    }
}

impl From<NotExchangeable> for ExchangeError {
    fn from(error: NotExchangeable) -> Self {
        Self::Record(error)
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(StreamError::TokenScope) => f.write_str(
                "the token may not exchange registrations: it needs the scope \"partner\" at the partner",
            ),
            Self::Stream(StreamError::NotFound) => f.write_str(
                "the partner exchanges no registrations: set failover.registrations there too",
            ),
            Self::Stream(error) => error.fmt(f),
            Self::LineTooLong => f.write_str("it sent a line without an end"),
            Self::Line(error) => write!(f, "it sent what is no line of an exchange: {error}"),
            Self::Record(error) => write!(f, "it sent what nobody could have asked for: {error}"),
            Self::Misplaced(what) => write!(f, "it sent {what}"),
            Self::OtherVersion(version) => write!(
                f,
                "it speaks version {version} of the exchange: use programs of one release"
            ),
            Self::OtherPair(name) => {
                write!(f, "it is of the pair `{name}`: failover.registrations names another server")
            }
            Self::SameRole => f.write_str(
                "it has the same role in the pair: failover.registrations names this server itself, or a role is wrong",
            ),
            Self::Ended(reason) => write!(f, "it closed the stream: {reason}"),
            Self::Ending => f.write_str("this server is ending"),
        }
    }
}

impl std::error::Error for ExchangeError {}

/// What follows the partner.
pub struct Follow {
    /// Where it is.
    pub source: Source,
    /// The name of the pair.
    pub pair: Box<str>,
    /// This server's role in it.
    pub role: Role,
    /// The way to the core.
    pub door: Door,
    /// How it goes.
    pub counts: Arc<ExchangeCounts>,
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Follow {
    /// Follows until the server ends.
    pub async fn run(self) {
        self.counts.begin(self.source.url());
        let mut quiet = Quiet::default();
        let mut pauses = Pauses::default();
        let mut cursor = None;
        while !self.door.is_closed() {
            let begun = Instant::now();
            let error = match self.connection(&mut cursor).await {
                Err(error) => error,
                Ok(never) => match never {},
            };
            if error.is_of_its_words() {
                cursor = None;
            }
            self.counts.lost(&error);
            let reason = error.reason_number().and_then(|at| ExchangeError::REASONS.get(at));
            if let Some(reason) = reason
                && quiet.may_say(reason)
            {
                tracing::warn!(
                    partner = self.source.url(),
                    reason,
                    "registrations are not heard from the failover partner: {error} (said once a minute)"
                );
            }
            tokio::time::sleep(pauses.after(begun)).await;
        }
    }

    async fn connection(&self, cursor: &mut Option<Cursor>) -> Result<Infallible, ExchangeError> {
        let after = cursor.map_or(String::new(), |cursor| format!("?after={cursor}"));
        let mut lines = self.source.open(&format!("/v1/exchange{after}")).await?;
        let mut said: Vec<ExchangeLine> = Vec::new();
        let mut is_greeted = false;
        loop {
            lines
                .read(|line| {
                    let line = serde_json::from_slice(line)
                        .map_err(|error| ExchangeError::Line(shown(&error.to_string())))?;
                    said.push(line);
                    Ok::<(), ExchangeError>(())
                })
                .await?;
            for line in said.drain(..) {
                match line {
                    ExchangeLine::Hello(hello) if !is_greeted => {
                        self.meet(&hello)?;
                        is_greeted = true;
                    }
                    ExchangeLine::Hello(_) => {
                        return Err(ExchangeError::Misplaced("a second hello"));
                    }
                    ExchangeLine::End { reason } => {
                        return Err(ExchangeError::Ended(shown(&reason)));
                    }
                    _ if !is_greeted => {
                        return Err(ExchangeError::Misplaced("something before the hello"));
                    }
                    ExchangeLine::Resumed { cursor: resumed } => {
                        if *cursor != Some(resumed) {
                            let what = "a resumption that was not asked for";
                            return Err(ExchangeError::Misplaced(what));
                        }
                    }
                    ExchangeLine::Everything {} => *cursor = None,
                    ExchangeLine::Heartbeat { newest } => self.counts.heard(newest, *cursor),
                    ExchangeLine::Records { cursor: reached, newest, records } => {
                        // All of the partner's at one moment, if nothing had come when it wrote this.
                        let is_whole = reached == Some(newest);
                        let mut exchanged = Vec::with_capacity(records.len());
                        for record in records {
                            exchanged.push(Exchanged::try_from(record)?);
                        }
                        self.merge(exchanged, is_whole).await?;
                        *cursor = reached.or(*cursor);
                        self.counts.heard(newest, *cursor);
                    }
                }
                // However long the core took.
                lines.taken();
            }
        }
    }

    fn meet(&self, hello: &ExchangeHello) -> Result<(), ExchangeError> {
        if hello.version != VERSION {
            return Err(ExchangeError::OtherVersion(hello.version));
        }
        if *hello.pair != *self.pair {
            return Err(ExchangeError::OtherPair(shown(&hello.pair)));
        }
        let wanted = match self.role {
            Role::Primary => "secondary",
            Role::Secondary => "primary",
        };
        if hello.role != wanted {
            return Err(ExchangeError::SameRole);
        }
        self.counts.met(&hello.server, hello.cursor);
        tracing::info!(
            partner = self.source.url(),
            "registrations are heard from the failover partner"
        );
        Ok(())
    }

    /// Gives the partner's words to the core, and waits until they are durable and in the kernel.
    async fn merge(
        &self,
        mut records: Vec<Exchanged>,
        is_whole: bool,
    ) -> Result<(), ExchangeError> {
        loop {
            let rest = records.split_off(records.len().min(limits::EXCHANGE_RECORDS_MAX));
            let is_last = rest.is_empty();
            let command = Command::Merge { records, is_whole: is_whole && is_last };
            self.carry_out(command).await?;
            if is_last {
                return Ok(());
            }
            records = rest;
        }
    }

    async fn carry_out(&self, command: Command) -> Result<(), ExchangeError> {
        loop {
            match self.door.command(command.clone()).await {
                Ok(Answer::Merged(merged)) => {
                    if merged.ended > 0 {
                        tracing::warn!(
                            devices = merged.ended,
                            "owners had got their last device at both servers while these could not hear each \
                             other: their oldest registrations were ended"
                        );
                    }
                    self.counts.merged(merged);
                    return Ok(());
                }
                // Nothing else answers it.
                Ok(_) | Err(DoorError::Closed) => return Err(ExchangeError::Ending),
                Err(DoorError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
            }
        }
    }
}

/// The beginning of a stranger's words, without what acts on a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARACTERS_MAX).collect()
}
