//! Which packets are served, and in which order, when more come in than can be served.
//!
//! Packets wait here only while there is more to do than can be done at once. The rules (P5):
//!
//! - a packet that waits already (same device, same message, same transaction) is not taken in again;
//! - renewals are served first, then what else completes an exchange, then DISCOVERs: a lease that is
//!   lost hurts more than one that comes late, and an OFFER is worth nothing whose REQUEST is shed;
//! - within a kind every relay has its turn, one packet each, so that none takes more than its share;
//! - when [`ARRIVALS_WAITING_MAX`](crate::limits::ARRIVALS_WAITING_MAX) wait, one gives way: the oldest
//!   of the relay that has most waiting (the newcomer counts with its own), among the DISCOVERs if there are any, then among the others,
//!   renewals last;
//! - anybody can call a packet a renewal: so each of the two other kinds has an eighth of the turns and
//!   of the places, whatever comes;
//! - a DISCOVER that has waited for
//!   [`DISCOVER_WAIT_MILLISECONDS_MAX`](crate::limits::DISCOVER_WAIT_MILLISECONDS_MAX) is given up: its
//!   client has asked again, or gone.
//!
//! Whatever is shed comes back with its reason, so that it can be counted (P6). Pure: it reads no clock,
//! and the same packets in the same order are served and shed in the same order. It never looks at what
//! the leases are.

use crate::limits::{ARRIVALS_WAITING_MAX, DISCOVER_WAIT_MILLISECONDS_MAX};
use crate::{HardwareAddress, MessageType, Reason, Request, Timestamp};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

/// How much depends on a packet. In the order of service; packets are shed in the opposite order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A REQUEST of a client that uses its address.
    Renewal,
    /// Whatever else completes or ends something: the choice of an offer, RELEASE, DECLINE, INFORM.
    Completion,
    /// A DISCOVER.
    Discover,
}

/// Of so many turns, one each begins with the completions and with the DISCOVERs, and of the places one
/// part in so many is kept for each of them.
const PARTS: usize = 8;

impl Kind {
    const ALL: [Self; 3] = [Self::Renewal, Self::Completion, Self::Discover];

    /// In which order the kinds are looked at in a turn.
    const fn order(turn: usize) -> [Self; 3] {
        match turn % PARTS {
            6 => [Self::Completion, Self::Renewal, Self::Discover],
            7 => [Self::Discover, Self::Renewal, Self::Completion],
            _ => Self::ALL,
        }
    }

    /// Places that it does not lose to another kind.
    const fn places_kept(self) -> usize {
        match self {
            Self::Renewal => 0,
            Self::Completion | Self::Discover => ARRIVALS_WAITING_MAX / PARTS,
        }
    }

    fn of(request: &Request) -> Self {
        match request.message_type {
            MessageType::Discover => Self::Discover,
            MessageType::Request if !request.ciaddr.is_unspecified() => Self::Renewal,
            _ => Self::Completion,
        }
    }
}

/// What makes two packets the same message: transaction, message type, hardware address; as numbers,
/// the one that differs most often first, because a flood compares little else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    head: u64,
    address: (u64, u64),
}

fn message_of(request: &Request) -> Message {
    let Request { hardware, xid, message_type, .. } = request;
    let mut address = [0; HardwareAddress::LENGTH_MAX / 8];
    for (index, byte) in hardware.bytes().iter().enumerate() {
        address[index / 8] |= u64::from(*byte) << (index % 8 * 8);
    }
    let length = hardware.bytes().len() as u64;
    let kind = u64::from(*message_type as u8);
    let head = u64::from(*xid) << 32 | u64::from(hardware.hardware_type()) << 16 | length << 8;
    let [first, second] = address;
    Message { head: head | kind, address: (first, second) }
}

#[derive(Debug)]
struct Waiting {
    since: Timestamp,
    request: Request,
}

