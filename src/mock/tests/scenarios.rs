use std::time::Duration;

use http::StatusCode;

use super::*;

const BOTH: [Alpn; 2] = [Alpn::H1, Alpn::H2];

/// A call under a scenario; returns the outcome and the mock that gave it.
async fn under(stage: &Stage, alpn: Alpn, scenario: Scenario) -> Result<Reply, CallFault> {
    stage.mock.set(scenario);
    stage.call(alpn, sp_api(Call::get(ORDERS))).await
}

#[tokio::test]
async fn errors_throttling_and_bodiless_answers_come_over_both_versions() {
    let stage = Stage::amazon().await;
    for alpn in BOTH {
        for status in [400, 403, 404, 429, 500, 502, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            let reply = under(&stage, alpn, Scenario::Error { status }).await.unwrap();
            assert_eq!(reply.status, status);
            assert!(reply.json()["errors"][0]["code"].is_string());
        }
        let reply = under(&stage, alpn, Scenario::Throttle).await.unwrap();
        assert_eq!(reply.json()["errors"][0]["code"], "QuotaExceeded");
        assert_eq!(reply.status, 429);
        assert!(reply.headers.contains_key("x-amzn-requestid"));
        assert!(!reply.headers.contains_key("x-amzn-ratelimit-limit"));
        let reply = under(&stage, alpn, Scenario::NoContent).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.body_bytes), (204, 0));
        let reply = under(&stage, alpn, Scenario::NotModified).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.body_bytes), (304, 0));
        assert_eq!(reply.header("etag"), Some("\"mock-etag\""));
        assert_eq!(reply.end, BodyEnd::Complete);
    }
}

#[tokio::test]
async fn banners_and_big_headers_come_over_both_versions() {
    let stage = Stage::amazon().await;
    for alpn in BOTH {
        let reply = under(&stage, alpn, Scenario::BadBanner).await.unwrap();
        assert_eq!(reply.header("server"), Some("MockBanner/9.9 (internal-host-17)"));
        for name in ["via", "set-cookie", "x-powered-by"] {
            assert!(reply.headers.contains_key(name), "{name}");
        }
        let reply = under(&stage, alpn, Scenario::BigHeaders { bytes: 100_000 }).await.unwrap();
        let fill = reply.headers.get_all("x-mock-fill").iter().map(http::HeaderValue::len);
        assert_eq!(fill.sum::<usize>(), 100_000);
        assert_eq!(reply.status, 200);
    }
}

#[tokio::test]
async fn truncated_bodies_are_shorter_than_their_length() {
    let stage = Stage::amazon().await;
    for alpn in BOTH {
        for after in [0_u32, 1, 100, 200_000] {
            let reply = under(&stage, alpn, Scenario::Truncate { after }).await.unwrap();
            assert_eq!(reply.status, 200);
            assert_eq!(reply.end, BodyEnd::Broken, "{alpn:?} {after}");
            // A reset may overtake the last bytes over HTTP/2, flow control holds some back.
            assert!(reply.body_bytes <= u64::from(after));
            if alpn == Alpn::H1 {
                assert_eq!(reply.body_bytes, u64::from(after));
            }
            let told: u64 = reply.header("content-length").unwrap().parse().unwrap();
            assert!(told > u64::from(after));
        }
    }
}

#[tokio::test]
async fn an_understated_length_is_followed_by_poison() {
    let stage = Stage::amazon().await;
    let whole = under(&stage, Alpn::H1, Scenario::Normal).await.unwrap();
    let reply = under(&stage, Alpn::H1, Scenario::LieLength).await.unwrap();
    assert_eq!((reply.body, reply.end), (whole.body, BodyEnd::Complete));
    let config = CallerConfig { deadline: Duration::from_secs(2), ..stage.config(Alpn::H1) };
    let raw = format!(
        "GET {ORDERS} HTTP/1.1\r\nhost: a\r\nuser-agent: t\r\nx-amz-access-token: t\r\n\r\n"
    );
    let caller = Caller::new(config).unwrap();
    let reply = caller.raw(stage.mock.address(), raw.as_bytes()).await.unwrap();
    assert_eq!(reply.end, RawEnd::Deadline, "the connection is held open");
    let text = String::from_utf8_lossy(&reply.bytes).into_owned();
    assert!(text.ends_with("\r\n\r\nPOISONED-q7k-9"), "{text}");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2);
    // Over HTTP/2 the lie breaks the stream, wherever the client notices it.
    match under(&stage, Alpn::H2, Scenario::LieLength).await {
        Ok(reply) => assert_eq!(reply.end, BodyEnd::Broken),
        Err(fault) => assert!(matches!(fault, CallFault::Http(_))),
    }
}

