//! What each client sent and got last, in little memory, for the story of one that did not get what it
//! should have.
//!
//! It promises to keep the last [`STEPS_MAX`] steps in the order in which they were, and to say how many
//! went before. It costs 84 bytes a client and no allocation.

use crate::client::State;
use crate::message::{Kind, Message, ReplyKind};
use crate::moment::Moment;
use crate::story::{self, STEPS_MAX};

/// A message that left or came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    #[default]
    Discover,
    Request,
    Reboot,
    Renew,
    Rebind,
    Inform,
    Release,
    Decline,
    Offer,
    Ack,
    Nak,
    /// A reply that the client did not wait for.
    Stray,
    /// A reply that names another relay, which no relay passes on.
    OtherRelay,
}

impl Step {
    /// What a client sends in a state.
    pub(super) const fn sent(message: &Message, state: State) -> Self {
        match (message.kind, state) {
            (Kind::Discover, _) => Self::Discover,
            (Kind::Request, State::Rebooting) => Self::Reboot,
            (Kind::Request, State::Renewing) => Self::Renew,
            (Kind::Request, State::Rebinding) => Self::Rebind,
            (Kind::Request, _) => Self::Request,
            (Kind::Inform, _) => Self::Inform,
            (Kind::Release, _) => Self::Release,
            (Kind::Decline, _) => Self::Decline,
        }
    }

    pub(super) const fn got(kind: ReplyKind) -> Self {
        match kind {
            ReplyKind::Offer => Self::Offer,
            ReplyKind::Ack => Self::Ack,
            ReplyKind::Nak => Self::Nak,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Discover => "sent DISCOVER",
            Self::Request => "sent REQUEST for the offer",
            Self::Reboot => "sent REQUEST in INIT-REBOOT",
            Self::Renew => "sent RENEW",
            Self::Rebind => "sent REBIND",
            Self::Inform => "sent INFORM",
            Self::Release => "sent RELEASE",
            Self::Decline => "sent DECLINE",
            Self::Offer => "got OFFER",
            Self::Ack => "got ACK",
            Self::Nak => "got NAK",
            Self::Stray => "got a reply that it did not wait for",
            Self::OtherRelay => "a reply named another relay and did not reach it",
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// Milliseconds since the run began; a run does not last 49 days.
    at: [u32; STEPS_MAX],
    what: [Step; STEPS_MAX],
    count: u32,
}

impl History {
    pub(super) fn note(&mut self, milliseconds: u64, step: Step) {
        let place = usize::try_from(self.count).unwrap_or(0) % STEPS_MAX;
        if let (Some(at), Some(what)) = (self.at.get_mut(place), self.what.get_mut(place)) {
            *at = u32::try_from(milliseconds).unwrap_or(u32::MAX);
            *what = step;
        }
        self.count = self.count.wrapping_add(1);
    }

    /// The steps that are kept, the oldest first.
    fn kept(&self) -> impl DoubleEndedIterator<Item = (u32, Step)> {
        let count = usize::try_from(self.count).unwrap_or(0);
        let first = count.saturating_sub(STEPS_MAX);
        (first..count).map(|place| {
            let place = place % STEPS_MAX;
            let at = self.at.get(place).copied().unwrap_or(0);
            (at, self.what.get(place).copied().unwrap_or_default())
        })
    }

    /// The steps as a story has them; `epoch` is the beginning of the run. And how many went before.
    pub(super) fn told(&self, epoch: u64) -> (Vec<story::Step>, u64) {
        let steps: Vec<_> = self
            .kept()
            .map(|(at, step)| story::Step {
                at: Moment(epoch.saturating_add(u64::from(at))).to_string(),
                what: step.words().to_owned(),
            })
            .collect();
        let left_out = u64::from(self.count).saturating_sub(steps.len() as u64);
        (steps, left_out)
    }

    /// How many messages of two kinds were sent since the last ACK, of those that are kept.
    pub(super) fn sent_since_ack(&self, kinds: [Step; 2]) -> [usize; 2] {
        let mut counts = [0; 2];
        for (_, step) in self.kept().rev().take_while(|(_, step)| *step != Step::Ack) {
            for (count, kind) in counts.iter_mut().zip(kinds) {
                *count += usize::from(step == kind);
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_steps_are_kept_in_their_order() {
        let mut history = History::default();
        assert_eq!(history.told(0), (Vec::new(), 0));
        history.note(1, Step::Discover);
        history.note(2, Step::Ack);
        for turn in 0..STEPS_MAX as u64 {
            history.note(10 + turn, if turn < 14 { Step::Renew } else { Step::Rebind });
        }
        let (steps, left_out) = history.told(1000);
        assert_eq!((steps.len(), left_out), (STEPS_MAX, 2));
        assert_eq!(
            (steps[0].at.as_str(), steps[0].what.as_str()),
            ("1970-01-01T00:00:01.010Z", "sent RENEW")
        );
        assert_eq!(history.sent_since_ack([Step::Renew, Step::Rebind]), [14, 2]);
        history.note(99, Step::Ack);
        assert_eq!(history.sent_since_ack([Step::Renew, Step::Rebind]), [0, 0]);
        assert!(size_of::<History>() <= 84);
    }
}
