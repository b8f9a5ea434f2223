//! What a new process that dies leaves behind: no outage, if it does so in its first seconds, and
//! nobody in the dark, if it takes the state with it.
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use sekisho::config::Texts;
use sekisho::mock::{Alpn, BodyEnd, Scenario};
use sekisho::store::FILE_NAME;
use tokio::time::Instant;

use super::super::remembered::records;
use super::super::{Place, alarms};
use super::given::listening;
use super::told::{WATCHED, api_of, lock};
use super::{Line, caller, limited, orders, pid_of, program, spend, text, upgrade};
use crate::alarms::receiver::Receiver;
use crate::logs::eventually;
use crate::support::crowd::{Crowd, Habit};
use crate::support::{ORDERS, get, until_some};
use crate::upstream::{free_address, nobody_s};

/// Says that it serves, and dies as soon as the file `die` is there.
pub(super) const DIES: &str = "#!/bin/sh\nread hello\necho '\"prepared\"' >&0\nread go\necho '\"ready\"' >&0\n\
    read serve\necho '\"serving\"' >&0\nwhile [ ! -e {die} ]; do sleep 0.05; done\nexit 9\n";

/// Does what has to be done within the new process' first five seconds: again, where a busy machine took
/// longer.
pub(super) async fn in_time(test: impl AsyncFn() -> Option<()>) {
    for _ in 0..3 {
        let began = Instant::now();
        if Box::pin(test()).await.is_some() {
            return;
        }
        assert!(began.elapsed() > Duration::from_secs(5), "it died in time");
    }
    panic!("the new process never died in time");
}