#[tokio::test]
async fn an_early_end_brings_no_head() {
    let stage = Stage::amazon().await;
    for alpn in BOTH {
        let fault = under(&stage, alpn, Scenario::CloseEarly).await.unwrap_err();
        assert!(matches!(fault, CallFault::Http(_) | CallFault::Io(_)), "{alpn:?} {fault:?}");
        let fault = under(&stage, alpn, Scenario::Garbage).await.unwrap_err();
        assert!(matches!(fault, CallFault::Http(_)), "{alpn:?} {fault:?}");
    }
    let raw = format!("GET {ORDERS} HTTP/1.1\r\nhost: a\r\n\r\n");
    stage.mock.set(Scenario::CloseEarly);
    let reply = stage.raw(&raw).await;
    assert_eq!((reply.bytes.len(), reply.end), (0, RawEnd::Closed));
    stage.mock.set(Scenario::Garbage);
    assert!(stage.raw(&raw).await.bytes.starts_with(b"SSH-2.0"));
    assert_eq!(stage.mock.total(), 6, "the requests were seen all the same");
}

#[tokio::test]
async fn a_scenario_meets_the_second_request_of_a_connection_too() {
    let stage = Stage::amazon().await;
    let session = stage.caller(Alpn::H1).connect(stage.mock.address()).await.unwrap();
    assert_eq!(session.call(sp_api(Call::get(ORDERS))).await.unwrap().status, 200);
    stage.mock.set(Scenario::Truncate { after: 5 });
    let reply = session.call(sp_api(Call::get(ORDERS))).await.unwrap();
    assert_eq!((reply.body_bytes, reply.end), (5, BodyEnd::Broken));
    assert_eq!(stage.mock.connections(), 1);
    // Over HTTP/2 one broken stream leaves the others alone.
    let session = stage.caller(Alpn::H2).connect(stage.mock.address()).await.unwrap();
    assert_eq!(session.call(sp_api(Call::get(ORDERS))).await.unwrap().end, BodyEnd::Broken);
    stage.mock.set(Scenario::Normal);
    assert_eq!(session.call(sp_api(Call::get(ORDERS))).await.unwrap().end, BodyEnd::Complete);
    assert_eq!(stage.mock.connections(), 2);
}

#[tokio::test]
async fn informational_responses_come_before_the_answer_or_for_ever() {
    let stage = Stage::amazon().await;
    let reply = under(&stage, Alpn::H1, Scenario::Informational { count: Some(3) }).await.unwrap();
    assert_eq!((reply.informational, reply.status.as_u16()), (3, 200));
    assert_eq!(reply.end, BodyEnd::Complete);
    let config = CallerConfig { deadline: Duration::from_millis(300), ..stage.config(Alpn::H1) };
    stage.mock.set(Scenario::Informational { count: None });
    let caller = Caller::new(config).unwrap();
    let fault = caller.call(stage.mock.address(), sp_api(Call::get(ORDERS))).await.unwrap_err();
    assert!(matches!(fault, CallFault::Deadline));
    let scenario = Scenario::Informational { count: Some(1) };
    assert!(under(&stage, Alpn::H2, scenario).await.is_err());
}

#[tokio::test]
async fn trailers_come_over_both_versions() {
    let stage = Stage::amazon().await;
    let plain = under(&stage, Alpn::H1, Scenario::Normal).await.unwrap();
    for alpn in BOTH {
        let reply = under(&stage, alpn, Scenario::Trailers).await.unwrap();
        assert_eq!(reply.body, plain.body);
        assert_eq!(reply.trailers.unwrap()["x-mock-trailer"], "planted-trailer-q7k");
        assert_eq!(reply.end, BodyEnd::Complete);
    }
}

