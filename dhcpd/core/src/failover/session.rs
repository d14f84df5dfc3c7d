//! One connection to the partner: the handshake, the timers, the numbers and the window.
//!
//! It promises that nothing is believed before the handshake, that a partner that says nothing is
//! given up after the receive timer and hears of us before its own, that no more updates are under way
//! than the partner takes, and that a partner that breaks the rules loses the connection and nothing
//! else (P5, P7). What a binding or a state means is not known here; neither are bytes and sockets.
//!
//! The primary speaks first, on whichever connection there is, also one that the secondary opened.

use super::message::{BindingUpdate, Body, Connect, ConnectAcknowledgement, Message, StateMessage};
use super::state::Role;
use super::{CloseReason, HashBuckets, Reject, Rejection};
use crate::Timestamp;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// How long a connection may take from its opening to the end of the handshake, in seconds.
pub const HANDSHAKE_SECONDS_MAX: u64 = 15;

/// How far apart the clocks of a pair may be when they meet, in seconds, unless both are this program.
pub const CLOCK_DIFFERENCE_SECONDS_MAX: u32 = 60;

/// How this program's name for itself begins (option 28, which ISC dhcpd does not read). Who says so
/// corrects the times that it is told by what the clocks are apart, however far; ISC dhcpd corrects nothing.
pub const OWN_VENDOR: &[u8] = b"vestibule-";

/// The most CONTACT messages in one second that are put up with.
pub const CONTACTS_PER_SECOND_MAX: u32 = 100;

/// The most updates that are ever under way, whatever the partner would take.
pub const UNACKNOWLEDGED_MAX: u32 = 1024;

/// What this server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which half it is.
    pub role: Role,
    /// The name of the relationship, compared byte for byte. 1 to 255 bytes.
    pub relationship: Box<[u8]>,
    /// How many updates it takes before it has acknowledged one. At least 1.
    pub unacknowledged_max: u32,
    /// After how many seconds without a message it gives the connection up. At least 3.
    pub receive_timer_seconds: u32,
    /// The primary's: the maximum client lead time, in seconds.
    pub mclt_seconds: u32,
    /// The primary's: which buckets it serves.
    pub hash_buckets: HashBuckets,
    /// Program and version, as the partner may log them.
    pub vendor: Box<[u8]>,
}

/// What the partner said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How many updates may be under way to it: 1 to [`UNACKNOWLEDGED_MAX`].
    pub unacknowledged_max: u32,
    /// How often it must hear of us, in seconds. At least 1.
    pub contact_seconds: u32,
    /// A primary's: the maximum client lead time, in seconds.
    pub mclt_seconds: Option<u32>,
    /// A primary's: which buckets it serves.
    pub hash_buckets: Option<HashBuckets>,
    /// Whether it corrects the times that it is told by what the clocks are apart: it is this program.
    pub corrects_times: bool,
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEffect {
    /// Send this.
    Send(Message),
    /// The handshake is done: a STATE is due.
    Up(Terms),
    /// The partner said this.
    Said(Said),
    /// Send what is to be sent, then close the connection.
    Close(CloseReason),
}

/// What a partner says after the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Its state.
    State(StateMessage),
    /// What has become of an address; to be answered with [`Session::acknowledge`] once it is on
    /// stable storage.
    Update {
        /// To be given back.
        xid: u32,
        /// The update.
        update: BindingUpdate,
    },
    /// It took or refused an update of ours.
    Acknowledged {
        /// The update's.
        xid: u32,
        /// The update's address.
        address: Ipv4Addr,
        /// Why it was refused; `None`: it was taken.
        reject: Option<Reject>,
    },
    /// It wants updates; to be answered with [`Session::update_done`] when all have been sent.
    UpdatesWanted {
        /// To be given back.
        xid: u32,
        /// Everything, not only what it has not acknowledged.
        all: bool,
    },
    /// It has sent all that was asked for.
    UpdateDone,
    /// It has too few addresses; to be answered with [`Session::pool_response`].
    PoolWanted {
        /// To be given back.
        xid: u32,
    },
    /// So many addresses were given to us.
    PoolGiven(u32),
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Up(Terms),
    Closed,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    phase: Phase,
    opened: Timestamp,
    last_sent: Timestamp,
    last_received: Timestamp,
    next_xid: u32,
    /// Updates under way: their addresses by their numbers.
    unacknowledged: BTreeMap<u32, Ipv4Addr>,
    /// The second that CONTACT messages are counted in, and how many there were.
    contacts: (u64, u32),
}

