//! The index as the daemon uses it: opened beside the store, asked by the API, rebuilt when it has to be.
//!
//! Nothing waits for it and nothing depends on it. If it cannot even be started, searches look through
//! the book.

use crate::api::{self, Search};
use crate::door::{Door, DoorError};
use crate::metrics::Metrics;
use crate::store::Recovered;
use crate::store::index::{Index, IndexOptions, RebuildTicket, SearchKey};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use vestibule_core::{Lease, LeaseFilter, Query, QueryAnswer, Record, limits};

/// The index's folder in the state directory.
const DIRECTORY: &str = "index";

/// How often the index is asked whether it has to be rebuilt.
const REBUILD_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a search waits for the newest leases to get into the index.
const FRESH_TIME_MAX: Duration = Duration::from_millis(500);

/// Opens the index in the background. `None` if not even that can be done; the log says why.
pub(super) fn open(state_dir: &Path, recovered: &Recovered) -> Option<Arc<Index>> {
    let leases: Vec<Lease> = recovered
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Lease(lease) => Some(lease.clone()),
            _ => None,
        })
        .collect();
    let opened = IndexOptions::with_this_program().and_then(|options| {
        let directory = state_dir.join(DIRECTORY);
        Index::open(&directory, options, recovered.frame_number, leases.into_iter())
    });
    match opened {
        Ok(index) => Some(Arc::new(index)),
        Err(error) => {
            tracing::error!(%error, "no index: searches look through all leases until the next start");
            None
        }
    }
}

/// Rebuilds the index from the book whenever it asks for it.
pub(super) async fn keep_rebuilt(index: Arc<Index>, door: Door, metrics: Arc<Metrics>) {
    let mut interval = tokio::time::interval(REBUILD_CHECK_INTERVAL);
    loop {
        interval.tick().await;
        let Some(ticket) = index.needs_rebuild() else { continue };
        metrics.index_rebuild();
        match rebuild(&index, ticket, &door).await {
            Ok(()) | Err(DoorError::Busy) => {}
            Err(DoorError::Closed) => return,
        }
    }
}

async fn rebuild(index: &Index, ticket: RebuildTicket, door: &Door) -> Result<(), DoorError> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let limit = limits::QUERY_LEASES_MAX;
        let query = Query::Leases { after, limit, filter: LeaseFilter::All };
        let QueryAnswer::Leases { leases, next } = door.query(query).await? else {
            return Err(DoorError::Closed);
        };
        all.extend(leases.into_iter().map(|view| view.lease));
        after = next;
        if after.is_none() {
            break;
        }
    }
    index.rebuild(ticket, all.into_iter());
    Ok(())
}

/// The index as the API asks it.
pub(super) struct IndexSearch(pub(super) Arc<Index>);

impl Search for IndexSearch {
    fn search(&self, key: api::SearchKey, limit: usize) -> Option<Vec<Ipv4Addr>> {
        // Asked first: what is committed later is younger than this request.
        if !self.0.wait_until_fed(FRESH_TIME_MAX) {
            return None;
        }
        let key = match key {
            api::SearchKey::Hardware(hardware) => SearchKey::Hardware(hardware),
            api::SearchKey::HostName(name) => SearchKey::HostName(name.as_bytes().into()),
            api::SearchKey::Circuit(circuit) => SearchKey::Circuit(circuit),
        };
        match self.0.search(&key, limit) {
            Ok(hits) => Some(hits),
            Err(error) => {
                tracing::debug!(%error, "the index cannot say; looking through all leases");
                None
            }
        }
    }
}