/// The packets that wait. See the module.
#[derive(Debug, Default)]
pub struct Admission {
    /// By kind and relay, the oldest first. No queue is empty.
    queues: BTreeMap<(Kind, Ipv4Addr), VecDeque<Waiting>>,
    /// How long each queue is: the last of a kind is its longest.
    lengths: BTreeSet<(Kind, usize, Ipv4Addr)>,
    messages: BTreeSet<Message>,
    /// How many wait, by kind.
    waiting: [usize; Kind::ALL.len()],
    /// The queue that was served last, by kind.
    served: BTreeMap<Kind, Ipv4Addr>,
    /// Turns so far.
    turn: usize,
}

impl Admission {
    /// Nothing waits.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            queues: BTreeMap::new(),
            lengths: BTreeSet::new(),
            messages: BTreeSet::new(),
            waiting: [0; Kind::ALL.len()],
            served: BTreeMap::new(),
            turn: 0,
        }
    }

    /// How many packets wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many DISCOVERs wait that a relay has passed on.
    #[must_use]
    pub fn relayed_discovers(&self) -> usize {
        let of_nobody = self.queues.get(&(Kind::Discover, Ipv4Addr::UNSPECIFIED));
        self.waiting[Kind::Discover as usize] - of_nobody.map_or(0, VecDeque::len)
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Takes a packet in. What is shed for it, and why: itself, or one that waited.
    #[must_use = "what is shed has to be counted"]
    pub fn offer(&mut self, request: Request, now: Timestamp) -> Option<(Request, Reason)> {
        let is_full = self.len() >= ARRIVALS_WAITING_MAX;
        let message = message_of(&request);
        if !self.messages.insert(message) {
            return Some((request, Reason::DuplicateWaiting));
        }
        let kind = Kind::of(&request);
        let relay = request.giaddr;
        let mut shed = None;
        if is_full {
            let Some((victim_kind, victim_length, victim)) = self.victim(kind) else {
                self.messages.remove(&message);
                return Some((request, Reason::Overload));
            };
            // With the newcomer its own relay has most waiting: then it takes the place of the oldest
            // there, and nothing else changes.
            let own = self
                .queues
                .get_mut(&(kind, relay))
                .filter(|own| victim_kind == kind && own.len() + 1 >= victim_length);
            if let Some(own) = own {
                own.push_back(Waiting { since: now, request });
                let oldest = own.pop_front()?;
                self.messages.remove(&message_of(&oldest.request));
                return Some((oldest.request, Reason::Overload));
            }
            shed =
                self.remove(victim_kind, victim).map(|waiting| (waiting.request, Reason::Overload));
        }
        let queue = self.queues.entry((kind, relay)).or_default();
        queue.push_back(Waiting { since: now, request });
        let length = queue.len();
        self.lengths.remove(&(kind, length - 1, relay));
        self.lengths.insert((kind, length, relay));
        self.waiting[kind as usize] += 1;
        shed
    }

    /// Whose oldest packet gives way to a newcomer when all places are taken, and how many wait there.
    fn victim(&self, newcomer: Kind) -> Option<(Kind, usize, Ipv4Addr)> {
        let waiting = |kind: Kind| self.waiting[kind as usize];
        let has_too_few = waiting(newcomer) < newcomer.places_kept();
        let gives_way = |kind: &Kind| match kind.cmp(&newcomer) {
            // What matters more stays, unless it leaves the newcomer's kind no room.
            Ordering::Less => has_too_few && waiting(*kind) > kind.places_kept(),
            Ordering::Equal => !has_too_few,
            Ordering::Greater => waiting(*kind) > kind.places_kept(),
        };
        let kind = Kind::ALL.into_iter().rev().find(gives_way)?;
        let longest = (kind, 0, Ipv4Addr::UNSPECIFIED)..=(kind, usize::MAX, Ipv4Addr::BROADCAST);
        self.lengths.range(longest).next_back().copied()
    }

    /// The packet that is served next; `on_shed` gets those that have waited for too long.
    pub fn next(
        &mut self,
        now: Timestamp,
        mut on_shed: impl FnMut(Request, Reason),
    ) -> Option<Request> {
        loop {
            let (kind, relay) = self.next_queue()?;
            self.turn = self.turn.wrapping_add(1);
            self.served.insert(kind, relay);
            let Waiting { since, request } = self.remove(kind, relay)?;
            let waited = now.milliseconds_after(since);
            if kind == Kind::Discover && waited >= DISCOVER_WAIT_MILLISECONDS_MAX {
                on_shed(request, Reason::DiscoverTooOld);
                continue;
            }
            return Some(request);
        }
    }

    /// The kind whose turn it is, and the relay whose turn it is there.
    fn next_queue(&self) -> Option<(Kind, Ipv4Addr)> {
        use std::ops::Bound::{Excluded, Included};
        let order = Kind::order(self.turn);
        let kind = order.into_iter().find(|kind| self.waiting[*kind as usize] > 0)?;
        let last = Included((kind, Ipv4Addr::BROADCAST));
        let first_from = |start| self.queues.range((start, last)).next().map(|(key, _)| *key);
        let after = self.served.get(&kind).and_then(|served| first_from(Excluded((kind, *served))));
        after.or_else(|| first_from(Included((kind, Ipv4Addr::UNSPECIFIED))))
    }

    /// Takes the oldest packet out of a queue.
    fn remove(&mut self, kind: Kind, relay: Ipv4Addr) -> Option<Waiting> {
        let queue = self.queues.get_mut(&(kind, relay))?;
        let length = queue.len();
        let waiting = queue.pop_front()?;
        self.lengths.remove(&(kind, length, relay));
        if queue.is_empty() {
            self.queues.remove(&(kind, relay));
        } else {
            self.lengths.insert((kind, length - 1, relay));
        }
        self.messages.remove(&message_of(&waiting.request));
        self.waiting[kind as usize] -= 1;
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, Octets, SocketIndex};
    use std::net::SocketAddrV4;

    const NOW: Timestamp = Timestamp::from_seconds(1000);

    fn relay(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 20, number, 1)
    }

    fn packet(message_type: MessageType, device: u32, giaddr: Ipv4Addr) -> Request {
        let [a, b, c, d] = device.to_be_bytes();
        let mut chaddr = [0; 16];
        chaddr[..6].copy_from_slice(&[2, 0, a, b, c, d]);
        Request {
            arrival: Arrival {
                socket: SocketIndex(0),
                local_address: Ipv4Addr::new(10, 0, 0, 67),
                source: SocketAddrV4::new(giaddr, 67),
                broadcast: false,
                attached: false,
            },
            message_type,
            hops: 1,
            xid: device,
            secs: 0,
            flags: 0,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            giaddr,
            hardware: HardwareAddress::ethernet([2, 0, a, b, c, d]),
            chaddr,
            client_identifier: None,
            requested_address: None,
            server_identifier: None,
            parameter_request_list: Octets::default(),
            maximum_message_size: None,
            requested_lifetime_seconds: None,
            host_name: None,
            subnet_selection: None,
            rapid_commit: false,
            relay_agent: None,
            kept_options: crate::KeptOptions::default(),
        }
    }

    fn discover(device: u32, of: u8) -> Request {
        packet(MessageType::Discover, device, relay(of))
    }

    fn select(device: u32, of: u8) -> Request {
        packet(MessageType::Request, device, relay(of))
    }

    fn renewal(device: u32) -> Request {
        let ciaddr = Ipv4Addr::from(0x0a14_0000 + device);
        Request {
            ciaddr,
            giaddr: Ipv4Addr::UNSPECIFIED,
            ..packet(MessageType::Request, device, ciaddr)
        }
    }

    /// Takes packets in of which none may be shed.
    fn take_in(admission: &mut Admission, requests: impl IntoIterator<Item = Request>) {
        for request in requests {
            assert_eq!(admission.offer(request, NOW), None);
        }
    }

    /// Serves everything; the devices in the order of service.
    fn served(admission: &mut Admission) -> Vec<u32> {
        let mut served = Vec::new();
        while let Some(request) = admission.next(NOW, |shed, reason| panic!("{shed:?} {reason}")) {
            served.push(request.xid);
        }
        assert!(admission.is_empty() && admission.queues.is_empty());
        assert!(admission.lengths.is_empty() && admission.messages.is_empty());
        served
    }

    #[test]
    fn renewals_come_first_and_discovers_last() {
        let mut admission = Admission::new();
        take_in(&mut admission, [discover(1, 1), select(2, 1), renewal(3), discover(4, 1)]);
        take_in(&mut admission, [packet(MessageType::Release, 5, relay(1)), renewal(6)]);
        assert_eq!(served(&mut admission), [3, 6, 2, 5, 1, 4]);
    }

    #[test]
    fn what_waits_already_is_not_taken_in_again_until_it_was_served() {
        let mut admission = Admission::new();
        take_in(&mut admission, [discover(1, 1)]);
        let again = Request { secs: 4, ..discover(1, 1) };
        let shed = admission.offer(again.clone(), NOW);
        assert_eq!(shed, Some((again.clone(), Reason::DuplicateWaiting)));
        // The same transaction's next message is another one.
        take_in(&mut admission, [select(1, 1)]);
        assert_eq!(served(&mut admission), [1, 1]);
        take_in(&mut admission, [again]);
        assert_eq!(served(&mut admission), [1]);
    }

    #[test]
    fn every_relay_has_its_turn_whatever_the_others_send() {
        let mut admission = Admission::new();
        take_in(&mut admission, (0..6).map(|device| discover(device, 1)));
        take_in(&mut admission, [discover(10, 2), discover(11, 2), discover(20, 3)]);
        assert_eq!(served(&mut admission), [0, 10, 20, 1, 11, 2, 3, 4, 5]);
    }

    #[test]
    fn the_turns_go_on_where_they_were() {
        let mut admission = Admission::new();
        take_in(&mut admission, [discover(1, 1), discover(2, 1), discover(3, 2), discover(4, 2)]);
        let next = |admission: &mut Admission| {
            admission.next(NOW, |_, reason| panic!("{reason}")).map(|request| request.xid)
        };
        assert_eq!(next(&mut admission), Some(1));
        // A packet that comes between does not give the first relay its turn back.
        take_in(&mut admission, [discover(5, 1)]);
        assert_eq!(served(&mut admission), [3, 2, 4, 5]);
    }

    #[test]
    fn when_it_is_full_the_oldest_discover_of_the_busiest_relay_gives_way() {
        let mut admission = Admission::new();
        let most = u32::try_from(ARRIVALS_WAITING_MAX).unwrap();
        take_in(&mut admission, [discover(most, 2), renewal(most + 1)]);
        take_in(&mut admission, (2..most).map(|device| discover(device, 1)));
        assert_eq!(admission.len(), ARRIVALS_WAITING_MAX);
        for (newcomer, victim) in
            [(discover(most + 2, 2), 2), (select(most + 3, 1), 3), (renewal(most + 4), 4)]
        {
            let (shed, reason) = admission.offer(newcomer, NOW).unwrap();
            assert_eq!((shed.xid, reason), (victim, Reason::Overload));
            assert_eq!(admission.len(), ARRIVALS_WAITING_MAX);
        }
    }

    #[test]
    fn a_relay_that_has_most_waiting_with_its_newcomer_gives_way_itself() {
        let mut admission = Admission::new();
        let most = u32::try_from(ARRIVALS_WAITING_MAX).unwrap();
        let relays = |device: u32| 1 + u8::try_from(device % 2).unwrap();
        take_in(&mut admission, (0..most).map(|device| discover(device, relays(device))));
        // Both have as many: each newcomer takes the place of its own relay's oldest.
        for device in [1, 3, 0, 5, 2] {
            let shed = admission.offer(discover(most + device, relays(device)), NOW).unwrap();
            assert_eq!((shed.0.xid, shed.1), (device, Reason::Overload));
        }
        // A third one has none, and takes from whoever has most.
        let (shed, _) = admission.offer(discover(2 * most, 3), NOW).unwrap();
        assert_eq!(shed.xid, 7, "of two that have as many, the one with the higher address");
        assert_eq!(admission.len(), ARRIVALS_WAITING_MAX);
        // What was shed may come again; what waits may not.
        assert_eq!(admission.offer(discover(1, 2), NOW).unwrap().1, Reason::Overload);
        assert_eq!(admission.offer(discover(1, 2), NOW).unwrap().1, Reason::DuplicateWaiting);
        assert_eq!(served(&mut admission).len(), ARRIVALS_WAITING_MAX);
    }

    #[test]
    fn messages_are_the_same_only_if_everything_that_names_them_is() {
        let one = discover(1, 1);
        let other = |change: fn(&mut Request)| {
            let mut request = one.clone();
            change(&mut request);
            message_of(&request) == message_of(&one)
        };
        assert!(other(|request| request.secs = 9));
        assert!(!other(|request| request.xid = 2));
        assert!(!other(|request| request.message_type = MessageType::Request));
        for hardware in [
            HardwareAddress::new(1, &[2, 0, 0, 0, 0]),
            HardwareAddress::new(6, &[2, 0, 0, 0, 0, 1]),
            HardwareAddress::new(1, &[2, 0, 0, 0, 0, 1, 0]),
            HardwareAddress::new(32, &[2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
        ] {
            let request = Request { hardware: hardware.unwrap(), ..one.clone() };
            assert_ne!(message_of(&request), message_of(&one), "{hardware:?}");
        }
    }

    #[test]
    fn renewals_give_way_last() {
        let mut admission = Admission::new();
        let most = u32::try_from(ARRIVALS_WAITING_MAX).unwrap();
        let kept = most / u32::try_from(PARTS).unwrap();
        take_in(&mut admission, (0..kept + 1).map(|device| discover(device, 1)));
        take_in(&mut admission, (kept + 1..2 * kept + 2).map(|device| select(device, 1)));
        take_in(&mut admission, (2 * kept + 2..most).map(renewal));
        let mut shed = |request: Request| {
            admission.offer(request, NOW).map(|(shed, reason)| (shed.xid, reason))
        };
        let overload = |device| Some((device, Reason::Overload));
        assert_eq!(shed(renewal(most)), overload(0), "a DISCOVER too many");
        assert_eq!(shed(renewal(most + 1)), overload(kept + 1), "a completion too many");
        assert_eq!(shed(renewal(most + 2)), overload(2 * kept + 2), "the oldest renewal");
        assert_eq!(shed(discover(most + 3, 1)), overload(1));
        assert_eq!(shed(select(most + 4, 1)), overload(kept + 2));
    }

    #[test]
    fn a_flood_of_renewals_leaves_the_others_an_eighth_of_places_and_turns() {
        for other in [discover, select] {
            let mut admission = Admission::new();
            let most = u32::try_from(ARRIVALS_WAITING_MAX).unwrap();
            let kept = most / u32::try_from(PARTS).unwrap();
            take_in(&mut admission, (0..most).map(renewal));
            for device in 0..kept {
                let (shed, _) = admission.offer(other(most + device, 1), NOW).unwrap();
                assert_eq!(shed.xid, device, "the oldest renewal gives way");
            }
            let (shed, _) = admission.offer(other(2 * most, 1), NOW).unwrap();
            assert_eq!(shed.xid, most, "beyond its share a kind gives way itself");
            let served = served(&mut admission);
            let others = served.iter().take(800).filter(|device| **device >= most).count();
            assert_eq!(others, 100);
        }
    }

    #[test]
    fn a_discover_that_waited_too_long_is_given_up_and_a_request_is_not() {
        let mut admission = Admission::new();
        take_in(&mut admission, [discover(1, 1), select(2, 1), discover(3, 1)]);
        let late = NOW.milliseconds() + DISCOVER_WAIT_MILLISECONDS_MAX;
        let mut shed = Vec::new();
        let mut next = |admission: &mut Admission, now| {
            let request = admission.next(now, |request, reason| shed.push((request.xid, reason)));
            request.map(|request| request.xid)
        };
        let early = Timestamp::from_milliseconds(late - 1);
        let late = Timestamp::from_milliseconds(late);
        assert_eq!(next(&mut admission, late), Some(2));
        assert_eq!(next(&mut admission, early), Some(1));
        assert_eq!(next(&mut admission, late), None);
        assert_eq!(shed, [(3, Reason::DiscoverTooOld)]);
        assert!(admission.is_empty());
    }
}
