//! P7: once nothing goes wrong any more, every client that has room gets its address and its ACK.

use super::{Verdict, Violation};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Live {
    healed: Option<u64>,
}

impl Live {
    /// From now on nothing goes wrong.
    pub(crate) fn healed(&mut self, now: u64) {
        self.healed = Some(now);
    }

    /// The end. Each device that is on, with the time of its last ACK and whether it has a lease.
    ///
    /// # Errors
    /// [`Violation`] if one of them is without a lease or was not acknowledged since.
    pub(crate) fn end(&self, devices: impl Iterator<Item = (usize, Option<u64>, bool)>) -> Verdict {
        let Some(healed) = self.healed else { return Ok(()) };
        for (device, acknowledged, has_lease) in devices {
            if !has_lease || acknowledged.is_none_or(|at| at < healed) {
                let what = format!(
                    "device {device}: a lease: {has_lease}, last ACK at {acknowledged:?}, healed at {healed}"
                );
                return Err(Violation::new("P7", what));
            }
        }
        Ok(())
    }
}
