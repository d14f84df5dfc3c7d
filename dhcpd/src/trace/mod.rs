//! Why did this client get nothing? The last decisions for each client, and every one for whoever follows.
//!
//! It belongs to the decide thread and is asked through the [`door`](crate::door), so it has no lock. It
//! promises a bounded memory that is taken at the start: [`CLIENTS_MAX`] clients with
//! [`MOMENTS_PER_CLIENT`] moments each, 17 bytes a moment; noting one allocates nothing. A client that nobody heard of for
//! long gives way to another. Nobody outside can choose whose place is taken: places are drawn with a key.
//! Who follows too slowly loses moments, and is told how many.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod moment;

pub use moment::{Moment, What};

use moment::Packed;
use std::hash::{BuildHasher as _, RandomState};
use tokio::sync::mpsc;
use vestibule_core::HardwareAddress;

/// Clients that are remembered at most.
pub const CLIENTS_MAX: usize = 8192;

/// Moments of each that are remembered at most.
pub const MOMENTS_PER_CLIENT: usize = 12;

/// Clients that are followed at once at most.
pub const FOLLOWERS_MAX: usize = 16;

/// Moments that wait for a follower at most; more are counted as missed.
pub const MOMENTS_WAITING_MAX: usize = 1024;

/// Places that a client can be in.
const WAYS: usize = 4;

/// One client.
#[derive(Clone, Copy, Debug)]
struct Client {
    hardware: HardwareAddress,
    /// When it was last heard of, counted in moments; 0: the place is free.
    heard: u64,
    moments: [Packed; MOMENTS_PER_CLIENT],
    /// How many there were ever, in this place.
    count: usize,
}

/// What a follower is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// What happened.
    pub moment: Moment,
    /// Moments that were missed before it.
    pub missed: u64,
}

/// Somebody who follows a client.
#[derive(Debug)]
struct Follower {
    hardware: HardwareAddress,
    to: mpsc::Sender<Told>,
    missed: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Traces {
    key: RandomState,
    clients: Vec<Client>,
    /// Moments so far.
    count: u64,
    followers: Vec<Follower>,
}

/// As many follow already as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyFollowers;

impl Default for Traces {
    fn default() -> Self {
        let nobody = Client {
            hardware: HardwareAddress::LOWEST,
            heard: 0,
            moments: [[0; moment::PACKED_BYTES]; MOMENTS_PER_CLIENT],
            count: 0,
        };
        Self {
            key: RandomState::new(),
            clients: vec![nobody; CLIENTS_MAX],
            count: 0,
            followers: Vec::new(),
        }
    }
}

impl Traces {
    /// Notes what happened to a client, and tells whoever follows it.
    pub fn note(&mut self, hardware: HardwareAddress, moment: &Moment) {
        self.count += 1;
        let count = self.count;
        if !self.followers.is_empty() {
            self.tell(hardware, moment);
        }
        let Some(client) = self.place(hardware) else { return };
        if client.heard == 0 || client.hardware != hardware {
            (client.hardware, client.count) = (hardware, 0);
        }
        client.heard = count;
        if let Some(place) = client.moments.get_mut(client.count % MOMENTS_PER_CLIENT) {
            *place = moment.pack();
        }
        // Beyond the ring only the remainder counts.
        client.count += 1;
        if client.count >= 2 * MOMENTS_PER_CLIENT {
            client.count -= MOMENTS_PER_CLIENT;
        }
    }

    /// The last moments of a client, oldest first.
    #[must_use]
    pub fn last(&self, hardware: HardwareAddress) -> Vec<Moment> {
        let start = self.first_place(hardware);
        let places = self.clients.get(start..start + WAYS).unwrap_or_default();
        let found = places.iter().find(|place| place.heard > 0 && place.hardware == hardware);
        let Some(client) = found else { return Vec::new() };
        let count = client.count;
        let first = count.saturating_sub(MOMENTS_PER_CLIENT);
        let moments =
            (first..count).filter_map(|number| client.moments.get(number % MOMENTS_PER_CLIENT));
        moments.filter_map(Moment::unpack).collect()
    }

    /// Tells somebody every moment of a client from now on, until they are gone.
    ///
    /// # Errors
    /// [`TooManyFollowers`]
    pub fn follow(
        &mut self,
        hardware: HardwareAddress,
        to: mpsc::Sender<Told>,
    ) -> Result<(), TooManyFollowers> {
        self.followers.retain(|follower| !follower.to.is_closed());
        if self.followers.len() >= FOLLOWERS_MAX {
            return Err(TooManyFollowers);
        }
        self.followers.push(Follower { hardware, to, missed: 0 });
        Ok(())
    }

