//! MON-3 on answers as Amazon gives them; all people are invented.
use super::*;
use crate::base::HashKey;

const ORDERS: &str = r#"{"payload":{"NextToken":"abc","Orders":[
 {"AmazonOrderId":"902-1","OrderTotal":{"Amount":"12.5","CurrencyCode":"USD"},"IsPrime":false,
  "BuyerInfo":{"BuyerEmail":"a@example.com","BuyerName":"H\u00e4nsel \"H\" M","BuyerTaxInfo":{"TaxClassifications":[{"Name":"VAT","Value":"12"}]}},
  "ShippingAddress":{"Name":"Hanako","AddressLine1":"1-2-3","AddressLine2":null,"City":"Shibuya","Phone":""}},
 {"BuyerInfo":{"BuyerEmail":"b@example.com"},"AmazonOrderId":"902-2","NumberOfItemsShipped":-1.5e3},
 {"AmazonOrderId":"902-1","BuyerInfo":{"BuyerEmail":"a@example.com"}},
 {"AmazonOrderId":"902-3","BuyerInfo":{},"ShippingAddress":null,"PaymentMethodDetails":[]}
]}}"#;

#[test]
fn mon_3_one_order_is_one_record_however_many_fields_it_shows() {
    let (tally, fault, _) = scan_every_way(&contract_of("orders/v0/getOrders"), ORDERS.as_bytes());
    assert_eq!(fault, None);
    assert_eq!((tally.records, tally.customers, tally.distinct.estimate()), (3, 3, 2));
    assert_eq!(tally.drift, 0);
    assert_eq!(tally.bytes, ORDERS.len() as u64);
    let expect = [
        (Class::Name, 1),
        (Class::Email, 3),
        (Class::Address, 1),
        (Class::AddressCoarse, 1),
        (Class::TaxId, 1),
        (Class::OrderId, 4),
    ];
    assert_eq!(classes(&tally), expect);
}

#[test]
fn mon_3_null_and_empty_reveal_nothing() {
    let text = br#"{"payload":{"AmazonOrderId":"902-1","ShippingAddress":{"Name":null,"City":"",
        "Phone":null,"AddressLine1":""},"BuyerCompanyName":null}}"#;
    let (tally, fault, _) = scan_every_way(&contract_of("orders/v0/getOrderAddress"), text);
    assert_eq!((fault, tally.records, tally.distinct.estimate()), (None, 0, 0));
    assert_eq!(classes(&tally), [(Class::OrderId, 1)]);
}

#[test]
fn mon_3_the_same_order_through_two_operations_is_one_distinct_record() {
    let page = scan(&contract_of("orders/v0/getOrders"), ORDERS.as_bytes()).0;
    let address = br#"{"payload":{"ShippingAddress":{"Name":"Hanako"},"AmazonOrderId":"902-1"}}"#;
    let address = scan_every_way(&contract_of("orders/v0/getOrderAddress"), address).0;
    let mut both = page.distinct.clone();
    both.merge(&address.distinct);
    assert_eq!((address.records, both.estimate()), (1, 2));
}

#[test]
fn mon_3_records_without_an_id_are_told_apart_by_what_they_say() {
    let tree = contract_of("shipping/v2/getUnmanifestedShipments");
    let party = |name: &str, city: &str| {
        format!(
            r#"{{"ownerId":"x","unmanifestedShipmentLocationList":[{{"address":{{"name":"{name}","city":"{city}"}}}}]}}"#
        )
    };
    let text = |parties: &[String]| {
        format!(
            r#"{{"payload":null,"unmanifestedCarrierInformationList":[{}]}}"#,
            parties.join(",")
        )
    };
    let list = text(&[party("A", "B"), party("A", "B"), party("B", "A")]);
    let (tally, fault, _) = scan_every_way(&tree, list.as_bytes());
    assert_eq!((fault, tally.records, tally.distinct.estimate()), (None, 3, 2));
    assert_eq!(tally.customers, 0, "they are the seller's");
}

#[test]
fn mon_3_the_error_envelope_is_read_in_all_its_forms() {
    let tree = contract_of("orders/v0/getOrders");
    for text in [
        r#"{"errors":[{"code":"InvalidInput","message":"no order 902-1","details":"","errorLevel":"ERROR"}]}"#,
        r#"[{"code":"InvalidInput","message":"no order 902-1"}]"#,
        r#"{"code":"InvalidInput","message":"no order 902-1"}"#,
        r#"{"payload":{},"errors":[{"message":"no order 902-1"}]}"#,
    ] {
        let (tally, fault, _) = scan_every_way(&tree, text.as_bytes());
        assert_eq!((fault, tally.records, tally.drift), (None, 0, 0), "{text}");
        assert_eq!(classes(&tally), [(Class::ErrorText, 1)], "{text}");
    }
}

#[test]
fn mon_3_a_map_takes_any_key_and_free_form_any_value() {
    let text = br#"{"payload":{"fulfillmentShipments":[{"fulfillmentShipmentPackage":[{"deliveryInformation":
        {"dropOffLocation":{"type":"NEIGHBOR","attributes":{"of\u00e9":"Mr Tanaka","\ud83d\ude00":""}}}}]}]}}"#;
    let tree = contract_of("fulfillmentOutbound/2020-07-01/getFulfillmentOrder");
    let (tally, fault, _) = scan_every_way(&tree, text);
    assert_eq!((fault, tally.records, tally.drift), (None, 1, 0));
    assert_eq!(classes(&tally), [(Class::FreeText, 1)]);
    let text = br#"{"order":{"destination":{"dropOffLocation":{"attributes":{"who":{"name":["Mr Tanaka"]}}}}}}"#;
    let tree = contract_of("fulfillmentOutbound/2026-07-04/getOrder");
    let (tally, fault, _) = scan_every_way(&tree, text);
    assert_eq!((fault, tally.records, tally.drift), (None, 1, 0));
}

#[test]
fn mon_3_a_contract_that_contains_itself_is_followed_down() {
    let tree = contract_of("finances/2024-06-19/listTransactions");
    let deep = r#"{"payload":{"transactions":[{"breakdowns":[{"breakdowns":[{"breakdowns":[{"breakdownType":"x","new":1}]}]}]}]}}"#;
    let (tally, fault, _) = scan_every_way(&tree, deep.as_bytes());
    // Nothing in it is marked, so that the unknown field in it is not looked for.
    assert_eq!((fault, tally.drift, tally.records), (None, 0, 0));
    let mark = tree.mark_at("payload.transactions[].breakdowns[].breakdowns[].breakdowns[].new");
    assert!(mark.is_outside());
    let known =
        tree.mark_at("payload.transactions[].breakdowns[].breakdowns[].breakdowns[].breakdownType");
    assert!(!known.is_outside());
}

#[test]
fn mon_3_a_scanner_starts_afresh_for_each_answer() {
    let tree = contract_of("orders/v0/getOrders");
    let mut scanner = Scanner::new(Arc::clone(&tree), HashKey::new(KEY));
    assert!(scanner.feed(br#"{"payload":{"Orders":[{"BuyerInfo":{"BuyerEmail":"a@"#).is_ok());
    assert_eq!(scanner.finish().1, Some(Fault::Truncated));
    for _ in 0..2 {
        scanner.start(Arc::clone(&tree));
        assert!(scanner.feed(ORDERS.as_bytes()).is_ok());
        let (tally, fault) = scanner.finish();
        assert_eq!((tally, fault), (&scan(&tree, ORDERS.as_bytes()).0, None));
    }
}
