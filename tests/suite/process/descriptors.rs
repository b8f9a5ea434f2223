//! A process that has no descriptor left for a moment.
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::{Place, Sekisho};

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_files_that_could_not_be_opened_are_read_again_by_themselves() {
    let place = Place::new().await;
    let gateway = Sekisho::run(&place);
    gateway.address().await;
    let pid = Pid::from_raw(i32::try_from(gateway.child.id()).unwrap());
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(3), maximum }).unwrap();
    place.write(|text| format!("{text}\n# another\n"));
    gateway.says("configuration 1 stays in force", 1).await;
    assert!(gateway.err.lock().contains("can't be read"), "{}", gateway.err.lock());
    prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).unwrap();
    // The permit, which could not be read either, had a number of its own.
    gateway.says(" is in force, after ", 1).await;
    gateway.signal(Signal::TERM);
    let ended = gateway.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
}
