//! `sekisho reload`: has a running gateway read its configuration again, or say what that would change.
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::args::ReloadArgs;
use super::client::{Client, Refused};
use crate::admin::api::{ActOut, DryRunOut, JudgedOut, MistakeOut, ReloadedOut, TrialOut};
use crate::cli::change;
use crate::cli::reload::figures;
use crate::cli::say::{self, Colour, Failure, Stream};

/// How often is asked whether a trial is over.
const ASK_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn reload(client: &Client, words: &ReloadArgs) -> Result<ExitCode, Refused> {
    if words.dry_run {
        let answer: DryRunOut = client.post("/v1/reload/dry-run", None).await?;
        return dry_run(&answer, words.api.json);
    }
    let mut body = json!({ "case": words.case });
    if let Some(body) = body.as_object_mut() {
        if let Some(print) = &words.print {
            body.insert("print".to_owned(), print.as_str().into());
        }
        if words.again {
            body.insert("again".to_owned(), "yes".into());
        }
    }
    let done: Result<ActOut, Refused> = client.post("/v1/reload", Some(body)).await;
    let done = match done {
        Err(Refused::Problem(problem)) if !words.api.json => {
            if let Some(list) = problem.get("mistakes").cloned()
                && let Ok(list) = serde_json::from_value::<Vec<MistakeOut>>(list)
            {
                mistakes(&list, Colour::Red);
            }
            return Err(Refused::Problem(problem));
        }
        other => other?,
    };
    if words.api.json {
        super::print(&done)?;
    } else {
        super::act::said(&done, false)?;
    }
    let Some(reloaded) = &done.reload else { return Ok(ExitCode::SUCCESS) };
    if !words.api.json {
        told(reloaded);
    }
    if words.wait { wait(client, reloaded, words.api.json).await } else { Ok(ExitCode::SUCCESS) }
}

fn dry_run(answer: &DryRunOut, as_json: bool) -> Result<ExitCode, Refused> {
    if as_json {
        super::print(answer)?;
    } else {
        mistakes(&answer.mistakes, Colour::Red);
        mistakes(&answer.warnings, Colour::Yellow);
        if let Some(change) = &answer.change {
            change::print(change);
        }
        if let Some(blocked) = &answer.blocked {
            say::err(say::paint(Stream::Err, Colour::Red, blocked.as_str()));
        }
        if let Some(judged) = &answer.put_back {
            say::err(format_args!("{}; insist by --again", put_back(judged)));
        }
        if let (Some(print), Some(act)) = (&answer.print, &answer.act) {
            say::err(format_args!("{act}: sekisho reload --print {print} --case CASE"));
        }
    }
    match (answer.outcome.as_str(), &answer.change) {
        ("can-not", _) | (_, None) => Ok(ExitCode::FAILURE),
        (_, Some(change)) => Ok(change::code(change)),
    }
}

fn told(reloaded: &ReloadedOut) {
    mistakes(&reloaded.warnings, Colour::Yellow);
    change::print(&reloaded.change);
    say::err(format_args!(
        "configuration {} is in force, after {} ms; on trial until {}",
        reloaded.snapshot, reloaded.took_ms, reloaded.trial_until
    ));
    if let Some(judged) = &reloaded.held {
        say::err(format_args!(
            "that is what the configuration in force refers to; {}; insist by --again",
            put_back(judged)
        ));
    }
}

/// Until it stood its trial, or did not.
async fn wait(client: &Client, reloaded: &ReloadedOut, as_json: bool) -> Result<ExitCode, Refused> {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let now: TrialOut = client.get("/v1/reload").await?;
        let over = now.snapshot != reloaded.snapshot || now.trial_until.is_none();
        if !over {
            continue;
        }
        if as_json {
            super::print(&now)?;
        }
        return match now.put_back.filter(|judged| judged.snapshot == reloaded.snapshot) {
            Some(judged) => Err(Failure::new(put_back(&judged)).into()),
            None if now.snapshot == reloaded.snapshot => {
                if !as_json {
                    let stood = format!("configuration {} stood its trial", now.snapshot);
                    say::err(say::paint(Stream::Err, Colour::Green, &stood));
                }
                Ok(ExitCode::SUCCESS)
            }
            None => Err(Failure::new("another configuration is in force meanwhile").into()),
        };
    }
}

fn put_back(judged: &JudgedOut) -> String {
    let figures = figures(judged);
    format!("configuration {} was put back at {}: {figures}", judged.snapshot, judged.at)
}

fn mistakes(list: &[MistakeOut], colour: Colour) {
    for one in list {
        let place = format!("{}:{}:{}", one.file, one.line, one.column);
        let control = one.control.as_ref().map_or(String::new(), |control| format!(" [{control}]"));
        let place = say::paint(Stream::Err, colour, &place);
        say::err(format_args!("{place}{control} {}; {}", one.found, one.instead));
    }
}
