//! The failover partner at the deciding thread: what its connection brings goes into the core, what the
//! core wants said goes to the barrier.
//!
//! Everything that is said passes the barrier, in the order in which it was decided, also what waits for
//! nothing: so no message overtakes one that waits for its commit. A disk that stands still keeps the
//! server from saying that it is there, and it is not: it cannot serve.

use super::Turn;
use crate::failover::{ConnectionNumber, Errand, FromPartner, Refused, ToPartner};
use tokio::sync::mpsc;
use vestibule_core::failover::session::CLOCK_DIFFERENCE_SECONDS_MAX;
use vestibule_core::failover::{
    Body, FailoverNotice, Message, PartnerEffect, PartnerInput, PartnerState,
};
use vestibule_core::{AddressRange, Input};

/// What the partner's connection brought that is decided between two batches of packets at most.
const FROM_PARTNER_PER_TURN_MAX: usize = 256;

/// The connection that the core knows of.
#[derive(Debug, Default)]
pub(super) struct Partner {
    connection: ConnectionNumber,
    /// Whether its handshake is done.
    is_met: bool,
}

impl Turn {
    /// Takes in what the partner's connection has brought. Whether more is left that could be decided at once.
    pub(super) fn hear_partner(&mut self, inbox: Option<&mut mpsc::Receiver<FromPartner>>) -> bool {
        let Some(inbox) = inbox else { return false };
        for _ in 0..FROM_PARTNER_PER_TURN_MAX {
            if self.waiting_for_barrier() >= super::STEPS_WAITING_FOR_CALLS_MAX {
                // The barrier wakes this thread when it has caught up.
                return false;
            }
            let Ok(event) = inbox.try_recv() else { return false };
            match event {
                FromPartner::Connected(number) => {
                    self.partner = Partner { connection: number, is_met: false };
                    self.step(Input::Partner(PartnerInput::Connected));
                }
                FromPartner::Said(message) => {
                    self.step(Input::Partner(PartnerInput::Said(message)));
                }
                FromPartner::Unreadable(refused) => self.refuse(refused),
                FromPartner::Disconnected => {
                    self.partner.is_met = false;
                    self.step(Input::Partner(PartnerInput::Disconnected));
                }
            }
        }
        true
    }

    /// What the core wants done with the connection.
    pub(super) fn tell_partner(&mut self, effect: PartnerEffect) {
        let errand = match effect {
            PartnerEffect::Send { message, release: _ } => Errand::Say(*message),
            PartnerEffect::Close(reason) => {
                self.partner.is_met = false;
                Errand::Close(reason)
            }
        };
        self.work.to_partner.push(ToPartner { connection: self.partner.connection, errand });
    }

    /// Refuses an update that says nothing that can be meant; before the handshake it is not even refused.
    fn refuse(&mut self, refused: Refused) {
        let Refused { xid, time: _, address, rejection } = refused;
        if self.quiet.may_say("partner-unreadable") {
            let text = rejection.message.as_deref().map(String::from_utf8_lossy);
            tracing::warn!(
                ip = %address,
                "an update of the failover partner was refused: {} (said once a minute)",
                text.unwrap_or_default()
            );
        }
        if !self.partner.is_met {
            return;
        }
        let time = u32::try_from(self.now.seconds()).unwrap_or(u32::MAX);
        let body = Body::BindingAcknowledgement { address, reject: Some(rejection) };
        let errand = Errand::Say(Message { time, xid, body });
        self.work.to_partner.push(ToPartner { connection: self.partner.connection, errand });
    }

    /// Tells the operator of the pair.
    pub(super) fn notice_failover(&mut self, notice: &FailoverNotice) {
        match notice {
            FailoverNotice::StateChanged { from, to, partner } => {
                tracing::info!(%from, %to, %partner, "this server's failover state changed");
            }
            FailoverNotice::PartnerStateChanged { from: PartnerState::Unknown, to } => {
                tracing::info!(state = %to, "the failover partner's state is known");
            }
            FailoverNotice::PartnerStateChanged { from, to } => {
                tracing::info!(%from, %to, "the failover partner's state changed");
            }
            FailoverNotice::Connected { mclt_seconds, clock_ahead_seconds } => {
                self.partner.is_met = true;
                tracing::info!(mclt_seconds, clock_ahead_seconds, "met the failover partner");
                if clock_ahead_seconds.unsigned_abs() > CLOCK_DIFFERENCE_SECONDS_MAX.into() {
                    tracing::warn!(
                        clock_ahead_seconds,
                        "the failover partner's clock stands otherwise; the two correct each other's times, but set both clocks and \
                         run NTP on both"
                    );
                }
            }
            FailoverNotice::ContactLost => {
                self.partner.is_met = false;
                tracing::warn!("the failover partner cannot be heard any more");
            }
            FailoverNotice::UpdateRefusedByPartner { address, status, reject } => {
                tracing::debug!(ip = %address, %status, ?reject, "the failover partner refused an update");
                if self.quiet.may_say("partner-refuses") {
                    tracing::warn!(
                        ip = %address,
                        %status,
                        ?reject,
                        "the failover partner refused an update; it is offered again: {} (said once a minute)",
                        reject.words()
                    );
                }
            }
            FailoverNotice::UpdateRefused { address, status, reject } => {
                tracing::debug!(ip = %address, %status, ?reject, "refused an update of the failover partner");
                if self.quiet.may_say("partner-refused") {
                    tracing::warn!(
                        ip = %address,
                        %status,
                        ?reject,
                        "an update of the failover partner was refused: {} (said once a minute)",
                        reject.words()
                    );
                }
            }
            FailoverNotice::PoolsDiffer(mismatch) => {
                let (here, there) = (mismatch.only_here_count, mismatch.only_there_count);
                tracing::warn!(
                    here,
                    there,
                    "the pools of the two halves differ. In pools here and refused by the partner: {}. In pools of the partner and \
                     none here: {}. Configure the same pools on both (said once a minute at most)",
                    names_of(&mismatch.only_here, here),
                    names_of(&mismatch.only_there, there)
                );
            }
            FailoverNotice::AddressesGiven(count) => {
                tracing::info!(count, "free addresses were given to the failover partner");
            }
        }
    }
}

/// Ranges of addresses in words; of `count` addresses some may not be among them.
pub(crate) fn names_of(ranges: &[AddressRange], count: u64) -> String {
    let named = ranges.iter().map(AddressRange::size).sum::<u64>();
    let mut names: Vec<String> = ranges
        .iter()
        .map(
            |AddressRange { first, last }| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        )
        .collect();
    match count.saturating_sub(named) {
        _ if names.is_empty() => return "none".to_owned(),
        0 => {}
        more => names.push(format!("and {more} more")),
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn addresses_are_named_and_the_rest_is_counted() {
        let range = |first, last| AddressRange {
            first: Ipv4Addr::new(10, 0, 0, first),
            last: Ipv4Addr::new(10, 0, 0, last),
        };
        assert_eq!(names_of(&[], 0), "none");
        assert_eq!(names_of(&[range(1, 3), range(9, 9)], 4), "10.0.0.1-10.0.0.3, 10.0.0.9");
        assert_eq!(names_of(&[range(1, 3)], 10), "10.0.0.1-10.0.0.3, and 7 more");
    }
}
