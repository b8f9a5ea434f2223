//! What is open when a token is denied or a certificate revoked, however many others came by the same
//! connection.
use super::*;

pub(super) const OPEN: &str = "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\n\
                    upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_denied_token_ends_its_answer_whatever_else_its_connection_carried() {
    let world = World::start().await;
    let denied = with_id(&world, "denied");
    let caller = world.caller(|config| {
        (config.alpn, config.deadline) = (Alpn::H2, crate::logs::SOON);
    });
    let open = caller.connect(world.address()).await.unwrap();
    world.amazon.set(Scenario::SlowBody { bytes: 200, tick_ms: 50 });
    let slow = tokio::spawn({
        let (open, call) = (open.clone(), bearing(get(ORDERS), &denied));
        async move { open.call(call).await }
    });
    until("the upstream is asked", || world.amazon.total() == 1).await;
    world.amazon.set(Scenario::Echo);
    for number in 0..20 {
        let token = with_id(&world, &format!("other-{number}"));
        assert_eq!(open.call(bearing(get(ORDERS), &token)).await.unwrap().status, 200);
    }
    assert!(!slow.is_finished(), "the answer came too fast for this test");
    revoke(&world, "denied").await;
    let ended = within(SECOND, "it breaks off", slow).await.unwrap();
    assert!(ended.is_err() || ended.is_ok_and(|reply| reply.end == BodyEnd::Broken));
    until("every line", || world.requests().len() == 21).await;
    let lines = world.requests();
    let cut: Vec<_> = lines.iter().filter(|line| line["event.outcome"] != "allowed").collect();
    assert_eq!(cut.len(), 1);
    assert_revoked(cut[0], "Token");
    assert_told(&world, "token", Some("analyst"), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_tokens_that_nobody_uses_any_more_are_forgotten_in_turn() {
    let world = World::start().await;
    world.amazon.set(Scenario::Echo);
    let open =
        world.caller(|config| config.alpn = Alpn::H2).connect(world.address()).await.unwrap();
    for number in 0..40 {
        let token = with_id(&world, &format!("used-{number}"));
        assert_eq!(open.call(bearing(get(ORDERS), &token)).await.unwrap().status, 200);
    }
    // One of long ago ends nothing; one of the last does.
    revoke(&world, "used-0").await;
    let last = with_id(&world, "used-39");
    assert_eq!(open.call(bearing(get(ORDERS), &last)).await.unwrap().status, 200);
    revoke(&world, "used-38").await;
    cut_to(&world, 0).await;
    world.finish().await;
}

/// A socket that ends within a second when something is taken away; its line in the log.
async fn socket_cut(
    world: &World,
    caller: &Caller,
    field: &str,
    take_away: impl AsyncFnOnce(),
) -> Value {
    let lines = world.requests().len();
    let mut stream = caller.stream(world.address()).await.unwrap();
    stream.write_all(format!("{OPEN}{field}\r\n").as_bytes()).await.unwrap();
    let answer = read_head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    take_away().await;
    let _ = within(SECOND, "it is cut", stream.read_to_end(&mut Vec::new())).await;
    line_after(world, lines).await
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_denied_token_cuts_its_socket() {
    let world = World::start().await;
    let token = world.token_with("office-clerk", |claims| {
        claims.extra.insert("jti".to_owned(), "stolen".into());
    });
    let caller = world.caller(|config| {
        config.alpn = Alpn::H1;
        config.source = Some([127, 0, 0, 2].into());
    });
    let field = format!("authorization: Bearer {token}\r\n");
    let line = socket_cut(&world, &caller, &field, async || revoke(&world, "stolen").await).await;
    assert_revoked(&line, "Token");
    assert_eq!(line["user.name"], "office-clerk");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_revoked_certificate_cuts_its_socket() {
    let world = World::start().await;
    let write = |text: &str| std::fs::write(world.dir.join("revoked.crl"), text).unwrap();
    write(&list(&world, &[], 7));
    assert!(world.reload(|text| text.replacen(CA, LISTED, 1)).await);
    let caller = printer(&world, Alpn::H1);
    let line = socket_cut(&world, &caller, "", async || {
        write(&list(&world, &["label-printer"], 7));
        assert!(world.reload(|text| text).await);
    })
    .await;
    assert_revoked(&line, "Certificate");
    assert!(
        caller.stream(world.address()).await.is_err() || {
            // TLS 1.3 tells a client of its certificate after the handshake.
            caller.call(world.address(), get(ORDERS)).await.is_err()
        }
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_token_credential_taken_from_its_identity_ends_what_it_opened() {
    let world = World::start().await;
    let caller = world.caller(|config| {
        config.alpn = Alpn::H1;
        config.source = Some([127, 0, 0, 2].into());
    });
    let renamed = async |was: &str, is: &str| {
        let subject = |name: &str| format!("subject = \"{name}\"");
        assert!(world.reload(|text| text.replace(&subject(was), &subject(is))).await);
    };
    let field = format!("authorization: Bearer {}\r\n", world.token("office-clerk"));
    let take_away = async || renamed("office-clerk", "another").await;
    let line = socket_cut(&world, &caller, &field, take_away).await;
    assert_revoked(&line, "Identity");
    assert_eq!(line["user.name"], "office-clerk");
    let token = world.token("analyst");
    for alpn in BOTH {
        let caller = world.caller(|config| config.alpn = alpn);
        let take_away = async || renamed("analyst", "a-third").await;
        assert_revoked(&broken_off(&world, &caller, Some(&token), take_away).await, "Identity");
        renamed("a-third", "analyst").await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_key_taken_from_its_issuer_ends_what_its_tokens_opened() {
    let world = World::start().await;
    let caller = world.caller(|config| {
        config.alpn = Alpn::H1;
        config.source = Some([127, 0, 0, 2].into());
    });
    let keys = |set: String| -> Vec<Value> {
        let set: Value = serde_json::from_str(&set).unwrap();
        set["keys"].as_array().unwrap().clone()
    };
    let (own, other) = (keys(world.pki.signer.jwks()), keys(world.pki.other_signer.jwks()));
    let publish = async |keys: &[Value]| {
        let set = serde_json::json!({ "keys": keys }).to_string();
        std::fs::write(world.dir.join("pki/tokens/signing.jwks"), set).unwrap();
        assert!(world.reload_as_it_is().await);
    };
    let token = world.token("office-clerk");
    let mut stream = caller.stream(world.address()).await.unwrap();
    let head = format!("{OPEN}authorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    // The next one comes before the last one goes.
    publish(&[own, other.clone()].concat()).await;
    for _ in 0..3 {
        stream.write_all(b".").await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
    }
    publish(&other).await;
    let _ = within(SECOND, "it is cut", stream.read_to_end(&mut Vec::new())).await;
    until("its line", || !world.requests().is_empty()).await;
    assert_revoked(&world.requests().pop().unwrap(), "Identity");
    world.finish().await;
}
