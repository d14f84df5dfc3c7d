//! nftables rules for a DHCP server that bring its replies to the load host, where no router can be told
//! that the test prefixes are there.
//!
//! A server answers a relay at `giaddr` and a renewing client at its own address. The rules rewrite the
//! destination of both to the load host: stateless, without connection tracking, in an `output` chain
//! of type `route`, so that the kernel looks for a route once more afterwards. A server with nothing but
//! a default route will do, and replies keep their source port 67.
//!
//! It promises that nothing else of the server's traffic is touched, and that removing the table undoes
//! everything. Stateful destination NAT does not do: all its connections end at one address and port,
//! so the kernel must change the source port of each but the first, finds one only below 512 for a port
//! below 512, and when those have run out drops the ACK: `sendto` fails with EPERM.

use clap::Args;
use ipnetwork::Ipv4Network;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Name of the table; removing it undoes everything.
pub const TABLE: &str = "vestibule_steer";
/// Prefixes in one set of rules, at most.
pub const PREFIXES_MAX: usize = 1024;

/// `vestibule-load steer`
#[derive(Clone, Debug, Args)]
pub struct Steer {
    /// The prefixes of the test's relays and clients. Nobody else may be in them.
    #[arg(long = "prefix", value_name = "PREFIX", required = true, value_delimiter = ',',
          num_args = 1..=PREFIXES_MAX)]
    pub prefixes: Vec<Ipv4Network>,
    /// The address of the load host, as the server reaches it.
    #[arg(long, value_name = "ADDRESS")]
    pub load_host: Ipv4Addr,
}

/// Why rules are not printed. Operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SteerError {
    /// The load host is in one of the prefixes: replies to it would be lost among those to clients.
    LoadHostInPrefix(Ipv4Network),
    /// The prefix has bits set beyond its length.
    NotANetwork(Ipv4Network),
    /// Two prefixes overlap.
    Overlap(Ipv4Network, Ipv4Network),
}

impl std::fmt::Display for SteerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LoadHostInPrefix(prefix) => write!(
                f,
                "--load-host is in {prefix}: give the load host an address outside the test's prefixes"
            ),
            Self::NotANetwork(prefix) => {
                write!(
                    f,
                    "{prefix} is an address in a network; do you mean {}/{}?",
                    prefix.network(),
                    prefix.prefix()
                )
            }
            Self::Overlap(one, other) => {
                write!(f, "{one} and {other} overlap: name only the larger one")
            }
        }
    }
}

impl std::error::Error for SteerError {}

/// The rules, as `nft -f -` reads them. Reading them twice leaves them as reading them once.
///
/// # Errors
/// A prefix is none, overlaps another one, or has the load host in it.
pub fn rules(steer: &Steer) -> Result<String, SteerError> {
    for (place, prefix) in steer.prefixes.iter().enumerate() {
        if prefix.ip() != prefix.network() {
            return Err(SteerError::NotANetwork(*prefix));
        }
        if prefix.contains(steer.load_host) {
            return Err(SteerError::LoadHostInPrefix(*prefix));
        }
        let overlaps = |other: &&Ipv4Network| other.overlaps(*prefix);
        if let Some(other) = steer.prefixes.iter().take(place).find(overlaps) {
            return Err(SteerError::Overlap(*other, *prefix));
        }
    }
    let prefixes: Vec<String> = steer.prefixes.iter().map(ToString::to_string).collect();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "# On the DHCP server: replies to the test's relays and clients go to the load host.\n\
         # Load: vestibule-load steer ... | nft -f -      Undo: nft delete table ip {TABLE}\n\
         table ip {TABLE}\n\
         delete table ip {TABLE}\n\
         table ip {TABLE} {{\n\
         \tchain output {{\n\
         \t\ttype route hook output priority raw; policy accept;\n\
         \t\tip daddr {{ {} }} udp sport 67 udp dport {{ 67, 68 }} notrack ip daddr set {}\n\
         \t}}\n\
         }}\n",
        prefixes.join(", "),
        steer.load_host
    );
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    fn steer(prefixes: &[&str]) -> Steer {
        Steer {
            prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
            load_host: Ipv4Addr::new(10, 0, 0, 5),
        }
    }

    #[test]
    fn every_prefix_is_steered_without_tracking() {
        let rules = rules(&steer(&["10.20.0.0/16", "10.21.0.0/16"])).unwrap();
        let line = "ip daddr { 10.20.0.0/16, 10.21.0.0/16 } udp sport 67 udp dport { 67, 68 } notrack \
                    ip daddr set 10.0.0.5\n";
        assert!(rules.contains(line), "{rules}");
    }

    #[test]
    fn prefixes_that_cannot_be_meant_are_refused() {
        for (prefixes, expected) in [
            (&["10.20.0.1/16"][..], "do you mean 10.20.0.0/16?"),
            (&["10.0.0.0/24"], "an address outside"),
            (&["10.20.0.0/16", "10.20.4.0/24"], "overlap"),
        ] {
            let error = rules(&steer(prefixes)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
