//! An internal store, such as a warehouse system: stock, downloads, uploads, a WebSocket.
use std::collections::HashMap;

use http::{Method, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::answer::{Answer, Asked, decode};
use super::flow::Length;
use super::world::mix;
use super::{Flow, Operation};

/// The most that `/download/{bytes}` sends.
const DOWNLOAD_MAX: u64 = 1 << 30;
/// The most SKUs that can be written.
const STOCK_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Stock(Mutex<HashMap<String, u64>>);

pub(super) fn answer(stock: &Stock, asked: &Asked) -> (Operation, Answer) {
    match (&asked.method, asked.segments().as_slice()) {
        (&Method::GET, ["stock", sku]) => (Operation::GetStock, stock.read(&decode(sku))),
        (&Method::PUT, ["stock", sku]) => (Operation::PutStock, stock.write(&decode(sku), asked)),
        (&Method::GET, ["download", bytes]) => (Operation::DownloadBytes, download(bytes)),
        (&Method::POST, ["upload"]) => (Operation::Upload, upload(asked)),
        (&Method::GET, ["ws"]) => (Operation::WebSocket, web_socket(asked)),
        _ => (Operation::Unknown, refusal(StatusCode::NOT_FOUND, "not_found")),
    }
}

fn refusal(status: StatusCode, code: &'static str) -> Answer {
    Answer::json(status, &json!({ "error": code }))
}

impl Stock {
    /// What was written, or an invented quantity that follows from the SKU.
    fn read(&self, sku: &str) -> Answer {
        let written = self.0.lock().get(sku).copied();
        let invented = || sku.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte))) % 100;
        let quantity = written.unwrap_or_else(invented);
        Answer::json(StatusCode::OK, &json!({ "sku": sku, "quantity": quantity, "shelf": "A-01" }))
    }

    fn write(&self, sku: &str, asked: &Asked) -> Answer {
        let body = asked.json().unwrap_or_default();
        let Some(quantity) = body.get("quantity").and_then(Value::as_u64) else {
            return refusal(StatusCode::BAD_REQUEST, "quantity_required");
        };
        let mut stock = self.0.lock();
        if stock.len() >= STOCK_MAX && !stock.contains_key(sku) {
            return refusal(StatusCode::INSUFFICIENT_STORAGE, "full");
        }
        stock.insert(sku.to_owned(), quantity);
        Answer::json(StatusCode::OK, &json!({ "sku": sku, "quantity": quantity }))
    }
}

fn download(bytes: &str) -> Answer {
    match bytes.parse() {
        Ok(bytes @ 0..=DOWNLOAD_MAX) => Answer::new(
            StatusCode::OK,
            "application/octet-stream",
            Flow::repeat(bytes, Length::Declared),
        ),
        _ => refusal(StatusCode::BAD_REQUEST, "too_large"),
    }
}

fn upload(asked: &Asked) -> Answer {
    let body = json!({ "bytes": asked.body_bytes, "sha256": super::hex(&asked.body_sha256) });
    Answer::json(StatusCode::OK, &body)
}

/// The handshake of RFC 6455 section 4.2.2. What follows is echoed byte by byte, not frame by frame.
fn web_socket(asked: &Asked) -> Answer {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let upgrade = asked.headers.get(header::UPGRADE);
    let key = asked.headers.get(header::SEC_WEBSOCKET_KEY);
    let (Some(key), true) =
        (key, upgrade.is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket")))
    else {
        return refusal(StatusCode::UPGRADE_REQUIRED, "websocket_required")
            .with("upgrade", "websocket");
    };
    let mut text = key.as_bytes().to_vec();
    text.extend_from_slice(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = crate::devcerts::base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text).as_ref());
    Answer::bare(StatusCode::SWITCHING_PROTOCOLS)
        .with("connection", "upgrade")
        .with("upgrade", "websocket")
        .with("sec-websocket-accept", &accept)
}
