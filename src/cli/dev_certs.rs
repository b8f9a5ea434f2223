//! `sekisho dev-certs`: throw-away certificates, keys and tokens for a developer's machine.
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use super::args::DevCertsArgs;
use super::say::{self, Colour, Failure, Stream};
use crate::base::{Clock, Moment};
use crate::devcerts::{DevCertsError, DevPki, Existing, Layout, PkiPlan, TokenClaims, TokenSigner};

/// The issuer of the folder's tokens, as `conf/developer.toml` names it.
pub(super) const ISSUER: &str = "https://issuer.sekisho.test";
/// Whom they are for.
pub(super) const AUDIENCE: &str = "sekisho";

pub(super) fn main(words: &DevCertsArgs) -> Result<ExitCode, Failure> {
    let now = Clock::system().now();
    match &words.token {
        Some(subject) => print_token(&words.dir, subject, now),
        None => make(words, now),
    }
}

fn make(words: &DevCertsArgs, now: Moment) -> Result<ExitCode, Failure> {
    let existing = if words.force { Existing::Replace } else { Existing::Keep };
    let plan = PkiPlan { environment: words.environment.clone(), ..PkiPlan::default() };
    let written = DevPki::generate(&plan, now).and_then(|pki| pki.write(&words.dir, existing));
    let written = written.map_err(|error| match &error {
        DevCertsError::Exists(path) => Failure::new(format_args!(
            "{} is there already; --force makes everything anew",
            path.display()
        )),
        DevCertsError::ClientName(_)
        | DevCertsError::SubjectName(_)
        | DevCertsError::Generate
        | DevCertsError::Malformed(_)
        | DevCertsError::Io { .. } => Failure::new(error),
    })?;
    say::out(say::paint(Stream::Out, Colour::Bold, "Written, good for 30 days:"));
    for path in &written {
        let says = purpose(&Layout::new(&words.dir), &plan, path);
        say::out(format_args!("  {:44} {says}", path.display()));
    }
    say::out(next_steps(&words.dir));
    Ok(ExitCode::SUCCESS)
}

/// What works now. `conf/developer.toml` looks for the default folder.
fn next_steps(dir: &Path) -> String {
    if dir != Path::new("certs-dev") {
        let dir = dir.display();
        return format!(
            "\nNext: sekisho mock-sp-api --dir {dir}\n      \
             sekisho dev-certs --dir {dir} --token order-importer"
        );
    }
    format!(
        "\nNext, in three terminals:\n  \
         sekisho mock-sp-api\n  \
         sekisho run conf/developer.toml\n  \
         curl --cacert {} -H 'x-amz-access-token: mock' \\\n    \
         -H \"Authorization: Bearer $(sekisho dev-certs --token order-importer)\" \\\n    \
         'https://localhost:8443/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528'",
        Layout::new(dir).ca().display(),
    )
}

/// What a file is for.
fn purpose(at: &Layout, plan: &PkiPlan, path: &Path) -> String {
    let known = [
        (at.ca(), "the authority to trust; its key was never written"),
        (at.server().0, "the gateway's certificate"),
        (at.upstream().0, "the mock upstream's certificate"),
        (at.rogue_ca(), "an authority that nobody trusts"),
        (at.rogue_server().0, "a server of that authority, under the gateway's names"),
        (at.rogue_client().0, "a client of that authority, under the first client's name"),
        (at.signing().0, "the token issuer's public key"),
        (at.other_signing().0, "that of another environment's issuer"),
        (at.permit(), "the host's permit to end TLS"),
        (at.permit_issuer(), "the permit's issuer; its key was never written"),
        (at.machine_id(), "a made-up machine id"),
        (at.host_key(), "the host's key"),
        (at.sealed_server_key(), "the gateway's key, sealed to the host's"),
    ];
    if let Some((_, says)) = known.iter().find(|(known, _)| known == path) {
        return (*says).to_owned();
    }
    let client = plan.clients.iter().find(|name| at.client(name).0 == path);
    let operator = plan.operators.iter().find(|name| at.operator(name).0 == path);
    match (client, operator) {
        (Some(name), _) => format!("client, spiffe://sekisho.test/{name}"),
        (None, Some(name)) => format!("operator, spiffe://sekisho.test/operators/{name}"),
        (None, None) => "its key".to_owned(),
    }
}

fn print_token(dir: &Path, subject: &str, now: Moment) -> Result<ExitCode, Failure> {
    let token = signer(dir).and_then(|signer| token(&signer, subject, now))?;
    // The token alone, so that $(…) takes it; whoever looks at it is told more.
    say::out(token);
    if say::is_terminal(Stream::Out) {
        let note = format!(
            "for {subject}, by {ISSUER}, to {AUDIENCE}, good for one hour; send it as \
             Authorization: Bearer …"
        );
        say::err(say::paint(Stream::Err, Colour::Dim, &note));
    }
    Ok(ExitCode::SUCCESS)
}

fn signer(dir: &Path) -> Result<TokenSigner, Failure> {
    let path = Layout::new(dir).signing().1;
    TokenSigner::open(&path).map_err(|error| unreadable(&error, dir))
}

/// A file of the folder can't be used, and what makes one that can.
pub(super) fn unreadable(error: &DevCertsError, dir: &Path) -> Failure {
    let dir = dir.display();
    match error {
        DevCertsError::Io { path, kind: ErrorKind::NotFound } => Failure::new(format_args!(
            "{} is not there; sekisho dev-certs --dir {dir} makes it",
            path.display()
        )),
        DevCertsError::ClientName(_)
        | DevCertsError::SubjectName(_)
        | DevCertsError::Generate
        | DevCertsError::Exists(_)
        | DevCertsError::Malformed(_)
        | DevCertsError::Io { .. } => Failure::new(format_args!(
            "{error}; sekisho dev-certs --dir {dir} --force makes it anew"
        )),
    }
}

/// A token of one hour for `subject`.
pub(super) fn token(signer: &TokenSigner, subject: &str, now: Moment) -> Result<String, Failure> {
    let claims = TokenClaims { nbf: Some(0), ..TokenClaims::new(ISSUER, subject, AUDIENCE) };
    signer.sign(&claims, now).map_err(Failure::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_is_written_is_explained() {
        let (at, plan) = (Layout::new(Path::new("x")), PkiPlan::default());
        for client in &plan.clients {
            let (certificate, key) = at.client(client);
            assert_eq!(purpose(&at, &plan, &key), "its key");
            assert!(purpose(&at, &plan, &certificate).ends_with(client));
        }
        for operator in &plan.operators {
            assert!(purpose(&at, &plan, &at.operator(operator).0).starts_with("operator"));
        }
        assert!(purpose(&at, &plan, &at.signing().0).contains("public key"));
    }

    #[test]
    fn a_token_names_its_issuer_audience_and_subject() {
        let signer = TokenSigner::generate().unwrap();
        let token = token(&signer, "order-importer", Moment::new(1_000_000, 0)).unwrap();
        let parsed = crate::identity::parse_token(token.as_bytes(), 8_192);
        assert!(parsed.is_ok(), "{parsed:?}");
        assert_eq!(token.split('.').count(), 3);
    }
}
