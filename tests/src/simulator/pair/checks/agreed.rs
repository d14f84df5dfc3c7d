//! P7 of the pair: once nothing goes wrong any more, both servers say the same of every address, and no
//! address is lost: each is free for one of them, held, or out of use.

use super::super::plan::Plan;
use crate::simulator::checks::unique::Belief;
use crate::simulator::checks::{Verdict, Violation};
use crate::simulator::plan as names;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use vestibule_core::failover::{BindingStatus, FailoverStatus, PairBinding, State};
use vestibule_core::{BindingState, Lease, Timestamp};

/// What one server says.
#[derive(Debug)]
pub(crate) struct Book {
    /// What time it is there.
    pub(crate) now: Timestamp,
    /// Its view of the pair.
    pub(crate) status: FailoverStatus,
    /// What it keeps of addresses.
    pub(crate) bindings: BTreeMap<Ipv4Addr, PairBinding>,
    /// The leases that it knows.
    pub(crate) leases: BTreeMap<Ipv4Addr, Lease>,
}

impl Book {
    fn status_of(&self, address: Ipv4Addr) -> BindingStatus {
        self.bindings.get(&address).map_or(BindingStatus::Free, |binding| binding.status)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    addresses: Vec<Ipv4Addr>,
    /// Those of which the two have not yet said the same.
    open: Vec<Ipv4Addr>,
    /// By how much more the remaining times of one lease may differ than by rounding, in milliseconds.
    apart: u64,
}

impl Agreed {
    /// That of a world.
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            addresses: plan.addresses().collect(),
            open: plan.addresses().collect(),
            // Clocks that are a little apart count as equal; what others are apart is known to a second.
            apart: if plan.skew > 0 || plan.clock_base != [0; 2] { 9_000 } else { 0 },
        }
    }

    /// Both are NORMAL.
    ///
    /// # Errors
    /// [`Violation`] if one is not.
    pub(crate) fn normal(&self, status: [Option<&FailoverStatus>; 2]) -> Verdict {
        let is_normal = |status: &&FailoverStatus| {
            status.state == State::Normal && !status.is_starting && status.is_connected
        };
        if status.iter().all(|status| status.as_ref().is_some_and(is_normal)) {
            return Ok(());
        }
        let said = status
            .map(|status| status.map(|status| (status.state, status.partner, status.is_connected)));
        Err(Violation::new("P7", format!("the pair is not NORMAL: {said:?}")))
    }

    /// Both say the same of every address, now or in an earlier look: leases are renewed all the while, and
    /// something is always under way.
    ///
    /// # Errors
    /// [`Violation`] if they never did, or if an address is lost.
    pub(crate) fn books(
        &mut self,
        books: &[Book; 2],
        held: &BTreeMap<Ipv4Addr, Belief>,
    ) -> Verdict {
        let mut verdict = Ok(());
        let mut open = std::mem::take(&mut self.open);
        open.retain(|address| {
            let said = Self::said(*address, books, held, self.apart);
            let is_open = said.is_err();
            verdict = std::mem::replace(&mut verdict, Ok(())).and(said);
            is_open
        });
        self.open = open;
        verdict?;
        books.iter().try_for_each(|book| self.counted(book))
    }

    fn said(
        address: Ipv4Addr,
        [one, other]: &[Book; 2],
        held: &BTreeMap<Ipv4Addr, Belief>,
        apart: u64,
    ) -> Verdict {
        {
            let address = &address;
            let statuses = [one.status_of(*address), other.status_of(*address)];
            let leases = [one.leases.get(address), other.leases.get(address)];
            let bindings = [one.bindings.get(address), other.bindings.get(address)];
            let tell = |why: &str| {
                broken(format!("{address}: {why}: {statuses:?} {leases:?} {bindings:?}"))
            };
            if statuses[0] != statuses[1] {
                return tell("the servers do not agree");
            }
            if bindings.iter().flatten().any(|binding| !binding.is_acknowledged) {
                return tell("something was not acknowledged");
            }
            let held_by = held.get(address).map(|belief| names::hardware(belief.device));
            match statuses[0] {
                BindingStatus::Free | BindingStatus::Backup if held_by.is_some() => {
                    return tell("it is free, and a client holds it");
                }
                BindingStatus::Free | BindingStatus::Backup => {}
                BindingStatus::Active => {
                    let [Some(left), Some(right)] = leases else {
                        return tell("it is held, and there is no lease");
                    };
                    if left.hardware != right.hardware || left.client != right.client {
                        return tell("the servers name different holders");
                    }
                    if held_by.is_some_and(|hardware| hardware != left.hardware) {
                        return tell("another client holds it");
                    }
                    // By each one's own clock.
                    let one = left.ends.milliseconds_after(one.now);
                    let other = right.ends.milliseconds_after(other.now);
                    if one.abs_diff(other) > 1_000 + apart {
                        return tell("the leases end at different times");
                    }
                }
                BindingStatus::Abandoned => {
                    let is_out_of_use = |book: &Book| {
                        book.leases.get(address).is_some_and(|lease| {
                            lease.state == BindingState::Declined && book.now < lease.ends
                        })
                    };
                    if !is_out_of_use(one) || !is_out_of_use(other) {
                        return tell("it is out of use for ever");
                    }
                }
                BindingStatus::Expired | BindingStatus::Released | BindingStatus::Reset => {
                    return tell("it is never free again");
                }
            }
        }
        Ok(())
    }

    /// What a server says of its networks is what it has.
    fn counted(&self, book: &Book) -> Verdict {
        for (network, status) in book.status.networks.iter().enumerate() {
            let addresses = self.addresses.iter().copied();
            let here = addresses.filter(|address| names::network_of(*address) == network);
            let statuses: Vec<_> = here.map(|address| book.status_of(address)).collect();
            let count = |wanted| statuses.iter().filter(|status| **status == wanted).count() as u64;
            let (free, backup) = (count(BindingStatus::Free), count(BindingStatus::Backup));
            let other = statuses.len() as u64 - free - backup;
            if (status.free, status.backup, status.other) != (free, backup, other) {
                let what = format!("{status:?}, but {free} free, {backup} backup, {other} other");
                return broken(what);
            }
        }
        Ok(())
    }
}

fn broken(what: String) -> Verdict {
    Err(Violation::new("P7", what))
}
