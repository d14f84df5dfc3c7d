//! The built-in portal as the daemon runs it: its files read and its addresses opened before anything is
//! served.

use super::{StartError, captive};
use crate::api::{ApiState, Certificate, Listener, serve_portal_until_stopped};
use crate::clock::Clock;
use crate::portal::Portal;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vestibule_config::Vestibule;

/// The portal's addresses, and what it speaks TLS with.
pub(super) struct PortalListeners {
    listeners: Vec<(Listener, Option<Arc<Certificate>>)>,
}

impl PortalListeners {
    /// Opens them; `None` if the site has its own portal.
    pub(super) async fn open(vestibule: &Vestibule) -> Result<Option<Self>, StartError> {
        let Some(portal) = &vestibule.builtin_portal else { return Ok(None) };
        let host_name =
            vestibule.gate.portal.as_ref().and_then(|portal| portal.host_name.as_deref());
        let certificate = match &portal.tls {
            Some(files) => {
                let loaded = Certificate::load(files.clone(), host_name);
                Some(Arc::new(loaded.map_err(StartError::Certificate)?))
            }
            None => None,
        };
        let mut listeners = Vec::new();
        for address in &portal.listen {
            listeners.push((Listener::bind_portal(*address).await.map_err(StartError::Api)?, None));
        }
        for address in &portal.tls_listen {
            let listener = Listener::bind_portal(*address).await.map_err(StartError::Api)?;
            listeners.push((listener, certificate.clone()));
        }
        Ok(Some(Self { listeners }))
    }

    /// Serves until the sender of `stopped` is gone; the task is put with the `others`.
    pub(super) fn start(
        self,
        runtime: &Runtime,
        portal: Portal,
        state: ApiState,
        stopped: watch::Receiver<()>,
        others: &mut Vec<JoinHandle<()>>,
    ) {
        // All of them have the same one.
        let certificate = self.listeners.iter().find_map(|(_, certificate)| certificate.clone());
        if let Some(certificate) = certificate {
            runtime.spawn(captive::look_after(certificate));
        }
        let (listeners, portal) = (self.listeners, Arc::new(portal));
        others.push(runtime.spawn(serve_portal_until_stopped(listeners, portal, state, stopped)));
    }
}

/// The portal itself, by the time of the leases.
pub(super) fn portal(vestibule: &Vestibule, clock: Clock) -> Result<Option<Portal>, StartError> {
    Portal::new(vestibule, Arc::new(move || clock.now())).map_err(StartError::Portal)
}
