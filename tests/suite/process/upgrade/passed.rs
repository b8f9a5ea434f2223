//! What goes on unread while the binary is swapped (TLS-3): nobody can be told to go, and so connections
//! end when they pause.
use std::sync::atomic::Ordering;
use std::time::Duration;

use sekisho::mock::Alpn;

use super::super::{Place, lines};
use super::streams::PASSES;
use super::{Line, orders};
use crate::logs::eventually;
use crate::pass::{behind, printer};
use crate::support::Plan;
use crate::support::crowd::{Crowd, Habit};

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_callers_who_never_stop_are_cut_only_when_they_pause() {
    const SWAPS: usize = 3;
    let (place, world) = (Place::new().await, behind(Plan::default()).await);
    let passes = PASSES.replace("{target}", &world.address().to_string());
    place.write(|_| passes.replace("shutdown_grace = \"10 s\"", "shutdown_grace = \"2 s\""));
    let mut line = Line::start(&place).await;
    let to = line.address().await;
    let mut crowd = Crowd::new();
    let habit = |alpn, every_ms, keeps| Habit {
        caller: printer(&world, "127.0.0.2", alpn),
        to,
        call: orders,
        every: Duration::from_millis(every_ms),
        keeps,
    };
    // Less than a second apart: never at rest, and known by their pauses.
    crowd.add(6, &habit(Alpn::H1, 700, true));
    crowd.add(2, &habit(Alpn::H1, 3_000, true));
    crowd.add(2, &habit(Alpn::Both, 300, false));
    for _ in 0..SWAPS {
        let (before, went) = (crowd.tally.ok.load(Ordering::Relaxed), line.pid);
        line.upgrade(&place, &[]).await;
        eventually("calls after a swap", || {
            (crowd.tally.ok.load(Ordering::Relaxed) > before + 50).then_some(())
        })
        .await;
        line.ended(went).await;
    }
    let tally = crowd.stop().await;
    let failed = tally.failed.load(Ordering::Relaxed);
    line.stop().await;
    let records = lines(&place.log()).into_iter().filter(|l| l["event.dataset"] == "sekisho.pass");
    let how = records.map(|l| format!("{} {}", l["sekisho.ended"], l["event.duration"]));
    // On a busy machine somebody pauses for longer than ever before, and the next call meets the end.
    let [ok, cut] = [&tally.ok, &tally.cut].map(|count| count.load(Ordering::Relaxed));
    let how = how.collect::<Vec<_>>();
    assert_eq!(failed, cut, "{:#?} {how:#?}", tally.faults.lock());
    assert!(cut * 20 <= ok, "{cut} beside {ok}: {how:#?}");
    world.finish().await;
}
