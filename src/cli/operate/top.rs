//! `sekisho top`: who does most, drawn anew every second.
use super::args::TopArgs;
use super::client::{Client, Refused};
use super::table::{self, Cell, left, right};
use crate::admin::api::{TrafficOut, TrafficRow, Word};
use crate::cli::say::{self, Colour, Stream};

/// Cursor to the upper left, and what was below it away.
const AGAIN: &str = "\x1b[H\x1b[J";

pub(super) async fn top(client: &Client, words: &TopArgs) -> Result<(), Refused> {
    let by = clap::ValueEnum::to_possible_value(&words.by);
    let by = by.map(|by| by.get_name().to_owned()).unwrap_or_default();
    let path = format!("/v1/traffic?by={by}&most={}", words.most);
    let mut every = tokio::time::interval(words.interval);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let frame: TrafficOut = client.get(&path).await?;
        if words.api.json {
            super::print(&frame)?;
        } else if words.once || !say::is_terminal(Stream::Out) {
            say::out(draw(&frame));
        } else {
            say::out(format_args!("{AGAIN}{}", draw(&frame)));
        }
        if words.once {
            return Ok(());
        }
    }
}

fn draw(frame: &TrafficOut) -> String {
    let locks = match frame.locks {
        0 => "no lock".to_owned(),
        1 => say::paint(Stream::Out, Colour::Red, "1 lock"),
        more => say::paint(Stream::Out, Colour::Red, &format!("{more} locks")),
    };
    let head = format!(
        "{}  {} connections, {} requests under way, {locks}; the last minute:",
        frame.at, frame.connections, frame.requests_under_way
    );
    let columns = [
        left("IDENTITY"),
        right("REQUESTS"),
        right("REFUSED"),
        right("BYTES"),
        right("RECORDS"),
        left("HELD"),
    ];
    let row = |row: &TrafficRow| {
        let refused = (row.refused > 0).then_some(Colour::Yellow);
        vec![
            Cell::of(row.identity.as_ref().map_or("(nobody)", |name| name.as_str())),
            Cell::of(row.requests),
            Cell::of(row.refused).in_colour(refused),
            Cell::of(table::bytes(row.bytes)),
            Cell::of(row.records),
            table::step(row.held.as_ref().map(Word::as_str)),
        ]
    };
    let rows: Vec<_> = frame.rows.iter().map(row).collect();
    format!("{head}\n\n{}", table::aligned(&columns, &rows))
}
