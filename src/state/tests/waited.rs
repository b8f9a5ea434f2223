//! Calls of several gateways that wait, and are refused after all: nobody's quota is charged for them.
use super::*;

/// A bucket of 100 a minute as the store keeps it, for two gateways.
struct Bank {
    full_at_ms: u64,
}

const UNIT: u64 = 600;

impl Bank {
    const DRAIN: u64 = 100 * UNIT;

    fn charge(&mut self, units: u32, now: u64) {
        let from = self.full_at_ms.max(now) + UNIT * u64::from(units);
        self.full_at_ms = from.min(now + Self::DRAIN);
    }

    fn left(&self, now: u64) -> u32 {
        let missing = self.full_at_ms.saturating_sub(now);
        u32::try_from((Self::DRAIN - missing) / UNIT).unwrap()
    }

    fn answer(&mut self, want: &Want, now: u64) {
        let (told, wanted) = want.ask();
        self.charge(told, now);
        let units = wanted.min(self.left(now).div_ceil(2));
        self.charge(units, now);
        let full_in = self.full_at_ms.saturating_sub(now);
        let next_in = (full_in + UNIT).saturating_sub(Self::DRAIN);
        let [next_in, full_in] = [next_in, full_in].map(Duration::from_millis);
        want.answered(told, Given { units, wait: next_in, full_in }, at(now));
    }

    /// Takes back what a gateway gives back.
    fn take_back(&mut self, gateway: &Quotas, now: u64) {
        for want in gateway.returning(WHO, OP, UP) {
            let back = want.take_unspent(at(now));
            self.full_at_ms = self.full_at_ms.saturating_sub(UNIT * u64::from(back));
        }
    }
}

fn gateway() -> Quotas {
    let limits = [limit("orders", &[per(100, 60)])];
    Quotas::build_among(&limits, &[(name("printer"), vec![LimitIx(0)])], Among::Several).unwrap()
}

/// One call that passes, if there is a unit.
fn call(gateway: &Quotas, bank: &mut Bank, now: u64) -> Option<Charged> {
    for _ in 0..3 {
        match gateway.charge(WHO, OP, UP, at(now)) {
            Ok(charged) => return Some(charged),
            Err(Refused::Unasked(_)) => {
                gateway.wants(WHO, OP, UP, at(now)).iter().for_each(|want| bank.answer(want, now));
            }
            Err(_) => return None,
        }
    }
    None
}

fn calls(gateway: &Quotas, bank: &mut Bank, now: u64) -> Vec<Charged> {
    std::iter::from_fn(|| call(gateway, bank, now)).collect()
}

fn refuse(gateway: &Quotas, waited: &[Charged], now: u64) {
    for charged in waited {
        gateway.give_back(WHO, OP, UP, charged, at(now));
    }
}

#[test]
fn mon_2_what_was_given_and_became_void_while_calls_waited_goes_back_to_the_store() {
    let ([one, other], mut bank) = ([gateway(), gateway()], Bank { full_at_ms: 0 });
    for turn in [0, 1] {
        let (now, later) = (turn * 5_000, (turn + 1) * 5_000);
        let waiting = calls(&one, &mut bank, now);
        assert_eq!(waiting.len(), 100);
        assert_eq!(calls(&other, &mut bank, now).len(), 0);
        refuse(&one, &waiting, later);
        bank.take_back(&one, later);
        assert_eq!(bank.left(later), 100, "they charged nothing");
        assert!(one.returning(WHO, OP, UP).is_empty(), "once");
    }
    assert_eq!(calls(&other, &mut bank, 10_000).len(), 100);
}

#[test]
fn mon_2_no_more_goes_back_than_the_store_lacks() {
    let ([one, other], mut bank) = ([gateway(), gateway()], Bank { full_at_ms: 0 });
    let waiting = calls(&one, &mut bank, 0);
    // Time alone has filled it up by then, and others have spent of it since.
    let spent: Vec<_> = (0..50).filter_map(|_| call(&other, &mut bank, 60_000)).collect();
    assert_eq!(spent.len(), 50);
    let left = bank.left(60_000);
    refuse(&one, &waiting, 60_000);
    bank.take_back(&one, 60_000);
    assert_eq!(bank.left(60_000), left);
    // Nor later than somebody is there to take it.
    let waiting: Vec<_> = (0..20).filter_map(|_| call(&one, &mut bank, 120_000)).collect();
    refuse(&one, &waiting, 126_000);
    assert!(!waiting.is_empty() && bank.left(126_000) < 100);
    bank.take_back(&one, 500_000);
    assert_eq!(bank.left(500_000), 100);
    assert!(call(&other, &mut bank, 500_000).is_some());
    let left = bank.left(500_000);
    bank.take_back(&one, 500_000);
    assert_eq!(bank.left(500_000), left);
}

#[test]
fn mon_2_what_is_refused_in_time_is_spent_here_by_the_next() {
    let (one, mut bank) = (gateway(), Bank { full_at_ms: 0 });
    let waiting = calls(&one, &mut bank, 0);
    refuse(&one, &waiting, 4_000);
    assert!(one.returning(WHO, OP, UP).is_empty());
    assert_eq!(passes(&one, at(4_000)), 100);
}

/// Half of the quota is one gateway's, while the store can't be had.
fn apart(gateway: &Quotas, now: u64) {
    let want = &gateway.wants(WHO, OP, UP, at(now))[0];
    let units = want.units.part(Duration::from_millis(2 * UNIT), 50);
    want.supply(Supply::Part { units, empty_at: at(now) }, at(now));
}

#[test]
fn mon_2_what_waited_and_was_refused_comes_back_whole_to_a_part() {
    let (one, mut bank) = (gateway(), Bank { full_at_ms: 0 });
    apart(&one, 0);
    for turn in [0, 1] {
        let (now, later) = (60_000 + turn * 5_000, 65_000 + turn * 5_000);
        let waiting = calls(&one, &mut bank, now);
        assert_eq!(waiting.len(), 50);
        refuse(&one, &waiting, later);
    }
    assert!(one.apart().iter().all(|want| want.ask().0 == 0), "nothing is owed");
    assert_eq!(passes(&one, at(70_000)), 50);
    assert_eq!(exceeded(&one, at(70_000)).reset, Duration::from_millis(2 * UNIT));
}

#[test]
fn mon_2_what_was_charged_elsewhere_is_no_part_of_this_one() {
    let (one, mut bank) = (gateway(), Bank { full_at_ms: 0 });
    let given = calls(&one, &mut bank, 0);
    assert_eq!(given.len(), 100);
    // A part begins with nothing, and what the store gave does not fill it.
    assert_eq!(passes(&one, at(1_000)), 0);
    apart(&one, 1_000);
    refuse(&one, &given, 6_000);
    assert_eq!(passes(&one, at(6_000)), 4);
    // What was spent of a part and told since is owed to nobody, and is not given back twice.
    let [want] = &one.apart()[..] else { panic!() };
    assert_eq!(want.ask().0, 4);
}
