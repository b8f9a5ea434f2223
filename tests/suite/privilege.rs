//! What an identity may do, over the wire: only what a role grants, in one spelling, and every refusal
//! says what was refused, to whom, by which control.
mod explained;

use http::Method;
use sekisho::mock::{Alpn, Call, Caller, Flow, Reply, Scenario};

use crate::support::{ORDERS, Plan, World, amazon, bearing, error_of, get};

/// What the role `analysis` allows.
const GRANTED: &str = "allow = [\"orders/getOrders\", \"sellers/*\"]";

const ADDRESS: &str = "/orders/v0/orders/902-1111111-0000001/address";

/// Roles and identities beside those of every world.
const MORE: &str = r#"
[role.reader]
purpose = "look at everything"
allow = ["*:read"]
[role.writer]
purpose = "change stock"
allow = ["warehouse/*:write", "listingsItems/*:write"]
[role.orders]
purpose = "see orders"
allow = ["orders/*"]
[role.pages]
purpose = "see pages of orders"
allow = ["orders/getOrders"]
query = [{ operations = ["orders/*"], parameter = "NextToken", values = ["page-*"] }]
[identity.roleless]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "roleless" }
networks = ["loopback"]
roles = []
[identity.reader]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "reader" }
networks = ["loopback"]
roles = ["reader"]
[identity.writer]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "writer" }
networks = ["loopback"]
roles = ["writer"]
[identity.lister]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "lister" }
networks = ["loopback"]
roles = ["orders"]
[identity.two-roles]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "two-roles" }
networks = ["loopback"]
roles = ["pages", "analysis"]
[identity.nowhere]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "nowhere" }
networks = []
roles = ["shipping"]
"#;

async fn world() -> World {
    World::with(Plan::default().fill("identities", MORE)).await
}

/// A call as one of the identities that come with a token; `label-printer` shows its certificate.
async fn call_as(world: &World, who: &str, call: Call) -> Reply {
    if who == "label-printer" {
        return world.call(&world.printer(), call).await;
    }
    world.call(&world.nobody(), bearing(call, &world.token(who))).await
}

