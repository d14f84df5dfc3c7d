//! The index as the daemon uses it: opened beside the store, asked by the API, rebuilt when it has to be.
//!
//! Nothing waits for it and nothing depends on it. If it cannot even be started, searches look through
//! the book.

use crate::api::{self, Search};
use crate::door::{Door, DoorError};
use crate::metrics::Metrics;
use crate::store::index::{Index, IndexOptions, IndexState, SearchKey, SourceLost, guard};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use vestibule_core::{Lease, LeaseFilter, LeaseView, Query, QueryAnswer};

/// The index's folder in the state directory.
const DIRECTORY: &str = "index";

/// Leases that the core is asked for at once.
const PAGE: usize = 256;

/// How often the index is asked whether it has to be rebuilt.
const REBUILD_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a search waits for the newest leases to get into the index.
const FRESH_TIME_MAX: Duration = Duration::from_millis(500);

/// Opens the index in the background; if it has to be made anew, then of what the core knows, which is
/// asked for through `door`. `frame_number`: how far the journal has come. `None` if not even that can be
/// done; the log says why.
pub(super) fn open(
    state_dir: &Path,
    frame_number: u64,
    door: Door,
    metrics: &Metrics,
) -> Option<Arc<Index>> {
    guard::install(state_dir);
    let panics = guard::recent_panics(state_dir);
    if panics >= guard::PANICS_PER_DAY_MAX {
        metrics.index_is_out(true);
        tracing::error!(
            note = %state_dir.join(guard::NOTE).display(),
            panics,
            "no index: its library panicked {panics} times within a day; searches look through all leases; delete the \
             note and start again to try it once more"
        );
        return None;
    }
    let opened = IndexOptions::with_this_program().and_then(|options| {
        let directory = state_dir.join(DIRECTORY);
        Index::open(&directory, options, frame_number, leases(door))
    });
    match opened {
        Ok(index) => Some(Arc::new(index)),
        Err(error) => {
            metrics.index_is_out(true);
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
        metrics.index_is_out(matches!(index.state(), IndexState::Failed(_)));
        let Some(ticket) = index.needs_rebuild() else { continue };
        if door.is_closed() {
            return;
        }
        metrics.index_rebuild();
        index.rebuild(ticket, leases(door.clone()));
    }
}

/// All leases that the core knows, ascending by address, a page at a time, as whoever makes the index
/// comes to them: not in memory twice, and no burden on the packets between two pages.
fn leases(door: Door) -> impl Iterator<Item = Result<Lease, SourceLost>> + Send {
    let mut page = Vec::new().into_iter();
    let mut after = None;
    let mut is_last = false;
    std::iter::from_fn(move || {
        loop {
            if let Some(view) = page.next() {
                let LeaseView { lease, .. } = view;
                return Some(Ok(lease));
            }
            if is_last {
                return None;
            }
            let query = Query::Leases { after, limit: PAGE, filter: LeaseFilter::All };
            match door.query_blocking(query) {
                Ok(QueryAnswer::Leases { leases, next }) => {
                    page = leases.into_iter();
                    after = next;
                    is_last = next.is_none();
                }
                // Busy is rare, and the index asks again later.
                Ok(_) | Err(DoorError::Busy | DoorError::Closed) => {
                    is_last = true;
                    return Some(Err(SourceLost));
                }
            }
        }
    })
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
