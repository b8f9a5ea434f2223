//! What crosses the gateway in headers and how messages are kept apart: NET-3, ACC-1, PRIV-4, LOG-2,
//! MON-5.
use http::{HeaderMap, Method, StatusCode};
use sekisho::mock::{Alpn, BodyEnd, Call, Caller, Scenario, SeenRequest};

use crate::support::{ORDERS, Plan, World, amazon, bearing, get, put, until};
use crate::upstream::{Scripted, lead_to};

const STOCK: &str = "/stock/A";

/// What no caller may tell an upstream.
const TALES: [(&str, &str); 37] = [
    ("forwarded", "for=192.0.2.60;host=evil.test"),
    ("x-forwarded-for", "192.0.2.60"),
    ("x-forwarded-host", "evil.test"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-port", "80"),
    ("x-forwarded-prefix", "/admin"),
    ("x-forwarded-client-cert", "By=spiffe://sekisho.test/admin"),
    ("x-real-ip", "192.0.2.60"),
    ("x-client-ip", "192.0.2.60"),
    ("x-cluster-client-ip", "192.0.2.60"),
    ("true-client-ip", "192.0.2.60"),
    ("client-ip", "192.0.2.60"),
    ("cf-connecting-ip", "192.0.2.60"),
    ("fastly-client-ip", "192.0.2.60"),
    ("via", "1.1 elsewhere"),
    ("x-http-method", "DELETE"),
    ("x-http-method-override", "DELETE"),
    ("x-method-override", "DELETE"),
    ("x-original-url", "/admin"),
    ("x-rewrite-url", "/admin"),
    ("x-original-host", "evil.test"),
    ("x-host", "evil.test"),
    ("x-sekisho-request-id", "0000000000000000"),
    ("x-sekisho-identity", "admin"),
    ("sekisho-role", "admin"),
    ("x-envoy-external-address", "192.0.2.60"),
    ("x-client-cert", "admin"),
    ("x-ssl-client-s-dn", "CN=admin"),
    ("ssl-client-verify", "SUCCESS"),
    ("x-remote-user", "admin"),
    ("x-authenticated-user", "admin"),
    ("x-auth-request-user", "admin"),
    ("proxy-authorization", "Basic YWRtaW46"),
    ("trailer", "x-sum"),
    ("http2-settings", "AAMAAABkAAQAAP__"),
    ("proxy-authenticate", "Basic"),
    ("keep-alive", "timeout=600"),
];
/// Names that stores behind a proxy or a login service believe, ask a part of an answer, or choose its
/// charset.
const BELIEVED: &[&str] = &[
    "client-cert",
    "client-cert-chain",
    "remote-user",
    "remote-groups",
    "x-webauth-user",
    "x-amzn-oidc-data",
    "x-amzn-oidc-identity",
    "x-amzn-mtls-clientcert",
    "x-amzn-mtls-clientcert-subject",
    "x-amzn-tls-version",
    "x-ms-client-principal",
    "x-ms-client-principal-name",
    "x-ms-token-aad-id-token",
    "x-goog-authenticated-user-email",
    "x-goog-iap-jwt-assertion",
    "cf-access-authenticated-user-email",
    "cf-access-jwt-assertion",
    "cf-connecting-ipv6",
    "x-arr-clientcert",
    "x-arr-ssl",
    "x-auth-user",
    "x-auth-subject",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-roles",
    "x-consumer-username",
    "x-credential-identifier",
    "x-endpoint-api-userinfo",
    "x-apigateway-api-userinfo",
    "x-userinfo",
    "x-user-id",
    "x-username",
    "x-vouch-user",
    "x-pomerium-claim-email",
    "tailscale-user-login",
    "impersonate-user",
    "oidc-claim-sub",
    "shib-identity-provider",
    "sm-user",
    "iv-user",
    "proxy",
    "proxy-client-ip",
    "wl-proxy-client-ip",
    "front-end-https",
    "x-appengine-user-email",
    "x-accel-mapping",
    "x-sendfile-type",
    "x-middleware-subrequest",
    "x-internal-request",
    "range",
    "if-range",
    "request-range",
    "x-ms-range",
    "accept-charset",
    "a-im",
];
/// What every caller may.
const PLAIN: [(&str, &str); 6] = [
    ("accept", "application/json"),
    ("accept-language", "ja-JP"),
    ("content-language", "ja"),
    ("x-amz-date", "20261101T000000Z"),
    ("x-amzn-idempotencykey", "a b, c"),
    ("x-trace", "q=\"1\""),
];

pub fn printer(world: &World, alpn: Alpn) -> Caller {
    world.caller(|config| {
        config.identity = world.pki.client("label-printer").cloned();
        config.alpn = alpn;
    })
}

fn with(mut call: Call, headers: &[(&'static str, &str)]) -> Call {
    for (name, value) in headers {
        put(&mut call, name, value);
    }
    call
}

/// All tales, and each of them in the spelling that many a framework takes for the same. HTTP/2 has no
/// connection fields: hyper refuses to send some of them.
fn sendable(alpn: Alpn) -> Vec<(String, &'static str)> {
    let all = TALES.into_iter().chain(BELIEVED.iter().map(|name| (*name, "admin")));
    let mut all: Vec<_> = all
        .flat_map(|(name, value)| [(name.to_owned(), value), (name.replace('-', "_"), value)])
        .filter(|(name, _)| {
            alpn == Alpn::H1 || !matches!(name.as_str(), "keep-alive" | "http2-settings")
        })
        .collect();
    all.dedup();
    all
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
}

fn last(mock: &sekisho::mock::MockHandle) -> SeenRequest {
    mock.last().expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn net_3_what_a_caller_says_of_addresses_and_methods_reaches_no_upstream() {
    for protocol in ["http/1.1", "h2"] {
        let line = format!("protocol = \"{protocol}\"");
        let plan = Plan::default().fill("warehouse", &line).fill("amazon", &line);
        let world = World::with(plan).await;
        for alpn in [Alpn::H1, Alpn::H2] {
            let caller = printer(&world, alpn);
            for (mock, target) in [(&world.amazon, ORDERS), (&world.warehouse, STOCK)] {
                // As many as fit into one head.
                for tales in sendable(alpn).chunks(60) {
                    let mut call = with(get(target), &PLAIN);
                    for (name, value) in tales {
                        call = call.header(name, value);
                    }
                    let reply = world.call(&caller, call).await;
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    let seen = last(mock).headers;
                    for (name, value) in tales {
                        assert_eq!(seen.get(name), None, "{name}: {value} over {protocol}");
                    }
                    for (name, value) in PLAIN {
                        assert_eq!(values(&seen, name), [value], "{protocol}");
                    }
                    // Nothing else is told either: the upstream learns nothing of the caller's address.
                    let text = format!("{seen:?}");
                    assert!(
                        !text.contains("127.0.0.1") && !text.contains("label-printer"),
                        "{text}"
                    );
                }
            }
        }
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_what_connection_names_is_for_this_hop_only() {
    let world = World::start().await;
    let caller = printer(&world, Alpn::H1);
    let hop = [("connection", "x-trace, te"), ("x-trace", "this hop"), ("te", "trailers")];
    assert_eq!(world.call(&caller, with(Call::get(STOCK), &hop)).await.status, 200);
    let seen = last(&world.warehouse).headers;
    for name in ["connection", "x-trace", "te"] {
        assert_eq!(seen.get(name), None, "{name}");
    }
    // A Connection that names what the message needs would take it away: refused.
    for name in ["host", "x-forwarded-for", ":authority", "a b"] {
        let call = with(Call::get(STOCK), &[("connection", name)]);
        assert_eq!(world.call(&caller, call).await.status, 400, "{name}");
    }
    assert_eq!(world.warehouse.total(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_the_gateway_s_own_token_goes_nowhere() {
    let world = World::with(
        Plan::default().replace("roles = [\"analysis\"]", "roles = [\"analysis\", \"shipping\"]"),
    )
    .await;
    let token = world.token("analyst");
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = world.caller(|config| config.alpn = alpn);
        for (mock, call) in [(&world.amazon, get(ORDERS)), (&world.warehouse, Call::get(STOCK))] {
            assert_eq!(world.call(&caller, bearing(call, &token)).await.status, 200);
            assert_eq!(last(mock).headers.get("authorization"), None);
            assert!(!format!("{:?}", last(mock).headers).contains(&token));
        }
    }
    world.note_bytes(format!("{:?}", world.requests()).as_bytes());
    assert!(!format!("{:?}", world.log()).contains(&token));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_a_token_header_of_one_s_own_leaves_authorization_to_internal_stores() {
    let world = World::with(
        Plan::default()
            .fill("token", "header = \"x-gate-token\"\nscheme = \"\"")
            .replace("roles = [\"analysis\"]", "roles = [\"analysis\", \"shipping\"]"),
    )
    .await;
    let token = world.token("analyst");
    let own = [("x-gate-token", token.as_str()), ("authorization", "Basic c3RvcmU6cGFzcw==")];
    let nobody = world.nobody();
    assert_eq!(world.call(&nobody, with(Call::get(STOCK), &own)).await.status, 200);
    let seen = last(&world.warehouse).headers;
    assert_eq!(values(&seen, "authorization"), ["Basic c3RvcmU6cGFzcw=="]);
    assert_eq!(seen.get("x-gate-token"), None);
    assert_eq!(world.call(&nobody, with(get(ORDERS), &own)).await.status, 200);
    let seen = last(&world.amazon).headers;
    assert_eq!((seen.get("authorization"), seen.get("x-gate-token")), (None, None));
    // The token is looked for in its header only.
    let reply = world.call(&nobody, bearing(get(ORDERS), &token)).await;
    assert_eq!(reply.status, 401);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_4_amazon_s_token_and_cookies_go_to_amazon_s_api_only_or_nowhere() {
    let world = World::start().await;
    let caller = printer(&world, Alpn::Both);
    let cookie = [("cookie", "session=1")];
    assert_eq!(world.call(&caller, with(get(ORDERS), &cookie)).await.status, 200);
    let seen = last(&world.amazon).headers;
    assert_eq!(values(&seen, "x-amz-access-token"), ["Atza|mock-access-token"]);
    assert_eq!(seen.get("cookie"), None);
    // Set-Cookie never comes down, so what goes up was not set by that store for this caller.
    assert_eq!(world.call(&caller, with(get(STOCK), &cookie)).await.status, 200);
    let seen = last(&world.warehouse).headers;
    assert_eq!((seen.get("x-amz-access-token"), seen.get("cookie")), (None, None));
    let token = with(amazon(Method::POST, "/auth/o2/token"), &cookie);
    world.call(&caller, token).await;
    let seen = last(&world.amazon);
    assert_eq!(seen.target, "/auth/o2/token");
    assert_eq!(seen.headers.get("x-amz-access-token"), None);
    assert_eq!(seen.headers.get("cookie"), None);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_2_what_an_upstream_says_of_itself_stays_inside() {
    for protocol in ["http/1.1", "h2"] {
        let line = format!("protocol = \"{protocol}\"");
        let plan = Plan::default().fill("warehouse", &line).fill("amazon", &line);
        let world = World::with(plan).await;
        world.amazon.set(Scenario::BadBanner);
        world.warehouse.set(Scenario::BadBanner);
        for alpn in [Alpn::H1, Alpn::H2] {
            let caller = printer(&world, alpn);
            for call in [get(ORDERS), Call::get(STOCK)] {
                let reply = world.call(&caller, call).await;
                assert_eq!(reply.status, 200);
                for name in ["server", "via", "set-cookie", "x-powered-by"] {
                    assert_eq!(reply.headers.get(name), None, "{name} over {protocol}");
                }
                assert_eq!(reply.header("content-type"), Some("application/json"));
            }
        }
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_every_answer_has_a_request_id_and_it_is_ours() {
    let world = World::start().await;
    world.amazon.set_for("/sellers", Scenario::CloseEarly);
    let told = [("x-sekisho-request-id", "0123456789abcdef0123456789abcdef")];
    for alpn in [Alpn::H1, Alpn::H2] {
        let mut ids = std::collections::HashSet::new();
        let (printer, nobody) = (printer(&world, alpn), world.caller(|config| config.alpn = alpn));
        let analyst = world.token("analyst");
        let sellers = || get("/sellers/v1/marketplaceParticipations");
        let with_body = Call { body: sekisho::mock::Flow::whole("x"), ..get(ORDERS) };
        for (caller, call, status) in [
            (&printer, get(ORDERS), 200),
            (&nobody, get(ORDERS), 401),
            (&printer, sellers(), 403),
            (&printer, get("/nowhere"), 404),
            (&printer, with_body, 400),
            (&nobody, bearing(sellers(), &analyst), 502),
        ] {
            let reply = world.call(caller, with(call, &told)).await;
            assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
            let [id] = values(&reply.headers, "x-sekisho-request-id")[..] else {
                panic!("{:?}", reply.headers)
            };
            assert_ne!(id, told[0].1);
            if (status, alpn) == (502, Alpn::H1) {
                // The gateway ends the connection after a failure, and says so.
                assert_eq!(reply.header("connection"), Some("close"));
            }
            assert!(ids.insert(id.to_owned()), "{id} twice");
            assert_eq!(world.line_of(&reply)["http.response.status_code"], status);
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_2_an_upstream_can_t_speak_in_the_gateway_s_name() {
    let world = World::start().await;
    let odd = Scripted::start(
        &world,
        &[b"HTTP/1.1 103 Early Hints\r\nserver: planted-banner\r\nset-cookie: a=b\r\n\
            x-sekisho-request-id: forged\r\nlink: </a>\r\n\r\n\
            HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-sekisho-request-id: forged\r\n\
            x-sekisho-note: forged\r\nx-sekisho-request-id: again\r\nratelimit: \"x\";r=0;t=9\r\n\
            connection: x-hop, close\r\nx-hop: this hop\r\nkeep-alive: timeout=5\r\n\
            proxy-authenticate: Basic\r\nx-envoy-upstream: 1\r\nx-kept: yes\r\n\r\nok"],
    )
    .await;
    lead_to(&world, odd.address, "protocol = \"http/1.1\"").await;
    for alpn in [Alpn::H1, Alpn::H2] {
        let reply = world.call(&printer(&world, alpn), Call::get(STOCK)).await;
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, "ok"));
        let ids = values(&reply.headers, "x-sekisho-request-id");
        assert_eq!(ids.len(), 1, "{ids:?}");
        assert_ne!(ids[0], "forged");
        for name in
            ["x-sekisho-note", "x-hop", "keep-alive", "proxy-authenticate", "x-envoy-upstream"]
        {
            assert_eq!(reply.headers.get(name), None, "{name}");
        }
        assert_eq!(reply.header("x-kept"), Some("yes"));
    }
    // The same over a raw stream, because the caller hides informational heads.
    let caller = printer(&world, Alpn::H1);
    let request = b"GET /stock/A HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let raw = caller.raw(world.address(), request).await.unwrap();
    let text = String::from_utf8(raw.bytes).unwrap();
    assert!(text.starts_with("HTTP/1.1 103 ") && text.contains("link: </a>"), "{text}");
    for forged in ["planted-banner", "set-cookie", "forged"] {
        assert!(!text.to_ascii_lowercase().contains(forged), "{text}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_broken_answer_shows_and_what_follows_it_is_clean() {
    for (protocol, scenarios) in [
        ("http/1.1", &[Scenario::Truncate { after: 5 }][..]),
        ("h2", &[Scenario::Truncate { after: 5 }, Scenario::LieLength]),
    ] {
        let lines = format!("protocol = \"{protocol}\"");
        let world = World::with(Plan::default().fill("warehouse", &lines)).await;
        for (alpn, scenario) in [Alpn::H1, Alpn::H2]
            .into_iter()
            .flat_map(|alpn| scenarios.iter().map(move |s| (alpn, *s)))
        {
            let caller = printer(&world, alpn);
            let session = caller.connect(world.address()).await.unwrap();
            world.warehouse.script(&[scenario]);
            let spoilt = session.call(Call::get(STOCK)).await.unwrap();
            if let Scenario::Truncate { after } = scenario {
                assert_eq!(spoilt.end, BodyEnd::Broken, "{protocol} {alpn:?}");
                let line = world.line_of(&spoilt);
                assert_eq!(line["event.outcome"], "failed", "{line}");
                assert_eq!(line["http.response.body.bytes"], after);
            }
            // The same connection is closed, or in step; one of its own is clean.
            let mut replies = Vec::from_iter(session.call(Call::get(STOCK)).await.ok());
            for _ in 0..3 {
                replies.push(world.call(&caller, Call::get(STOCK)).await);
            }
            for reply in replies {
                assert_eq!(reply.end, BodyEnd::Complete, "{protocol} {alpn:?} {scenario}");
                assert_eq!(reply.json()["sku"], "A", "{protocol} {alpn:?} {scenario}");
            }
        }
        world.finish().await;
    }
}

/// More bytes than the length says, that look like an answer to a request which was never sent.
#[tokio::test(flavor = "multi_thread")]
async fn mon_5_what_an_upstream_sends_unasked_answers_nobody() {
    const ANSWERS: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\
          HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nPOISONED",
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nPOISONED",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\
          HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nPOISONED",
    ];
    let world = World::start().await;
    let odd = Scripted::start(&world, ANSWERS).await;
    lead_to(&world, odd.address, "protocol = \"http/1.1\"").await;
    let mut asked = 0;
    for alpn in [Alpn::H1, Alpn::H2] {
        let session = printer(&world, alpn).connect(world.address()).await.unwrap();
        for _ in 0..2 * ANSWERS.len() {
            let reply = session.call(Call::get(STOCK)).await.unwrap();
            assert!(reply.status.is_success());
            assert!(
                ["ok", ""].contains(&reply.text().as_str()),
                "{alpn:?} {asked}: {}",
                reply.text()
            );
            asked += 1;
            // None of these connections is used for another request.
            until("the connection's end", || odd.closed() == asked).await;
            assert_eq!(odd.heads(), asked);
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_answers_that_can_be_read_two_ways_are_not_passed_on() {
    let world = World::start().await;
    let answers: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ];
    let odd = Scripted::start(&world, answers).await;
    let lines =
        "protocol = \"http/1.1\"\nretries = 0\nbreaker = { failures = 1000, open = \"1 s\" }";
    lead_to(&world, odd.address, lines).await;
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = printer(&world, alpn);
        for answer in answers {
            let reply = caller.call(world.address(), Call::get(STOCK)).await.unwrap();
            let text = String::from_utf8_lossy(answer);
            // Either not begun, or begun and broken off: never whole.
            assert!(
                reply.status == 502 || reply.end == BodyEnd::Broken,
                "{text:?} passed as {} {:?}",
                reply.status,
                reply.text()
            );
            assert_eq!(world.line_of(&reply)["event.outcome"], "failed", "{text:?}");
        }
    }
    assert_eq!(odd.heads(), 2 * answers.len());
    world.finish().await;
}
