//! For whom a proxy asks: `X-Forwarded-For`, or `Forwarded` (RFC 7239).
//!
//! Each proxy on the way puts the address that it was asked from at the end, so a list is believed from
//! its end on, as far as trusted proxies wrote it: the first address from there that is no trusted
//! proxy's is the caller. What stands before it is what a stranger wrote. An end that cannot be read is
//! an error, never skipped.

use axum::http::{HeaderMap, HeaderName, header};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use vestibule_config::ProxyHeader;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Why it does not say for whom it asks. The proxy's operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForwardedError {
    /// The header is not there.
    Missing,
    /// It holds what is no address where one is needed.
    Unreadable,
}

impl fmt::Display for ForwardedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "does not say for whom it asks",
            Self::Unreadable => "says for whom it asks in a way that cannot be read",
        })
    }
}

/// The caller, by the header of a request from a trusted proxy.
pub(super) fn caller(
    headers: &HeaderMap,
    header: ProxyHeader,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Result<IpAddr, ForwardedError> {
    let name = match header {
        ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
        ProxyHeader::Forwarded => header::FORWARDED,
    };
    let mut farthest = None;
    // Several lines of one header are one list (RFC 9110 section 5.3).
    for line in headers.get_all(name).iter().rev() {
        let line = line.to_str().map_err(|_| ForwardedError::Unreadable)?;
        let entries = match header {
            ProxyHeader::XForwardedFor => line.split(',').map(str::trim).collect(),
            ProxyHeader::Forwarded => split(line, ',')?,
        };
        for entry in entries.into_iter().rev() {
            let address = match header {
                ProxyHeader::XForwardedFor => address(entry),
                ProxyHeader::Forwarded => node(entry),
            };
            let address = address.ok_or(ForwardedError::Unreadable)?;
            if !is_trusted(address) {
                return Ok(address);
            }
            farthest = Some(address);
        }
    }
    farthest.ok_or(ForwardedError::Missing)
}

/// The parts between separators that are not in quotation marks, without white space around them.
fn split(text: &str, separator: char) -> Result<Vec<&str>, ForwardedError> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text
        .split(|c: char| {
            if escaped {
                escaped = false;
            } else if quoted && c == '\\' {
                escaped = true;
            } else if c == '"' {
                quoted = !quoted;
            }
            c == separator && !quoted
        })
        .map(str::trim)
        .collect();
    if quoted { Err(ForwardedError::Unreadable) } else { Ok(parts) }
}

/// The `for` of one element of `Forwarded`.
fn node(element: &str) -> Option<IpAddr> {
    let pairs = split(element, ';').ok()?;
    let mut nodes = pairs.iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim_end().eq_ignore_ascii_case("for").then_some(value.trim_start())
    });
    let value = nodes.next()?;
    if nodes.next().is_some() {
        return None;
    }
    // No address needs a backslash in it.
    let value = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    address(value)
}

