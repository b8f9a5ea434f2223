//! The ledger beside a slow one that keeps every answer.
use proptest::prelude::*;

use super::*;
use crate::base::{Moment, Name};

const HOUR_MS: u64 = 3_600_000;
const YEAR: u64 = 365 * 24;
/// 2026-11-20, 00:00 UTC.
const START: u64 = 498_696;
const ROOM: usize = 50_000_000;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn at(hour: u64) -> Moment {
    Moment::new(hour * HOUR_MS + 1_234_567, 0)
}

fn hour(hour: u64) -> Hour {
    Hour::of(at(hour))
}

/// An answer with these orders.
fn tally(orders: &[u32]) -> Tally {
    let orders: Vec<_> = orders
        .iter()
        .map(|n| format!(r#"{{"AmazonOrderId":"{n}","BuyerInfo":{{"BuyerEmail":"{n}@x"}}}}"#))
        .collect();
    let text = format!(r#"{{"payload":{{"Orders":[{}]}}}}"#, orders.join(","));
    scan(&contract_of("orders/v0/getOrders"), text.as_bytes()).0
}

fn all<'a>() -> Range<'a> {
    Range { identity: None, operation: None, from: Hour(0), until: Hour(u32::MAX) }
}

#[test]
fn mon_3_the_ledger_answers_who_saw_how_much_when() {
    let mut ledger = Ledger::new(ROOM);
    let (printer, support) = (name("label-printer"), name("support"));
    let (page, address) = (name("orders/v0/getOrders"), name("orders/v0/getOrderAddress"));
    ledger.record(&printer, &page, at(START), &tally(&[1, 2, 3]));
    ledger.record(&printer, &page, at(START), &tally(&[3, 4]));
    ledger.record(&printer, &page, at(START + 1), &tally(&[4, 5]));
    ledger.record(&printer, &address, at(START + 1), &tally(&[5, 6]));
    ledger.record(&support, &page, at(START + 1), &tally(&[1]));
    let ask = |identity, operation, from, until| {
        let range = Range { identity, operation, from: hour(from), until: hour(until) };
        let sum = ledger.sum(range);
        (sum.requests, sum.records, sum.by_class.of(Class::Email), sum.distinct.estimate())
    };
    assert_eq!(ask(None, None, START, START + 2), (5, 10, 10, 6));
    assert_eq!(ask(Some(&printer), None, START, START + 2), (4, 9, 9, 6));
    assert_eq!(ask(Some(&printer), Some(&page), START, START + 2), (3, 7, 7, 5));
    assert_eq!(ask(Some(&printer), Some(&page), START, START + 1), (2, 5, 5, 4));
    assert_eq!(ask(Some(&support), None, START, START + 1), (0, 0, 0, 0));
    assert_eq!(ask(None, Some(&address), START, START + 2), (1, 2, 2, 2));
    let mut seen = Vec::new();
    ledger.visit(all(), |hour, span, cell| seen.push((hour.0, span, cell.requests)));
    let start = u32::try_from(START).unwrap();
    let hourly = |after, requests| (start + after, Span::Hour, requests);
    assert_eq!(seen, [hourly(1, 1), hourly(0, 2), hourly(1, 1), hourly(1, 1)]);
}

#[test]
fn mon_3_hours_become_days_and_days_go_after_400() {
    let mut ledger = Ledger::new(ROOM);
    let (who, what) = (name("a"), name("b"));
    for n in 0..YEAR + 100 * 24 {
        if n % 7 == 0 {
            ledger.record(&who, &what, at(START + n), &tally(&[u32::try_from(n / 100).unwrap()]));
        }
        ledger.compact(at(START + n));
    }
    let now = START + YEAR + 100 * 24 - 1;
    let (mut days, mut hours) = (0, 0);
    let mut oldest = None;
    ledger.visit(all(), |from, span, _| {
        oldest = oldest.or(Some(from));
        match span {
            Span::Day => days += 1,
            Span::Hour => hours += 1,
        }
    });
    assert_eq!(oldest, Some(Hour::of(at((now / 24 - 400) * 24))));
    assert_eq!(days, 365, "one for each day that is older than 35");
    assert!((35 * 24 / 7..=36 * 24 / 7 + 1).contains(&hours), "{hours}");
    let kept = ledger.sum(all());
    assert!(kept.requests.abs_diff(400 * 24 / 7) <= 4, "{}", kept.requests);
    assert!(kept.distinct.estimate().abs_diff(400 * 24 / 100) <= 2);
    assert_eq!(ledger.lost(), 0);
}

#[test]
fn mon_3_a_clock_that_jumps_neither_hides_nor_erases_a_year() {
    let (who, what) = (name("a"), name("b"));
    let mut ledger = Ledger::new(ROOM);
    for day in 0..300 {
        ledger.record(&who, &what, at(START + day * 24), &tally(&[1]));
        ledger.compact(at(START + day * 24));
    }
    // Two years ahead for three hours: three days go at most.
    let now = START + 300 * 24;
    for n in 0..3 {
        ledger.compact(at(now + 2 * YEAR + n));
    }
    let left = ledger.sum(all()).requests;
    assert!((297..=300).contains(&left), "{left}");
    // Back before everything: counted, and not forgotten by the next compaction.
    ledger.record(&who, &what, Moment::new(0, 0), &tally(&[2]));
    ledger.compact(at(now));
    ledger.compact(Moment::new(0, 0));
    assert_eq!(ledger.sum(all()).requests, left + 1);
    // A process that starts with a clock two years ahead: the same.
    let stored = ledger.encode(&who, &what).unwrap();
    let mut restarted = Ledger::new(ROOM);
    restarted.decode(&who, &what, &stored).unwrap();
    restarted.compact(at(now + 2 * YEAR));
    assert!(restarted.sum(all()).requests >= left - 1);
    ledger.record(&who, &what, Moment::new(u64::MAX, 0), &tally(&[2]));
    ledger.compact(Moment::new(u64::MAX, 0));
    assert!(ledger.encode(&who, &what).is_some());
}

#[test]
fn mon_3_the_ledger_keeps_to_its_bound_and_says_what_it_lost() {
    let mut ledger = Ledger::new(200_000);
    let what = name("orders/v0/getOrders");
    let one = tally(&(0..50).collect::<Vec<_>>());
    let mut recorded = 0;
    for n in 0..2_000_u64 {
        let who = name(&format!("service-{}", n % 40));
        ledger.record(&who, &what, at(START + n * 6), &one);
        recorded += 1;
        assert!(ledger.bytes() <= 200_000, "{}", ledger.bytes());
    }
    assert!(ledger.lost() > 0);
    let mut oldest = None;
    ledger.visit(all(), |from, _, _| oldest = oldest.map_or(Some(from), |old| Some(from.min(old))));
    assert!(oldest > Some(hour(START + 24)), "the oldest went first");
    let left = ledger.sum(all()).requests;
    assert!(left < recorded && left > 200, "{left}");
    // All of one day: only what does not fit goes.
    let mut ledger = Ledger::new(200_000);
    for n in 0..2_000 {
        ledger.record(&name(&format!("service-{n}")), &what, at(START), &one);
    }
    assert!(ledger.bytes() <= 200_000 && ledger.bytes() > 100_000, "{}", ledger.bytes());
    // Too small for anything: empty, not endless.
    let mut none = Ledger::new(0);
    none.record(&name("a"), &what, at(START), &one);
    assert_eq!((none.bytes(), none.lost()), (0, 1));
}

/// What is written down leaves memory when it is full, and is lost to nobody.
#[test]
fn mon_3_what_leaves_memory_stays_in_the_store_for_its_400_days() {
    let mut ledger = Ledger::new(200_000);
    let what = name("orders/v0/getOrders");
    let one = tally(&(0..50).collect::<Vec<_>>());
    let mut store = std::collections::BTreeMap::new();
    for n in 0..4_000_u64 {
        let who = name(&format!("service-{}", n % 40));
        ledger.record(&who, &what, at(START + n / 4), &one);
        ledger.compact(at(START + n / 4));
        for page in ledger.take_changed(usize::MAX) {
            let value = ledger.page(&page);
            let key = (page.identity, page.from);
            if value.is_empty() {
                store.remove(&key)
            } else {
                store.insert(key, value)
            };
        }
        assert!(ledger.bytes() <= 200_000, "{}", ledger.bytes());
    }
    assert_eq!(ledger.lost(), 0);
    let floor = ledger.floor();
    assert!(floor > hour(START) && floor.0.is_multiple_of(24));
    let mut requests = ledger.sum(all()).requests;
    assert!(requests < 4_000);
    for ((_, from), page) in &store {
        Page::read(page).unwrap().visit(|_, _, cell| {
            requests += if *from < floor { cell.requests } else { 0 };
        });
    }
    assert_eq!(requests, 4_000, "memory from the floor on, and the store before it");
    // A process that starts takes back what there is room for, and no more.
    let mut read = Ledger::new(200_000);
    for page in store.values() {
        read.take_page(page).unwrap();
        assert!(read.bytes() <= 200_000);
    }
    assert_eq!(
        (read.lost(), read.take_changed(9).len()),
        (0, 0),
        "nothing is taken out of the store"
    );
    let mut requests = read.sum(all()).requests;
    for ((_, from), page) in &store {
        Page::read(page).unwrap().visit(|_, _, cell| {
            requests += if *from < read.floor() { cell.requests } else { 0 };
        });
    }
    assert_eq!(requests, 4_000);
    // A clock that is set back does not write over what is in the store.
    read.record(&name("service-1"), &what, at(START), &one);
    assert!(read.take_changed(9).iter().all(|page| page.from >= read.floor()));
}

#[test]
fn mon_3_hours_in_the_store_become_days_there() {
    let mut ledger = Ledger::new(ROOM);
    let (who, what) = (name("a"), name("b"));
    for n in [3, 3, 7, 20] {
        ledger.record(&who, &what, at(START + n), &tally(&[1, 2]));
    }
    let pages: Vec<_> = ledger.take_changed(9).iter().map(|page| ledger.page(page)).collect();
    let hours: Vec<_> = pages.iter().map(|page| Page::read(page).unwrap()).collect();
    assert!(hours.len() == 3 && !hours.iter().any(Page::is_day));
    let day = Page::read(&Page::fold(&hours).unwrap()).unwrap();
    assert!(day.is_day());
    let mut cells = Vec::new();
    day.visit(|from, span, cell| cells.push((from, span, cell.clone())));
    assert_eq!(cells, [(hour(START), Span::Day, ledger.sum(all()))]);
    assert_eq!(Page::fold(&[]), None);
}

#[test]
fn mon_3_what_nobody_could_read_is_entered_as_what_it_may_hold() {
    let mut ledger = Ledger::new(ROOM);
    let (who, what) = (name("a"), name("b"));
    let unread = Tally { bytes: 6_400, unread: 6_400, ..Tally::default() };
    ledger.record(&who, &what, at(START), &unread);
    ledger.record(&who, &what, at(START), &tally(&[1]));
    ledger.record(&who, &what, at(START + 1), &tally(&[1]));
    let sum = ledger.sum(all());
    assert_eq!((sum.requests, sum.records, sum.unread), (3, 2, 100));
    let pages = ledger.take_changed(9);
    let bytes: Vec<_> = pages.iter().map(|page| ledger.page(page)).collect();
    let mut read = Ledger::new(ROOM);
    for page in &bytes {
        read.take_page(page).unwrap();
    }
    assert_eq!(read.sum(all()), sum);
    // Where there is nothing of the kind the bytes are those of before.
    let stored = |n: usize| {
        let mut one = Ledger::new(ROOM);
        one.take_page(&bytes[n]).unwrap();
        one.encode(&who, &what).unwrap()[0]
    };
    assert_eq!([stored(0), stored(1)], [2, 1]);
}

#[test]
fn mon_3_a_cell_takes_little_space() {
    let (who, what) = (name("a"), name("b"));
    let size = |orders: u32| {
        let mut ledger = Ledger::new(ROOM);
        ledger.record(&who, &what, at(START), &tally(&(0..orders).collect::<Vec<_>>()));
        ledger.encode(&who, &what).unwrap().len()
    };
    let sizes = [0, 1, 10, 100, 1_000].map(size);
    assert!(sizes[0] <= 30 && sizes[1] <= 40 && sizes[2] <= 80, "{sizes:?}");
    assert!(sizes[3] <= 460 && sizes[4] <= 1_700, "{sizes:?}");
}

/// Identity, operation, hour after the start, orders.
fn answers() -> impl Strategy<Value = Vec<(u8, u8, u64, Vec<u32>)>> {
    let one = (0_u8..3, 0_u8..2, 0_u64..2_500, prop::collection::vec(0_u32..900, 0..30));
    prop::collection::vec(one, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// In any order of time, folded whenever: no sum changes, but that days count whole.
    #[test]
    fn mon_3_sums_are_those_of_all_answers(
        answers in answers(),
        compactions in prop::collection::vec(0_usize..60, 0..6),
        from in 0_u64..2_500,
        length in 0_u64..2_500,
    ) {
        let mut ledger = Ledger::new(ROOM);
        let names: Vec<_> = ["a", "b", "c"].map(name).into();
        for (n, (who, what, after, orders)) in answers.iter().enumerate() {
            let (who, what) = (&names[usize::from(*who)], &names[usize::from(*what)]);
            ledger.record(who, what, at(START + after), &tally(orders));
            if compactions.contains(&n) {
                ledger.compact(at(START + 2_500));
            }
        }
        // Through the store and back.
        let mut restored = Ledger::new(ROOM);
        for (who, what) in ledger.series() {
            restored.decode(who, what, &ledger.encode(who, what).unwrap()).unwrap();
        }
        for who in [None, Some(0_u8), Some(2)] {
            let identity = who.map(|who| &names[usize::from(who)]);
            let (first, last) = (from / 24 * 24, (from + length).div_ceil(24) * 24);
            let range = Range { identity, operation: None, from: hour(START + first), until: hour(START + last) };
            let mut expect = Cell::default();
            for (own, _, after, orders) in &answers {
                if who.is_none_or(|who| who == *own) && (first..last).contains(after) {
                    expect.add(&tally(orders));
                }
            }
            prop_assert_eq!(&ledger.sum(range), &expect);
            prop_assert_eq!(&restored.sum(range), &expect);
        }
    }

    #[test]
    fn mon_3_a_damaged_series_is_refused(
        answers in answers(),
        at_byte in any::<usize>(),
        bit in 0_u32..8,
        noise in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut ledger = Ledger::new(ROOM);
        let (who, what) = (name("a"), name("b"));
        for (_, _, after, orders) in &answers {
            ledger.record(&who, &what, at(START + after), &tally(orders));
        }
        let mut read = Ledger::new(ROOM);
        let fault = read.decode(&who, &what, &noise).err();
        prop_assert!(fault.is_some());
        let Some(good) = ledger.encode(&who, &what) else { return Ok(()) };
        let place = at_byte % good.len();
        let mut bad = good.clone();
        bad[place] ^= 1 << bit;
        let expect = if bad[0] > 2 { LedgerFault::Version } else { LedgerFault::Damaged };
        prop_assert_eq!(read.decode(&who, &what, &bad), Err(expect));
        prop_assert_eq!(read.decode(&who, &what, &good[..place]), Err(LedgerFault::Damaged));
        prop_assert_eq!(read.series().count(), 0);
    }

    /// Bytes with a right sum but made up: a cell or nothing, and what is a cell is written back as
    /// it was.
    #[test]
    fn mon_3_a_packed_cell_has_one_spelling(bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..40)) {
        if let Some(cell) = Cell::unpack(&bytes) {
            let mut out = Vec::new();
            cell.pack(&mut out);
            prop_assert_eq!(out, bytes);
        }
    }
}
