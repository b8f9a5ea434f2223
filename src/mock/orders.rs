//! Orders, both generations of the API.
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::amazon::not_found;
use super::answer::{Answer, Asked};
use super::world::{MARKETPLACE, Order, World};
use crate::devcerts::base64;

pub(super) fn get_orders(world: &World, asked: &Asked) -> Answer {
    let Some(marketplaces) = asked.query("MarketplaceIds").filter(|ids| !ids.is_empty()) else {
        return Answer::invalid("MarketplaceIds is required.");
    };
    let size = match asked.query("MaxResultsPerPage").map(|text| text.parse()) {
        None => 100,
        Some(Ok(size @ 1..=100)) => size,
        Some(_) => return Answer::invalid("MaxResultsPerPage is 1 to 100."),
    };
    let email = asked.query("BuyerEmail");
    let found: Vec<Order> = world
        .orders()
        .filter(|_| marketplaces.split(',').any(|id| id == MARKETPLACE))
        .filter(|order| email.as_ref().is_none_or(|email| email == order.buyer().email))
        .collect();
    let Some((page, next)) = page(&found, size, asked.query("NextToken").as_deref()) else {
        return Answer::invalid("NextToken is invalid.");
    };
    let orders: Vec<Value> = page.iter().map(Order::v0).collect();
    let mut payload = Map::new();
    payload.insert("Orders".to_owned(), json!(orders));
    payload.insert("CreatedBefore".to_owned(), json!("2026-12-31T00:00:00Z"));
    if let Some(next) = next {
        payload.insert("NextToken".to_owned(), json!(next));
    }
    Answer::json(StatusCode::OK, &json!({ "payload": payload }))
}

pub(super) fn search_orders(world: &World, asked: &Asked) -> Answer {
    let size = match asked.query("maxResultsPerPage").map(|text| text.parse()) {
        None => 100,
        Some(Ok(size @ 1..=100)) => size,
        Some(_) => return Answer::invalid("maxResultsPerPage is 1 to 100."),
    };
    let found: Vec<Order> = world.orders().collect();
    let Some((page, next)) = page(&found, size, asked.query("paginationToken").as_deref()) else {
        return Answer::invalid("paginationToken is invalid.");
    };
    let orders: Vec<Value> = page.iter().map(Order::v2026).collect();
    let pagination = next.map_or_else(|| json!({}), |next| json!({ "nextToken": next }));
    Answer::json(
        StatusCode::OK,
        &json!({
            "orders": orders, "pagination": pagination, "createdBefore": "2026-12-31T00:00:00Z",
        }),
    )
}

/// The operations on one order; `show` makes the body.
pub(super) fn one(world: &World, segments: &[&str], show: fn(&Order) -> Value) -> Answer {
    match segments.get(3).and_then(|id| world.find(id)) {
        Some(order) => Answer::json(StatusCode::OK, &show(&order)),
        None => not_found("The order doesn't exist."),
    }
}

pub(super) fn v0(order: &Order) -> Value {
    json!({ "payload": order.v0() })
}

pub(super) fn v2026(order: &Order) -> Value {
    json!({ "order": order.v2026() })
}

pub(super) fn address(order: &Order) -> Value {
    json!({ "payload": order.address() })
}

pub(super) fn items(order: &Order) -> Value {
    json!({ "payload": { "AmazonOrderId": order.id(), "OrderItems": [order.item()] } })
}

pub(super) fn items_buyer_info(order: &Order) -> Value {
    json!({ "payload": { "AmazonOrderId": order.id(), "OrderItems": [order.item_buyer_info()] } })
}

pub(super) fn buyer_info(order: &Order) -> Value {
    let mut payload = order.buyer_info();
    if let Some(fields) = payload.as_object_mut() {
        fields.insert("AmazonOrderId".to_owned(), json!(order.id()));
    }
    json!({ "payload": payload })
}

/// One page and the token of the next. Tokens are opaque and hold `+`, `/` and `=`, so that whoever
/// decodes them once too often or forgets to encode them is found out.
fn page<'a>(
    found: &'a [Order],
    size: usize,
    token: Option<&str>,
) -> Option<(&'a [Order], Option<String>)> {
    let start = match token {
        None => 0,
        // A token is only ever compared with those that could have been given out.
        Some(token) => (1..found.len()).find(|at| page_token(*at) == token)?,
    };
    let rest = found.get(start..)?;
    let (page, more) = rest.split_at_checked(size).unwrap_or((rest, &[]));
    let next = (!more.is_empty()).then(|| page_token(start + page.len()));
    Some((page, next))
}

fn page_token(start: usize) -> String {
    base64(format!("\u{3ff}\u{3fe}?>~ mock page {start}").as_bytes())
}
