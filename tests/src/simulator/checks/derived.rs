//! P4: the kernel sets, the core's idea of them and f(durable leases, registrations, now) are one.

use super::{Verdict, Violation};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::Side;

/// See the module. Asked when nothing is under way; for moments in which something still is, it is
/// asked again, and only the last verdict counts.
#[derive(Debug, Default)]
pub(crate) struct Derived;

impl Derived {
    /// Nothing is under way.
    ///
    /// # Errors
    /// [`Violation`] if the three differ.
    pub(crate) fn quiet(
        &self,
        kernel: &BTreeMap<Ipv4Addr, Side>,
        core: &BTreeMap<Ipv4Addr, Side>,
        durable: &BTreeMap<Ipv4Addr, Side>,
    ) -> Verdict {
        for (name, other) in [("the core", core), ("the durable journal", durable)] {
            let addresses = kernel.keys().chain(other.keys());
            for address in addresses {
                let (left, right) = (kernel.get(address), other.get(address));
                if left != right {
                    let what = format!(
                        "{address} is in {left:?} in the kernel, but {name} has it in {right:?}"
                    );
                    return Err(Violation::new("P4", what));
                }
            }
        }
        Ok(())
    }
}
