//! `sekisho alarms test`: whether alarms reach people, tried out before it matters (MON-7).
use std::process::ExitCode;

use super::args::{AlarmsAct, AlarmsArgs, AlarmsTestArgs};
use super::check::refusal;
use super::run::runtime;
use super::say::{self, Colour, Failure, Stream};
use crate::alarm::{Alarm, DeliveryFault, Kind, Message, Origin, Severity};
use crate::base::{Clock, Moment};
use crate::config::{self, AlarmTarget, Snapshot};
use crate::deliver::Way;

pub(super) fn main(words: &AlarmsArgs) -> Result<ExitCode, Failure> {
    match &words.act {
        AlarmsAct::Test(words) => test(words),
        AlarmsAct::List(words) => super::operate::alarms(words),
        AlarmsAct::Targets(words) => super::operate::alarm_targets(words),
    }
}

fn test(words: &AlarmsTestArgs) -> Result<ExitCode, Failure> {
    let now = Clock::system().now();
    let loaded = config::load(&words.config, 1, now);
    let snapshot = loaded.map_err(|errors| refusal(&words.config, &errors))?.snapshot;
    let wanted = |target: &&AlarmTarget| {
        words.target.as_ref().is_none_or(|name| target.name.as_str() == name)
    };
    let targets: Vec<&AlarmTarget> = snapshot.alarms.targets.iter().filter(wanted).collect();
    if targets.is_empty() {
        return Err(Failure::new(match &words.target {
            Some(name) => format!("there is no [[alarm]] named {name}"),
            None => "there is no [[alarm]]: nobody is told (MON-7)".to_owned(),
        }));
    }
    let told = runtime(Some(1)).map_err(Failure::new)?.block_on(async {
        let mut told = Vec::new();
        for target in targets {
            told.push(try_out(&snapshot, target, now).await);
            tell(target, told.last().copied().unwrap_or(Ok(())));
        }
        told
    });
    Ok(if told.iter().all(Result::is_ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn try_out(
    snapshot: &Snapshot,
    target: &AlarmTarget,
    now: Moment,
) -> Result<(), DeliveryFault> {
    let origin = Origin {
        environment: snapshot.environment.clone(),
        target: target.name.clone(),
        // No queue; so that a receiver that tells repetitions apart takes each test for a new one.
        queue: now.unix_ms(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let alarm = Alarm::new(Kind::Test, Severity::Low, now);
    let way = Way::open(target.clone(), origin, snapshot.alarms.windows.first).await?;
    way.tell(Message::Alarms(&[(0, &alarm)]), now).await.map_err(|failed| failed.fault)
}

fn tell(target: &AlarmTarget, told: Result<(), DeliveryFault>) {
    let who = format!("{} ({})", target.name, target.way.as_str());
    match told {
        Ok(()) => {
            say::out(format_args!("{} {who}", say::paint(Stream::Out, Colour::Green, "told")));
        }
        Err(fault) => {
            let failed = say::paint(Stream::Out, Colour::Red, "not told");
            say::out(format_args!("{failed} {who}: {fault}"));
        }
    }
}
