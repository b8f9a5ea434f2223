//! A network that is locked on one gateway is locked on every other (ACC-5).
use std::net::IpAddr;

use sekisho::base::Name;
use sekisho::engine::{LockOrder, Target, Unlock};
use sekisho::lockout::{ReleaseReason, Step};
use sekisho::store::Reach;

use super::{finish, two};
use crate::store::redis::Server;
use crate::support::{ORDERS, get, until_some};

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_a_locked_network_is_shut_out_of_every_gateway() {
    let server = Server::start().await;
    let both = two(&server).await;
    let other = &both[1];
    let there = other.caller(|config| {
        config.source = Some(IpAddr::from([127, 1, 2, 3]));
        config.identity = other.pki.client("label-printer").cloned();
    });
    let open = there.connect(other.address()).await.unwrap();
    assert_eq!(open.call(get(ORDERS)).await.unwrap().status, 200);
    let name = |text: &str| Name::parse(text).unwrap();
    let target = || Target::Network("127.1.2.0/24".parse().unwrap());
    let (by, case) = (name("officer"), name("CASE-1"));
    let order = LockOrder { target: target(), step: Step::Lock, lasts: None, by, case };
    assert_eq!(both[0].gateway.engine.lock(&order).await, Ok(Reach::Everywhere));
    until_some("what is open is cut", async || open.call(get(ORDERS)).await.err()).await;
    assert!(there.stream(other.address()).await.is_err());
    let (by, case, reason) = (name("officer"), name("CASE-1"), ReleaseReason::Business);
    let unlock = Unlock { target: target(), by, reason, case };
    both[0].gateway.engine.unlock(&unlock).await.unwrap();
    until_some("it is let in again", async || {
        there.call(other.address(), get(ORDERS)).await.ok().filter(|reply| reply.status == 200)
    })
    .await;
    Box::pin(finish(both)).await;
}
