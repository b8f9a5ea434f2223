//! `[identity.…]` and the credentials in it, to the trust (ACC-1, ACC-3, PRIV-5).
use super::Ctx;
use super::issuer::issuer_spec;
use crate::base::{ControlId, Name};
use crate::config::raw::value::NameText;
use crate::config::raw::{
    BoundTo, CertificateMatch, ClientAuthName, IdentityKind as RawKind, RawIdentity,
};
use crate::config::read::Entry;
use crate::config::settings::{Barred, IdentityKind, IdentitySettings};
use crate::config::source::Place;
use crate::identity::{
    Binding, CertificateCredential, CredentialKind, IdentitySpec, Standing, TokenCredential, Trust,
    TrustError, TrustSpec,
};

/// Days between two reviews of an identity's access, at most (ACC-3).
const REVIEW_DAYS_MAX: u32 = 90;

/// One warning for many identities: where the first is, and how many there are.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) first: Option<Place>,
    count: usize,
}

impl Tally {
    pub(super) fn add(&mut self, place: Place) {
        self.first.get_or_insert(place);
        self.count += 1;
    }

    pub(super) fn others(&self) -> String {
        match self.count.saturating_sub(1) {
            0 => String::new(),
            1 => " (and one more identity)".to_owned(),
            more => format!(" (and {more} more identities)"),
        }
    }
}

impl<'c> Ctx<'c> {
    pub(super) fn trust(
        &mut self,
        own: &Name,
        generation: u64,
        token_bytes_max: usize,
    ) -> Option<Trust> {
        let document = self.document;
        let issuers = document.issuer.entries.iter().map(|entry| issuer_spec(entry, own)).collect();
        let identities: Option<Vec<_>> =
            document.identity.entries.iter().map(|entry| identity_spec(entry, own)).collect();
        self.standing(own);
        self.identities_can_be_proved();
        self.certificates_can_come();
        let spec = TrustSpec {
            environment: own.clone(),
            generation,
            token_bytes_max,
            strong: self.strong_login(),
            issuers,
            identities: identities?,
        };
        match Trust::build(spec) {
            Ok(trust) => Some(trust),
            Err(errors) => {
                for error in errors {
                    self.trust_error(&error);
                }
                None
            }
        }
    }

    /// What time does to identities. These are warnings: a day that passes must never keep the
    /// gateway from starting.
    fn standing(&mut self, own: &Name) {
        let today = self.now.unix_day();
        let [mut never, mut overdue, mut late, mut expired, mut foreign, mut nowhere, mut idle] =
            <[Tally; 7]>::default();
        for entry in &self.document.identity.entries {
            let raw = &entry.raw;
            match raw.review_by.as_ref().map(|date| (entry.at(&date.span), date.unix_day())) {
                None if !entry.lost("review_by") => never.add(entry.place.clone()),
                Some((place, day)) if day < today => overdue.add(place),
                Some((place, day)) if day > today + REVIEW_DAYS_MAX => late.add(place),
                None | Some(_) => {}
            }
            if let Some(date) = raw.expires.as_ref().filter(|date| date.unix_day() < today) {
                expired.add(entry.at(&date.span));
            }
            if let Some(name) = raw.environment.as_ref().filter(|name| name.0 != *own) {
                foreign.add(entry.at(&name.span));
            }
            if raw.networks.is_empty() && !entry.lost("networks") {
                nowhere.add(entry.at(&raw.networks.span));
            }
            if raw.roles.is_empty() && !entry.lost("roles") {
                idle.add(entry.at(&raw.roles.span));
            }
            if raw.owner.trim().is_empty() {
                let (place, found) = (entry.at(&raw.owner.span), "`owner` is blank");
                self.report.error(&place, ControlId::Acc1, found, "name who answers for it");
            }
        }
        let (acc, net) = (ControlId::Acc3, ControlId::Net1);
        for (tally, control, found, instead) in [
            (
                never,
                acc,
                "no day is set for the access review",
                "add review_by, 90 days ahead at most",
            ),
            (
                overdue,
                acc,
                "the access review is overdue",
                "review it, then set the next review_by",
            ),
            (late, acc, "the review is more than 90 days ahead", "write an earlier day"),
            (
                expired,
                acc,
                "the identity has expired and may not enter",
                "remove it, or extend expires",
            ),
            (
                foreign,
                ControlId::Priv5,
                "the identity is of another environment and may not enter",
                "remove it here",
            ),
            (nowhere, net, "the identity may come from nowhere", "name its networks"),
            (idle, ControlId::Priv1, "the identity may do nothing", "name its roles, or remove it"),
        ] {
            if let Some(place) = &tally.first {
                self.report.warning(place, control, found.to_owned() + &tally.others(), instead);
            }
        }
    }

