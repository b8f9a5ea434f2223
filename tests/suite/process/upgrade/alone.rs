//! One of two processes is gone while both were there: whoever is left serves, or serves nobody any more.
use std::io::{BufRead as _, BufReader, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};
use sekisho::mock::{Alpn, BodyEnd, Scenario};

use super::super::{Manager, Place, Sekisho, collect};
use super::{Line, caller, orders, pid_of};
use crate::logs::{SOON, eventually};

/// The one that stays dies when it is not watched any more: nobody tells the one that goes who is locked
/// out, and so what is left there ends.
#[tokio::test(flavor = "multi_thread")]
async fn acc_2_what_is_left_to_a_process_that_nobody_tells_of_locks_is_cut() {
    let place = Place::new().await;
    place.write(|text| text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"60 s\""));
    let path = place.dir.join("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(SOON)).unwrap();
    let config = place.config();
    let words = ["run".as_ref(), config.as_ref()];
    let mut line = Line::of(Sekisho::start(&words, &[("NOTIFY_SOCKET", path.as_ref())]));
    let (to, first) = (line.address().await, line.pid);
    place.amazon.script(&[Scenario::SlowBody { bytes: 1, tick_ms: 100 }]);
    let slow = {
        let caller = caller(&place, Alpn::H1);
        tokio::spawn(async move { caller.call(to, orders()).await })
    };
    eventually("the stream begins", || (place.amazon.total() == 1).then_some(())).await;
    line.upgrade(&place, &[]).await;
    let main = format!("MAINPID={}", line.pid);
    let steady = tokio::task::spawn_blocking(move || while !manager.hears().starts_with(&main) {});
    steady.await.unwrap();
    assert!(!slow.is_finished());
    kill_process(pid_of(line.pid), Signal::KILL).unwrap();
    let cut = tokio::time::timeout(SOON, slow).await.expect("long before its end");
    assert!(cut.unwrap().map_or(true, |reply| reply.end != BodyEnd::Complete));
    line.ended(first).await;
    let _killed = waitpid(Some(pid_of(line.pid)), WaitOptions::empty());
    line.all.clear();
}

/// Says what a gateway that is to be relieved says, up to a word.
fn relieved_up_to(place: &Place, last: &str) -> Sekisho {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    command.arg("run").arg(place.config()).env("SEKISHO_TAKE_PLACE", "1");
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(command);
    let stderr = child.stderr.take().unwrap();
    // What it says once it serves goes where this test reads as well.
    let (reads, says) = std::io::pipe().unwrap();
    let (err, reader) = collect(std::io::Read::chain(stderr, reads));
    let hello = serde_json::json!({
        "protocol": 1, "pid": std::process::id(), "environment": "test",
        "state_dir": place.dir.join("state"), "gateway": 1, "sockets": [],
    });
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [says.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    let text = format!("{hello}\n");
    let pieces = [IoSlice::new(text.as_bytes())];
    sendmsg(&ours, &pieces, &mut ancillary, SendFlags::empty()).unwrap();
    let mut lines = BufReader::new(ours.try_clone().unwrap()).lines();
    for (heard, word) in [("\"prepared\"", "\"go\""), ("\"ready\"", "\"serve\"")] {
        assert_eq!(lines.next().unwrap().unwrap(), heard, "{}", err.lock());
        writeln!(&ours, "{word}").unwrap();
        if word == last {
            break;
        }
    }
    Sekisho { child, out: std::sync::Arc::default(), err, readers: vec![reader] }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_process_that_was_told_to_serve_does_so_whatever_becomes_of_the_other() {
    let place = Place::new().await;
    let gateway = relieved_up_to(&place, "\"serve\"");
    assert_eq!(place.orders(&gateway).await.status, 200);
    assert_eq!(gateway.told_to_end().await.status.code(), Some(0));
    // Before that word it must not: the other one may go on by itself.
    let gateway = relieved_up_to(&place, "\"go\"");
    assert_eq!(gateway.ended().await.status.code(), Some(1));
}
