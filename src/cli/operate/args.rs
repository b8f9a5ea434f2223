//! The words of the verbs that talk to a running gateway.
use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

/// Verbs that talk to a running gateway.
#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Operate {
    Locks(LocksArgs),
    Lock(LockArgs),
    Kill(KillArgs),
    Unlock(UnlockArgs),
    Revoke(RevokeArgs),
    Confirm(ConfirmArgs),
    Reload(ReloadArgs),
    Limits(LimitsArgs),
    Exposure(ExposureArgs),
    Identities(IdentitiesArgs),
    Keys(KeysArgs),
    Detectors(DetectorsArgs),
    Top(TopArgs),
}

impl Operate {
    pub(super) const fn api(&self) -> &ApiArgs {
        match self {
            Self::Locks(words) => &words.api,
            Self::Lock(words) => &words.api,
            Self::Kill(words) => &words.api,
            Self::Unlock(words) => &words.api,
            Self::Revoke(words) => &words.api,
            Self::Confirm(words) => &words.api,
            Self::Reload(words) => &words.api,
            Self::Limits(words) => &words.api,
            Self::Exposure(words) => &words.api,
            Self::Identities(words) => &words.api,
            Self::Keys(words) => &words.api,
            Self::Detectors(words) => &words.api,
            Self::Top(words) => &words.api,
        }
    }
}

/// Which gateway, and as whom.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "The gateway's API, and who you are")]
pub(in crate::cli) struct ApiArgs {
    /// The gateway's `[admin.api]`.
    #[arg(long, env = "SEKISHO_API", value_name = "URL", default_value = "https://localhost:9465")]
    pub(super) api: String,
    /// PEM file with the authority of its certificate.
    #[arg(long, env = "SEKISHO_API_CA", value_name = "FILE")]
    pub(super) ca: PathBuf,
    /// PEM file with your certificate, which an [operator.NAME] names.
    #[arg(long, env = "SEKISHO_API_CERT", value_name = "FILE")]
    pub(super) cert: PathBuf,
    /// PEM file with its private key.
    #[arg(long, env = "SEKISHO_API_KEY", value_name = "FILE")]
    pub(super) key: PathBuf,
    /// Print JSON, refusals as well.
    #[arg(long)]
    pub(super) json: bool,
}

/// List the locks that hold: on whom or what, why, since when, and who may end them.
///
/// On a terminal a table; else one line per lock, columns apart by tabs: target, its name or hash,
/// step, cause, by, since, until, attempts, the act that ends it.
///
/// Examples:
///   sekisho locks --api URL --ca ca.pem --cert me.pem --key me.key
///   sekisho locks          with the environment variables below set instead
///
/// Exit codes of this and all verbs of its kind: 0 done; 1 refused or failed; 2 the words make no sense.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct LocksArgs {
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// Lock an identity, an operation, an upstream, a seller's account, a source address, a network or an
/// order.
///
/// Requests are refused at once, on every gateway that shares the state; open connections are cut.
/// Of a network, /8 to /32 or of IPv6 /16 to /128, connections are refused before TLS.
/// Addresses and order ids are hashed and kept nowhere else. An order's id is read from standard
/// input, so that it stays out of the shell's history.
///
/// Examples:
///   sekisho lock identity label-printer --case INC-2041
///   sekisho lock identity label-printer --step step-up --for 2h --case INC-2041
///   sekisho lock network 203.0.113.0/24 --for 2h --case INC-2041
///   sekisho lock order - --case INC-2041 < order-id.txt
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct LockArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// How hard.
    #[arg(long, default_value = "lock")]
    pub(super) step: StepWord,
    /// How long: 30s, 15m, 2h, 7d. Without it, until it is released.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(super) lasts: Option<Duration>,
    #[command(flatten)]
    pub(super) case: CaseArgs,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// Throw a kill switch. It never ends by itself; a security officer throws and releases it.
///
/// Examples:
///   sekisho kill identity label-printer --case INC-2041
///   sekisho kill upstream amazon-fe --case INC-2041
///   sekisho kill everything --case INC-2041          every upstream at once
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct KillArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) case: CaseArgs,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// End every lock on something. Probation follows: what led to the lock locks faster for a while.
///
/// A kill, a lock that guards against theft, and a security officer's lock need a security officer.
///
/// Examples:
///   sekisho unlock identity label-printer --reason false-alarm --case INC-2041
///   sekisho unlock source-hash 5f3c0a1b2c3d4e5f --reason investigation-closed --case INC-2041
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct UnlockArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Why.
    #[arg(long)]
    pub(super) reason: ReasonWord,
    #[command(flatten)]
    pub(super) case: CaseArgs,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// Deny a token, by its id: the `jti` claim.
