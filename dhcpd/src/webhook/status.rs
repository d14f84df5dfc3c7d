//! How a webhook goes, as `GET /v1/webhooks` shows it.

use serde::{Deserialize, Serialize};

/// See the module. Also what `vestibule webhooks status` reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WebhookStatus {
    /// Its name.
    pub name: String,
    /// Where it sends.
    pub url: String,
    /// The kinds of events that it sends; empty: all.
    pub events: Vec<String>,
    /// The last event that the receiver has taken, or that needed no sending.
    pub cursor: u64,
    /// How many ids the newest event is ahead of that.
    pub behind: u64,
    /// Events that the receiver has taken since the server started.
    pub delivered: u64,
    /// Attempts that failed since the server started.
    pub failures: u64,
    /// Attempts that failed since the last one that did not.
    pub failures_in_a_row: u64,
    /// Ids that were passed over because the log keeps them no more, since the server started.
    pub dropped: u64,
    /// When the receiver last took something.
    pub last_success: Option<String>,
    /// Why the last failed attempt failed.
    pub last_error: Option<String>,
}
