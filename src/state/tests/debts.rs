//! What was spent while the store could not be had is owed to it by whichever process there is then.
use super::*;
use crate::policy::Amount;

const OTHER: IdentityIx = IdentityIx(1);

/// Requests and bytes of each of two identities, and requests of both together.
fn among(among: Among) -> Quotas {
    let bytes = Measure::Bytes(vec![Amount { count: 1_000_000, per: Duration::from_secs(1_000) }]);
    let together = LimitSpec { sharing: Sharing::All, ..limit("everybody", &[per(600, 600)]) };
    let limits =
        [limit("orders", &[per(60, 60), per(600, 600)]), measured("volume", bytes), together];
    let all: Vec<LimitIx> = (0..3).map(LimitIx).collect();
    let both = [(name("printer"), all.clone()), (name("support"), all)];
    Quotas::build_among(&limits, &both, among).unwrap()
}

fn several() -> Quotas {
    among(Among::Several)
}

/// From now on half of everything that an identity spends from is this gateway's own, all of it there.
fn apart(quotas: &Quotas, who: IdentityIx, now: Moment) {
    for want in quotas.view(who, now).into_iter().filter_map(|(_, want)| want) {
        let units = want.units.part(want.units.interval * 2, want.units.burst / 2);
        want.supply(Supply::Part { units, empty_at: Moment::new(0, 0) }, now);
    }
}

/// At a time at which such a part is full.
fn at(ms: u64) -> Moment {
    super::at(5_000_000 + ms)
}

fn spend(quotas: &Quotas, who: IdentityIx, calls: usize, now: Moment) {
    for _ in 0..calls {
        quotas.charge(who, OP, UP, now).unwrap();
        quotas.spend(who, OP, UP, Spent { bytes: 1_000, pii_records: 0 }, now);
    }
}

/// What is owed, by limit and account; each in its units.
fn owed(quotas: &Quotas) -> Vec<(String, u32)> {
    quotas.apart().iter().map(|want| (want.label(), want.ask().0)).collect()
}

fn owes(calls: &[(&str, u32)]) -> Vec<(String, u32)> {
    calls.iter().map(|(label, units)| ((*label).to_owned(), *units)).collect()
}

/// The pieces that are written down now.
fn written(quotas: &Quotas, now: Moment) -> Vec<Vec<u8>> {
    quotas.take_changed(99).into_iter().map(|whose| quotas.save(whose, now)).collect()
}

fn restarted(written: &[Vec<u8>], as_one: Among, now: Moment) -> Quotas {
    let after = among(as_one);
    let places = after.places();
    for piece in written.iter().filter(|piece| !piece.is_empty()) {
        after.restore(&places, piece, now).unwrap();
    }
    after
}

#[test]
fn mon_2_what_was_spent_apart_is_owed_after_a_restart() {
    let before = several();
    apart(&before, WHO, at(0));
    apart(&before, OTHER, at(0));
    spend(&before, WHO, 3, at(0));
    spend(&before, OTHER, 2, at(0));
    let file = written(&before, at(0));
    // Long after time has given everything back here, the store has still to hear of it.
    let after = restarted(&file, Among::Several, at(2_000_000));
    let all = [
        ("orders printer 60", 3),
        ("orders printer 600", 3),
        ("volume printer 1000", 3_000),
        ("orders support 60", 2),
        ("orders support 600", 2),
        ("volume support 1000", 2_000),
        ("everybody  600", 5),
    ];
    assert_eq!(owed(&after), owes(&all));
    // A file that is read once more says nothing new.
    after.restore(&after.places(), &file[0], at(2_000_000)).unwrap();
    assert_eq!(owed(&after), owes(&all));
    // Nor is it lost where it is written down once more, or the configuration is another one.
    after.mark_spent(at(2_000_000));
    let mut again = restarted(&written(&after, at(2_000_000)), Among::Several, at(2_000_000));
    assert_eq!(owed(&again), owes(&all));
    let last = std::mem::replace(&mut again, several());
    again.carry_over(&last, at(2_000_000));
    assert_eq!(owed(&again), owes(&all));

    for want in again.apart() {
        let told = want.ask().0;
        let given = Given { units: 0, wait: Duration::ZERO, full_in: Duration::ZERO };
        want.answered(told, given, at(2_000_000));
    }
    assert!(owed(&again).is_empty());
    // So it is in the file.
    let file = written(&again, at(4_000_000));
    assert_eq!(file.len(), 3);
    assert!(file.iter().all(Vec::is_empty), "{file:?}");
}