impl Session {
    /// A connection that was opened at `now`, by either side. A primary's first message is among the
    /// effects.
    #[must_use]
    pub fn open(settings: Settings, now: Timestamp, effects: &mut Vec<SessionEffect>) -> Self {
        let role = settings.role;
        let mut session = Self {
            settings,
            phase: Phase::Opening,
            opened: now,
            last_sent: now,
            last_received: now,
            next_xid: 0,
            unacknowledged: BTreeMap::new(),
            contacts: (0, 0),
        };
        if role == Role::Primary {
            let connect = Connect {
                relationship: Some(session.settings.relationship.clone()),
                unacknowledged_max: Some(session.settings.unacknowledged_max),
                receive_timer_seconds: Some(session.settings.receive_timer_seconds),
                vendor: Some(session.settings.vendor.clone()),
                protocol_version: Some(1),
                mclt_seconds: Some(session.settings.mclt_seconds),
                hash_buckets: Some(session.settings.hash_buckets.bytes()),
                tls_request: Some(0),
            };
            session.start(now, Body::Connect(connect), effects);
        }
        session
    }

    /// Whether the handshake is done and the connection not closed.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    /// Takes in one message. `occupied`: another connection to the same partner is up.
    pub fn receive(
        &mut self,
        now: Timestamp,
        message: Message,
        occupied: bool,
        effects: &mut Vec<SessionEffect>,
    ) {
        match self.phase {
            Phase::Closed => return,
            Phase::Up(_) => self.say(now, message, effects),
            Phase::Opening => self.shake(now, message, occupied, effects),
        }
        self.last_received = now;
    }

    /// Does what is due. To be called at [`next_tick`](Self::next_tick) at the latest.
    pub fn tick(&mut self, now: Timestamp, effects: &mut Vec<SessionEffect>) {
        let Phase::Up(terms) = self.phase else {
            if self.phase == Phase::Opening
                && now >= self.opened.plus_seconds(HANDSHAKE_SECONDS_MAX)
            {
                self.close(CloseReason::HandshakeTimeout, effects);
            }
            return;
        };
        if now >= self.silent_at() {
            self.close(CloseReason::Silent, effects);
        } else if now >= self.last_sent.plus_seconds(u64::from(terms.contact_seconds)) {
            self.start(now, Body::Contact, effects);
        }
    }

