//! What one registry knows against what another knows (ACC-1, ACC-3): for people who review a change,
//! and for the memory of verified tokens, which goes on where nothing changed.
use std::collections::HashMap;

use super::registry::{IssuerIx, IssuerSpec, StrongLogin, Trust};
use super::trust_error::CredentialKind;
use crate::base::{IdentityIx, Name};

/// A credential that names an identity in one registry and does not in the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialChange {
    pub identity: Name,
    pub kind: CredentialKind,
    pub side: Side,
}

/// Which registry has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one before.
    Before,
    /// The one after.
    After,
}

/// What an identity has to present changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingChange {
    pub identity: Name,
    pub to: super::Binding,
}

impl Trust {
    /// Credentials that name somebody here and not, or somebody else, there. Those that moved from
    /// one identity to another are told for both.
    #[must_use]
    pub fn changed_credentials(&self, after: &Self) -> Vec<CredentialChange> {
        let mut all = self.missing_in(after, Side::Before);
        all.extend(after.missing_in(self, Side::After));
        all
    }

    fn missing_in(&self, other: &Self, side: Side) -> Vec<CredentialChange> {
        let mut found = Vec::new();
        let mut judge = |kind, own: IdentityIx, there: Option<&IdentityIx>| {
            let Some(identity) = self.identity(own) else { return };
            let known = there.and_then(|ix| other.identity(*ix));
            if known != Some(identity) {
                found.push(CredentialChange { identity: identity.clone(), kind, side });
            }
        };
        for (uri, own) in &self.san_uri {
            judge(CredentialKind::SanUri, *own, other.san_uri.get(uri));
        }
        for (dns, own) in &self.san_dns {
            judge(CredentialKind::SanDns, *own, other.san_dns.get(dns));
        }
        for (hash, own) in &self.spki {
            judge(CredentialKind::SpkiSha256, *own, other.spki.get(hash));
        }
        for issuer in self.all_issuers() {
            let there = other.all_issuers().find(|one| one.spec.name == issuer.spec.name);
            for (subject, own) in &issuer.subjects {
                let holder = there.and_then(|there| there.subjects.get(subject));
                judge(CredentialKind::Token, *own, holder);
            }
        }
        found
    }

    /// Identities of both whose token has to be bound to a certificate from now on, or has not.
    #[must_use]
    pub fn changed_bindings(&self, after: &Self) -> Vec<BindingChange> {
        let binding = |of: &Self, ix| of.record(Some(ix)).needs.token;
        let before: HashMap<&Name, IdentityIx> = self.named().collect();
        after
            .named()
            .filter_map(|(name, ix)| {
                let was = binding(self, *before.get(name)?)?;
                let to = binding(after, ix)?;
                (was != to).then(|| BindingChange { identity: name.clone(), to })
            })
            .collect()
    }

    /// Identities of both that have to show a certificate and a token from now on (`After`), where one
    /// of them was enough, or did until now (`Before`).
    #[must_use]
    pub fn changed_demands(&self, after: &Self) -> Vec<(Name, Side)> {
        let both = |of: &Self, ix| {
            let needs = of.record(Some(ix)).needs;
            needs.certificate && needs.token.is_some()
        };
        let before: HashMap<&Name, IdentityIx> = self.named().collect();
        after
            .named()
            .filter_map(|(name, ix)| {
                let side = match (both(self, *before.get(name)?), both(after, ix)) {
                    (true, false) => Side::Before,
                    (false, true) => Side::After,
                    (true, true) | (false, false) => return None,
                };
                Some((name.clone(), side))
            })
            .collect()
    }

    fn named(&self) -> impl Iterator<Item = (&Name, IdentityIx)> {
        (0..).map(IdentityIx).map_while(|ix| Some((self.identity(ix)?, ix)))
    }

    /// Which logins are strong ones.
    #[must_use]
    pub const fn strong_login(&self) -> &StrongLogin {
        &self.strong
    }

    /// Every issuer as it was configured.
    pub fn issuer_specs(&self) -> impl Iterator<Item = &IssuerSpec> {
        self.all_issuers().map(|issuer| &issuer.spec)
    }
}

/// What was verified under one registry and holds under the next one.
#[derive(Debug)]
pub(super) struct Heritage {
    from: u64,
    to: u64,
    /// By the places of the issuers before: the place now, and by the identity that a subject named
    /// the one that it names now. None where anything about the issuer changed.
    issuers: Vec<Option<(IssuerIx, HashMap<IdentityIx, IdentityIx>)>>,
}

impl Heritage {
    pub(super) fn new(before: &Trust, after: &Trust) -> Self {
        // What was noted of a login goes by it.
        let same_login = before.strong == after.strong;
        let of = |old: &super::registry::Issuer| {
            let (place, new) = (0..).zip(after.all_issuers()).find(|(_, new)| {
                same_login
                    && new.spec == old.spec
                    && new.skew_secs == old.skew_secs
                    && new.is_local()
                    && old.is_local()
            })?;
            // Each identity has one subject at most, so what it was named by is known.
            let moved = old
                .subjects
                .iter()
                .filter_map(|(subject, was)| Some((*was, *new.subjects.get(subject)?)))
                .collect();
            Some((IssuerIx(place), moved))
        };
        Self {
            from: before.generation,
            to: after.generation,
            issuers: before.all_issuers().map(of).collect(),
        }
    }

    /// Whom a token names now that named somebody then. A token that named nobody is verified again.
    pub(super) fn pass_on(
        &self,
        (from, issuer, identity): (u64, IssuerIx, Option<IdentityIx>),
        to: u64,
    ) -> Option<(IssuerIx, IdentityIx)> {
        if (self.from, self.to) != (from, to) {
            return None;
        }
        let (place, moved) = self.issuers.get(usize::from(issuer.0))?.as_ref()?;
        Some((*place, *moved.get(&identity?)?))
    }
}
