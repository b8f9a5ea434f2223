//! Alertmanager, syslog, journald, programs.
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use sekisho::alarm::{Kind, Severity};
use serde_json::Value;

use super::receiver::Receiver;
use super::{finish, raise};
use crate::logs::eventually;
use crate::support::{Plan, World, holds, scratch, until};

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_alertmanager_on_this_machine_is_told_in_its_own_form() {
    let receiver = Receiver::anywhere(None);
    let port = receiver.address.port();
    let target = format!(
        "[[alarm]]\nname = \"am\"\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:{port}\"\n\
         heartbeat = \"5 min\"\n"
    );
    let world = World::with(Plan::default().fill("more", &target)).await;
    let alerts = || -> Vec<Value> {
        let messages = receiver.taken().into_iter();
        messages.flat_map(|one| one.json().as_array().unwrap().clone()).collect()
    };
    until("the watchdog fires", || !alerts().is_empty()).await;
    assert_eq!(alerts()[0]["labels"]["alertname"], "SekishoHeartbeat");
    raise(&world, Kind::UpstreamUntrusted, Severity::Critical, "amazon");
    until("the alert", || alerts().len() == 2).await;
    let alert = alerts().remove(1);
    assert_eq!(alert["labels"]["alertname"], "SekishoUpstreamUntrusted");
    assert_eq!(alert["labels"]["upstream"], "amazon");
    assert_eq!(alert["labels"]["environment"], "test");
    assert!(alert["startsAt"].as_str() < alert["endsAt"].as_str(), "{alert}");
    let message = receiver.taken().remove(1);
    assert!(message.head.starts_with("POST /api/v2/alerts HTTP/1.1"), "{}", message.head);
    finish(world, &[&receiver]).await;
}

/// Everything that comes to a datagram socket.
struct Socket(UnixDatagram);

impl Socket {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    async fn next(&self) -> String {
        let mut buffer = [0; 8_192];
        eventually("a datagram", || {
            let length = self.0.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_syslog_and_journald_are_told_over_their_sockets() {
    let dir = scratch();
    let syslog = Socket::at(&dir.join("log"));
    let targets = format!(
        "[[alarm]]\nname = \"syslog\"\nkind = \"syslog\"\npath = \"{0}/log\"\n\
         [[alarm]]\nname = \"journal\"\nkind = \"journald\"\npath = \"{0}/journal\"\n",
        dir.display()
    );
    let world = World::with(Plan::default().fill("more", &targets)).await;
    let beat = syslog.next().await;
    assert!(beat.starts_with("<86>1 ") && beat.contains(" sekisho - heartbeat "), "{beat}");
    raise(&world, Kind::UpstreamUntrusted, Severity::Critical, "amazon");
    raise(&world, Kind::UpstreamFailing, Severity::Medium, "amazon");
    let (first, second) = (syslog.next().await, syslog.next().await);
    assert!(first.starts_with("<81>1 ") && first.contains(" upstream=\"amazon\""), "{first}");
    assert!(second.starts_with("<84>1 "), "{second}");
    // The other one's socket was not there yet.
    let journal = Socket::at(&dir.join("journal"));
    let beat = journal.next().await;
    assert!(beat.contains("\nSEKISHO_KIND=heartbeat\n"), "{beat}");
    let entry = journal.next().await;
    assert!(entry.starts_with("MESSAGE=An upstream could not prove"), "{entry}");
    for field in ["PRIORITY=1", "SEKISHO_UPSTREAM=amazon", "SEKISHO_CONTROL=TLS-2"] {
        assert!(entry.lines().any(|line| line == field), "{field}: {entry}");
    }
    for said in [beat, first, second, entry] {
        world.note_bytes(said.as_bytes());
    }
    world.finish().await;
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_a_program_is_told_until_it_ends_well() {
    let dir = scratch();
    let script = dir.join("page");
    // Takes down what it was given and its environment; ends as the file `code` says.
    let text = format!(
        "#!/bin/sh\nread code < {0}/code\ncat >> {0}/said\necho >> {0}/said\nenv >> {0}/env\n\
         echo \"$1\" >> {0}/words\ntest \"$code\" = hang && sleep 1000\nexit \"$code\"\n",
        dir.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    // Whole or not at all: the program may be reading it.
    let code = |code: &str| {
        std::fs::write(dir.join("next"), format!("{code}\n")).unwrap();
        std::fs::rename(dir.join("next"), dir.join("code")).unwrap();
    };
    code("0");
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    let target = format!(
        "[[alarm]]\nname = \"pager\"\nkind = \"command\"\ntimeout = \"3 s\"\n\
         command = [\"{}\", \"two words; $HOME\"]\n",
        script.display()
    );
    let world = World::with(Plan::default().fill("more", &target)).await;
    until("the program came to its end", || read("words").ends_with('\n')).await;
    assert!(read("said").contains("\"type\":\"heartbeat\""), "the sign of life");
    // More than once if it took too long the first time.
    assert!(read("words").lines().all(|words| words == "two words; $HOME"), "no shell between");
    assert!(!read("env").contains("CARGO"), "{}", read("env"));
    let fault =
        || world.gateway.engine.alarms.targets()[0].fault.map(sekisho::alarm::DeliveryFault::word);
    code("3");
    raise(&world, Kind::UpstreamFailing, Severity::High, "amazon");
    let comes = async |word: Option<&str>| {
        eventually(word.unwrap_or("success"), || (fault() == word).then_some(())).await;
    };
    comes(Some("failed")).await;
    code("hang");
    comes(Some("timed-out")).await;
    code("0");
    comes(None).await;
    let said = read("said");
    let tries = said.lines().filter(|line| line.contains("\"type\":\"alarms\"")).count();
    assert!(tries >= 3, "{tries}");
    assert_eq!(world.metric("sekisho_alarms_waiting{target=\"pager\"}"), 0.0);
    world.note_bytes(said.as_bytes());
    assert!(!holds(said.as_bytes(), "sekisho-suite"));
    std::fs::remove_file(&script).unwrap();
    raise(&world, Kind::UpstreamFailing, Severity::High, "warehouse");
    until("nothing to start", || fault() == Some("not-started")).await;
    world.finish().await;
    tokio::time::sleep(Duration::ZERO).await;
    std::fs::remove_dir_all(&dir).unwrap();
}
