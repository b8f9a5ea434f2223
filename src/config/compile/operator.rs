//! `[admin.api]` and `[operator.…]` (PRIV-3, ACC-1, ACC-3, NET-1).
use std::collections::HashMap;

use super::Ctx;
use super::listener::Parted;
use crate::base::{ControlId, Name};
use crate::config::operating::{
    API_LISTENER, ApiSettings, OperatorAct, OperatorRole, OperatorSettings, Operators,
};
use crate::config::raw::value::quoted;
use crate::config::raw::{
    ActName, CertificateMatch, OperatorRoleName, RawAdmin, RawApi, RawCertified, RawOperator,
};
use crate::config::read::Entry;
use crate::config::settings::{Alpn, AuthoritiesOf, ClientAuth, TlsSettings, TlsVersion};
use crate::identity::{
    CertificateCredential, IdentitySpec, Standing, StrongLogin, Trust, TrustError, TrustSpec,
};

/// The most operators.
const OPERATORS_MAX: usize = 1_000;

/// The API can't be served; it was told why.
pub(super) struct Unusable;

impl Ctx<'_> {
    /// `None`: there is no API.
    pub(super) fn api(&mut self) -> Result<Option<ApiSettings>, Unusable> {
        let document = self.document;
        let Some(entry) = &document.admin else { return Ok(None) };
        let Some(raw) = &entry.raw.api else {
            return if entry.lost("api") { Err(Unusable) } else { Ok(None) };
        };
        let networks = self.mask(entry, &raw.networks, ControlId::Net1);
        if raw.networks.is_empty() && !entry.lost("api") {
            let found = "the API admits nobody";
            let instead = "name the networks that operators come from: networks = [\"office\"]";
            let place = entry.at(&raw.networks.span);
            self.report.error(&place, ControlId::Net1, found, instead);
        }
        if document.operator.names.is_empty() {
            let found = "nobody may use the API";
            let instead = "add [operator.NAME] with certificate and role, one for each person";
            self.report.warning(&entry.at(&raw.address.span), ControlId::Priv3, found, instead);
        }
        let named = raw.two_people.iter().map(|act| (word(act.value), act));
        self.once(entry, named, ControlId::Priv3);
        let tls = self.api_tls(entry, raw).ok_or(Unusable)?;
        Ok(Some(ApiSettings {
            address: raw.address.0,
            networks,
            tls,
            two_people: raw.two_people.iter().map(|act| act_of(act.value)).collect(),
            confirm_within: raw.confirm_within.0,
        }))
    }

    fn api_tls(&mut self, entry: &Entry<RawAdmin>, raw: &RawApi) -> Option<TlsSettings> {
        let tls = &raw.tls.value;
        let (certificate, key) = (tls.certificate.clone(), tls.key.clone());
        let own = RawCertified { certificate, key, ocsp: None };
        let certified = self.server_certificate(entry, &own, API_LISTENER);
        let ca_at = entry.at(&tls.client_ca.span);
        let whose = AuthoritiesOf::Api;
        let client_ca = self.authorities(&tls.client_ca.value, &ca_at, ControlId::Priv3, whose);
        let Parted { opened: certificates, withheld, expired } = Parted::of([certified])?;
        let client_ca = client_ca?;
        let client_crl = self.revocation_lists(entry, &tls.client_crl, &client_ca, API_LISTENER);
        Some(TlsSettings {
            certificates,
            withheld,
            expired,
            client_crl: client_crl?,
            client_ca: Some(client_ca),
            client_auth: ClientAuth::Required,
            min_version: TlsVersion::V1_3,
            alpn: vec![Alpn::Http11],
        })
    }

    /// `None` if some can't be used.
    pub(super) fn operators(&mut self, own: &Name, generation: u64) -> Option<Operators> {
        let document = self.document;
        let section = &document.operator;
        if let Some(entry) = section.entries.get(OPERATORS_MAX) {
            let found = format!("{} operators are defined", section.entries.len());
            let instead = format!("keep at most {OPERATORS_MAX}");
            self.report.error(&entry.place, ControlId::Priv3, found, instead);
        }
        self.no_operator_is_an_identity();
        let today = self.now.unix_day();
        for entry in &section.entries {
            if let Some(date) = entry.raw.expires.as_ref().filter(|date| date.unix_day() < today) {
                let found = "the operator's last day has passed";
                let instead = "remove the entry, or write a later day";
                let place = entry.at(&date.span);
                self.report.warning(&place, ControlId::Acc3, found, instead);
            }
        }
        let identities: Option<Vec<_>> =
            section.entries.iter().map(|entry| operator_spec(entry, own)).collect();
        let spec = TrustSpec {
            environment: own.clone(),
            generation,
            token_bytes_max: 0,
            strong: StrongLogin::default(),
            issuers: Vec::new(),
            identities: identities?,
        };
        let list = section.entries.iter().filter_map(|entry| {
            let role = match entry.raw.role.value {
                OperatorRoleName::Viewer => OperatorRole::Viewer,
                OperatorRoleName::Operator => OperatorRole::Operator,
                OperatorRoleName::SecurityOfficer => OperatorRole::SecurityOfficer,
            };
            Some(OperatorSettings { name: Name::parse(&entry.name).ok()?, role })
        });
        let list = list.collect();
        match Trust::build(spec) {
            Ok(trust) => Some(Operators { trust: Some(trust), list }),
            Err(errors) => {
                for error in errors {
                    self.operator_error(&error);
                }
                None
            }
        }
    }

    /// A person who operates the gateway and reads data through it has two credentials, so that
    /// neither can do the other's work (PRIV-3).
    fn no_operator_is_an_identity(&mut self) {
        let document = self.document;
        if document.operator.entries.is_empty() {
            return;
        }
        let mut taken: HashMap<CertificateCredential, &str> = HashMap::new();
        for entry in &document.identity.entries {
            let raw = &entry.raw;
            for one in raw.certificate.iter().chain(&raw.certificates) {
                taken.insert(credential(&one.value), &entry.name);
            }
        }
        for entry in &document.operator.entries {
            for one in std::iter::once(&entry.raw.certificate).chain(&entry.raw.certificates) {
                if let Some(identity) = taken.get(&credential(&one.value)) {
                    let found = format!(
                        "this certificate of an operator is the identity {}'s as well",
                        quoted(identity)
                    );
                    let instead = "give the person a certificate of its own for operating";
                    self.report.error(&entry.at(&one.span), ControlId::Priv3, found, instead);
                }
            }
        }
    }

    fn operator_error(&mut self, error: &TrustError) {
        let (TrustError::SharedCredential { second: name, .. }
        | TrustError::Wildcard { identity: name, .. }
        | TrustError::BrokenCredential { identity: name, .. }
        | TrustError::IdentityTwice { identity: name }
        | TrustError::SharedName { identity: name }
        | TrustError::NoCredential { identity: name }) = error
        else {
            return;
        };
        let section = &self.document.operator;
        let entry = section.place(name.as_str()).and_then(|at| section.entries.get(at));
        let Some(entry) = entry else { return };
        let (place, lost) = match error {
            TrustError::SharedName { .. } => (entry.place.clone(), false),
            _ => (entry.at(&entry.raw.certificate.span), entry.lost("certificate")),
        };
        if lost {
            return;
        }
        let text = error.to_string().replace("identities ", "operators ");
        let text = text.replace("identity ", "operator ");
        let (found, instead) = text.split_once("; ").unwrap_or((&text, "give each its own"));
        self.report.error(&place, error.control(), found, instead);
    }
}

