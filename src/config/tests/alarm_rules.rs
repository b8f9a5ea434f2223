//! `[alarms]` and `[[alarm]]`: who is told can't be told wrongly.
use std::time::Duration;

use super::rules::{refused, warned};
use super::support::{changed, world};
use crate::alarm::Severity;
use crate::base::ControlId::{Mon7, Priv4, Tls1, Tls2};
use crate::config::{AlarmWay, Posted, Snapshot};

const KIND: &str = "kind = \"webhook\"";
const URL: &str = "url = \"https://alerts.internal/hooks/sekisho\"";
const SECRET: &str = "secret = { env = \"ALARM_SECRET\" }";
const HOURS: &str = "hours = \"22:00-07:00\"";

fn loaded(text: &str) -> Snapshot {
    world(text).load().unwrap_or_else(|errors| panic!("{errors}")).snapshot
}

#[test]
fn mon_7_targets() {
    let snapshot = loaded(super::support::GOOD);
    let [target] = &snapshot.alarms.targets[..] else { panic!("{:?}", snapshot.alarms) };
    assert_eq!(target.rules.min, Severity::Low);
    assert_eq!(target.rules.quiet.map(|quiet| quiet.below()), Some(Severity::Critical));
    assert_eq!(target.heartbeat, Duration::from_secs(86_400));
    let AlarmWay::Webhook { to: Posted::Https { path, .. }, key } = &target.way else {
        panic!("{target:?}")
    };
    assert_eq!(path, "/hooks/sekisho");
    // The line end behind the secret is none of it.
    assert_eq!(*key, crate::alarm::SigningKey::new(b"0123456789abcdef".to_vec()).unwrap());
    assert!(!format!("{target:?}").contains("0123456789abcdef"));
    for (kind, socket) in [("syslog", "/dev/log"), ("journald", "/run/systemd/journal/socket")] {
        let text =
            changed(KIND, &format!("kind = \"{kind}\"")).replace(URL, "").replace(SECRET, "");
        let way = loaded(&text).alarms.targets.remove(0).way;
        let (AlarmWay::Syslog(path) | AlarmWay::Journald(path)) = &way else { panic!("{way:?}") };
        assert_eq!((way.as_str(), path.to_str()), (kind, Some(socket)));
    }
}

#[test]
fn mon_7_a_target_needs_what_its_kind_needs_and_nothing_else() {
    refused(URL, "", "\"on-call\"", Mon7, "`url` is missing", "https://");
    refused(SECRET, "", "\"on-call\"", Mon7, "`secret` is missing", "add secret");
    refused(
        SECRET,
        &format!("{SECRET}\npath = \"/dev/log\""),
        "\"/dev/log\"",
        Mon7,
        "`path` is for syslog and journald only",
        "remove",
    );
    refused(
        SECRET,
        &format!("{SECRET}\nbearer = {{ env = \"B\" }}"),
        "{ env = \"B\" }",
        Mon7,
        "`bearer` is for alertmanager only",
        "remove",
    );
    refused(KIND, "kind = \"pager\"", "\"pager\"", Mon7, "pager", "webhook");
    refused(
        URL,
        "url = \"http://127.0.0.1:9093\"",
        "\"http://127.0.0.1:9093\"",
        Tls1,
        "over TLS",
        "https://",
    );
    refused(
        URL,
        "url = \"http://alerts.internal/\"",
        "\"http://alerts.internal/\"",
        Tls1,
        "without TLS",
        "https://",
    );
    refused(
        URL,
        &format!("{URL}\nca = \"tls/none.pem\""),
        "\"tls/none.pem\"",
        Tls2,
        "does not exist",
        "path",
    );
    refused(
        "{ env = \"ALARM_SECRET\" }",
        "{ env = \"NONE\" }",
        "{ env = \"NONE\" }",
        Priv4,
        "not set",
        "set it",
    );
    refused(
        HOURS,
        "hours = \"22:00-22:00\"",
        "\"22:00-22:00\"",
        Mon7,
        "end where they begin",
        "22:00-07:00",
    );
    refused(HOURS, "hours = \"22-7\"", "\"22-7\"", Mon7, "hours of the day", "22:00-07:00");
    let twice =
        format!("{}\n[[alarm]]\nname = \"on-call\"\nkind = \"syslog\"\n", super::support::GOOD);
    let errors = world(&twice).load().unwrap_err();
    assert!(errors.errors[0].found.contains("given twice"), "{errors}");
    let mut short = world(super::support::GOOD);
    short.variables.insert("ALARM_SECRET".to_owned(), b"fifteen bytes..\n".to_vec());
    let errors = short.load().unwrap_err();
    let [error] = errors.errors.as_slice() else { panic!("{errors}") };
    assert!(error.control == Some(Mon7) && error.found.contains("less than 16"), "{errors}");
}

#[test]
fn mon_7_programs_and_alertmanager() {
    let program = |words: &str| {
        changed(KIND, "kind = \"command\"")
            .replace(URL, &format!("command = {words}"))
            .replace(SECRET, "")
    };
    let way = loaded(&program("[\"/bin/page\", \"-q\"]")).alarms.targets.remove(0).way;
    assert_eq!(way, AlarmWay::Command(vec!["/bin/page".to_owned(), "-q".to_owned()]));
    let errors = world(&program("[\"page\"]")).load().unwrap_err();
    assert!(errors.errors[0].found.contains("place depends"), "{errors}");
    assert!(world(&program("[]")).load().is_err());
    let manager = |url: &str| {
        changed(KIND, "kind = \"alertmanager\"")
            .replace(URL, &format!("url = \"{url}\""))
            .replace(SECRET, "")
    };
    for (url, path) in [
        ("http://127.0.0.1:9093", "/api/v2/alerts"),
        ("https://am.internal/prefix/", "/prefix/api/v2/alerts"),
    ] {
        let way = loaded(&manager(url)).alarms.targets.remove(0).way;
        let AlarmWay::Alertmanager { to, bearer: None } = way else { panic!("{way:?}") };
        let (Posted::Https { path: own, .. } | Posted::Loopback { path: own, .. }) = to;
        assert_eq!(own, path);
    }
    let with_ca = manager("http://127.0.0.1:9093") + "\n";
    let with_ca =
        with_ca.replace("kind = \"alertmanager\"", "kind = \"alertmanager\"\nca = \"tls/ca.pem\"");
    let errors = world(&with_ca).load().unwrap_err();
    assert!(errors.errors[0].found.contains("goes with https"), "{errors}");
}

#[test]
fn mon_7_without_a_target_the_operator_is_warned() {
    let good = super::support::GOOD;
    let (_, after) = good.split_once("[[alarm]]").unwrap();
    let section = format!("[[alarm]]{}", after.split("\n\n").next().unwrap());
    warned(&section, "", "gateway]", Mon7, "nobody is told");
    let windows = "[alarms]\ngroup_for = \"10 min\"\nrepeat_after = \"5 min\"\n[[alarm]]";
    refused("[[alarm]]", windows, "\"5 min\"", Mon7, "more often", "10 min");
}
