//! What can go wrong with the gate, by whose fault it is, each with a remedy.

use std::{fmt, io};

/// Why the kernel sets are not as they were asked to be.
///
/// After any of these except [`Flows`](Self::Flows) and [`OutcomeUnknown`](Self::OutcomeUnknown) the
/// table is exactly as it was before the call.
#[derive(Debug)]
pub enum FirewallError {
    /// The operator's: the process may not change the firewall.
    CapabilityMissing,
    /// The operator's: the kernel cannot do what is named.
    KernelLacks {
        /// What is missing, as a reader of kernel configurations would call it.
        feature: String,
    },
    /// The operator's: another program owns a table of the same name.
    TableOwned {
        /// The table's name.
        table: String,
    },
    /// The operator's: the ruleset cannot be.
    RulesetInvalid {
        /// Why.
        reason: &'static str,
    },
    /// The operator's: one transaction does not fit into the send buffer that the kernel grants.
    BatchTooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// What fits, in bytes.
        bytes_max: usize,
    },
    /// The operator's: more addresses than the sets were made for.
    SetFull {
        /// How many they were made for.
        elements_max: u32,
    },
    /// Somebody else's: the table or a set is not there any more. [`Gate::replace`](crate::Gate::replace)
    /// brings it back.
    TableMissing,
    /// The kernel's: it refused a message.
    Refused {
        /// What the message was about.
        subject: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel's: its answers were lost, so nobody knows whether the change is in.
    /// [`Gate::replace`](crate::Gate::replace) makes it certain.
    OutcomeUnknown,
    /// The kernel's: the sets are right, but tracked flows of changed addresses may still be there.
    /// The same call may be made again.
    Flows {
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel's: the socket failed.
    Netlink {
        /// What was being done.
        operation: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel's: an answer that does not follow the protocol.
    AnswerMalformed,
    /// Somebody else's: the firewall was changed so often meanwhile that nothing whole could be read or
    /// replaced.
    Unsteady,
}

impl fmt::Display for FirewallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CapabilityMissing => f.write_str(
                "the kernel does not let this process change the firewall: it lacks CAP_NET_ADMIN; \
                 give it that capability (systemd: AmbientCapabilities=CAP_NET_ADMIN), or set \
                 gate.mode = \"off\" to run without a gate",
            ),
            Self::KernelLacks { feature } => write!(
                f,
                "the kernel lacks {feature}; load or build it, or set gate.mode = \"off\" to run \
                 without a gate"
            ),
            Self::TableOwned { table } => write!(
                f,
                "another program owns the table inet {table}; end it, or give the gate another table"
            ),
            Self::RulesetInvalid { reason } => write!(f, "the gate cannot be made: {reason}"),
            Self::BatchTooLarge { bytes, bytes_max } => write!(
                f,
                "a firewall transaction of {bytes} bytes does not fit into the {bytes_max} bytes that \
                 the kernel grants; raise net.core.wmem_max to {}, or give the process CAP_NET_ADMIN \
                 in the initial user namespace",
                bytes / 2 + 64
            ),
            Self::SetFull { elements_max } => write!(
                f,
                "the kernel sets are full: they were made for {elements_max} addresses; raise that"
            ),
            Self::TableMissing => {
                f.write_str("somebody removed the gate's table or one of its sets; it must be replaced")
            }
            Self::Refused { subject, source } => {
                write!(f, "the kernel refused {subject} of the gate's table: {source}")
            }
            Self::OutcomeUnknown => f.write_str(
                "the kernel's answers to a firewall transaction were lost; the gate must be replaced",
            ),
            Self::Flows { source } => {
                write!(f, "tracked flows could not be deleted: {source}; try again")
            }
            Self::Netlink { operation, source } => {
                write!(f, "netlink, {operation}: {source}")
            }
            Self::AnswerMalformed => {
                f.write_str("an answer of the kernel does not follow the netlink protocol")
            }
            Self::Unsteady => {
                f.write_str("the firewall was changed again and again by others meanwhile; try again")
            }
        }
    }
}

impl std::error::Error for FirewallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused { source, .. }
            | Self::Flows { source }
            | Self::Netlink { source, .. } => Some(source),
            _ => None,
        }
    }
}
