//! The verbs that only look.
use super::args::{AlarmsArgs, DetectorsArgs, ExposureArgs, IdentitiesArgs, KeysArgs, LocksArgs};
use super::client::{Client, Refused};
use super::table::{self, Cell, left, right};
use crate::admin::api::{
    DetectorOut, ExposureOut, IdentityOut, KeyOut, LockOut, Paged, TargetStatusOut, Word,
};
use crate::cli::say::{Colour, Failure};

pub(super) async fn locks(client: &Client, words: &LocksArgs) -> Result<(), Refused> {
    let list: Paged<LockOut> = client.list("/v1/locks").await?;
    if words.api.json {
        return Ok(super::print(&list)?);
    }
    let columns = [
        left("TARGET"),
        left("NAME"),
        left("STEP"),
        left("CAUSE"),
        left("BY"),
        left("SINCE"),
        left("UNTIL"),
        right("ATTEMPTS"),
        left("ENDED BY"),
    ];
    let row = |lock: &LockOut| {
        let (kind, name) = lock.target.parts();
        vec![
            Cell::of(kind),
            Cell::of(name),
            table::step(Some(lock.step.as_str())),
            Cell::of(&lock.cause),
            Cell::of(lock.by.as_ref().map_or("the gateway", |by| by.as_str())),
            Cell::of(&lock.since),
            Cell::of(lock.until.as_ref().map_or("released", |until| until.as_str())),
            Cell::of(lock.attempts),
            Cell::of(&lock.ends_by),
        ]
    };
    let rows: Vec<_> = list.items.iter().map(row).collect();
    table::print(&columns, &rows, "no lock holds");
    Ok(())
}

pub(super) async fn identities(client: &Client, words: &IdentitiesArgs) -> Result<(), Refused> {
    let list: Paged<IdentityOut> = client.list("/v1/identities").await?;
    if words.api.json {
        return Ok(super::print(&list)?);
    }
    let columns = [
        left("IDENTITY"),
        left("KIND"),
        left("ROLES"),
        left("HELD"),
        left("BARRED"),
        left("LAST SEEN"),
        left("REVIEW BY"),
    ];
    let joined = |words: &[Word]| {
        let words: Vec<&str> = words.iter().map(Word::as_str).collect();
        (!words.is_empty()).then(|| words.join(","))
    };
    let row = |identity: &IdentityOut| {
        let barred = joined(&identity.barred);
        let colour = barred.is_some().then_some(Colour::Yellow);
        vec![
            Cell::of(&identity.name),
            Cell::of(&identity.kind),
            Cell::maybe(joined(&identity.roles)),
            table::step(identity.held.as_ref().map(Word::as_str)),
            Cell::maybe(barred).in_colour(colour),
            Cell::maybe(identity.last_seen.as_ref()),
            Cell::maybe(identity.review_by.as_ref()),
        ]
    };
    let rows: Vec<_> = list.items.iter().map(row).collect();
    table::print(&columns, &rows, "there is no identity");
    Ok(())
}

/// A name as it may stand in a query.
pub(super) fn named(name: &str) -> Result<&str, Refused> {
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b)) {
        Ok(name)
    } else {
        Err(Failure::new("no identity has such a name").into())
    }
}

pub(super) async fn exposure(client: &Client, words: &ExposureArgs) -> Result<(), Refused> {
    let days = words.since;
    let path = match &words.identity {
        None => format!("/v1/exposure?days={days}"),
        Some(name) => format!("/v1/exposure?days={days}&identity={}", named(name)?),
    };
    let list: Paged<ExposureOut> = client.list(&path).await?;
    if words.api.json {
        return Ok(super::print(&list)?);
    }
    let columns = [
        left("IDENTITY"),
        left("OPERATION"),
        right("ANSWERS"),
        right("BYTES"),
        right("RECORDS"),
        right("CUSTOMERS"),
        right("DISTINCT"),
        right("UNREAD"),
        left("CLASSES"),
        left("FROM"),
        left("UNTIL"),
    ];
    let row = |shown: &ExposureOut| {
        let classes: Vec<String> =
            shown.classes.iter().map(|(class, records)| format!("{class}={records}")).collect();
        let colour = (shown.unread > 0).then_some(Colour::Yellow);
        vec![
            Cell::of(&shown.identity),
            Cell::of(&shown.operation),
            Cell::of(shown.answers),
            Cell::of(table::bytes(shown.bytes)),
            Cell::of(shown.records),
            Cell::of(shown.customers),
            Cell::of(shown.distinct),
            Cell::of(shown.unread).in_colour(colour),
            Cell::maybe((!classes.is_empty()).then(|| classes.join(" "))),
            Cell::of(&shown.from),
            Cell::of(&shown.until),
        ]
    };
    let rows: Vec<_> = list.items.iter().map(row).collect();
    table::print(&columns, &rows, "nothing was revealed");
    Ok(())
}

