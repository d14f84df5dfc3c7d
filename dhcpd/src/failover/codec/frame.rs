//! Whole messages out of a byte stream that comes in pieces of any size.
//!
//! It holds at most one message that is not whole, so a peer that sends halves costs 2048 bytes. It
//! never looks past the length of a message.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::decode::Broken;

/// Bytes of the shortest message: its header.
pub const MESSAGE_LENGTH_MIN: usize = 12;

/// Bytes of the longest message that ISC dhcpd reads, and that is sent or read here.
pub const MESSAGE_LENGTH_MAX: usize = 2048;

/// What came in and was not yet taken out.
#[derive(Debug, Default)]
pub struct FrameReader {
    pending: Vec<u8>,
}

impl FrameReader {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { pending: Vec::new() }
    }

    /// Takes in what was read, and hands each whole message to `each`, in order. `each` ends the
    /// reading by an error of its own.
    ///
    /// # Errors
    /// [`Broken::Length`], if a length is not that of a message: where the next one begins is not known
    /// any more, so the connection is to be closed. Else whatever `each` said. Messages before the fault
    /// have been handed out.
    pub fn read<E: From<Broken>>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = bytes;
        // What is left of the message before is completed first; the rest is read where it stands.
        while !self.pending.is_empty() {
            let wanted = match self.pending.get(..2) {
                Some(_) => message_length(&self.pending)?.unwrap_or(2),
                None => 2,
            };
            let missing = wanted.saturating_sub(self.pending.len()).min(rest.len());
            let (taken, after) = rest.split_at(missing);
            self.pending.extend_from_slice(taken);
            rest = after;
            match message_length(&self.pending)? {
                Some(length) if self.pending.len() >= length => {
                    let message = std::mem::take(&mut self.pending);
                    each(&message)?;
                    // Its memory serves the next half message.
                    self.pending = message;
                    self.pending.clear();
                }
                _ if rest.is_empty() => return Ok(()),
                _ => {}
            }
        }
        while let Some(length) = message_length(rest)? {
            let Some((message, after)) = rest.split_at_checked(length) else { break };
            each(message)?;
            rest = after;
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Bytes of the message that is not whole yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }
}

/// The length that a message begins with; `None`: not even that is there.
fn message_length(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let Some(length) = bytes.first_chunk::<2>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if (MESSAGE_LENGTH_MIN..=MESSAGE_LENGTH_MAX).contains(&length) {
        Ok(Some(length))
    } else {
        Err(Broken::Length(length))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = u16::try_from(length).unwrap().to_be_bytes().to_vec();
        bytes.resize(length, 0xaa);
        bytes
    }

    proptest! {
        #[test]
        fn however_the_stream_is_cut_the_messages_are_the_same(
            lengths in prop::collection::vec(12_usize..=2048, 0..12),
            cuts in prop::collection::vec(1_usize..700, 1..60),
            tail in 0_usize..12,
        ) {
            let messages: Vec<Vec<u8>> = lengths.into_iter().map(message).collect();
            let mut stream = messages.concat();
            stream.extend_from_slice(&message(12)[..tail]);
            let mut reader = FrameReader::new();
            let mut read = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                reader.read::<Broken>(piece, |message| {
                    read.push(message.to_vec());
                    Ok(())
                }).unwrap();
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(read, messages);
            prop_assert_eq!(reader.pending(), tail);
        }
    }

    #[test]
    fn a_length_that_is_none_ends_the_stream() {
        for length in [0, 1, 11, 2049, 0xffff] {
            let mut stream = message(12);
            stream.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            let mut count = 0;
            let result = FrameReader::new().read(&stream, |_| {
                count += 1;
                Ok(())
            });
            assert_eq!((result, count), (Err(Broken::Length(length)), 1));
        }
    }
}
