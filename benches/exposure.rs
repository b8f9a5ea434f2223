//! Counting what a 2 MB page of Orders v0 `getOrders` reveals. Target: 1 GB/s on one core. The same
//! count with `serde_json` and `sonic-rs` stands beside it, and what both take only to read the text.
//! Then what it costs to write a page's tally into the ledger.
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::LazyLock;

use divan::counter::BytesCount;
use sekisho::base::HashKey;
use sekisho::base::{Moment, Name};
use sekisho::exposure::{Class, Ledger, Scanner, contract};
use serde::de::IgnoredAny;

fn main() {
    for (page, count) in [
        (&PAGE, scan as fn(&[u8]) -> Counts),
        (&PRETTY, scan),
        (&PAGE, sonic_value),
        (&PAGE, count_serde_typed),
        (&PAGE, count_sonic_typed),
    ] {
        let (expect, found) = (serde_value(&PAGE), count(page));
        assert_eq!((found.0, found.1, found.2), (expect.0, expect.1, expect.2));
        assert!(found.3.abs_diff(expect.3) * 10 < expect.3, "different: {} {}", found.3, expect.3);
    }
    divan::main();
}

const BYTES: usize = 2_000_000;

/// Invented orders, with every field that the real answer usually has.
static PAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut page = String::from(r#"{"payload":{"Orders":["#);
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    while page.len() < BYTES {
        if !page.ends_with('[') {
            page.push(',');
        }
        order(&mut page, &mut random);
    }
    page.push_str(r#"],"NextToken":"2YgYW55IGNhcm5hbCBwbGVhc3VyZS4","CreatedBefore":"2026-11-20T10:00:00Z"}}"#);
    page.into_bytes()
});

static PRETTY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let value: serde_json::Value = serde_json::from_slice(&PAGE).unwrap_or_default();
    serde_json::to_vec_pretty(&value).unwrap_or_default()
});

fn order(page: &mut String, random: &mut impl FnMut(u64) -> u64) {
    let surnames =
        ["Yamada", "Garc\u{ed}a", "O'Neil", "M\u{fc}ller", "\u{4f50}\u{85e4}", "de la Cruz"];
    let given =
        ["Hanako", "Luis", "Siobhan", "J\u{fc}rgen", "\u{82b1}\u{5b50}", "Ana \\\"Anita\\\""];
    let mut one_of = |words: &[&'static str]| {
        let ix = random(words.len() as u64);
        words.get(usize::try_from(ix).unwrap_or(0)).copied().unwrap_or_default()
    };
    let name = format!("{} {}", one_of(&given), one_of(&surnames));
    let status = one_of(&["Shipped", "Unshipped", "PartiallyShipped"]);
    let id =
        format!("{:03}-{:07}-{:07}", 200 + random(700), random(10_000_000), random(10_000_000));
    let (day, price) = (1 + random(28), random(500_000));
    let _ = write!(
        page,
        r#"{{"AmazonOrderId":"{id}","SellerOrderId":"{id}","PurchaseDate":"2026-10-{day:02}T0{}:14:07Z","LastUpdateDate":"2026-11-{day:02}T1{}:51:40Z","OrderStatus":"{}","FulfillmentChannel":"MFN","SalesChannel":"Amazon.co.jp","ShipServiceLevel":"Std JP Dom_{}","OrderTotal":{{"CurrencyCode":"JPY","Amount":"{}.{:02}"}},"NumberOfItemsShipped":{},"NumberOfItemsUnshipped":{},"PaymentMethod":"Other","PaymentMethodDetails":["CreditCard","GiftCertificate"],"MarketplaceId":"A1VC38T7YXB528","ShipmentServiceLevelCategory":"Standard","OrderType":"StandardOrder","EarliestShipDate":"2026-11-{day:02}T15:00:00Z","LatestShipDate":"2026-11-{day:02}T14:59:59Z","EarliestDeliveryDate":"2026-11-{day:02}T15:00:00Z","LatestDeliveryDate":"2026-11-{day:02}T14:59:59Z","IsBusinessOrder":{},"IsPrime":false,"IsPremiumOrder":false,"IsGlobalExpressEnabled":false,"ReplacedOrderId":null,"IsReplacementOrder":"false","IsEstimatedShipDateSet":true,"IsSoldByAB":false,"IsIBA":false,"#,
        random(10),
        random(10),
        status,
        random(9),
        price / 100,
        price % 100,
        random(4),
        random(4),
        random(5) == 0,
    );
    let _ = write!(
        page,
        r#""DefaultShipFromLocationAddress":{{"Name":"Example Store KK","AddressLine1":"2-{}-1 Shimomeguro","City":"Meguro","StateOrRegion":"Tokyo","PostalCode":"153-0064","CountryCode":"JP","Phone":"+81 3 5550 0{:03}","AddressType":"Commercial"}},"IsISPU":false,"IsAccessPointOrder":{},"ShippingAddress":{{"Name":"{name}","AddressLine1":"{}-{}-{} Dogenzaka","AddressLine2":"","AddressLine3":null,"City":"Shibuya-ku","StateOrRegion":"Tokyo","PostalCode":"150-{:04}","CountryCode":"JP","Phone":"+81 90 5550 {:04}","AddressType":"Residential","ExtendedFields":{{"StreetName":"Dogenzaka","StreetNumber":"{}"}}}},"BuyerInfo":{{"BuyerEmail":"{:x}@marketplace.example.com","BuyerName":"{name}","BuyerTaxInfo":{{"CompanyLegalName":"","TaxingRegion":"JP","TaxClassifications":[{{"Name":"VATNumber","Value":"T{:013}"}}]}},"PurchaseOrderNumber":"PO-{}"}},"AutomatedShippingSettings":{{"HasAutomatedShippingSettings":false}},"HasRegulatedItems":false,"ElectronicInvoiceStatus":"NotRequired"}}"#,
        random(9),
        random(1000),
        random(8) == 0,
        random(30),
        random(30),
        random(30),
        random(10_000),
        random(10_000),
        random(100),
        random(u64::from(u32::MAX)) << 16,
        random(1_000_000_000),
        random(100_000),
    );
}

