//! Where the barrier's results go in the daemon: to the sockets, the index, and the core.

use crate::commit::{HeldReply, Outlet};
use crate::decide::{self, Quiet, Told};
use crate::metrics::Metrics;
use crate::net::{Outgoing, Sender, Waker};
use crate::store::index::Index;
use std::sync::Arc;
use std::sync::mpsc;
use vestibule_core::{MessageType, Record, Sequence};

/// See the module.
pub(super) struct DaemonOutlet {
    pub(super) sender: Sender,
    pub(super) metrics: Arc<Metrics>,
    pub(super) told: mpsc::Sender<Told>,
    pub(super) waker: Waker,
    pub(super) index: Option<Arc<Index>>,
    pub(super) quiet: Quiet,
}

impl DaemonOutlet {
    fn to_core(&self, told: Told) {
        // A decide thread that is gone has nothing more to be told.
        let _gone = self.told.send(told);
        self.waker.wake();
    }
}

impl Outlet for DaemonOutlet {
    fn send(&mut self, replies: Vec<HeldReply>) {
        let batch: Vec<Outgoing<'_>> = replies
            .iter()
            .map(|reply| Outgoing {
                bytes: &reply.bytes,
                socket: reply.socket,
                source: reply.source,
                destination: reply.destination,
            })
            .collect();
        let kinds: Vec<MessageType> = replies.iter().map(|reply| reply.message_type).collect();
        decide::send(&self.sender, &batch, &kinds, &self.metrics, &mut self.quiet);
    }

    fn tell(&mut self, frame_number: u64, records: Vec<Record>) {
        if let Some(index) = &self.index {
            index.feed(frame_number, &records);
        }
    }

    fn committed(&mut self, through: Sequence) {
        self.to_core(Told::Committed(through));
    }

    fn gate_lost(&mut self) {
        self.to_core(Told::GateLost);
    }
}
