//! Writes what is to be said until the connection is closed or breaks.

use super::super::codec::encode;
use super::{Errand, LinkCounts, LinkEnd, Outbound};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

/// Messages that are written at once.
const WRITE_MESSAGES: usize = 64;

/// How long a partner may take to read what is written at once.
const WRITE_TIME_MAX: Duration = Duration::from_secs(60);

/// Writes until the connection is over.
pub(super) async fn write(
    stream: &mut OwnedWriteHalf,
    outbound: &Outbound,
    counts: &LinkCounts,
) -> LinkEnd {
    let mut bytes = Vec::new();
    loop {
        let Some(errands) = outbound.take(WRITE_MESSAGES).await else { return LinkEnd::Slow };
        bytes.clear();
        let mut end = None;
        let mut messages = 0;
        for errand in errands {
            match errand {
                Errand::Say(message) => match encode(&message, &mut bytes) {
                    Ok(()) => messages += 1,
                    Err(error) => end = Some(LinkEnd::Encode(error)),
                },
                Errand::Close(reason) => end = Some(LinkEnd::Decided(reason)),
            }
            if end.is_some() {
                break;
            }
        }
        match timeout(WRITE_TIME_MAX, stream.write_all(&bytes)).await {
            Ok(Ok(())) => counts.sent_more(messages),
            Ok(Err(error)) => return LinkEnd::Lost(error),
            Err(_) => return LinkEnd::Slow,
        }
        if let Some(end) = end {
            // What was written leaves before the end; the partner may be gone already.
            let _gone = stream.shutdown().await;
            return end;
        }
    }
}