    /// An identity that needs a certificate can't enter where nobody asks for one.
    fn certificates_can_come(&mut self) {
        let listeners = &self.document.listener;
        let asks = listeners.entries.iter().any(|entry| {
            let lost = entry.lost("client_auth") || entry.lost("tls");
            let tls = entry.raw.tls.as_ref();
            lost || tls.is_some_and(|tls| !matches!(tls.client_auth.value, ClientAuthName::None))
        });
        let ends = listeners.entries.iter().any(|entry| entry.raw.tls.is_some());
        if asks || !ends || !listeners.is_whole() {
            return;
        }
        let mut tally = Tally::default();
        for entry in &self.document.identity.entries {
            let raw = &entry.raw;
            let certificate = raw.certificate.as_ref().map(|at| &at.span);
            let bound =
                raw.token.as_ref().and_then(|token| token.bound.as_ref()).map(|at| &at.span);
            let further = raw.certificates.first().map(|at| &at.span);
            if let Some(span) = certificate.or(bound).or(further) {
                tally.add(entry.at(span));
            }
        }
        if let Some(place) = &tally.first {
            let found = "no listener asks for client certificates".to_owned() + &tally.others();
            let instead = "write client_auth = \"optional\" or \"required\" in a listener's tls";
            self.report.error(place, ControlId::Acc1, found, instead);
        }
    }

    fn trust_error(&mut self, error: &TrustError) {
        let document = self.document;
        let text = error.to_string();
        let (found, instead) = text.split_once("; ").unwrap_or((&text, "give each its own"));
        let place = match error {
            TrustError::NoCredential { identity } => {
                let Some(entry) = self.identity_entry(identity) else { return };
                if ["certificate", "certificates", "token"].iter().any(|key| entry.lost(key)) {
                    return;
                }
                entry.place.clone()
            }
            TrustError::UnknownIssuer { identity, .. } => {
                let Some(entry) = self.identity_entry(identity) else { return };
                if let Some(token) = &entry.raw.token {
                    let place = entry.at(&token.issuer.span);
                    let wanted: &NameText = &token.issuer.value;
                    self.resolve(&document.issuer, "issuer", wanted, &place, ControlId::Acc1);
                }
                return;
            }
            TrustError::SharedCredential { second: identity, credential, .. }
            | TrustError::Wildcard { identity, credential }
            | TrustError::BrokenCredential { identity, credential } => {
                let Some(entry) = self.identity_entry(identity) else { return };
                credential_place(entry, *credential)
            }
            TrustError::IdentityTwice { identity } | TrustError::SharedName { identity } => {
                let Some(entry) = self.identity_entry(identity) else { return };
                entry.place.clone()
            }
            TrustError::IssuerTwice { second: issuer, .. }
            | TrustError::IssuerIncomplete { issuer }
            | TrustError::NoAudience { issuer }
            | TrustError::NoAlgorithm { issuer }
            | TrustError::ClockSkew { issuer } => {
                let at = document.issuer.place(issuer.as_str());
                let Some(entry) = at.and_then(|at| document.issuer.entries.get(at)) else { return };
                // Cut lists are already told about.
                if !entry.lost.is_empty() {
                    return;
                }
                entry.at(&entry.raw.iss.span)
            }
            TrustError::TooMany => match document.identity.entries.last() {
                Some(entry) => entry.place.clone(),
                None => return,
            },
        };
        self.report.error(&place, error.control(), found, instead);
    }

