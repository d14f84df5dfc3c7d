//! P3: when an ACK leaves, and when it is received, the kernel is right for its address: no permit of a
//! former holder, nothing of its flows, the own side in.

use super::{Verdict, Violation};
use crate::simulator::kernel::Kernel;
use crate::simulator::plan;
use crate::simulator::view::View;
use std::net::Ipv4Addr;
use vestibule_core::{Record, Side, Timestamp};

/// What there is to be held against each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    /// The kernel.
    pub(crate) kernel: &'a Kernel,
    /// What is durable.
    pub(crate) durable: &'a View,
    /// What will be durable when the group that is being committed is; the kernel is ahead by it.
    pub(crate) ahead: &'a [Record],
    /// True time in milliseconds.
    pub(crate) now: u64,
    /// The same on the server's clock.
    pub(crate) server_now: Timestamp,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct GateRight;

impl GateRight {
    /// An ACK for `address` leaves the server for `device`.
    ///
    /// # Errors
    /// [`Violation`] if the kernel is not right for it.
    pub(crate) fn leaves(&self, scene: Scene<'_>, address: Ipv4Addr, device: usize) -> Verdict {
        if !scene.durable.rules().is_by_sets(address) {
            return Ok(());
        }
        let Scene { kernel, durable, now, server_now, .. } = scene;
        let actual = kernel.side(address, now);
        let expected = durable.side(address, server_now);
        // What its registration let in has ended with the registration; the next tick lets it in again.
        let ended = durable
            .registration(plan::hardware(device))
            .is_some_and(|registration| !registration.is_valid(server_now));
        let excused = actual.is_none() && (kernel.is_flushed || ended);
        if actual != expected && !excused {
            return wrong("ACK leaves", address, device, actual, expected);
        }
        flows(scene, "ACK leaves", address, device)
    }

    /// A client receives an ACK for `address`.
    ///
    /// # Errors
    /// [`Violation`] if the kernel is not right for it, unless it failed since the ACK left.
    pub(crate) fn received(&self, scene: Scene<'_>, address: Ipv4Addr, device: usize) -> Verdict {
        let Scene { kernel, durable, ahead, now, server_now, .. } = scene;
        if !durable.rules().is_by_sets(address) || kernel.is_behind {
            return Ok(());
        }
        let actual = kernel.side(address, now);
        let expected = durable.side(address, server_now);
        let is_right = actual == expected
            || {
                let mut view = durable.clone();
                ahead.iter().for_each(|record| view.apply(record));
                actual == view.side(address, server_now)
            }
            // Nothing is let through; whatever it was that ended will be told to the kernel.
            || actual.is_none();
        if !is_right {
            return wrong("ACK received", address, device, actual, expected);
        }
        flows(scene, "ACK received", address, device)
    }

    /// The portal is told that a device has this side.
    ///
    /// # Errors
    /// [`Violation`] if an address of it has not.
    pub(crate) fn answered(&self, scene: Scene<'_>, addresses: &[Ipv4Addr], side: Side) -> Verdict {
        let Scene { kernel, durable, now, server_now, .. } = scene;
        for address in addresses {
            let actual = kernel.side(*address, now);
            // It may have ended by itself, or been given to another, since the decision.
            let is_still_so = durable.side(*address, server_now) == Some(side);
            if is_still_so && actual != Some(side) && !(actual.is_none() && kernel.is_flushed) {
                let what =
                    format!("the portal was told {side:?} for {address}, but it is {actual:?}");
                return Err(Violation::new("P3", what));
            }
        }
        Ok(())
    }
}

fn wrong(
    when: &str,
    address: Ipv4Addr,
    device: usize,
    actual: Option<Side>,
    expected: Option<Side>,
) -> Verdict {
    let what =
        format!("{when} for {address} to device {device}: in {actual:?}, not in {expected:?}");
    Err(Violation::new("P3", what))
}

fn flows(scene: Scene<'_>, when: &str, address: Ipv4Addr, device: usize) -> Verdict {
    let former = scene.kernel.flows_of(address).filter(|former| *former != device);
    let Some(former) = former else { return Ok(()) };
    let what = format!("{when} for {address} to device {device}: flows of device {former} live on");
    Err(Violation::new("P3", what))
}
