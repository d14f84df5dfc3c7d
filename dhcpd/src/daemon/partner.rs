//! The failover link in the daemon: opened before the store, run when the core can hear of it.

use super::error::StartError;
use crate::failover::{
    FromPartner, Link, LinkCounts, LinkPlan, Outbound, WAITING_FROM_PARTNER_MAX,
};
use crate::net::Waker;
use std::sync::Arc;
use tokio::sync::mpsc;
use vestibule_config::Failover;

/// A link that is not running yet.
pub(super) struct PartnerLink(Link);

/// Its ends: what it brings, and what goes to it.
pub(super) struct PartnerEnds {
    pub(super) inbox: mpsc::Receiver<FromPartner>,
    pub(super) outbound: Outbound,
}

impl PartnerLink {
    /// Listens for the partner, if there is one.
    pub(super) async fn open(failover: Option<&Failover>) -> Result<Option<Self>, StartError> {
        let Some(failover) = failover else { return Ok(None) };
        let plan = LinkPlan { role: failover.role, address: failover.address, peer: failover.peer };
        Link::open(plan).await.map(|link| Some(Self(link))).map_err(StartError::Failover)
    }

    /// Runs it. It ends with the receiver of what it brings.
    pub(super) fn start(
        self,
        runtime: &tokio::runtime::Runtime,
        counts: Arc<LinkCounts>,
        waker: Waker,
    ) -> PartnerEnds {
        let (sender, inbox) = mpsc::channel(WAITING_FROM_PARTNER_MAX);
        let outbound = Outbound::new();
        let wake = Arc::new(move || waker.wake());
        runtime.spawn(self.0.run(sender, outbound.clone(), counts, wake));
        PartnerEnds { inbox, outbound }
    }
}