/// Waits until the first one goes on; nothing, if the new one was steady when it died.
pub(super) async fn goes_on(line: &mut Line, times: usize) -> Option<()> {
    const GOES_ON: &str = "the upgrade failed, and the gateway goes on as it was";
    let went_on = eventually(GOES_ON, || {
        let said = line.first.err.lock().matches(GOES_ON).count();
        let ended = line.first.child.try_wait().unwrap().is_some();
        (said >= times || ended).then_some(said >= times)
    });
    if went_on.await {
        return Some(());
    }
    let first = line.first.child.id();
    line.all.retain(|pid| *pid != first);
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_new_process_that_dies_at_once_gives_everything_back() {
    in_time(gives_everything_back).await;
}

async fn gives_everything_back() -> Option<()> {
    let place = Place::new().await;
    place.write(|text| text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"8 s\""));
    let mut line = Line::start(&place).await;
    let to = line.address().await;
    let open = limited(&place, to).await;
    assert_eq!(spend(&place, &limited(&place, to).await).await.status, 200);
    let (die, mut answered) = (place.dir.join("die"), 0);
    let dies = program(&place, "dies", &DIES.replace("{die}", die.to_str().unwrap()));
    for round in 1..=2 {
        let mut crowd = Crowd::new();
        crowd.add(
            4,
            &Habit {
                caller: caller(&place, Alpn::H1),
                to,
                call: || get(ORDERS),
                every: Duration::from_millis(20),
                keeps: false,
            },
        );
        let output = upgrade(&place, &["--binary", &dies]).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        // Somebody who connects now waits, as there is nobody who accepts.
        let waits = tokio::spawn({
            let printer = caller(&place, Alpn::H1);
            async move { printer.call(to, orders()).await }
        });
        if round == 1 {
            let reply = spend(&place, &open).await;
            assert_eq!((reply.status.as_u16(), reply.header("connection")), (200, Some("close")));
        }
        std::fs::write(&die, "").unwrap();
        goes_on(&mut line, round).await?;
        let reply = waits.await.unwrap().unwrap();
        assert_eq!((reply.status.as_u16(), reply.header("connection")), (200, Some("keep-alive")));
        let before = crowd.tally.ok.load(Ordering::Relaxed);
        eventually("calls go on", || {
            (crowd.tally.ok.load(Ordering::Relaxed) > before + 50).then_some(())
        })
        .await;
        let tally = crowd.stop().await;
        assert_eq!(tally.failed.load(Ordering::Relaxed), 0, "{:#?}", tally.faults.lock());
        std::fs::remove_file(&die).unwrap();
        answered += tally.ok.load(Ordering::Relaxed) + 1;
    }
    for status in [200, 429] {
        assert_eq!(spend(&place, &limited(&place, to).await).await.status, status, "one was left");
    }
    let actions = place.actions();
    let count = |wanted: &str| actions.iter().filter(|action| *action == wanted).count();
    assert_eq!((count("upgrade-done"), count("upgrade-failed")), (2, 2));
    line.stop().await;
    // What was revealed meanwhile had been told to a process that took it along.
    let revealed = records(&place.ledger().await);
    assert!(revealed > 0 && revealed.is_multiple_of(answered), "{revealed} by {answered} answers");
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_what_a_process_that_is_killed_at_once_has_locked_stays_locked() {
    in_time(keeps_what_was_locked).await;
}

async fn keeps_what_was_locked() -> Option<()> {
    let place = Place::new().await;
    std::fs::write(place.dir.join("canaries.txt"), "902-1111111-2222222\n").unwrap();
    place.write(|text| {
        let text = text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"8 s\"");
        text.replace("#more\n", WATCHED)
    });
    let mut line = Line::start(&place).await;
    let (to, first) = (line.address().await, line.pid);
    let api = api_of(&line).await;
    line.upgrade(&place, &[]).await;
    lock(&place, api, "limited-caller").await;
    kill_process(pid_of(line.pid), Signal::KILL).unwrap();
    goes_on(&mut line, 1).await?;
    line.all.retain(|pid| *pid == first);
    line.pid = first;
    assert_eq!(spend(&place, &limited(&place, to).await).await.status, 401);
    let printer = caller(&place, Alpn::H2);
    assert_eq!(printer.call(to, orders()).await.unwrap().status, 200);
    // It can be tried again, and operators are heard as before.
    line.upgrade(&place, &[]).await;
    lock(&place, api, "label-printer").await;
    assert_eq!(printer.call(to, orders()).await.unwrap().status, 401);
    line.ended(first).await;
    line.stop().await;
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_a_state_that_can_t_be_had_back_is_told_of() {
    let address = free_address();
    let (place, credentials) = alarms::place(address.port()).await;
    let receiver = Receiver::start(address, Some(&credentials));
    let line = Line::start(&place).await;
    let (to, file) = (line.address().await, place.dir.join("state").join(FILE_NAME));
    let script = "#!/bin/sh\nread hello\necho '\"prepared\"' >&0\nread go\nmv {file} {file}.away\n\
                  echo junk >{file}\nchmod 600 {file}\nexit 7\n";
    let spoils = program(&place, "spoils", &script.replace("{file}", file.to_str().unwrap()));
    let output = upgrade(&place, &["--binary", &spoils]).await;
    assert_eq!(output.status.code(), Some(1));
    line.first.says("the state can't be opened again", 1).await;
    let printer = caller(&place, Alpn::H1);
    assert_eq!(printer.call(to, orders()).await.unwrap().status, 200, "it serves all the same");
    eventually("somebody is told", || {
        receiver.alarms().iter().any(|alarm| alarm["kind"] == "store-faulty").then_some(())
    })
    .await;
    line.stop().await;
}

/// Says at the file `reload` which texts it has put in force.
const RELOADS: &str = "while [ ! -e {reload} ]; do sleep 0.05; done\n\
    echo '{\"in-force\":{\"texts\":\"{texts}\",\"permit_alone\":false}}' >&0\n";

/// What the new one had in force was insisted on, or asked for there: as before with the listeners of
/// before; and what was asked for is done here.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_new_process_that_dies_at_once_leaves_the_configuration_of_before() {
    in_time(leaves_the_configuration).await;
}

