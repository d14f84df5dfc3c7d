//! The built-in portal: the page that lets a device in, at `gate.portal.url`. `docs/portal.md` shows it.
//!
//! It runs beside the API, never on the packet path, and asks the core by the same commands. It promises
//! that it keeps nothing of a visitor: who somebody is follows from the address of the connection, what
//! they see from the core; that a page of success is shown only when the kernel lets the device pass;
//! that it works without scripts, cookies and other files; that what strangers wrote is shown and does
//! nothing; and that slow, silent or many visitors cost a bounded amount of memory and time. It never
//! believes a header about who is asking.
//!
//! | file | idea |
//! | --- | --- |
//! | `visit` | which page a request gets |
//! | `desk` | who the visitor is, and what the core makes of a wish |
//! | `form`, `stamp` | what a form sent, and that a page of ours sent it |
//! | `pages`, `page` | the pages, and the frame around them |
//! | `catalogue`, `tongues` | the texts in every language, and which one a visitor reads |
//! | `terms` | the site's terms as HTML |

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod catalogue;
mod desk;
mod form;
mod page;
mod pages;
mod stamp;
mod terms;
mod tongues;
mod visit;

pub use stamp::NoRandomness;
pub use terms::{TERMS_BYTES_MAX, TermsError};

use crate::api::ApiState;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode};
use catalogue::Catalogue;
use maud::Markup;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use vestibule_config::{BuiltinPortal, Language, PageProbe, Probes, Vestibule};
use vestibule_core::{RandomisedAddresses, Timestamp};

/// What time the core has.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The portal, as it is served.
pub struct Portal {
    settings: BuiltinPortal,
    /// Its own URL.
    url: Box<str>,
    /// The name in it.
    host_name: Option<Box<str>>,
    is_https: bool,
    /// Under which a page may be shown as well as under the name.
    own_addresses: BTreeSet<IpAddr>,
    catalogues: Vec<Catalogue>,
    /// In the site's first language.
    fallback: Catalogue,
    /// For languages that nobody wrote the terms in.
    terms: Option<Markup>,
    terms_by_language: Vec<(Language, Markup)>,
    stamps: stamp::Stamps,
    /// The content security policy.
    policy: HeaderValue,
    probes: Vec<PageProbe>,
    /// What each network does with randomised hardware addresses.
    randomised_addresses: BTreeMap<Box<str>, RandomisedAddresses>,
    now: Now,
}

/// Why there can be no portal.
#[derive(Debug)]
pub enum PortalError {
    /// The operator's: the terms cannot be shown.
    Terms(TermsError),
    /// The kernel's: there is no randomness.
    NoRandomness,
}

impl fmt::Display for PortalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terms(error) => error.fmt(f),
            Self::NoRandomness => {
                f.write_str("the kernel gives no randomness for the portal's forms")
            }
        }
    }
}

impl std::error::Error for PortalError {}

/// What a page is: a label of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortalPage {
    /// The form, for a device that is not registered.
    Form,
    /// The form once more: it came too late, or from elsewhere.
    OldForm,
    /// The device is registered.
    Registered,
    /// The visitor is no device that has a lease.
    Elsewhere,
    /// The network is not gated.
    NotGated,
    /// Somebody holds the registered device back.
    HeldBack,
    /// The device has to show its own hardware address.
    Randomised,
    /// The owner has too many devices.
    Limit,
    /// The server is busy.
    Busy,
    /// The limit of registrations is reached.
    Full,
    /// Too much was sent, or too slowly.
    TooLarge,
    /// The server made a mistake.
    Failed,
}

impl PortalPage {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Form,
        Self::OldForm,
        Self::Registered,
        Self::Elsewhere,
        Self::NotGated,
        Self::HeldBack,
        Self::Randomised,
        Self::Limit,
        Self::Busy,
        Self::Full,
        Self::TooLarge,
        Self::Failed,
    ];

    /// Its name in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::OldForm => "old-form",
            Self::Registered => "registered",
            Self::Elsewhere => "elsewhere",
            Self::NotGated => "not-gated",
            Self::HeldBack => "held-back",
            Self::Randomised => "randomised",
            Self::Limit => "limit",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::TooLarge => "too-large",
            Self::Failed => "failed",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Form | Self::Registered | Self::NotGated => StatusCode::OK,
            Self::OldForm => StatusCode::FORBIDDEN,
            Self::Elsewhere => StatusCode::NOT_FOUND,
            Self::HeldBack | Self::Randomised => StatusCode::FORBIDDEN,
            Self::Limit => StatusCode::CONFLICT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Debug for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Portal").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Portal {
    /// By a configuration; `None` if the site has its own portal. Reads the files that it names.
    ///
    /// # Errors
    /// [`PortalError`] if a file cannot be used.
    pub fn new(vestibule: &Vestibule, now: Now) -> Result<Option<Self>, PortalError> {
        let (Some(settings), Some(place)) = (&vestibule.builtin_portal, &vestibule.gate.portal)
        else {
            return Ok(None);
        };
        let terms = settings.terms_file.as_deref().map(terms::load).transpose();
        let by_language = settings.terms_files.iter();
        let by_language: Result<Vec<_>, _> =
            by_language.map(|(language, file)| Ok((*language, terms::load(file)?))).collect();
        let listen = settings.listen.iter().chain(&settings.tls_listen);
        let listen = listen.map(|socket| socket.ip().to_canonical());
        let own_addresses = listen.chain([IpAddr::V4(place.address)]).collect();
        let fallback = settings.languages.first().copied().unwrap_or(Language::English);
        Ok(Some(Self {
            url: place.url.clone(),
            host_name: place.host_name.clone(),
            is_https: place.url.get(..8).is_some_and(|it| it.eq_ignore_ascii_case("https://")),
            own_addresses,
            catalogues: settings.languages.iter().copied().map(Catalogue::of).collect(),
            fallback: Catalogue::of(fallback),
            terms: terms.map_err(PortalError::Terms)?,
            terms_by_language: by_language.map_err(PortalError::Terms)?,
            stamps: stamp::Stamps::new().map_err(|NoRandomness| PortalError::NoRandomness)?,
            policy: policy().ok_or(PortalError::NoRandomness)?,
            probes: Probes::known().pages,
            randomised_addresses: vestibule
                .core
                .networks
                .iter()
                .map(|network| (network.name.clone(), network.randomised_addresses))
                .collect(),
            settings: settings.clone(),
            now,
        }))
    }

    /// The name that a TLS session has to be for; `None`: any.
    #[must_use]
    pub fn tls_name(&self) -> Option<&str> {
        self.host_name.as_deref()
    }
}

/// What a listener of the portal serves.
pub(crate) fn router(portal: &Arc<Portal>, state: &ApiState, is_tls: bool) -> Router {
    let (portal, state) = (Arc::clone(portal), state.clone());
    Router::new().fallback(move |request: Request| {
        visit::answer(Arc::clone(&portal), state.clone(), is_tls, request)
    })
}

/// Nothing but the page itself and its style sheet, which is named by its hash.
fn policy() -> Option<HeaderValue> {
    let hash = ring::digest::digest(&ring::digest::SHA256, page::STYLE.as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        base64(hash.as_ref())
    );
    HeaderValue::from_str(&policy).ok()
}

/// RFC 4648 section 4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let three = [0, 1, 2].map(|index| chunk.get(index).copied().unwrap_or(0));
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4_usize {
            let sextet = (bits >> (18 - 6 * place)) & 0x3f;
            let letter = ALPHABET.get(sextet as usize).copied().unwrap_or(b'=');
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
