//! `captive.listen` as the daemon runs it: opened before anything is served, with its certificate, whose
//! files are looked at now and then.

use super::{StartError, until_gone};
use crate::api::serve_captive_until_stopped;
use crate::api::{ApiState, CERTIFICATE_LOOK_INTERVAL, Certificate, Listener};
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vestibule_config::Captive;

/// The listener, and what it speaks TLS with.
pub(super) struct CaptiveListener {
    listener: Listener,
    certificate: Option<Arc<Certificate>>,
}

impl CaptiveListener {
    /// Opens it; `None` if the configuration has none.
    pub(super) async fn open(captive: Option<&Captive>) -> Result<Option<Self>, StartError> {
        let Some((captive, listen)) =
            captive.and_then(|captive| captive.listen.map(|listen| (captive, listen)))
        else {
            return Ok(None);
        };
        let certificate = match &captive.tls {
            Some(files) => {
                let loaded = Certificate::load(files.clone(), captive.host_name.as_deref());
                Some(Arc::new(loaded.map_err(StartError::Certificate)?))
            }
            None => None,
        };
        let listener = Listener::bind_captive(listen).await.map_err(StartError::Api)?;
        Ok(Some(Self { listener, certificate }))
    }

    /// Serves until the sender of `stopped` is gone; the task is put with the `others`.
    pub(super) fn start(
        self,
        runtime: &Runtime,
        state: ApiState,
        stopped: watch::Receiver<()>,
        others: &mut Vec<JoinHandle<()>>,
    ) {
        let Self { listener, certificate } = self;
        if let Some(certificate) = &certificate {
            runtime.spawn(look_after(Arc::clone(certificate)));
        }
        let stop = until_gone(stopped);
        others.push(runtime.spawn(serve_captive_until_stopped(listener, certificate, state, stop)));
    }
}

/// Looks at a certificate's files now and then.
pub(super) async fn look_after(certificate: Arc<Certificate>) {
    let mut interval = tokio::time::interval(CERTIFICATE_LOOK_INTERVAL);
    loop {
        interval.tick().await;
        let certificate = Arc::clone(&certificate);
        // A disk may be slow. A look that panicked is a defect, and the next one shows it again.
        let _looked = tokio::task::spawn_blocking(move || certificate.look_again()).await;
    }
}
