//! Who calls, and what a connection counts for from then on. Controls: ACC-1, ACC-3.
use std::sync::Arc;

use super::{ConnLink, Engine, InUse, Live};
use crate::base::{Denial, Moment, TokenFault};
use crate::identity::{self, Presented, Proven, Refusal};
use crate::lockout::Proof;

impl Engine {
    /// Who calls. Pure but for the cache of verified tokens.
    pub fn prove(
        &self,
        live: &Live,
        link: &ConnLink,
        presented: Presented<'_>,
        now: Moment,
    ) -> Result<Proven, Refusal> {
        let authorities = live.authorities(link.facts.listener, now);
        let peer = link.certificate_under(authorities, |chain| {
            live.still_verifies(link.facts.listener, chain, now)
        });
        let keys = self.jwks.current();
        let who = identity::prove(peer, presented, &live.snapshot.trust, &keys, &self.tokens, now)?;
        // Remembered or not: a token that was denied counts for nothing (ACC-3).
        if who.token().is_some_and(|token| self.locks.is_token_denied(token, now)) {
            let denial = Denial::Token(TokenFault::Revoked);
            return Err(Refusal { denial, identity: Some(who.identity()), retry: None });
        }
        Ok(who)
    }

    /// ACC-1: counts the connection for an identity that was proved on it, once. What comes back is
    /// kept as long as the request: its token may be denied meanwhile (ACC-3).
    ///
    /// # Errors
    /// The identity has its share, or the token was denied.
    pub fn count_connection(
        &self,
        live: &Live,
        link: &Arc<ConnLink>,
        who: &Proven,
        now: Moment,
    ) -> Result<Option<InUse>, Denial> {
        let (ix, proof) = (who.identity(), who.proof());
        let name = live.snapshot.names.identity(ix).ok_or(Denial::Internal)?;
        let own = live.snapshot.identity(ix).and_then(|identity| identity.connections);
        let most = own.unwrap_or(link.facts.bounds.connections_per_identity);
        let mut first = false;
        let held = link.hold_identity(name, who, || {
            first = true;
            self.clients.try_identity(name, most)
        });
        // A configuration that came in force meanwhile has judged the connection without it; so has who
        // looked for what was signed by a key that is lost, or for whoever is killed.
        let (trust, keys) = (&live.snapshot.trust, self.jwks.current());
        if live.snapshot.generation != self.live.load().snapshot.generation
            || !identity::still_signed(trust, &keys, ix, who.shown())
            || (first && self.locks.is_killed(name, self.clock.now()))
        {
            self.look_again(link);
        }
        if first {
            self.expect(live.snapshot.trust.ends(ix));
            let proof = if proof.is_of_possession() { Proof::Carried } else { Proof::Absent };
            self.logged_in(live, link, (ix, proof), now);
        }
        let in_use = held.map_err(|_fault| Denial::IdentityConnections)?;
        // Denied since it was proved: the look for it may be over, and did not know of this request.
        if who.token().is_some_and(|token| self.locks.is_token_denied(token, self.clock.now())) {
            return Err(Denial::Token(TokenFault::Revoked));
        }
        Ok(in_use)
    }
}
