//! From the barrier to the keeper's thread, without ever waiting.
//!
//! It promises that an event is either handed over, in order, or counted; the count goes with the next
//! hand-over that finds room.

use super::limits::{EVENTS_WAITING_MAX, HANDOVERS_WAITING_MAX};
use super::packed::Packed;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// What became true with one group.
#[derive(Debug, Default)]
pub struct Happened {
    /// The number of the last frame that is durable with it.
    pub frame_number: u64,
    /// Events that are missing before these.
    pub missed: u64,
    /// What happened, in order.
    pub events: Packed,
}

/// The barrier's end.
#[derive(Debug)]
pub struct Handover {
    to: SyncSender<Happened>,
    /// What found no room yet.
    waiting: Happened,
}

/// Both ends.
#[must_use]
pub fn handover() -> (Handover, Receiver<Happened>) {
    let (to, from) = sync_channel(HANDOVERS_WAITING_MAX);
    (Handover { to, waiting: Happened::default() }, from)
}

impl Handover {
    /// Hands over what is durable and in the kernel now; never waits. `missed`: events that the barrier
    /// itself had to let go before these.
    pub fn give(&mut self, frame_number: u64, missed: u64, events: &mut Packed) {
        let waiting = &mut self.waiting;
        waiting.frame_number = waiting.frame_number.max(frame_number);
        if missed > 0 {
            // A gap has one place: what waits before it is told as missed with it.
            waiting.missed += missed + waiting.events.len() as u64;
            waiting.events.clear();
        }
        waiting.events.append(events);
        if waiting.events.len() > EVENTS_WAITING_MAX {
            waiting.missed += waiting.events.len() as u64;
            waiting.events.clear();
        }
        match self.to.try_send(std::mem::take(waiting)) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(back)) => self.waiting = back,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;
    use vestibule_core::event::{Happening, PoolUsage};
    use vestibule_core::{Event, Timestamp};

    fn events(count: usize) -> Packed {
        let usage = || PoolUsage { network: "n".into(), class: None, pool_size: 1, free: 0 };
        let event = || Event { time: Timestamp::ZERO, what: Happening::PoolLow(usage()) };
        (0..count).map(|_| event()).collect()
    }

    #[test]
    fn what_finds_no_room_is_handed_over_later_or_counted() {
        let (mut handover, from) = handover();
        for frame in 0..HANDOVERS_WAITING_MAX as u64 {
            handover.give(frame, 0, &mut events(1));
        }
        handover.give(1000, 0, &mut events(5));
        handover.give(1001, 0, &mut events(EVENTS_WAITING_MAX - 5));
        for _ in 0..HANDOVERS_WAITING_MAX {
            assert_eq!(from.try_recv().unwrap().events.len(), 1);
        }
        handover.give(1002, 0, &mut Packed::default());
        let late = from.try_recv().unwrap();
        assert_eq!(
            (late.frame_number, late.missed, late.events.len()),
            (1002, 0, EVENTS_WAITING_MAX)
        );
        for _ in 0..HANDOVERS_WAITING_MAX {
            handover.give(1003, 0, &mut events(1));
        }
        handover.give(1004, 0, &mut events(EVENTS_WAITING_MAX + 1));
        handover.give(1004, 0, &mut events(2));
        while let Ok(taken) = from.try_recv() {
            assert_eq!((taken.missed, taken.events.len()), (0, 1));
        }
        handover.give(1005, 0, &mut Packed::default());
        let late = from.try_recv().unwrap();
        assert_eq!((late.missed, late.events.len()), (EVENTS_WAITING_MAX as u64 + 1, 2));
    }
}