/// Records, with an address, with an email address, different ones.
type Counts = (u64, u64, u64, u64);

fn scanner() -> Scanner {
    let Some(tree) = contract("orders/v0/getOrders") else { std::process::abort() };
    Scanner::new(tree, HashKey::new([7; 16]))
}

fn scan(page: &[u8]) -> Counts {
    let mut scanner = scanner();
    let _ = scanner.feed(page);
    let (tally, fault) = scanner.finish();
    assert_eq!((fault, tally.drift), (None, 0));
    let of = |class| tally.by_class.of(class);
    (tally.records, of(Class::Address), of(Class::Email), tally.distinct.estimate())
}

macro_rules! count_value {
    ($name:ident, $library:ident) => {
        fn $name(page: &[u8]) -> Counts {
            use $library::Value;
            #[allow(unused_imports, reason = "a trait of one of the two")]
            use $library::*;
            let page: Value = $library::from_slice(page).unwrap_or_else(|_| std::process::abort());
            let text = |order: &Value, path: &[&str]| {
                let mut at = order;
                for step in path {
                    match at.get(*step) {
                        Some(next) => at = next,
                        None => return false,
                    }
                }
                at.as_str().is_some_and(|text| !text.is_empty())
            };
            let mut seen = std::collections::HashSet::new();
            let (mut records, mut addresses, mut emails) = (0, 0, 0);
            let orders = page.get("payload").and_then(|payload| payload.get("Orders"));
            for order in orders.and_then(|orders| orders.as_array()).into_iter().flatten() {
                let address = text(order, &["ShippingAddress", "AddressLine1"])
                    || text(order, &["DefaultShipFromLocationAddress", "AddressLine1"]);
                let email = text(order, &["BuyerInfo", "BuyerEmail"]);
                records += u64::from(address || email);
                addresses += u64::from(address);
                emails += u64::from(email);
                seen.insert(
                    order.get("AmazonOrderId").and_then(|id| id.as_str()).map(str::to_owned),
                );
            }
            (records, addresses, emails, seen.len() as u64)
        }
    };
}
count_value!(serde_value, serde_json);
count_value!(sonic_value, sonic_rs);

