//! A disk that takes its time holds up nobody who is served.
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sekisho::mock::Alpn;

use super::super::{Place, Sekisho};
use super::{caller, orders, pid_of};
use crate::logs::eventually;

/// Longer than this test takes otherwise, on any machine.
const TAKES: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn log_1_callers_are_served_while_the_time_is_written_down() {
    let place = Place::new().await;
    let fresh = place.dir.join("state").join("permit.clock.new");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-P"]).arg(&fresh);
    let late = format!("inject=fsync:delay_enter={}", TAKES.as_micros());
    command.args(["-e", "trace=fsync", "-e", &late]).arg(env!("CARGO_BIN_EXE_sekisho"));
    command.arg("run").arg(place.config());
    let gateway = Sekisho::of(command);
    // The data path has one worker.
    let to = gateway.address().await;
    let _traced = Traced::by(gateway.child.id());
    eventually("it is being written", || fresh.exists().then_some(())).await;
    let reply = caller(&place, Alpn::H1).call(to, orders()).await.unwrap();
    assert_eq!(reply.status, 200);
    assert!(fresh.exists(), "the answer had to wait for the disk");
}

/// The program under its tracer, whose end it would outlive. It is not asked to end in order: that takes
/// as long again.
struct Traced(Pid);

impl Traced {
    fn by(tracer: u32) -> Self {
        let children = std::fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children"));
        Self(pid_of(children.unwrap().trim().parse().expect("the program alone")))
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _gone = kill_process(self.0, Signal::KILL);
    }
}