async fn leaves_the_configuration() -> Option<()> {
    let (place, moved) = (Place::new().await, free_address());
    let edit = |text: &str, wanted: &[(&str, &str)]| {
        let text = text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"8 s\"");
        let waits = "[reload]\napply = \"on-request\"\n#more\n";
        listening(&text.replace("#more\n", waits), wanted)
    };
    let as_before = [("apps", "127.0.0.1:0"), ("second", "127.0.0.1:0")];
    let moved_to = moved.to_string();
    let after = [("apps", moved_to.as_str()), ("other", "127.0.0.1:0")];
    let enters = "[identity.label-printer]\n";
    let leaves = |text: &str| {
        assert!(text.contains(enters));
        edit(text, &after).replace(enters, &format!("{enters}disabled = \"taken out\"\n"))
    };
    place.write(|text| edit(text, &as_before));
    let mut line = Line::start(&place).await;
    let second = eventually("the second listener's address", || {
        let said = line.first.err.lock();
        let (before, _) = said.split_once(" (second)")?;
        before.rsplit(' ').next()?.parse::<SocketAddr>().ok()
    })
    .await;
    let (to, die, reload) = (line.address().await, place.dir.join("die"), place.dir.join("reload"));
    let dies = DIES.replace("{die}", die.to_str().unwrap());
    let texts = || {
        let mut texts = Texts::default();
        texts.note(&place.config(), &std::fs::read(place.config()).unwrap());
        texts.digest()
    };
    for (round, asked_there) in [(1, false), (2, true)] {
        let printer = caller(&place, Alpn::H1);
        let total = place.amazon.total();
        place.amazon.script(&[Scenario::SlowBody { bytes: 1, tick_ms: 100 }]);
        let slow = tokio::spawn(async move { printer.call(to, orders()).await });
        eventually("the stream begins", || (place.amazon.total() > total).then_some(())).await;
        place.write(leaves);
        if asked_there {
            let reloads = RELOADS.replace("{reload}", reload.to_str().unwrap());
            let reloads = reloads.replace("{texts}", &texts());
            let serving = "echo '\"serving\"' >&0\n";
            let reloads = dies.replace(serving, &format!("{serving}{reloads}"));
            place.write(|text| edit(text, &as_before));
            let binary = program(&place, "reloads", &reloads);
            let output = upgrade(&place, &["--binary", &binary]).await;
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            place.write(leaves);
            std::fs::write(&reload, "").unwrap();
        } else {
            let binary = program(&place, "dies", &dies);
            let words = ["--with-configuration", "--binary", binary.as_str()];
            let output = upgrade(&place, &words).await;
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        }
        let cut = slow.await.unwrap();
        assert!(cut.is_ok_and(|reply| reply.end != BodyEnd::Complete), "what is left is judged");
        std::fs::write(&die, "").unwrap();
        goes_on(&mut line, round).await?;
        if asked_there {
            line.first.says("is in force", 1).await;
            let reply = caller(&place, Alpn::H1).call(moved, orders()).await.unwrap();
            assert_ne!(reply.status, 200);
            continue;
        }
        for at in [to, second] {
            let reply = caller(&place, Alpn::H1).call(at, orders()).await.unwrap();
            assert_eq!(reply.status, 200);
        }
        assert!(TcpStream::connect(moved).is_err());
        assert!(!line.first.err.lock().contains("is in force"));
        std::fs::remove_file(&die).unwrap();
    }
    line.stop().await;
    Some(())
}

/// Whoever was taken out there is not let in here, neither in the moment in which this one goes on nor
/// after it, even if nothing can be read any more.
#[tokio::test(flavor = "multi_thread")]
async fn acc_3_whoever_was_taken_out_at_a_process_that_dies_at_once_stays_out() {
    in_time(keeps_out).await;
}

