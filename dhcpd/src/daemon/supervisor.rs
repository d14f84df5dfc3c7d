//! What the service manager is told: that everything is served, that the server is ending, and that it
//! is alive (sd_notify(3)).
//!
//! It promises that `READY=1` is not said before the line `ready`, and that a sign of life goes out only
//! after the core answered a question, so a server whose decide thread stands still is restarted by its
//! watchdog. A slow disk or kernel alone does not get it killed: they keep ACKs waiting, and a restart
//! would not make them faster. Without a service manager nothing is said, and nothing is missing.

use crate::decide::Quiet;
use crate::door::{Door, DoorError};
use sd_notify::NotifyState;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::MissedTickBehavior;
use vestibule_core::Query;

/// Signs of life for each interval in which systemd wants one: the first may be late.
const SIGNS_PER_INTERVAL: u32 = 3;

/// Everything is served. Starts the signs of life, if they are wanted.
pub(super) fn ready(runtime: &Runtime, door: Door) {
    tell(&[NotifyState::Ready], &mut Quiet::default());
    if let Some(interval) = sd_notify::watchdog_enabled() {
        let mut quiet = Quiet::default();
        let sign = move || tell(&[NotifyState::Watchdog], &mut quiet);
        runtime.spawn(give_signs_of_life(interval / SIGNS_PER_INTERVAL, door, sign));
    }
}

/// Nothing more is taken in.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping], &mut Quiet::default());
}

/// Gives a sign each time that the core has answered, until the server ends.
async fn give_signs_of_life(every: Duration, door: Door, mut sign: impl FnMut()) {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // Any question will do; this one costs next to nothing.
        match door.query(Query::Lease(Ipv4Addr::UNSPECIFIED)).await {
            Ok(_) => sign(),
            // A queue of calls that stays full is no sign of life.
            Err(DoorError::Busy) => {}
            Err(DoorError::Closed) => return,
        }
    }
}

/// Does nothing where no service manager listens.
fn tell(state: &[NotifyState<'_>], quiet: &mut Quiet) {
    if let Err(error) = sd_notify::notify(state)
        && quiet.may_say("")
    {
        tracing::warn!(%error, "the service manager cannot be told how the server is; see NOTIFY_SOCKET");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::Call;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use vestibule_core::QueryAnswer;

    #[tokio::test]
    async fn only_an_answer_of_the_core_is_a_sign_of_life() {
        let (door, mut calls) = Door::new(Arc::new(|| {}));
        let signs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&signs);
        let sign = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let life = tokio::spawn(give_signs_of_life(Duration::from_millis(1), door, sign));
        let Some(Call::Query(_, held)) = calls.recv().await else { panic!("nothing was asked") };
        assert_eq!(signs.load(Ordering::Relaxed), 0, "nobody has answered");
        held.send(QueryAnswer::Lease(None)).expect("it waits");
        // It asks again only after it has given the sign.
        let Some(Call::Query(_, held)) = calls.recv().await else { panic!("not asked again") };
        assert_eq!(signs.load(Ordering::Relaxed), 1);
        drop((held, calls));
        life.await.expect("it ends with the server");
        assert_eq!(signs.load(Ordering::Relaxed), 1, "an end is no sign of life");
    }
}
