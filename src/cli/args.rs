//! The words of the command line. Their documentation is what `--help` teaches.
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use super::operate::args::Operate;
use super::permit::args::PermitArgs;

/// A checkpoint for personal data, in front of Amazon's Selling Partner API and your own stores.
///
/// Sekisho (関所) ends TLS, identifies every caller, lets through only what its role grants, keeps to
/// quotas, and writes down what passed without writing down whom it was about.
///
/// First steps:
///   sekisho demo                       see it work, with throw-away certificates and a mock SP-API
///   sekisho check sekisho.toml         every mistake of a configuration at once
///   sekisho diff old.toml new.toml     who would gain or lose what
///   sekisho run sekisho.toml           serve
///   sekisho explain sekisho.toml --identity label-printer --method GET --path /orders/v0/orders
///                                      why a call is allowed or refused
///   sekisho permit --help              which hosts may end TLS, and how they prove it
///
/// Operating a gateway that runs, with an operator's certificate (each verb: --help):
///   sekisho top                        who does most at the moment
///   sekisho locks                      what is locked, and why
///   sekisho lock identity NAME --case INC-2041
///   sekisho reload --dry-run           what its changed files would change
#[derive(Parser, Debug)]
#[command(name = "sekisho", version, verbatim_doc_comment, propagate_version = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    Run(RunArgs),
    Upgrade(UpgradeArgs),
    Ready(ReadyArgs),
    Check(CheckArgs),
    Diff(DiffArgs),
    Explain(ExplainArgs),
    Demo(DemoArgs),
    DevCerts(DevCertsArgs),
    MockSpApi(MockArgs),
    Catalog(CatalogArgs),
    #[command(flatten)]
    Operate(Operate),
    Alarms(AlarmsArgs),
    Permit(PermitArgs),
    /// Print the configuration's JSON Schema, for editors.
    Schema,
    /// Print the `OpenAPI` document of the operators' API.
    AdminOpenapi,
    Completions(CompletionsArgs),
    /// Print the manual page (roff), as for `man -l`.
    Man,
}

/// Serve: listen, enforce, forward, write down.
///
/// Signals: SIGHUP reads the configuration again (a bad one changes nothing and says why); SIGUSR1
/// opens the access log anew after logrotate; SIGUSR2 has the binary, as it is on disk now, take this
/// process' place (see `sekisho upgrade`); SIGTERM and SIGINT stop accepting, let requests in
/// flight finish within `gateway.shutdown_grace`, and end. A changed file is noticed by itself.
///
/// Exit codes: 0 stopped by a signal; 1 the configuration or a port can't be used.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct RunArgs {
    /// The configuration file.
    #[arg(env = "SEKISHO_CONFIG", default_value = "/etc/sekisho/sekisho.toml")]
    pub(super) config: PathBuf,
}

/// Have another binary take the place of the running gateway, without losing a request.
///
/// Starts the new binary beside the running one, which hands over its listening sockets, its locks,
/// what was spent and what was revealed, and then finishes what it has. If the new one can't be
/// started, can't use the configuration, dies, or is not ready in time, the running one goes on as if
/// nothing had been. SIGUSR2 to the gateway does the same with the file it was started from. Run it as
/// the gateway's user.
///
/// Exit codes: 0 the new process serves; 1 it does not, the reason is on standard error.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct UpgradeArgs {
    /// The configuration file of the running gateway.
    #[arg(env = "SEKISHO_CONFIG", default_value = "/etc/sekisho/sekisho.toml")]
    pub(super) config: PathBuf,
    /// What to start; the file that the gateway was started from by default.
    #[arg(long, value_name = "FILE")]
    pub(super) binary: Option<PathBuf>,
    /// Seconds the new process may take for each of its steps; 30 by default, 60 at most.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(super) within: Option<u64>,
    /// Begin with the configuration that is on disk, even if it is on trial, was put back, or waits for
    /// somebody to ask for it.
    #[arg(long)]
    pub(super) with_configuration: bool,
}

/// Ask a gateway on this machine whether it should be sent traffic: a probe where there is no curl.
///
/// Exit codes: 0 it should; 1 it drains, can't write its log, or is not there.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct ReadyArgs {
    /// The gateway's `[admin] address`.
    #[arg(default_value = "127.0.0.1:9464")]
    pub(super) address: SocketAddr,
}

/// Read a configuration as `run` would, and report every mistake at once.
///
/// Each report names file, line and column, the control it serves, what was found and what to write
/// instead. Exit codes: 0 it can be served; 1 it can't.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct CheckArgs {
    /// The configuration file.
    #[arg(env = "SEKISHO_CONFIG", default_value = "/etc/sekisho/sekisho.toml")]
    pub(super) config: PathBuf,
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub(super) json: bool,
    /// Say as well what it would change in the place of this one, as `sekisho diff` does; exit code 3
    /// then means that something widens.
    #[arg(long, value_name = "OLD")]
    pub(super) against: Option<PathBuf>,
}

/// Compare two configurations: who would gain or lose what.
///
/// What they mean is compared, not how they are written: grants by operation and identity, networks by
/// prefix, limits, listeners, upstreams, issuers, operators, detectors. Each line says whether it
/// widens what may be done, narrows it or neither; what widens comes first. Nothing is changed, and no
/// gateway has to run.
///
/// Example:
///   git show main:sekisho.toml > old.toml && sekisho diff old.toml sekisho.toml
///
/// Exit codes: 0 nothing widens; 3 something does; 1 one of them can't be used.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct DiffArgs {
    /// The configuration that is in force.
    pub(super) old: PathBuf,
    /// The one that would be.
    pub(super) new: PathBuf,
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub(super) json: bool,
}

