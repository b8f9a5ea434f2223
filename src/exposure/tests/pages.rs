//! The ledger in pages: what is written and read again is the same ledger.
use proptest::prelude::*;

use super::*;
use crate::base::{Moment, Name};

const HOUR_MS: u64 = 3_600_000;
/// 2026-11-20, 00:00 UTC.
const START: u64 = 498_696;
const ROOM: usize = 50_000_000;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn at(hour: u64) -> Moment {
    Moment::new(hour * HOUR_MS, 0)
}

fn tally(order: u32) -> Tally {
    let text = format!(
        r#"{{"payload":{{"Orders":[{{"AmazonOrderId":"{order}","BuyerInfo":{{"BuyerEmail":"x"}}}}]}}}}"#
    );
    scan(&contract_of("orders/v0/getOrders"), text.as_bytes()).0
}

/// All cells, with whose they are.
fn cells(ledger: &Ledger) -> Vec<(Name, Name, Hour, Cell)> {
    let mut all = Vec::new();
    for (identity, operation) in ledger.series() {
        let range = Range {
            identity: Some(identity),
            operation: Some(operation),
            from: Hour(0),
            until: Hour(u32::MAX),
        };
        ledger.visit(range, |hour, _, cell| {
            all.push((identity.clone(), operation.clone(), hour, cell.clone()));
        });
    }
    all
}

/// What a store holds.
type Shelf = std::collections::BTreeMap<(Name, Name, Hour), Vec<u8>>;

fn save(ledger: &mut Ledger, shelf: &mut Shelf) -> usize {
    let pages = ledger.take_changed(usize::MAX);
    for page in &pages {
        let key = (page.identity.clone(), page.operation.clone(), page.from);
        match ledger.page(page) {
            bytes if bytes.is_empty() => drop(shelf.remove(&key)),
            bytes => drop(shelf.insert(key, bytes)),
        }
    }
    pages.len()
}

fn load(shelf: &Shelf) -> Ledger {
    let mut ledger = Ledger::new(ROOM);
    for page in shelf.values() {
        ledger.take_page(page).unwrap();
    }
    assert!(ledger.take_changed(1).is_empty(), "what was read need not be written");
    ledger
}

proptest! {
    #[test]
    fn mon_3_the_ledger_survives_a_restart_at_any_moment(
        steps in proptest::collection::vec((0_u64..60, 0_u32..40, 0_usize..3, 0_u8..4), 1..80),
    ) {
        let (mut ledger, mut shelf, mut hour) = (Ledger::new(ROOM), Shelf::new(), START);
        for (later, order, who, then) in steps {
            hour += later;
            let who = name(["printer", "support", "erp"][who]);
            ledger.record(&who, &name("orders/v0/getOrders"), at(hour), &tally(order));
            match then {
                0 => ledger.compact(at(hour)),
                1 => drop(save(&mut ledger, &mut shelf)),
                2 => {
                    save(&mut ledger, &mut shelf);
                    ledger = load(&shelf);
                }
                _ => {}
            }
        }
        save(&mut ledger, &mut shelf);
        prop_assert_eq!(cells(&load(&shelf)), cells(&ledger));
        prop_assert_eq!(shelf.len(), cells(&ledger).len(), "no page is left behind");
    }

    #[test]
    fn a_damaged_page_is_refused_and_the_others_are_not(flip in 0_usize..4_000, cut in 0_usize..500) {
        let (mut ledger, mut shelf) = (Ledger::new(ROOM), Shelf::new());
        for hour in 0..3 {
            ledger.record(&name("printer"), &name("orders/v0/getOrders"), at(START + hour), &tally(1));
        }
        prop_assert_eq!(save(&mut ledger, &mut shelf), 3);
        let mut pages: Vec<Vec<u8>> = shelf.into_values().collect();
        let whole = pages[1].clone();
        pages[1][flip / 8 % whole.len()] ^= 1 << (flip % 8);
        let mut read = Ledger::new(ROOM);
        let taken: Vec<_> = pages.iter().map(|page| read.take_page(page).is_ok()).collect();
        prop_assert_eq!(taken, [true, false, true]);
        prop_assert!(read.take_page(&whole[..cut % whole.len()]).is_err());
        prop_assert_eq!(cells(&read).len(), 2);
        let newer = [&[9][..], &whole[1..]].concat();
        prop_assert_eq!(read.take_page(&newer), Err(LedgerFault::Version));
    }
}

#[test]
fn a_busy_hour_is_told_once_until_it_is_asked_for() {
    let mut ledger = Ledger::new(ROOM);
    let (who, what) = (name("printer"), name("orders/v0/getOrders"));
    for order in 0..100 {
        ledger.record(&who, &what, at(START), &tally(order));
    }
    assert_eq!(ledger.take_changed(9).len(), 1);
    assert!(ledger.take_changed(9).is_empty());
    ledger.record(&who, &what, at(START), &tally(1));
    let [page] = &ledger.take_changed(9)[..] else { panic!() };
    assert_eq!((page.from.0, &page.identity), (u32::try_from(START).unwrap(), &who));
    assert!(ledger.page(page).len() < 2_048);
    let gone = PageId { from: Hour(7), ..page.clone() };
    assert!(ledger.page(&gone).is_empty());
}

#[test]
fn mon_3_what_two_processes_reveal_at_once_adds_up() {
    let (printer, orders) = (name("printer"), name("orders/getOrders"));
    let mut whole = Ledger::new(ROOM);
    let (mut stays, mut goes) = (Ledger::new(ROOM), Ledger::new(ROOM));
    for (number, hour) in [(1, START), (2, START), (3, START + 1), (1, START + 1)] {
        whole.record(&printer, &orders, at(hour), &tally(number));
        let own = if number == 2 { &mut stays } else { &mut goes };
        own.record(&printer, &orders, at(hour), &tally(number));
    }
    stays.take_changed(usize::MAX);
    for page in goes.take_changed(usize::MAX) {
        stays.add_page(&goes.page(&page)).unwrap();
    }
    assert_eq!(cells(&stays), cells(&whole));
    assert_eq!(stays.take_changed(usize::MAX).len(), 2, "to be written down");
    // Into a day that is not told by the hour any more.
    let later = at(START + 24 * 40);
    stays.compact(later);
    whole.compact(later);
    let mut late = Ledger::new(ROOM);
    late.record(&printer, &orders, at(START + 5), &tally(9));
    whole.record(&printer, &orders, at(START + 5), &tally(9));
    for page in late.take_changed(usize::MAX) {
        stays.add_page(&late.page(&page)).unwrap();
    }
    assert_eq!(cells(&stays), cells(&whole));
    assert_eq!(stays.add_page(b""), Err(LedgerFault::Damaged));
}
