//! Where the API is, and what lets us in: from the configuration file or from the command line.

use super::Failure;
use crate::api::reachable;
use std::path::{Path, PathBuf};
use vestibule_config::{Api, ApiListen, Token};

/// How to reach the API.
pub(super) struct Access {
    /// Where it listens.
    pub(super) place: Place,
    /// What it wants to be shown.
    pub(super) token: Token,
}

/// Where an API listens, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `HOST:PORT`
    Tcp(String),
    /// The path of a socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Access {
    /// From `--api` and `--token-file`, and for what they leave open from the configuration file.
    pub(super) fn find(
        config: &Path,
        api: Option<&str>,
        token_file: Option<&Path>,
    ) -> Result<Self, Failure> {
        let named = api.map(Place::parse).transpose()?;
        let (place, token_file) = match (named, token_file) {
            (Some(place), Some(token_file)) => (place, token_file.to_owned()),
            (named, token_file) => {
                let configuration = vestibule_config::load(config).map_err(|mistakes| {
                    Failure::Usage(format!(
                        "the configuration does not tell where the API is; without it, use --api URL --token-file FILE:\n\
                         {mistakes}"
                    ))
                })?;
                let place = named.unwrap_or_else(|| Place::of(&configuration.api.listen));
                let token_file = token_file.map_or(configuration.api.token_file, Path::to_owned);
                (place, token_file)
            }
        };
        let token = read_token(token_file)?;
        Ok(Self { place, token })
    }
}

impl Place {
    fn of(listen: &ApiListen) -> Self {
        match listen {
            ApiListen::Tcp(address) => Self::Tcp(reachable(*address).to_string()),
            ApiListen::Unix(path) => Self::Unix(path.clone()),
        }
    }

    fn parse(url: &str) -> Result<Self, Failure> {
        let want = "--api is neither http://HOST:PORT nor unix:PATH";
        if let Some(path) = url.strip_prefix("unix:") {
            // unix:///run/x is what a URL with an empty host looks like.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(Failure::Usage(want.to_owned()));
            }
            return Ok(Self::Unix(path.into()));
        }
        if url.starts_with("https:") {
            return Err(Failure::Usage(format!(
                "{want}: the API itself speaks plain HTTP; what speaks TLS for it is for browsers and portals"
            )));
        }
        let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let is_plain = |authority: &&str| {
            authority.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | '?' | '#' | '@'))
        };
        let has_port = |authority: &&str| {
            authority
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        match authority.filter(is_plain).filter(has_port) {
            Some(authority) => Ok(Self::Tcp(authority.to_owned())),
            None => Err(Failure::Usage(want.to_owned())),
        }
    }
}

fn read_token(token_file: PathBuf) -> Result<Token, Failure> {
    // Only the token file counts here; the address beside it is not looked at.
    let api =
        Api { listen: ApiListen::Unix(PathBuf::new()), token_file, tokens: Vec::new(), tls: None };
    api.read_token().map_err(|error| Failure::Usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn urls_of_both_kinds_are_read() {
        for (url, place) in [
            ("http://127.0.0.1:8067", Place::Tcp("127.0.0.1:8067".to_owned())),
            (
                "http://dhcp-a.campus.example:8067/",
                Place::Tcp("dhcp-a.campus.example:8067".to_owned()),
            ),
            ("http://[::1]:8067", Place::Tcp("[::1]:8067".to_owned())),
            ("unix:/run/vestibule/api.sock", Place::Unix("/run/vestibule/api.sock".into())),
            ("unix:///run/vestibule/api.sock", Place::Unix("/run/vestibule/api.sock".into())),
        ] {
            assert_eq!(Place::parse(url).unwrap(), place, "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "",
            "http://",
            "http://host",
            "http://host:",
            "http://:80",
            "http://host:99999",
            "https://host:8067",
            "http://host:80/v1",
            "http://user@host:80",
            "unix:",
            "127.0.0.1:80",
        ] {
            assert!(matches!(Place::parse(url), Err(Failure::Usage(_))), "{url}");
        }
    }
}
