//! Alarms outlive the process, and can be tried out without one (MON-7).
use std::io::{Read as _, Write as _};

use rustix::process::Signal;
use sekisho::store::{Embedded, FILE_NAME, Gateway, Shelf, Store as _};

use super::{Place, Sekisho};
use crate::alarms::receiver::{Credentials, Manner, Receiver};
use crate::logs::eventually;
use crate::store::{Scratch, now};
use crate::upstream::free_address;

/// A place whose gateway tells one webhook, with its own credentials.
pub(super) async fn place(port: u16) -> (Place, Credentials) {
    let place = Place::new().await;
    let credentials = Credentials::new(&place.dir);
    let target = format!(
        "#more\n[[alarm]]\nname = \"on-call\"\nkind = \"webhook\"\n\
         url = \"https://localhost:{port}/hook\"\nca = \"receiver-ca.pem\"\n\
         secret = {{ file = \"secret\" }}\n"
    );
    place.write(|text| text.replace("#more\n", &target));
    (place, credentials)
}

/// One series of the metrics of a running process.
pub(super) fn metric(gateway: &Sekisho, series: &str) -> Option<f64> {
    let said = gateway.err.lock().clone();
    let address = said.split_once("health on http://")?.1.split_whitespace().next()?.to_owned();
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(series))?;
    line.trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_kill_9_loses_no_alarm_that_was_queued() {
    let address = free_address();
    let (place, credentials) = place(address.port()).await;
    let good = std::fs::read_to_string(place.config()).unwrap();
    let waiting = "sekisho_alarms_waiting{target=\"on-call\"}";
    for round in 1..=3 {
        let mut gateway = Sekisho::run(&place);
        gateway.address().await;
        place.put(&format!("{good}\nnonsense = {round}\n"));
        gateway.signal(Signal::HUP);
        // Each process adds one, on top of those that waited; another one where it noticed by itself.
        let expect = f64::from(round);
        eventually("it is queued", || (metric(&gateway, waiting)? >= expect).then_some(())).await;
        gateway.signal(Signal::KILL);
        let status = eventually("its end", || gateway.child.try_wait().unwrap()).await;
        assert!(!status.success());
        place.put(&good);
    }
    let receiver = Receiver::start(address, Some(&credentials));
    let gateway = Sekisho::run(&place);
    eventually("all of them", || (receiver.alarms().len() >= 3).then_some(())).await;
    eventually("none waits", || (metric(&gateway, waiting)? == 0.0).then_some(())).await;
    let alarms = receiver.alarms();
    assert!(alarms.iter().all(|alarm| alarm["kind"] == "config-refused"), "{alarms:?}");
    let ids: Vec<_> = alarms.iter().map(|alarm| alarm["id"].as_str().unwrap().to_owned()).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "in order, once: {ids:?}");
    assert_eq!(gateway.told_to_end().await.status.code(), Some(0));
}

/// Whether the running process has written down what it has gathered, by a copy of its file.
async fn has_kept_gathered(place: &Place) -> bool {
    let copy = Scratch::new();
    std::fs::copy(place.dir.join("state").join(FILE_NAME), copy.path().join(FILE_NAME)).unwrap();
    // A copy of what is being written can't be read.
    let Ok(store) = Embedded::open(copy.path(), Gateway(1), now()) else { return false };
    let blobs = store.scan_blobs(Shelf::Alarm, None).await.unwrap();
    blobs.iter().any(|blob| blob.key.part > 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_kill_9_loses_no_alarm_that_was_gathered() {
    let address = free_address();
    let (place, credentials) = place(address.port()).await;
    let receiver = Receiver::start(address, Some(&credentials));
    let good = std::fs::read_to_string(place.config()).unwrap();
    let mut gateway = Sekisho::run(&place);
    gateway.address().await;
    place.put(&format!("{good}\nnonsense = 1\n"));
    gateway.signal(Signal::HUP);
    eventually("the first", || (receiver.alarms().len() == 1).then_some(())).await;
    place.put(&format!("{good}\nnonsense = 2\n"));
    gateway.signal(Signal::HUP);
    crate::store::eventually("the second is kept", || has_kept_gathered(&place)).await;
    gateway.signal(Signal::KILL);
    eventually("its end", || gateway.child.try_wait().unwrap()).await;
    assert_eq!(receiver.alarms().len(), 1);
    place.put(&good);
    let gateway = Sekisho::run(&place);
    eventually("the second", || (receiver.alarms().len() == 2).then_some(())).await;
    assert_eq!(gateway.told_to_end().await.status.code(), Some(0));
    // It is told once.
    assert!(!has_kept_gathered(&place).await);
    let gateway = Sekisho::run(&place);
    gateway.address().await;
    assert_eq!(gateway.told_to_end().await.status.code(), Some(0));
    let alarms = receiver.alarms();
    assert!(alarms.iter().all(|alarm| alarm["kind"] == "config-refused"), "{alarms:?}");
    assert_eq!(alarms.len(), 2, "{alarms:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_targets_are_tried_out_by_hand() {
    let address = free_address();
    let (place, credentials) = place(address.port()).await;
    let config = place.config();
    let test = async |words: &[&str]| {
        let fixed = ["alarms".as_ref(), "test".as_ref(), config.as_ref()];
        let more = words.iter().map(|word| std::ffi::OsStr::new(*word));
        let words: Vec<_> = fixed.into_iter().chain(more).collect();
        Sekisho::start(&words, &[]).ended().await
    };
    let down = test(&[]).await;
    assert_eq!(down.status.code(), Some(1), "{}", down.err);
    assert_eq!(down.out, "not told on-call (webhook): it can't be reached\n");
    let receiver = Receiver::start(address, Some(&credentials));
    let up = test(&["--target", "on-call"]).await;
    assert_eq!((up.status.code(), &*up.out), (Some(0), "told on-call (webhook)\n"), "{}", up.err);
    assert_eq!(receiver.alarms()[0]["kind"], "test");
    receiver.behave(Manner::Says("401 Unauthorized\r\n".to_owned()));
    let refused = test(&[]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.out.contains("credential"), "{}", refused.out);
    let nobody = test(&["--target", "nobody"]).await;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(nobody.err.contains("no [[alarm]] named nobody"), "{}", nobody.err);
}
