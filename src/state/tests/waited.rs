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
        for want in gateway.returning(WHO, OP, UP, at(now)) {
            self.look_after(&want, now);
        }
    }

    /// In how many milliseconds there is to look again.
    fn look_after(&mut self, want: &Want, now: u64) -> Option<u64> {
        let (back, next) = want.take_unspent(at(now));
        self.full_at_ms = self.full_at_ms.saturating_sub(UNIT * u64::from(back));
        next.map(|next| u64::try_from(next.as_millis()).unwrap())
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
        assert!(one.returning(WHO, OP, UP, at(later)).is_empty(), "once");
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

#[test]
fn mon_2_what_a_burst_fetched_and_did_not_spend_goes_back() {
    let ([one, other], mut bank) = ([gateway(), gateway()], Bank { full_at_ms: 0 });
    let waiting: Vec<_> = (0..40).map(|_| one.begin_waiting(WHO, OP, UP)).collect();
    let [want] = &one.wants(WHO, OP, UP, at(0))[..] else { panic!() };
    bank.answer(want, 0);
    assert_eq!(bank.left(0), 60, "as many as wait");
    assert!(want.begin_return(at(0)));
    assert!(call(&one, &mut bank, 0).is_some());
    // As long as they wait each has its unit, and then one is left for whoever comes.
    assert_eq!((bank.look_after(want, 50), bank.left(50)), (Some(50), 60));
    drop(waiting);
    assert_eq!((bank.look_after(want, 100), bank.left(100)), (Some(4_900), 98));
    assert_eq!((bank.look_after(want, 5_000), bank.left(5_000)), (None, 100));
    assert_eq!(calls(&other, &mut bank, 5_000).len(), 100);
}

#[test]
fn mon_2_a_refused_call_that_nobody_follows_costs_nothing() {
    let (one, mut bank) = (gateway(), Bank { full_at_ms: 0 });
    let started = 1_000_000;
    for turn in 0..300 {
        // Slower than a unit is kept, and than one comes back.
        let (now, refused) = (started + turn * 6_000, started + turn * 6_000 + 10);
        let charged = call(&one, &mut bank, now).unwrap();
        refuse(&one, &[charged], refused);
        let [want] = &one.returning(WHO, OP, UP, at(refused))[..] else { panic!("turn {turn}") };
        assert_eq!(bank.look_after(want, refused + 50), Some(4_940));
        assert_eq!(bank.look_after(want, now + 5_000), None);
        assert_eq!(bank.left(now + 5_000), 100);
    }
}

#[test]
fn mon_2_a_slow_unit_is_there_as_long_as_its_request_waits() {
    let daily = |name, count| limit(name, &[per(count, 86_400)]);
    let limits = [daily("orders", 12), daily("few", 3)];
    let places = vec![LimitIx(0), LimitIx(1)];
    let one = Quotas::build_among(&limits, &[(name("printer"), places)], Among::Several).unwrap();
    let waiting = one.begin_waiting(WHO, OP, UP);
    let wants = one.wants(WHO, OP, UP, at(0));
    let given = |units| Given { units, wait: Duration::ZERO, full_in: Duration::from_secs(28_800) };
    assert_eq!(wants.iter().map(Want::ask).collect::<Vec<_>>(), [(0, 1), (0, 1)]);
    wants[0].answered(0, given(1), at(0));
    assert!(wants[0].begin_return(at(0)));
    // The other one takes its time.
    for now in [50, 100, 400] {
        assert_eq!(wants[0].take_unspent(at(now)), (0, Some(Duration::from_millis(50))));
    }
    wants[1].answered(0, given(1), at(400));
    assert!(one.charge(WHO, OP, UP, at(400)).is_ok());
    drop(waiting);
    assert_eq!(wants[0].take_unspent(at(450)), (0, None));
    // Without anybody who waits it goes back.
    wants[0].answered(0, given(1), at(500));
    assert!(wants[0].begin_return(at(500)));
    assert_eq!(wants[0].take_unspent(at(550)), (1, None));
}

#[test]
fn mon_2_more_units_than_there_can_be_are_not_asked_for() {
    for (count, waits) in [(500, 12), (500, 700), (5, 12)] {
        let limits = [limit("orders", &[per(count, 86_400)])];
        let printer = [(name("printer"), vec![LimitIx(0)])];
        let one = Quotas::build_among(&limits, &printer, Among::Several).unwrap();
        let waiting: Vec<_> = (0..waits).map(|_| one.begin_waiting(WHO, OP, UP)).collect();
        let [want] = &one.wants(WHO, OP, UP, at(0))[..] else { panic!() };
        assert_eq!(want.ask(), (0, waits.min(count)));
        drop(waiting);
        assert_eq!(want.ask(), (0, 1));
    }
}

#[test]
fn mon_2_who_can_t_be_asked_now_is_asked_later_and_who_is_not_there_is_not() {
    let one = gateway();
    let put_off = |now| one.put_off_for(WHO, OP, UP, at(now));
    let [want] = &one.wants(WHO, OP, UP, at(0))[..] else { panic!() };
    assert_eq!(put_off(0), None);
    want.put_off(at(0));
    assert!(one.wants(WHO, OP, UP, at(40)).is_empty());
    assert_eq!(put_off(40), Some(Duration::from_millis(60)));
    assert_eq!((put_off(100), one.wants(WHO, OP, UP, at(100)).len()), (None, 1));
    want.supply(Supply::Nothing, at(100));
    assert!(one.wants(WHO, OP, UP, at(140)).is_empty());
    assert_eq!(put_off(140), None);
}