/// An address, with or without a port, an IPv6 one with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let without_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| without_brackets().map(IpAddr::V6))
        .map(|address| address.to_canonical())
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    fn of(header: ProxyHeader, lines: &[&str]) -> Result<String, ForwardedError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let name = match header {
                ProxyHeader::XForwardedFor => "x-forwarded-for",
                ProxyHeader::Forwarded => "forwarded",
            };
            headers.append(name, HeaderValue::from_str(line).expect("a value"));
        }
        let is_trusted = |address: IpAddr| address.to_string().starts_with("10.0.0.");
        caller(&headers, header, is_trusted).map(|address| address.to_string())
    }

    #[test]
    fn the_nearest_address_that_is_no_proxy_is_believed() {
        use ForwardedError::{Missing, Unreadable};
        #[rustfmt::skip]
        let table: &[(&[&str], Result<&str, ForwardedError>)] = &[
            (&["10.20.0.17"],                              Ok("10.20.0.17")),
            (&["10.20.0.17:51234"],                        Ok("10.20.0.17")),
            (&["::ffff:10.20.0.17"],                       Ok("10.20.0.17")),
            (&["2001:db8::1"],                             Ok("2001:db8::1")),
            (&["[2001:db8::1]"],                           Ok("2001:db8::1")),
            (&["[2001:db8::1]:443"],                       Ok("2001:db8::1")),
            // What the device itself wrote stands first, and counts for nothing.
            (&["10.20.0.99, 10.20.0.17"],                  Ok("10.20.0.17")),
            (&["unknown, 10.20.0.17"],                     Ok("10.20.0.17")),
            (&["10.20.0.99", "10.20.0.17"],                Ok("10.20.0.17")),
            (&["10.20.0.99,10.20.0.17,10.0.0.80"],         Ok("10.20.0.17")),
            (&["10.20.0.99,10.20.0.17", "10.0.0.80"],      Ok("10.20.0.17")),
            (&["10.0.0.81, 10.0.0.80"],                    Ok("10.0.0.81")),
            (&[],                                          Err(Missing)),
            (&[""],                                        Err(Unreadable)),
            (&["10.20.0.17,"],                             Err(Unreadable)),
            (&["10.20.0.17, unknown"],                     Err(Unreadable)),
            (&["10.20.0.17, unknown, 10.0.0.80"],          Err(Unreadable)),
            (&["10.20.0.300"],                             Err(Unreadable)),
            (&["phone.example"],                           Err(Unreadable)),
        ];
        for (lines, expected) in table {
            let expected = expected.map(str::to_owned);
            assert_eq!(of(ProxyHeader::XForwardedFor, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn elements_of_forwarded_are_read_by_rfc_7239() {
        use ForwardedError::{Missing, Unreadable};
        #[rustfmt::skip]
        let table: &[(&[&str], Result<&str, ForwardedError>)] = &[
            (&["for=10.20.0.17"],                                      Ok("10.20.0.17")),
            (&["For=\"10.20.0.17:4711\""],                             Ok("10.20.0.17")),
            (&["for=\"[2001:db8::17]:4711\""],                         Ok("2001:db8::17")),
            (&["proto=https;for=10.20.0.17;by=10.0.0.80"],             Ok("10.20.0.17")),
            (&["for=10.20.0.99, for=10.20.0.17;host=\"a,b;for=1.1.1.1\""], Ok("10.20.0.17")),
            (&["for=10.20.0.17, for=10.0.0.80"],                       Ok("10.20.0.17")),
            (&["for=\"\\\"\", for=10.20.0.17"],                        Ok("10.20.0.17")),
            (&[],                                                      Err(Missing)),
            (&["by=10.0.0.80"],                                        Err(Unreadable)),
            (&["for=unknown"],                                         Err(Unreadable)),
            (&["for=_hidden"],                                         Err(Unreadable)),
            (&["for=10.20.0.17;for=10.20.0.99"],                       Err(Unreadable)),
            (&["for=\"10.20.0.17"],                                    Err(Unreadable)),
            (&["10.20.0.17"],                                          Err(Unreadable)),
        ];
        for (lines, expected) in table {
            let expected = expected.map(str::to_owned);
            assert_eq!(of(ProxyHeader::Forwarded, lines), expected, "{lines:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(8908), ..ProptestConfig::default() })]

        /// Whatever a device writes in front, a proxy's own word at the end wins.
        #[test]
        fn nothing_in_front_changes_the_caller(front in "[ -~]{0,60}") {
            let list = format!("{front}, 10.20.0.17, 10.0.0.80");
            prop_assert_eq!(of(ProxyHeader::XForwardedFor, &[&list]), Ok("10.20.0.17".to_owned()));
            // Here quotation marks in front can make the list unreadable, and no more than that.
            for end in ["for=10.20.0.17, for=10.0.0.80", "for=\"10.20.0.17:1\", for=\"10.0.0.80\""] {
                let found = of(ProxyHeader::Forwarded, &[&format!("{front}, {end}")]);
                let harmless = Err(ForwardedError::Unreadable);
                prop_assert!(found == Ok("10.20.0.17".to_owned()) || found == harmless, "{found:?}");
            }
        }

        #[test]
        fn nothing_makes_it_panic(line in "[ -~]{0,80}") {
            let _ = of(ProxyHeader::XForwardedFor, &[&line]);
            let _ = of(ProxyHeader::Forwarded, &[&line]);
        }
    }
}
