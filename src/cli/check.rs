//! `sekisho check`: reads a configuration as `run` would, and says everything that is wrong with it.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::CheckArgs;
use super::change;
use super::say::{self, Colour, Failure, Stream};
use crate::admin::api::ChangeOut;
use crate::base::{Clock, IdentityIx, ListenerIx, NetworkIx, RoleIx};
use crate::config::diff::compare;
use crate::config::{
    self, AccessLog, ClientAuth, ConfigErrors, Loaded, Severity, Snapshot, Stage, UpstreamKind,
};
use crate::store::FILE_NAME;

pub(super) fn main(words: &CheckArgs) -> Result<ExitCode, Failure> {
    let read = config::load(&words.config, 1, Clock::system().now());
    let against = words.against.as_deref().map(change::read).transpose()?;
    let change = match (&read, &against) {
        (Ok(loaded), Some(old)) => Some(ChangeOut::from(&compare(old, &loaded.snapshot))),
        _ => None,
    };
    let code = change.as_ref().map_or(ExitCode::SUCCESS, change::code);
    if words.json {
        let mut document = document(&read);
        if let (Some(change), Some(keys)) = (&change, document.as_object_mut()) {
            let change = serde_json::to_value(change).map_err(Failure::new)?;
            keys.insert("change".to_owned(), change);
        }
        say::out(serde_json::to_string_pretty(&document).map_err(Failure::new)?);
        return Ok(if read.is_ok() { code } else { ExitCode::FAILURE });
    }
    let loaded = read.map_err(|errors| refusal(&words.config, &errors))?;
    for warning in &loaded.warnings {
        say::err(warning.render(Severity::Warning, say::palette(Stream::Err)));
    }
    let served = format!("{} can be served", words.config.display());
    say::out(say::paint(Stream::Out, Colour::Green, &served));
    say::out(summary(&loaded));
    if let Some(change) = &change {
        change::print(change);
    }
    Ok(code)
}

/// Prints what is wrong with a configuration, and gives what the verb ends with.
pub(super) fn refusal(path: &Path, errors: &ConfigErrors) -> Failure {
    say::err(errors.render(say::palette(Stream::Err)));
    Failure::new(format_args!("{} can't be served", path.display()))
}

/// For programs; the same three keys in either case.
fn document(read: &Result<Loaded, ConfigErrors>) -> Value {
    match read {
        Ok(loaded) => json!({
            "ok": true, "errors": [], "warnings": loaded.warnings,
            "counts": counts(loaded)
                .into_iter()
                .chain([("warnings", loaded.warnings.len())])
                .collect::<BTreeMap<_, _>>(),
        }),
        Err(errors) => json!({
            "ok": false, "errors": errors.errors, "omitted": errors.omitted, "warnings": [],
        }),
    }
}

fn counts(loaded: &Loaded) -> [(&'static str, usize); 7] {
    let names = &loaded.snapshot.names;
    [
        ("networks", (0..=u8::MAX).map_while(|ix| names.network(NetworkIx(ix))).count()),
        ("listeners", loaded.snapshot.listeners.len()),
        ("upstreams", loaded.snapshot.upstreams.len()),
        ("issuers", loaded.snapshot.issuers.len()),
        ("roles", (0..).map_while(|ix| names.role(RoleIx(ix))).count()),
        ("identities", (0..).map_while(|ix| names.identity(IdentityIx(ix))).count()),
        ("limits", loaded.snapshot.quotas.limits.len()),
    ]
}

/// What would be served, in a few lines.
fn summary(loaded: &Loaded) -> String {
    let snapshot = &loaded.snapshot;
    let mut out = format!("  environment  {}\n", snapshot.environment);
    for (ix, listener) in (0..).map(ListenerIx).zip(&snapshot.listeners) {
        for route in listener.pass.routes() {
            let names = route.server_names.join(", ");
            let _ = writeln!(
                out,
                "  passed on    {names} by {} on {}: {} targets",
                route.name,
                listener.address,
                route.targets.len()
            );
        }
        let clients = match listener.tls.as_ref().map(|tls| tls.client_auth) {
            Some(ClientAuth::None) => "tokens only",
            Some(ClientAuth::Optional) => "client certificates or tokens",
            Some(ClientAuth::Required) => "client certificates required",
            None => continue,
        };
        let operations = snapshot.table(ix, None).map_or(0, crate::policy::OperationTable::len);
        let _ = writeln!(
            out,
            "  listener     {} on {}: {clients}; {operations} operations{}",
            listener.name,
            listener.address,
            by_name(snapshot, listener.upstreams.iter().copied()),
        );
    }
    for upstream in &snapshot.upstreams {
        let kind = match upstream.kind {
            UpstreamKind::SpApi { stage: Stage::Production, .. } => "SP-API, production",
            UpstreamKind::SpApi { stage: Stage::Sandbox, .. } => "SP-API, sandbox",
            UpstreamKind::Https => "internal store",
        };
        let _ = writeln!(
            out,
            "  upstream     {} at https://{} ({kind})",
            upstream.name, upstream.endpoint.authority
        );
    }
    let file = snapshot.state_dir.join(FILE_NAME);
    let _ = writeln!(out, "  state        {}", file.display());
    if let Some(redis) = &snapshot.state.redis {
        let _ = writeln!(
            out,
            "  shared       gateway {} on {}:{}, TLS 1.3 as {}, user {}",
            snapshot.state.gateway, redis.host, redis.port, redis.server_name, redis.user
        );
    }
    let log = match &snapshot.log.access {
        AccessLog::Stdout => "standard output".to_owned(),
        AccessLog::File(path) => path.display().to_string(),
    };
    let _ = writeln!(out, "  access log   {log}");
    for target in &snapshot.alarms.targets {
        let _ = writeln!(out, "  alarms       {} ({})", target.name, target.way.as_str());
    }
    let _ = writeln!(out, "  admin        http://{}", snapshot.admin.address);
    let _ = write!(out, "  {} checked: ok", config::counted(&counts(loaded)));
    if !loaded.warnings.is_empty() {
        let _ = write!(out, ", {}", config::counted(&[("warnings", loaded.warnings.len())]));
    }
    out
}

/// Where several upstreams of a listener are told apart by server names, the count of operations
/// without one is not the whole truth.
fn by_name(
    snapshot: &Snapshot,
    upstreams: impl Iterator<Item = crate::base::UpstreamIx>,
) -> &'static str {
    let named = upstreams
        .filter_map(|ix| snapshot.upstreams.get(ix.index()))
        .any(|upstream| !upstream.server_names.is_empty());
    if named { ", more by server name" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Moment;

    #[test]
    fn a_file_that_is_not_there_is_one_document_with_the_same_keys() {
        let read = config::load(Path::new("/no/such/sekisho.toml"), 1, Moment::new(0, 0));
        let document = document(&read);
        assert_eq!(document["ok"], false);
        assert_eq!(document["errors"].as_array().map(Vec::len), Some(1));
        assert_eq!(document["warnings"], json!([]));
    }
}
