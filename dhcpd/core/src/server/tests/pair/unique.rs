//! P1 across the pair: whatever happens to the two, and however far their clocks are apart, no address is
//! promised to two clients at once.
//!
//! What an operator must not do is left out: to say that the partner is down while it serves, or to start
//! a server that was taken over where it cannot hear the other one.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const CLIENTS: u8 = 8;

#[derive(Clone, Copy, Debug)]
enum Action {
    Lease(usize, u8),
    Renew(usize, u8),
    Reboot(usize, u8),
    Release(usize, u8),
    Decline(usize, u8),
    Stick(usize, bool),
    Cut,
    Connect,
    Kill(usize),
    LoseEverything(usize),
    Start(usize),
    PartnerDown(usize),
    Pass(u64),
}

fn action() -> impl Strategy<Value = Action> {
    let side = || 0..2_usize;
    let client = || 1..=CLIENTS;
    let time = prop_oneof![3 => 1..10_u64, 3 => 10..70_u64, 1 => 70..400_u64];
    prop_oneof![
        8 => (side(), client()).prop_map(|(side, number)| Action::Lease(side, number)),
        6 => (side(), client()).prop_map(|(side, number)| Action::Renew(side, number)),
        2 => (side(), client()).prop_map(|(side, number)| Action::Reboot(side, number)),
        3 => (side(), client()).prop_map(|(side, number)| Action::Release(side, number)),
        1 => (side(), client()).prop_map(|(side, number)| Action::Decline(side, number)),
        3 => (side(), any::<bool>()).prop_map(|(side, is_so)| Action::Stick(side, is_so)),
        2 => Just(Action::Cut),
        4 => Just(Action::Connect),
        1 => side().prop_map(Action::Kill),
        1 => side().prop_map(Action::LoseEverything),
        3 => side().prop_map(Action::Start),
        1 => side().prop_map(Action::PartnerDown),
        8 => time.prop_map(Action::Pass),
    ]
}

/// What clients were promised, by address: to whom, and until when.
#[derive(Default)]
struct Ledger {
    promises: BTreeMap<Ipv4Addr, (u8, Timestamp)>,
}

impl Ledger {
    fn of(&self, number: u8) -> Option<Ipv4Addr> {
        self.promises.iter().find(|(_, (client, _))| *client == number).map(|(ip, _)| *ip)
    }

    fn promised(&mut self, number: u8, ip: Ipv4Addr, until: Timestamp, now: Timestamp) {
        let before = self.promises.get(&ip);
        let until = match before {
            Some((other, end)) if *other != number => {
                assert!(*end <= now, "{ip} is {other}'s until {end}, and {number} got it at {now}");
                until
            }
            Some((_, end)) => until.max(*end),
            None => until,
        };
        // A client has one address.
        self.promises.retain(|_, (client, _)| *client != number);
        self.promises.insert(ip, (number, until));
    }
}

struct World {
    pair: Pair,
    ledger: Ledger,
}

impl World {
    fn is_alive(&self, side: usize) -> bool {
        self.pair.halves[side].server.is_some()
    }

    /// Whether one of the two has taken the other one over.
    fn is_taken_over(&self) -> bool {
        [PRIMARY, SECONDARY].into_iter().any(|side| {
            let records = self.pair.halves[side].records.iter().rev();
            let state = records.clone().find_map(|record| match record {
                Record::Failover(record) => Some(record.state),
                _ => None,
            });
            state == Some(State::PartnerDown)
        })
    }

