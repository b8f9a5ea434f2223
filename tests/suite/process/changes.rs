//! `sekisho diff`, `sekisho check --against`: what another configuration would change, without a gateway.
use std::process::Command;

use serde_json::Value;

use super::Place;

fn sekisho(place: &Place, words: &[&str]) -> (i32, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_sekisho"))
        .args(words)
        .current_dir(&place.dir)
        .output()
        .unwrap();
    (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap())
}

/// Beside the one that is in force, which keeps its paths.
fn next(place: &Place, edit: impl FnOnce(&str) -> String) {
    let text = std::fs::read_to_string(place.config()).unwrap();
    std::fs::write(place.dir.join("next.toml"), edit(&text)).unwrap();
}

#[tokio::test]
async fn priv_1_a_pipeline_is_told_by_the_exit_code_whether_something_widens() {
    let place = Place::new().await;
    let (less, more) =
        ("allow = [\"orders/getOrders\", \"sellers/*\"]", "allow = [\"orders/getOrders\"]");
    next(&place, |text| text.replace(less, more));
    let (code, said) = sekisho(&place, &["diff", "sekisho.toml", "next.toml"]);
    assert_eq!(code, 0, "{said}");
    let fields: Vec<&str> = said.trim_end().split('\t').collect();
    assert_eq!(fields[..4], ["narrows", "grant", "PRIV-1", "analyst"]);
    assert!(fields[4].starts_with("loses sellers/"), "{said}");
    // The other way round.
    let (code, said) = sekisho(&place, &["diff", "next.toml", "sekisho.toml", "--json"]);
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &document["widens"]), (3, &1.into()));
    assert_eq!(document["lines"][0]["names"][0], "analyst");
    let (code, said) = sekisho(&place, &["check", "sekisho.toml", "--against", "next.toml"]);
    assert_eq!(code, 3);
    assert!(said.contains("widens\tgrant\tPRIV-1\tanalyst\tgains sellers/"), "{said}");
    let (code, said) =
        sekisho(&place, &["check", "next.toml", "--against", "sekisho.toml", "--json"]);
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &document["ok"], &document["change"]["narrows"]),
        (0, &true.into(), &1.into())
    );
    // What can't be used is compared with nothing.
    next(&place, |text| text.replace("roles = [\"limited\"]", "roles = [\"limted\"]"));
    assert_eq!(sekisho(&place, &["diff", "sekisho.toml", "next.toml"]), (1, String::new()));
    let same = sekisho(&place, &["diff", "sekisho.toml", "sekisho.toml"]);
    assert_eq!(same, (0, String::new()));
}
