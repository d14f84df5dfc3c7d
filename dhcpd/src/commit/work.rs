//! What the decide thread hands to the barrier: what one turn of it decided, with what is held for it.

use super::outbox::{Envelope, Outbox};
use crate::events::Packed;
use crate::failover::ToPartner;
use crate::net::Outgoing;
use std::time::Instant;
use tokio::sync::oneshot;
use vestibule_core::{Answer, GateChange, GateContents, Record, Sequence};

/// An answer that is given after the commit.
#[derive(Debug)]
pub struct HeldAnswer {
    /// What.
    pub answer: Answer,
    /// To whom.
    pub to: oneshot::Sender<Answer>,
}

/// A reply that has left its turn behind because the kernel sets are broken.
#[derive(Debug)]
pub struct HeldReply {
    /// Where it goes.
    pub envelope: Envelope,
    /// The message.
    pub bytes: Box<[u8]>,
}

impl HeldReply {
    /// The reply as it is sent.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing<'_> {
        let Envelope { socket, source, destination, .. } = self.envelope;
        Outgoing { bytes: &self.bytes, socket, source, destination }
    }
}

/// The whole of what the kernel sets should hold, as of one moment in a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateReplacement {
    /// How many of the turn's changes came before it; it was computed with them in mind.
    pub changes_before: usize,
    /// They.
    pub contents: GateContents,
}

/// What one turn has to commit, and who waits for it. Its memory is used again.
#[derive(Debug, Default)]
pub struct Work {
    /// The number of its last step; the turns before it have lower ones. `None` for one that changes
    /// nothing.
    pub sequence: Option<Sequence>,
    /// How many steps of the core it is.
    pub steps: usize,
    /// When its first step was decided: the remaining times in it count from then. `None`: they count
    /// from now.
    pub decided: Option<Instant>,
    /// What has to be durable.
    pub records: Vec<Record>,
    /// What the kernel has to be told.
    pub gate: Vec<GateChange>,
    /// The newest replacement of the kernel sets as a whole.
    pub gate_replace: Option<GateReplacement>,
    /// Replies that wait for it.
    pub replies: Outbox,
    /// Answers that wait for it. An answer always needs the kernel sets to be right: what it tells may
    /// rest on a change that came before it.
    pub answers: Vec<HeldAnswer>,
    /// What the failover partner is told when it is durable, in order, after the replies have left. It does
    /// not wait for the kernel sets: what is said to clients does.
    pub to_partner: Vec<ToPartner>,
    /// What others are told when it is durable and in the kernel.
    pub events: Packed,
    /// Who wants to know when it is durable.
    pub barriers: Vec<oneshot::Sender<()>>,
}

impl Work {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps == 0
            && self.barriers.is_empty()
            && self.events.is_empty()
            && self.to_partner.is_empty()
    }

    /// Empties it; the memory stays, as long as it is not more than a turn usually takes.
    pub(super) fn clear(&mut self) {
        self.sequence = None;
        self.steps = 0;
        self.decided = None;
        self.records.clear();
        self.gate.clear();
        self.gate_replace = None;
        self.replies.clear();
        self.answers.clear();
        self.to_partner.clear();
        self.events.clear();
        self.barriers.clear();
    }

    /// Takes the time that has passed since the decision off the remaining times, so that no element
    /// outlives its lease because it waited.
    pub(super) fn age(&mut self, now: Instant) {
        let Some(decided) = self.decided.take() else { return };
        let passed = now.saturating_duration_since(decided).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        // At least a millisecond is left: the kernel takes 0 for "never ends".
        let aged =
            |milliseconds: &mut u64| *milliseconds = milliseconds.saturating_sub(passed).max(1);
        for change in &mut self.gate {
            if let Some((_, milliseconds)) = &mut change.side {
                aged(milliseconds);
            }
        }
        let replacement = self.gate_replace.iter_mut();
        for (_, _, milliseconds) in
            replacement.flat_map(|replacement| &mut replacement.contents.elements)
        {
            aged(milliseconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;
    use vestibule_core::Side;

    #[test]
    fn what_waited_for_its_commit_lives_no_longer_for_it() {
        let now = Instant::now() + Duration::from_secs(60);
        let replacement = |milliseconds| GateReplacement {
            changes_before: 0,
            contents: GateContents {
                elements: vec![(Ipv4Addr::LOCALHOST, Side::Registered, milliseconds)],
                holders: Vec::new(),
            },
        };
        let change = |milliseconds| GateChange {
            address: Ipv4Addr::LOCALHOST,
            side: Some((Side::Registered, milliseconds)),
            forget_flows: false,
            holder: None,
        };
        let mut work = Work {
            decided: now.checked_sub(Duration::from_secs(5)),
            gate: vec![change(12_000), change(3_000)],
            gate_replace: Some(replacement(6_000)),
            ..Work::default()
        };
        work.age(now);
        assert_eq!(work.gate, [change(7_000), change(1)]);
        assert_eq!(work.gate_replace, Some(replacement(1_000)));
    }
}
