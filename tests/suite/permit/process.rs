//! From nothing to a permit with the program itself; and which files it opens without one.
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use sekisho::devcerts::{DevPki, Existing};
use serde_json::Value;

use crate::logs::eventually;
use crate::support::{CONFIG, pki, scratch};

/// A folder as an operator has it: certificates, a configuration, no permit.
struct Host {
    dir: PathBuf,
    pki: DevPki,
}

impl Host {
    fn new() -> Self {
        let (dir, pki) = (scratch(), pki());
        pki.write(&dir.join("pki"), Existing::Replace).unwrap();
        std::fs::remove_file(dir.join("pki/permit/host.permit")).unwrap();
        let text = CONFIG.replace("{amazon}", "1").replace("{warehouse}", "1");
        // Tests read one file, at midnight as well.
        let text = text.replace("[log]\n", "[log]\nrotate_every = \"30 days\"\n");
        std::fs::write(dir.join("sekisho.toml"), text).unwrap();
        Self { dir, pki }
    }

    fn edit(&self, from: &str, to: &str) {
        let path = self.dir.join("sekisho.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
        command.args(words).current_dir(&self.dir).env_remove("SEKISHO_CONFIG");
        command.stdin(Stdio::null());
        command
    }

    fn sekisho(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Standard output of a verb that is done.
    #[track_caller]
    fn done(&self, words: &[&str]) -> String {
        let output = self.sekisho(words);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{words:?}\n{out}{err}");
        out
    }

    /// Standard output and error of one that is refused.
    #[track_caller]
    fn refused(&self, words: &[&str]) -> String {
        let output = self.sekisho(words);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}\n{said}");
        said
    }

    fn mode(&self, file: &str) -> u32 {
        std::fs::metadata(self.dir.join(file)).unwrap().permissions().mode() & 0o777
    }

    /// A permit of the folder's throw-away issuer.
    fn install_permit(&self) {
        std::fs::write(self.dir.join("pki/permit/host.permit"), &self.pki.permit).unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn issue<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    let words = ["permit", "issue", "--key", "platform.key", "--request", "host.request"];
    [&words[..], rest].concat()
}

#[test]
fn tls_3_from_nothing_to_a_permit() {
    let host = Host::new();
    host.edit("pki/permit/issuer.pub", "platform.pub");
    host.edit("pki/permit/host.permit", "host.permit");
    host.edit("host_key = \"pki/permit/host.key\"\n", "");
    host.done(&["permit", "keygen", "--out", "platform.key"]);
    assert_eq!((host.mode("platform.key"), host.mode("platform.pub")), (0o600, 0o644));
    assert!(host.refused(&["permit", "keygen", "--out", "platform.key"]).contains("there already"));

    let ask = ["permit", "host", "--state-dir", "state", "--machine-id", "pki/permit/machine-id"];
    let request = host.done(&ask);
    assert_eq!(host.mode("state/host.key"), 0o600);
    assert_eq!(host.done(&ask), request, "a second time it is the same key");
    let json: Value = serde_json::from_str(&host.done(&[&ask[..], &["--json"]].concat())).unwrap();
    assert!(request.contains(json["sealing_key"].as_str().unwrap()), "{request}");
    std::fs::write(host.dir.join("host.request"), request).unwrap();

    let rest = ["--environment", "test", "--listener", "apps", "--name", "localhost"];
    let narrow = issue(&[&rest[..], &["--out", "host.permit"]].concat());
    let said = host.done(&narrow);
    assert!(said.contains("for test") && said.contains("listeners    apps"), "{said}");
    assert!(host.refused(&narrow).contains("there already"));
    // What no host would take is not handed out.
    let many = |count: usize, length: usize| -> String {
        let names: Vec<String> =
            (0..count).map(|n| format!("{n:03}{}.test", "a".repeat(length))).collect();
        let words = names.iter().flat_map(|name| ["--name", name]);
        let words: Vec<&str> = rest[..4].iter().copied().chain(words).collect();
        host.refused(&issue(&[&words[..], &["--out", "other.permit"]].concat()))
    };
    let said = many(257, 1);
    assert!(said.contains("257 of them") && said.contains("at most 256"), "{said}");
    assert!(many(256, 60).contains("at most 16384"));
    assert!(!host.dir.join("other.permit").exists());
    // One name of the certificate is missing.
    let said = host.refused(&["permit", "verify", "sekisho.toml"]);
    assert!(said.contains("does not allow `gateway.test`"), "{said}");
    let wide = issue(
        &[
            &rest[..],
            &["--name", "gateway.test", "--days", "90", "--out", "host.permit", "--force"],
        ]
        .concat(),
    );
    host.done(&wide);
    let said = host.done(&["permit", "verify", "sekisho.toml"]);
    assert!(said.contains("apps         ends TLS") && said.contains(" days left"), "{said}");
    let verdict = host.done(&["permit", "verify", "--json", "sekisho.toml"]);
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    assert_eq!((&verdict["ok"], &verdict["fault"]), (&true.into(), &Value::Null));
    assert_eq!(verdict["listeners"][0]["ends_tls"], true);

    let show = ["permit", "show", "host.permit"];
    assert!(host.done(&show).contains("not checked"));
    let issuer = [&show[..], &["--issuer", "platform.pub"]].concat();
    assert!(host.done(&issuer).contains("good"));
    let stranger = [&show[..], &["--issuer", "pki/permit/issuer.pub", "--json"]].concat();
    let said: Value = serde_json::from_str(&host.refused(&stranger)).unwrap();
    assert_eq!(said["signature_verified"], false);

    // The key, sealed: nothing is left to warn of.
    let said = text(&host.sekisho(&["check", "sekisho.toml"]).stderr);
    assert!(said.contains("TLS-3") && said.contains("sekisho permit seal"), "{said}");
    let seal = ["permit", "seal", "--in", "pki/server.key", "--out", "server.sealed"];
    host.done(&[&seal[..], &["--state-dir", "state"]].concat());
    assert_eq!(host.mode("server.sealed"), 0o600);
    host.edit("key = \"pki/server.key\"", "key = \"server.sealed\"");
    std::fs::remove_file(host.dir.join("pki/server.key")).unwrap();
    let said = text(&host.sekisho(&["check", "sekisho.toml"]).stderr);
    assert!(!said.contains("TLS-3"), "{said}");
    // Sealed to another host.
    let to = host.pki.host.key.public().to_string();
    let foreign =
        ["permit", "seal", "--in", "pki/upstream.key", "--out", "server.sealed", "--force"];
    host.done(&[&foreign[..], &["--to", &to]].concat());
    let said = host.refused(&["check", "sekisho.toml"]);
    assert!(said.contains("another host's key"), "{said}");
}

#[test]
fn tls_3_what_can_not_be_used_is_refused_with_a_reason() {
    let host = Host::new();
    for (words, says) in [
        (&["permit", "show", "pki/ca.pem"][..], "cut short"),
        (&["permit", "show", "none"], "does not exist"),
        (
            &["permit", "seal", "--in", "pki/ca.pem", "--out", "x", "--to", "x25519:x"],
            "sealing_key",
        ),
        (
            &["permit", "seal", "--in", "pki/server.key", "--out", "x", "--state-dir", "s"],
            "permit host",
        ),
    ] {
        let said = host.refused(words);
        assert!(said.contains(says), "{words:?}: {said}");
    }
    let key = host.pki.host.key.public().to_string();
    let seal = ["permit", "seal", "--in", "pki/ca.pem", "--out", "x", "--to", &key];
    assert!(host.refused(&seal).contains("no private key"));
    let said = host.refused(&["permit", "verify", "sekisho.toml"]);
    assert!(said.contains("there is no permit") && said.contains("ends no TLS"), "{said}");
    let verdict = host.sekisho(&["permit", "verify", "--json", "sekisho.toml"]);
    assert_eq!(verdict.status.code(), Some(1));
    let verdict: Value = serde_json::from_slice(&verdict.stdout).unwrap();
    assert_eq!((&verdict["ok"], &verdict["fault"]), (&false.into(), &"missing".into()));
    host.install_permit();
    let exposed = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(host.dir.join("pki/permit/host.key"), exposed).unwrap();
    let said = host.refused(&["permit", "verify", "sekisho.toml"]);
    assert!(said.contains("others can read it"), "{said}");
}

#[test]
fn tls_3_a_permit_may_ask_for_the_platform_s_document() {
    let host = Host::new();
    host.edit("pki/permit/issuer.pub", "platform.pub");
    host.edit("pki/permit/host.permit", "host.permit");
    host.done(&["permit", "keygen", "--out", "platform.key"]);
    let document = |text: &str| std::fs::write(host.dir.join("instance.json"), text).unwrap();
    document("{\"instanceId\":\"i-1\"}");
    let request = host.done(&[
        "permit",
        "host",
        "--host-key",
        "pki/permit/host.key",
        "--machine-id",
        "pki/permit/machine-id",
        "--instance-document",
        "instance.json",
    ]);
    assert!(request.contains("\ninstance = \"sha256:"), "{request}");
    std::fs::write(host.dir.join("host.request"), request).unwrap();
    let names = ["--name", "localhost", "--name", "gateway.test", "--out", "host.permit"];
    let rest = ["--environment", "test", "--listener", "apps"];
    host.done(&issue(&[&rest[..], &names].concat()));
    let verify = ["permit", "verify", "sekisho.toml"];
    assert!(host.refused(&verify).contains("a proof that this host can't give"));
    host.edit("[network]", "instance_document = \"instance.json\"\n[network]");
    host.done(&verify);
    // The disk of the same host, copied to another one.
    document("{\"instanceId\":\"i-2\"}");
    assert!(host.refused(&verify).contains("the permit is for another host"));
    std::fs::remove_file(host.dir.join("instance.json")).unwrap();
    assert!(host.refused(&verify).contains("a proof that this host can't give"));
}

#[test]
fn tls_3_the_host_s_key_may_be_a_credential_of_systemd() {
    let host = Host::new();
    host.install_permit();
    let own = host.dir.join("credentials");
    std::fs::create_dir(&own).unwrap();
    let key = own.join("host.key");
    std::fs::rename(host.dir.join("pki/permit/host.key"), &key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o440)).unwrap();
    host.edit("pki/permit/host.key", key.to_str().unwrap());
    let verify = ["permit", "verify", "sekisho.toml"];
    assert!(host.refused(&verify).contains("others can read it"));
    let verified = host.command(&verify).env("CREDENTIALS_DIRECTORY", &own).output().unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
}

/// Every file that a run of the program opened until it listened, by the kernel's word.
async fn opened(host: &Host) -> String {
    let trace = host.dir.join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=open,openat,openat2", "-o"]).arg(&trace);
    command.arg(env!("CARGO_BIN_EXE_sekisho")).arg("run").arg(host.dir.join("sekisho.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child =
        command.spawn().expect("this test needs strace: apt-get install strace, or tests/run");
    let log = host.dir.join("access.log");
    let started = eventually("the start under strace", || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        let ended = child.try_wait().unwrap().is_some();
        (ended || log.contains("\"started\"")).then_some(!ended)
    })
    .await;
    // The program ends with its tracer's death at the latest; its own end is asked for first.
    let read = || std::fs::read_to_string(&trace).unwrap_or_default();
    let program = read().split_whitespace().next().and_then(|pid| pid.parse::<i32>().ok());
    if let Some(pid) = program.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let end = tokio::task::spawn_blocking(move || child.wait());
    let _ = tokio::time::timeout(Duration::from_secs(20), end).await;
    assert!(started, "it ended, or nobody can be watched here: {}", read());
    read()
}

fn holds(trace: &str, path: &Path) -> bool {
    trace.contains(path.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_without_a_permit_the_process_opens_no_private_key() {
    let host = Host::new();
    let (key, certificate) = (host.dir.join("pki/server.key"), host.dir.join("pki/server.pem"));
    let client = host.dir.join("client.key");
    std::fs::copy(&key, &client).unwrap();
    host.edit(
        "#warehouse\n",
        "client_certificate = { certificate = \"pki/server.pem\", key = \"client.key\" }\n",
    );
    // The operators' API has one of its own.
    let api = host.dir.join("api.key");
    std::fs::copy(&key, &api).unwrap();
    host.edit(
        "[admin]\naddress = \"127.0.0.1:0\"\n",
        "[admin]\naddress = \"127.0.0.1:0\"\n[admin.api]\naddress = \"127.0.0.1:0\"\n\
         networks = [\"loopback\"]\ntls = { certificate = \"pki/server.pem\", key = \"api.key\", \
         client_ca = \"pki/ca.pem\" }\n[operator.viewer]\n\
         certificate = { san_uri = \"spiffe://sekisho.test/operators/viewer\" }\n\
         role = \"viewer\"\n",
    );
    // It could not even be opened: it is not there, and nobody misses it.
    let aside = host.dir.join("aside");
    std::fs::rename(&key, &aside).unwrap();
    let checked = text(&host.sekisho(&["check", "sekisho.toml"]).stderr);
    assert!(checked.contains("there is no permit") && !checked.contains("server.key"), "{checked}");
    std::fs::rename(&aside, &key).unwrap();
    let without = opened(&host).await;
    assert!(holds(&without, &certificate), "the trace shows nothing:\n{without}");
    assert!(!holds(&without, &key), "a private key was opened");
    assert!(!holds(&without, &api), "the operators' API's was opened");
    // What the gateway proves itself with to others ends no TLS.
    assert!(holds(&without, &client), "a client's key is opened as ever");
    host.install_permit();
    std::fs::remove_file(host.dir.join("access.log")).unwrap();
    let with = opened(&host).await;
    assert!(holds(&with, &key) && holds(&with, &api), "with a permit they are");
}