    fn ask(&mut self, side: usize, number: u8, request: Request) {
        if !self.is_alive(side) {
            return;
        }
        let Ok(reply) = self.pair.reply(side, request) else { return };
        if reply.message_type == MessageType::Ack {
            let until = self.pair.now.plus_seconds(lifetime(&reply).into());
            self.ledger.promised(number, reply.yiaddr, until, self.pair.now);
        }
        self.pair.deliver();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Lease(side, number) => {
                if !self.is_alive(side) {
                    return;
                }
                let Ok(offer) = self.pair.discover(side, number) else { return };
                let mut select = request_to(side, number, MessageType::Request);
                select.requested_address = Some(offer.yiaddr);
                select.server_identifier = Some(ADDRESSES[side]);
                self.ask(side, number, select);
            }
            Action::Renew(side, number) => {
                let Some(ip) = self.ledger.of(number) else { return };
                let request = request_to(side, number, MessageType::Request);
                self.ask(side, number, Request { ciaddr: ip, ..request });
            }
            Action::Reboot(side, number) => {
                let Some(ip) = self.ledger.of(number) else { return };
                let request = request_to(side, number, MessageType::Request);
                self.ask(side, number, Request { requested_address: Some(ip), ..request });
            }
            Action::Release(side, number) => {
                let Some(ip) = self.ledger.of(number) else { return };
                if self.is_alive(side) {
                    let request = request_to(side, number, MessageType::Release);
                    let _ = self.pair.reply(side, Request { ciaddr: ip, ..request });
                    self.ledger.promises.remove(&ip);
                    self.pair.deliver();
                }
            }
            Action::Decline(side, number) => {
                let Some(ip) = self.ledger.of(number) else { return };
                if self.is_alive(side) {
                    let request = request_to(side, number, MessageType::Decline);
                    let declines = Request { requested_address: Some(ip), ..request };
                    let _ = self.pair.reply(side, declines);
                    self.ledger.promises.remove(&ip);
                    self.pair.deliver();
                }
            }
            Action::Stick(side, is_so) => {
                self.pair.stuck[side] = is_so;
                self.pair.deliver();
            }
            Action::Cut if !self.is_taken_over() => self.pair.cut(),
            Action::Connect => {
                if self.is_alive(PRIMARY) && self.is_alive(SECONDARY) && !self.pair.is_connected {
                    self.pair.connect();
                }
            }
            Action::Kill(side) if !self.is_taken_over() => self.pair.kill(side),
            Action::LoseEverything(side) => {
                if !self.is_alive(side) && self.is_alive(1 - side) {
                    self.pair.halves[side].records.clear();
                }
            }
            Action::Start(side) => {
                if !self.is_alive(side) {
                    self.pair.start(side);
                    // Who was taken over hears of it before it serves.
                    if self.is_taken_over() && self.is_alive(1 - side) {
                        self.pair.stuck = [false; 2];
                        self.pair.connect();
                    }
                }
            }
            Action::PartnerDown(side) => {
                if self.is_alive(side) && !self.is_alive(1 - side) {
                    self.pair.partner_down(side);
                }
            }
            Action::Pass(seconds) => {
                // While one is taken over nothing is held back so long that contact is lost.
                if self.is_taken_over() {
                    self.pair.stuck = [false; 2];
                }
                self.pair.pass(seconds);
            }
            Action::Cut | Action::Kill(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_promised_to_two_clients_whatever_happens(
        ahead in prop::sample::select(vec![
            [0, 0], [0, 3], [3, 0], [0, 55], [55, 0], [0, 3600], [3600, 0],
        ]),
        actions in prop::collection::vec(action(), 1..120),
    ) {
        let pair = Pair::normal_by_clocks(6, ahead);
        let mut world = World { pair, ledger: Ledger::default() };
        for action in actions {
            world.act(action);
        }
        // P7: when everything has healed, both serve again, without an operator.
        for side in [PRIMARY, SECONDARY] {
            if !world.is_alive(side) {
                world.act(Action::Start(side));
            }
        }
        world.pair.stuck = [false; 2];
        // Who finds the connection gone makes a new one.
        for _ in 0..(MCLT + 200) / 5 {
            if !world.pair.is_connected {
                world.pair.connect();
            }
            world.pair.pass(5);
        }
        prop_assert_eq!(world.pair.states(), [State::Normal; 2]);
        // When all leases and quarantines are over, both count the same, and nothing is lost.
        world.pair.pass(1000);
        let [first, second] = [PRIMARY, SECONDARY].map(|side| world.pair.free(side));
        prop_assert_eq!(first, second);
        prop_assert_eq!(first.0 + first.1, 6);
        prop_assert_eq!(world.pair.status(PRIMARY).updates_waiting, 0);
    }
}
