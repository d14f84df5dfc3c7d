//! Reads a connection to its end and hands over what it says.

use super::super::codec::{Broken, FrameReader, Unusable, decode};
use super::{FromPartner, LinkEnd};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc;
use vestibule_core::failover::{Body, Message};

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// Messages in one second that ask for something, rather than tell what became of an address, at most. Each
/// of them may cause many others.
const REQUESTS_PER_SECOND_MAX: u32 = 200;

/// Reads until the connection is over; `None` if nobody takes what comes any more.
pub(super) async fn read(
    stream: &mut OwnedReadHalf,
    inbox: &mpsc::Sender<FromPartner>,
    wake: &(dyn Fn() + Send + Sync),
) -> Option<LinkEnd> {
    let mut frames = FrameReader::new();
    let mut requests = Requests::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = match stream.read(&mut buffer).await {
            Ok(0) if frames.pending() == 0 => return Some(LinkEnd::Left),
            Ok(0) => return Some(LinkEnd::HalfMessage(frames.pending())),
            Ok(count) => count,
            Err(error) => return Some(LinkEnd::Lost(error)),
        };
        let mut events = Vec::new();
        let bytes = buffer.get(..count).unwrap_or_default();
        let whole = frames.read(bytes, |bytes| match decode(bytes) {
            Ok(message) => {
                if !requests.may_come(&message) {
                    return Err(Stop::Flood);
                }
                events.push(FromPartner::Said(message));
                Ok(())
            }
            Err(Unusable::Refused(refused)) => {
                events.push(FromPartner::Unreadable(refused));
                Ok(())
            }
            Err(Unusable::Unknown(message_type)) => {
                tracing::debug!(message_type, "a message of the partner that nobody knows");
                Ok(())
            }
            Err(Unusable::Broken(broken)) => Err(Stop::Broken(broken)),
        });
        for event in events {
            // Full: the partner waits, as long as the deciding thread does.
            if let Err(mpsc::error::TrySendError::Full(event)) = inbox.try_send(event) {
                wake();
                inbox.send(event).await.ok()?;
            }
        }
        wake();
        match whole {
            Ok(()) => {}
            Err(Stop::Broken(broken)) => return Some(LinkEnd::Broken(broken)),
            Err(Stop::Flood) => return Some(LinkEnd::Flood),
        }
    }
}

/// Why reading stops.
enum Stop {
    Broken(Broken),
    Flood,
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// How many requests came lately.
#[derive(Debug, Default)]
struct Requests {
    since: Option<Instant>,
    count: u32,
}

impl Requests {
    /// Whether this message is not one too many.
    fn may_come(&mut self, message: &Message) -> bool {
        let tells = matches!(
            message.body,
            // The core counts CONTACT itself.
            Body::BindingUpdate(_) | Body::BindingAcknowledgement { .. } | Body::Contact
        );
        if tells {
            return true;
        }
        let now = Instant::now();
        let is_old = |since: Instant| now.duration_since(since) >= Duration::from_secs(1);
        if self.since.is_none_or(is_old) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count += 1;
        self.count <= REQUESTS_PER_SECOND_MAX
    }
}
