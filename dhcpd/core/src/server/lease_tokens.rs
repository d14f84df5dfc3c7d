//! Lease tokens: given with the ACK of a lease, and known again while it is held.

use super::{Entry, Server};
use crate::options::code;
use crate::{LeaseToken, LeaseTokenRefusal, LeaseTokens, Reply, Timestamp};
use std::net::Ipv4Addr;

impl Server {
    /// The same server, which puts a token into option 114 of an ACK, and takes tokens.
    #[must_use]
    pub fn with_lease_tokens(self, tokens: LeaseTokens) -> Self {
        Self { lease_tokens: Some(tokens), ..self }
    }

    /// Puts a lease's token to the captive portal API's URL, if the reply has it. `started`: the lease's
    /// beginning.
    pub(super) fn add_lease_token(&self, reply: &mut Reply, started: Timestamp) {
        let Some(tokens) = &self.lease_tokens else { return };
        let (address, hardware) = (reply.yiaddr, reply.hardware);
        let found = reply.options.iter_mut().find(|(known, _)| *known == code::CAPTIVE_PORTAL);
        let Some((_, url)) = found.filter(|_| !hardware.is_zero()) else { return };
        let token = tokens.token(address, hardware, started, self.now);
        if let Some(with_token) = tokens.url_with(url, token) {
            *url = with_token.as_slice().into();
        }
    }

    /// The lease that a token names.
    pub(super) fn lease_of_token(
        &self,
        token: &LeaseToken,
        now: Timestamp,
    ) -> Result<Entry<'_>, LeaseTokenRefusal> {
        let Some(tokens) = &self.lease_tokens else { return Err(LeaseTokenRefusal::Invalid) };
        let lease = self.book.entry(token.address().into());
        let lease = lease.filter(|lease| lease.is_held(now)).ok_or(LeaseTokenRefusal::Ended)?;
        if tokens.fits(token, &lease.lease(), now) {
            Ok(lease)
        } else {
            Err(LeaseTokenRefusal::Invalid)
        }
    }

    /// The token of the lease that somebody holds for an address.
    pub(super) fn token_of(&self, address: Ipv4Addr, now: Timestamp) -> Option<LeaseToken> {
        let tokens = self.lease_tokens.as_ref()?;
        let lease = self.book.entry(address.into()).filter(|lease| lease.is_held(now))?;
        let hardware = lease.hardware();
        (!hardware.is_zero()).then(|| tokens.token(address, hardware, lease.started(), now))
    }
}
