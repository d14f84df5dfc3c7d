//! `captive.listen` and `api.tls-listen` as the daemon runs them: opened before anything is served, with
//! their certificates, whose files are looked at now and then.

use super::{StartError, until_gone};
use crate::api::serve_captive_until_stopped;
use crate::api::{ApiState, CERTIFICATE_LOOK_INTERVAL, Certificate, Listener};
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vestibule_config::{ApiTls, Captive};

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

/// `api.tls-listen`, opened, with its certificate.
pub(super) struct TlsListener {
    listener: Listener,
    certificate: Arc<Certificate>,
}

impl TlsListener {
    /// Opens it; `None` if the configuration has none.
    pub(super) async fn open(tls: Option<&ApiTls>) -> Result<Option<Self>, StartError> {
        let Some(ApiTls { listen, files }) = tls else { return Ok(None) };
        let loaded = Certificate::load(files.clone(), None).map_err(StartError::Certificate)?;
        let listener = Listener::bind_tls(*listen).await.map_err(StartError::Api)?;
        Ok(Some(Self { listener, certificate: Arc::new(loaded) }))
    }

    /// The same, with its files looked at from now on.
    pub(super) fn watched(self, runtime: &Runtime) -> (Listener, Arc<Certificate>) {
        runtime.spawn(look_after(Arc::clone(&self.certificate)));
        (self.listener, self.certificate)
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
