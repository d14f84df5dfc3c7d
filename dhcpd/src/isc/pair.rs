//! What a failover pair knows: the states of both halves, and of each address what its lease does not
//! say.
//!
//! With it, this server takes the place of the half whose files were imported: it comes back as that half
//! would, in the state that it was in. What the partner cannot have acknowledged counts as unacknowledged.

use super::leases::{IscLease, PeerState, State as IscState};
use vestibule_config::Failover;
use vestibule_core::failover::{
    BindingStatus, FailoverRecord, HashBuckets, PairBinding, PartnerState, Role, State,
};

/// The states of a pair as a lease file has them; `None` if it names a state that is none, or that no
/// server comes back to: without them, this half fetches everything from its partner.
pub(super) fn states(peer: &PeerState, pair: &Failover) -> Option<FailoverRecord> {
    let (mine, since) = peer.mine.as_ref()?;
    let state = named(mine).filter(|state| *state != State::Startup)?;
    let (partner, partner_since) = match &peer.partners {
        Some((name, since)) => {
            (named(name).map_or(PartnerState::Unknown, PartnerState::Known), *since)
        }
        None => (PartnerState::Unknown, 0),
    };
    let (mclt_seconds, hash_buckets) = match pair.role {
        Role::Primary => (pair.mclt_seconds?, Some(HashBuckets::split(pair.split))),
        Role::Secondary => (peer.mclt_seconds?, None),
    };
    Some(FailoverRecord {
        state,
        since: *since,
        partner,
        partner_since,
        mclt_seconds,
        hash_buckets,
    })
}

fn named(name: &str) -> Option<State> {
    State::ALL.into_iter().find(|state| state.name() == name)
}

/// What the pair knows of an address; `None` if it was never anything but free.
pub(super) fn binding(isc: &IscLease) -> Option<PairBinding> {
    let status = status(isc.state);
    // The partner agrees to the end of a lease by acknowledging it, and then the address is free.
    let waits =
        matches!(status, BindingStatus::Expired | BindingStatus::Released | BindingStatus::Reset);
    let binding = PairBinding {
        address: isc.address,
        status,
        partner_saw: self::status(isc.rewind),
        is_acknowledged: isc.tstp <= isc.atsfp && !waits,
        since: isc.starts,
        client_last_transaction: isc.cltt,
        potential_expiration: isc.tstp,
        agreed_expiration: isc.tsfp,
        partner_expiration: isc.tstp.max(isc.tsfp),
    };
    (binding != PairBinding::untouched(isc.address)).then_some(binding)
}

const fn status(state: IscState) -> BindingStatus {
    match state {
        IscState::Free => BindingStatus::Free,
        IscState::Active => BindingStatus::Active,
        IscState::Expired => BindingStatus::Expired,
        IscState::Released => BindingStatus::Released,
        IscState::Abandoned => BindingStatus::Abandoned,
        IscState::Reset => BindingStatus::Reset,
        IscState::Backup => BindingStatus::Backup,
    }
}
