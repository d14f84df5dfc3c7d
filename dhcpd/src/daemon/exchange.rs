//! The exchange of registrations in the daemon: made ready before the store is opened, run when the core can be
//! asked.

use super::error::StartError;
use crate::api::ExchangeFeed;
use crate::door::Door;
use crate::exchange::{ExchangeCounts, ExchangeNews, Follow};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use tokio::runtime::Runtime;
use vestibule_config::Failover;
use vestibule_core::failover::Role;
use vestibule_firewall::source::Source;

/// An exchange that is not running yet.
pub(super) struct Exchange {
    source: Source,
    pair: Box<str>,
    role: Role,
    news: Arc<ExchangeNews>,
}

impl Exchange {
    /// Reads token and authorities, if registrations are exchanged.
    pub(super) fn open(failover: Option<&Failover>) -> Result<Option<Self>, StartError> {
        let Some(failover) = failover else { return Ok(None) };
        let Some(partner) = &failover.registrations else { return Ok(None) };
        let token =
            partner.read_token().map_err(|error| StartError::Exchange(error.to_string()))?;
        let source = Source::new(partner, token);
        let source = source.map_err(|error| StartError::Exchange(error.to_string()))?;
        let news = Arc::new(ExchangeNews::new(RandomState::new().hash_one(())));
        Ok(Some(Self { source, pair: failover.relationship.clone(), role: failover.role, news }))
    }

    /// Where the barrier says what is durable.
    pub(super) fn news(&self) -> Arc<ExchangeNews> {
        Arc::clone(&self.news)
    }

    /// What the API tells the partner from.
    pub(super) fn feed(&self) -> ExchangeFeed {
        ExchangeFeed { news: self.news(), pair: self.pair.clone(), role: self.role }
    }

    /// Follows the partner. It ends with the core.
    pub(super) fn start(self, runtime: &Runtime, door: Door, counts: Arc<ExchangeCounts>) {
        let Self { source, pair, role, .. } = self;
        runtime.spawn(Follow { source, pair, role, door, counts }.run());
    }
}
