//! By what pages and names devices find out whether they are online: the data of
//! `data/captive-probes.toml`.
//!
//! It promises nothing of what systems do next year: the list is data, so that it can follow them.

use std::net::Ipv4Addr;
use toml::{Table, Value};

const TEXT: &str = include_str!("../data/captive-probes.toml");

/// A page that devices ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageProbe {
    /// Who asks.
    pub system: String,
    /// What for: an `http` or `https` URL.
    pub url: String,
    /// The HTTP status of the true answer.
    pub status: u16,
    /// What the true answer's body begins with; empty if it has none.
    pub body: String,
}

/// A name that devices ask the DNS for, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameProbe {
    /// Who asks.
    pub system: String,
    /// The name.
    pub name: String,
    /// Its true address.
    pub address: Ipv4Addr,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// Pages, in the order of the file.
    pub pages: Vec<PageProbe>,
    /// Names, in the order of the file.
    pub names: Vec<NameProbe>,
}

impl PageProbe {
    /// The host in the URL.
    #[must_use]
    pub fn host(&self) -> &str {
        let after_scheme = self.url.split_once("://").map_or("", |(_, rest)| rest);
        after_scheme.split('/').next().unwrap_or_default()
    }
}

impl Probes {
    /// Those that this version knows.
    #[must_use]
    pub fn known() -> Self {
        // A test reads the file that is built in; without it the list would be empty.
        read(TEXT).unwrap_or_default()
    }

    /// Each host or name with the system that asks for it.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &str)> {
        let pages = self.pages.iter().map(|page| (page.system.as_str(), page.host()));
        pages.chain(self.names.iter().map(|name| (name.system.as_str(), name.name.as_str())))
    }
}

/// `None` if an entry lacks something, or has what is not known.
fn read(text: &str) -> Option<Probes> {
    let file: Table = text.parse().ok()?;
    let entries = |key: &str| file.get(key).and_then(Value::as_array).into_iter().flatten();
    let text_of = |entry: &Value, key: &str| Some(entry.get(key)?.as_str()?.to_owned());
    let page = |entry: &Value| {
        text_of(entry, "source")?;
        Some(PageProbe {
            system: text_of(entry, "system")?,
            url: text_of(entry, "url")?,
            status: u16::try_from(entry.get("status")?.as_integer()?).ok()?,
            body: if entry.get("body").is_some() { text_of(entry, "body")? } else { String::new() },
        })
    };
    let name = |entry: &Value| {
        text_of(entry, "source")?;
        Some(NameProbe {
            system: text_of(entry, "system")?,
            name: text_of(entry, "name")?,
            address: text_of(entry, "address")?.parse().ok()?,
        })
    };
    Some(Probes {
        pages: entries("probe").map(page).collect::<Option<_>>()?,
        names: entries("name").map(name).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{UrlHost, domain_name, url};

    #[test]
    fn the_list_is_whole() {
        let probes = read(TEXT).expect("every entry is whole");
        assert_eq!(probes, Probes::known());
        assert_eq!(TEXT.matches("\n[[").count(), probes.pages.len() + probes.names.len());
        for page in &probes.pages {
            let UrlHost::Name(host) = url(&page.url).expect("a URL") else { panic!("{page:?}") };
            assert_eq!(*host, *page.host());
            assert!(matches!(page.status, 200 | 204), "{page:?}");
            assert_eq!(page.status == 204, page.body.is_empty(), "{page:?}");
        }
        for (system, host) in probes.hosts() {
            assert!(domain_name(host).is_ok() && !system.is_empty(), "{system}: {host}");
        }
        for system in ["Apple", "Android", "Windows", "ChromeOS", "Firefox", "NetworkManager"] {
            assert!(probes.pages.iter().any(|page| page.system.starts_with(system)), "{system}");
        }
    }

    #[test]
    fn entries_that_lack_something_are_noticed() {
        let whole = "[[probe]]\nsystem = \"a\"\nurl = \"http://a.example/\"\nstatus = 204\nsource = \"b\"\n";
        assert!(read(whole).is_some());
        for line in whole.lines().skip(1) {
            assert_eq!(read(&whole.replace(line, "")), None, "{line}");
        }
    }
}
