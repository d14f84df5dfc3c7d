//! DNS over TCP (RFC 7766).
//!
//! It promises that a connection which brings nothing whole, or takes nothing, for
//! [`DNS_CONNECTION_IDLE`] is closed, and that its questions are answered one after the other, so
//! that one connection has at most one look-up going.

use crate::connections::{Refusals, accept};
use crate::handler::Transport;
use crate::limits::{DNS_CONNECTION_IDLE, DNS_CONNECTION_QUERIES_MAX, DNS_QUERY_BYTES_MAX};
use crate::resolver::{Resolver, Work};
use crate::slots::Slots;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Answers what comes to `listener`, until it is dropped.
pub(crate) async fn serve(listener: TcpListener, slots: Arc<Slots>, resolver: Arc<Resolver>) {
    let counters = Arc::clone(&resolver.counters);
    let refusals = Refusals {
        total: &counters.connections_refused,
        source: &counters.connections_refused_source,
    };
    accept(listener, slots, &counters, refusals, |stream, source| {
        let resolver = Arc::clone(&resolver);
        async move {
            match converse(stream, source, &resolver).await {
                Ok(()) => {}
                Err(End::TimedOut) => resolver.counters.connections_timed_out.add_one(),
                Err(End::Oversized) => resolver.counters.connections_oversized.add_one(),
                Err(End::Broken(error)) => {
                    tracing::debug!(%error, %source, "a DNS connection broke");
                }
            }
        }
    })
    .await;
}

/// Why a connection ended before its client was done.
enum End {
    TimedOut,
    Oversized,
    Broken(io::Error),
}

async fn converse(
    mut stream: TcpStream,
    source: SocketAddr,
    resolver: &Resolver,
) -> Result<(), End> {
    for _ in 0..DNS_CONNECTION_QUERIES_MAX {
        let read = timeout(DNS_CONNECTION_IDLE, read_message(&mut stream));
        let Some(message) = read.await.map_err(|_elapsed| End::TimedOut)?? else {
            return Ok(());
        };
        let answer = match resolver.receive(&message, source, Transport::Tcp) {
            Work::Nothing => continue,
            Work::Send(answer) => answer,
            Work::LookUp(look_up) => resolver.look_up(look_up).await,
        };
        let write = timeout(DNS_CONNECTION_IDLE, write_message(&mut stream, &answer));
        if let Err(error) = write.await.map_err(|_elapsed| End::TimedOut)? {
            resolver.counters.sends_failed.add_one();
            resolver.counters.last_send_error.note(&error);
            return Err(End::Broken(error));
        }
    }
    Ok(())
}

/// The next message; `None` if the client is done.
async fn read_message(stream: &mut TcpStream) -> Result<Option<Vec<u8>>, End> {
    let length = match stream.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(End::Broken(error)),
    };
    if length > DNS_QUERY_BYTES_MAX {
        return Err(End::Oversized);
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await.map_err(End::Broken)?;
    Ok(Some(message))
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    // One write, so that length and message leave in one segment (RFC 7766, section 8).
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}
