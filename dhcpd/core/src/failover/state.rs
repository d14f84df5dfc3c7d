//! The states of a server in a failover pair, with their codes on the wire.
//!
//! Codes and names are those of ISC dhcpd 4.4 (its lease file uses the same words). What follows
//! from a state for clients stands here too: whether they are served, and how.

use std::fmt;

/// A server's own state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Just started; what comes next depends on the saved state and the partner.
    Startup,
    /// Both serve, each from its own addresses.
    Normal,
    /// The partner cannot be heard; it may be serving.
    CommunicationsInterrupted,
    /// The partner is known not to serve.
    PartnerDown,
    /// Both may have served everything: they compare before they serve again.
    PotentialConflict,
    /// Everything is being fetched from the partner.
    Recover,
    /// Halted for a while by an operator.
    Paused,
    /// Halted by an operator, or because the pair's states contradict each other.
    Shutdown,
    /// Everything was fetched and waited for.
    RecoverDone,
    /// Contact was lost while the pair compared.
    ResolutionInterrupted,
    /// The primary has what it needed of the partner; the partner may compare now.
    ConflictDone,
    /// Everything was fetched; what the old self may have promised runs out.
    RecoverWait,
}

impl State {
    /// All, in the order of their codes.
    pub const ALL: [Self; 12] = [
        Self::Startup,
        Self::Normal,
        Self::CommunicationsInterrupted,
        Self::PartnerDown,
        Self::PotentialConflict,
        Self::Recover,
        Self::Paused,
        Self::Shutdown,
        Self::RecoverDone,
        Self::ResolutionInterrupted,
        Self::ConflictDone,
        Self::RecoverWait,
    ];

    /// Its code in option 24.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Startup => 1,
            Self::Normal => 2,
            Self::CommunicationsInterrupted => 3,
            Self::PartnerDown => 4,
            Self::PotentialConflict => 5,
            Self::Recover => 6,
            Self::Paused => 7,
            Self::Shutdown => 8,
            Self::RecoverDone => 9,
            Self::ResolutionInterrupted => 10,
            Self::ConflictDone => 11,
            Self::RecoverWait => 254,
        }
    }

    /// The state with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Its name as logs, metrics and ISC dhcpd's lease file have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Normal => "normal",
            Self::CommunicationsInterrupted => "communications-interrupted",
            Self::PartnerDown => "partner-down",
            Self::PotentialConflict => "potential-conflict",
            Self::Recover => "recover",
            Self::Paused => "paused",
            Self::Shutdown => "shutdown",
            Self::RecoverDone => "recover-done",
            Self::ResolutionInterrupted => "resolution-interrupted",
            Self::ConflictDone => "conflict-done",
            Self::RecoverWait => "recover-wait",
        }
    }

    /// How clients are served in it.
    #[must_use]
    pub const fn service(self) -> Service {
        match self {
            Self::Normal => Service::Balanced,
            Self::CommunicationsInterrupted => Service::Own,
            Self::PartnerDown => Service::Alone,
            _ => Service::None,
        }
    }

    /// Whether leaving it puts updates that were sent and not acknowledged back into the queue, to be
    /// sent again in the next state that sends updates.
    #[must_use]
    pub const fn requeues_when_left(self) -> bool {
        matches!(self, Self::Normal | Self::PotentialConflict | Self::PartnerDown)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How clients are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Not at all: DISCOVER, REQUEST, RELEASE and DECLINE are dropped.
    None,
    /// New addresses of our own kind, DISCOVERs shared out by hash.
    Balanced,
    /// New addresses of our own kind, for everybody.
    Own,
    /// Like [`Own`](Self::Own), and the partner's addresses once nobody can hold a promise of its.
    Alone,
}

/// What is known of the partner's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartnerState {
    /// It said so.
    Known(State),
    /// It has never been heard of (code 0).
    #[default]
    Unknown,
    /// It sent a code that means nothing.
    Undefined(u8),
}

impl PartnerState {
    /// What a code in option 24 says.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        match (code, State::from_code(code)) {
            (_, Some(state)) => Self::Known(state),
            (0, None) => Self::Unknown,
            (code, None) => Self::Undefined(code),
        }
    }

    /// Its code in option 24.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Known(state) => state.code(),
            Self::Unknown => 0,
            Self::Undefined(code) => code,
        }
    }
}

impl fmt::Display for PartnerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(state) => state.fmt(f),
            Self::Unknown => f.write_str("unknown"),
            Self::Undefined(code) => write!(f, "undefined ({code})"),
        }
    }
}

/// Which half of the pair a server is. Fixed by configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Speaks first, decides ties, names the hash buckets and the maximum client lead time.
    Primary,
    /// The other one.
    Secondary,
}

impl Role {
    /// The partner's.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Primary => Self::Secondary,
            Self::Secondary => Self::Primary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_they_are_written() {
        for state in State::ALL {
            assert_eq!(State::from_code(state.code()), Some(state));
        }
        for code in 0..=u8::MAX {
            assert_eq!(PartnerState::from_code(code).code(), code);
        }
        assert_eq!(PartnerState::from_code(0), PartnerState::Unknown);
        assert_eq!(PartnerState::from_code(12), PartnerState::Undefined(12));
    }

    #[test]
    fn only_three_states_serve() {
        let serving: Vec<State> =
            State::ALL.into_iter().filter(|state| state.service() != Service::None).collect();
        assert_eq!(serving, [State::Normal, State::CommunicationsInterrupted, State::PartnerDown]);
    }
}
