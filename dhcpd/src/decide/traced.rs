//! What the deciding thread notes for [`Traces`](crate::trace::Traces): each packet with its answer or
//! reason, and what the gate is to do about its client.

use super::Turn;
use crate::trace::{Moment, What};
use std::net::Ipv4Addr;
use vestibule_core::{
    Command, GateChange, HardwareAddress, Input, MessageType, Reason, RegistrationTarget, Reply,
    Unanswered,
};

/// Whom a step is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subject {
    hardware: Option<HardwareAddress>,
    /// The packet, and the relay that it came through.
    packet: Option<(MessageType, Ipv4Addr)>,
    /// Whether it is noted what became of the packet.
    is_noted: bool,
}

impl Subject {
    /// Whom this input is about; nobody, if it is about many or about time.
    pub(super) fn of(input: &Input<'_>) -> Self {
        let (hardware, packet) = match input {
            Input::Packet(request) => {
                (Some(request.hardware), Some((request.message_type, request.giaddr)))
            }
            Input::Command(_, command) => (
                match command {
                    Command::Register(register) => match register.target {
                        RegistrationTarget::Hardware(hardware) => Some(hardware),
                        _ => None,
                    },
                    Command::Unregister(hardware)
                    | Command::Suspend { hardware, .. }
                    | Command::Resume(hardware) => Some(*hardware),
                    _ => None,
                },
                None,
            ),
            _ => (None, None),
        };
        Self { hardware, packet, is_noted: false }
    }
}

impl Turn {
    /// A packet is answered.
    pub(super) fn note_reply(&mut self, reply: &Reply, reason: Option<Reason>) {
        let Some((message, _)) = self.subject.packet else { return };
        self.subject.is_noted = true;
        let what = What::Decided { message, answer: Some(reply.message_type), reason };
        let moment = Moment { time: self.now, what, address: reply.yiaddr, giaddr: reply.giaddr };
        self.traces.note(reply.hardware, &moment);
    }

    /// A packet is not answered.
    pub(super) fn note_unanswered(&mut self, unanswered: &Unanswered) {
        self.subject.is_noted = true;
        let Unanswered { reason, message_type, hardware, giaddr } = *unanswered;
        let what = What::Decided { message: message_type, answer: None, reason: Some(reason) };
        let address = Ipv4Addr::UNSPECIFIED;
        self.traces.note(hardware, &Moment { time: self.now, what, address, giaddr });
    }

    /// The kernel is to treat an address otherwise.
    pub(super) fn note_gate(&mut self, change: &GateChange) {
        let Some(hardware) = self.subject.hardware else { return };
        let what = What::Gate(change.side.map(|(side, _)| side));
        let giaddr = Ipv4Addr::UNSPECIFIED;
        let moment = Moment { time: self.now, what, address: change.address, giaddr };
        self.traces.note(hardware, &moment);
    }

    /// The step is done: a packet that wants no answer is noted as that.
    pub(super) fn note_end(&mut self) {
        let Subject { hardware, packet, is_noted } = std::mem::take(&mut self.subject);
        if let (Some(hardware), Some((message, giaddr)), false) = (hardware, packet, is_noted) {
            let what = What::Decided { message, answer: None, reason: None };
            let address = Ipv4Addr::UNSPECIFIED;
            self.traces.note(hardware, &Moment { time: self.now, what, address, giaddr });
        }
    }
}
