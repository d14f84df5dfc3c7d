//! Events and webhooks as the daemon has them: opened beside the store, written by a thread of their own.

use super::{StartError, spawn};
use crate::events::{EventLog, Events, Handover, Keeper, Packed, Retention, handover};
use crate::metrics::Metrics;
use crate::webhook::{Courier, Webhook, Webhooks};
use std::sync::Arc;
use std::thread::JoinHandle;
use vestibule_config::Vestibule;
use vestibule_config::limits::EVENTS_RETAINED_MAX;
use vestibule_core::Announcements;

/// The log's folder in the state directory; the places of webhooks are in it too.
const DIRECTORY: &str = "events";

/// See the module.
pub(super) struct Telling {
    log: EventLog,
    couriers: Vec<Courier>,
    webhooks: Webhooks,
}

/// When the core makes events that nobody caused.
pub(super) fn announcements(vestibule: &Vestibule) -> Announcements {
    Announcements {
        expiring_ahead_seconds: vestibule.events.expiring_ahead_seconds,
        pool_low_percent: vestibule.events.pool_low_percent,
    }
}

impl Telling {
    /// Opens the log. `frame_number`: the journal's last durable frame of the life before.
    pub(super) fn open(
        vestibule: &Vestibule,
        frame_number: u64,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let directory = vestibule.server.state_dir.join(DIRECTORY);
        let retention =
            Retention { bytes: vestibule.events.retention_bytes, events: EVENTS_RETAINED_MAX };
        let server = &vestibule.server.name;
        let metrics_of_log = Arc::clone(metrics);
        let log = EventLog::open(&directory, retention, server, frame_number, metrics_of_log)
            .map_err(StartError::EventLog)?;
        let mut webhooks = Vec::new();
        for section in &vestibule.webhooks {
            let failed = |error: String| StartError::Webhook(section.name.clone(), error);
            let secret = section.read_secret().map_err(|error| failed(error.to_string()))?;
            let webhook = Webhook::new(section.clone(), secret);
            webhooks.push(webhook.map_err(|error| failed(error.to_string()))?);
        }
        let (couriers, webhooks) =
            Courier::all(webhooks, server, &log.events(), &directory, metrics)
                .map_err(|error| StartError::Webhook(DIRECTORY.into(), error.to_string()))?;
        Ok(Self { log, couriers, webhooks })
    }

    pub(super) fn events(&self) -> Events {
        self.log.events()
    }

    pub(super) fn webhooks(&self) -> Webhooks {
        self.webhooks.clone()
    }

    /// Begins to write and to bring. `frame_number`: the journal's last durable frame now.
    pub(super) fn start(
        self,
        frame_number: u64,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<(Handover, JoinHandle<()>), StartError> {
        for courier in self.couriers {
            runtime.spawn(courier.run());
        }
        let (mut handover, from) = handover();
        handover.give(frame_number, 0, &mut Packed::default());
        let keeper = Keeper { log: self.log, from };
        Ok((handover, spawn("events", move || keeper.run())?))
    }
}
