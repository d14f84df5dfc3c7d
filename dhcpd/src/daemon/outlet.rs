//! Where the barrier's results go in the daemon: to the sockets, the index, the gate feed, and the core.

use crate::commit::{Envelope, Outlet, Work};
use crate::decide::{self, Quiet, Told};
use crate::events::{Handover, Packed};
use crate::exchange::ExchangeNews;
use crate::failover::{Outbound, ToPartner};
use crate::feed::Feed;
use crate::history::History;
use crate::metrics::Metrics;
use crate::net::{Outgoing, Sender};
use crate::store::index::Index;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;
use vestibule_core::{GateChange, Record, Sequence};

/// See the module.
pub(super) struct DaemonOutlet {
    pub(super) sender: Sender,
    pub(super) metrics: Arc<Metrics>,
    pub(super) told: Arc<Told>,
    pub(super) spent: SyncSender<Work>,
    pub(super) index: Option<Arc<Index>>,
    /// `None`: none is kept.
    pub(super) history: Option<Arc<History>>,
    pub(super) events: Handover,
    /// `None`: there is no gate.
    pub(super) feed: Option<Arc<Feed>>,
    /// `None`: there is no failover partner.
    pub(super) partner: Option<Outbound>,
    /// `None`: registrations are not exchanged.
    pub(super) exchange: Option<Arc<ExchangeNews>>,
    pub(super) quiet: Quiet,
}

impl Outlet for DaemonOutlet {
    fn send(&mut self, replies: &[(Envelope, Outgoing<'_>)]) {
        decide::send(&self.sender, replies, &self.metrics, &mut self.quiet);
    }

    fn tell(&mut self, frame_number: u64, records: &[Record]) {
        if let Some(index) = &self.index {
            index.feed(frame_number, records);
        }
        if let Some(history) = &self.history {
            history.tell(frame_number);
        }
        if let Some(news) = &self.exchange {
            news.committed(records);
        }
    }

    fn happened(&mut self, frame_number: u64, missed: u64, events: &mut Packed) {
        self.events.give(frame_number, missed, events);
    }

    fn tell_gate(
        &mut self,
        decided: Instant,
        now: Instant,
        changes: &mut dyn Iterator<Item = GateChange>,
    ) {
        if let Some(feed) = &self.feed {
            feed.publish(decided, now, changes);
        }
    }

    fn tell_partner(&mut self, errands: &mut dyn Iterator<Item = ToPartner>) {
        if let Some(partner) = &self.partner {
            partner.put(errands);
        }
    }

    fn committed(&mut self, through: Sequence) {
        self.told.committed(through);
    }

    fn gate_lost(&mut self) {
        self.told.gate_lost();
    }

    fn give_back(&mut self, spent: Work) {
        // There are enough of them already, or the decide thread is gone.
        let _not_needed = self.spent.try_send(spent);
    }
}
