//! DNS over UDP.
//!
//! A few tasks for each socket read in batches, and answer on the spot whatever needs no look-up, so that
//! a lie costs no task and a small part of a call. It promises that the tasks it starts are never more
//! than the questions that may wait, and that between two batches everybody else has a turn.

use crate::datagrams::Batch;
use crate::handler::Transport;
use crate::limits::KERNEL_REFUSAL_REST;
use crate::resolver::{Resolver, Work};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Answers what comes to `socket`, until it is dropped. Several may share one socket.
pub(crate) async fn serve(socket: Arc<UdpSocket>, resolver: Arc<Resolver>) {
    let mut look_ups = JoinSet::new();
    let mut batch = Batch::new();
    loop {
        while look_ups.try_join_next().is_some() {}
        let received = match socket.readable().await {
            Ok(()) => socket.try_io(Interest::READABLE, || batch.receive(socket.as_fd())),
            Err(error) => Err(error),
        };
        match received {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => {
                resolver.counters.receives_failed.add_one();
                resolver.counters.last_receive_error.note(&error);
                tracing::debug!(%error, "the kernel gave no datagram");
                tokio::time::sleep(KERNEL_REFUSAL_REST).await;
                continue;
            }
        }
        for index in 0..batch.count() {
            let Some((message, source)) = batch.datagram(index) else { continue };
            if source.port() == 0 {
                resolver.counters.dropped_source.add_one();
                continue;
            }
            match resolver.receive(message, source, Transport::Udp) {
                Work::Nothing => {}
                Work::Send(answer) => batch.answer(index, &answer),
                Work::LookUp(look_up) => {
                    let (socket, resolver) = (Arc::clone(&socket), Arc::clone(&resolver));
                    look_ups.spawn(async move {
                        let answer = resolver.look_up(look_up).await;
                        if let Err(error) = socket.send_to(&answer, source).await {
                            not_sent(&resolver, &error, Some(source));
                        }
                    });
                }
            }
        }
        send(&socket, &resolver, &mut batch).await;
        tokio::task::yield_now().await;
    }
}

async fn send(socket: &UdpSocket, resolver: &Resolver, batch: &mut Batch) {
    while batch.is_waiting() {
        match socket.try_io(Interest::WRITABLE, || batch.send(socket.as_fd())) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Err(error) = socket.writable().await {
                    not_sent(resolver, &error, None);
                    return;
                }
            }
            Err(error) => not_sent(resolver, &error, None),
        }
    }
}

fn not_sent(resolver: &Resolver, error: &io::Error, to: Option<SocketAddr>) {
    resolver.counters.sends_failed.add_one();
    resolver.counters.last_send_error.note(error);
    tracing::debug!(%error, ?to, "an answer was not sent");
}
