//! Several files as one configuration.
use super::support::{GOOD, World, changed, world};
use crate::config::{ConfigErrors, FILE_BYTES_MAX};

const POLICY: &str = "state_dir = \"state\"\npolicy = [\"policy/*.toml\"]";

fn main_with_policy() -> World {
    world(&changed("state_dir = \"state\"", POLICY))
}

fn refuse(world: &World) -> ConfigErrors {
    world.load().expect_err("it must be refused")
}

#[test]
fn policy_files_are_merged_in() {
    let extra = "[role.extra]\npurpose = \"x\"\nallow = [\"feeds/*\"]\n\
                 [identity.extra]\nkind = \"service\"\nowner = \"x\"\nreview_by = 2026-12-01\n\
                 certificate = { san_dns = \"x.example.com\" }\nnetworks = [\"office\"]\nroles = [\"extra\"]";
    let world = main_with_policy().with("policy/a.toml", extra).with("policy/.b.toml", "broken [");
    let loaded = world.load().unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.snapshot.identities.len(), 3);
}

#[test]
fn two_definitions_of_one_name_name_both_places() {
    let role =
        "\n\n[role.shipping]\npurpose = \"x\"\nallow = [\"feeds/*\"]\n\n[log]\nkeep = \"400 days\"";
    let errors = refuse(&main_with_policy().with("policy/a.toml", role));
    let shown = errors.to_string();
    assert_eq!(errors.errors.len(), 2, "{shown}");
    let twice = &errors.errors[0];
    assert_eq!((twice.file.to_str().unwrap(), twice.line), ("/conf/policy/a.toml", 3));
    let first = GOOD.lines().position(|line| line == "[role.shipping]").unwrap() + 2;
    assert!(twice.instead.contains(&format!("/conf/sekisho.toml:{first}")), "{shown}");
    assert!(errors.errors[1].found.contains("`[log]` stands in two files"), "{shown}");
}

#[test]
fn a_policy_file_is_no_main_file() {
    let errors = refuse(&main_with_policy().with("policy/a.toml", "[gateway]\nthreads = 2"));
    assert!(errors.errors[0].instead.contains("main file"), "{errors}");
}

#[test]
fn what_is_missing_in_a_torn_file_is_not_called_unknown() {
    let torn = "[role.lost\npurpose = 'x'";
    let text = changed("state_dir = \"state\"", POLICY).replace(
        "roles = [\"shipping\"]\nreview_by = 2027-01-31\n\n[token]",
        "roles = [\"lost\"]\n[token]",
    );
    let errors = refuse(&world(&text).with("policy/a.toml", torn));
    assert!(errors.errors.iter().all(|e| e.file.ends_with("policy/a.toml")), "{errors}");
    assert!(errors.to_string().ends_with("so more may follow when that is mended\n"), "{errors}");
}

#[test]
fn files_that_can_not_be_read_are_named() {
    for (path, content, found) in [
        (
            "policy/a.toml",
            vec![b' '; usize::try_from(FILE_BYTES_MAX).unwrap() + 1],
            "larger than 4 MiB",
        ),
        ("policy/a.toml", b"x = '\xff'".to_vec(), "no UTF-8"),
    ] {
        let errors = refuse(&main_with_policy().with(path, content));
        assert!(errors.errors[0].found.contains(found), "{errors}");
        assert_eq!(errors.errors.len(), 1, "{errors}");
    }
    let errors = refuse(&main_with_policy());
    assert!(errors.errors[0].found.contains("does not exist"), "{errors}");
    let errors = refuse(&World::default());
    assert!(errors.errors[0].found.contains("/conf/sekisho.toml"), "{errors}");
}

#[test]
fn a_mistake_in_a_network_file_is_shown_there() {
    let text = changed("[\"203.0.113.0/24\", \"2001:db8:1::/48\"]", "{ file = \"office.cidr\" }");
    let errors = refuse(&world(&text).with("office.cidr", "10.0.0.0/8\n  10.0.0.1/33 # é\nx"));
    let places: Vec<_> = errors.errors.iter().map(|e| (e.line, e.column, e.width)).collect();
    assert_eq!(places, [(2, 3, 11), (3, 1, 1)], "{errors}");
    assert!(errors.errors[0].file.ends_with("office.cidr"));
}

#[test]
fn too_many_policy_files_are_refused() {
    let mut world = main_with_policy();
    for n in 0..=crate::config::POLICY_FILES_MAX {
        world = world.with(&format!("policy/{n}.toml"), "");
    }
    assert!(refuse(&world).errors[0].found.contains("257 policy files"));
}
