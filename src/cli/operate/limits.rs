//! Why a call was refused for want of a quota: ours, or Amazon's.
use super::args::LimitsArgs;
use super::client::{Client, Refused};
use super::look::named;
use super::table::{self, Cell, left, right};
use crate::admin::api::{LimitsOut, PacingOut, Paged, WindowOut, Word};
use crate::cli::say::Colour;

/// Names of operations that are told of one limit.
const NAMED_MAX: usize = 3;

pub(super) async fn limits(client: &Client, words: &LimitsArgs) -> Result<(), Refused> {
    if words.amazon {
        return amazon(client, words).await;
    }
    let list: Paged<LimitsOut> = match &words.identity {
        None => client.list("/v1/limits").await?,
        Some(name) => client.get(&format!("/v1/limits?identity={}", named(name)?)).await?,
    };
    if words.api.json {
        return Ok(super::print(&list)?);
    }
    let columns = [
        left("IDENTITY"),
        left("LIMIT"),
        left("UNIT"),
        right("LEFT"),
        right("OF"),
        right("PER"),
        right("WAIT"),
        left("SHARED"),
        left("MODE"),
        left("SOURCE"),
        left("COVERS"),
    ];
    let figure = |window: &WindowOut, number| {
        if window.unit.as_str() == "bytes" { table::bytes(number) } else { number.to_string() }
    };
    let source = |window: &WindowOut| match window.part {
        Some(part) => {
            format!("part {} of {}", figure(window, part), figure(window, window.most))
        }
        None => window.source.to_string(),
    };
    let row = |identity: &LimitsOut, window: &WindowOut| {
        let red = |is_bad: bool| is_bad.then_some(Colour::Red);
        let apart = matches!(window.source.as_str(), "part" | "none");
        vec![
            Cell::of(&identity.identity),
            Cell::of(&window.limit),
            Cell::of(&window.unit),
            Cell::of(figure(window, window.left)).in_colour(red(window.left == 0)),
            Cell::of(figure(window, window.most)),
            Cell::maybe((window.per_secs > 0).then(|| table::seconds(window.per_secs))),
            Cell::maybe((window.wait_secs > 0).then(|| table::seconds(window.wait_secs))),
            Cell::of(&window.sharing),
            Cell::of(&window.mode),
            Cell::of(source(window)).in_colour(red(apart)),
            Cell::of(covers(window)),
        ]
    };
    let rows: Vec<_> = list
        .items
        .iter()
        .flat_map(|identity| identity.windows.iter().map(move |window| row(identity, window)))
        .collect();
    table::print(&columns, &rows, "no limit applies");
    Ok(())
}

/// `everything`, `orders/getOrder`, `14 operations at amazon`.
fn covers(window: &WindowOut) -> String {
    let joined = |words: &[Word]| words.iter().map(Word::as_str).collect::<Vec<_>>().join(",");
    let mut text = match window.operations.get(..NAMED_MAX) {
        _ if window.covers_all => "everything".to_owned(),
        None if !window.operations.is_empty() => joined(&window.operations),
        Some(first) if window.operations.len() == NAMED_MAX => joined(first),
        Some(first) => {
            format!("{} and {} more", joined(first), window.operations.len() - NAMED_MAX)
        }
        None => format!("{} operations", window.covers),
    };
    if !window.upstreams.is_empty() {
        text = format!("{text} at {}", joined(&window.upstreams));
    }
    text
}

/// What Amazon lets through, which no limit of ours changes.
async fn amazon(client: &Client, words: &LimitsArgs) -> Result<(), Refused> {
    let list: Paged<PacingOut> = client.get("/v1/pacing").await?;
    if words.api.json {
        return Ok(super::print(&list)?);
    }
    let columns = [
        left("UPSTREAM"),
        left("OPERATION"),
        right("SPARE"),
        right("OF"),
        right("RATE"),
        right("WAITING"),
        left("THROTTLED"),
    ];
    let row = |quota: &PacingOut| {
        let red = |is_bad: bool| is_bad.then_some(Colour::Red);
        vec![
            Cell::of(&quota.upstream),
            Cell::of(&quota.operation),
            Cell::of(quota.spare).in_colour(red(quota.spare == 0)),
            Cell::of(quota.burst),
            Cell::of(format!("{}/s", quota.per_sec)),
            Cell::of(quota.waiting),
            Cell::of(if quota.throttled { "throttled" } else { "-" })
                .in_colour(red(quota.throttled)),
        ]
    };
    let rows: Vec<_> = list.items.iter().map(row).collect();
    table::print(&columns, &rows, "nothing was sent to Amazon yet");
    Ok(())
}
