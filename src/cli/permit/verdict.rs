//! `sekisho permit verify`: whether this host may end TLS, by the very code of `run`.
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::VerifyArgs;
use super::paper::{as_json, described};
use crate::base::{Clock, ControlId, Moment};
use crate::cli::check;
use crate::cli::say::{self, Colour, Failure, Stream};
use crate::config::{self, Severity, Snapshot, TlsSettings, Withheld};

/// Stands for a certificate that holds no name.
const NAMELESS: &str = "a certificate without a name";

/// One listener, and the names whose keys stay closed; all, if nothing was opened.
struct Ends<'s> {
    listener: &'s str,
    any: bool,
    /// Names whose keys stay closed.
    withheld: Vec<&'s str>,
}

pub(super) fn verify(words: &VerifyArgs) -> Result<ExitCode, Failure> {
    let now = Clock::system().now();
    let loaded = config::load(&words.config, 1, now)
        .map_err(|errors| check::refusal(&words.config, &errors))?;
    let ends = listeners(&loaded.snapshot);
    let standing = &loaded.snapshot.permit.standing;
    let good = standing.is_ok() && ends.iter().all(|ends| ends.any && ends.withheld.is_empty());
    if words.json {
        let document = document(&loaded.snapshot, &ends, good, now);
        say::out(serde_json::to_string_pretty(&document).map_err(Failure::new)?);
    } else {
        tell(&loaded.snapshot, &ends, now);
        for warning in loaded.warnings.iter().filter(|one| one.control == Some(ControlId::Tls3)) {
            say::err(warning.render(Severity::Warning, say::palette(Stream::Err)));
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn listeners(snapshot: &Snapshot) -> Vec<Ends<'_>> {
    fn ends<'s>(listener: &'s str, tls: &'s TlsSettings) -> Ends<'s> {
        let names = |one: &'s Withheld| match one.server_names.as_slice() {
            [] => vec![NAMELESS],
            names => names.iter().map(String::as_str).collect(),
        };
        let withheld = tls.withheld.iter().flat_map(names).collect();
        Ends { listener, any: !tls.certificates.is_empty(), withheld }
    }
    let apps = snapshot.listeners.iter();
    let apps = apps.filter_map(|one| Some(ends(one.name.as_str(), one.tls.as_ref()?)));
    apps.chain(snapshot.api.as_ref().map(|api| ends("admin.api", &api.tls))).collect()
}

fn left(snapshot: &Snapshot, now: Moment) -> u64 {
    let permit = snapshot.permit.standing.as_ref();
    permit.map_or(0, |permit| permit.expires().saturating_sub(now.unix_secs()))
}

fn document(snapshot: &Snapshot, ends: &[Ends<'_>], good: bool, now: Moment) -> Value {
    let standing = &snapshot.permit.standing;
    let fault = standing.as_ref().err();
    let listeners: Vec<Value> = ends
        .iter()
        .map(|one| {
            json!({ "listener": one.listener, "ends_tls": one.any, "closed_names": one.withheld })
        })
        .collect();
    json!({
        "ok": good,
        "fault": fault.map(|fault| fault.as_str()),
        "message": fault.map(ToString::to_string),
        "instead": fault.map(|fault| fault.advice()),
        "seconds_left": left(snapshot, now),
        "permit": standing.as_ref().ok().map(|permit| as_json(permit.claims())),
        "issuer": standing.as_ref().ok().map(|permit| permit.issuer().as_str().to_owned()),
        "listeners": listeners,
    })
}

fn tell(snapshot: &Snapshot, ends: &[Ends<'_>], now: Moment) {
    match &snapshot.permit.standing {
        Ok(permit) => {
            say::out(described(permit.claims()));
            let days = left(snapshot, now) / 86_400;
            say::out(format_args!(
                "  signature    by issuer {}; good, {days} days left",
                permit.issuer().as_str()
            ));
        }
        Err(fault) => {
            say::out(say::paint(Stream::Out, Colour::Red, &fault.to_string()));
            say::out(format_args!("  instead      {}", fault.advice()));
        }
    }
    for one in ends {
        let (colour, word) = match (one.any, one.withheld.as_slice()) {
            (true, []) => (Colour::Green, "ends TLS".to_owned()),
            (true, names) => (Colour::Yellow, format!("closed for {}", names.join(", "))),
            (false, _) => (Colour::Red, "ends no TLS; its keys stay closed".to_owned()),
        };
        say::out(format_args!("  {:12} {}", one.listener, say::paint(Stream::Out, colour, &word)));
    }
}
