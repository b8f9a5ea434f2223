//! Amazon's side of the conversation: which operation is meant, and what every operation checks first.
use http::{HeaderName, Method, StatusCode, Version, header};

use super::answer::{Answer, Asked};
use super::server::Shared;
use super::{Rate, Throttling, orders, selling, tokens};
use crate::base::Moment;

/// What the mock can be asked. Named as in the SP-API catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    GetOrders,
    GetOrderV0,
    GetOrderItems,
    GetOrderBuyerInfo,
    GetOrderAddress,
    GetOrderItemsBuyerInfo,
    SearchOrders,
    GetOrder2026,
    GetListingsItem,
    GetInventorySummaries,
    CreateReport,
    GetReport,
    GetReportDocument,
    GetMarketplaceParticipations,
    CreateRestrictedDataToken,
    LwaToken,
    /// What a report document's pre-signed URL points to; at Amazon that is another host.
    Download,
    GetStock,
    PutStock,
    DownloadBytes,
    Upload,
    WebSocket,
    /// A document that a test has put there.
    Document,
    Unknown,
}

impl Operation {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetOrders => "orders/getOrders",
            Self::GetOrderV0 => "orders/v0/getOrder",
            Self::GetOrderItems => "orders/getOrderItems",
            Self::GetOrderBuyerInfo => "orders/getOrderBuyerInfo",
            Self::GetOrderAddress => "orders/getOrderAddress",
            Self::GetOrderItemsBuyerInfo => "orders/getOrderItemsBuyerInfo",
            Self::SearchOrders => "orders/searchOrders",
            Self::GetOrder2026 => "orders/2026-01-01/getOrder",
            Self::GetListingsItem => "listingsItems/getListingsItem",
            Self::GetInventorySummaries => "fbaInventory/getInventorySummaries",
            Self::CreateReport => "reports/createReport",
            Self::GetReport => "reports/getReport",
            Self::GetReportDocument => "reports/getReportDocument",
            Self::GetMarketplaceParticipations => "sellers/getMarketplaceParticipations",
            Self::CreateRestrictedDataToken => "tokens/createRestrictedDataToken",
            Self::LwaToken => "lwa/token",
            Self::Download => "documents/download",
            Self::GetStock => "warehouse/getStock",
            Self::PutStock => "warehouse/putStock",
            Self::DownloadBytes => "warehouse/download",
            Self::Upload => "warehouse/upload",
            Self::WebSocket => "warehouse/ws",
            Self::Document => "document",
            Self::Unknown => "unknown",
        }
    }

    /// Amazon's default rate for it.
    #[must_use]
    pub const fn rate(self) -> Option<Rate> {
        let (per_second, burst) = match self {
            Self::GetOrders => (0.0167, 20),
            Self::GetOrderV0
            | Self::GetOrderItems
            | Self::GetOrderBuyerInfo
            | Self::GetOrderAddress
            | Self::GetOrderItemsBuyerInfo
            | Self::GetOrder2026 => (0.5, 30),
            Self::SearchOrders => (0.0056, 20),
            Self::GetListingsItem => (5.0, 10),
            Self::GetInventorySummaries => (2.0, 2),
            Self::CreateReport | Self::GetReportDocument => (0.0167, 15),
            Self::GetReport => (2.0, 15),
            Self::GetMarketplaceParticipations => (0.016, 15),
            Self::CreateRestrictedDataToken => (1.0, 10),
            Self::LwaToken
            | Self::Download
            | Self::GetStock
            | Self::PutStock
            | Self::DownloadBytes
            | Self::Upload
            | Self::WebSocket
            | Self::Document
            | Self::Unknown => return None,
        };
        Some(Rate { per_second, burst })
    }
}

fn route(method: &Method, segments: &[&str]) -> Operation {
    let get = *method == Method::GET;
    let post = *method == Method::POST;
    match segments {
        ["orders", "v0", "orders"] if get => Operation::GetOrders,
        ["orders", "v0", "orders", _] if get => Operation::GetOrderV0,
        ["orders", "v0", "orders", _, "orderItems"] if get => Operation::GetOrderItems,
        ["orders", "v0", "orders", _, "buyerInfo"] if get => Operation::GetOrderBuyerInfo,
        ["orders", "v0", "orders", _, "address"] if get => Operation::GetOrderAddress,
        ["orders", "v0", "orders", _, "orderItems", "buyerInfo"] if get => {
            Operation::GetOrderItemsBuyerInfo
        }
        ["orders", "2026-01-01", "orders"] if get => Operation::SearchOrders,
        ["orders", "2026-01-01", "orders", _] if get => Operation::GetOrder2026,
        ["listings", "2021-08-01", "items", _, _] if get => Operation::GetListingsItem,
        ["fba", "inventory", "v1", "summaries"] if get => Operation::GetInventorySummaries,
        ["reports", "2021-06-30", "reports"] if post => Operation::CreateReport,
        ["reports", "2021-06-30", "reports", _] if get => Operation::GetReport,
        ["reports", "2021-06-30", "documents", _] if get => Operation::GetReportDocument,
        ["sellers", "v1", "marketplaceParticipations"] if get => {
            Operation::GetMarketplaceParticipations
        }
        ["tokens", "2021-03-01", "restrictedDataToken"] if post => {
            Operation::CreateRestrictedDataToken
        }
        ["auth", "o2", "token"] if post => Operation::LwaToken,
        ["documents", _] if get => Operation::Download,
        _ => Operation::Unknown,
    }
}