    /// When the next [`tick`](Self::tick) is due; `None`: never, the connection is closed.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Closed => None,
            Phase::Opening => Some(self.opened.plus_seconds(HANDSHAKE_SECONDS_MAX)),
            Phase::Up(terms) => {
                let contact = self.last_sent.plus_seconds(u64::from(terms.contact_seconds));
                Some(contact.min(self.silent_at()))
            }
        }
    }

    /// Tells the partner our state.
    pub fn send_state(
        &mut self,
        now: Timestamp,
        state: StateMessage,
        effects: &mut Vec<SessionEffect>,
    ) {
        self.start_if_up(now, Body::State(state), effects);
    }

    /// How many more updates may be sent now.
    #[must_use]
    pub fn window(&self) -> u32 {
        match self.phase {
            Phase::Up(terms) => terms
                .unacknowledged_max
                .saturating_sub(u32::try_from(self.unacknowledged.len()).unwrap_or(u32::MAX)),
            Phase::Opening | Phase::Closed => 0,
        }
    }

    /// Sends an update, and says its number; `None`: the [`window`](Self::window) is full, nothing was
    /// sent. A newer update of an address may follow before the older is acknowledged; the partner
    /// takes them in order.
    pub fn send_update(
        &mut self,
        now: Timestamp,
        update: BindingUpdate,
        effects: &mut Vec<SessionEffect>,
    ) -> Option<u32> {
        if self.window() == 0 {
            return None;
        }
        // ISC dhcpd reads an update numbered 0 as none.
        self.next_xid = self.next_xid.max(1);
        let xid = self.next_xid;
        self.unacknowledged.insert(xid, update.address);
        self.start(now, Body::BindingUpdate(update), effects);
        Some(xid)
    }

    /// Answers an update: it is on stable storage, or refused.
    pub fn acknowledge(
        &mut self,
        now: Timestamp,
        xid: u32,
        address: Ipv4Addr,
        reject: Option<Rejection>,
        effects: &mut Vec<SessionEffect>,
    ) {
        self.answer_if_up(now, xid, Body::BindingAcknowledgement { address, reject }, effects);
    }

    /// Asks for updates.
    pub fn want_updates(&mut self, now: Timestamp, all: bool, effects: &mut Vec<SessionEffect>) {
        let body = if all { Body::UpdateRequestAll } else { Body::UpdateRequest };
        self.start_if_up(now, body, effects);
    }

    /// Says that all updates that were asked for have been sent.
    pub fn update_done(&mut self, now: Timestamp, xid: u32, effects: &mut Vec<SessionEffect>) {
        self.answer_if_up(now, xid, Body::UpdateDone, effects);
    }

    /// Asks for addresses.
    pub fn want_pool(&mut self, now: Timestamp, effects: &mut Vec<SessionEffect>) {
        self.start_if_up(now, Body::PoolRequest, effects);
    }

    /// Says how many addresses are being given away.
    pub fn pool_response(
        &mut self,
        now: Timestamp,
        xid: u32,
        transferred: u32,
        effects: &mut Vec<SessionEffect>,
    ) {
        let body = Body::PoolResponse { transferred: Some(transferred) };
        self.answer_if_up(now, xid, body, effects);
    }

    fn shake(
        &mut self,
        now: Timestamp,
        message: Message,
        occupied: bool,
        effects: &mut Vec<SessionEffect>,
    ) {
        let apart = message.time.abs_diff(seconds(now)) > CLOCK_DIFFERENCE_SECONDS_MAX;
        match (self.settings.role, message.body) {
            (Role::Secondary, Body::Connect(connect)) => {
                match self.judge_connect(&connect, apart, occupied) {
                    Ok(terms) => {
                        let answer = self.introduction(connect.tls_request);
                        let answer = Body::ConnectAcknowledgement(answer);
                        self.phase = Phase::Up(terms);
                        self.answer_if_up(now, message.xid, answer, effects);
                        effects.push(SessionEffect::Up(terms));
                    }
                    Err(rejection) => {
                        let reason = rejection.reason;
                        let answer = ConnectAcknowledgement {
                            // The name as it came: another one would be refused for its name alone.
                            relationship: Some(connect.relationship.unwrap_or_default()),
                            reject: Some(rejection),
                            ..self.introduction(connect.tls_request)
                        };
                        let body = Body::ConnectAcknowledgement(answer);
                        self.answer(now, message.xid, body, effects);
                        self.close(refusal(reason), effects);
                    }
                }
            }
            (Role::Primary, Body::ConnectAcknowledgement(answer)) => {
                match self.judge_answer(&answer, apart, occupied) {
                    Ok(terms) => {
                        self.phase = Phase::Up(terms);
                        effects.push(SessionEffect::Up(terms));
                    }
                    Err(None) => {
                        let reject = answer.reject.map_or(Reject::Unspecified, |it| it.reason);
                        self.close(CloseReason::RefusedByPartner(reject), effects);
                    }
                    Err(Some(rejection)) => {
                        let reason = rejection.reason;
                        self.start(now, Body::Disconnect(Some(rejection)), effects);
                        self.close(refusal(reason), effects);
                    }
                }
            }
            (_, Body::Connect(_) | Body::ConnectAcknowledgement(_)) => {
                self.close(CloseReason::SameRole, effects);
            }
            (_, Body::Disconnect(rejection)) => {
                self.close(CloseReason::Left(rejection.map(|it| it.reason)), effects);
            }
            _ => self.close(CloseReason::NotNow, effects),
        }
    }

    /// The secondary's checks, in ISC dhcpd's order.
    fn judge_connect(
        &self,
        connect: &Connect,
        apart: bool,
        occupied: bool,
    ) -> Result<Terms, Rejection> {
        if connect.relationship.as_deref() != Some(&self.settings.relationship) {
            return Err(wrong_name());
        }
        if apart && !is_own(connect.vendor.as_deref()) {
            return Err(clocks_apart());
        }
        let Some(hash_buckets) = connect.hash_buckets else {
            return Err(Rejection::new(Reject::HashBucketConflict, "no hash bucket assignment"));
        };
        if occupied {
            return Err(duplicate());
        }
        let Some(mclt_seconds) = connect.mclt_seconds else {
            return Err(Rejection::new(Reject::InvalidMclt, "no maximum client lead time"));
        };
        Ok(Terms {
            mclt_seconds: Some(mclt_seconds),
            hash_buckets: Some(HashBuckets::from_bytes(hash_buckets)),
            corrects_times: is_own(connect.vendor.as_deref()),
            ..terms(connect.unacknowledged_max, connect.receive_timer_seconds)
        })
    }

    /// The primary's checks, in ISC dhcpd's order; `None`: the partner refused.
    fn judge_answer(
        &self,
        answer: &ConnectAcknowledgement,
        apart: bool,
        occupied: bool,
    ) -> Result<Terms, Option<Rejection>> {
        if answer.relationship.is_none() {
            return Err(Some(wrong_name()));
        }
        if answer.reject.is_some() {
            return Err(None);
        }
        if answer.relationship.as_deref() != Some(&self.settings.relationship) {
            return Err(Some(wrong_name()));
        }
        if occupied {
            return Err(Some(duplicate()));
        }
        let corrects_times = is_own(answer.vendor.as_deref());
        if apart && !corrects_times {
            return Err(Some(clocks_apart()));
        }
        let terms = terms(answer.unacknowledged_max, answer.receive_timer_seconds);
        Ok(Terms { corrects_times, ..terms })
    }

    fn introduction(&self, tls_request: Option<u8>) -> ConnectAcknowledgement {
        ConnectAcknowledgement {
            relationship: Some(self.settings.relationship.clone()),
            unacknowledged_max: Some(self.settings.unacknowledged_max),
            receive_timer_seconds: Some(self.settings.receive_timer_seconds),
            vendor: Some(self.settings.vendor.clone()),
            protocol_version: Some(1),
            // There is no TLS inside the protocol; who asks is told so.
            tls_reply: tls_request.map(|_| 0),
            reject: None,
        }
    }

    fn say(&mut self, now: Timestamp, message: Message, effects: &mut Vec<SessionEffect>) {
        let xid = message.xid;
        let said = match message.body {
            Body::State(state) => Said::State(state),
            Body::BindingUpdate(update) => Said::Update { xid, update },
            Body::BindingAcknowledgement { address, reject } => {
                match self.unacknowledged.get(&xid) {
                    Some(sent) if *sent == address => {
                        self.unacknowledged.remove(&xid);
                        Said::Acknowledged { xid, address, reject: reject.map(|it| it.reason) }
                    }
                    // Of nothing that is under way: a slip of the partner that changes nothing.
                    _ => return,
                }
            }
            Body::UpdateRequestAll => Said::UpdatesWanted { xid, all: true },
            Body::UpdateRequest => Said::UpdatesWanted { xid, all: false },
            Body::UpdateDone => Said::UpdateDone,
            Body::PoolRequest => Said::PoolWanted { xid },
            Body::PoolResponse { transferred } => Said::PoolGiven(transferred.unwrap_or(0)),
            Body::Contact => {
                let second = now.seconds();
                let (counted, count) = self.contacts;
                self.contacts = (second, if counted == second { count + 1 } else { 1 });
                if self.contacts.1 > CONTACTS_PER_SECOND_MAX {
                    self.close(CloseReason::Flood, effects);
                }
                return;
            }
            Body::Disconnect(rejection) => {
                self.close(CloseReason::Left(rejection.map(|it| it.reason)), effects);
                return;
            }
            Body::Connect(_) | Body::ConnectAcknowledgement(_) => {
                self.close(CloseReason::NotNow, effects);
                return;
            }
        };
        effects.push(SessionEffect::Said(said));
    }

    fn silent_at(&self) -> Timestamp {
        self.last_received.plus_seconds(u64::from(self.settings.receive_timer_seconds))
    }

    fn start_if_up(&mut self, now: Timestamp, body: Body, effects: &mut Vec<SessionEffect>) {
        if self.is_up() {
            self.start(now, body, effects);
        }
    }

    /// Sends something of our own: it gets the next number.
    fn start(&mut self, now: Timestamp, body: Body, effects: &mut Vec<SessionEffect>) {
        let xid = self.next_xid;
        self.next_xid = xid.wrapping_add(1);
        self.answer(now, xid, body, effects);
    }

    fn answer_if_up(
        &mut self,
        now: Timestamp,
        xid: u32,
        body: Body,
        effects: &mut Vec<SessionEffect>,
    ) {
        if self.is_up() {
            self.answer(now, xid, body, effects);
        }
    }

    fn answer(&mut self, now: Timestamp, xid: u32, body: Body, effects: &mut Vec<SessionEffect>) {
        self.last_sent = now;
        effects.push(SessionEffect::Send(Message { time: seconds(now), xid, body }));
    }

    fn close(&mut self, reason: CloseReason, effects: &mut Vec<SessionEffect>) {
        self.phase = Phase::Closed;
        self.unacknowledged.clear();
        effects.push(SessionEffect::Close(reason));
    }
}