#[test]
fn mon_2_what_is_told_is_written_down_under_the_next_configuration() {
    let before = several();
    apart(&before, WHO, at(0));
    spend(&before, WHO, 3, at(0));
    assert_eq!(written(&before, at(0)).len(), 2);
    let mut after = several();
    let wants = before.apart();
    after.carry_over(&before, at(0));
    for want in wants {
        let given = Given { units: 0, wait: Duration::ZERO, full_in: Duration::ZERO };
        want.answered(want.ask().0, given, at(1));
    }
    after.mark_spent(at(4_000_000));
    let file = written(&after, at(4_000_000));
    assert_eq!(file.len(), 2);
    assert!(file.iter().all(Vec::is_empty), "{file:?}");
}

#[test]
fn mon_2_what_was_given_back_is_not_owed() {
    let before = several();
    apart(&before, WHO, at(0));
    let charged = before.charge(WHO, OP, UP, at(0)).unwrap();
    assert_eq!(written(&before, at(0)).len(), 2);
    before.give_back(WHO, OP, UP, &charged, at(10));
    let file = written(&before, at(10));
    assert_eq!(file.len(), 2);
    assert!(owed(&restarted(&file, Among::Several, at(20))).is_empty());
}

#[test]
fn a_gateway_that_is_alone_now_owes_nobody() {
    let before = several();
    apart(&before, WHO, at(0));
    spend(&before, WHO, 30, at(0));
    let after = restarted(&written(&before, at(0)), Among::One, at(0));
    assert!(owed(&after).is_empty());
    assert_eq!(passes(&after, at(0)), 30, "and goes on from what it spent");
}

#[test]
fn mon_2_a_process_that_goes_hands_over_what_it_owes_once() {
    let old = several();
    apart(&old, WHO, at(0));
    spend(&old, WHO, 3, at(0));
    let mut mark = old.mark(at(0));
    // Between the mark and the file it counts twice, rather than not at all.
    spend(&old, WHO, 1, at(0));
    let new = restarted(&written(&old, at(0)), Among::Several, at(0));
    assert_eq!(new.apart()[0].ask().0, 4);
    let tell = |mark: &mut QuotaMark, now| {
        for piece in old.spent_since(mark, now) {
            new.add_spent(&new.places(), &piece, now).unwrap();
        }
    };
    tell(&mut mark, at(1));
    assert_eq!(new.apart()[0].ask().0, 5);
    assert!(owed(&old).iter().all(|(_, units)| *units == 0), "it is the other one's");
    tell(&mut mark, at(2));
    spend(&old, WHO, 2, at(3));
    tell(&mut mark, at(4));
    assert_eq!(new.apart()[0].ask().0, 7);
    assert_eq!(owed(&new)[2], ("volume printer 1000".to_owned(), 7_000));
    // What it can tell by itself it does.
    for want in old.apart() {
        let given = Given { units: 2, wait: Duration::ZERO, full_in: Duration::ZERO };
        want.answered(0, given, at(5));
    }
    spend(&old, WHO, 1, at(5));
    tell(&mut mark, at(5));
    assert_eq!(new.apart()[0].ask().0, 7);
}

#[test]
fn each_quota_comes_together_once_however_many_spend_from_it() {
    let each = [limit("orders", &[per(60, 60)])];
    let shared = (0..50).map(|nth| LimitSpec {
        sharing: Sharing::All,
        ..limit(&format!("shared-{nth}"), &[per(600, 600)])
    });
    let limits: Vec<_> = each.into_iter().chain(shared).collect();
    let all: Vec<LimitIx> = (0..51).map(LimitIx).collect();
    let many: Vec<_> = (0..2_000).map(|nth| (name(&format!("i-{nth}")), all.clone())).collect();
    let quotas = Quotas::build_among(&limits, &many, Among::Several).unwrap();
    for nth in 0..2_000 {
        for (_, want) in quotas.view(IdentityIx(nth), at(0)) {
            if let Some(want) = want {
                want.supply(Supply::Nothing, at(0));
            }
        }
    }
    let apart = quotas.apart();
    assert_eq!(apart.len(), 2_050);
    let labels: std::collections::HashSet<_> = apart.iter().map(Want::label).collect();
    assert_eq!(labels.len(), 2_050);
}
