//! Programs that give secrets may take their time: neither of two processes leaves the other one in the
//! dark meanwhile.
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use sekisho::mock::Alpn;
use tokio::time::Instant;

use super::super::Place;
use super::told::{WATCHED, api_of, lock};
use super::{Line, caller, limited, orders, pid_of, program, spend, text, upgrade};
use crate::logs::eventually;
use crate::support::{until_some, within};

/// Gives the key, and says for whom. Waits as long as there is a file for this run of that process.
const GIVES: &str = "#!/bin/sh
echo >>{here}/runs.$PPID
run=$(wc -l <{here}/runs.$PPID)
while [ -e {here}/slow.$PPID.$run ]; do sleep 0.02; done
cat {here}/pki/server.key
";

/// How often a process had the key given.
fn runs(place: &Place, pid: u32) -> usize {
    let runs = std::fs::read(place.dir.join(format!("runs.{pid}"))).unwrap_or_default();
    runs.len()
}

/// From now on the process waits for the one that comes so many later.
fn slows(place: &Place, pid: u32, later: usize) -> (PathBuf, usize) {
    let run = runs(place, pid) + later;
    let file = place.dir.join(format!("slow.{pid}.{run}"));
    std::fs::write(&file, "").unwrap();
    (file, run)
}

async fn runs_at(place: &Place, pid: u32, run: usize) {
    eventually("the program runs", || (runs(place, pid) >= run).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_lock_reaches_the_process_that_goes_while_both_read_a_configuration() {
    for _ in 0..3 {
        if Box::pin(reaches_the_one_that_goes()).await.is_some() {
            return;
        }
    }
    panic!("this machine was never done before a program is given up");
}

/// Nothing, where a busy machine took longer than a program may.
async fn reaches_the_one_that_goes() -> Option<()> {
    let place = Place::new().await;
    let here = place.dir.to_str().unwrap();
    let gives = program(&place, "gives", &GIVES.replace("{here}", here));
    std::fs::write(place.dir.join("canaries.txt"), "902-1111111-2222222\n").unwrap();
    let (from, to) = ("key = \"pki/server.key\" }]", "key = { command = [\"{program}\"] } }]");
    let edit = |text: &str| {
        assert!(text.contains(from));
        let text = text.replace(from, &to.replace("{program}", &gives));
        let text = text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"60 s\"");
        // Read when it is asked for, and not once more because files changed a while before.
        text.replace("#more\n", &format!("[reload]\napply = \"on-request\"\n{WATCHED}"))
    };
    place.write(edit);
    let mut line = Line::start(&place).await;
    let (address, first) = (line.address().await, line.pid);
    let api = api_of(&line).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(limited(&place, address).await);
    }
    line.upgrade(&place, &[]).await;
    let second = line.pid;

    // Other texts, which are on trial, ...
    let before = runs(&place, first);
    place.write(|text| edit(text).replace("print labels", "print more labels"));
    kill_process(pid_of(second), Signal::HUP).unwrap();
    line.first.says("is in force", 1).await;
    runs_at(&place, first, before + 1).await;
    // ... and what they refer to: the one that stays reads it for those that might be put back as well.
    std::fs::write(place.dir.join("canaries.txt"), "902-3333333-4444444\n").unwrap();
    let (theirs, run) = slows(&place, second, 2);
    let (own, own_run) = slows(&place, first, 1);
    kill_process(pid_of(second), Signal::HUP).unwrap();
    let began = Instant::now();
    runs_at(&place, second, run).await;
    runs_at(&place, first, own_run).await;
    lock(&place, api, "limited-caller").await;
    // It waits for no program, which would be ten seconds.
    let refused = until_some("the lock is in force here", async || {
        let reply = spend(&place, &open.pop().expect("within seconds")).await;
        assert_eq!(reply.header("connection"), Some("close"), "it is the old one's");
        if reply.status != 401 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            return None;
        }
        Some(())
    });
    within(Duration::from_secs(5), "the lock is in force here", refused).await;
    // Both still wait for their programs.
    if began.elapsed() >= Duration::from_secs(9) {
        return None;
    }
    std::fs::remove_file(theirs).unwrap();
    std::fs::remove_file(own).unwrap();
    drop(open);
    assert!(!line.first.err.lock().contains("are cut"));
    line.ended(first).await;
    line.stop().await;
    Some(())
}

/// Hangs before it is prepared, and when it has the state in hand.
const HANGS: [&str; 2] = [
    "#!/bin/sh\ntouch {here}\nexec sleep 60\n",
    "#!/bin/sh\nread hello\necho '\"prepared\"' >&0\nread go\ntouch {here}\nexec sleep 60\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_permit_that_is_withdrawn_while_a_new_process_hangs_counts_for_nothing() {
    let place = Place::new().await;
    let line = Line::start(&place).await;
    let address = line.address().await;
    let permit = place.dir.join("pki/permit/host.permit");
    let document = std::fs::read(&permit).unwrap();
    let printer = caller(&place, Alpn::H1);
    for (number, script) in HANGS.into_iter().enumerate() {
        let (there, name) = (place.dir.join(format!("hangs-{number}")), format!("new-{number}"));
        let binary = program(&place, &name, &script.replace("{here}", there.to_str().unwrap()));
        let words = ["--binary", binary.as_str()];
        let withdrawn = async {
            eventually("it hangs", || there.exists().then_some(())).await;
            assert_eq!(printer.call(address, orders()).await.unwrap().status, 200);
            std::fs::remove_file(&permit).unwrap();
            let refused = until_some("nobody is served", async || {
                printer.call(address, orders()).await.is_err().then_some(())
            });
            // It does not wait for that process, which would be half a minute.
            within(Duration::from_secs(10), "nobody is served", refused).await;
        };
        let (output, ()) = tokio::join!(upgrade(&place, &words), withdrawn);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains("files of the configuration changed meanwhile"), "{said}");
        std::fs::write(&permit, &document).unwrap();
        until_some("it is served again", async || {
            printer
                .call(address, orders())
                .await
                .is_ok_and(|reply| reply.status == 200)
                .then_some(())
        })
        .await;
    }
    line.stop().await;
}
