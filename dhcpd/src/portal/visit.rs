//! One visit: which page an HTTP request gets.
//!
//! A request for another host is led to the page's own URL and nothing else: every name leads here, and
//! a page under a stranger's name could be read by the stranger's scripts. The one exception are the
//! pages by which systems find out whether they are online, asked for by a registered device that still
//! remembers the lie: they get the true answer, because it is true.

use super::catalogue::Catalogue;
use super::desk::{self, Hold, Outcome, Visitor};
use super::form::Form;
use super::page::Content;
use super::{Portal, stamp, tongues};
use crate::api::{ApiState, Peer, Problem, ProblemKind};
use crate::voucher_code::VoucherCode;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use std::net::IpAddr;
use std::sync::Arc;
use vestibule_config::Identify;
use vestibule_core::Registration;

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The page.
    Page,
    /// Somewhere else on the page's own host.
    OtherPath,
    /// Another host's name.
    OtherHost,
}

/// The answer to a request.
pub(super) async fn answer(
    portal: Arc<Portal>,
    state: ApiState,
    is_tls: bool,
    request: Request,
) -> Response {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
    let (head, body) = request.into_parts();
    let mut response = match portal.place(&head.uri, &head.headers, is_tls) {
        Place::OtherHost => {
            match portal.true_answer(&state, peer, &head.method, &head.uri, &head.headers).await {
                Some(response) => response,
                None => to(StatusCode::FOUND, &portal.url),
            }
        }
        Place::OtherPath if head.uri.path() == "/favicon.ico" => {
            StatusCode::NOT_FOUND.into_response()
        }
        Place::OtherPath => to(StatusCode::FOUND, "/"),
        Place::Page => {
            let catalogue = portal.catalogue(&head.uri, &head.headers);
            match head.method {
                Method::GET | Method::HEAD => portal.visit(&state, peer, catalogue).await,
                Method::POST => portal.submit(&state, peer, body, catalogue).await,
                _ => {
                    let allow = [(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"))];
                    (StatusCode::METHOD_NOT_ALLOWED, allow).into_response()
                }
            }
        }
    };
    portal.guard(&mut response);
    response
}

impl Portal {
    fn place(&self, uri: &Uri, headers: &HeaderMap, is_tls: bool) -> Place {
        // The target of a request to a proxy names the host itself (RFC 9112 section 3.2.2).
        let host = uri.host().or_else(|| headers.get(header::HOST).and_then(host_of));
        // A client that names no host means the one that it connected to.
        let is_own = host.is_none_or(|host| self.is_own_host(host)) && is_tls == self.is_https;
        match (is_own, uri.path()) {
            (false, _) => Place::OtherHost,
            (true, "/") => Place::Page,
            (true, _) => Place::OtherPath,
        }
    }

    /// The name in the URL, or an address that the page is at.
    fn is_own_host(&self, host: &str) -> bool {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match host.parse::<IpAddr>() {
            Ok(address) => self.own_addresses.contains(&address.to_canonical()),
            Err(_) => {
                let host = host.strip_suffix('.').unwrap_or(host);
                self.host_name.as_deref().is_some_and(|own| host.eq_ignore_ascii_case(own))
            }
        }
    }

    fn catalogue(&self, uri: &Uri, headers: &HeaderMap) -> &Catalogue {
        let query = uri.query().unwrap_or_default();
        let chosen = form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "lang")
            .map(|(_, value)| value);
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let language = tongues::choose(chosen.as_deref(), accepted, &self.settings.languages);
        self.catalogues
            .iter()
            .find(|catalogue| Some(catalogue.language) == language)
            .unwrap_or(&self.fallback)
    }

    /// Who looks at the page without asking for anything.
    async fn visit(
        &self,
        state: &ApiState,
        peer: Option<IpAddr>,
        catalogue: &Catalogue,
    ) -> Response {
        let content = match desk::who(state, peer).await {
            // The role's own page says better what to do. It cannot be reached from here only if it is this
            // one.
            Ok(Visitor::HeldBack(Hold::Quarantined(Some(url)))) if !self.is_own_url(&url) => {
                state.count_page(super::PortalPage::HeldBack);
                return to(StatusCode::FOUND, &url);
            }
            Ok(visitor) => self.welcome(&visitor, catalogue),
            Err(problem) => self.trouble(&problem, catalogue),
        };
        state.count_page(content.page);
        self.framed(catalogue, &content)
    }

    /// Whether a URL leads to this page, which must not lead to itself for ever.
    fn is_own_url(&self, url: &str) -> bool {
        url.parse::<Uri>()
            .ok()
            .is_none_or(|url| url.host().is_none_or(|host| self.is_own_host(host)))
    }

    /// Who sends a form.
    async fn submit(
        &self,
        state: &ApiState,
        peer: Option<IpAddr>,
        body: Body,
        catalogue: &Catalogue,
    ) -> Response {
        let content = match state.body(body).await {
            Ok(body) => self.carry_out(state, peer, &Form::read(&body), catalogue).await,
            Err(problem) => Err(problem),
        };
        let content = match content {
            // The page that follows asks anew, and so shows what is so and not what was sent.
            Ok(None) => return to(StatusCode::SEE_OTHER, &self.to(catalogue)),
            Ok(Some(content)) => content,
            Err(problem) => self.trouble(&problem, catalogue),
        };
        state.count_page(content.page);
        let mut response = self.framed(catalogue, &content);
        if content.page == super::PortalPage::TooLarge {
            // The rest of the body is still under way, so the connection is of no further use.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Does what a form asks for. `None`: the page is to be loaded anew.
    async fn carry_out(
        &self,
        state: &ApiState,
        peer: Option<IpAddr>,
        form: &Form,
        catalogue: &Catalogue,
    ) -> Result<Option<Content>, Problem> {
        let visitor = desk::who(state, peer).await?;
        let (device, stay) = match &visitor {
            Visitor::Guest(device) => (device, None),
            Visitor::Member(device, stay) => (device, Some(stay)),
            Visitor::OverIpv6(_)
            | Visitor::Elsewhere(_)
            | Visitor::NotGated
            | Visitor::Nameless
            | Visitor::HeldBack(_) => {
                return Ok(Some(self.welcome(&visitor, catalogue)));
            }
        };
        if !self.stamps.is_of(&form.stamp, device.address, device.hardware) {
            return Ok(match stay {
                Some(_) => None,
                None => Some(self.old_form(device, form, catalogue)),
            });
        }
        let mut wish = desk::wish(device);
        let ends = |seconds: u32| (self.now)().plus_seconds(seconds.into());
        wish.expires = self.settings.lifetime_seconds.map(ends);
        wish.role.clone_from(&self.settings.role);
        match (form.wish.as_str(), stay) {
            ("register", None) => {
                let has_terms = self.terms.is_some();
                let mistakes = form.mistakes(self.settings.identify, has_terms, catalogue);
                if !mistakes.is_empty() {
                    let mut content = self.form(device, form, &mistakes, catalogue);
                    content.status = Some(StatusCode::UNPROCESSABLE_ENTITY);
                    return Ok(Some(content));
                }
                let owner = Some(form.name.as_str()).filter(|name| !name.is_empty());
                if let Some(owner) = owner.filter(|_| !form.replaces.is_empty()) {
                    let is_named = |other| {
                        stamp::same(&form.replaces, &self.stamps.name_of(other, device.hardware))
                    };
                    wish.replaces = desk::device_of(state, owner, is_named).await?;
                }
                wish.owner = owner.map(Box::from);
                if self.settings.identify == Identify::Voucher {
                    wish.voucher = VoucherCode::read(&form.voucher).ok().map(|code| code.hash());
                }
            }
            ("extend", Some(stay)) if self.may_extend(stay) => {
                let Registration { owner, sponsor, note, .. } = stay.registration.clone();
                (wish.owner, wish.sponsor, wish.note) = (owner, sponsor, note);
            }
            // Sent twice, or what was asked for has come true meanwhile.
            _ => return Ok(None),
        }
        Ok(match desk::register(state, wish).await? {
            Outcome::Registered | Outcome::LookAgain => None,
            Outcome::Voucher(refusal) => {
                Some(self.voucher_refused(device, form, refusal, catalogue))
            }
            Outcome::Full => Some(self.full(catalogue)),
            Outcome::Randomised => Some(self.randomised(device, catalogue)),
            Outcome::Limit(devices) => Some(self.limit(device, form, &devices, catalogue)),
        })
    }

    fn trouble(&self, problem: &Problem, catalogue: &Catalogue) -> Content {
        match problem.kind {
            // Whether something was changed is not known, or it was not: the page looks again.
            ProblemKind::Busy | ProblemKind::NoAnswer | ProblemKind::Ending => self.busy(catalogue),
            ProblemKind::BodyTooLarge | ProblemKind::BodyTooSlow | ProblemKind::BodyBrokenOff => {
                self.too_large(catalogue)
            }
            _ => {
                tracing::error!("the portal could not answer: {}", problem.detail);
                self.failed(catalogue)
            }
        }
    }

    /// The true answer to a system's question whether it is online, if it is.
    async fn true_answer(
        &self,
        state: &ApiState,
        peer: Option<IpAddr>,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<Response> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        let host = uri.host().or_else(|| headers.get(header::HOST).and_then(host_of))?;
        let target = uri.path_and_query()?.as_str();
        let probe = self.probes.iter().find(|probe| {
            let rest = probe.url.strip_prefix("http://");
            let parts = rest.and_then(|rest| Some(rest.split_at(rest.find('/')?)));
            parts.is_some_and(|(name, path)| name.eq_ignore_ascii_case(host) && path == target)
        })?;
        if !matches!(desk::who(state, peer).await, Ok(Visitor::Member(..))) {
            return None;
        }
        let status = StatusCode::from_u16(probe.status).ok()?;
        let kind = if probe.body.starts_with('<') { "text/html" } else { "text/plain" };
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
        Some((status, kind, probe.body.clone()).into_response())
    }
}

/// The host in a `Host` header, without its port; `None` if it is not text.
fn host_of(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    match text.strip_prefix('[') {
        Some(inside) => inside.split(']').next(),
        None => text.split(':').next(),
    }
}

fn to(status: StatusCode, location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => (status, [(header::LOCATION, location)]).into_response(),
        // Unreachable: a checked URL is printable ASCII.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
