//! Prefixes as ranges of addresses that neither overlap nor touch: what the kernel's sets of ranges take.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use ipnetwork::{Ipv4Network, Ipv6Network};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The first address of a range, and the one after its last; `None`: it ends with the last there is.
pub(crate) type Range = (IpAddr, Option<IpAddr>);

/// The ranges of these prefixes.
pub(crate) fn merged_ipv4(prefixes: &[Ipv4Network]) -> Vec<Range> {
    let bound = |address: Ipv4Addr| u128::from(address.to_bits());
    let bounds = prefixes.iter().map(|p| (bound(p.network()), bound(p.broadcast()))).collect();
    let address = |bits| Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into();
    merged(bounds, u32::MAX.into(), address)
}

/// The ranges of these prefixes.
pub(crate) fn merged_ipv6(prefixes: &[Ipv6Network]) -> Vec<Range> {
    let bounds = prefixes.iter().map(|p| (p.network().to_bits(), p.broadcast().to_bits()));
    merged(bounds.collect(), u128::MAX, |bits| Ipv6Addr::from_bits(bits).into())
}

/// Ranges that neither overlap nor touch, ascending, out of first and last addresses.
fn merged(
    mut bounds: Vec<(u128, u128)>,
    address_last: u128,
    address: impl Fn(u128) -> IpAddr,
) -> Vec<Range> {
    bounds.sort_unstable();
    let mut result: Vec<(u128, u128)> = Vec::with_capacity(bounds.len());
    for (first, last) in bounds {
        match result.last_mut() {
            Some((_, previous)) if first <= previous.saturating_add(1) => {
                *previous = last.max(*previous);
            }
            _ => result.push((first, last)),
        }
    }
    let end = |last| (last < address_last).then(|| address(last + 1));
    result.into_iter().map(|(first, last)| (address(first), end(last))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn ranges(prefixes: &[&str]) -> Vec<(String, Option<String>)> {
        let prefixes: Vec<Ipv4Network> =
            prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
        merged_ipv4(&prefixes)
            .into_iter()
            .map(|(first, end)| (first.to_string(), end.map(|end| end.to_string())))
            .collect()
    }

    #[test]
    fn prefixes_become_ranges_that_never_touch() {
        let range = |first: &str, end: &str| (first.to_owned(), Some(end.to_owned()));
        assert_eq!(ranges(&[]), []);
        assert_eq!(
            ranges(&["10.1.0.0/24", "10.0.0.0/16", "10.0.3.0/24", "10.1.1.0/24", "192.0.2.7/32"]),
            [range("10.0.0.0", "10.1.2.0"), range("192.0.2.7", "192.0.2.8")],
        );
        assert_eq!(ranges(&["0.0.0.0/0", "10.0.0.0/8"]), [("0.0.0.0".to_owned(), None)]);
        assert_eq!(ranges(&["240.0.0.0/4"]), [("240.0.0.0".to_owned(), None)]);
    }
}
