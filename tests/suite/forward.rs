//! What is let through arrives as it was sent, and the answer comes back as it was given: paths,
//! bodies, lengths, upgrades, limits; and each request leaves exactly one record (LOG-1).
use std::time::Duration;

use http::{HeaderMap, Method, Version};
use sekisho::mock::{Alpn, BodyEnd, Call, Caller, Flow, Length, Operation, Scenario};

use crate::hygiene::printer;
use crate::support::{ORDERS, Plan, World, amazon, bearing, error_of, get, put, until};

const STOCK: &str = "/stock/A";

/// A world for each version spoken upstream, and both versions spoken by callers.
async fn each_version(upstream: &str, test: impl AsyncFn(&World, &Caller, Alpn)) {
    let lines = format!("protocol = \"{upstream}\"");
    let plan = Plan::default().fill("warehouse", &lines).fill("amazon", &lines);
    let world = World::with(plan).await;
    for alpn in [Alpn::H1, Alpn::H2] {
        test(&world, &printer(&world, alpn), alpn).await;
    }
    world.finish().await;
}

fn upload(body: Flow) -> Call {
    Call::post("/upload", body)
}

fn length_of(headers: &HeaderMap) -> Option<&str> {
    headers.get("content-length").and_then(|value| value.to_str().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_path_and_query_reach_the_upstream_byte_for_byte() {
    for protocol in ["http/1.1", "h2"] {
        let world = World::with(
            Plan::default()
                .fill("amazon", &format!("protocol = \"{protocol}\""))
                .fill(
                    "warehouse",
                    &format!(
                        "protocol = \"{protocol}\"\naddresses = [\"127.0.0.1:{{warehouse}}\"]"
                    ),
                )
                .replace(
                    "\"https://localhost:{warehouse}\"",
                    "\"https://upstream.test:{warehouse}\"",
                ),
        )
        .await;
        let stock = [
            "/stock/AB%2FC%25D",
            "/stock/a+b%20c",
            "/stock/%E3%82%AB%E3%83%A1%E3%83%A9?size=10&page=2",
            "/stock/%e3%82%ab",
            "/stock/A%252FB%252C",
            "/stock/~a!b$c'(d)*,e:f@g=h&i?page=%2B1%20x&size=",
            "/stock/caf%C3%A9?page&size=%E3%82%AB",
            "/stock/A?",
        ];
        let orders = [
            "/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528&CreatedAfter=2026-01-01T00%3A00%3A00Z",
            "/orders/v0/orders?NextToken=a%2Bb%2F%3D%3D&MarketplaceIds=A1VC38T7YXB528",
            "/orders/v0/orders?CreatedAfter=2026-01-01T00:00:00Z&MarketplaceIds=A%2CB",
            "/listings/2021-08-01/items/A1SELLER/S%2FK%252CU+1?marketplaceIds=A1VC38T7YXB528",
        ];
        for alpn in [Alpn::H1, Alpn::H2] {
            let caller = printer(&world, alpn);
            let calls = stock.map(|target| (&world.warehouse, Call::get(target)));
            let calls = calls.into_iter().chain(orders.map(|target| (&world.amazon, get(target))));
            for (mock, call) in calls {
                let target = call.target.clone();
                let reply = world.call(&caller, call).await;
                assert_ne!(error_of_or_none(&reply.body), Some("Sekisho".to_owned()), "{target}");
                let seen = mock.last().unwrap();
                assert_eq!(seen.target, target, "{protocol} {alpn:?}");
                // The upstream hears its own name, not the caller's.
                let is_store = mock.address() == world.warehouse.address();
                let name = if is_store { "upstream.test" } else { "localhost" };
                let own = format!("{name}:{}", mock.address().port());
                let host = seen.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
                if protocol == "h2" {
                    assert_eq!((seen.version, seen.authority), (Version::HTTP_2, Some(own)));
                    assert_eq!(host, None);
                } else {
                    assert_eq!((seen.version, seen.authority), (Version::HTTP_11, None));
                    assert_eq!(host, Some(own));
                }
            }
        }
        // A target in absolute form goes on as path and query.
        let absolute = b"GET https://localhost/stock/A%2FB?page=1 HTTP/1.1\r\nhost: localhost\r\n\
            connection: close\r\n\r\n";
        let raw = printer(&world, Alpn::H1).raw(world.address(), absolute).await.unwrap();
        assert!(raw.bytes.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&raw.bytes));
        let seen = world.warehouse.last().unwrap();
        assert_eq!(seen.target, "/stock/A%2FB?page=1");
        assert!(!format!("{:?} {:?}", seen.authority, seen.headers).contains("localhost"));
        world.finish().await;
    }
}

/// "Sekisho" where the gateway itself answered.
fn error_of_or_none(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let code = json["errors"][0]["code"].as_str()?.split('.').next()?.to_owned();
    Some(code)
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_get_carries_no_body_and_no_length() {
    for protocol in ["http/1.1", "h2"] {
        each_version(protocol, async |world, caller, alpn| {
            let zero = Call::get(STOCK).header("content-length", "0");
            assert_eq!(world.call(caller, zero).await.status, 200);
            assert_eq!(length_of(&world.warehouse.last().unwrap().headers), None);
            let zero = get(ORDERS).header("content-length", "0");
            assert_eq!(world.call(caller, zero).await.status, 200, "Amazon refuses a length");
            let before = (world.warehouse.total(), world.amazon.total());
            for length in [Length::Declared, Length::Unknown] {
                for call in [Call::get(STOCK), get(ORDERS)] {
                    let mut call = Call { body: Flow::repeat(3, length), ..call };
                    if (alpn, length) == (Alpn::H1, Length::Unknown) {
                        // hyper sends no body with a GET unless told so.
                        put(&mut call, "transfer-encoding", "chunked");
                    }
                    let reply = world.call(caller, call).await;
                    assert_eq!(reply.status, 400, "{alpn:?} {length:?}");
                    assert_eq!(error_of(&reply).0, "Sekisho.BodyNotAllowed");
                }
            }
            assert_eq!((world.warehouse.total(), world.amazon.total()), before);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_keep_the_connection_in_step() {
    for protocol in ["http/1.1", "h2"] {
        each_version(protocol, async |world, caller, alpn| {
            let session = caller.connect(world.address()).await.unwrap();
            let whole = session.call(Call::get(STOCK)).await.unwrap();
            // The mock's HTTP/2 engine sends a body with HEAD, which is no answer.
            let heads = if protocol == "h2" { 0 } else { 2 };
            let heads =
                [(Scenario::Echo, Method::HEAD, 200), (Scenario::Normal, Method::HEAD, 404)]
                    .into_iter()
                    .take(heads);
            let bodiless = [
                (Scenario::NoContent, Method::GET, 204),
                (Scenario::NoContent, Method::HEAD, 204),
                (Scenario::NotModified, Method::GET, 304),
                (Scenario::NotModified, Method::HEAD, 304),
            ];
            for (scenario, method, status) in bodiless.into_iter().chain(heads) {
                world.warehouse.set(scenario);
                let reply =
                    session.call(Call::new(method.clone(), STOCK)).await.unwrap_or_else(|fault| {
                        panic!("{protocol} {alpn:?} {method} {scenario}: {fault}")
                    });
                assert_eq!(reply.status.as_u16(), status, "{alpn:?}");
                assert_eq!((reply.body_bytes, reply.end), (0, BodyEnd::Complete));
                if status == 304 {
                    assert_eq!(reply.header("etag"), Some("\"mock-etag\""));
                }
                if status == 204 {
                    assert_eq!(length_of(&reply.headers), None);
                }
                if scenario == Scenario::Echo {
                    assert!(length_of(&reply.headers).is_some_and(|length| length != "0"));
                }
                assert_eq!(world.line_of(&reply)["http.response.body.bytes"], 0);
            }
            world.warehouse.set(Scenario::Normal);
            // A refusal of HEAD is a head as well.
            let refused = session.call(Call::new(Method::HEAD, "/nowhere")).await.unwrap();
            assert_eq!((refused.status.as_u16(), refused.body_bytes), (404, 0));
            let again = session.call(Call::get(STOCK)).await.unwrap();
            assert_eq!((again.status.as_u16(), &again.body), (200, &whole.body));
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_pass_whole_both_ways_with_and_without_a_length() {
    for protocol in ["http/1.1", "h2"] {
        each_version(protocol, async |world, caller, alpn| {
            let bytes = 300_000;
            for length in [Length::Declared, Length::Unknown] {
                let reply = world.call(caller, upload(Flow::repeat(bytes, length))).await;
                assert_eq!(reply.json()["bytes"], bytes, "{protocol} {alpn:?}: {}", reply.text());
                let seen = world.warehouse.last().unwrap();
                assert_eq!(seen.body_bytes, bytes);
                let digest = aws_lc_rs::digest::digest(
                    &aws_lc_rs::digest::SHA256,
                    &vec![b'.'; usize::try_from(bytes).unwrap()],
                );
                assert_eq!(seen.body_sha256, digest.as_ref());
                let declared = length_of(&seen.headers) == Some("300000");
                assert_eq!(declared, length == Length::Declared);
                assert_eq!(world.line_of(&reply)["http.request.body.bytes"], bytes);
            }
            let declared = world.call(caller, Call::get("/download/300000")).await;
            assert_eq!((declared.body_bytes, declared.end), (bytes, BodyEnd::Complete));
            assert_eq!(length_of(&declared.headers), Some("300000"));
            world.warehouse.script(&[
                Scenario::Endless { bytes },
                Scenario::SlowBody { bytes: 7, tick_ms: 1 },
                Scenario::Trailers,
                Scenario::BigHeaders { bytes: 60_000 },
            ]);
            let endless = world.call(caller, Call::get(STOCK)).await;
            assert_eq!((endless.body_bytes, endless.end), (bytes, BodyEnd::Complete));
            assert_eq!(length_of(&endless.headers), None);
            assert_eq!(world.line_of(&endless)["http.response.body.bytes"], bytes);
            let slow = world.call(caller, Call::get(STOCK)).await;
            assert_eq!(slow.json()["sku"], "A");
            let trailed = world.call(caller, Call::get(STOCK)).await;
            assert_eq!((&trailed.json()["sku"], trailed.end), (&"A".into(), BodyEnd::Complete));
            if protocol == "h2" && alpn == Alpn::H2 {
                let trailers = trailed.trailers.expect("trailers");
                assert_eq!(trailers["x-mock-trailer"], "planted-trailer-q7k");
            }
            let big = world.call(caller, Call::get(STOCK)).await;
            assert_eq!(big.headers.get_all("x-mock-fill").iter().count(), 60);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_5_the_token_exchange_passes_with_its_form_intact() {
    let world = World::start().await;
    let form = "grant_type=refresh_token&refresh_token=Atzr%7Cmock-refresh-token\
                &client_id=amzn1.application-oa2-client.mock&client_secret=amzn1.oa2-cs.v1.mock-secret";
    for alpn in [Alpn::H1, Alpn::H2] {
        let mut call = amazon(Method::POST, "/auth/o2/token");
        put(&mut call, "content-type", "application/x-www-form-urlencoded;charset=UTF-8");
        call.body = Flow::whole(form);
        let reply = world.call(&printer(&world, alpn), call).await;
        let seen = world.amazon.last().unwrap();
        assert_eq!(seen.operation, Operation::LwaToken);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, form.as_bytes());
        assert_eq!(seen.body_sha256, digest.as_ref());
        assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded;charset=UTF-8");
        assert_eq!((reply.status.as_u16(), &reply.json()["token_type"]), (200, &"bearer".into()));
        let line = world.line_of(&reply);
        assert_eq!(line["sekisho.operation"], "lwa/token");
        assert_eq!(line["event.outcome"], "allowed");
    }
    let log = format!("{:?}", world.log());
    assert!(!log.contains("mock-secret") && !log.contains("mock-refresh-token"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_whose_limit_it_was_shows_in_the_answer() {
    let world = World::with(Plan::default().by_hand()).await;
    let token = world.token("limited-caller");
    let nobody = world.nobody();
    let call = || bearing(get(ORDERS), &token);
    let reply = world.call(&nobody, call()).await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("ratelimit").is_some_and(|text| text.contains(";r=2;")), "{reply:?}");
    assert!(reply.header("ratelimit-policy").is_some_and(|text| text.contains("q=3")));
    assert!(reply.header("x-amzn-ratelimit-limit").is_some(), "Amazon's own stays");
    assert!(reply.header("date").is_some() && reply.header("retry-after").is_none());

    assert_eq!(world.call(&nobody, call()).await.status, 200);
    assert_eq!(world.call(&nobody, call()).await.status, 200);
    let before = world.amazon.total();
    let ours = world.call(&nobody, call()).await;
    assert_eq!((ours.status.as_u16(), error_of(&ours).0.as_str()), (429, "Sekisho.QuotaExceeded"));
    let wait: u64 = ours.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(ours.header("ratelimit").is_some_and(|text| text.contains(";r=0;")), "{ours:?}");
    assert!(ours.header("ratelimit-policy").is_some());
    assert_eq!(ours.header("x-amzn-ratelimit-limit"), None);
    assert_eq!(world.amazon.total(), before);
    world.advance(Duration::from_secs(wait));
    assert_eq!(world.call(&nobody, call()).await.status, 200, "Retry-After tells the truth");
    // An identity without limits is told of none.
    let free = world.call(&printer(&world, Alpn::Both), get(ORDERS)).await;
    assert_eq!(free.header("ratelimit"), None);

    // Amazon's own refusal passes unchanged.
    world.amazon.script(&[Scenario::Throttle]);
    let theirs = world.call(&printer(&world, Alpn::Both), get(ORDERS)).await;
    assert_eq!(theirs.status, 429);
    assert_eq!(error_of(&theirs).0, "QuotaExceeded");
    assert_eq!(theirs.header("x-amzn-errortype"), Some("QuotaExceeded"));
    assert_eq!(theirs.header("retry-after"), None);
    let line = world.line_of(&theirs);
    assert_eq!(
        (&line["event.outcome"], &line["sekisho.upstream_status"]),
        (&"allowed".into(), &429.into())
    );
    assert_eq!(line["sekisho.amazon_request_id"], theirs.header("x-amzn-requestid").unwrap());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_a_server_name_chooses_among_upstreams() {
    let world = World::with(
        Plan::default()
            .fill("amazon", "server_names = [\"localhost\"]")
            .fill("warehouse", "server_names = [\"gateway.test\"]"),
    )
    .await;
    for (name, orders, stock) in [("localhost", 200, 404), ("gateway.test", 404, 200)] {
        let caller = world.caller(|config| {
            config.identity = world.pki.client("label-printer").cloned();
            config.server_name = name.to_owned();
        });
        assert_eq!(world.call(&caller, get(ORDERS)).await.status.as_u16(), orders, "{name}");
        assert_eq!(world.call(&caller, Call::get(STOCK)).await.status.as_u16(), stock, "{name}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_every_request_leaves_exactly_one_record() {
    for protocol in ["http/1.1", "h2"] {
        each_version(protocol, async |world, caller, alpn| {
            let session = caller.connect(world.address()).await.unwrap();
            let before = world.requests().len();
            let body = Flow::whole("12345");
            let calls = [
                get(ORDERS),
                Call::get(STOCK),
                upload(body),
                Call::get("/download/77"),
                get("/nowhere"),
            ];
            let expected = calls.len();
            for call in calls {
                let target = call.target.clone();
                let reply = session.call(call).await.unwrap();
                let line = world.line_of(&reply);
                let is_theirs = target != "/nowhere";
                assert_eq!(line["http.response.status_code"], reply.status.as_u16());
                assert_eq!(line["http.response.body.bytes"], reply.body_bytes, "{target}");
                let sent = if target == "/upload" { 5 } else { 0 };
                assert_eq!(line["http.request.body.bytes"], sent, "{target}");
                assert_eq!(line["network.protocol"], if alpn == Alpn::H1 { "h1" } else { "h2" });
                assert_eq!(line.get("sekisho.attempts").is_some(), is_theirs);
                assert_eq!(line.get("sekisho.upstream_us").is_some(), is_theirs);
                if is_theirs {
                    assert_eq!(line["sekisho.upstream_status"], reply.status.as_u16());
                    let upstream = if target == ORDERS { "amazon" } else { "warehouse" };
                    assert_eq!(
                        (&line["sekisho.upstream"], &line["sekisho.attempts"]),
                        (&upstream.into(), &1.into())
                    );
                    assert_eq!(line["sekisho.role"], "shipping");
                }
                let theirs = reply.header("x-amzn-requestid");
                assert_eq!(
                    line.get("sekisho.amazon_request_id").and_then(|id| id.as_str()),
                    theirs
                );
                assert_eq!(theirs.is_some(), target == ORDERS);
            }
            assert_eq!(world.requests().len() - before, expected);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_caller_who_goes_away_is_written_down_and_harms_no_upstream() {
    let lines = "breaker = { failures = 1, open = \"10 min\" }";
    let world = World::with(Plan::default().fill("warehouse", lines)).await;
    let mut gone = 0;
    for alpn in [Alpn::H1, Alpn::H2] {
        // Waiting for the head; in the middle of the answer's body; in the middle of an upload.
        world.warehouse.set(Scenario::Normal);
        let upload = upload(Flow::slow(vec![0; 1_000], 100, Duration::from_secs(60)));
        for (scenario, call) in [
            (Scenario::Delay { ms: 60_000 }, Call::get(STOCK)),
            (Scenario::SlowBody { bytes: 1, tick_ms: 1_000 }, Call::get(STOCK)),
            (Scenario::Normal, upload),
        ] {
            world.warehouse.set(scenario);
            let (caller, to, before) =
                (printer(&world, alpn), world.address(), world.warehouse.total());
            let call = tokio::spawn(async move { caller.call(to, call).await.map(drop) });
            if scenario == Scenario::Normal {
                // The mock counts an upload when it is whole.
                let under_way = || world.gateway.engine.requests_under_way() == 1;
                until("it is under way", under_way).await;
                tokio::time::sleep(Duration::from_millis(700)).await;
            } else {
                until("the store is asked", || world.warehouse.total() > before).await;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            call.abort();
            gone += 1;
            until("a record", || world.requests().len() == gone).await;
            let line = world.requests().pop().unwrap();
            assert_eq!(line["event.outcome"], "failed", "{line}");
            assert_eq!(line["sekisho.detail"], "CallerWentAway", "{line}");
            assert_eq!(line["sekisho.attempts"], 1);
        }
    }
    assert_eq!(world.events("breaker-opened").len(), 0);
    world.warehouse.set(Scenario::Normal);
    let big = upload(Flow::repeat(100_000, Length::Unknown));
    assert_eq!(world.call(&printer(&world, Alpn::Both), big).await.status, 200);
    assert_eq!(world.warehouse.count(Operation::Upload), 1);
    until("its record", || world.requests().len() == gone + 1).await;
    world.finish().await;
}
