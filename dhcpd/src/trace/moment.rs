//! What happened to a client, in 17 bytes.

use std::net::Ipv4Addr;
use vestibule_core::{MessageType, Reason, Side, Timestamp};

/// Bytes of a packed moment.
pub(super) const PACKED_BYTES: usize = 17;

/// A moment as it is kept.
pub(super) type Packed = [u8; PACKED_BYTES];

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A packet came, and was answered or not.
    Decided {
        /// What came.
        message: MessageType,
        /// OFFER, ACK or NAK; `None`: nothing is answered.
        answer: Option<MessageType>,
        /// Why not; why the NAK.
        reason: Option<Reason>,
    },
    /// The kernel is to treat an address so; `None`: as nobody's.
    Gate(Option<Side>),
}

/// Something that happened to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When it was decided.
    pub time: Timestamp,
    /// What.
    pub what: What,
    /// The address that it is about; 0.0.0.0: none.
    pub address: Ipv4Addr,
    /// The relay that the packet came through; 0.0.0.0: none.
    pub giaddr: Ipv4Addr,
}

const DECIDED: u8 = 1;
const GATE: u8 = 2;

impl Moment {
    pub(super) fn pack(&self) -> Packed {
        let (kind, first, second) = match self.what {
            What::Decided { message, answer, reason } => {
                let answer = answer.map_or(0, |answer| answer as u8);
                let reason = reason.and_then(|reason| {
                    let place = Reason::ALL.iter().position(|known| *known == reason)?;
                    u8::try_from(place + 1).ok()
                });
                // Messages and answers are below 16.
                (DECIDED, (message as u8) << 4 | answer & 0xf, reason.unwrap_or(0))
            }
            What::Gate(side) => {
                let side = match side {
                    None => 0,
                    Some(Side::Unregistered) => 1,
                    Some(Side::Registered) => 2,
                };
                (GATE, side, 0)
            }
        };
        let mut packed = [0; PACKED_BYTES];
        let time = self.time.milliseconds().to_le_bytes().into_iter().take(6);
        let bytes = [kind, first, second]
            .into_iter()
            .chain(time)
            .chain(self.address.octets())
            .chain(self.giaddr.octets());
        for (to, byte) in packed.iter_mut().zip(bytes) {
            *to = byte;
        }
        packed
    }

    pub(super) fn unpack(packed: &Packed) -> Option<Self> {
        let [kind, first, second, t0, t1, t2, t3, t4, t5, a, b, c, d, e, f, g, h] = *packed;
        let what = match kind {
            DECIDED => What::Decided {
                message: MessageType::from_number(first >> 4)?,
                answer: MessageType::from_number(first & 0xf),
                reason: usize::from(second)
                    .checked_sub(1)
                    .and_then(|at| Reason::ALL.get(at))
                    .copied(),
            },
            GATE => What::Gate(match first {
                0 => None,
                1 => Some(Side::Unregistered),
                _ => Some(Side::Registered),
            }),
            _ => return None,
        };
        let time = u64::from_le_bytes([t0, t1, t2, t3, t4, t5, 0, 0]);
        Some(Self {
            time: Timestamp::from_milliseconds(time),
            what,
            address: Ipv4Addr::new(a, b, c, d),
            giaddr: Ipv4Addr::new(e, f, g, h),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_it_was_packed() {
        let time = Timestamp::from_milliseconds(1_795_179_600_123);
        let (address, giaddr) = (Ipv4Addr::new(10, 20, 0, 77), Ipv4Addr::new(10, 20, 0, 1));
        let reasons = std::iter::once(None).chain(Reason::ALL.iter().copied().map(Some));
        let messages = || (1..=8).filter_map(MessageType::from_number);
        let answers = || std::iter::once(None).chain(messages().map(Some));
        let decided = reasons.flat_map(|reason| {
            messages().flat_map(move |message| {
                answers().map(move |answer| What::Decided { message, answer, reason })
            })
        });
        let sides = [None, Some(Side::Unregistered), Some(Side::Registered)];
        for what in decided.chain(sides.map(What::Gate)) {
            let moment = Moment { time, what, address, giaddr };
            assert_eq!(Moment::unpack(&moment.pack()), Some(moment));
        }
        assert_eq!(Moment::unpack(&[0; PACKED_BYTES]), None);
    }
}