/// Answers as Amazon would: what every operation checks, then the operation itself.
pub(super) fn answer(shared: &Shared, asked: &Asked, now: Moment) -> (Operation, Answer) {
    let segments = asked.segments();
    let operation = route(&asked.method, &segments);
    let answer = if operation == Operation::LwaToken {
        // This and the next are other hosts at Amazon and know neither access tokens nor rates.
        tokens::login(&shared.config.lwa, asked, shared.next())
    } else if operation == Operation::Download {
        selling::document(&shared.world, &segments)
    } else {
        let throttling = shared.config.throttling;
        let answer = match precondition(asked) {
            Some(refusal) => refusal,
            None if !shared.buckets.lock().admit(throttling, operation, now) => throttled(),
            None => handle(shared, operation, &segments, asked),
        };
        decorate(answer, throttling, operation, shared.next())
    };
    (operation, answer)
}

fn handle(shared: &Shared, operation: Operation, segments: &[&str], asked: &Asked) -> Answer {
    let world = &shared.world;
    match operation {
        Operation::GetOrders => orders::get_orders(world, asked),
        Operation::SearchOrders => orders::search_orders(world, asked),
        Operation::GetOrderV0 => orders::one(world, segments, orders::v0),
        Operation::GetOrderItems => orders::one(world, segments, orders::items),
        Operation::GetOrderBuyerInfo => orders::one(world, segments, orders::buyer_info),
        Operation::GetOrderAddress => orders::one(world, segments, orders::address),
        Operation::GetOrderItemsBuyerInfo => orders::one(world, segments, orders::items_buyer_info),
        Operation::GetOrder2026 => orders::one(world, segments, orders::v2026),
        Operation::GetListingsItem => selling::listings_item(segments, asked),
        Operation::GetInventorySummaries => selling::inventory(asked),
        Operation::CreateReport => selling::create_report(asked),
        Operation::GetReport => selling::report(segments),
        Operation::GetReportDocument => selling::report_document(segments, shared.address),
        Operation::GetMarketplaceParticipations => selling::participations(),
        Operation::CreateRestrictedDataToken => tokens::restricted(asked, shared.next()),
        Operation::LwaToken
        | Operation::Download
        | Operation::GetStock
        | Operation::PutStock
        | Operation::DownloadBytes
        | Operation::Upload
        | Operation::WebSocket
        | Operation::Document
        | Operation::Unknown => not_found("The requested resource doesn't exist."),
    }
}

pub(super) fn not_found(details: &str) -> Answer {
    Answer::refusal(StatusCode::NOT_FOUND, "NotFound", "The resource was not found.", details)
}

pub(super) fn throttled() -> Answer {
    Answer::refusal(
        StatusCode::TOO_MANY_REQUESTS,
        "QuotaExceeded",
        "You exceeded your quota for the requested resource.",
        "",
    )
}

fn precondition(asked: &Asked) -> Option<Answer> {
    let hosts = asked.headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && asked.version < Version::HTTP_2) {
        return Some(Answer::invalid("Host must be given once."));
    }
    let framed = asked.headers.contains_key(header::CONTENT_LENGTH)
        || asked.headers.contains_key(header::TRANSFER_ENCODING);
    if asked.method == Method::GET && (framed || asked.body_bytes > 0) {
        return Some(Answer::invalid("GET must not have a body or Content-Length."));
    }
    if !asked.has(&header::USER_AGENT) {
        return Some(Answer::invalid("User-Agent is required."));
    }
    if asked.headers.get(header::USER_AGENT).is_some_and(|value| value.len() > 500) {
        return Some(Answer::invalid("User-Agent is longer than 500 characters."));
    }
    if !asked.has(&HeaderName::from_static("x-amz-access-token")) {
        return Some(Answer::refusal(
            StatusCode::FORBIDDEN,
            "Unauthorized",
            "Access to requested resource is denied.",
            "Access token is missing in the request header.",
        ));
    }
    None
}

/// Amazon tells the rate on 20x, 400 and 404 only.
fn decorate(answer: Answer, throttling: Throttling, operation: Operation, n: u64) -> Answer {
    let told = answer.status.is_success()
        || answer.status == StatusCode::BAD_REQUEST
        || answer.status == StatusCode::NOT_FOUND;
    let rate = throttling.rate(operation).filter(|_| told);
    let answer = answer
        .with("x-amzn-requestid", &uuid(n))
        .with("x-amz-apigw-id", &format!("{:015x}=", n >> 4));
    match rate {
        Some(rate) => answer.with("x-amzn-ratelimit-limit", &rate.per_second.to_string()),
        None => answer,
    }
}

/// The form of a version 4 UUID (RFC 9562); the digits come from the seed.
fn uuid(n: u64) -> String {
    let low = super::world::mix(n);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        n >> 32,
        (n >> 16) & 0xffff,
        n & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}
