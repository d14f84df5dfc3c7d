//! More packets than can be decided: who waits, who is shed, and what the kernel throws away unread.
//!
//! The rules are the core's ([`Admission`](vestibule_core::Admission), [`Sieve`](vestibule_core::Sieve)); here they
//! meet the sockets. It promises that whatever is shed or thrown away is counted with its reason, and that the
//! kernel throws nothing away while all that comes can be decided.

use super::{PACKETS_DECIDED_PER_TURN_MAX, STEPS_WAITING_FOR_PACKETS_MAX, Turn};
use crate::net::Receiver;
use vestibule_core::{Input, MessageType, Reason, Request, Unanswered};

/// Whether it could be thrown away unread.
fn is_sievable(request: &Request) -> bool {
    request.message_type == MessageType::Discover
        && !request.arrival.attached
        && !request.giaddr.is_unspecified()
}

impl Turn {
    /// Decides what has come, in its order, or while there is too much of it, in that of the admission.
    pub(super) fn decide(&mut self, requests: &mut Vec<Request>) {
        let is_calm = self.admission.is_empty()
            && requests.len() <= PACKETS_DECIDED_PER_TURN_MAX
            && self.waiting_for_barrier() < STEPS_WAITING_FOR_PACKETS_MAX;
        if is_calm && self.sieve.mesh().is_open() {
            for request in requests.drain(..) {
                self.step(Input::Packet(&request));
            }
            return;
        }
        for request in requests.drain(..) {
            if is_sievable(&request) {
                self.sieve.read(request.giaddr);
            }
            if let Some((request, reason)) = self.admission.offer(request, self.now) {
                self.shed(&request, reason);
            }
        }
        for _ in 0..PACKETS_DECIDED_PER_TURN_MAX {
            if self.waiting_for_barrier() >= STEPS_WAITING_FOR_PACKETS_MAX {
                break;
            }
            let mut too_old = Vec::new();
            let next = self.admission.next(self.now, |request, reason| {
                too_old.push((request, reason));
            });
            for (request, reason) in too_old {
                self.shed(&request, reason);
            }
            let Some(request) = next else { break };
            if is_sievable(&request) {
                self.sieve.decided();
            }
            self.step(Input::Packet(&request));
        }
    }

    /// Has the kernel throw away what is far too much, and counts what it threw away.
    pub(super) fn sieve(&mut self, receiver: &mut Receiver) {
        let is_calm = self.admission.is_empty() && self.sieve.mesh().is_open();
        if is_calm || !self.sieve.is_due(self.now) {
            return;
        }
        let waiting = self.admission.relayed_discovers();
        let look = self.sieve.look(self.now, waiting, receiver.unread());
        for (giaddr, packets) in look.unread {
            self.metrics.unread(giaddr, packets);
        }
        if !look.is_changed {
            return;
        }
        let mesh = self.sieve.mesh();
        if !mesh.is_open() && self.quiet.may_say("overload-unread") {
            tracing::warn!(
                reason = %Reason::OverloadUnread,
                relays = mesh.relays.len(),
                "far more DISCOVERs come than can be served, and the kernel throws a part of them away; vestibule_packets_shed counts them by relay (said once a minute)"
            );
        }
        if let Err(error) = receiver.sieve(mesh)
            && self.quiet.may_say("sieve")
        {
            tracing::warn!(
                %error,
                "the kernel takes no filter, so that every packet is read before it is shed: under overload fewer clients are served (said once a minute)"
            );
        }
    }

    /// Has packets decoded with what the server's configuration looks at. What waits was decoded without the
    /// options that only this configuration looks at, and would be taken for other than it is: it is shed.
    pub(super) fn keep_options(&mut self) {
        let kept = self.server.kept_options();
        let is_less = kept.iter().all(|code| self.kept_options.has(code));
        self.kept_options = kept;
        while !is_less && !self.admission.is_empty() {
            let mut waited = Vec::new();
            let next = self.admission.next(self.now, |request, _| waited.push(request));
            for request in waited.into_iter().chain(next) {
                self.shed(&request, Reason::Overload);
            }
        }
    }

    fn shed(&mut self, request: &Request, reason: Reason) {
        self.unanswered(Unanswered {
            reason,
            message_type: request.message_type,
            hardware: request.hardware,
            giaddr: request.giaddr,
        });
    }
}
