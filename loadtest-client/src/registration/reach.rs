//! Whether something beyond the gate can be reached from a client's address.
//!
//! It promises that an answer of the portal does not count: a redirect is none, and a bare connection to
//! port 80, which a gate answers itself, is not taken for a test.

use super::socket;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, LOCATION};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

/// What has to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A TCP connection is enough.
    Connection(SocketAddrV4),
    /// A GET must be answered with a status from 200 to 299.
    Page(SocketAddrV4, String),
}

/// Why it was not reached.
#[derive(Debug)]
pub(super) enum Unreached {
    /// The socket, the network or the gate.
    Network(io::Error),
    /// Somebody answered something else: the status, and where it leads.
    Answer(u16, String),
    /// What answered did not speak HTTP.
    Http(hyper::Error),
}

/// Port of the web, which a gate redirects.
const WEB_PORT: u16 = 80;

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = || "write it as 203.0.113.10:443, or as http://203.0.113.10/page".to_owned();
        let Some(rest) = text.strip_prefix("http://") else {
            let address: SocketAddrV4 = text.parse().map_err(|_| wanted())?;
            if address.port() == WEB_PORT {
                return Err(format!(
                    "a gate answers connections to port 80 itself, so they prove nothing; write http://{}/, or name \
                     another port",
                    address.ip()
                ));
            }
            return Ok(Self::Connection(address));
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = format!("/{path}");
        let address = crate::command::address_with_port(host, WEB_PORT).map_err(|_| wanted())?;
        path.parse::<hyper::Uri>().map_err(|_| wanted())?;
        Ok(Self::Page(address, path))
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(address) => write!(f, "{address}"),
            Self::Page(address, path) => write!(f, "http://{address}{path}"),
        }
    }
}

impl Reach {
    /// Tries once, from `client`.
    pub(super) async fn attempt(&self, client: Ipv4Addr) -> Result<(), Unreached> {
        let (Self::Connection(address) | Self::Page(address, _)) = self;
        let stream = socket::connected(client, *address).await.map_err(Unreached::Network)?;
        let Self::Page(_, path) = self else { return Ok(()) };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(Unreached::Http)?;
        let request = Request::get(path)
            .header(HOST, address.to_string())
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| Unreached::Network(io::Error::other(error)))?;
        let exchange = sender.send_request(request);
        // The connection is driven here, and ends with the answer's head: nobody reads the body.
        let response = tokio::select! {
            response = exchange => response.map_err(Unreached::Http)?,
            ended = connection => {
                let error = ended.err().map_or_else(
                    || Unreached::Network(io::ErrorKind::UnexpectedEof.into()),
                    Unreached::Http,
                );
                return Err(error);
            }
        };
        if response.status().is_success() {
            return Ok(());
        }
        let leads = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        Err(Unreached::Answer(response.status().as_u16(), leads.unwrap_or_default().to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_connection_or_a_page_is_meant_and_port_80_alone_is_refused() {
        let address = |text: &str| text.parse::<SocketAddrV4>().unwrap();
        let reach = |text: &str| text.parse::<Reach>();
        assert_eq!(reach("192.0.2.1:443"), Ok(Reach::Connection(address("192.0.2.1:443"))));
        let page = |at: &str, path: &str| Ok(Reach::Page(address(at), path.to_owned()));
        assert_eq!(reach("http://192.0.2.1"), page("192.0.2.1:80", "/"));
        assert_eq!(reach("http://192.0.2.1:8080/a?b"), page("192.0.2.1:8080", "/a?b"));
        assert!(reach("192.0.2.1:80").unwrap_err().contains("http://192.0.2.1/"));
        for wrong in ["", "192.0.2.1", "http://", "http://a.name/", "http://192.0.2.1/a b"] {
            assert!(reach(wrong).is_err(), "{wrong}");
        }
    }
}
