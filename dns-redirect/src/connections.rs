//! Accepting connections, within limits.
//!
//! It promises that no more connections are open than there are slots, that one beyond that is
//! closed at once (a client that is told no asks elsewhere; one that is not told waits), and that a
//! kernel which has no descriptor left is asked again only after a rest.

use crate::counters::{Counter, Counters};
use crate::limits::KERNEL_REFUSAL_REST;
use crate::slots::{NoSlot, Slots};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What counts the connections that are turned away.
#[derive(Clone, Copy)]
pub(crate) struct Refusals<'a> {
    /// For want of a slot.
    pub(crate) total: &'a Counter,
    /// Because the source has enough.
    pub(crate) source: &'a Counter,
}

/// Accepts from `listener` and has `serve` work on each connection that gets a slot, until it is
/// dropped; the connections end with it.
pub(crate) async fn accept<S, F>(
    listener: TcpListener,
    slots: Arc<Slots>,
    counters: &Counters,
    refusals: Refusals<'_>,
    serve: S,
) where
    S: Fn(TcpStream, SocketAddr) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, source)) => match slots.take(source) {
                Ok(slot) => {
                    let work = serve(stream, source);
                    connections.spawn(async move {
                        work.await;
                        drop(slot);
                    });
                }
                Err(NoSlot::Total) => refusals.total.add_one(),
                Err(NoSlot::Source) => refusals.source.add_one(),
            },
            Err(error) => {
                counters.receives_failed.add_one();
                counters.last_receive_error.note(&error);
                tracing::debug!(%error, "the kernel gave no connection");
                tokio::time::sleep(KERNEL_REFUSAL_REST).await;
            }
        }
    }
}
