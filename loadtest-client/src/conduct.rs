//! How clients behave that do not do what RFC 2131 has, or more than it asks: the vocabulary of what a
//! campus sees, in one place.
//!
//! A scenario gives each kind a share of its clients under these names; the result has a row for each;
//! `docs/load-scenarios.md` explains them in the same words. It knows no state and no message: what a
//! kind does where is in [`crate::client`].

use serde::{Deserialize, Serialize};
use std::fmt;

/// A kind of client. Its name in scenarios and results is that of the variant in kebab-case.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Conduct {
    /// Does what RFC 2131 has.
    #[default]
    Orderly,
    /// Ignores T1 and T2: its lease runs out each time, and it begins from nothing.
    NeverRenews,
    /// Takes an offer, but then asks for the address behind the offered one, which may be anybody's.
    AsksUnoffered,
    /// Comes with the address of another network, as laptops from home do, and asks for it first.
    ComesFromHome,
    /// Like that, and does not heed a NAK: not then, and not when it renews.
    IgnoresNak,
    /// Repeats its message without back-off, with the same transaction identifier, and goes on with
    /// that when it has its ACK.
    Floods,
    /// Sends DISCOVERs, each with a new transaction identifier, and takes no offer.
    DiscoversOnly,
    /// Finds its first address in use, declines it, and is orderly from then on.
    DeclinesOnce,
    /// Finds every address in use and declines it.
    Declines,
    /// Orderly, and asks for more options with an INFORM when it has got its lease, as Windows does.
    Informs,
}

impl Conduct {
    /// All kinds, the orderly one first.
    pub const ALL: [Self; 10] = [
        Self::Orderly,
        Self::NeverRenews,
        Self::AsksUnoffered,
        Self::ComesFromHome,
        Self::IgnoresNak,
        Self::Floods,
        Self::DiscoversOnly,
        Self::DeclinesOnce,
        Self::Declines,
        Self::Informs,
    ];

    /// Its name, as in scenarios.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orderly => "orderly",
            Self::NeverRenews => "never-renews",
            Self::AsksUnoffered => "asks-unoffered",
            Self::ComesFromHome => "comes-from-home",
            Self::IgnoresNak => "ignores-nak",
            Self::Floods => "floods",
            Self::DiscoversOnly => "discovers-only",
            Self::DeclinesOnce => "declines-once",
            Self::Declines => "declines",
            Self::Informs => "informs",
        }
    }

    /// Whether a server serves it as it should: what it does not get is then a loss, and how long it
    /// waits a latency. Of the others, only what they send and get is counted, and what the ledger says.
    #[must_use]
    pub const fn is_sound(self) -> bool {
        matches!(self, Self::Orderly | Self::Informs)
    }

    /// Whether it first asks for an address of another network.
    #[must_use]
    pub const fn is_from_elsewhere(self) -> bool {
        matches!(self, Self::ComesFromHome | Self::IgnoresNak)
    }
}

impl fmt::Display for Conduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What clients of one kind did and got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConductRow {
    /// The kind.
    pub conduct: Conduct,
    /// Clients of it.
    pub clients: u64,
    /// Messages that they sent. One message counts once, also if it went to two servers.
    pub sent: u64,
    /// Replies that were for the exchange that they were in.
    pub answered: u64,
    /// ACKs among them.
    pub acknowledged: u64,
    /// NAKs among them.
    pub refused: u64,
    /// Leases that they let run out.
    pub expired: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_that_of_files() {
        for conduct in Conduct::ALL {
            assert_eq!(serde_json::to_string(&conduct).unwrap(), format!("\"{conduct}\""));
        }
        let mut sorted = Conduct::ALL;
        sorted.sort_unstable();
        assert_eq!(sorted, Conduct::ALL, "a row for each, at its place");
    }
}
