//! Who may ask what: every path that wants a token, with the scopes that it takes.
//!
//! It promises that a path without a row here cannot be asked at all: the check that every request
//! passes knows no other. It is data and decides nothing else.

use axum::http::Method;
use vestibule_config::Scope;
use vestibule_config::Scope::{Gate, Operator, Partner, Portal, Reader};

/// One path and method, and who may ask it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The method; `HEAD` counts as `GET`.
    pub method: &'static str,
    /// The path, with `{name}` where it varies.
    pub path: &'static str,
    /// Tokens of these scopes may.
    pub scopes: &'static [Scope],
}

const fn access(method: &'static str, path: &'static str, scopes: &'static [Scope]) -> Access {
    Access { method, path, scopes }
}

/// Everybody with a token, but for who only follows the gate.
const ALL: &[Scope] = &[Portal, Reader, Operator];
/// Who may read everything.
const READERS: &[Scope] = &[Reader, Operator];
/// Who follows the gate.
const FOLLOWERS: &[Scope] = &[Gate, Reader, Operator];
/// Who registers devices.
const REGISTRARS: &[Scope] = &[Portal, Operator];

/// Who holds devices back, and makes vouchers.
const OPERATORS: &[Scope] = &[Operator];

/// Every path that wants a token, in the order of `docs/api.md`. `/v1/whoami` wants one only for
/// another host than the caller.
pub const ROUTES: &[Access] = &[
    access("GET", "/v1/whoami", ALL),
    access("GET", "/v1/registrations", READERS),
    access("POST", "/v1/registrations", REGISTRARS),
    access("POST", "/v1/registrations/import", OPERATORS),
    access("GET", "/v1/registrations/{mac}", ALL),
    access("DELETE", "/v1/registrations/{mac}", REGISTRARS),
    access("POST", "/v1/registrations/{mac}/suspend", OPERATORS),
    access("POST", "/v1/registrations/{mac}/resume", OPERATORS),
    access("GET", "/v1/vouchers", OPERATORS),
    access("POST", "/v1/vouchers", OPERATORS),
    access("GET", "/v1/vouchers/{id}", OPERATORS),
    access("DELETE", "/v1/vouchers/{id}", OPERATORS),
    access("GET", "/v1/leases", READERS),
    access("GET", "/v1/leases/{ip}", ALL),
    access("GET", "/v1/history", READERS),
    access("GET", "/v1/trace/{mac}", OPERATORS),
    access("GET", "/v1/gate", FOLLOWERS),
    access("GET", "/v1/exchange", &[Partner, Operator]),
    access("GET", "/v1/status", READERS),
    access("GET", "/v1/failover", READERS),
    access("POST", "/v1/failover/partner-down", OPERATORS),
    access("POST", "/v1/reload", OPERATORS),
    access("GET", "/v1/events", READERS),
    access("GET", "/v1/webhooks", READERS),
    access("POST", "/v1/webhooks/{name}/test", &[Operator]),
];

/// The scopes that may ask this; `None` if there is no such row.
pub(super) fn scopes(method: &Method, path: &str) -> Option<&'static [Scope]> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    ROUTES.iter().find(|row| row.method == method && row.path == path).map(|row| row.scopes)
}

/// The methods that a path takes, as the header `Allow` names them.
pub(super) fn methods(path: &str) -> String {
    let mut methods = Vec::new();
    for row in ROUTES.iter().filter(|row| row.path == path) {
        methods.push(row.method);
        if row.method == "GET" {
            methods.push("HEAD");
        }
    }
    methods.join(",")
}
