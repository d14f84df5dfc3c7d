//! Sharing free addresses out between the two servers.
//!
//! Each gives away of its own what the other lacks, in two passes over each pool
//! ([`balance`](crate::failover::balance)); a run takes as many steps as it needs, so that no packet waits
//! for a large pool.

use super::{Binding, Failover, seconds};
use crate::failover::{Balance, BindingStatus, FailoverNotice, PoolCount, Role, State};
use crate::server::{Server, Step};
use crate::{Effect, Notice};

/// Addresses that one step looks at to share them out.
const ADDRESSES_LOOKED_AT_MAX: usize = 1024;

/// Which pass of a run is at work, and behind which address of the shelf.
#[derive(Clone, Copy, Debug)]
enum Pass {
    /// Addresses whose last client the partner serves.
    ToTheirServer(Option<(u32, u32)>),
    /// Addresses for balance alone.
    ForBalance(Option<(u32, u32)>),
}

/// A run that is not over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sharing {
    pool: usize,
    pass: Pass,
    balance: Option<Balance>,
    given: u32,
    /// The partner is asked for addresses at the end.
    asks: bool,
    is_by_timer: bool,
}

impl Sharing {
    const fn new(is_by_timer: bool) -> Self {
        let pass = Pass::ToTheirServer(None);
        Self { pool: 0, pass, balance: None, given: 0, asks: false, is_by_timer }
    }
}

impl Failover {
    fn balance(&self, count: PoolCount) -> Balance {
        Balance::of(count, self.role(), self.configuration.balance)
    }
}

impl Server {
    /// Where the pool of an address stands.
    pub(super) fn balance_of(&self, address: u32) -> Option<Balance> {
        let failover = self.failover.as_deref()?;
        let pool = self.topology.pool_of(address)?;
        Some(failover.balance(self.count_pool(failover, pool.0)))
    }

    /// Which server the client belongs to that had an address last.
    pub(super) fn server_of_last_client(&self, address: u32) -> Option<Role> {
        let buckets = self.failover.as_deref()?.buckets()?;
        let entry = self.book.entry(address).filter(|entry| !entry.hardware().is_zero())?;
        Some(buckets.server_of(entry.bucket()))
    }

    /// Makes a free address the partner's.
    pub(super) fn give_away(&self, binding: &mut Binding) {
        let now = seconds(self.now);
        let Some(failover) = self.failover.as_deref() else { return };
        binding.status = BindingStatus::free_of(failover.role().other());
        binding.since = now;
        binding.potential_expiration = now;
        binding.xid = 0;
        binding.set_acknowledged(false);
    }

    /// A pool that has come out of balance is looked at soon.
    pub(super) fn notice_imbalance(&mut self, pool: usize) {
        let Some(failover) = self.failover.as_deref() else { return };
        let Some(due) = failover.share_at.filter(|_| failover.sharing.is_none()) else { return };
        let balance = failover.balance(self.count_pool(failover, pool));
        if balance.is_unbalanced() || balance.is_starved() {
            let rest = failover.configuration.balance_seconds_min;
            let soon = failover.shared_last.plus_seconds(rest.into()).max(self.now);
            if let Some(failover) = self.failover.as_deref_mut() {
                failover.share_at = Some(due.min(soon));
            }
        }
    }

    /// The partner has too few addresses.
    pub(super) fn pool_wanted(&mut self, xid: u32, step: &mut Step<'_>) {
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        let mut given = 0;
        if failover.state() == State::Normal && failover.starting_until.is_none() {
            failover.sharing = Some(Sharing::new(false));
            given = self.share_some(step);
        }
        let Some(failover) = self.failover.as_deref_mut() else { return };
        failover.say(|session, effects| session.pool_response(now, xid, given, effects));
    }

    /// Begins a run when it is due, and goes on with the one that is at work.
    pub(super) fn share_addresses(&mut self, step: &mut Step<'_>) {
        let now = self.now;
        let Some(failover) = self.failover.as_deref_mut() else { return };
        if failover.share_at.is_some_and(|at| at <= now) && failover.sharing.is_none() {
            failover.sharing = Some(Sharing::new(true));
        }
        self.share_some(step);
    }

    /// Goes on with the run that is at work. How many addresses were given away.
    fn share_some(&mut self, step: &mut Step<'_>) -> u32 {
        let Some(failover) = self.failover.as_deref_mut() else { return 0 };
        let Some(mut sharing) = failover.sharing.take() else { return 0 };
        let given_before = sharing.given;
        let mut looked_at = 0;
        while sharing.pool < self.topology.pools().len() {
            if looked_at >= ADDRESSES_LOOKED_AT_MAX {
                let given = sharing.given - given_before;
                if let Some(failover) = self.failover.as_deref_mut() {
                    failover.sharing = Some(sharing);
                }
                return given;
            }
            looked_at += 1;
            self.share_one(&mut sharing, step);
        }
        let now = self.now;
        let given = sharing.given - given_before;
        let Some(failover) = self.failover.as_deref_mut() else { return given };
        failover.shared_last = now;
        let rest = failover.configuration.balance_seconds_max;
        failover.share_at = Some(now.plus_seconds(rest.into()));
        if sharing.asks {
            failover.say(|session, effects| session.want_pool(now, effects));
        }
        if sharing.given > 0 {
            let notice = FailoverNotice::AddressesGiven(sharing.given);
            step.effects.push(Effect::Notice(Notice::Failover(notice)));
        }
        given
    }

    /// Looks at one address.
    fn share_one(&mut self, sharing: &mut Sharing, step: &mut Step<'_>) {
        let Some(failover) = self.failover.as_deref() else { return };
        let (pool, role) = (sharing.pool, failover.role());
        let count = self.count_pool(failover, pool);
        let mut balance = *sharing.balance.get_or_insert_with(|| {
            let balance = failover.balance(count);
            sharing.asks |= sharing.is_by_timer && balance.is_starved();
            balance
        });
        let given = match sharing.pass {
            Pass::ToTheirServer(after) => {
                let next = failover.shelves.behind(pool, role, after).next();
                match next.filter(|_| balance.gives_to_its_server()) {
                    None => {
                        sharing.pass = Pass::ForBalance(None);
                        return;
                    }
                    Some(next) => {
                        sharing.pass = Pass::ToTheirServer(Some(next));
                        let partners = self.server_of_last_client(next.1) == Some(role.other());
                        partners.then_some(next.1)
                    }
                }
            }
            Pass::ForBalance(after) => {
                let may_touch = role == Role::Primary && balance.gives(false);
                let untouched = if may_touch { self.pools.take_untouched(pool) } else { None };
                let Some(failover) = self.failover.as_deref() else { return };
                let next = failover.shelves.behind(pool, role, after).next();
                match (untouched, next) {
                    (Some(address), _) => Some(address),
                    (None, Some((end, address))) if balance.gives(end > 0) => {
                        sharing.pass = Pass::ForBalance(Some((end, address)));
                        Some(address)
                    }
                    // Those behind it ended later; none of them is given either.
                    _ => {
                        sharing.pool += 1;
                        sharing.pass = Pass::ToTheirServer(None);
                        sharing.balance = None;
                        return;
                    }
                }
            }
        };
        if let Some(address) = given {
            balance.gave_one();
            sharing.given += 1;
            let Some(failover) = self.failover.as_deref() else { return };
            let mut binding = failover.pair.get(address);
            self.give_away(&mut binding);
            self.write_binding(address, binding, step);
        }
        sharing.balance = Some(balance);
    }
}
