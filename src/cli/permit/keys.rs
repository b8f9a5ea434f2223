//! Keys: a host's, the platform team's, and listeners' keys that are sealed to a host.
use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::ExitCode;

use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use zeroize::Zeroizing;

use super::args::{HostArgs, KeygenArgs, SealArgs};
use super::files::{self, Existing, Mode, failed};
use crate::base::Secret;
use crate::cli::say::{self, Colour, Failure, Stream};
use crate::permit::{FactKind, Signer, instance_fact, machine_fact};
use crate::seal::{self, HostKey, RANDOM_BYTES, Recipient};

pub(super) fn host(words: &HostArgs) -> Result<ExitCode, Failure> {
    let path = words.key.path();
    let key = match files::secret(&path)? {
        Some(pem) => HostKey::of_pem(&pem).ok_or_else(|| no_host_key(&path))?,
        None => make_host_key(&path)?,
    };
    let id = files::read(&words.machine_id)?;
    let machine =
        machine_fact(&id).ok_or_else(|| failed(&words.machine_id, "it holds no machine id"))?;
    let mut facts = vec![
        (FactKind::Machine, machine.as_str().to_owned()),
        (FactKind::SealingKey, key.public().to_string()),
    ];
    if let Some(path) = &words.instance_document {
        let fact = instance_fact(&files::read(path)?).ok_or_else(|| failed(path, "it is empty"))?;
        facts.push((FactKind::Instance, fact.as_str().to_owned()));
    }
    let facts = facts.iter().map(|(kind, text)| (kind.as_str(), text));
    if words.json {
        say::out(json!(facts.collect::<BTreeMap<_, _>>()));
    } else {
        let lines: Vec<String> = facts.map(|(kind, text)| format!("{kind} = \"{text}\"")).collect();
        say::out(format_args!(
            "# This host's request for a permit; it is no secret. The platform team, offline:\n\
             # sekisho permit issue --key platform.key --request host.request --environment … \\\n\
             #   --listener … --name … --out host.permit\n\
             {}",
            lines.join("\n")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn make_host_key(path: &Path) -> Result<HostKey, Failure> {
    if let Some(directory) = path.parent() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| failed(directory, error))?;
    }
    let key = HostKey::new(Secret::new(random()?)).ok_or_else(no_random)?;
    files::write(path, key.to_pem().as_bytes(), Mode::Owner, Existing::Keep)?;
    say::err(format_args!("{} made; it stays on this host", path.display()));
    Ok(key)
}

fn no_host_key(path: &Path) -> Failure {
    failed(path, "it holds no host's key; remove it, and a new one is made")
}

pub(super) fn keygen(words: &KeygenArgs) -> Result<ExitCode, Failure> {
    let signer = Signer::new(Secret::new(random()?)).ok_or_else(no_random)?;
    files::write(&words.out, signer.to_pem().as_bytes(), Mode::Owner, Existing::Keep)?;
    let public = words.out.with_extension("pub");
    let text = format!("{}\n", signer.public());
    files::write(&public, text.as_bytes(), Mode::Everyone, Existing::Keep)?;
    say::out(signer.public());
    let note = format!(
        "{} stays offline; {} goes to every host, or its text into [permit] issuers (id {})",
        words.out.display(),
        public.display(),
        signer.public().id().as_str()
    );
    say::err(say::paint(Stream::Err, Colour::Dim, &note));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn seal(words: &SealArgs) -> Result<ExitCode, Failure> {
    let to = recipient(words)?;
    let pem = Zeroizing::new(files::read(&words.input)?);
    if PrivateKeyDer::from_pem_slice(&pem).is_err() {
        return Err(failed(&words.input, "it holds no private key in PEM"));
    }
    let random: Zeroizing<[u8; RANDOM_BYTES]> = Zeroizing::new(random()?);
    let sealed = seal::seal(&pem, &to, &random).map_err(|fault| failed(&words.input, fault))?;
    files::write(&words.out, sealed.as_bytes(), Mode::Owner, Existing::of(words.force))?;
    say::out(format_args!("{} is sealed to {to}", words.out.display()));
    let note = format!("name it in the configuration, then remove {}", words.input.display());
    say::err(say::paint(Stream::Err, Colour::Dim, &note));
    Ok(ExitCode::SUCCESS)
}

/// To whom: somebody, or this host.
fn recipient(words: &SealArgs) -> Result<Recipient, Failure> {
    if let Some(text) = &words.to {
        return Recipient::parse(text).ok_or_else(|| {
            Failure::new("--to: write the sealing_key of the host's request, x25519:…")
        });
    }
    let path = words.key.path();
    let pem = files::secret(&path)?
        .ok_or_else(|| failed(&path, "there is none; sekisho permit host makes it"))?;
    Ok(HostKey::of_pem(&pem).ok_or_else(|| no_host_key(&path))?.public())
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_none| no_random())?;
    Ok(bytes)
}

fn no_random() -> Failure {
    Failure::new("the operating system gives no random numbers")
}
