//! What must hold of every stream that a failover peer could send.

use crate::failover::{Broken, FrameReader, Unusable, decode, encode};

/// Takes the stream apart as it came and byte by byte, and each message that can be read to bytes and
/// back.
///
/// # Panics
/// If a promise of `failover` is broken.
pub fn check(bytes: &[u8]) {
    let (whole, whole_end) = messages(bytes, bytes.len().max(1));
    let (pieces, pieces_end) = messages(bytes, 1);
    assert_eq!((&whole, whole_end), (&pieces, pieces_end), "how a stream is cut changes nothing");
    for message in whole {
        let decoded = match decode(&message) {
            Ok(decoded) => decoded,
            Err(Unusable::Broken(_) | Unusable::Unknown(_)) => continue,
            Err(Unusable::Refused(refused)) => {
                assert!(refused.rejection.message.is_some(), "a refusal says why");
                continue;
            }
        };
        let mut again = Vec::new();
        // What must not be said to a peer may well be heard of one.
        if encode(&decoded, &mut again).is_ok() {
            assert_eq!(decode(&again), Ok(decoded));
        } else {
            assert!(again.is_empty());
        }
    }
}

/// The messages of a stream that comes in pieces of a size, and how it ends.
fn messages(bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, Result<usize, Broken>) {
    let mut reader = FrameReader::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(piece) {
        let read = reader.read::<Broken>(piece, |message| {
            found.push(message.to_vec());
            Ok(())
        });
        if let Err(broken) = read {
            return (found, Err(broken));
        }
    }
    let pending = reader.pending();
    assert!(pending < 2048, "at most one message waits for its end");
    (found, Ok(pending))
}
