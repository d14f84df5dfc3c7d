//! What the decide thread hands to the barrier: one step of the core each, with what is held for it.

use std::net::Ipv4Addr;
use std::time::Instant;
use tokio::sync::oneshot;
use vestibule_core::{
    Answer, Destination, GateChange, MessageType, Record, Sequence, Side, SocketIndex,
};

/// A reply, encoded, that leaves after the commit.
#[derive(Debug)]
pub struct HeldReply {
    /// The message.
    pub bytes: Vec<u8>,
    /// What it is, for the counters.
    pub message_type: MessageType,
    /// The socket that it leaves by.
    pub socket: SocketIndex,
    /// The address that it leaves from.
    pub source: Ipv4Addr,
    /// Where it goes.
    pub destination: Destination,
    /// When the lease that it grants ends: from then on it must not leave (P1). `None`: it grants none.
    pub lease_ends: Option<Instant>,
}

/// An answer that is given after the commit.
#[derive(Debug)]
pub struct HeldAnswer {
    /// What.
    pub answer: Answer,
    /// To whom.
    pub to: oneshot::Sender<Answer>,
}

/// One step of the core that has something to commit, or somebody who waits for what came before.
#[derive(Debug, Default)]
pub struct Work {
    /// Its number; the steps before it have lower ones. `None` for one that changes nothing.
    pub sequence: Option<Sequence>,
    /// When the core decided it: the remaining times in it count from then. `None`: they count from now.
    pub decided: Option<Instant>,
    /// What has to be durable.
    pub records: Vec<Record>,
    /// What the kernel has to be told.
    pub gate: Vec<GateChange>,
    /// The whole of what the kernel sets should hold, as of this step.
    pub gate_replace: Option<Vec<(Ipv4Addr, Side, u64)>>,
    /// Replies that wait for it.
    pub replies: Vec<HeldReply>,
    /// Answers that wait for it.
    pub answers: Vec<HeldAnswer>,
    /// Who wants to know when it is done.
    pub barriers: Vec<oneshot::Sender<()>>,
}

impl Work {
    /// Whether its replies and answers need the kernel sets to be right. An answer always does: what it
    /// tells may rest on a change that came before it.
    pub(super) fn needs_gate(&self) -> bool {
        !self.gate.is_empty() || !self.answers.is_empty()
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
        for (_, _, milliseconds) in self.gate_replace.iter_mut().flatten() {
            aged(milliseconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_waited_for_its_commit_lives_no_longer_for_it() {
        let now = Instant::now() + Duration::from_secs(60);
        let element = |milliseconds| (Ipv4Addr::LOCALHOST, Side::Registered, milliseconds);
        let change = |milliseconds| GateChange {
            address: Ipv4Addr::LOCALHOST,
            side: Some((Side::Registered, milliseconds)),
            forget_flows: false,
        };
        let mut work = Work {
            decided: now.checked_sub(Duration::from_secs(5)),
            gate: vec![change(12_000), change(3_000)],
            gate_replace: Some(vec![element(6_000)]),
            ..Work::default()
        };
        work.age(now);
        assert_eq!(work.gate, [change(7_000), change(1)]);
        assert_eq!(work.gate_replace, Some(vec![element(1_000)]));
    }
}
