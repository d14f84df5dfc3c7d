//! Which client is of which kind.
//!
//! It promises that the kinds have their shares among any run of consecutive clients, to one client
//! or so, and that a client's kind follows from its number alone.

use crate::conduct::Conduct;

/// The golden ratio's part of 2^32: multiples of it spread evenly.
const SPREAD: u32 = 0x9e37_79b9;
const WHOLE: f64 = 4_294_967_296.0;

/// Shares of the kinds; whoever is in none is orderly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mix {
    /// Kinds with the places below which they are, ascending.
    below: Vec<(u32, Conduct)>,
}

impl Mix {
    /// Of shares in per cent; what goes beyond a hundred in sum is left out.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the range of an u32"
    )]
    pub fn of_percent(shares: impl IntoIterator<Item = (Conduct, f64)>) -> Self {
        let mut sum = 0.0;
        let below = shares
            .into_iter()
            .map(|(conduct, percent)| {
                sum += percent / 100.0 * WHOLE;
                (sum.clamp(0.0, WHOLE - 1.0) as u32, conduct)
            })
            .collect();
        Self { below }
    }

    /// What kind a client is.
    #[must_use]
    pub fn of_client(&self, number: u32) -> Conduct {
        let place = place(number);
        let found = self.below.iter().find(|(below, _)| place < *below);
        found.map_or(Conduct::Orderly, |(_, conduct)| *conduct)
    }

    /// Whether there are clients of a kind.
    #[must_use]
    pub fn has(&self, conduct: Conduct) -> bool {
        self.below.iter().any(|(_, known)| *known == conduct)
    }
}

/// Whether a client is among so many of a hundred.
pub(super) fn is_among(number: u32, percent: f64) -> bool {
    f64::from(place(number)) < percent / 100.0 * WHOLE
}

const fn place(number: u32) -> u32 {
    number.wrapping_mul(SPREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_share() {
        let mix = Mix::of_percent([(Conduct::Floods, 2.0), (Conduct::Declines, 10.0)]);
        for first in [0, 5000] {
            let count = |conduct| {
                (first..first + 1000).filter(|number| mix.of_client(*number) == conduct).count()
            };
            assert!(count(Conduct::Floods).abs_diff(20) <= 2, "{}", count(Conduct::Floods));
            assert!(count(Conduct::Declines).abs_diff(100) <= 3, "{}", count(Conduct::Declines));
            assert!(count(Conduct::Orderly).abs_diff(880) <= 4, "{}", count(Conduct::Orderly));
        }
        assert!(mix.has(Conduct::Floods) && !mix.has(Conduct::Informs));
        assert_eq!(Mix::default().of_client(0), Conduct::Orderly);
        assert_eq!((0..1000).filter(|number| is_among(*number, 10.0)).count().abs_diff(100) / 4, 0);
        assert!((0..1000).all(|number| is_among(number, 100.0) && !is_among(number, 0.0)));
        let all = Mix::of_percent([(Conduct::Declines, 100.0)]);
        assert_eq!((0..1000).filter(|n| all.of_client(*n) == Conduct::Declines).count(), 1000);
    }
}