    fn tell(&mut self, hardware: HardwareAddress, moment: &Moment) {
        let mut some_are_gone = false;
        for follower in self.followers.iter_mut().filter(|it| it.hardware == hardware) {
            let told = Told { moment: *moment, missed: follower.missed };
            match follower.to.try_send(told) {
                Ok(()) => follower.missed = 0,
                Err(mpsc::error::TrySendError::Full(_)) => follower.missed += 1,
                Err(mpsc::error::TrySendError::Closed(_)) => some_are_gone = true,
            }
        }
        if some_are_gone {
            self.followers.retain(|follower| !follower.to.is_closed());
        }
    }

    /// The client's place: where it is, or else the one that was not heard of for longest.
    fn place(&mut self, hardware: HardwareAddress) -> Option<&mut Client> {
        let start = self.first_place(hardware);
        let places = self.clients.get_mut(start..start + WAYS)?;
        let is_there = |place: &Client| place.heard > 0 && place.hardware == hardware;
        let found = places.iter().position(is_there);
        let oldest = || places.iter().enumerate().min_by_key(|(_, place)| place.heard);
        let place = found.or_else(|| oldest().map(|(place, _)| place))?;
        places.get_mut(place)
    }

    fn first_place(&self, hardware: HardwareAddress) -> usize {
        let sets = (CLIENTS_MAX / WAYS) as u64;
        // Below the number of sets, so it fits.
        usize::try_from(self.key.hash_one(hardware) % sets).unwrap_or(0) * WAYS
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::net::Ipv4Addr;
    use vestibule_core::{MessageType, Timestamp};

    fn client(number: u32) -> HardwareAddress {
        let [a, b, c, d] = number.to_be_bytes();
        HardwareAddress::ethernet([2, 0, a, b, c, d])
    }

    fn moment(number: u64) -> Moment {
        Moment {
            time: Timestamp::from_milliseconds(number),
            what: What::Decided { message: MessageType::Discover, answer: None, reason: None },
            address: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
        }
    }

    #[test]
    fn the_last_moments_of_each_client_are_kept_in_their_order() {
        let mut traces = Traces::default();
        assert_eq!(traces.last(client(1)), []);
        for number in 0..100 {
            traces.note(client(1), &moment(number));
            traces.note(client(2), &moment(1000 + number));
            let last = traces.last(client(1));
            let first = (number + 1).saturating_sub(MOMENTS_PER_CLIENT as u64);
            assert_eq!(last, (first..=number).map(moment).collect::<Vec<_>>());
        }
        assert_eq!(traces.last(client(3)), []);
    }

    #[test]
    fn a_flood_of_clients_takes_no_more_memory_and_spares_who_is_heard_of() {
        let mut traces = Traces::default();
        let capacity = traces.clients.capacity();
        let clients = 10 * u32::try_from(CLIENTS_MAX).unwrap();
        for number in 0..clients {
            traces.note(client(number), &moment(number.into()));
            // Heard of as often as all others together.
            traces.note(client(u32::MAX), &moment(number.into()));
        }
        assert_eq!((traces.clients.len(), traces.clients.capacity()), (CLIENTS_MAX, capacity));
        assert_eq!(traces.last(client(u32::MAX)).len(), MOMENTS_PER_CLIENT);
        let kept = (0..clients).filter(|number| !traces.last(client(*number)).is_empty());
        assert!(kept.count() < CLIENTS_MAX);
    }

    #[test]
    fn a_follower_gets_its_clients_moments_and_learns_what_it_missed() {
        let mut traces = Traces::default();
        let (sender, mut receiver) = mpsc::channel(2);
        traces.follow(client(1), sender).unwrap();
        for number in 0..5 {
            traces.note(client(1), &moment(number));
            traces.note(client(2), &moment(number));
        }
        assert_eq!(receiver.try_recv().unwrap(), Told { moment: moment(0), missed: 0 });
        assert_eq!(receiver.try_recv().unwrap(), Told { moment: moment(1), missed: 0 });
        assert!(receiver.try_recv().is_err());
        traces.note(client(1), &moment(9));
        assert_eq!(receiver.try_recv().unwrap(), Told { moment: moment(9), missed: 3 });
        drop(receiver);
        traces.note(client(1), &moment(10));
        assert!(traces.followers.is_empty());
    }

    #[test]
    fn followers_are_bounded_and_those_who_left_make_room() {
        let mut traces = Traces::default();
        let receivers: Vec<_> = (0..FOLLOWERS_MAX)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(1);
                traces.follow(client(1), sender).unwrap();
                receiver
            })
            .collect();
        assert_eq!(traces.follow(client(1), mpsc::channel(1).0), Err(TooManyFollowers));
        drop(receivers);
        assert_eq!(traces.follow(client(1), mpsc::channel(1).0), Ok(()));
    }
}