    fn identity_entry(&self, name: &Name) -> Option<&'c Entry<RawIdentity>> {
        let section = &self.document.identity;
        section.place(name.as_str()).and_then(|at| section.entries.get(at))
    }

    pub(super) fn identity_settings(&self, own: &Name) -> Vec<IdentitySettings> {
        let entries = &self.document.identity.entries;
        entries
            .iter()
            .map(|entry| IdentitySettings {
                kind: match entry.raw.kind.value {
                    RawKind::Service => IdentityKind::Service,
                    RawKind::Person => IdentityKind::Person,
                },
                barred: barred(&entry.raw, own),
                connections: entry.raw.connections,
                review_by_unix_day: entry.raw.review_by.as_ref().map(|date| date.unix_day()),
            })
            .collect()
    }
}

fn barred(raw: &RawIdentity, own: &Name) -> Vec<Barred> {
    let disabled = raw.disabled.iter().map(|reason| Barred::Disabled(reason.value.clone()));
    let other = raw.environment.iter().filter(|name| name.0 != *own);
    let other = other.map(|name| Barred::Environment(name.0.clone()));
    let last = raw.expires.iter().map(|date| Barred::After(date.unix_day()));
    disabled.chain(other).chain(last).collect()
}

fn credential_place(entry: &Entry<RawIdentity>, credential: CredentialKind) -> Place {
    let raw = &entry.raw;
    let of_kind = |one: &CertificateMatch| match one {
        CertificateMatch::SanUri(_) => credential == CredentialKind::SanUri,
        CertificateMatch::SanDns(_) => credential == CredentialKind::SanDns,
        CertificateMatch::SpkiSha256(_) => credential == CredentialKind::SpkiSha256,
    };
    let certificate =
        raw.certificate.iter().chain(&raw.certificates).find(|one| of_kind(&one.value));
    match (credential, &raw.token, certificate) {
        (CredentialKind::Token, Some(token), _) => entry.at(&token.subject.span),
        (_, _, Some(certificate)) => entry.at(&certificate.span),
        (_, _, None) => entry.place.clone(),
    }
}

fn identity_spec(entry: &Entry<RawIdentity>, own: &Name) -> Option<IdentitySpec> {
    let raw = &entry.raw;
    let certificates =
        raw.certificate.iter().chain(&raw.certificates).map(|one| match &one.value {
            CertificateMatch::SanUri(uri) => CertificateCredential::SanUri(uri.clone()),
            CertificateMatch::SanDns(name) => CertificateCredential::SanDns(name.0.clone()),
            CertificateMatch::SpkiSha256(pin) => CertificateCredential::SpkiSha256(pin.0),
        });
    let token = raw.token.as_ref().map(|token| TokenCredential {
        issuer: token.issuer.0.clone(),
        subject: token.subject.value.clone(),
        binding: match token.bound.as_ref().map(|bound| bound.value) {
            None => Binding::Bearer,
            Some(BoundTo::Certificate) => Binding::Certificate,
        },
    });
    Some(IdentitySpec {
        name: Name::parse(&entry.name).ok()?,
        environment: raw.environment.as_ref().map_or(own, |name| &name.0).clone(),
        certificates: certificates.collect(),
        token,
        standing: if raw.disabled.is_some() { Standing::Disabled } else { Standing::Active },
        // The last day counts to its end, in UTC.
        expires: raw.expires.as_ref().map(|date| (u64::from(date.unix_day()) + 1) * 86_400),
    })
}