/// Only what is asked for is kept; the rest is read and dropped.
mod typed {
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub struct Page<'a> {
        #[serde(borrow)]
        pub payload: Payload<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub struct Payload<'a> {
        #[serde(borrow)]
        pub orders: Vec<Order<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub struct Order<'a> {
        pub amazon_order_id: &'a str,
        #[serde(borrow)]
        pub shipping_address: Address<'a>,
        #[serde(borrow)]
        pub default_ship_from_location_address: Address<'a>,
        #[serde(borrow)]
        pub buyer_info: Buyer<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub struct Address<'a> {
        #[serde(borrow)]
        pub address_line1: std::borrow::Cow<'a, str>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub struct Buyer<'a> {
        #[serde(borrow)]
        pub buyer_email: std::borrow::Cow<'a, str>,
    }
}

fn count_typed(page: &typed::Page<'_>) -> Counts {
    let mut seen = std::collections::HashSet::new();
    let (mut records, mut addresses, mut emails) = (0, 0, 0);
    for order in &page.payload.orders {
        let address = !order.shipping_address.address_line1.is_empty()
            || !order.default_ship_from_location_address.address_line1.is_empty();
        let email = !order.buyer_info.buyer_email.is_empty();
        records += u64::from(address || email);
        addresses += u64::from(address);
        emails += u64::from(email);
        seen.insert(order.amazon_order_id);
    }
    (records, addresses, emails, seen.len() as u64)
}

fn count_serde_typed(page: &[u8]) -> Counts {
    count_typed(&serde_json::from_slice(page).unwrap_or_else(|_| std::process::abort()))
}

fn count_sonic_typed(page: &[u8]) -> Counts {
    count_typed(&sonic_rs::from_slice(page).unwrap_or_else(|_| std::process::abort()))
}

/// As a proxy gets it: 0 stands for all at once.
#[divan::bench(args = [0, 65_536, 16_384, 1_460])]
fn exposure(bencher: divan::Bencher<'_, '_>, chunk: usize) {
    let Some(tree) = contract("orders/v0/getOrders") else { std::process::abort() };
    let mut scanner = scanner();
    let size = if chunk == 0 { usize::MAX } else { chunk };
    bencher.counter(BytesCount::new(PAGE.len())).bench_local(|| {
        scanner.start(tree.clone());
        for chunk in black_box(&*PAGE).chunks(size) {
            let _ = scanner.feed(chunk);
        }
        scanner.finish().0.records
    });
}

#[divan::bench]
fn exposure_with_line_breaks(bencher: divan::Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(PRETTY.len())).bench(|| scan(black_box(&PRETTY)));
}

#[divan::bench]
fn serde_json_value(bencher: divan::Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(PAGE.len())).bench(|| serde_value(black_box(&PAGE)));
}

#[divan::bench]
fn serde_json_typed(bencher: divan::Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(PAGE.len())).bench(|| count_serde_typed(black_box(&PAGE)));
}

#[divan::bench]
fn serde_json_read_only(bencher: divan::Bencher<'_, '_>) {
    bencher
        .counter(BytesCount::new(PAGE.len()))
        .bench(|| serde_json::from_slice::<IgnoredAny>(black_box(&PAGE)).is_ok());
}

#[divan::bench]
fn sonic_rs_value(bencher: divan::Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(PAGE.len())).bench(|| sonic_value(black_box(&PAGE)));
}

#[divan::bench]
fn sonic_rs_typed(bencher: divan::Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(PAGE.len())).bench(|| count_sonic_typed(black_box(&PAGE)));
}

#[divan::bench]
fn sonic_rs_read_only(bencher: divan::Bencher<'_, '_>) {
    bencher
        .counter(BytesCount::new(PAGE.len()))
        .bench(|| sonic_rs::from_slice::<IgnoredAny>(black_box(&PAGE)).is_ok());
}

/// A tally of 1,035 orders, into the current hours of 10,000 identities in turn.
#[divan::bench(sample_count = 200, sample_size = 50)]
fn ledger_record(bencher: divan::Bencher<'_, '_>) {
    let mut scanner = scanner();
    let _ = scanner.feed(&PAGE);
    let (tally, _) = scanner.finish();
    let name = |text: &str| Name::parse(text).unwrap_or_else(|_| std::process::abort());
    let identities: Vec<_> = (0..10_000).map(|n| name(&format!("service-{n}"))).collect();
    let operation = name("orders/v0/getOrders");
    let mut ledger = Ledger::new(256 << 20);
    let now = Moment::new(1_800_000_000_000, 0);
    let mut next = identities.iter().cycle();
    bencher.bench_local(|| {
        if let Some(identity) = next.next() {
            ledger.record(identity, &operation, now, tally);
        }
    });
}
