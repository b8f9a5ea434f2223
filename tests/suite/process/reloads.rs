//! Reloads as a service manager sees them, and what comes while one is under way.
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Manager, Place, Sekisho};
use crate::logs::{SOON, eventually};

/// A program that yields a key hangs for ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_reload_that_hangs_keeps_nothing_else_waiting() {
    let place = Place::new().await;
    let path = place.dir.join("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(SOON)).unwrap();
    let config = place.config();
    let gateway = Sekisho::start(
        &["run".as_ref(), config.as_ref()],
        &[("NOTIFY_SOCKET", path.as_ref()), ("WATCHDOG_USEC", "200000".as_ref())],
    );
    assert!(manager.hears().starts_with("READY=1"));
    let hangs = "key = { command = [\"/bin/sleep\", \"20\"] }";
    place.write(|text| text.replacen("key = \"pki/server.key\"", hangs, 1));
    gateway.signal(Signal::HUP);
    assert!(manager.hears().starts_with("RELOADING=1"));
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(manager.next(), "WATCHDOG=1", "after {:?}", began.elapsed());
    }
    assert_eq!(place.orders(&gateway).await.status, 200);
    // The log can be opened anew, and the process be told to end.
    std::fs::rename(place.log(), place.dir.join("access.log.1")).unwrap();
    gateway.signal(Signal::USR1);
    eventually("a new log", || place.log().exists().then_some(())).await;
    gateway.signal(Signal::TERM);
    assert!(manager.hears().starts_with("STOPPING=1"));
    let ended = gateway.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
    assert!(began.elapsed() < Duration::from_secs(9), "it did not wait for the program");
    assert_eq!(place.actions().last().map(String::as_str), Some("stopped"));
}