/// Everything an answer must say: status, code, who and what, control and request id.
fn assert_refused(world: &World, reply: &Reply, status: u16, code: &str, control: &str) {
    let (found, message) = error_of(reply);
    assert_eq!((reply.status.as_u16(), found), (status, format!("Sekisho.{code}")), "{message}");
    let id = reply.header("x-sekisho-request-id").unwrap();
    let details = reply.json()["errors"][0]["details"].as_str().unwrap().to_owned();
    assert!(details.starts_with(&format!("{control}; ")), "{details}");
    assert!(details.ends_with(id), "{details}");
    assert!(reply.headers.contains_key("x-amzn-errortype"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let line = world.line_of(reply);
    assert_eq!(
        (&line["sekisho.denial"], &line["sekisho.control"]),
        (&code.into(), &control.into())
    );
    assert_eq!(line["event.outcome"], "denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_what_is_not_granted_is_refused_by_name() {
    let world = world().await;
    for (who, call, operation) in [
        ("roleless", get(ORDERS), "orders/getOrders"),
        ("analyst", get(ADDRESS), "orders/getOrderAddress"),
        (
            "label-printer",
            get("/sellers/v1/marketplaceParticipations"),
            "sellers/getMarketplaceParticipations",
        ),
        ("label-printer", get("/orders/v0/orders/902-1/buyerInfo"), "orders/getOrderBuyerInfo"),
        ("reader", amazon(Method::PUT, "/stock/A1"), "warehouse/putStock"),
        ("reader", Call::post("/auth/o2/token", Flow::empty()), "lwa/token"),
        ("writer", get("/stock/A1"), "warehouse/getStock"),
        ("lister", get("/stock/A1"), "warehouse/getStock"),
    ] {
        let reply = call_as(&world, who, call).await;
        assert_refused(&world, &reply, 403, "OperationNotGranted", "PRIV-1");
        let (_, message) = error_of(&reply);
        assert!(message.contains(who) && message.contains(operation), "{message}");
        assert_eq!(world.line_of(&reply)["sekisho.operation"], operation);
        assert_eq!(world.line_of(&reply)["user.name"], who);
    }
    assert_eq!((world.amazon.total(), world.warehouse.total()), (0, 0));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_a_role_that_allows_nothing_is_not_taken_for_one_that_allows_all() {
    let world = World::start().await;
    let none = |text: String| text.replace(GRANTED, "allow = []");
    assert!(!world.reload(none).await, "it is a mistake, and said to be one");
    let mended = |text: String| text.replace("allow = []", GRANTED);
    let of_none = |text: String| text.replace("roles = [\"analysis\"]", "roles = []");
    assert!(world.reload(|text| of_none(mended(text))).await);
    let reply = call_as(&world, "analyst", get(ORDERS)).await;
    assert_refused(&world, &reply, 403, "OperationNotGranted", "PRIV-1");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_patterns_grant_what_they_say() {
    let world = world().await;
    world.amazon.set(Scenario::NoContent);
    world.warehouse.set(Scenario::NoContent);
    let put = || amazon(Method::PUT, "/stock/A1");
    for (who, call, role) in [
        ("reader", get(ORDERS), "reader"),
        ("reader", get("/stock/A1"), "reader"),
        ("reader", amazon(Method::HEAD, ORDERS), "reader"),
        ("writer", put(), "writer"),
        (
            "writer",
            amazon(Method::DELETE, "/listings/2021-08-01/items/S1/K1?marketplaceIds=A"),
            "writer",
        ),
        ("lister", get(ADDRESS), "orders"),
        ("label-printer", put(), "shipping"),
    ] {
        let (method, target) = (call.method.clone(), call.target.clone());
        let reply = call_as(&world, who, call).await;
        assert_eq!(reply.status, 204, "{who} {method} {target}: {}", reply.text());
        assert_eq!(world.line_of(&reply)["sekisho.role"], role);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_a_denied_parameter_is_denied_in_every_spelling() {
    let world = world().await;
    let market = "MarketplaceIds=A1VC38T7YXB528";
    for query in [
        "BuyerEmail=a%40b",
        "BuyerEmail=",
        "BuyerEmail",
        "buyeremail=x",
        "BUYEREMAIL=x",
        "Buyer%45mail=x",
        "%42%75%79%65%72%45%6D%61%69%6C=x",
        "%62uyerEmail=x",
        "BuyerEmail%5B%5D=x",
        "BuyerEmail%5B0%5D=x",
        "CreatedAfter=2026-01-01&BuyerEmail=x",
        "BuyerEmail=x&BuyerEmail=y",
    ] {
        for target in [format!("{market}&{query}"), format!("{query}&{market}")] {
            let reply =
                call_as(&world, "analyst", get(&format!("/orders/v0/orders?{target}"))).await;
            assert_refused(&world, &reply, 403, "QueryNotGranted", "PRIV-1");
            assert!(error_of(&reply).1.contains("orders/getOrders"), "{target}");
        }
    }
    // What could be read in two ways is no query at all.
    for query in ["Buyer%2545mail=x", "BuyerEmail;x=1", "Buyer+Email=x", "=x", "a=1&&b=2", "%26=x"]
    {
        let target = format!("/orders/v0/orders?{market}&{query}");
        let reply = call_as(&world, "analyst", get(&target)).await;
        assert_refused(&world, &reply, 400, "PathNotAccepted", "MON-5");
    }
    assert_eq!(world.amazon.total(), 0);
    // The role it is not denied to.
    let target = format!("/orders/v0/orders?{market}&BuyerEmail=a%40example.com");
    let reply = call_as(&world, "label-printer", get(&target)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(world.amazon.last().unwrap().target, target);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_a_bound_parameter_holds_its_values_only() {
    let world = world().await;
    let (own, other) = ("A1VC38T7YXB528", "ATVPDKIKX0DER");
    for (query, granted) in [
        (format!("?MarketplaceIds={own}"), true),
        (format!("?MarketplaceIds={own}&MarketplaceIds={own}"), true),
        (format!("?MarketplaceIds={own},{own}"), true),
        (format!("?MarketplaceIds={own}%2C{own}"), true),
        ("?Marketplace%49ds=A1%56C38T7YXB528&CreatedAfter=2026-01-01".to_owned(), true),
        (String::new(), false),
        ("?".to_owned(), false),
        ("?MarketplaceIds".to_owned(), false),
        ("?MarketplaceIds=".to_owned(), false),
        ("?CreatedAfter=2026-01-01".to_owned(), false),
        (format!("?MarketplaceIds={other}"), false),
        (format!("?MarketplaceIds={own},{other}"), false),
        (format!("?MarketplaceIds={own}%2C{other}"), false),
        (format!("?MarketplaceIds={own},"), false),
        (format!("?MarketplaceIds={own}&MarketplaceIds={other}"), false),
        (format!("?MarketplaceIds={other}&MarketplaceIds={own}"), false),
        (format!("?MarketplaceIds={own}&marketplaceids={other}"), false),
        (format!("?MarketplaceIds={own}&MarketplaceIds%5B%5D={other}"), false),
        (format!("?marketplaceids={own}"), false),
        (format!("?MarketplaceIds={}", own.to_lowercase()), false),
        (format!("?MarketplaceIds={own}+"), false),
        (format!("?MarketplaceIds=%20{own}"), false),
    ] {
        let before = world.amazon.total();
        let reply = call_as(&world, "analyst", get(&format!("/orders/v0/orders{query}"))).await;
        if granted {
            assert_eq!(reply.status, 200, "{query}: {}", reply.text());
            assert_eq!(world.amazon.last().unwrap().target, format!("/orders/v0/orders{query}"));
        } else {
            assert_refused(&world, &reply, 403, "QueryNotGranted", "PRIV-1");
        }
        assert_eq!(world.amazon.total() - before, u64::from(granted), "{query}");
    }
    // Of two roles each one decides alone: what one refuses the other may grant.
    for (query, role) in [
        ("NextToken=page-7", Some("pages")),
        ("MarketplaceIds=A1VC38T7YXB528", Some("analysis")),
        ("NextToken=other&MarketplaceIds=A1VC38T7YXB528", Some("analysis")),
        ("NextToken=other", None),
        ("MarketplaceIds=A1VC38T7YXB528&BuyerEmail=x", None),
    ] {
        let reply = call_as(&world, "two-roles", get(&format!("/orders/v0/orders?{query}"))).await;
        match role {
            None => assert_refused(&world, &reply, 403, "QueryNotGranted", "PRIV-1"),
            Some(role) => assert_eq!(world.line_of(&reply)["sekisho.role"], role, "{query}"),
        }
    }
    // An internal store's operation lists its parameters; any other is refused.
    for (query, granted) in
        [("?page=2&size=5", true), ("?page=2&sort=a", false), ("?Page=2", false)]
    {
        let reply = call_as(&world, "label-printer", get(&format!("/stock/A1{query}"))).await;
        if granted {
            assert_ne!(reply.status, 403, "{query}");
        } else {
            assert_refused(&world, &reply, 403, "QueryNotGranted", "PRIV-1");
        }
    }
    world.finish().await;
}

/// Spellings of a path that another server could read as a granted one, or as another than we do.
const ODD: [&str; 42] = [
    "/orders/v0/orders/",
    "/orders/v0//orders",
    "//orders/v0/orders",
    "/./orders/v0/orders",
    "/orders/./v0/orders",
    "/orders/v0/orders/.",
    "/orders/v0/orders/..",
    "/x/../orders/v0/orders",
    "/orders/v0/orders/../orders",
    "/orders/v0/%2e/orders",
    "/orders/v0/%2E%2E/v0/orders",
    "/orders/v0/orders/%2e%2e/address",
    "/orders/v0/orders/..%2faddress",
    "/orders%2Fv0%2Forders",
    "/orders%2fv0/orders",
    "/orders/v0/orders/a%2Fb",
    "/orders/v0/orders/a%5Cb",
    "/orders/v0/orders\\902",
    "/orders\\v0\\orders",
    "/orders/v0/orders;v=1",
    "/orders/v0/orders/902-1;x/address",
    "/orders/v0/orders/902-1%3Bx/address",
    "/..;/orders/v0/orders",
    "/%6Frders/v0/orders",
    "/orders/v0/%6frders",
    "/orders/v0/orders/%41",
    "/orders/v0/orders/a%3d",
    "/orders/v0/orders/a%252F",
    "/%2565/orders",
    "/orders/v0/orders/%c0%ae%c0%ae",
    "/orders/v0/orders/%C0%AF",
    "/orders/v0/orders/%E3%81",
    "/orders/v0/orders/%FF",
    "/orders/v0/orders/%00",
    "/orders/v0/orders%00",
    "/orders/v0/orders/a%0D%0Ab",
    "/orders/v0/orders/%",
    "/orders/v0/orders/%4",
    "/orders/v0/orders/%zz",
    "/orders/v0/orders/%u002e",
    "/orders/v0/orders/a%3Fb",
    "/orders/v0/orders/a%23b",
];

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_path_has_one_spelling_over_the_wire() {
    let world = World::start().await;
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = world.caller(|config| {
            config.alpn = alpn;
            config.identity = world.pki.client("label-printer").cloned();
        });
        let open = caller.connect(world.address()).await.unwrap();
        for path in ODD {
            // A backslash is no URI to the caller's library; it goes out raw below.
            if path.contains('\\') {
                continue;
            }
            let reply = open.call(get(path)).await.unwrap();
            world.note(&reply);
            assert_refused(&world, &reply, 400, "PathNotAccepted", "MON-5");
        }
    }
    let raw = [
        "/orders\\v0\\orders",
        "/orders/v0/orders\\902",
        "/orders/v0/orders/\u{0}",
        "/orders/v0/orders/a\tb",
        "/orders/v0/orders/\u{7f}",
        "/orders/v0/orders/é",
        "/orders/v0/orders/<x>",
        "orders/v0/orders",
        "",
    ];
    for path in raw {
        assert_eq!(status_of_raw(&world, path).await, 400, "{path:?}");
    }
    // The server as a whole, which only OPTIONS could mean (RFC 9110 section 9.3.7).
    assert_eq!(status_of_raw(&world, "*").await, 405);
    assert_eq!(world.amazon.total(), 0);
    // What stands behind a # is sent to nobody, judged or not.
    let _ = status_of_raw(&world, "/orders/v0/orders#x").await;
    assert!(world.amazon.last().is_none_or(|seen| !seen.target.contains('x')));
    // What is well spelt passes as it came.
    for path in
        ["/orders/v0/orders/902-1", "/orders/v0/orders/902%E3%81%82", "/orders/v0/orders/a=1,2"]
    {
        world.amazon.set(Scenario::Echo);
        let reply = world.call(&world.printer(), get(path)).await;
        assert_eq!(reply.json()["target"], path, "{}", reply.text());
    }
    world.finish().await;
}

async fn status_of_raw(world: &World, target: &str) -> u16 {
    let caller: Caller = world.caller(|config| {
        config.alpn = Alpn::H1;
        config.identity = world.pki.client("label-printer").cloned();
    });
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let reply = caller.raw(world.address(), request.as_bytes()).await.unwrap();
    let text = String::from_utf8_lossy(&reply.bytes).into_owned();
    let (_, body) = text.split_once("\r\n\r\n").expect(&text);
    world.note_bytes(body.as_bytes());
    text.split(' ').nth(1).expect(&text).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_a_sku_may_hold_what_people_wrote_into_it() {
    let world = World::start().await;
    world.amazon.set(Scenario::Echo);
    world.warehouse.set(Scenario::Echo);
    for sku in [
        "A%2FB",
        "a%2fb",
        "50%25",
        "A%252FB",
        "%E9%9D%B4%2023",
        "1.5%2F2..0",
        "a%3Bb",
        "%41",
        "a%5Cb",
    ] {
        for target in [
            format!("/listings/2021-08-01/items/A2SELLER/{sku}?marketplaceIds=A1VC38T7YXB528"),
            format!("/stock/{sku}"),
        ] {
            let reply = world.call(&world.printer(), get(&target)).await;
            assert_eq!(reply.status, 200, "{target}: {}", reply.text());
            assert_eq!(reply.json()["target"], target, "byte for byte");
        }
    }
    let before = (world.amazon.total(), world.warehouse.total());
    for sku in [
        "..",
        "%2E%2e",
        "a%2F..%2Fb",
        "%252e%252e%252fx",
        "a%00",
        "%FF",
        "a%25252Fb",
        "..%5Cx",
        "a;b",
        "",
    ] {
        for prefix in ["/listings/2021-08-01/items/A2SELLER/", "/stock/"] {
            let reply = world.call(&world.printer(), get(&format!("{prefix}{sku}"))).await;
            assert_refused(&world, &reply, 400, "PathNotAccepted", "MON-5");
        }
    }
    assert_eq!((world.amazon.total(), world.warehouse.total()), before);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_what_is_no_operation_is_not_there() {
    let world = World::start().await;
    for (method, target, status, code) in [
        (Method::GET, "/", 404, "OperationUnknown"),
        (Method::GET, "/orders/v9/orders", 404, "OperationUnknown"),
        (Method::GET, "/Orders/v0/orders", 404, "OperationUnknown"),
        (Method::GET, "/orders/v0/orders/1/2/3/4/5/6/7/8/9", 404, "OperationUnknown"),
        (Method::POST, "/orders/v0/orders", 404, "OperationUnknown"),
        (Method::DELETE, "/stock/A1", 404, "OperationUnknown"),
        (Method::GET, "/auth/o2/token", 404, "OperationUnknown"),
    ] {
        let reply = world.call(&world.printer(), amazon(method.clone(), target)).await;
        assert_refused(&world, &reply, status, code, "PRIV-1");
        assert!(!reply.text().contains(target) || target == "/", "echoed: {}", reply.text());
    }
    for method in ["OPTIONS", "CONNECT", "TRACE", "PROPFIND", "get", "GETX"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        if method == Method::CONNECT {
            continue;
        }
        let caller = world.caller(|config| {
            config.alpn = Alpn::H1;
            config.identity = world.pki.client("label-printer").cloned();
        });
        let reply = world.call(&caller, amazon(method.clone(), ORDERS)).await;
        assert_eq!(reply.status, 405, "{method}: {}", reply.text());
    }
    let upgrade =
        Call::get("/stock/A1").header("upgrade", "websocket").header("connection", "upgrade");
    let caller = world.caller(|config| {
        config.alpn = Alpn::H1;
        config.identity = world.pki.client("label-printer").cloned();
    });
    let reply = world.call(&caller, upgrade).await;
    assert_refused(&world, &reply, 400, "UpgradeNotAllowed", "PRIV-1");
    let body = Call { body: Flow::whole("x"), ..get(ORDERS) };
    let reply = world.call(&world.printer(), body).await;
    assert_refused(&world, &reply, 400, "BodyNotAllowed", "MON-5");
    assert_eq!((world.amazon.total(), world.warehouse.total()), (0, 0));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_an_identity_comes_from_its_networks_only() {
    let world = world().await;
    let clerk = world.token("office-clerk");
    let from = |source: &str| {
        let source = source.parse().unwrap();
        world.caller(move |config| config.source = Some(source))
    };
    let reply = world.call(&from("127.0.0.1"), bearing(get(ORDERS), &clerk)).await;
    assert_refused(&world, &reply, 403, "NetworkNotListed", "NET-1");
    assert!(error_of(&reply).1.contains("office-clerk"));
    assert_eq!(world.line_of(&reply)["sekisho.network"], "loopback");
    let reply = world.call(&from("127.0.0.2"), bearing(get(ORDERS), &clerk)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // NET-2: the network alone is nobody.
    let reply = world.call(&from("127.0.0.2"), get(ORDERS)).await;
    assert_eq!(error_of(&reply).0, "Sekisho.NoCredential");
    // An empty list admits it from nowhere; what it may not do is not told from there either.
    for target in [ORDERS, "/sellers/v1/marketplaceParticipations"] {
        let nowhere = bearing(get(target), &world.token("nowhere"));
        let reply = world.call(&from("127.0.0.3"), nowhere).await;
        assert_refused(&world, &reply, 403, "NetworkNotListed", "NET-1");
    }
    assert_eq!(world.amazon.total(), 1);
    world.finish().await;
}
