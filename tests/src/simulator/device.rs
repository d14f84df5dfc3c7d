//! One device of a simulated campus: a client of the load program that is switched on and off, moves,
//! and remembers its lease.
//!
//! What is on the wire, and what an ACK is worth, is its world's to say. It draws no randomness of its own.

use super::plan;
use vestibule_load::client::{Client, Happening, Manner, State};
use vestibule_load::message::{Kind, Message};

/// How long a device asks for the lease of its earlier life, in milliseconds.
const REBOOTING_MAX: u64 = 30_000;

/// See the module. Times are milliseconds of its world.
#[derive(Debug)]
pub(crate) struct Device {
    pub(super) client: Client,
    pub(super) is_on: bool,
    pub(super) network: usize,
    /// When it was acknowledged last.
    pub(super) acknowledged: Option<u64>,
    /// When it is switched on, if it is off.
    pub(super) wake_at: Option<u64>,
    number: usize,
    /// The exchange that it asks in, and when it sent the first REQUEST of it.
    asked: Option<(u32, u64)>,
    /// The exchange of its last message.
    xid: u32,
    manner: Manner,
}

/// What a device does when its time has come.
#[derive(Debug, Default)]
pub(super) struct Awake {
    pub(super) message: Option<Message>,
    /// It was off before.
    pub(super) is_switched_on: bool,
    /// It does not believe any more that it has the lease that it had.
    pub(super) has_given_up: bool,
}

impl Device {
    /// A device that is off and has never had a lease. `first_wait_milliseconds`: how long it waits for an
    /// answer the first time.
    pub(super) fn new(
        number: usize,
        network: usize,
        first_wait_milliseconds: u64,
        seed: u64,
    ) -> Self {
        let manner = Manner { first_wait_milliseconds, ..Manner::default() };
        Self {
            client: Client::new(plan::hardware_of(number), manner, seed),
            is_on: false,
            network,
            acknowledged: None,
            number,
            wake_at: None,
            asked: None,
            xid: 0,
            manner,
        }
    }

    /// The time that it waited for has come, or it is switched on; `None`: neither is so.
    pub(super) fn on_time(&mut self, now: u64, seed: u64) -> Option<Awake> {
        if !self.is_on {
            self.wake_at.take_if(|at| now >= *at)?;
            self.is_on = true;
            // It remembers a lease that has not ended.
            let lease = self.client.lease().filter(|lease| now < lease.ends);
            let hardware = plan::hardware_of(self.number);
            self.client = match lease {
                Some(lease) => Client::with_lease(hardware, self.manner, seed, lease),
                None => Client::new(hardware, self.manner, seed),
            };
            let message = Some(self.client.begin(now));
            return Some(Awake { message, is_switched_on: true, ..Awake::default() });
        }
        if self.client.state() == State::Rebooting
            && self.asked.is_some_and(|(_, at)| now >= at + REBOOTING_MAX)
        {
            // Its server has no record of it and therefore is silent (RFC 2131 section 4.3.2).
            let message = Some(self.client.restart(now));
            return Some(Awake { message, has_given_up: true, ..Awake::default() });
        }
        let (message, happening) = self.client.on_time(now);
        let has_given_up =
            matches!(happening, Some(Happening::Expired { .. } | Happening::Unanswered { .. }));
        Some(Awake { message, has_given_up, ..Awake::default() })
    }

    /// When its time comes next, if it does.
    pub(super) fn next(&self) -> Option<u64> {
        if self.is_on { self.client.next() } else { self.wake_at }
    }

    /// Notes that it sends a message. The network whose relay passes it on; `None`: it goes to the server
    /// itself.
    pub(super) fn sends(&mut self, message: &Message, now: u64) -> Option<usize> {
        self.xid = message.xid;
        if message.kind == Kind::Request && self.asked.is_none_or(|(xid, _)| xid != message.xid) {
            self.asked = Some((message.xid, now));
        }
        let is_unicast = message.kind == Kind::Release || self.client.state() == State::Renewing;
        (!is_unicast).then_some(self.network)
    }

    /// From when on the lease counts that it was just acknowledged: from its first REQUEST on (RFC 2131
    /// section 4.4.1).
    pub(super) fn asked_at(&self, now: u64) -> u64 {
        self.asked.map_or(now, |(_, at)| at)
    }

    /// Whether a message is of an exchange that it has given up since.
    pub(super) fn is_over(&self, message: &Message) -> bool {
        message.kind != Kind::Discover && !self.asks(message.xid)
    }

    /// Whether it is still in this exchange.
    pub(super) const fn asks(&self, xid: u32) -> bool {
        self.xid == xid
    }

    /// Switches it off until then; `None`: for good.
    pub(super) fn switch_off(&mut self, until: Option<u64>) {
        self.client.stop();
        self.is_on = false;
        self.wake_at = until;
    }
}

/// Everybody for whom there is an address is switched on now; the others are gone for good. `room`: the
/// addresses of each network. Those that have to be woken.
pub(super) fn everybody_home(devices: &mut [Device], mut room: Vec<usize>, now: u64) -> Vec<usize> {
    let mut woken = Vec::new();
    for (number, device) in devices.iter_mut().enumerate() {
        if room[device.network] == 0 {
            device.switch_off(None);
            continue;
        }
        room[device.network] -= 1;
        if !device.is_on {
            device.wake_at = Some(now);
            woken.push(number);
        }
    }
    woken
}
