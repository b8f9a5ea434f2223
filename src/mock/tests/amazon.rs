use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn error_code(reply: &Reply) -> String {
    reply.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
}

/// Percent encodes everything but letters and digits.
fn encode(text: &str) -> String {
    let byte = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[tokio::test]
async fn every_operation_answers_with_amazon_s_headers() {
    let stage = Stage::amazon().await;
    let orders = stage.get(ORDERS).await.json();
    let id = orders["payload"]["Orders"][0]["AmazonOrderId"].as_str().unwrap().to_owned();
    let v0 = format!("/orders/v0/orders/{id}");
    let targets = [
        (Operation::GetOrderV0, v0.clone(), "0.5"),
        (Operation::GetOrderItems, format!("{v0}/orderItems"), "0.5"),
        (Operation::GetOrderBuyerInfo, format!("{v0}/buyerInfo"), "0.5"),
        (Operation::GetOrderAddress, format!("{v0}/address"), "0.5"),
        (Operation::GetOrderItemsBuyerInfo, format!("{v0}/orderItems/buyerInfo"), "0.5"),
        (Operation::SearchOrders, "/orders/2026-01-01/orders".to_owned(), "0.0056"),
        (Operation::GetOrder2026, format!("/orders/2026-01-01/orders/{id}"), "0.5"),
        (
            Operation::GetListingsItem,
            "/listings/2021-08-01/items/A3/S?marketplaceIds=x".to_owned(),
            "5",
        ),
        (
            Operation::GetInventorySummaries,
            "/fba/inventory/v1/summaries?granularityType=Marketplace&granularityId=A&marketplaceIds=A"
                .to_owned(),
            "2",
        ),
        (
            Operation::GetMarketplaceParticipations,
            "/sellers/v1/marketplaceParticipations".to_owned(),
            "0.016",
        ),
    ];
    let mut ids = HashSet::new();
    for (operation, target, rate) in targets {
        let reply = stage.get(&target).await;
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("x-amzn-ratelimit-limit"), Some(rate), "{target}");
        assert_eq!(reply.header("x-amzn-requestid").map(str::len), Some(36));
        assert!(ids.insert(reply.header("x-amzn-requestid").unwrap().to_owned()));
        assert!(reply.headers.contains_key("x-amz-apigw-id"));
        assert!(reply.headers.contains_key("date"));
        assert_eq!(stage.mock.count(operation), 1);
        assert_eq!(stage.mock.last().unwrap().target, target);
        assert_ne!(reply.json(), Value::Null);
    }
}

/// Field names that hold personal data, in either generation of the API.
const PERSONAL: &[&str] = &[
    "Name",
    "CompanyName",
    "AddressLine1",
    "AddressLine2",
    "AddressLine3",
    "City",
    "County",
    "District",
    "StateOrRegion",
    "Municipality",
    "PostalCode",
    "Phone",
    "StreetName",
    "StreetNumber",
    "Complement",
    "Neighborhood",
    "Latitude",
    "Longitude",
    "BuyerEmail",
    "BuyerName",
    "BuyerCounty",
    "CompanyLegalName",
    "Value",
    "PurchaseOrderNumber",
    "BuyerLegalCompanyName",
    "BuyerBusinessAddress",
    "BuyerTaxRegistrationId",
    "BuyerTaxOffice",
    "AcquirerId",
    "CardBrand",
    "AuthorizationCode",
    "BuyerCompanyName",
    "DropOffLocation",
    "AddressInstructions",
    "CustomizedURL",
    "GiftMessageText",
    "BuyerCancelReason",
    "name",
    "companyName",
    "addressLine1",
    "addressLine2",
    "addressLine3",
    "city",
    "districtOrCounty",
    "stateOrRegion",
    "municipality",
    "postalCode",
    "phone",
    "streetName",
    "streetNumber",
    "complement",
    "neighborhood",
    "buyerName",
    "buyerEmail",
    "buyerCompanyName",
    "buyerPurchaseOrderNumber",
    "dropOffLocation",
    "addressInstruction",
    "acquirerId",
    "cardBrand",
    "authorizationCode",
    "legalName",
    "taxRegistrationNumber",
    "customizedUrl",
    "giftMessage",
    "cancelReason",
];

