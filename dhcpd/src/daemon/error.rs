//! Why the daemon did not start, or had to end: by whose fault, with a remedy.

use crate::api::{CertificateError, ListenError};
use crate::commit::CommitError;
use crate::events::EventLogError;
use crate::failover::LinkError;
use crate::net::NetError;
use crate::portal::PortalError;
use crate::store::StoreError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use vestibule_config::Mistakes;
use vestibule_firewall::FirewallError;

/// See the module.
#[derive(Debug)]
pub enum StartError {
    /// The operator's: the file has mistakes.
    Configuration(Mistakes),
    /// The operator's or the kernel's: a DHCP socket cannot be had.
    Net(NetError),
    /// The operator's: the API's address cannot be had.
    Api(ListenError),
    /// The operator's: the failover link's address cannot be had.
    Failover(LinkError),
    /// The operator's: the partner cannot be asked for its registrations.
    Exchange(String),
    /// The operator's: the garden's socket cannot be had.
    GardenSocket(ListenError),
    /// The operator's: the certificate for `captive.listen`, `portal.tls-listen` or `api.tls-listen` cannot be used.
    Certificate(CertificateError),
    /// The operator's: the built-in portal cannot be shown.
    Portal(PortalError),
    /// The disk's: the store cannot be opened or written.
    Store(StoreError),
    /// The disk's or the operator's: the key of lease tokens can neither be read nor made.
    LeaseTokenKey(PathBuf, io::Error),
    /// The disk's or the operator's: the event log cannot be opened.
    EventLog(EventLogError),
    /// The operator's: a webhook, named first, cannot be used.
    Webhook(Box<str>, String),
    /// The kernel's or the operator's: the gate cannot be set up.
    Gate(FirewallError),
    /// The disk's: a write or a sync failed while serving. Nothing that depends on it was sent.
    Commit(CommitError),
    /// The kernel's: no thread, no runtime.
    Runtime(io::Error),
    /// Ours: a thread ended that must not.
    ThreadLost(&'static str),
}

impl StartError {
    /// The process's exit status: 1 for what an operator can set right before the next start, 70 (as
    /// `EX_SOFTWARE` of sysexits) for a fault of ours, 74 (`EX_IOERR`) for a disk that failed while
    /// serving.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Commit(_) => ExitCode::from(74),
            Self::ThreadLost(_) => ExitCode::from(70),
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(mistakes) => mistakes.fmt(f),
            Self::Net(error) => error.fmt(f),
            Self::Api(error) => write!(f, "{}{error}", api_listen(error)),
            Self::Failover(error) => error.fmt(f),
            Self::Exchange(error) => write!(f, "failover.registrations: {error}"),
            Self::GardenSocket(error) => write!(f, "gate.garden-socket: {error}"),
            Self::Certificate(error) => error.fmt(f),
            Self::Portal(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::LeaseTokenKey(path, error) => write!(
                f,
                "the key of lease tokens, {}, can neither be read nor made: {error}; let the server's user read and \
                 write it, or delete it: tokens that were given are invalid then",
                path.display()
            ),
            Self::EventLog(error) => error.fmt(f),
            Self::Webhook(name, error) => write!(f, "the webhook `{name}` cannot be used: {error}"),
            Self::Gate(error) => write!(f, "the gate cannot be set up: {error}"),
            Self::Commit(error) => write!(
                f,
                "stable storage failed, so nothing can be acknowledged any more: {error}; every lease that was \
                 acknowledged is safe; mend the disk, then start the server again"
            ),
            Self::Runtime(error) => write!(f, "the system gives no thread or event loop: {error}"),
            Self::ThreadLost(thread) => write!(
                f,
                "the thread `{thread}` ended although it must not: a defect of this server; start it again and report \
                 the log above"
            ),
        }
    }
}

/// Which socket it is, where the error does not say it.
fn api_listen(error: &ListenError) -> &'static str {
    match error {
        ListenError::SocketInUse(_) | ListenError::NotASocket(_) | ListenError::Unix(..) => {
            "api.listen: "
        }
        ListenError::Tcp(..)
        | ListenError::Tls(..)
        | ListenError::Captive(..)
        | ListenError::Portal(..) => "",
    }
}

impl std::error::Error for StartError {}
