//! What one client, connection or request may take (MON-5): more is wider.
use std::time::Duration;

use super::Out;
use super::line::{Direction, Effect, Line, Said};
use crate::config::settings::{Bounds, Rate};

pub(super) fn compare(
    was: &Bounds,
    now: &Bounds,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let Bounds {
        handshake: _,
        first_byte: _,
        header: _,
        header_bytes: _,
        header_count: _,
        target_bytes: _,
        body_bytes: _,
        body_rate: _,
        body_rate_grace: _,
        idle: _,
        requests_per_connection: _,
        connections: _,
        connections_per_address: _,
        connections_per_identity: _,
        h2_streams: _,
        h2_resets: _,
        h2_header_bytes: _,
        h2_control_frames: _,
    } = now;
    let mut times = |what, from: Duration, to: Duration| {
        if from != to {
            let direction = Direction::more(&from, &to);
            out.add(line(direction, what).was(Said::time(from)).is(Said::time(to)));
        }
    };
    times("bounds.handshake", was.handshake, now.handshake);
    times("bounds.first_byte", was.first_byte, now.first_byte);
    times("bounds.header", was.header, now.header);
    times("bounds.body_rate_grace", was.body_rate_grace, now.body_rate_grace);
    times("bounds.idle", was.idle, now.idle);
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mut numbers = |what, from: u64, to: u64| {
        if from != to {
            let direction = match what {
                // A body has to come at least as fast.
                "bounds.body_rate" => Direction::less(&from, &to),
                _ => Direction::more(&from, &to),
            };
            out.add(line(direction, what).was(Said::number(from)).is(Said::number(to)));
        }
    };
    numbers("bounds.header_bytes", wide(was.header_bytes), wide(now.header_bytes));
    numbers("bounds.header_count", wide(was.header_count), wide(now.header_count));
    numbers("bounds.target_bytes", wide(was.target_bytes), wide(now.target_bytes));
    numbers("bounds.body_bytes", was.body_bytes, now.body_bytes);
    numbers("bounds.body_rate", was.body_rate, now.body_rate);
    let pairs = [
        (
            "bounds.requests_per_connection",
            was.requests_per_connection,
            now.requests_per_connection,
        ),
        ("bounds.connections", was.connections, now.connections),
        (
            "bounds.connections_per_address",
            was.connections_per_address,
            now.connections_per_address,
        ),
        (
            "bounds.connections_per_identity",
            was.connections_per_identity,
            now.connections_per_identity,
        ),
        ("bounds.h2_streams", was.h2_streams, now.h2_streams),
        ("bounds.h2_resets", was.h2_resets, now.h2_resets),
        ("bounds.h2_header_bytes", was.h2_header_bytes, now.h2_header_bytes),
    ];
    for (what, from, to) in pairs {
        numbers(what, from.into(), to.into());
    }
    let (from, to) = (was.h2_control_frames, now.h2_control_frames);
    if from != to {
        // As many at once, and as many in the long run.
        let said = |rate: Rate| Said::number(rate.count).with("/").with(Said::time(rate.per));
        let per_second = |rate: Rate| f64::from(rate.count) / rate.per.as_secs_f64();
        let effect = Effect {
            widens: to.count > from.count || per_second(to) > per_second(from),
            narrows: to.count < from.count || per_second(to) < per_second(from),
        };
        out.tell(effect, |direction| {
            line(direction, "bounds.h2_control_frames").was(said(from)).is(said(to))
        });
    }
}
