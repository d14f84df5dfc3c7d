//! P6: every packet has exactly one end: a reply, a named reason, or the end of the process.

use super::{Verdict, Violation};

/// See the module. Counts one life of the process.
#[derive(Debug, Default)]
pub(crate) struct Accounted {
    received: u64,
    replied: u64,
}

impl Accounted {
    /// A process starts.
    pub(crate) fn started(&mut self) {
        *self = Self::default();
    }

    /// A packet arrived.
    pub(crate) fn arrived(&mut self) {
        self.received += 1;
    }

    /// The network is said to have lost a packet that had arrived.
    pub(crate) fn lost(&mut self) {
        self.received -= 1;
    }

    /// The core said so many times what becomes of a packet.
    ///
    /// # Errors
    /// [`Violation`] if that was not once.
    pub(crate) fn decided(ends: usize) -> Verdict {
        if ends == 1 {
            return Ok(());
        }
        Err(Violation::new("P6", format!("a packet has {ends} ends")))
    }

    /// A packet that the core never saw, because the decoder gave its reason.
    pub(crate) fn not_decoded(&mut self) {
        self.received += 1;
    }

    /// A reply left.
    pub(crate) fn replied(&mut self) {
        self.replied += 1;
    }

    /// `unanswered`: packets that have ended with a reason. `is_quiet`: nothing waits for anything.
    ///
    /// # Errors
    /// [`Violation`] if there are more ends than packets, or fewer when nothing waits.
    pub(crate) fn look(&self, unanswered: u64, is_quiet: bool) -> Verdict {
        let ends = self.replied + unanswered;
        if ends == self.received || (ends < self.received && !is_quiet) {
            return Ok(());
        }
        let what = format!("{self:?}, and {unanswered} ended with a reason");
        Err(Violation::new("P6", what))
    }
}
