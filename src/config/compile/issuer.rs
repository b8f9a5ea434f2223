//! `[[issuer]]`: where keys come from (ACC-1, PRIV-5). Who may sign what is in `identity`.
use std::path::Path;

use super::Ctx;
use super::upstream::endpoint;
use crate::base::{ControlId, Name};
use crate::config::raw::value::{PathText, quoted};
use crate::config::raw::{AlgorithmName, At, ClaimText, Presence, RawIssuer};
use crate::config::read::Entry;
use crate::config::settings::{AuthoritiesOf, IssuerSettings, JwksSource, Roots};
use crate::config::source::Place;
use crate::identity::{Algorithm, ClaimValue, IssuerSpec, KeySet, NotBefore};

impl Ctx<'_> {
    pub(super) fn issuers(&mut self, environment: Option<&Name>) -> Option<Vec<IssuerSettings>> {
        let settings: Vec<_> = self
            .document
            .issuer
            .entries
            .iter()
            .map(|entry| self.issuer(entry, environment))
            .collect();
        settings.into_iter().collect()
    }

    fn issuer(
        &mut self,
        entry: &Entry<RawIssuer>,
        environment: Option<&Name>,
    ) -> Option<IssuerSettings> {
        let raw = &entry.raw;
        if let (Some(own), Some(other)) = (environment, &raw.environment)
            && other.0 != *own
        {
            let found =
                format!("tokens of {} are refused in this environment", quoted(&entry.name));
            let instead = format!("remove the issuer, or write environment = \"{own}\"");
            self.report.warning(&entry.at(&other.span), ControlId::Priv5, found, instead);
        }
        self.bound_to_an_environment(entry);
        let jwks = self.jwks(entry);
        Some(IssuerSettings {
            name: raw.name.0.clone(),
            jwks: jwks?,
            cooldown: raw.jwks_cooldown.0,
            refresh: raw.jwks_refresh.0,
        })
    }

    /// Warns where nothing says for which environment a token is: one of a test's would count here.
    fn bound_to_an_environment(&mut self, entry: &Entry<RawIssuer>) {
        let raw = &entry.raw;
        let said = raw.environment.is_some() || raw.environment_claim.is_some();
        if said || entry.lost("environment") || entry.lost("environment_claim") {
            return;
        }
        let found = format!("nothing says for which environment {} signs", quoted(&entry.name));
        let instead = "write environment_claim, a claim that names it; or environment, where this \
                       issuer signs for one only";
        self.report.warning(&entry.place, ControlId::Priv5, found, instead);
    }

    fn jwks(&mut self, entry: &Entry<RawIssuer>) -> Option<JwksSource> {
        let jwks = &entry.raw.jwks;
        let place = entry.at(&jwks.span);
        match (&jwks.file, &jwks.url) {
            (Some(file), None) => {
                if let Some(ca) = &jwks.ca {
                    let found = "`ca` goes with a `url`, not with a `file`";
                    self.report.error(&entry.at(&ca.span), ControlId::Acc1, found, "remove `ca`");
                }
                self.key_set(entry, file)
            }
            (None, Some(url)) => {
                let roots = match &jwks.ca {
                    None => Roots::System,
                    Some(ca) => {
                        let at = entry.at(&ca.span);
                        let whose = AuthoritiesOf::Issuer(entry.raw.name.0.clone());
                        Roots::Private(self.authorities(&ca.value, &at, ControlId::Tls2, whose)?)
                    }
                };
                let endpoint = endpoint(&url.value, Vec::new())?;
                Some(JwksSource::Url { endpoint, path: url.path.clone(), roots })
            }
            (both, _) => {
                if !["jwks", "file", "url"].iter().any(|key| entry.lost(key)) {
                    let how = if both.is_some() { "both" } else { "neither" };
                    let found = format!("`jwks` holds {how} of `file` and `url`");
                    let instead = "write { file = \"keys/corp.jwks\" } or { url = \"https://…\" }";
                    self.report.error(&place, ControlId::Acc1, found, instead);
                }
                None
            }
        }
    }

    /// The file is read again whenever the gateway refreshes it; here it is only judged.
    fn key_set(&mut self, entry: &Entry<RawIssuer>, file: &At<PathText>) -> Option<JwksSource> {
        let (place, mark) = (entry.at(&file.span), self.report.mark());
        let path = self.path(&file.value, &place);
        let usable = self.holds_keys(&path, &place) || self.keeps_keys(&path, mark);
        usable.then_some(JwksSource::File(path))
    }

    fn holds_keys(&mut self, path: &Path, place: &Place) -> bool {
        let bytes_max = u64::try_from(KeySet::BYTES_MAX).unwrap_or(u64::MAX);
        let faulty = match self.outside.read(path, bytes_max) {
            Ok(bytes) => KeySet::parse(&bytes).err(),
            Err(fault) => {
                self.unreadable(place, ControlId::Acc1, path, fault);
                return false;
            }
        };
        if let Some(fault) = faulty {
            let found = format!("the key set can't be used: {fault}");
            let instead = "write a JSON Web Key Set with public keys (RFC 7517)";
            self.report.error(place, ControlId::Acc1, found, instead);
        }
        faulty.is_none()
    }
}

/// What the trust is told of an issuer.
pub(super) fn issuer_spec(entry: &Entry<RawIssuer>, own: &Name) -> IssuerSpec {
    let raw = &entry.raw;
    let texts = |list: &[At<String>]| list.iter().map(|text| text.value.clone()).collect();
    let claims = raw.required_claims.iter().map(|(claim, value)| {
        let value = match value {
            ClaimText::Text(text) => ClaimValue::Text(text.clone()),
            ClaimText::Number(number) => ClaimValue::Number(*number),
            ClaimText::Flag(flag) => ClaimValue::Flag(*flag),
        };
        (claim.clone(), value)
    });
    IssuerSpec {
        name: raw.name.0.clone(),
        iss: raw.iss.value.clone(),
        audiences: texts(&raw.audiences),
        algorithms: raw.algorithms.iter().map(|name| algorithm(name.value)).collect(),
        clock_skew: raw.clock_skew.0,
        not_before: match raw.not_before {
            Presence::Required => NotBefore::Required,
            Presence::Optional => NotBefore::Optional,
        },
        environment: raw.environment.as_ref().map_or(own, |name| &name.0).clone(),
        environment_claim: raw.environment_claim.as_ref().map(|claim| claim.value.clone()),
        required_claims: claims.collect(),
        subject_claim: raw.subject_claim.value.clone(),
    }
}

const fn algorithm(name: AlgorithmName) -> Algorithm {
    match name {
        AlgorithmName::ES256 => Algorithm::Es256,
        AlgorithmName::ES384 => Algorithm::Es384,
        AlgorithmName::EdDsa => Algorithm::EdDsa,
        AlgorithmName::PS256 => Algorithm::Ps256,
        AlgorithmName::PS384 => Algorithm::Ps384,
        AlgorithmName::PS512 => Algorithm::Ps512,
        AlgorithmName::RS256 => Algorithm::Rs256,
        AlgorithmName::RS384 => Algorithm::Rs384,
        AlgorithmName::RS512 => Algorithm::Rs512,
    }
}
