//! The verbs that change something.
use std::io::BufRead as _;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::args::{ConfirmArgs, KillArgs, KindWord, LockArgs, TargetArgs, UnlockArgs};
use super::client::{Client, Refused};
use super::table::{self, Cell, left};
use crate::admin::api::{ActOut, Paged, PendingOut, TargetOut};
use crate::cli::say::{self, Colour, Failure, Stream};

pub(super) async fn lock(client: &Client, words: &LockArgs) -> Result<(), Refused> {
    let mut body = json!({
        "target": target(&words.target)?,
        "step": word(&words.step),
        "case": words.case.case,
    });
    if let (Some(lasts), Some(body)) = (words.lasts, body.as_object_mut()) {
        body.insert("lasts_secs".to_owned(), lasts.as_secs().into());
    }
    said(&client.post("/v1/locks", Some(body)).await?, words.api.json)
}

pub(super) async fn kill(client: &Client, words: &KillArgs) -> Result<(), Refused> {
    let body = json!({ "target": target(&words.target)?, "case": words.case.case });
    said(&client.post("/v1/kills", Some(body)).await?, words.api.json)
}

pub(super) async fn unlock(client: &Client, words: &UnlockArgs) -> Result<(), Refused> {
    let body = json!({
        "target": target(&words.target)?,
        "reason": word(&words.reason),
        "case": words.case.case,
    });
    said(&client.post("/v1/unlocks", Some(body)).await?, words.api.json)
}

pub(super) async fn confirm(client: &Client, words: &ConfirmArgs) -> Result<(), Refused> {
    let Some(id) = &words.id else { return waiting(client, words.api.json).await };
    if id.len() != 16 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Failure::new("an act is named by 16 digits; sekisho confirm lists them").into());
    }
    let what = if words.withdraw { "withdraw" } else { "confirm" };
    said(&client.post(&format!("/v1/pending/{id}/{what}"), None).await?, words.api.json)
}

async fn waiting(client: &Client, as_json: bool) -> Result<(), Refused> {
    let list: Paged<PendingOut> = client.get("/v1/pending").await?;
    if as_json {
        return Ok(super::print(&list)?);
    }
    let columns = [
        left("ACT"),
        left("WHAT"),
        left("TARGET"),
        left("CASE"),
        left("ASKED BY"),
        left("UNTIL"),
        left("CONFIRMED BY"),
    ];
    let row = |pending: &PendingOut| {
        vec![
            Cell::of(&pending.id),
            Cell::of(&pending.act),
            Cell::of(targets(&pending.targets)),
            Cell::of(&pending.case),
            Cell::of(&pending.by),
            Cell::of(&pending.until),
            Cell::of(format!("another {}", pending.role)),
        ]
    };
    let rows: Vec<_> = list.items.iter().map(row).collect();
    table::print(&columns, &rows, "nothing waits for a second person");
    Ok(())
}

/// The target as the API wants it.
fn target(words: &TargetArgs) -> Result<Value, Failure> {
    let kind = word(&words.kind);
    let name = match (words.kind, words.name.as_deref()) {
        (KindWord::Everything, None) => return Ok(kind.into()),
        (KindWord::Everything, Some(_)) => {
            return Err(Failure::new("everything has no name"));
        }
        (_, None) => return Err(Failure::new(format_args!("which {kind}? give its name"))),
        (_, Some("-")) => line()?,
        (KindWord::Order, Some(_)) => {
            return Err(Failure::new(
                "write - and give the order's id on standard input, so that it stays out of the \
                 shell's history",
            ));
        }
        (_, Some(name)) => name.to_owned(),
    };
    Ok(json!({ kind: name }))
}

fn line() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Failure::new)?;
    match line.trim() {
        "" => Err(Failure::new("standard input holds nothing")),
        text => Ok(text.to_owned()),
    }
}

/// A word as the command line and the API write it alike.
fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn targets(list: &[TargetOut]) -> String {
    let one = |target: &TargetOut| {
        let (kind, name) = target.parts();
        format!("{kind} {name}")
    };
    list.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Says what came of an act.
pub(super) fn said(act: &ActOut, as_json: bool) -> Result<(), Refused> {
    if as_json {
        return Ok(super::print(act)?);
    }
    let on = match &act.targets[..] {
        [] => act.act.to_string(),
        list => format!("{} on {}", act.act, targets(list)),
    };
    let green = |text: &str| say::paint(Stream::Out, Colour::Green, text);
    let yellow = |text: &str| say::paint(Stream::Out, Colour::Yellow, text);
    match (&act.pending, act.outcome.as_str()) {
        (Some(pending), _) => {
            say::out(format_args!("{}: {on}", yellow("waits for a second person")));
            say::out(format_args!(
                "another {} confirms it before {}:\n  sekisho confirm {}",
                pending.role, pending.until, pending.id
            ));
        }
        (None, "done") => {
            let reach = act.reach.as_ref().map_or("", |reach| match reach.as_str() {
                "everywhere" => ", on every gateway",
                _ => ", here; other gateways follow when the state can be reached",
            });
            say::out(format_args!("{}: {on}{reach}", green("done")));
        }
        (None, "unkept") => say::out(format_args!(
            "{}: {on} is in force on this gateway; it is not written down yet, and tried again",
            yellow("not kept")
        )),
        (None, _) => say::out(format_args!("{}: {on}", act.outcome)),
    }
    Ok(())
}
