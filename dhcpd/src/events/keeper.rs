//! The thread that writes the log: takes what the barrier hands over until nobody is left to hand over
//! anything.

use super::handover::Happened;
use super::limits::{GATHER_INTERVAL, HANDOVERS_WRITTEN_AT_ONCE, SYNC_INTERVAL};
use super::log::EventLog;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

/// See the module.
#[derive(Debug)]
pub struct Keeper {
    /// What is written.
    pub log: EventLog,
    /// Where it comes from.
    pub from: Receiver<Happened>,
}

impl Keeper {
    /// Works until the barrier's end is gone.
    pub fn run(self) {
        let Self { mut log, from } = self;
        let mut tended = Instant::now();
        loop {
            if tended.elapsed() >= SYNC_INTERVAL {
                tended = Instant::now();
                log.tend();
            }
            match from.recv_timeout(SYNC_INTERVAL) {
                Ok(mut happened) => {
                    for _ in 1..HANDOVERS_WRITTEN_AT_ONCE {
                        let Ok(mut next) = from.try_recv() else { break };
                        if next.missed > 0 {
                            // Their gap stands between them.
                            append(&mut log, std::mem::replace(&mut happened, next));
                            continue;
                        }
                        happened.frame_number = happened.frame_number.max(next.frame_number);
                        happened.events.append(&mut next.events);
                    }
                    append(&mut log, happened);
                    // What comes meanwhile is written at once, and nobody has to wake this thread for it.
                    std::thread::sleep(GATHER_INTERVAL);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return log.close(),
            }
        }
    }
}

fn append(log: &mut EventLog, happened: Happened) {
    let Happened { frame_number, missed, events } = happened;
    log.append(frame_number, missed, events);
}
