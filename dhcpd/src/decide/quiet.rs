//! How often the same thing is said in the log: once a minute.
//!
//! Strangers can provoke these lines, so both their rate and the memory of them are bounded (P5).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long after a line the same line is not said again.
const SILENCE: Duration = Duration::from_secs(60);

/// Things that are remembered at most. When there are more, the others have to share one line.
const SUBJECTS_MAX: usize = 256;

/// What was said, and when.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    said: BTreeMap<Box<str>, Instant>,
}

impl Quiet {
    /// Whether a line about this subject may be said now; if so, it counts as said.
    pub(crate) fn may_say(&mut self, subject: &str) -> bool {
        let now = Instant::now();
        if let Some(said) = self.said.get_mut(subject) {
            let may = now.duration_since(*said) >= SILENCE;
            if may {
                *said = now;
            }
            return may;
        }
        if self.said.len() >= SUBJECTS_MAX {
            self.said.retain(|_, said| now.duration_since(*said) < SILENCE);
        }
        let full = self.said.len() >= SUBJECTS_MAX;
        if full && subject != OTHERS {
            return self.may_say(OTHERS);
        }
        self.said.insert(subject.into(), now);
        true
    }
}

/// The subject of everything beyond [`SUBJECTS_MAX`].
const OTHERS: &str = "others";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_said_once_and_others_beside_it() {
        let mut quiet = Quiet::default();
        assert!(quiet.may_say("one"));
        assert!(!quiet.may_say("one"));
        assert!(quiet.may_say("two"));
    }

    #[test]
    fn a_flood_of_subjects_is_bounded() {
        let mut quiet = Quiet::default();
        let said = (0..10_000).filter(|number| quiet.may_say(&number.to_string())).count();
        assert_eq!(said, SUBJECTS_MAX + 1);
        assert!(quiet.said.len() <= SUBJECTS_MAX + 1);
    }
}
