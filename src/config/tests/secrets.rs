//! LOG-2, PRIV-4: secrets are references, and nothing of them is ever shown.
use super::support::{MAIN, World, changed, pki, world};
use crate::base::{ControlId, Name};
use crate::config::{CommandFault, ConfigErrors, Paint, SecretOf};
use std::path::Path;

const KEY: &str = "key = \"tls/a.key\"";

/// Everything an operator could be shown.
fn shown(errors: &ConfigErrors) -> String {
    format!("{}{}{errors:?}", errors.render(Paint::Colour), errors.to_json())
}

fn refuse(world: &World) -> ConfigErrors {
    world.load().expect_err("it must be refused")
}

#[test]
fn priv_4_a_key_that_others_can_read_is_refused() {
    let mut world = world(&changed(KEY, KEY));
    world.exposed.insert(Path::new("/conf/tls/a.key").to_owned());
    let errors = refuse(&world);
    assert_eq!(errors.errors.len(), 1, "{errors}");
    assert_eq!(errors.errors[0].control, Some(ControlId::Tls5));
    assert!(errors.errors[0].found.contains("0644; PRIV-4"), "{errors}");
    assert!(errors.errors[0].instead.contains("chmod 600"), "{errors}");
}

#[test]
fn log_2_what_a_secret_holds_is_never_shown() {
    let canary = "hunter2-canary";
    let command = "key = { command = [\"/bin/vault\"] }";
    for (to, content) in [
        ("key = { env = \"K\" }", format!("-----BEGIN PRIVATE KEY-----\n{canary}")),
        (command, canary.to_owned()),
        ("key = { file = \"tls/k\" }", format!("{canary}\n{}", pki().certificate)),
    ] {
        let mut world = world(&changed(KEY, to)).with("tls/k", &content);
        world.variables.insert("K".to_owned(), content.clone().into_bytes());
        world.programs.insert(vec!["/bin/vault".to_owned()], Ok(content.into_bytes()));
        let errors = refuse(&world);
        assert_eq!(errors.errors.len(), 1, "{errors}");
        assert!(!shown(&errors).contains(canary), "{to}");
    }
}

#[test]
fn log_2_a_key_pasted_into_the_configuration_is_not_repeated() {
    let body = pki().key.lines().nth(1).unwrap().to_owned();
    for to in [
        format!("key = '''{}'''", pki().key),
        format!("key = \"{}\"", pki().key.replace('\n', "\\n")),
        // A syntax error on every line of it.
        format!("key = '{}'", pki().key),
        format!("key = 7, password = '{body}'"),
    ] {
        let errors = refuse(&world(&changed(KEY, &to)));
        assert!(!shown(&errors).contains(body.get(..16).unwrap()), "{to}\n{errors}");
    }
}

#[test]
fn priv_4_amazons_secrets_do_not_belong_here() {
    let to = "region = \"fe\"\nclient_secret = \"amzn1.oa2-cs.v1.canary\"";
    let errors = refuse(&world(&changed("region = \"fe\"", to)));
    assert_eq!(errors.errors[0].control, Some(ControlId::Priv4), "{errors}");
    assert!(!shown(&errors).contains("canary"));
}

#[test]
fn references_that_lead_nowhere_say_so() {
    for (to, found) in [
        ("key = { env = \"NOT_SET\" }", "`NOT_SET` is not set"),
        ("key = { command = [\"/bin/none\"] }", "can't be started"),
        ("key = { command = [\"/bin/slow\"] }", "longer than 10 s"),
        ("key = { command = [] }", "can't be started"),
    ] {
        let mut world = world(&changed(KEY, to));
        world.programs.insert(vec!["/bin/slow".to_owned()], Err(CommandFault::TimedOut));
        let errors = refuse(&world);
        assert_eq!(errors.errors.len(), 1, "{errors}");
        assert!(errors.errors[0].found.contains(found), "{errors}");
        assert!(errors.errors[0].file.ends_with(MAIN));
    }
}

#[test]
fn tls_5_every_secret_is_as_old_as_its_file() {
    let alarm = "secret = { env = \"ALARM_SECRET\" }";
    let redis = "[state]\ngateway = 1\n[state.redis]\naddress = \"redis.internal:6380\"\n\
                 ca = \"tls/ca.pem\"\nuser = \"sekisho\"\n\
                 password = { file = \"secrets/password\" }\n\
                 secret = { file = \"secrets/shared\" }\n";
    let text = changed(alarm, "secret = { file = \"secrets/alarm\" }") + redis;
    let mut world = world(&text)
        .with("secrets/alarm", "0123456789abcdef")
        .with("secrets/password", "correct horse")
        .with("secrets/shared", [9; 32]);
    let on_call = SecretOf::Alarm(Name::parse("on-call").unwrap());
    let all = [
        ("permit/issuer.pub", SecretOf::PermitIssuer, 1),
        ("state/host.key", SecretOf::Host, 2),
        ("secrets/password", SecretOf::RedisPassword, 3),
        ("secrets/shared", SecretOf::RedisSecret, 4),
        ("secrets/alarm", on_call.clone(), 5),
    ];
    for (path, _, at) in &all {
        world.written.insert(Path::new("/conf").join(path), *at);
    }
    let secrets = world.load().unwrap().snapshot.secrets;
    let found: Vec<_> = secrets.into_iter().map(|one| (one.of, one.since_unix_secs)).collect();
    assert_eq!(found, all.map(|(_, of, at)| (of, Some(at))));
    // What comes from elsewhere has no age that is known here.
    let plain = super::support::world(super::support::GOOD).load().unwrap().snapshot.secrets;
    let ages = |of: &SecretOf| plain.iter().find(|one| one.of == *of).unwrap().since_unix_secs;
    assert_eq!(ages(&on_call), None);
}
