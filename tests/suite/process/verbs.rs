//! Every verb: its exit codes, its words for people, its documents for programs.
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use sekisho::mock::{Caller, CallerConfig};
use serde_json::Value;

use super::{Place, Sekisho};
use crate::logs::eventually;
use crate::support::{ORDERS, get, scratch};

/// Runs a verb to its end.
fn sekisho(dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    command.args(words).current_dir(dir).env_remove("SEKISHO_CONFIG").stdin(Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[track_caller]
fn ends(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_would_be_served_or_every_mistake_at_once() {
    let place = Place::new().await;
    let good = sekisho(&place.dir, &["check", "sekisho.toml"]);
    ends(&good, 0);
    assert!(text(&good.stdout).contains("can be served"), "{}", text(&good.stdout));
    let said = text(&good.stdout);
    assert!(said.ends_with(" 5 identities, 1 limit checked: ok, 3 warnings\n"), "{said}");
    let good = sekisho(&place.dir, &["check", "--json", "sekisho.toml"]);
    ends(&good, 0);
    assert_eq!(
        (&json(&good)["ok"], &json(&good)["errors"]),
        (&Value::from(true), &Value::from(Vec::<Value>::new()))
    );

    // The file of the configuration room's own tests, its marks taken out.
    let marked = include_str!("../../../src/config/tests/forty.toml");
    let mistakes = marked.lines().filter(|line| !line.starts_with('#'));
    let marks: usize = mistakes.map(|line| line.matches('«').count()).sum();
    let unmarked = marked.replace('«', "");
    let bare: Vec<&str> =
        unmarked.lines().map(|line| line.split(" #! ").next().unwrap().trim_end()).collect();
    std::fs::create_dir_all(place.dir.join("tls")).unwrap();
    let pki = place.dir.join("pki");
    std::fs::copy(pki.join("server.pem"), place.dir.join("tls/a.pem")).unwrap();
    std::fs::copy(pki.join("upstream.key"), place.dir.join("tls/other.key")).unwrap();
    std::fs::create_dir_all(place.dir.join("permit")).unwrap();
    std::fs::copy(pki.join("permit/issuer.pub"), place.dir.join("permit/issuer.pub")).unwrap();
    std::fs::write(place.dir.join("forty.toml"), bare.join("\n")).unwrap();
    let bad = sekisho(&place.dir, &["check", "--json", "forty.toml"]);
    ends(&bad, 1);
    let told = json(&bad);
    let errors = told["errors"].as_array().unwrap();
    assert!(marks == 40 && errors.len() == marks, "{marks} mistakes, {} errors", errors.len());
    for error in errors {
        for key in ["line", "column", "width"] {
            assert!(error[key].as_u64().is_some_and(|value| value > 0), "{error}");
        }
        for key in ["file", "found", "instead"] {
            assert!(error[key].as_str().is_some_and(|value| !value.is_empty()), "{error}");
        }
    }
    let bad = sekisho(&place.dir, &["check", "forty.toml"]);
    ends(&bad, 1);
    assert_eq!(text(&bad.stdout), "");
    let said = text(&bad.stderr);
    assert!(said.contains(&format!(" identities checked: {marks} errors")), "{said}");
    assert!(!said.contains('\x1b'), "no colour where nobody looks");
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_explain_says_why_and_by_its_exit_code_whether() {
    let place = Place::new().await;
    let asks = |identity: &str, words: &[&str]| {
        let mut all = vec!["explain", "sekisho.toml", "--identity", identity];
        all.extend(words);
        sekisho(&place.dir, &all)
    };
    let allowed = asks("label-printer", &["--path", ORDERS]);
    ends(&allowed, 0);
    assert!(text(&allowed.stdout).contains("orders/getOrders"), "{}", text(&allowed.stdout));
    let refused = asks("label-printer", &["--path", "/orders/v0/orders/1/buyerInfo"]);
    ends(&refused, 1);
    let said = text(&refused.stdout);
    assert!(said.contains("orders/getOrderBuyerInfo"), "{said}");
    ends(&asks("label-printer", &["--path", ORDERS, "--method", "DELETE"]), 1);
    ends(&asks("label-printer", &["--path", "/orders//v0"]), 1);
    ends(&asks("label-printer", &["--path", ORDERS, "--from", "192.0.2.1"]), 1);
    ends(&asks("label-printer", &["--path", ORDERS, "--from", "127.0.0.1"]), 0);
    ends(&asks("analyst", &["--path", &format!("{ORDERS}&BuyerEmail=x%40example.com")]), 1);
    ends(&asks("leaver", &["--path", ORDERS]), 1);
    let unknown = asks("nobody", &["--path", ORDERS]);
    ends(&unknown, 1);
    assert!(text(&unknown.stderr).contains("there is no identity"), "{}", text(&unknown.stderr));
    for (identity, code) in [("label-printer", 0), ("leaver", 1)] {
        let told = asks(identity, &["--path", ORDERS, "--json"]);
        ends(&told, code);
        assert!(json(&told).is_object());
    }
}

#[test]
fn documents_for_programs_are_whole() {
    let dir = scratch();
    let catalog = sekisho(&dir, &["catalog", "--json"]);
    ends(&catalog, 0);
    assert_eq!(json(&catalog).as_array().map(Vec::len), Some(371));
    let few = sekisho(&dir, &["catalog", "orders", "address"]);
    ends(&few, 0);
    for line in text(&few.stdout).lines() {
        assert_eq!(line.split('\t').count(), 6, "{line}");
    }
    ends(&sekisho(&dir, &["catalog", "no-such-operation-anywhere"]), 1);

    let schema = sekisho(&dir, &["schema"]);
    ends(&schema, 0);
    let kept = include_str!("../../../conf/sekisho.schema.json");
    let kept: Value = serde_json::from_str(kept).unwrap();
    assert_eq!(
        json(&schema),
        kept,
        "conf/sekisho.schema.json: sekisho schema > conf/sekisho.schema.json"
    );
    assert_eq!(kept["type"], "object");

    let man = sekisho(&dir, &["man"]);
    ends(&man, 0);
    let man = text(&man.stdout);
    assert!(man.contains(".TH sekisho 1"), "{man}");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = sekisho(&dir, &["completions", shell]);
        ends(&script, 0);
        for verb in verbs(&dir) {
            assert!(text(&script.stdout).contains(&verb), "{shell}: {verb}");
            assert!(man.contains(&verb.replace('-', "\\-")), "man: {verb}");
        }
        if shell == "bash" {
            std::fs::write(dir.join("completions"), &script.stdout).unwrap();
            let read =
                Command::new("bash").arg("-n").arg(dir.join("completions")).output().unwrap();
            assert!(read.status.success(), "{}", text(&read.stderr));
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// As the program lists them.
fn verbs(dir: &Path) -> Vec<String> {
    let help = text(&sekisho(dir, &["--help"]).stdout);
    let (_, list) = help.split_once("Commands:\n").expect(&help);
    let list = list.split("\n\n").next().unwrap().lines();
    // A line that goes on stands further in.
    let first = list.filter_map(|line| line.strip_prefix("  ").filter(|l| !l.starts_with(' ')));
    let words = first.filter_map(|line| line.split_whitespace().next());
    words.filter(|word| *word != "help").map(str::to_owned).collect()
}

#[test]
fn help_is_there_for_every_verb_and_nonsense_ends_with_2() {
    let dir = scratch();
    let verbs = verbs(&dir);
    for verb in ["run", "check", "explain", "demo", "dev-certs", "mock-sp-api", "catalog"] {
        assert!(verbs.iter().any(|known| known == verb), "{verb} is not in {verbs:?}");
    }
    for verb in &verbs {
        let help = sekisho(&dir, &[verb, "--help"]);
        ends(&help, 0);
        assert!(text(&help.stdout).contains("Usage: sekisho "), "{verb}");
    }
    for nonsense in
        [&["fly"][..], &["check", "--fly"], &["explain", "x.toml"], &["completions", "tcsh"], &[]]
    {
        let said = sekisho(&dir, nonsense);
        ends(&said, 2);
        assert!(said.stdout.is_empty() && !said.stderr.is_empty(), "{nonsense:?}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn tls_5_dev_certs_writes_keys_for_their_owner_only_and_overwrites_nothing() {
    let dir = scratch();
    ends(&sekisho(&dir, &["dev-certs"]), 0);
    let key = dir.join("certs-dev/server.key");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&key), 0o600);
    let before = std::fs::read(&key).unwrap();
    let again = sekisho(&dir, &["dev-certs"]);
    ends(&again, 1);
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    assert_eq!(std::fs::read(&key).unwrap(), before);
    ends(&sekisho(&dir, &["dev-certs", "--force"]), 0);
    assert_ne!(std::fs::read(&key).unwrap(), before);
    let token = sekisho(&dir, &["dev-certs", "--token", "order-importer"]);
    ends(&token, 0);
    assert_eq!(text(&token.stdout).trim_end().split('.').count(), 3);
    assert_eq!(text(&token.stderr), "", "the token alone, for $(…)");
    ends(&sekisho(&dir, &["dev-certs", "--dir", "elsewhere", "--token", "x"]), 1);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mock_serves_on_loopback_until_it_is_told_to_stop() {
    let dir = scratch();
    ends(&sekisho(&dir, &["dev-certs"]), 0);
    ends(&sekisho(&dir, &["mock-sp-api", "--address", "0.0.0.0:0"]), 1);
    ends(&sekisho(&dir, &["mock-sp-api", "--scenario", "nonsense"]), 1);
    let certs = dir.join("certs-dev");
    let words =
        ["mock-sp-api", "--address", "127.0.0.1:0", "--scenario", "/sellers/:throttle", "--dir"];
    let mut words: Vec<&std::ffi::OsStr> = words.iter().map(AsRef::as_ref).collect();
    words.push(certs.as_os_str());
    let mock = Sekisho::start(&words, &[]);
    let address = eventually("the address", || {
        let said = mock.out.lock();
        let (_, after) = said.split_once("https://")?;
        after.split_once('\n')?.0.trim().parse().ok()
    })
    .await;
    let ca = std::fs::read_to_string(certs.join("ca.pem")).unwrap();
    let caller = Caller::new(CallerConfig::trusting_pem(&ca).unwrap()).unwrap();
    assert_eq!(caller.call(address, get(ORDERS)).await.unwrap().status, 200);
    let throttled = get("/sellers/v1/marketplaceParticipations");
    assert_eq!(caller.call(address, throttled).await.unwrap().status, 429);
    mock.signal(Signal::INT);
    let ended = mock.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
    assert!(ended.out.ends_with("2 requests were answered\n"), "{}", ended.out);
    std::fs::remove_dir_all(&dir).unwrap();
}
