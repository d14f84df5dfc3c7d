//! `make bench-gate`: the gate's own numbers. Changes of the kernel sets through the library; the way from
//! a call of the portal to the permit in the kernel, while many others are on the same way; and what registered
//! hosts notice of a crowd of unregistered ones.
//!
//! | file | idea |
//! | --- | --- |
//! | `sets` | changes of the sets, in batches, by the library alone |
//! | `calls` | registrations by the API, at a steady rate, over connections that are kept |
//! | `play` | the real server in namespaces of its own, with its leases |
//! | `phones` | what unregistered phones ask to find out whether they are online |
//! | `crowd` | many of them at once, and registered hosts beside them |
//! | `deliveries` | events that a webhook brings, from the decision to the receiver |
//! | `table` | what is printed |
//!
//! It promises that nothing is left out: a call that was answered late, wrongly or not at all is in the
//! figures, and latency counts from the moment at which the call was meant to be made. It never judges a
//! time: figures beside goals are for people, and only what is wrong is a failure.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures to be read by people"
)]

pub mod calls;
pub mod crowd;
pub mod deliveries;
pub mod phones;
pub mod play;
pub mod sets;
pub mod table;
