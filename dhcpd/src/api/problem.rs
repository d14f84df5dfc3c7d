//! Everything that can go wrong, as a problem document (RFC 9457).
//!
//! A kind's type and status never change once they are documented: programs branch on them. The
//! detail is for people and may change. `docs/api.md` lists every kind; a test compares.

use super::json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What a problem's type begins with.
const TYPE_PREFIX: &str = "https://vestibule.example/problems/";

/// Seconds after which a busy server should be asked again.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The member of a problem that says after how many seconds to come back.
pub(super) const WAIT_SECONDS: &str = "wait-seconds";

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:ident, $title:literal;)+) => {
        /// What went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProblemKind {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ProblemKind {
            /// Every kind, in the order of this page.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The last part of its type.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The HTTP status that it comes with.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// What it is, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

kinds! {
    // The caller's.
    /// The body is not JSON.
    BadJson = "bad-json", BAD_REQUEST, "The body is not JSON";
    /// A field of the body is unknown, missing, or has a value that it cannot have.
    BadField = "bad-field", BAD_REQUEST, "A field of the body is wrong";
    /// A part of the path or the query is unknown or has a value that it cannot have.
    BadParameter = "bad-parameter", BAD_REQUEST, "A parameter of the URL is wrong";
    /// The registration would end before it begins.
    ExpiryInThePast = "expiry-in-the-past", BAD_REQUEST, "The registration would already have ended";
    /// `whoami` over a Unix socket, where a caller has no address.
    NoCallerAddress = "no-caller-address", BAD_REQUEST, "The caller has no address";
    /// The token is missing or wrong.
    Unauthorized = "unauthorized", UNAUTHORIZED, "The token is missing or wrong";
    /// The token's scope does not reach so far.
    Forbidden = "forbidden", FORBIDDEN, "The scope of the token does not allow this";
    /// Nobody holds a lease for the address.
    NoLease = "no-lease", NOT_FOUND, "There is no lease for this address";
    /// A lease token is not genuine, or not of this lease.
    LeaseTokenInvalid = "lease-token-invalid", FORBIDDEN, "The lease token is not genuine";
    /// A lease token's lease has ended.
    LeaseTokenEnded = "lease-token-ended", CONFLICT, "The lease of this token has ended";
    /// A registration names an address that nobody holds a lease for.
    LeaseNeeded = "lease-needed", CONFLICT, "The address has no lease, so it names no device";
    /// Whoever holds the address has no hardware address.
    NoHardwareAddress = "no-hardware-address", CONFLICT, "The host has no hardware address to register";
    /// The device is not registered.
    NotRegistered = "not-registered", NOT_FOUND, "The device is not registered";
    /// The configuration has no such role.
    UnknownRole = "unknown-role", BAD_REQUEST, "There is no such role";
    /// The owner has as many devices as they may have.
    DeviceLimitReached = "device-limit-reached", CONFLICT, "The owner has as many devices as they may have";
    /// None of the owner's devices can be taken for `replaces: "auto"`.
    NothingToReplace = "nothing-to-replace", CONFLICT, "No device can be replaced";
    /// The device that should be replaced is another owner's.
    NotTheOwners = "not-the-owners", CONFLICT, "The device to be replaced is not this owner's";
    /// The network does not register randomised addresses.
    RandomisedAddress = "randomised-address", CONFLICT, "Randomised addresses are not registered here";
    /// The device is suspended.
    Suspended = "suspended", CONFLICT, "The device is suspended";
    /// The device's role is a quarantine.
    Quarantined = "quarantined", CONFLICT, "The device is in a quarantine";
    /// A code of a voucher is mistyped.
    VoucherMistyped = "voucher-mistyped", BAD_REQUEST, "The voucher's code is mistyped";
    /// No voucher has the code, or it was revoked, or its time to be used is over.
    VoucherUnknown = "voucher-unknown", FORBIDDEN, "No voucher has this code";
    /// As many devices use the voucher as may.
    VoucherUsedUp = "voucher-used-up", CONFLICT, "The voucher is used up";
    /// The voucher has let this device in for as long as it does.
    VoucherTimeOver = "voucher-time-over", CONFLICT, "The voucher's time is over for this device";
    /// Too many unknown codes came.
    VoucherGuesses = "voucher-guesses", TOO_MANY_REQUESTS, "Too many unknown voucher codes";
    /// There is no voucher with the id.
    NoVoucher = "no-voucher", NOT_FOUND, "There is no voucher with this id";
    /// What came after an id of an event is kept no more, or the id was never given.
    EventNotRetained = "event-not-retained", GONE, "Events after this id are kept no more";
    /// There is no webhook of this name.
    UnknownWebhook = "unknown-webhook", NOT_FOUND, "There is no webhook of this name";
    /// The configuration keeps no history.
    NoHistory = "no-history", NOT_FOUND, "This server keeps no history";
    /// The history is being opened, or its files cannot be used.
    HistoryUnavailable = "history-unavailable", SERVICE_UNAVAILABLE, "The history cannot be asked now";
    /// The feed of a gate that is off.
    NoGate = "no-gate", NOT_FOUND, "There is no gate";
    /// The configuration has no failover partner.
    NoFailoverPartner = "no-failover-partner", NOT_FOUND, "This server has no failover partner";
    /// The failover partner is heard.
    PartnerConnected = "partner-connected", CONFLICT, "The failover partner is not down";
    /// This server has lost its leases, and would serve without them.
    LeasesNotKnown = "leases-not-known", CONFLICT, "This server does not know who holds which address";
    /// The server's file has mistakes; nothing was changed.
    BadConfiguration = "bad-configuration", UNPROCESSABLE_ENTITY, "The configuration has mistakes";
    /// Something changed in the file that only a restart can change; nothing was changed.
    NeedsRestart = "needs-restart", CONFLICT, "Only a restart can change this";
    /// The key was used for another request.
    IdempotencyKeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The idempotency key belongs to another request";
    /// The first request with the key is still being carried out.
    IdempotencyKeyInUse = "idempotency-key-in-use", CONFLICT, "The first request with this idempotency key is not answered yet";
    /// The path is none of this API's.
    UnknownPath = "unknown-path", NOT_FOUND, "There is nothing at this path";
    /// The path does not take the method.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// The body did not arrive in time.
    BodyTooSlow = "body-too-slow", REQUEST_TIMEOUT, "The body did not arrive in time";
    /// The body broke off.
    BodyBrokenOff = "body-broken-off", BAD_REQUEST, "The body broke off";
    /// The body is over its limit.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    // The server's.
    /// More calls wait than fit; nothing was changed.
    Busy = "busy", SERVICE_UNAVAILABLE, "The server is busy";
    /// The server is ending; a change may or may not have been made.
    Ending = "ending", SERVICE_UNAVAILABLE, "The server is ending";
    /// The server did not answer in time; a change may or may not be made.
    NoAnswer = "no-answer", SERVICE_UNAVAILABLE, "The server did not answer in time";
    /// The limit of registrations is reached; nothing was changed.
    RegistrationsFull = "registrations-full", INSUFFICIENT_STORAGE, "No further device can be registered";
    /// The limit of vouchers is reached; nothing was changed.
    VouchersFull = "vouchers-full", INSUFFICIENT_STORAGE, "No further voucher can be made";
    /// A broken invariant.
    Internal = "internal", INTERNAL_SERVER_ERROR, "The server made a mistake";
}

impl ProblemKind {
    /// Its type, a stable URI.
    #[must_use]
    pub fn type_uri(self) -> String {
        format!("{TYPE_PREFIX}{}", self.name())
    }
}

/// One thing that went wrong, with what the caller should know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub kind: ProblemKind,
    /// In detail, for people.
    pub detail: String,
    /// The scopes of tokens that would do, for [`ProblemKind::Forbidden`].
    pub scopes_needed: Vec<&'static str>,
    /// What a program can work on with, by kind; `docs/api.md` says what each has.
    pub members: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(rename = "scopes-needed", skip_serializing_if = "<[&str]>::is_empty")]
    scopes_needed: &'a [&'static str],
    #[serde(flatten)]
    members: &'a serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            scopes_needed: Vec::new(),
            members: serde_json::Map::new(),
        }
    }

    /// The same with one more member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The problem document.
    #[must_use]
    pub fn document(&self) -> String {
        json::text(&Document {
            r#type: self.kind.type_uri(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            scopes_needed: &self.scopes_needed,
            members: &self.members,
        })
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), self.document()).into_response();
        let headers = response.headers_mut();
        let problem_json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem_json);
        match self.kind {
            ProblemKind::Unauthorized => {
                let challenge = HeaderValue::from_static("Bearer realm=\"vestibule\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            ProblemKind::Busy
            | ProblemKind::NoAnswer
            | ProblemKind::Ending
            | ProblemKind::IdempotencyKeyInUse => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
            }
            ProblemKind::VoucherGuesses => {
                let seconds = self.members.get(WAIT_SECONDS).and_then(serde_json::Value::as_u64);
                let seconds = seconds.unwrap_or_else(|| RETRY_AFTER_SECONDS.into());
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            // The rest of the body is still under way, so the connection is of no further use.
            ProblemKind::BodyTooLarge | ProblemKind::BodyTooSlow | ProblemKind::BodyBrokenOff => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