///
/// It counts for nothing from now on, on every gateway that shares the state and over restarts;
/// connections on which it was used are cut, answers in the middle. Only a keyed hash of the id is kept.
/// The id is read from standard input, so that it stays out of the shell's history. `sekisho locks` lists
/// what is denied, `sekisho unlock token-hash HASH` ends it.
///
/// Examples:
///   sekisho revoke --jti - --for 1h --case INC-2041 < jti.txt        until it would expire anyhow
///   sekisho revoke --jti - --case INC-2041 < jti.txt                 until it is released
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct RevokeArgs {
    /// The token's id; write `-` and give it on standard input.
    #[arg(long, value_name = "ID")]
    pub(super) jti: String,
    /// How long, at least as long as the token lives: 15m, 2h, 7d. Without it, until it is released.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(super) lasts: Option<Duration>,
    #[command(flatten)]
    pub(super) case: CaseArgs,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// Have a running gateway read its configuration again, or say what that would change.
///
/// The gateway reads its own files. With --dry-run it says who would gain or lose what, and changes
/// nothing. A change that lets more be done is a security officer's; either kind may need a second
/// person, as `admin.api.two_people` says. Afterwards the configuration is on trial for `reload.trial`:
/// if more fails than before, the one before it is put back (--wait says how it went).
///
/// Examples:
///   sekisho reload --dry-run
///   sekisho reload --case CHG-2041 --wait
///   sekisho reload --print 5f3c0a1b2c3d4e5f5f3c0a1b2c3d4e5f --case CHG-2041    what was looked at, only
///
/// Exit codes: 0 done; 1 refused, failed or put back; 3 with --dry-run: something widens.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct ReloadArgs {
    /// Say what would change, and change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Only if everything reads as it did for the dry run that named this.
    #[arg(long, value_name = "PRINT", conflicts_with = "dry_run")]
    pub(super) print: Option<String>,
    /// Try a configuration again that was put back.
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) again: bool,
    /// Wait until its trial is over.
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) wait: bool,
    /// Where the reason is written down: a ticket's number, such as CHG-2041.
    #[arg(long, required_unless_present = "dry_run")]
    pub(super) case: Option<String>,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// List acts that wait for a second person, and confirm another person's.
