//! Listings, stock at Amazon, reports and the seller's marketplaces.
use std::net::SocketAddr;

use http::StatusCode;
use serde_json::{Value, json};

use super::Flow;
use super::amazon::not_found;
use super::answer::{Answer, Asked, decode};
use super::world::{MARKETPLACE, World, mix};

pub(super) fn listings_item(segments: &[&str], asked: &Asked) -> Answer {
    if asked.query("marketplaceIds").is_none_or(|ids| ids.is_empty()) {
        return Answer::invalid("marketplaceIds is required.");
    }
    let sku = decode(segments.last().copied().unwrap_or_default());
    let item = json!({
        "sku": sku,
        "summaries": [{
            "marketplaceId": MARKETPLACE, "asin": "B0MOCK0001", "productType": "LAMP",
            "conditionType": "new_new", "status": ["BUYABLE"], "itemName": "Paper lantern, small",
            "createdDate": "2026-01-01T00:00:00Z", "lastUpdatedDate": "2026-01-02T00:00:00Z",
        }],
        "offers": [{
            "marketplaceId": MARKETPLACE, "offerType": "B2C",
            "price": { "currencyCode": "JPY", "amount": "1980" },
        }],
        "fulfillmentAvailability": [{ "fulfillmentChannelCode": "DEFAULT", "quantity": 12 }],
    });
    Answer::json(StatusCode::OK, &item)
}

pub(super) fn inventory(asked: &Asked) -> Answer {
    for required in ["granularityType", "granularityId", "marketplaceIds"] {
        if asked.query(required).is_none_or(|value| value.is_empty()) {
            return Answer::invalid(&format!("{required} is required."));
        }
    }
    let summaries: Vec<Value> = (0..5_u64)
        .map(|n| {
            json!({
                "asin": format!("B0MOCK{n:04}"), "fnSku": format!("X00MOCK{n:03}"),
                "sellerSku": format!("SKU-{n:04}"), "condition": "NewItem",
                "inventoryDetails": { "fulfillableQuantity": mix(n) % 100 },
                "lastUpdatedTime": "2026-01-02T00:00:00Z",
                "productName": "Paper lantern, small", "totalQuantity": mix(n) % 100,
            })
        })
        .collect();
    Answer::json(
        StatusCode::OK,
        &json!({
            "payload": {
                "granularity": { "granularityType": "Marketplace", "granularityId": MARKETPLACE },
                "inventorySummaries": summaries,
            },
            "pagination": {},
        }),
    )
}

/// The one report that exists lists the orders with their addresses.
const REPORT: &str = "50000018000";
const REPORT_TYPE: &str = "GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING";
const DOCUMENT: &str = "amzn1.spdoc.1.4.fe.mock-0001";

pub(super) fn create_report(asked: &Asked) -> Answer {
    let body = asked.json().unwrap_or_default();
    let typed = body.get("reportType").and_then(Value::as_str).is_some_and(|t| !t.is_empty());
    let placed =
        body.get("marketplaceIds").and_then(Value::as_array).is_some_and(|m| !m.is_empty());
    if !typed || !placed {
        return Answer::invalid("reportType and marketplaceIds are required.");
    }
    Answer::json(StatusCode::ACCEPTED, &json!({ "reportId": REPORT }))
}

pub(super) fn report(segments: &[&str]) -> Answer {
    if segments.last() != Some(&REPORT) {
        return not_found("The report doesn't exist.");
    }
    let report = json!({
        "marketplaceIds": [MARKETPLACE], "reportId": REPORT, "reportType": REPORT_TYPE,
        "createdTime": "2026-01-02T00:00:00Z", "processingStatus": "DONE",
        "processingStartTime": "2026-01-02T00:00:01Z",
        "processingEndTime": "2026-01-02T00:00:05Z", "reportDocumentId": DOCUMENT,
    });
    Answer::json(StatusCode::OK, &report)
}

pub(super) fn report_document(segments: &[&str], address: SocketAddr) -> Answer {
    if segments.last() != Some(&DOCUMENT) {
        return not_found("The document doesn't exist.");
    }
    let url = format!(
        "https://{address}/documents/{DOCUMENT}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=300\
         &X-Amz-Signature=00mock00signature00"
    );
    Answer::json(StatusCode::OK, &json!({ "reportDocumentId": DOCUMENT, "url": url }))
}

pub(super) fn document(world: &World, segments: &[&str]) -> Answer {
    if segments.last() != Some(&DOCUMENT) {
        return Answer::bare(StatusCode::FORBIDDEN);
    }
    let mut text =
        "order-id\tpurchase-date\tbuyer-email\tbuyer-name\trecipient-name\tship-address-1\
                    \tship-city\tship-postal-code\tship-phone-number\n"
            .to_owned();
    for order in world.orders() {
        let buyer = order.buyer();
        let line1 = buyer.lines.first().copied().unwrap_or_default();
        text.push_str(
            &[
                &order.id(),
                &order.created(),
                buyer.email,
                buyer.name,
                buyer.name,
                line1,
                buyer.city,
                buyer.postal_code,
                buyer.phone,
            ]
            .join("\t"),
        );
        text.push('\n');
    }
    Answer::new(StatusCode::OK, "text/plain;charset=UTF-8", Flow::whole(text))
}

pub(super) fn participations() -> Answer {
    let payload = json!([{
        "marketplace": {
            "id": MARKETPLACE, "name": "Amazon.co.jp", "countryCode": "JP",
            "defaultCurrencyCode": "JPY", "defaultLanguageCode": "ja_JP",
            "domainName": "www.amazon.co.jp",
        },
        "participation": { "isParticipating": true, "hasSuspendedListings": false },
        "storeName": "Mock Lantern Store",
    }]);
    Answer::json(StatusCode::OK, &json!({ "payload": payload }))
}
