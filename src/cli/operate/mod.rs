//! `sekisho locks lock kill unlock revoke confirm reload limits exposure identities keys alarms detectors top`: clients of a
//! running gateway's API, in the name of the person whose certificate they show (PRIV-3).
mod act;
mod alarms;
pub(super) mod args;
mod client;
mod limits;
mod look;
mod reload;
mod table;
mod top;

use std::process::ExitCode;

use args::Operate;
use client::{Client, Refused};
use serde::Serialize;
use serde_json::Value;

use super::run::runtime;
use super::say::{self, Failure};
use crate::admin::api::Problem;

pub(super) fn main(verb: &Operate) -> Result<ExitCode, Failure> {
    let client = Client::open(verb.api())?;
    let runtime = runtime(Some(1)).map_err(Failure::new)?;
    let as_json = verb.api().json;
    let done = runtime.block_on(async {
        match verb {
            Operate::Locks(words) => look::locks(&client, words).await,
            Operate::Identities(words) => look::identities(&client, words).await,
            Operate::Limits(words) => limits::limits(&client, words).await,
            Operate::Exposure(words) => look::exposure(&client, words).await,
            Operate::Keys(words) => look::keys(&client, words).await,
            Operate::Detectors(words) => look::detectors(&client, words).await,
            Operate::Top(words) => top::top(&client, words).await,
            Operate::Lock(words) => act::lock(&client, words).await,
            Operate::Kill(words) => act::kill(&client, words).await,
            Operate::Unlock(words) => act::unlock(&client, words).await,
            Operate::Revoke(words) => act::revoke(&client, words).await,
            Operate::Confirm(words) => act::confirm(&client, words).await,
            Operate::Reload(words) => return reload::reload(&client, words).await,
        }
        .map(|()| ExitCode::SUCCESS)
    });
    ended(done, as_json)
}

/// `sekisho alarms list`.
pub(super) fn alarms(words: &args::AlarmsArgs) -> Result<ExitCode, Failure> {
    let client = Client::open(&words.api)?;
    let runtime = runtime(Some(1)).map_err(Failure::new)?;
    let done = runtime.block_on(alarms::alarms(&client, words));
    ended(done.map(|()| ExitCode::SUCCESS), words.api.json)
}

/// `sekisho alarms targets`.
pub(super) fn alarm_targets(words: &args::AlarmsArgs) -> Result<ExitCode, Failure> {
    let client = Client::open(&words.api)?;
    let runtime = runtime(Some(1)).map_err(Failure::new)?;
    let done = runtime.block_on(look::alarm_targets(&client, words));
    ended(done.map(|()| ExitCode::SUCCESS), words.api.json)
}

fn ended(done: Result<ExitCode, Refused>, as_json: bool) -> Result<ExitCode, Failure> {
    match done {
        Ok(code) => Ok(code),
        Err(Refused::Failed(failure)) => Err(failure),
        Err(Refused::Problem(document)) if as_json => {
            print(&document)?;
            Ok(ExitCode::FAILURE)
        }
        Err(Refused::Problem(document)) => Err(told(document)),
    }
}

/// A problem, for people.
fn told(document: Value) -> Failure {
    match serde_json::from_value::<Problem>(document) {
        Ok(Problem { title, detail, control, instance, .. }) => {
            let id = instance.as_str().rsplit(':').next().unwrap_or_default();
            Failure::new(format_args!("{title}: {detail} ({control}; request {id})"))
        }
        Err(_) => Failure::new("the gateway refused it, in words that this version does not know"),
    }
}

fn print(document: &impl Serialize) -> Result<(), Failure> {
    say::out(serde_json::to_string_pretty(document).map_err(Failure::new)?);
    Ok(())
}
