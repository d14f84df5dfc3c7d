//! What is said on the link: nothing that ends or misleads an ISC dhcpd, and nothing without end.
//!
//! It reads the bytes, not the messages, by the specification's sections 0, 1 and 8: the types of the core
//! cannot say most of it, but bytes are what a partner gets.

use crate::simulator::checks::{Verdict, Violation};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use vestibule_core::failover::message::{Body, Message};
use vestibule_core::failover::{BindingStatus, PartnerState, State};

/// Bytes of the header.
const HEADER: usize = 12;

/// Messages of one kind, while nothing but clients' leases has to be spoken of.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    /// Connections when it began.
    connections: u64,
    /// STATE, UPDREQ, UPDREQALL and UPDDONE.
    states: u64,
    /// Free addresses that went from one server to the other more than once.
    moved_again: u64,
    /// Other updates.
    updates: u64,
    /// Updates that were refused.
    refusals: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    /// All messages.
    pub(crate) messages: u64,
    /// Updates among them.
    pub(crate) updates: u64,
    rest: Option<Rest>,
    moved: BTreeSet<Ipv4Addr>,
}

impl Spoken {
    /// A server, who knows its partner as `partner`, sends a message as these bytes; `None`: the codec
    /// refused it.
    ///
    /// # Errors
    /// [`Violation`] if it would end or mislead an ISC dhcpd.
    pub(crate) fn said(
        &mut self,
        message: &Message,
        bytes: Option<&[u8]>,
        partner: Option<PartnerState>,
    ) -> Verdict {
        self.messages += 1;
        self.updates += u64::from(matches!(message.body, Body::BindingUpdate(_)));
        self.count(&message.body);
        let Some(bytes) = bytes else {
            return broken(format!("the codec refuses {message:?}"));
        };
        if let Body::State(state) = &message.body
            && partner == Some(PartnerState::Known(State::ConflictDone))
        {
            let harmless = [
                State::Normal,
                State::PotentialConflict,
                State::ResolutionInterrupted,
                State::Shutdown,
            ];
            if !harmless.iter().any(|harmless| state.state == PartnerState::Known(*harmless)) {
                return broken(format!("a partner in CONFLICT-DONE is told {message:?}"));
            }
        }
        harms(bytes).map_or(Ok(()), |what| broken(format!("{what}: {message:?}")))
    }

    /// The partner read the bytes.
    ///
    /// # Errors
    /// [`Violation`] if it could not.
    pub(crate) fn decoded(&self, bytes: &[u8], is_ok: bool) -> Verdict {
        if is_ok { Ok(()) } else { broken(format!("the partner cannot read {bytes:x?}")) }
    }

    /// From here on nothing has to be said but what clients cause.
    pub(crate) fn begin_rest(&mut self, connections: u64) {
        self.rest = Some(Rest { connections, ..Rest::default() });
    }

    fn count(&mut self, body: &Body) {
        let Some(rest) = &mut self.rest else { return };
        match body {
            Body::State(_) | Body::UpdateRequest | Body::UpdateRequestAll | Body::UpdateDone => {
                rest.states += 1;
            }
            Body::BindingUpdate(update)
                if matches!(update.status, BindingStatus::Free | BindingStatus::Backup) =>
            {
                rest.moved_again += u64::from(!self.moved.insert(update.address));
            }
            Body::BindingUpdate(_) => rest.updates += 1,
            Body::BindingAcknowledgement { reject, .. } => {
                rest.refusals += u64::from(reject.is_some());
            }
            _ => {}
        }
    }

    /// The end: whether it came to rest. `acknowledgements`: ACKs that servers gave since the rest began.
    ///
    /// # Errors
    /// [`Violation`] if more was said than had to be.
    pub(crate) fn rested(&self, connections: u64, acknowledgements: u64) -> Verdict {
        let Some(rest) = &self.rest else { return Ok(()) };
        let most = acknowledgements + acknowledgements / 2 + 4;
        if rest.connections == connections
            && rest.states == 0
            && rest.moved_again == 0
            && rest.updates <= most
        {
            return Ok(());
        }
        let what = format!("no rest: {rest:?}, {acknowledgements} ACKs, {connections} connections");
        Err(Violation::new("P7", what))
    }
}

