//! DNS over UDP.
//!
//! One task for each socket reads, and answers on the spot whatever needs no look-up, so that a
//! lie costs no task. It promises that the tasks it starts are never more than the look-up slots.

use crate::handler::Transport;
use crate::limits::KERNEL_REFUSAL_REST;
use crate::resolver::{Resolver, Work};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Answers what comes to `socket`, until it is dropped.
pub(crate) async fn serve(socket: UdpSocket, resolver: Arc<Resolver>) {
    let socket = Arc::new(socket);
    let mut look_ups = JoinSet::new();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        while look_ups.try_join_next().is_some() {}
        let (length, source) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                resolver.counters.receives_failed.add_one();
                resolver.counters.last_receive_error.note(&error);
                tracing::debug!(%error, "the kernel gave no datagram");
                tokio::time::sleep(KERNEL_REFUSAL_REST).await;
                continue;
            }
        };
        if source.port() == 0 {
            resolver.counters.dropped_source.add_one();
            continue;
        }
        let message = buffer.get(..length).unwrap_or_default();
        match resolver.receive(message, source, Transport::Udp) {
            Work::Nothing => {}
            Work::Send(answer) => send(&socket, &resolver, &answer, source).await,
            Work::LookUp(look_up) => {
                let (socket, resolver) = (Arc::clone(&socket), Arc::clone(&resolver));
                look_ups.spawn(async move {
                    let answer = resolver.look_up(look_up).await;
                    send(&socket, &resolver, &answer, source).await;
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, resolver: &Resolver, answer: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(answer, to).await {
        resolver.counters.sends_failed.add_one();
        resolver.counters.last_send_error.note(&error);
        tracing::debug!(%error, %to, "an answer was not sent");
    }
}
