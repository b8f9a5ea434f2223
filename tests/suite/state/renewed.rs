//! What a gateway and the shared server prove themselves by is renewed while it runs (TLS-2, PRIV-4).
use redis::aio::MultiplexedConnection;

use super::{gateway, put, value};
use crate::logs::eventually;
use crate::store::redis::Server;
use crate::support::{World, until_some};

/// The gateway's connection, by the server's number for it.
async fn connection(admin: &mut MultiplexedConnection) -> Option<String> {
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(admin).await.unwrap();
    let own = list.lines().find(|line| line.contains("user=gateway"))?;
    own.split_whitespace().next().map(str::to_owned)
}

async fn is_sound(world: &World) {
    eventually("the store is sound", || value(world, "sekisho_state_sound").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_4_a_renewed_password_or_authority_needs_no_restart() {
    let server = Server::start().await;
    let world = gateway(&server, 1).await;
    is_sound(&world).await;
    // A machine that stands still during a start has had one.
    let outages = world.events("store-faulty").len();
    let mut admin = server.admin().await;
    let mut before = connection(&mut admin).await.unwrap();
    for step in ["password", "authority"] {
        if step == "password" {
            // The one before is good no more.
            let mut change = redis::cmd("ACL");
            change.arg("SETUSER").arg("gateway").arg("resetpass").arg(">other-horse");
            let _: String = change.query_async(&mut admin).await.unwrap();
            put(server.dir(), "password", b"other-horse\n");
        } else {
            let path = server.dir().join("ca.pem");
            let both = std::fs::read_to_string(&path).unwrap() + &world.pki.ca.certificate_pem();
            std::fs::write(path, both).unwrap();
        }
        assert!(world.reload(|text| text).await, "{step}");
        before =
            until_some(step, async || connection(&mut admin).await.filter(|now| *now != before))
                .await;
        is_sound(&world).await;
    }
    // Nobody had to do without it meanwhile.
    assert_eq!(world.events("store-faulty").len(), outages);
    world.finish().await;
}