/// What in a message ends or misleads an ISC dhcpd.
fn harms(bytes: &[u8]) -> Option<String> {
    let kind = *bytes.get(2)?;
    let length = usize::from(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]));
    if length != bytes.len() || !(HEADER..=2048).contains(&length) || bytes.get(3) != Some(&12) {
        return Some("the header is wrong".to_owned());
    }
    if !(1..=12).contains(&kind) {
        return Some(format!("no message is of type {kind}"));
    }
    let mut rest = &bytes[HEADER..];
    let mut codes = Vec::new();
    while let [a, b, c, d, after @ ..] = rest {
        let code = u16::from_be_bytes([*a, *b]);
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        let Some((data, after)) = after.split_at_checked(length) else {
            return Some(format!("option {code} goes over the end"));
        };
        rest = after;
        if codes.contains(&code) {
            return Some(format!("option {code} stands twice"));
        }
        codes.push(code);
        let number = || data.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        match code {
            9 => return Some("the DDNS option".to_owned()),
            7 | 8 | 10 | 17 | 29 => return Some(format!("option {code} is never sent")),
            3 if !(1..=7).contains(&number()) => return Some("an unknown status".to_owned()),
            14 if number() == 0 => return Some("no update may be sent".to_owned()),
            19 if number() < 3 => return Some("a receive timer below 3".to_owned()),
            _ => {}
        }
    }
    let has = |code: u16| codes.contains(&code);
    let needs: &[u16] = match kind {
        3 => &[2, 3],
        4 => &[2],
        5 => &[11, 14, 15, 19, 22],
        6 => &[14, 19, 22],
        10 => &[23, 24],
        _ => &[],
    };
    if let Some(missing) = needs.iter().find(|code| !has(**code)) {
        return Some(format!("option {missing} is missing"));
    }
    // The number 0 is "none outstanding" to an ISC dhcpd.
    if kind == 3 && bytes[8..HEADER] == [0; 4] {
        return Some("an update numbered 0".to_owned());
    }
    if kind == 4 && codes.iter().any(|code| ![2, 16, 21].contains(code)) {
        return Some("an acknowledgement says more than its address".to_owned());
    }
    None
}

fn broken(what: String) -> Verdict {
    Err(Violation::new("what a partner survives", what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0, 0, kind, 12, 0, 0, 0, 1, 0, 0, 0, 1];
        for (code, data) in options {
            bytes.extend_from_slice(&code.to_be_bytes());
            bytes.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
            bytes.extend_from_slice(data);
        }
        let length = u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
        bytes[..2].copy_from_slice(&length);
        bytes
    }

    #[test]
    fn what_ends_or_misleads_an_isc_dhcpd_is_seen() {
        let address: &[u8] = &[10, 1, 0, 10];
        let good = [(2, address), (3, &[2][..])];
        assert_eq!(harms(&message(3, &good)), None);
        for (kind, options) in [
            (3, vec![(2, address), (2, address), (3, &[2][..])]),
            (3, vec![(2, address), (3, &[2][..]), (9, &[0, 0][..])]),
            (3, vec![(2, address), (3, &[8][..])]),
            (4, vec![(2, address), (4, &[1][..])]),
            (6, vec![(14, &[0, 0, 0, 9][..]), (19, &[0, 0, 0, 2][..]), (22, &[97][..])]),
            (6, vec![(19, &[0, 0, 0, 9][..]), (22, &[97][..])]),
        ] {
            assert!(harms(&message(kind, &options)).is_some(), "{kind}: {options:?}");
        }
    }
}