pub(super) async fn keys(client: &Client, words: &KeysArgs) -> Result<(), Refused> {
    let list: Paged<KeyOut> = client.get("/v1/keys").await?;
    if words.api.json {
        return Ok(super::print(&list)?);
    }
    let columns = [
        left("KIND"),
        left("OF"),
        left("NAME"),
        right("PLACE"),
        right("DAYS OLD"),
        left("EXPIRES"),
        left("STATE"),
    ];
    let row = |key: &KeyOut| {
        let colour = match key.state.as_str() {
            "good" => None,
            "ends-soon" | "due-soon" => Some(Colour::Yellow),
            _ => Some(Colour::Red),
        };
        vec![
            Cell::of(&key.kind),
            Cell::of(&key.owner),
            Cell::maybe(key.name.as_ref()),
            Cell::of(key.place),
            Cell::maybe(key.age_secs.map(|secs| secs / 86_400)),
            Cell::maybe(key.expires.as_ref()),
            Cell::of(&key.state).in_colour(colour),
        ]
    };
    let rows: Vec<_> = list.items.iter().map(row).collect();
    table::print(&columns, &rows, "nothing ages");
    Ok(())
}

pub(super) async fn detectors(client: &Client, words: &DetectorsArgs) -> Result<(), Refused> {
    let list: Paged<DetectorOut> = client.get("/v1/detectors").await?;
    if words.api.json {
        return Ok(super::print(&list)?);
    }
    let columns = [left("DETECTOR"), left("CONTROL"), left("MODE"), left("SETTINGS")];
    let row = |detector: &DetectorOut| {
        let settings: Vec<String> =
            detector.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let colour = match detector.mode.as_str() {
            "enforce" => Some(Colour::Green),
            "off" => Some(Colour::Yellow),
            _ => None,
        };
        vec![
            Cell::of(&detector.name),
            Cell::of(&detector.control),
            Cell::of(&detector.mode).in_colour(colour),
            Cell::maybe((!settings.is_empty()).then(|| settings.join(" "))),
        ]
    };
    let rows: Vec<_> = list.items.iter().map(row).collect();
    table::print(&columns, &rows, "there is no detector");
    Ok(())
}

pub(super) async fn alarm_targets(client: &Client, words: &AlarmsArgs) -> Result<(), Refused> {
    let list: Paged<TargetStatusOut> = client.get("/v1/alarms/targets").await?;
    if words.api.json {
        return Ok(super::print(&list)?);
    }
    let columns = [
        left("TARGET"),
        left("KIND"),
        right("TOLD"),
        right("WAITING"),
        left("SINCE"),
        right("LOST"),
        left("REACHED"),
        left("FAULT"),
    ];
    let row = |target: &TargetStatusOut| {
        let red = |is_bad: bool| is_bad.then_some(Colour::Red);
        vec![
            Cell::of(&target.name),
            Cell::of(&target.kind),
            Cell::of(target.told),
            Cell::of(target.waiting),
            Cell::maybe(target.oldest.as_ref()),
            Cell::of(target.lost).in_colour(red(target.lost > 0)),
            Cell::maybe(target.reached.as_ref()),
            Cell::maybe(target.fault.as_ref()).in_colour(red(true)),
        ]
    };
    let rows: Vec<_> = list.items.iter().map(row).collect();
    table::print(&columns, &rows, "nobody is told: there is no [[alarm]]");
    Ok(())
}