/// A time as messages carry it.
fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.seconds()).unwrap_or(u32::MAX)
}

/// What a partner offers, made workable: one that says nothing takes one update at a time and hears
/// of us every second.
fn terms(unacknowledged_max: Option<u32>, receive_timer_seconds: Option<u32>) -> Terms {
    Terms {
        unacknowledged_max: unacknowledged_max.unwrap_or(1).clamp(1, UNACKNOWLEDGED_MAX),
        contact_seconds: (receive_timer_seconds.unwrap_or(0) / 3).max(1),
        mclt_seconds: None,
        hash_buckets: None,
        corrects_times: false,
    }
}

fn is_own(vendor: Option<&[u8]>) -> bool {
    vendor.is_some_and(|vendor| vendor.starts_with(OWN_VENDOR))
}

const fn refusal(reason: Reject) -> CloseReason {
    match reason {
        Reject::DuplicateConnection => CloseReason::Duplicate,
        reason => CloseReason::Refused(reason),
    }
}

fn wrong_name() -> Rejection {
    Rejection::new(Reject::InvalidPartner, "the relationship has another name here")
}

fn clocks_apart() -> Rejection {
    Rejection::new(Reject::TimeMismatch, "the clocks are more than 60 s apart")
}

fn duplicate() -> Rejection {
    Rejection::new(Reject::DuplicateConnection, "there is a connection already")
}

#[cfg(test)]
mod tests;