///
/// Examples:
///   sekisho confirm                                  what waits
///   sekisho confirm 1c9a2b3c4d5e6f70                 have it done
///   sekisho confirm 1c9a2b3c4d5e6f70 --withdraw      have it forgotten
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct ConfirmArgs {
    /// The act, as it is listed.
    pub(super) id: Option<String>,
    /// Withdraw it instead: your own, or as a security officer any.
    #[arg(long, requires = "id")]
    pub(super) withdraw: bool,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// Show where identities stand in their limits, or where Amazon's own quotas stand.
///
/// On a terminal a table; else one line each, columns apart by tabs: identity, limit, unit, left,
/// of, per, wait, shared (each or all), mode (enforce or shadow), source, what it covers. Where
/// gateways share, what is left is left of all of them together: source `asked`. While the state
/// can't be had it is `part 3 of 60` or `none`: what this gateway may spend by itself. Of Amazon's:
/// upstream, operation, spare, of, rate, waiting, throttled.
///
/// Examples:
///   sekisho limits label-printer     one identity, and which operations its limits cover
///   sekisho limits --amazon          the quotas of Amazon's that are in use
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct LimitsArgs {
    /// One identity; all without it.
    pub(super) identity: Option<String>,
    /// Amazon's quotas instead, by which calls are paced.
    #[arg(long, conflicts_with = "identity")]
    pub(super) amazon: bool,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// Show what was revealed to whom: records with personal data, by identity and operation.
///
/// On a terminal a table; else one line each, columns apart by tabs: identity, operation, answers, bytes,
/// records, of these customers', different ones (within 5 % or so), records that may stand in what
/// could not be read, classes, from, until. Each gateway tells what it revealed itself.
///
/// Examples:
///   sekisho exposure                             everybody, the last 35 days
///   sekisho exposure label-printer --since 400   one identity, all that is kept
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct ExposureArgs {
    /// One identity; all without it.
    pub(super) identity: Option<String>,
    /// How many days back: 1 to 400.
    #[arg(long, value_name = "DAYS", default_value_t = 35,
          value_parser = clap::value_parser!(u32).range(1..=400))]
    pub(super) since: u32,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// List identities: roles, locks, when last seen, when their access must be reviewed.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct IdentitiesArgs {
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// List keys, certificates, revocation lists and key sets: how old they are and when they end.
///
/// On a terminal a table; else one line each, columns apart by tabs: kind, owner, name, place among the
/// owner's, age in days, expiry, state (good, ends-soon, ended, due-soon, too-old, unusable-file). A
/// key is as old as its certificate; `gateway.key_max_age` says how old it may become.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct KeysArgs {
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// List the alarms of a gateway that runs, the latest first: up to 256 since it was started.
///
/// On a terminal a table; else one line each, columns apart by tabs: when, severity, control, kind, what
/// it is about, how often, why (what was seen since when, what was expected, the limit, and the setting
/// that moves it), what to do first.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct AlarmsArgs {
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// List detectors: off, observing or enforcing, and what they are set to.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct DetectorsArgs {
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// Watch who does most: requests, refusals, bytes and records of personal data in the last minute.
///
/// Draws anew every second until Ctrl-C.
///
/// Examples:
///   sekisho top --by records
///   sekisho top --once --json
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct TopArgs {
    /// What to sort by.
    #[arg(long, default_value = "requests")]
    pub(super) by: ByWord,
    /// Rows.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(super) most: u16,
    /// How often to draw.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = duration)]
    pub(super) interval: Duration,
    /// Draw once and end.
    #[arg(long)]
    pub(super) once: bool,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// What an act is about.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct TargetArgs {
    /// What it is.
    #[arg(value_name = "WHAT")]
    pub(super) kind: KindWord,
    /// Its name, address or hash; `-` reads it from standard input. None for `everything`.
    #[arg(value_name = "NAME", required_if_eq_any = NAMED)]
    pub(super) name: Option<String>,
}

/// Everything but `everything` has a name.
const NAMED: [(&str, &str); 12] = [
    ("kind", "identity"),
    ("kind", "operation"),
    ("kind", "upstream"),
    ("kind", "account"),
    ("kind", "source"),
    ("kind", "network"),
    ("kind", "order"),
    ("kind", "account-hash"),
    ("kind", "source-hash"),
    ("kind", "order-hash"),
    ("kind", "token"),
    ("kind", "token-hash"),
];

/// Where the reason is written down.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct CaseArgs {
    /// The ticket's number, such as INC-2041; it stands in the log.
    #[arg(long, value_name = "TICKET")]
    pub(super) case: String,
}

/// What can be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum KindWord {
    Identity,
    /// Such as orders/getOrderAddress.
    Operation,
    Upstream,
    /// A seller's name in the configuration.
    Account,
    /// An IPv4 address, or any address of an IPv6 /64.
    Source,
    /// A range of addresses, such as 203.0.113.0/24: IPv4 from /8 on, IPv6 from /16 on.
    Network,
    /// One order; write - as its name.
    Order,
    /// One token, by its `jti`; write - as its name.
    Token,
    /// As `sekisho locks` lists it.
    AccountHash,
    /// As `sekisho locks` lists it.
    SourceHash,
    /// As `sekisho locks` lists it.
    OrderHash,
    /// As `sekisho locks` lists it.
    TokenHash,
    /// Every upstream.
    Everything,
}

/// How hard a lock is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum StepWord {
    /// Requests wait.
    Slow,
    /// A stronger proof is demanded.
    StepUp,
    /// Refused.
    Lock,
}

/// Why a lock is ended.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum ReasonWord {
    FalseAlarm,
    CredentialReplaced,
    OwnerConfirmed,
    InvestigationClosed,
    /// A business-critical process can't run, and the risk is accepted.
    Business,
}

/// What `top` sorts by.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum ByWord {
    Requests,
    Refused,
    Bytes,
    Records,
}

/// Such as `30s`, `15m`, `2h`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let unit = match unit.trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("write a number and s, m, h or d, such as 15m".to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match seconds {
        Some(seconds @ 1..=34_560_000) => Ok(Duration::from_secs(seconds)),
        _ => Err("write 1s to 400d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, seconds) in
            [("30s", 30), ("15m", 900), ("15 min", 900), ("2h", 7_200), ("7d", 604_800)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "15", "m", "0s", "-1s", "401d", "1w", "99999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
