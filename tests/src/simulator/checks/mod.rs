//! The checkers: one object for each promise, each with its own idea of what is true.
//!
//! They are told what clients received, what is durable and what the kernel holds. They never look into
//! the server, except where a promise is about just that.

pub(crate) mod accounted;
pub(crate) mod admitted;
pub(crate) mod bounded;
pub(crate) mod derived;
pub(crate) mod durable;
pub(crate) mod gate;
pub(crate) mod live;
pub(crate) mod placed;
pub(crate) mod ruled;
pub(crate) mod unique;

pub(crate) use accounted::Accounted;
pub(crate) use admitted::Admitted;
pub(crate) use bounded::Bounded;
pub(crate) use derived::Derived;
pub(crate) use durable::Durable;
pub(crate) use gate::GateRight;
pub(crate) use live::Live;
pub(crate) use placed::Placed;
pub(crate) use ruled::Ruled;
pub(crate) use unique::Unique;

use std::fmt;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which: `P1` to `P7`, or in words.
    pub promise: &'static str,
    /// How.
    pub what: String,
}

impl Violation {
    /// A promise is broken.
    #[must_use]
    pub(crate) const fn new(promise: &'static str, what: String) -> Self {
        Self { promise, what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// What a check says.
pub(crate) type Verdict = Result<(), Violation>;

/// One of each.
#[derive(Debug, Default)]
pub(crate) struct Checkers {
    /// P1.
    pub(crate) unique: Unique,
    /// P2.
    pub(crate) durable: Durable,
    /// P3.
    pub(crate) gate: GateRight,
    /// P4.
    pub(crate) derived: Derived,
    /// P5.
    pub(crate) bounded: Bounded,
    /// P6.
    pub(crate) accounted: Accounted,
    /// P5 and P6, while more comes than is served.
    pub(crate) admitted: Admitted,
    /// P7.
    pub(crate) live: Live,
    /// What the documents say of pools for one class of hosts.
    pub(crate) placed: Placed,
    /// What the documents say of registrations.
    pub(crate) ruled: Ruled,
}
