//! `[state]`: a file needs no word, a server needs every one.
use super::support::{GOOD, World, position, world};
use crate::base::ControlId::{self, Acc2, Priv4, Priv5, Tls1, Tls2};
use crate::config::{ConfigErrors, StateSettings};

const SHARED: &str = r#"
[state]
gateway = 3
[state.redis]
address = "Redis.internal:6380"
server_name = "redis"
ca = "tls/ca.pem"
client_certificate = { certificate = "tls/a.pem", key = "tls/a.key" }
user = "sekisho-3"
password = { env = "REDIS" }
secret = { file = "secrets/shared" }
"#;

fn of(text: &str) -> World {
    let mut world =
        world(text).with("secrets/shared", [9; 32]).with("tls/../secrets/other", [8; 32]);
    world.variables.insert("REDIS".to_owned(), b"correct horse\n".to_vec());
    world
}

fn state(section: &str) -> Result<StateSettings, ConfigErrors> {
    of(&[GOOD, section].concat()).load().map(|loaded| loaded.snapshot.state)
}

#[track_caller]
fn refused(from: &str, to: &str, at: &str, control: ControlId, found: &str, instead: &str) {
    assert!(SHARED.contains(from), "{from}");
    let text = [GOOD, &SHARED.replace(from, to)].concat();
    let errors = of(&text).load().expect_err("it must be refused");
    let [error] = errors.errors.as_slice() else { panic!("one error expected:\n{errors}") };
    assert_eq!((error.line, error.column), position(&text, at), "{errors}");
    assert_eq!(error.control, Some(control), "{errors}");
    assert!(error.found.contains(found), "{errors}");
    assert!(error.instead.contains(instead), "{errors}");
}

#[test]
fn without_a_word_there_is_a_file_and_one_gateway() {
    for section in ["", "[state]\n", "[state]\ngateway = 1\n"] {
        let state = state(section).unwrap();
        assert_eq!((state.gateway, state.redis.is_none()), (1, true), "{section}");
    }
}

#[test]
fn everything_about_a_server_is_compiled_and_nothing_secret_is_shown() {
    let state = state(SHARED).unwrap();
    assert_eq!(state.gateway, 3);
    let redis = state.redis.as_ref().unwrap();
    assert_eq!((redis.host.as_str(), redis.port), ("redis.internal", 6380));
    assert_eq!((redis.server_name.as_str(), redis.user.as_str()), ("redis", "sekisho-3"));
    assert_eq!(redis.authorities.len(), 1);
    assert!(redis.client_certificate.is_some());
    assert_eq!((redis.time_out.as_millis(), redis.poll.as_millis()), (500, 250));
    let shown = format!("{state:?}");
    assert!(!shown.contains("horse") && !shown.contains("9, 9"), "{shown}");
}

#[test]
fn tls_1_a_server_is_never_spoken_to_in_plaintext() {
    let address = "\"Redis.internal:6380\"";
    let url = "\"redis://redis.internal:6380\"";
    refused(address, url, url, Tls1, "plaintext", "write \"redis.internal:6380\"");
    refused("server_name = \"redis\"", "server_name = \"*.x\"", "\"*.x\"", Tls2, "single", "name");
    refused("ca = \"tls/ca.pem\"\n", "", "[state.redis]", Tls2, "`ca` is missing", "add `ca");
    refused("user = ", "tls = false\nuser = ", "tls = false", Acc2, "no key `tls`", "remove it");
}

#[test]
fn acc_2_a_gateway_that_shares_has_a_number() {
    refused("gateway = 3\n", "", "[state.redis]", Acc2, "`gateway` is missing", "gateway = 1");
    refused("gateway = 3", "gateway = 0", "0\n[state", Acc2, "out of range", "65535");
}

#[test]
fn priv_4_secrets_are_references_and_permission_checked() {
    refused("{ env = \"REDIS\" }", "{ env = \"NO\" }", "{ env = \"NO\" }", Priv4, "not set", "set");
    let short = "{ file = \"tls/a.pem\" }";
    refused("{ file = \"secrets/shared\" }", short, short, Priv5, "32 bytes", "openssl");
    let text = [GOOD, SHARED].concat();
    let mut world = of(&text);
    world.exposed.insert("/conf/secrets/shared".into());
    let errors = world.load().unwrap_err();
    assert!(errors.to_string().contains("chmod 600"), "{errors}");
}

#[test]
fn what_only_a_restart_can_change_is_named() {
    let own = |section: &str| state(section).unwrap();
    let changed = |edit: (&str, &str)| own(SHARED).changed(&own(&SHARED.replace(edit.0, edit.1)));
    assert_eq!(changed(("", "")), Vec::<&str>::new());
    assert_eq!(changed(("gateway = 3", "gateway = 4")), ["[state] gateway"]);
    assert_eq!(changed(("sekisho-3", "sekisho")), ["[state.redis]"]);
    assert_eq!(changed(("secrets/shared", "tls/../secrets/other")), ["[state.redis]"]);
    assert_eq!(own(SHARED).changed(&own("[state]\ngateway = 3\n")), ["[state.redis]"]);
}
