//! A service manager's listening sockets: who gets them, who does not, and that they outlive the binary.
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::process::{Signal, kill_process};
use sekisho::mock::Alpn;

use super::super::{Place, Sekisho, collect};
use super::{Line, caller, orders, pid_of, program, text};
use crate::logs::eventually;
use crate::upstream::free_address;

/// Starts a gateway as a service manager does that has a socket for it.
fn activated(place: &Place, socket: TcpListener, names: &str) -> Sekisho {
    let mut command = Command::new("/bin/sh");
    let run = "LISTEN_PID=$$ exec \"$0\" run \"$1\" 3<&0 </dev/null";
    command.args(["-c", run, env!("CARGO_BIN_EXE_sekisho")]).arg(place.config());
    command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", names);
    command.stdin(OwnedFd::from(socket)).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (err, reader) = collect(child.stderr.take().unwrap());
    Sekisho { child, out: std::sync::Arc::default(), err, readers: vec![reader] }
}

/// Whoever connects while no gateway is there is served by the next one.
fn waits_for_the_next(managers: &TcpListener) {
    let waits = std::net::TcpStream::connect(managers.local_addr().unwrap()).unwrap();
    managers.set_nonblocking(false).unwrap();
    let (_served, from) = managers.accept().unwrap();
    assert_eq!(from, waits.local_addr().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_a_service_manager_s_socket_is_taken_by_name_or_address() {
    for (names, configured, differs) in [
        ("apps", "127.0.0.1:0", false),
        ("some.socket", "{there}", false),
        ("apps", "127.0.0.1:1", true),
        ("apps", "0.0.0.0:0", true),
    ] {
        let place = Place::new().await;
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let (there, managers) = (socket.local_addr().unwrap(), socket.try_clone().unwrap());
        let configured = configured.replace("{there}", &there.to_string());
        let (from, to) =
            ("name = \"apps\"\naddress = \"127.0.0.1:0\"", "name = \"apps\"\naddress = ");
        place.write(|text| text.replace(from, &format!("{to}\"{configured}\"")));
        // A connection that came before the gateway waits for it.
        let early = std::net::TcpStream::connect(there).unwrap();
        let gateway = activated(&place, socket, names);
        assert_eq!(gateway.address().await, there, "{names}");
        drop(early);
        assert_eq!(place.orders(&gateway).await.status, 200);
        let said = gateway.told_to_end().await.err;
        let told = said.contains(&format!("not on {configured} as configured"));
        assert_eq!(told, differs, "{said}");
        waits_for_the_next(&managers);
    }
    // What is meant for another process is let alone.
    let place = Place::new().await;
    let words: [&std::ffi::OsStr; 2] = ["run".as_ref(), &place.config().into_os_string()];
    let other = [("LISTEN_PID", "1".as_ref()), ("LISTEN_FDS", "1".as_ref())];
    let gateway = Sekisho::start(&words, &other);
    assert_eq!(place.orders(&gateway).await.status, 200);
    gateway.told_to_end().await;
    // A number that is none of a listening socket stops the start.
    let mut command = Command::new("/bin/sh");
    let run = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" run \"$1\" 3</dev/null";
    command.args(["-c", run, env!("CARGO_BIN_EXE_sekisho")]).arg(place.config());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("socket 0 of the service manager can't be used"));
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_a_service_manager_s_socket_is_handed_on_and_no_program_has_it() {
    let place = Place::new().await;
    let (seen, key) = (place.dir.join("seen"), place.dir.join("pki/server.key"));
    let script = format!("#!/bin/sh\nls -l /proc/$$/fd >>{seen:?}\ncat {key:?}\n");
    let reveals = program(&place, "reveals", &script);
    let (from, to) = ("key = \"pki/server.key\" }]", "key = { command = [\"{program}\"] } }]");
    place.write(|text| {
        assert!(text.contains(from));
        text.replace(from, &to.replace("{program}", &reveals))
    });
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let (there, managers) = (socket.local_addr().unwrap(), socket.try_clone().unwrap());
    let mut line = Line::of(activated(&place, socket, "apps"));
    assert_eq!(line.address().await, there);
    for _ in 0..2 {
        let before = line.pid;
        line.upgrade(&place, &[]).await;
        assert_eq!(caller(&place, Alpn::H1).call(there, orders()).await.unwrap().status, 200);
        line.ended(before).await;
        assert_eq!(caller(&place, Alpn::H2).call(there, orders()).await.unwrap().status, 200);
    }
    line.stop().await;
    waits_for_the_next(&managers);
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(seen.contains("/dev/null") && !seen.contains("socket:"), "{seen}");
}

/// Listeners of these names and addresses, and no others.
pub(super) fn listening(text: &str, wanted: &[(&str, &str)]) -> String {
    let (before, rest) = text.split_once("[[listener]]\nname = \"apps\"\n").unwrap();
    let (listener, after) = rest.split_once("[[upstream]]").unwrap();
    let one = |(name, address): &(&str, &str)| {
        let listener = listener.replace("127.0.0.1:0", address);
        format!("[[listener]]\nname = \"{name}\"\n{listener}")
    };
    let listeners: String = wanted.iter().map(one).collect();
    format!("{before}{listeners}[[upstream]]{after}")
}

fn listeners(place: &Place, wanted: &[(&str, &str)]) {
    place.write(|text| listening(text, wanted));
}

/// The same by a reload of whoever serves now.
async fn reloaded(line: &Line, place: &Place, wanted: &[(&str, &str)]) {
    let count = || line.first.err.lock().matches("is in force").count();
    let before = count();
    listeners(place, wanted);
    kill_process(pid_of(line.pid), Signal::HUP).unwrap();
    eventually("the reload", || (count() > before).then_some(())).await;
    assert!(!line.first.err.lock().contains("stays in force"), "{}", line.first.err.lock());
}

/// The manager has its socket open whoever serves there: nobody could bind the address anew.
#[tokio::test(flavor = "multi_thread")]
async fn net_1_a_service_manager_s_socket_is_there_for_a_listener_that_returns() {
    for (name, address) in [("apps", "127.0.0.1:0"), ("some.socket", "{there}")] {
        let place = Place::new().await;
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let _managers = socket.try_clone().unwrap();
        let there = socket.local_addr().unwrap();
        let address = address.replace("{there}", &there.to_string());
        let (other, both) =
            (("second", "127.0.0.1:0"), [("apps", &*address), ("second", "127.0.0.1:0")]);
        let call = async |to: SocketAddr| {
            // A connection from before its listener returned is served, too.
            assert_eq!(caller(&place, Alpn::H1).call(to, orders()).await.unwrap().status, 200);
        };
        // There is no listener for it at the start.
        listeners(&place, &[other]);
        let mut line = Line::of(activated(&place, socket, name));
        line.first.says("nobody serves at the service manager's socket", 1).await;
        line.first.says("(second)", 1).await;
        for _ in 0..2 {
            for _ in 0..2 {
                reloaded(&line, &place, &both).await;
                call(there).await;
                reloaded(&line, &place, &[other]).await;
            }
            // The next process has it as well, whether somebody serves there at that time or not.
            let before = line.pid;
            line.upgrade(&place, &["--with-configuration"]).await;
            line.ended(before).await;
            reloaded(&line, &place, &both).await;
            call(there).await;
            let before = line.pid;
            line.upgrade(&place, &["--with-configuration"]).await;
            line.ended(before).await;
            call(there).await;
            reloaded(&line, &place, &[other]).await;
        }
        line.stop().await;
    }
}

/// Nobody would ever accept there: a balancer must see that, and another program may want the port.
#[tokio::test(flavor = "multi_thread")]
async fn net_1_where_a_listener_is_no_more_nobody_listens_after_an_upgrade() {
    let place = Place::new().await;
    let [first, then] = [(); 2].map(|()| free_address());
    // The process before has to hand over what the next one has no use for.
    let set = |wanted: &[(&str, &str)]| {
        let waits = "\n[reload]\napply = \"on-request\"\n";
        place.write(|text| listening(text, wanted) + waits);
    };
    let apps = ("apps", "127.0.0.1:0");
    let at = |second: SocketAddr| set(&[apps, ("second", &second.to_string())]);
    let call = async |to| caller(&place, Alpn::H1).call(to, orders()).await.unwrap().status;
    let is_gone = |address: SocketAddr| {
        let refused = std::net::TcpStream::connect(address).map(drop).map_err(|fault| fault.kind());
        assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused));
    };
    let upgraded = async |line: &mut Line| {
        let before = line.pid;
        line.upgrade(&place, &["--with-configuration"]).await;
        line.ended(before).await;
    };
    at(first);
    let mut line = Line::start(&place).await;
    assert_eq!(call(first).await, 200);
    at(then);
    upgraded(&mut line).await;
    assert_eq!(call(then).await, 200);
    is_gone(first);
    set(&[apps]);
    upgraded(&mut line).await;
    assert_eq!(call(line.address().await).await, 200);
    is_gone(then);
    // Nothing of this process is in its own way there.
    let again = then.to_string();
    reloaded(&line, &place, &[apps, ("second", &again)]).await;
    assert_eq!(call(then).await, 200);
    line.stop().await;
}
