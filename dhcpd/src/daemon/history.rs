//! The history as the daemon has it: opened beside the store, fed by the journal, asked by the API.

use crate::clock::Clock;
use crate::door::{Door, DoorError};
use crate::history::{self, Book, History, Policy};
use std::sync::Arc;
use vestibule_config::Vestibule;
use vestibule_core::{LeaseFilter, Query, QueryAnswer, Record};

/// Leases or registrations that the core is asked for at once.
const PAGE: usize = 256;

/// Begins to follow the journal, from `frame_number` on at the latest. `None` if the configuration wants
/// no history, or if no thread can be had; the log says so.
pub(super) fn open(
    vestibule: &Vestibule,
    clock: Clock,
    frame_number: u64,
    door: Door,
) -> Option<Arc<History>> {
    let state_dir = &vestibule.server.state_dir;
    if vestibule.history.keep_days == 0 {
        match history::remove(state_dir) {
            Ok(false) => {}
            Ok(true) => tracing::info!("`history.keep-days` is 0: the history is removed"),
            Err(error) => {
                tracing::error!(%error, "the history is not wanted, and cannot be removed");
            }
        }
        return None;
    }
    let policy = Policy::new(&vestibule.history);
    let networks = history::networks(&vestibule.core);
    match History::start(state_dir, policy, networks, clock, frame_number, book(door)) {
        Ok(history) => Some(Arc::new(history)),
        Err(error) => {
            tracing::error!(%error, "no history until the next start");
            None
        }
    }
}

/// Everything that the core knows, a page at a time; `None` in it: the core does not answer.
fn book(door: Door) -> Book {
    Box::new(move || {
        let leases = pages(
            door.clone(),
            Query::Leases { after: None, limit: PAGE, filter: LeaseFilter::All },
        );
        let registrations =
            pages(door.clone(), Query::Registrations { after: None, limit: PAGE, owner: None });
        Box::new(leases.chain(registrations))
    })
}

fn pages(door: Door, first: Query) -> impl Iterator<Item = Option<Record>> {
    let mut next = Some(first);
    let pages = std::iter::from_fn(move || {
        let query = next.take()?;
        let (records, following): (Vec<Option<Record>>, _) = match door.query_blocking(query) {
            Ok(QueryAnswer::Leases { leases, next }) => (
                leases.into_iter().map(|view| Some(Record::Lease(view.lease))).collect(),
                next.map(|after| Query::Leases {
                    after: Some(after),
                    limit: PAGE,
                    filter: LeaseFilter::All,
                }),
            ),
            Ok(QueryAnswer::Registrations { registrations, next }) => (
                registrations
                    .into_iter()
                    .map(|view| Some(Record::Registration(view.registration)))
                    .collect(),
                next.map(|after| Query::Registrations {
                    after: Some(after),
                    limit: PAGE,
                    owner: None,
                }),
            ),
            // Busy is rare, and the history asks again later.
            Ok(_) | Err(DoorError::Busy | DoorError::Closed) => (vec![None], None),
        };
        next = following;
        Some(records)
    });
    pages.flatten()
}
