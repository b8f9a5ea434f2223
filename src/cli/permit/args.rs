//! The words of `sekisho permit`. Their documentation is what `--help` teaches.
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Permits: which hosts may end TLS (関所手形).
///
/// A permit is a small text that the platform team signs offline: for one host, some listeners and
/// server names, for at most 90 days. Without a valid one the gateway opens no private key of a
/// listener. Private keys are sealed to the host's own key, so that a copy of the file is of no use.
///
/// From nothing to a permit:
///   offline$ sekisho permit keygen --out platform.key     once; platform.pub goes to every host
///   host$    sekisho permit host > host.request           as the gateway's user
///   offline$ sekisho permit issue --key platform.key --request host.request \
///              --environment production --listener apps --name gateway.example.com \
///              --out host.permit
///   host$    sekisho permit seal --in gateway.key --out gateway.key.sealed
///
/// In the configuration, then:
///   [permit]
///   file = "permit/host.permit"
///   issuers = ["permit/platform.pub"]
///
///   host$    sekisho permit verify sekisho.toml
///
/// A renewal is a new file in the old one's place (write it beside, then rename): the gateway takes it
/// up by itself. It alarms 14, 7 and 1 days ahead.
#[expect(clippy::doc_link_with_quotes, reason = "a list of TOML, shown as it is")]
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[allow(rustdoc::broken_intra_doc_links, reason = "a section of a file, as `--help` prints it")]
pub(in crate::cli) struct PermitArgs {
    #[command(subcommand)]
    pub(super) act: Act,
}

#[derive(Subcommand, Debug)]
pub(super) enum Act {
    Host(HostArgs),
    Keygen(KeygenArgs),
    Issue(IssueArgs),
    Show(ShowArgs),
    Verify(VerifyArgs),
    Seal(SealArgs),
}

/// Where a host keeps its own key.
#[derive(Args, Debug)]
pub(super) struct HostKeyArgs {
    /// The gateway's `state_dir`; the host's key is `host.key` in it.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/sekisho")]
    pub(super) state_dir: PathBuf,
    /// The host's key, where `[permit] host_key` names another file.
    #[arg(long, value_name = "FILE")]
    pub(super) host_key: Option<PathBuf>,
}

impl HostKeyArgs {
    pub(super) fn path(&self) -> PathBuf {
        self.host_key.clone().unwrap_or_else(|| self.state_dir.join("host.key"))
    }
}

/// Print this host's request for a permit; make its key first, if there is none.
///
/// Run it on the host, as the gateway's user. The key is written with mode 0600 and never leaves the
/// host; the request (the key's public half, and hashes of machine id and document) is no secret.
///
/// Exit codes: 0 printed; 1 the key can't be made or read.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct HostArgs {
    #[command(flatten)]
    pub(super) key: HostKeyArgs,
    /// The file with the machine's id, as under `[permit] machine_id`.
    #[arg(long, value_name = "FILE", default_value = "/etc/machine-id")]
    pub(super) machine_id: PathBuf,
    /// A document that the platform puts on the host, as under `[permit] instance_document`: the
    /// permit then asks for it, too.
    #[arg(long, value_name = "FILE")]
    pub(super) instance_document: Option<PathBuf>,
    /// Print JSON instead of TOML; `issue` reads both.
    #[arg(long)]
    pub(super) json: bool,
}

/// Make the platform team's key, with which permits are signed.
///
/// Run it on a machine that nothing reaches, and keep the private half there: whoever has it makes any
/// host a trusted one. The public half is written beside it, ending in .pub.
#[derive(Args, Debug)]
pub(super) struct KeygenArgs {
    /// Where to write the private key.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
}

/// Sign a permit for a host.
///
/// Exit codes: 0 signed; 1 the request, the key or a name can't be used.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct IssueArgs {
    /// The private key that `keygen` wrote.
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
    /// What `permit host` printed on the host; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub(super) request: PathBuf,
    /// The `gateway.environment` that the host belongs to.
    #[arg(long, value_name = "NAME")]
    pub(super) environment: String,
    /// A listener that may end TLS; `admin.api` is the operators' API. May be given several times.
    #[arg(long, value_name = "NAME", required = true)]
    pub(super) listener: Vec<String>,
    /// A server name that TLS may end for: every DNS name and address of the certificates, but for
    /// loopback's. `*.example.com` stands for one more label. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(super) name: Vec<String>,
    /// How many days it is good for.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=90))]
    pub(super) days: u64,
    /// When it begins, such as 2026-12-01T00:00:00Z; now by default.
    #[arg(long, value_name = "TIME")]
    pub(super) not_before: Option<String>,
    /// Where to write it; standard output by default.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long)]
    pub(super) force: bool,
}

/// Print what a permit says. Whether it counts on a host is for `verify`.
///
/// Exit codes: 0 it can be read, and is signed by --issuer if one is given; 1 not so.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct ShowArgs {
    /// The permit.
    pub(super) file: PathBuf,
    /// Check that this issuer signed it: a .pub file, or ed25519:….
    #[arg(long, value_name = "KEY")]
    pub(super) issuer: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Say whether this host may end TLS, and on which listeners, as `run` would judge it.
///
/// Run it on the host, as the gateway's user.
///
/// Exit codes: 0 every listener may end TLS with every certificate; 1 one may not, and why.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct VerifyArgs {
    /// The configuration file.
    #[arg(env = "SEKISHO_CONFIG", default_value = "/etc/sekisho/sekisho.toml")]
    pub(super) config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Seal a private key to a host (JWE, RFC 7516: ECDH-ES over X25519, A256GCM).
///
/// Nobody but that host can open the result, and the gateway opens it only under a permit. Remove the
/// open file afterwards. To do it elsewhere than on the host, give the `sealing_key` of its request:
///   sekisho permit seal --in gateway.key --out gateway.key.sealed --to x25519:…
///
/// Exit codes: 0 sealed; 1 no private key there, or a file is in the way.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct SealArgs {
    /// The private key, in PEM.
    #[arg(long = "in", value_name = "FILE")]
    pub(super) input: PathBuf,
    /// Where to write the sealed key, with mode 0600.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// The host's public key; that of this host by default.
    #[arg(long, value_name = "KEY")]
    pub(super) to: Option<String>,
    #[command(flatten)]
    pub(super) key: HostKeyArgs,
    /// Replace a file that is there.
    #[arg(long)]
    pub(super) force: bool,
}
