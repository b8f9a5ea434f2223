//! For operators, too, TLS ends by the host's permit (TLS-3).
use sekisho::mock::Call;
use tokio::net::TcpStream;

use super::{look, person, world};
use crate::support::{Late, until};

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_no_operator_s_handshake_is_ended_once_the_permit_was_withdrawn() {
    let world = world().await;
    let connected = async || TcpStream::connect(world.gateway.api.unwrap()).await.unwrap();
    let [early, begun] = [connected().await, connected().await].map(Late::over);
    // They are taken in their order.
    look(&world, "viewer", "/v1/locks").await;
    let (viewer, begun) = (person(&world, "viewer"), begun.await);
    let (to, ask) = (begun.at, || Call::get("/v1/locks"));
    let withdrawn = async {
        let goes_on = begun.answered().await;
        std::fs::remove_file(world.dir.join("pki/permit/host.permit")).unwrap();
        assert!(world.gateway.engine.look_at_permit().await.unwrap());
        drop(goes_on);
    };
    let (called, ()) = tokio::join!(viewer.call(to, ask()), withdrawn);
    assert!(called.is_err());
    assert!(viewer.call(early.await.at_once(), ask()).await.is_err());
    let series = "sekisho_connections_refused_total{listener=\"admin.api\",reason=\"no_permit\"}";
    until("both refusals", || world.metric(series) >= 2.0).await;
    world.finish().await;
}
