//! What goes to the partner: a bounded queue that belongs to one connection at a time.
//!
//! Who puts never waits. What belongs to a connection that is over is dropped; what a partner does not read
//! in time ends its connection, because a message that was left out would be missed by all that follow.

use super::super::codec::MESSAGE_LENGTH_MAX;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use vestibule_core::failover::{CloseReason, Message};

/// Messages that wait for the partner to read at most: more than four windows, so only a partner that
/// stands still fills it. Each is at most 2048 bytes.
pub const WAITING_TO_PARTNER_MAX: usize = 8192;

const _: () = assert!(WAITING_TO_PARTNER_MAX * MESSAGE_LENGTH_MAX <= 16 << 20);

/// Numbers the connections of one process, ascending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionNumber(pub u64);

impl ConnectionNumber {
    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One thing to be done with the partner's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToPartner {
    /// Which connection; nothing is done if it is over.
    pub connection: ConnectionNumber,
    /// What.
    pub errand: Errand,
}

/// See [`ToPartner`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Say this.
    Say(Message),
    /// Send what came before, then close.
    Close(CloseReason),
}

/// The queue. Cheap to clone; all clones are the same queue.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    put: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    connection: Option<ConnectionNumber>,
    errands: VecDeque<Errand>,
    overflowed: bool,
}

impl Outbound {
    /// Empty, with no connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts in, in order. Never waits.
    pub fn put(&self, errands: impl IntoIterator<Item = ToPartner>) {
        let mut queue = self.lock();
        for ToPartner { connection, errand } in errands {
            if queue.connection != Some(connection) || queue.overflowed {
                continue;
            }
            if queue.errands.len() >= WAITING_TO_PARTNER_MAX {
                queue.errands.clear();
                queue.overflowed = true;
            } else {
                queue.errands.push_back(errand);
            }
        }
        drop(queue);
        self.shared.put.notify_one();
    }

    /// Messages that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().errands.len()
    }

    /// From now on it belongs to this connection, and is empty.
    pub(super) fn begin(&self, connection: ConnectionNumber) {
        *self.lock() = Queue { connection: Some(connection), ..Queue::default() };
    }

    /// It belongs to no connection, and is empty.
    pub(super) fn end(&self) {
        *self.lock() = Queue::default();
    }

    /// Takes out up to `most`, waiting until there is something; `None` if more waited than may.
    pub(super) async fn take(&self, most: usize) -> Option<Vec<Errand>> {
        loop {
            {
                let mut queue = self.lock();
                if queue.overflowed {
                    return None;
                }
                if !queue.errands.is_empty() {
                    let count = queue.errands.len().min(most);
                    return Some(queue.errands.drain(..count).collect());
                }
            }
            // A put between the look and this is remembered.
            self.shared.put.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use vestibule_core::failover::Body;

    fn contact(connection: u64, xid: u32) -> ToPartner {
        let errand = Errand::Say(Message { time: 0, xid, body: Body::Contact });
        ToPartner { connection: ConnectionNumber(connection), errand }
    }

    #[tokio::test]
    async fn what_belongs_to_another_connection_is_dropped() {
        let outbound = Outbound::new();
        outbound.put([contact(1, 1)]);
        outbound.begin(ConnectionNumber(2));
        outbound.put([contact(1, 2), contact(2, 3), contact(2, 4), contact(3, 5)]);
        let taken = outbound.take(1).await.unwrap();
        assert_eq!(taken, [contact(2, 3).errand]);
        assert_eq!(outbound.take(10).await.unwrap(), [contact(2, 4).errand]);
        outbound.put([contact(2, 6)]);
        outbound.begin(ConnectionNumber(3));
        outbound.put([contact(3, 7)]);
        assert_eq!(outbound.take(10).await.unwrap(), [contact(3, 7).errand]);
    }

    #[tokio::test]
    async fn a_partner_that_does_not_read_costs_so_much_and_no_more() {
        let outbound = Outbound::new();
        outbound.begin(ConnectionNumber(1));
        outbound.put((0..).map(|xid| contact(1, xid)).take(WAITING_TO_PARTNER_MAX));
        assert_eq!(outbound.waiting(), WAITING_TO_PARTNER_MAX);
        outbound.put([contact(1, 0)]);
        assert_eq!(outbound.waiting(), 0);
        assert_eq!(outbound.take(10).await, None);
        // The next connection begins anew.
        outbound.begin(ConnectionNumber(2));
        outbound.put([contact(2, 1)]);
        assert_eq!(outbound.take(10).await.unwrap().len(), 1);
    }
}
