//! The walk-through of deploy/walkthrough, in network namespaces of its own.
use std::process::{Command, Stdio};

/// The command lines of a page, and what each part is about. Keys and processes differ from run to run.
fn steps(page: &str) -> Vec<String> {
    let typed = |line: &str| {
        let host = line.split_once("$ ").map(|(host, _)| host);
        host.is_some_and(|host| host.bytes().all(|byte| byte.is_ascii_lowercase()))
    };
    let told = page.lines().filter(|line| line.starts_with('#') || typed(line));
    let cut = |line: &str| {
        let varies = ["x25519:", "-TERM "].iter().find_map(|mark| line.split_once(mark));
        varies.map_or(line, |(same, _varies)| same).to_owned()
    };
    told.map(cut).collect()
}

/// Two hosts, one trusted with keys and one not, and everything that may happen to them. The script
/// judges each answer itself; the page that people read is held to the same steps.
#[test]
fn tls_3_two_hosts_in_namespaces_are_as_the_page_says() {
    let run = Command::new("deploy/walkthrough/run")
        .env("SEKISHO", env!("CARGO_BIN_EXE_sekisho"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, wrong) = (text(&run.stdout), text(&run.stderr));
    assert!(run.status.success(), "{said}\n{wrong}");
    let page = include_str!("../../../deploy/walkthrough/README.md");
    assert_eq!(steps(&said), steps(page), "write it anew: deploy/walkthrough/run --record");
    assert!(steps(page).len() > 40, "{page}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