#[tokio::test]
async fn endless_and_slow_bodies_are_bounded_by_the_caller() {
    let stage = Stage::amazon().await;
    for alpn in BOTH {
        let scenario = Scenario::Endless { bytes: 3_000_000 };
        let reply = under(&stage, alpn, scenario).await.unwrap();
        assert_eq!((reply.body_bytes, reply.end), (3_000_000, BodyEnd::Complete));
        assert!(reply.header("content-length").is_none());

        stage.mock.set(Scenario::Endless { bytes: 1 << 40 });
        let config = CallerConfig { body_max: 1 << 20, keep_bytes: 10, ..stage.config(alpn) };
        let caller = Caller::new(config).unwrap();
        let reply = caller.call(stage.mock.address(), sp_api(Call::get(ORDERS))).await.unwrap();
        assert_eq!((reply.body.len(), reply.end), (10, BodyEnd::TooLarge));
        assert!(reply.body_bytes > 1 << 20);

        // The handshake and the head have to come in that time, too.
        stage.mock.set(Scenario::SlowBody { bytes: 1, tick_ms: 50 });
        let config = CallerConfig { deadline: Duration::from_secs(2), ..stage.config(alpn) };
        let caller = Caller::new(config).unwrap();
        let reply = caller.call(stage.mock.address(), sp_api(Call::get(ORDERS))).await.unwrap();
        assert_eq!(reply.end, BodyEnd::Deadline);
        assert!(reply.body_bytes <= 45);

        let scenario = Scenario::SlowBody { bytes: 1 << 20, tick_ms: 1 };
        let reply = under(&stage, alpn, scenario).await.unwrap();
        assert_eq!(reply.end, BodyEnd::Complete);
    }
}

#[tokio::test]
async fn a_delay_delays_and_nothing_else() {
    let stage = Stage::amazon().await;
    for alpn in BOTH {
        let reply = under(&stage, alpn, Scenario::Delay { ms: 1 }).await.unwrap();
        assert_eq!(reply.status, 200);
        stage.mock.set(Scenario::Delay { ms: 60_000 });
        let config = CallerConfig { deadline: Duration::from_millis(200), ..stage.config(alpn) };
        let caller = Caller::new(config).unwrap();
        let fault = caller.call(stage.mock.address(), sp_api(Call::get(ORDERS))).await.unwrap_err();
        assert!(matches!(fault, CallFault::Deadline));
    }
}

#[tokio::test]
async fn echo_shows_the_request_as_it_arrived() {
    let stage = Stage::amazon().await;
    stage.mock.set_for("/echo", Scenario::Echo);
    let target = "/echo/%2e%2E//a%20b;x?q=%e3%81%82&&r=+%2B";
    for alpn in BOTH {
        let call = Call::post(target, Flow::whole("hello"))
            .header("x-one", "1")
            .header("x-one", "2")
            .header("host", "elsewhere.test");
        let echo = stage.call(alpn, call).await.unwrap().json();
        assert_eq!(echo["target"], target);
        assert_eq!(echo["method"], "POST");
        assert_eq!(echo["bodyBytes"], 5);
        assert_eq!(
            echo["bodySha256"],
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
        let headers = echo["headers"].as_array().unwrap();
        assert!(headers.contains(&serde_json::json!(["x-one", "1"])));
        assert!(headers.contains(&serde_json::json!(["x-one", "2"])));
        if alpn == Alpn::H2 {
            assert_eq!(echo["authority"], "elsewhere.test");
        } else {
            assert!(headers.contains(&serde_json::json!(["host", "elsewhere.test"])));
        }
    }
}

#[tokio::test]
async fn a_script_is_used_up_and_rules_hold() {
    let stage = Stage::with(Personality::Amazon, |_, config| {
        config.scenarios = vec!["/orders/:error=503".parse().unwrap()];
    })
    .await;
    stage.mock.script(&[Scenario::Normal, Scenario::Throttle]);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(stage.get(ORDERS).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 429, 503]);
    stage.mock.clear_scenarios();
    assert_eq!(stage.get(ORDERS).await.status, 200);
    assert_eq!(stage.mock.last().unwrap().scenario, Scenario::Normal);
}
