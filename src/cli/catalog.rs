//! `sekisho catalog`: the operations that a role can be granted, with what Amazon says of each.
use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::CatalogArgs;
use super::say::{self, Colour, Failure, Stream};
use crate::base::Class;
use crate::policy::{CatalogueOperation, Endpoint, Rate, RateSource, ResponseSecret, search};

pub(super) fn main(words: &CatalogArgs) -> Result<ExitCode, Failure> {
    let found = search(&words.words.join(" "));
    if words.json {
        let list: Vec<Value> = found.iter().map(|operation| facts(operation)).collect();
        say::out(serde_json::to_string_pretty(&list).map_err(Failure::new)?);
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        let asked = words.words.join(" ");
        return Err(Failure::new(format_args!("no operation holds all of these words: {asked}")));
    }
    if say::is_terminal(Stream::Out) {
        say::out(table(&found));
    } else {
        for operation in &found {
            say::out(line(operation));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// For people: two lines for each operation, as some paths take a line of their own.
fn table(found: &[&CatalogueOperation]) -> String {
    let bold = |text: &str| say::paint(Stream::Out, Colour::Bold, text);
    let dim = |text: &str| say::paint(Stream::Out, Colour::Dim, text);
    let longest = |text: fn(&CatalogueOperation) -> String| {
        found.iter().map(|operation| text(operation).len()).max().unwrap_or(0)
    };
    let names = longest(|operation| operation.name.to_string()).max("OPERATION".len());
    let rates = longest(rate).max("RATE".len());
    let head = format!(
        "{:names$}  METHOD  {:rates$}  RESTRICTED  PERSONAL DATA IN ANSWERS",
        "OPERATION", "RATE"
    );
    let mut out = format!("{}\n", bold(&head));
    for operation in found {
        // Padded before it is painted: escapes have no width on the screen, but a length.
        let restricted = if operation.standing.is_restricted() {
            say::paint(Stream::Out, Colour::Yellow, "restricted")
        } else {
            " ".repeat("RESTRICTED".len())
        };
        let _ = writeln!(
            out,
            "{}  {:6}  {:rates$}  {restricted}  {}\n    {}",
            bold(&format!("{:names$}", operation.name)),
            operation.method.as_str(),
            rate(operation),
            pii(operation),
            dim(operation.template.as_str())
        );
    }
    let operations = if found.len() == 1 { "operation" } else { "operations" };
    let _ = write!(
        out,
        "{} {operations}. Grant one in a role: allow = [\"{}\"]. All facts: --json",
        found.len(),
        found.first().map_or("", |operation| operation.name.as_str()),
    );
    out
}

/// For `grep` and `cut`: one line, columns apart by tabs.
fn line(operation: &CatalogueOperation) -> String {
    [
        operation.name.to_string(),
        operation.method.as_str().to_owned(),
        operation.template.as_str().to_owned(),
        rate(operation),
        if operation.standing.is_restricted() { "restricted" } else { "-" }.to_owned(),
        pii(operation),
    ]
    .join("\t")
}

/// Such as `0.5/s burst 30`.
fn rate(operation: &CatalogueOperation) -> String {
    let told = |rate: Rate| format!("{}/s burst {}", rate.per_second, rate.burst);
    operation.rate.map_or_else(|| "-".to_owned(), told)
}

fn pii(operation: &CatalogueOperation) -> String {
    let kinds: Vec<&str> = operation.pii.iter().map(Class::as_str).collect();
    if kinds.is_empty() { "-".to_owned() } else { kinds.join(",") }
}

/// Everything that is known of an operation.
fn facts(operation: &CatalogueOperation) -> Value {
    let kinds: Vec<&str> = operation.pii.iter().map(Class::as_str).collect();
    json!({
        "name": operation.name.as_str(),
        "long_name": operation.long_name.as_str(),
        "api": operation.api(),
        "version": operation.version,
        "method": operation.method.as_str(),
        "path": operation.template.as_str(),
        "endpoint": match operation.endpoint() {
            Endpoint::Api => "api",
            Endpoint::Token => "token",
        },
        "rate": operation.rate.map(|rate| json!({
            "per_second": rate.per_second,
            "burst": rate.burst,
            "source": match rate.source {
                RateSource::Model => "model",
                RateSource::Sdk => "sdk",
            },
        })),
        "pii": kinds,
        "secret_in_answer": operation.secret.map(ResponseSecret::as_str),
        "restricted": operation.standing.is_restricted(),
        "request_takes_pii": operation.standing.takes_pii(),
        "grantless": operation.standing.is_grantless(),
        "deprecated": operation.standing.is_deprecated(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::catalogue;

    #[test]
    fn priv_1_every_operation_is_listed_with_its_facts() {
        let list: Vec<Value> = catalogue().iter().map(facts).collect();
        assert_eq!(list.len(), 371);
        let address = list.iter().find(|one| one["name"] == "orders/getOrderAddress").unwrap();
        assert_eq!(
            *address,
            json!({
                "name": "orders/getOrderAddress", "long_name": "orders/v0/getOrderAddress",
                "api": "orders", "version": "v0", "method": "GET",
                "path": "/orders/v0/orders/{orderId}/address", "endpoint": "api",
                "rate": {"per_second": 0.5, "burst": 30, "source": "model"},
                "pii": ["name", "phone", "address", "geo"], "secret_in_answer": null,
                "restricted": true, "request_takes_pii": false, "grantless": false,
                "deprecated": true,
            })
        );
        let token = list.iter().find(|one| one["name"] == "lwa/token").unwrap();
        assert_eq!((&token["endpoint"], &token["rate"]), (&json!("token"), &Value::Null));
    }

    #[test]
    fn a_line_has_six_columns_and_a_row_shows_the_same() {
        let found = search("orders getorderaddress");
        let [operation] = found.as_slice() else { panic!("{found:?}") };
        let columns: Vec<String> = line(operation).split('\t').map(str::to_owned).collect();
        assert_eq!(columns.len(), 6);
        let shown = table(&found);
        for column in columns {
            assert!(shown.contains(&column), "{column} is not in {shown}");
        }
        assert!(shown.contains("1 operation."));
    }
}