/// Say why a call would be allowed or refused. Uses the very code of the request path.
///
/// Example:
///   sekisho explain sekisho.toml --identity label-printer --method GET \
///       --path '/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528' --from 203.0.113.7
///
/// Exit codes: 0 the call would be allowed; 1 it would be refused.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct ExplainArgs {
    /// The configuration file.
    #[arg(env = "SEKISHO_CONFIG", default_value = "/etc/sekisho/sekisho.toml")]
    pub(super) config: PathBuf,
    /// Who calls: an identity's name.
    #[arg(long)]
    pub(super) identity: String,
    /// The request method.
    #[arg(long, default_value = "GET")]
    pub(super) method: String,
    /// The path, with its query.
    #[arg(long)]
    pub(super) path: String,
    /// The listener it comes to; the first one by default.
    #[arg(long)]
    pub(super) listener: Option<String>,
    /// The server name of the connection, where upstreams are told apart by it.
    #[arg(long)]
    pub(super) server_name: Option<String>,
    /// The caller's address; without it, the first network of the identity is assumed.
    #[arg(long)]
    pub(super) from: Option<std::net::IpAddr>,
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub(super) json: bool,
}

/// See it work: a gateway before a mock SP-API, and a guided series of real HTTPS requests.
///
/// Makes throw-away certificates, starts both on loopback, sends requests, and prints for each who
/// asked, what, the answer and the access-log line. Then it stays up for your own curl.
#[derive(clap::Args, Debug)]
pub(super) struct DemoArgs {
    /// End after the series; exit code 0 only if every answer was the expected one.
    #[arg(long)]
    pub(super) exit: bool,
}

/// Make throw-away certificates, keys and tokens for development.
///
/// Writes a CA, server and client certificates and a token-signing key into a folder. Never use them
/// for anything real: their keys lie beside them.
#[derive(clap::Args, Debug)]
pub(super) struct DevCertsArgs {
    /// Where to write.
    #[arg(long, default_value = "certs-dev")]
    pub(super) dir: PathBuf,
    /// Make everything anew where files exist already.
    #[arg(long)]
    pub(super) force: bool,
    /// The environment that the host's permit is for.
    #[arg(long, value_name = "NAME", default_value = "development")]
    pub(super) environment: String,
    /// Print a token for this subject instead, signed with the folder's key.
    #[arg(long, value_name = "SUBJECT")]
    pub(super) token: Option<String>,
}

/// Serve a mock of the Selling Partner API, with invented people, on its own.
///
/// Scenarios, for testing how a client copes: normal, error=STATUS, delay=MS, truncate=BYTES,
/// lie-length, close-early, endless=BYTES, informational[=COUNT], throttle, slow-body=BYTES/MS,
/// garbage, big-headers=BYTES, trailers, no-content, not-modified, bad-banner, echo. A path in front
/// limits one to what starts with it.
///
/// Example:
///   sekisho mock-sp-api --scenario /orders/:throttle --scenario /reports/:delay=2000
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct MockArgs {
    /// Where to listen. Loopback only.
    #[arg(long, default_value = "127.0.0.1:9443")]
    pub(super) address: SocketAddr,
    /// The folder `sekisho dev-certs` wrote.
    #[arg(long, default_value = "certs-dev")]
    pub(super) dir: PathBuf,
    /// What to do with requests: [/path/prefix:]SCENARIO. May be given several times.
    #[arg(long, value_name = "SCENARIO")]
    pub(super) scenario: Vec<String>,
    /// Answer 429 where a caller is faster than Amazon's default rates.
    #[arg(long)]
    pub(super) amazon_rates: bool,
}

/// Search the built-in catalogue of SP-API operations.
///
/// On a terminal a table; else one line per operation, columns apart by tabs: name, method, path,
/// rate, restricted, personal data in answers.
///
/// Example: sekisho catalog orders address
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct CatalogArgs {
    /// Words to look for in names and paths; all must occur. None: everything.
    pub(super) words: Vec<String>,
    /// Print a JSON list.
    #[arg(long)]
    pub(super) json: bool,
}

/// Try out whether alarms reach people (`test`), and list those of a gateway that runs (`list`).
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct AlarmsArgs {
    #[command(subcommand)]
    pub(super) act: AlarmsAct,
}

#[derive(Subcommand, Debug)]
pub(super) enum AlarmsAct {
    Test(AlarmsTestArgs),
    List(super::operate::args::AlarmsArgs),
    /// Show who is told of alarms by a gateway that runs, and whether that works.
    Targets(super::operate::args::AlarmsArgs),
}

/// Send a test alarm to each target, past quiet hours and severities, and say what became of it.
///
/// Needs no running gateway; run it as the gateway's user, who may read the secrets. Exit codes: 0
/// every target took it; 1 one did not, or the configuration can't be used.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct AlarmsTestArgs {
    /// The configuration file.
    #[arg(env = "SEKISHO_CONFIG", default_value = "/etc/sekisho/sekisho.toml")]
    pub(super) config: PathBuf,
    /// Only this target.
    #[arg(long, value_name = "NAME")]
    pub(super) target: Option<String>,
}

/// Print a completion script for your shell.
///
/// Example: sekisho completions bash > sekisho.bash
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct CompletionsArgs {
    pub(super) shell: Shell,
}

/// A shell that completions can be made for.
#[expect(clippy::enum_variant_names, reason = "PowerShell is called that")]
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
}