async fn keeps_out() -> Option<()> {
    let (_kept, nobody) = nobody_s();
    let (place, _credentials) = alarms::place(nobody.port()).await;
    let text = std::fs::read_to_string(place.config()).unwrap();
    let text = text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"8 s\"");
    let enters = "[identity.label-printer]\n";
    let leaves = text.replace(enters, &format!("{enters}disabled = \"taken out\"\n"));
    let write = |text: &str| place.put(text);
    write(&text);
    let mut line = Line::start(&place).await;
    let to = line.address().await;
    let (die, reload) = (place.dir.join("die"), place.dir.join("reload"));
    let (secret, away) = (place.dir.join("secret"), place.dir.join("secret.away"));
    let mut texts = Texts::default();
    texts.note(&place.config(), leaves.as_bytes());
    let reloads = RELOADS.replace("{reload}", reload.to_str().unwrap());
    let reloads = reloads.replace("{texts}", &texts.digest());
    let serving = "echo '\"serving\"' >&0\n";
    let dies = DIES.replace("{die}", die.to_str().unwrap());
    let dies = dies.replace(serving, &format!("{serving}{reloads}"));
    let binary = program(&place, "reloads", &dies);
    // Read there and then here as well; and read there only.
    for (round, follows) in [(1, true), (2, false)] {
        let printer = caller(&place, Alpn::H1);
        let total = place.amazon.total();
        place.amazon.script(&[Scenario::SlowBody { bytes: 1, tick_ms: 100 }]);
        let slow = tokio::spawn(async move { printer.call(to, orders()).await });
        eventually("the stream begins", || (place.amazon.total() > total).then_some(())).await;
        let output = upgrade(&place, &["--with-configuration", "--binary", &binary]).await;
        assert_eq!(output.status.code(), Some(0), "{}", super::text(&output.stderr));
        write(&leaves);
        if !follows {
            std::fs::rename(&secret, &away).unwrap();
        }
        std::fs::write(&reload, "").unwrap();
        let cut = slow.await.unwrap();
        assert!(cut.map_or(true, |reply| reply.end != BodyEnd::Complete), "what is left is judged");
        if follows {
            std::fs::rename(&secret, &away).unwrap();
        } else {
            std::fs::rename(&away, &secret).unwrap();
        }
        let waits = tokio::spawn({
            let printer = caller(&place, Alpn::H1);
            async move { printer.call(to, orders()).await }
        });
        std::fs::write(&die, "").unwrap();
        goes_on(&mut line, round).await?;
        assert_eq!(waits.await.unwrap().unwrap().status, 401);
        if follows {
            line.first.says("stays in force", 1).await;
            std::fs::rename(&away, &secret).unwrap();
        }
        assert_eq!(caller(&place, Alpn::H1).call(to, orders()).await.unwrap().status, 401);
        write(&text);
        line.first.signal(Signal::HUP);
        until_some("they may enter again", async || {
            let reply = caller(&place, Alpn::H1).call(to, orders()).await.unwrap();
            (reply.status == 200).then_some(())
        })
        .await;
        for done in [&die, &reload] {
            std::fs::remove_file(done).unwrap();
        }
    }
    line.stop().await;
    Some(())
}

/// What came for whoever serves, and died of it.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_signal_that_was_passed_on_to_a_process_that_died_is_not_lost() {
    in_time(loses_no_signal).await;
}

async fn loses_no_signal() -> Option<()> {
    let place = Place::new().await;
    place.write(|text| {
        let text = text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"8 s\"");
        text.replace("#more\n", "[reload]\napply = \"on-request\"\n#more\n")
    });
    let mut line = Line::start(&place).await;
    let first = line.pid;
    let dies = program(&place, "dies", &DIES.replace("{die}", "/nowhere/at/all"));
    line.upgrade(&place, &["--binary", &dies]).await;
    line.first.signal(Signal::HUP);
    goes_on(&mut line, 1).await?;
    line.all.retain(|pid| *pid == first);
    line.pid = first;
    line.first.says("is in force", 1).await;
    line.stop().await;
    Some(())
}
