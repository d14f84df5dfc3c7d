//! What a client went through that did not get what it should have: who, when, what it sent and what
//! came back, for people to read.
//!
//! It promises that of each kind the first [`STORIES_PER_KIND_MAX`] of a run are told and the others
//! counted. Times are RFC 3339, because these are texts.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;

/// Stories of each kind that are told.
pub const STORIES_PER_KIND_MAX: usize = 25;
/// Stories that are told at most.
pub const STORIES_MAX: usize = STORIES_PER_KIND_MAX * StoryKind::ALL.len();
/// Steps of a story: the last ones before its end.
pub const STEPS_MAX: usize = 16;

/// What a story is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoryKind {
    /// A lease ended because nobody renewed it.
    Expired,
    /// A server sent a NAK.
    Refused,
    /// A REQUEST or an INFORM was given up because nobody answered it.
    Unanswered,
}

impl StoryKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Expired, Self::Refused, Self::Unanswered];
}

impl fmt::Display for StoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "lease ran out",
            Self::Refused => "refused",
            Self::Unanswered => "given up",
        })
    }
}

/// A story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Story {
    /// What it is about.
    pub kind: StoryKind,
    /// The client's hardware address.
    pub client: String,
    /// Its relay.
    pub giaddr: Ipv4Addr,
    /// The address that it was about, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// When it ended, as RFC 3339.
    pub at: String,
    /// It in a sentence.
    pub sentence: String,
    /// What the client sent and got until then; the last [`STEPS_MAX`].
    pub steps: Vec<Step>,
    /// Steps before those.
    pub steps_left_out: u64,
}

/// A step of a story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// When, as RFC 3339.
    pub at: String,
    /// What, such as `sent RENEW` or `got ACK`.
    pub what: String,
}

/// The stories of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stories {
    /// Those that are told, in the order in which they ended.
    pub told: Vec<Story>,
    /// How many are not told.
    pub left_out: u64,
}

impl Stories {
    /// Whether another one of a kind would be told. If not, it is counted.
    pub fn has_room(&mut self, kind: StoryKind) -> bool {
        let told = self.told.iter().filter(|story| story.kind == kind).count();
        let has_room = told < STORIES_PER_KIND_MAX;
        self.left_out += u64::from(!has_room);
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_takes_no_room_of_another() {
        let mut stories = Stories::default();
        let story = |kind| Story {
            kind,
            client: String::new(),
            giaddr: Ipv4Addr::LOCALHOST,
            address: None,
            at: String::new(),
            sentence: String::new(),
            steps: Vec::new(),
            steps_left_out: 0,
        };
        for kind in StoryKind::ALL {
            for _ in 0..STORIES_PER_KIND_MAX + 2 {
                if stories.has_room(kind) {
                    stories.told.push(story(kind));
                }
            }
        }
        assert_eq!((stories.told.len(), stories.left_out), (STORIES_MAX, 6));
    }
}