/// Counts the personal leaves, and fails on one that no test could search for.
fn planted(value: &Value, name: &str, parent: &str) -> usize {
    match value {
        Value::Object(fields) => fields.iter().map(|(own, v)| planted(v, own, name)).sum(),
        Value::Array(list) => list.iter().map(|v| planted(v, name, parent)).sum(),
        // The name of a tax scheme, not of a person.
        Value::String(_) if name == "Name" && parent == "TaxClassifications" => 0,
        Value::String(text) if PERSONAL.contains(&name) => {
            assert!(PLANTED.contains(&text.as_str()), "{name}: {text}");
            1
        }
        Value::Number(number) if PERSONAL.contains(&name) => {
            assert!(PLANTED.contains(&number.to_string().as_str()), "{name}: {number}");
            1
        }
        Value::String(text) => {
            assert!(!PLANTED.contains(&text.as_str()), "{name} is personal: {text}");
            0
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[tokio::test]
async fn priv_2_all_that_is_personal_is_planted_and_all_that_is_planted_is_served() {
    let stage = Stage::amazon().await;
    let id = stage.get(ORDERS).await.json()["payload"]["Orders"][0]["AmazonOrderId"].clone();
    let id = id.as_str().unwrap();
    let mut all = String::new();
    for (target, at_least) in [
        (ORDERS.to_owned(), 30 * 40),
        ("/orders/2026-01-01/orders".to_owned(), 30 * 40),
        (format!("/orders/v0/orders/{id}"), 40),
        (format!("/orders/v0/orders/{id}/orderItems"), 3),
        (format!("/orders/v0/orders/{id}/orderItems/buyerInfo"), 2),
        (format!("/orders/v0/orders/{id}/buyerInfo"), 6),
        (format!("/orders/v0/orders/{id}/address"), 20),
        (format!("/orders/2026-01-01/orders/{id}"), 40),
    ] {
        let reply = stage.get(&target).await;
        assert!(planted(&reply.json(), "", "") >= at_least, "{target}");
        all.push_str(&reply.text());
    }
    // The seller's row has fields that only a buyer shows: payment, gifts, contact.
    let missing: Vec<_> = PLANTED.iter().filter(|text| !all.contains(**text)).collect();
    assert!(
        missing.iter().all(|text| text.contains("q7ks") || text.contains("0195")),
        "{missing:?}"
    );
    assert!(missing.len() <= 15, "{missing:?}");
}

#[tokio::test]
async fn what_amazon_refuses_is_refused_in_its_form() {
    let stage = Stage::amazon().await;
    let refused = stage.get("/orders/v0/orders").await;
    assert_eq!((refused.status.as_u16(), error_code(&refused).as_str()), (400, "InvalidInput"));
    assert_eq!(refused.header("x-amzn-ratelimit-limit"), Some("0.0167"));
    assert_eq!(refused.header("x-amzn-errortype"), Some("InvalidInput"));

    let no_token = Call::get(ORDERS).header("user-agent", "Test/1.0");
    let refused = stage.call(Alpn::H1, no_token).await.unwrap();
    assert_eq!((refused.status.as_u16(), error_code(&refused).as_str()), (403, "Unauthorized"));
    let message = refused.json()["errors"][0]["message"].clone();
    assert_eq!(message, "Access to requested resource is denied.");
    assert!(refused.header("x-amzn-ratelimit-limit").is_none());

    let no_agent = Call::get(ORDERS).header("x-amz-access-token", "Atza|t");
    assert_eq!(stage.call(Alpn::H1, no_agent).await.unwrap().status, 400);
    let with_body = Call { body: Flow::whole("x"), ..sp_api(Call::get(ORDERS)) };
    assert_eq!(stage.call(Alpn::H2, with_body).await.unwrap().status, 400);

    for (target, status) in [
        ("/nowhere", 404),
        ("/orders/v0/orders/902-0000000-9999999", 404),
        ("/orders/v0/orders/", 404),
        ("/orders/v0/orders/x/unknown", 404),
        ("/orders/v0/orders?MarketplaceIds=A&MaxResultsPerPage=101", 400),
        ("/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528&NextToken=bogus", 400),
        ("/fba/inventory/v1/summaries", 400),
        ("/reports/2021-06-30/reports/1", 404),
    ] {
        let reply = stage.get(target).await;
        assert_eq!(reply.status, status, "{target}");
        assert_ne!(error_code(&reply), "", "{target}");
    }
}

#[tokio::test]
async fn a_get_with_content_length_or_two_hosts_is_refused() {
    let stage = Stage::amazon().await;
    let head = |extra: &str| {
        format!(
            "GET {ORDERS} HTTP/1.1\r\nhost: a\r\nuser-agent: t\r\nx-amz-access-token: t\r\n\
             connection: close\r\n{extra}\r\n"
        )
    };
    for (extra, status) in
        [("", "200 OK"), ("content-length: 0\r\n", "400 "), ("host: b\r\n", "400 ")]
    {
        let reply = stage.raw(&head(extra)).await;
        let text = String::from_utf8_lossy(&reply.bytes).into_owned();
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{extra:?}: {text}");
        assert_eq!(reply.end, RawEnd::Closed);
    }
}

#[tokio::test]
async fn pages_cover_every_order_once_and_tokens_need_encoding() {
    let stage = Stage::amazon().await;
    let mut ids = HashSet::new();
    let mut sizes = Vec::new();
    let mut target = format!("{ORDERS}&MaxResultsPerPage=7");
    loop {
        let reply = stage.get(&target).await.json();
        let orders = reply["payload"]["Orders"].as_array().unwrap();
        sizes.push(orders.len());
        ids.extend(orders.iter().map(|order| order["AmazonOrderId"].as_str().unwrap().to_owned()));
        let Some(token) = reply["payload"]["NextToken"].as_str() else { break };
        assert!(token.contains('+') || token.contains('/'), "{token}");
        // Unencoded, a plus is a space and the token is wrong.
        target = format!("{ORDERS}&MaxResultsPerPage=7&NextToken={}", encode(token));
    }
    assert_eq!(sizes, [7, 7, 7, 7, 2]);
    assert_eq!(ids.len(), 30);

    let first = stage.get("/orders/2026-01-01/orders?maxResultsPerPage=29").await.json();
    let token = first["pagination"]["nextToken"].as_str().unwrap();
    let target =
        format!("/orders/2026-01-01/orders?maxResultsPerPage=29&paginationToken={}", encode(token));
    let second = stage.get(&target).await.json();
    assert_eq!(second["orders"].as_array().unwrap().len(), 1);
    assert!(second["pagination"].get("nextToken").is_none());

    let buyer = "BuyerEmail=buyer-q7ka%40marketplace.example.com";
    let found = stage.get(&format!("{ORDERS}&{buyer}")).await.json();
    let found = found["payload"]["Orders"].as_array().unwrap().len();
    assert!(0 < found && found < 30);
    let elsewhere = stage.get("/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER").await.json();
    assert_eq!(elsewhere["payload"]["Orders"], json!([]));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_shop() {
    let mut bodies = Vec::new();
    for seed in [1, 1, 2] {
        let stage = Stage::with(Personality::Amazon, |_, config| config.seed = seed).await;
        let reply = stage.get(ORDERS).await;
        bodies.push((reply.body, reply.headers["x-amzn-requestid"].clone()));
    }
    assert_eq!(bodies[0], bodies[1]);
    assert_ne!(bodies[0].0, bodies[2].0);
    assert_ne!(bodies[0].1, bodies[2].1);
}

#[tokio::test]
async fn a_sku_goes_through_byte_for_byte() {
    let stage = Stage::amazon().await;
    let target = "/listings/2021-08-01/items/A3/AB%2FC%2525%2BD%20E%e6%9e%b6?marketplaceIds=A%2CB";
    for alpn in [Alpn::H1, Alpn::H2] {
        let reply = stage.call(alpn, sp_api(Call::get(target))).await.unwrap();
        assert_eq!(reply.json()["sku"], "AB/C%25+D E架");
        assert_eq!(stage.mock.last().unwrap().target, target);
    }
}

#[tokio::test]
async fn a_report_leads_to_a_document_full_of_addresses() {
    let stage = Stage::amazon().await;
    let body = json!({ "reportType": "GET_X", "marketplaceIds": ["A"] }).to_string();
    let create = sp_api(Call::post("/reports/2021-06-30/reports", Flow::whole(body)));
    let created = stage.call(Alpn::H2, create).await.unwrap();
    assert_eq!(created.status, 202);
    let id = created.json()["reportId"].as_str().unwrap().to_owned();
    let report = stage.get(&format!("/reports/2021-06-30/reports/{id}")).await.json();
    assert_eq!(report["processingStatus"], "DONE");
    let document = report["reportDocumentId"].as_str().unwrap();
    let document = stage.get(&format!("/reports/2021-06-30/documents/{document}")).await.json();
    let url = document["url"].as_str().unwrap();
    let target = url.strip_prefix(&stage.mock.url()).unwrap();
    // Pre-signed: no token.
    let text = stage.call(Alpn::H1, Call::get(target)).await.unwrap().text();
    assert_eq!(text.lines().count(), 31);
    assert!(text.contains("buyer-q7ka@marketplace.example.com"));
    let empty = sp_api(Call::post("/reports/2021-06-30/reports", Flow::whole("{}")));
    assert_eq!(stage.call(Alpn::H2, empty).await.unwrap().status, 400);
}

async fn login(stage: &Stage, form: &str) -> (u16, Value) {
    let call = Call::post("/auth/o2/token", Flow::whole(form.to_owned()))
        .header("content-type", "application/x-www-form-urlencoded;charset=UTF-8");
    let reply = stage.call(Alpn::H1, call).await.unwrap();
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    (reply.status.as_u16(), reply.json())
}

#[tokio::test]
async fn priv_4_login_gives_tokens_to_the_right_application_only() {
    let stage = Stage::amazon().await;
    let client =
        "client_id=amzn1.application-oa2-client.mock&client_secret=amzn1.oa2-cs.v1.mock-secret";
    let refresh =
        format!("grant_type=refresh_token&refresh_token=Atzr%7Cmock-refresh-token&{client}");
    let (status, first) = login(&stage, &refresh).await;
    assert_eq!(status, 200);
    assert!(first["access_token"].as_str().unwrap().starts_with("Atza|"));
    assert_eq!((&first["expires_in"], &first["token_type"]), (&json!(3600), &json!("bearer")));
    assert_eq!(first["refresh_token"], "Atzr|mock-refresh-token");
    let (_, second) = login(&stage, &refresh).await;
    assert_ne!(first["access_token"], second["access_token"]);
    let grantless = format!(
        "grant_type=client_credentials&scope=sellingpartnerapi%3A%3Anotifications&{client}"
    );
    let (status, body) = login(&stage, &grantless).await;
    assert_eq!(status, 200);
    assert!(body.get("refresh_token").is_none());

    for (form, status, error) in [
        (refresh.replace("mock-refresh", "other"), 400, "invalid_grant"),
        (refresh.replace("mock-secret", "other"), 401, "invalid_client"),
        (format!("{grantless}&refresh_token=x"), 400, "invalid_request"),
        (grantless.replace("notifications", "all"), 400, "invalid_scope"),
        (client.to_owned(), 400, "invalid_request"),
        (format!("grant_type=password&{client}"), 400, "unsupported_grant_type"),
        (String::new(), 401, "invalid_client"),
    ] {
        let (got, body) = login(&stage, &form).await;
        assert_eq!((got, body["error"].as_str()), (status, Some(error)), "{form}");
        assert!(body["error_description"].is_string());
    }
    assert_eq!(stage.mock.count(Operation::LwaToken), 10);
}

#[tokio::test]
async fn priv_4_restricted_tokens_are_minted_for_sound_requests_only() {
    let stage = Stage::amazon().await;
    let mint = async |body: Value| {
        let target = "/tokens/2021-03-01/restrictedDataToken";
        let call = sp_api(Call::post(target, Flow::whole(body.to_string())));
        stage.call(Alpn::H2, call).await.unwrap()
    };
    let good = json!({ "method": "GET", "path": "/orders/v0/orders/{orderId}",
        "dataElements": ["buyerInfo", "shippingAddress"] });
    let reply = mint(json!({ "restrictedResources": [good] })).await;
    assert!(reply.json()["restrictedDataToken"].as_str().unwrap().starts_with("Atz.sprdt|"));
    assert_eq!(reply.json()["expiresIn"], 3600);
    for bad in [
        json!({}),
        json!({ "restrictedResources": [] }),
        json!({ "restrictedResources": vec![good.clone(); 51] }),
        json!({ "restrictedResources": [{ "method": "", "path": "/a" }] }),
        json!({ "restrictedResources": [{ "method": "GET", "path": "a" }] }),
        json!({ "restrictedResources": [{ "method": "GET", "path": "/a?b=c" }] }),
        json!({ "restrictedResources": [{ "method": "GET", "path": "/a", "dataElements": ["all"] }] }),
        json!({ "restrictedResources": [{ "method": "GET", "path": "/a", "dataElements": "all" }] }),
    ] {
        let reply = mint(bad.clone()).await;
        assert_eq!(
            (reply.status.as_u16(), error_code(&reply).as_str()),
            (400, "InvalidRequest"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn too_many_requests_get_429_without_the_rate() {
    let (clock, hand) = Clock::manual(1_767_225_600_000);
    let stage = Stage::with(Personality::Amazon, |_, config| {
        config.clock = clock;
        config.throttling = Throttling::Every(Rate { per_second: 0.5, burst: 2 });
    })
    .await;
    let target = "/sellers/v1/marketplaceParticipations";
    let first = stage.get(target).await;
    assert_eq!(first.header("x-amzn-ratelimit-limit"), Some("0.5"));
    assert_eq!(stage.get(target).await.status, 200);
    let refused = stage.get(target).await;
    assert_eq!((refused.status.as_u16(), error_code(&refused).as_str()), (429, "QuotaExceeded"));
    assert!(refused.header("x-amzn-ratelimit-limit").is_none());
    assert!(refused.header("retry-after").is_none());
    assert_eq!(stage.get(ORDERS).await.status, 200, "another operation has its own bucket");
    hand.advance(Duration::from_secs(2));
    assert_eq!(stage.get(target).await.status, 200);
    assert_eq!(stage.mock.count(Operation::GetMarketplaceParticipations), 4);
}
