//! Permits themselves: signing one, and showing what one says.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::json;

use super::args::{IssueArgs, ShowArgs};
use super::files::{self, Existing, Mode, failed};
use super::keys;
use crate::base::{Clock, Moment, Name, Utc};
use crate::cli::say::{self, Colour, Failure, Stream};
use crate::permit::{
    Claims, DOCUMENT_BYTES_MAX, Fact, FactKind, IssuerKey, LIFE_MAX_SECS, LISTED_MAX, NamePattern,
    PermitFault, Signer, read_unverified, signed_by,
};

/// What `permit host` prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    machine: String,
    sealing_key: String,
    instance: Option<String>,
    tpm: Option<String>,
}

impl Request {
    fn facts(&self) -> Option<BTreeMap<FactKind, Fact>> {
        let mut facts = BTreeMap::new();
        for (kind, text) in [
            (FactKind::Machine, Some(&self.machine)),
            (FactKind::SealingKey, Some(&self.sealing_key)),
            (FactKind::Instance, self.instance.as_ref()),
            (FactKind::Tpm, self.tpm.as_ref()),
        ] {
            if let Some(text) = text {
                facts.insert(kind, Fact::parse(text)?);
            }
        }
        Some(facts)
    }
}

pub(super) fn issue(words: &IssueArgs) -> Result<ExitCode, Failure> {
    let pem = files::secret(&words.key)?.ok_or_else(|| failed(&words.key, "it does not exist"))?;
    let signer = Signer::of_pem(&pem)
        .ok_or_else(|| failed(&words.key, "it holds no issuer's key; sekisho permit keygen"))?;
    let claims = claims(words, request(&words.request)?, Clock::system().now())?;
    let document = signer.sign(&claims);
    can_be_read(&document, &claims)?;
    match &words.out {
        Some(path) => {
            files::write(path, document.as_bytes(), Mode::Everyone, Existing::of(words.force))?;
            say::out(described(&claims));
        }
        None => say::out(document.trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Nothing is handed out that no host takes: it is read as a host does.
fn can_be_read(document: &str, claims: &Claims) -> Result<(), Failure> {
    for (what, count) in
        [("--listener", claims.listeners.len()), ("--name", claims.server_names.len())]
    {
        if count > LISTED_MAX {
            return Err(Failure::new(format_args!(
                "{what}: {count} of them, and a permit holds at most {LISTED_MAX}; *. and a parent \
                 stands for many names"
            )));
        }
    }
    match read_unverified(document.as_bytes()) {
        Ok((read, _)) if read == *claims => Ok(()),
        Err(PermitFault::TooLarge) => Err(Failure::new(format_args!(
            "--name: the permit would be {} bytes long, and a host takes at most \
             {DOCUMENT_BYTES_MAX}; *. and a parent stands for many names",
            document.len()
        ))),
        Ok(_) => Err(Failure::new("the permit can't be read back; report this defect")),
        Err(fault) => Err(Failure::new(format_args!("the permit can't be read back: {fault}"))),
    }
}

fn request(path: &Path) -> Result<BTreeMap<FactKind, Fact>, Failure> {
    let bytes = files::read(path)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let is_json = text.trim_start().starts_with('{');
    let request: Option<Request> =
        if is_json { serde_json::from_str(text).ok() } else { toml::from_str(text).ok() };
    request.and_then(|request| request.facts()).ok_or_else(|| {
        failed(path, "it is no request; have `sekisho permit host` print one on the host")
    })
}

fn claims(
    words: &IssueArgs,
    host: BTreeMap<FactKind, Fact>,
    now: Moment,
) -> Result<Claims, Failure> {
    let name = |what: &str, text: &str| {
        Name::parse(text).map_err(|fault| Failure::new(format_args!("{what} {text:?}: {fault}")))
    };
    let pattern = |text: &String| {
        NamePattern::parse(&text.to_ascii_lowercase()).ok_or_else(|| {
            Failure::new(format_args!(
                "--name {text:?}: write a DNS name, or *. and a parent, or an address"
            ))
        })
    };
    let issued = now.unix_secs();
    let not_before = match &words.not_before {
        None => issued,
        Some(text) => Utc::parse_seconds(text).filter(|at| *at >= issued).ok_or_else(|| {
            Failure::new("--not-before: write a time to come, such as 2026-12-01T00:00:00Z")
        })?,
    };
    let expires = not_before.saturating_add(words.days.saturating_mul(86_400));
    if expires > issued.saturating_add(LIFE_MAX_SECS) {
        return Err(Failure::new("--days: it would end more than 90 days from now (TLS-3)"));
    }
    let random: [u8; 4] = keys::random()?;
    let day = Utc::of(now).compact();
    let day = day.get(..8).unwrap_or_default();
    Ok(Claims {
        serial: name("serial", &format!("{day}-{:08x}", u32::from_be_bytes(random)))?,
        environment: name("--environment", &words.environment)?,
        issued,
        not_before,
        expires,
        listeners: words
            .listener
            .iter()
            .map(|listener| name("--listener", listener))
            .collect::<Result<_, _>>()?,
        server_names: words.name.iter().map(pattern).collect::<Result<_, _>>()?,
        host,
    })
}

pub(super) fn show(words: &ShowArgs) -> Result<ExitCode, Failure> {
    let document = files::read(&words.file)?;
    let (claims, issuer) =
        read_unverified(&document).map_err(|fault| failed(&words.file, fault))?;
    let trusted = words.issuer.as_ref().map(|text| issuer_key(text)).transpose()?;
    let signed = trusted.map(|key| signed_by(&document, &[key]));
    if words.json {
        let mut value = as_json(&claims);
        if let Some(map) = value.as_object_mut() {
            map.insert("issuer".to_owned(), issuer.as_str().into());
            let verified = signed.map(|signed| signed.is_ok());
            map.insert("signature_verified".to_owned(), verified.into());
        }
        say::out(serde_json::to_string_pretty(&value).map_err(Failure::new)?);
    } else {
        say::out(described(&claims));
        let word = match signed {
            None => "not checked: give --issuer".to_owned(),
            Some(Ok(_)) => say::paint(Stream::Out, Colour::Green, "good"),
            Some(Err(fault)) => say::paint(Stream::Out, Colour::Red, &fault.to_string()),
        };
        say::out(format_args!("  signature    by issuer {}; {word}", issuer.as_str()));
    }
    Ok(if matches!(signed, Some(Err(_))) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn issuer_key(text: &str) -> Result<IssuerKey, Failure> {
    if let Some(key) = IssuerKey::parse(text) {
        return Ok(key);
    }
    let path = Path::new(text);
    let bytes = files::read(path)?;
    let key = std::str::from_utf8(&bytes).ok().and_then(IssuerKey::parse);
    key.ok_or_else(|| failed(path, "it holds no issuer's public key"))
}

fn time(secs: u64) -> String {
    Utc::of(Moment::new(secs.saturating_mul(1_000), 0)).seconds()
}

/// What a permit says, for people.
pub(super) fn described(claims: &Claims) -> String {
    let listed = |names: Vec<&str>| {
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let mut text = format!("permit {} for {}\n", claims.serial, claims.environment);
    let _ =
        writeln!(text, "  good         {} to {}", time(claims.not_before), time(claims.expires));
    let listeners = listed(claims.listeners.iter().map(Name::as_str).collect());
    let _ = writeln!(text, "  listeners    {listeners}");
    let names = listed(claims.server_names.iter().map(NamePattern::as_str).collect());
    let _ = write!(text, "  names        {names}");
    for (kind, fact) in &claims.host {
        let _ = write!(text, "\n  {:12} {}", kind.as_str(), fact.as_str());
    }
    text
}

/// The same for programs.
pub(super) fn as_json(claims: &Claims) -> serde_json::Value {
    let facts: BTreeMap<_, _> =
        claims.host.iter().map(|(kind, fact)| (kind.as_str(), fact.as_str())).collect();
    json!({
        "serial": claims.serial.as_str(),
        "environment": claims.environment.as_str(),
        "issued": time(claims.issued),
        "not_before": time(claims.not_before),
        "expires": time(claims.expires),
        "listeners": claims.listeners.iter().map(Name::as_str).collect::<Vec<_>>(),
        "server_names": claims.server_names.iter().map(NamePattern::as_str).collect::<Vec<_>>(),
        "host": facts,
    })
}