fn operator_spec(entry: &Entry<RawOperator>, own: &Name) -> Option<IdentitySpec> {
    let raw = &entry.raw;
    let all = std::iter::once(&raw.certificate).chain(&raw.certificates);
    Some(IdentitySpec {
        name: Name::parse(&entry.name).ok()?,
        environment: own.clone(),
        certificates: all.map(|one| credential(&one.value)).collect(),
        token: None,
        standing: if raw.disabled.is_some() { Standing::Disabled } else { Standing::Active },
        // The last day counts to its end, in UTC.
        expires: raw.expires.as_ref().map(|date| (u64::from(date.unix_day()) + 1) * 86_400),
    })
}

/// In one spelling.
fn credential(one: &CertificateMatch) -> CertificateCredential {
    match one {
        CertificateMatch::SanUri(uri) => CertificateCredential::SanUri(uri.clone()),
        CertificateMatch::SanDns(name) => {
            CertificateCredential::SanDns(name.0.to_ascii_lowercase())
        }
        CertificateMatch::SpkiSha256(pin) => CertificateCredential::SpkiSha256(pin.0),
    }
}

const fn act_of(name: ActName) -> OperatorAct {
    match name {
        ActName::Lock => OperatorAct::Lock,
        ActName::Kill => OperatorAct::Kill,
        ActName::Unlock => OperatorAct::Unlock,
        ActName::UnlockSecurityLock => OperatorAct::UnlockSecurityLock,
        ActName::Reload => OperatorAct::Reload,
        ActName::ReloadWidening => OperatorAct::ReloadWidening,
    }
}

const fn word(name: ActName) -> &'static str {
    act_of(name).as_str()
}
