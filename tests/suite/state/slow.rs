//! A server whose answers take their time: what needs several of them still has its turn, and so have
//! many at once (MON-2).
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use sekisho::mock::Scenario;
use sekisho::store::{Ask, LeaseKey, Metered, Rate, Remote, Store as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{eventually, identities, passes, shared, value};
use crate::store::redis::{Server, memory, settings};
use crate::store::{id, now, sound};
use crate::support::{Plan, World};

/// Longer than a unit of a slow quota is kept for nobody.
const LAG: Duration = Duration::from_millis(60);

/// Passes bytes on to a server, whose answers it holds up. Says on which port.
async fn lagging(to: u16) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await.unwrap();
            let ((mut from_near, mut to_near), (mut from_far, mut to_far)) =
                (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from_near, &mut to_far).await });
            let (later, mut held) = mpsc::unbounded_channel();
            tokio::spawn(async move {
                let mut bytes = vec![0; 65_536];
                while let Ok(length @ 1..) = from_far.read(&mut bytes).await {
                    if later.send((Instant::now() + LAG, bytes[..length].to_vec())).is_err() {
                        return;
                    }
                }
            });
            tokio::spawn(async move {
                while let Some((due, bytes)) = held.recv().await {
                    sleep_until(due).await;
                    if to_near.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// A gateway whose server is far away.
pub(super) async fn far_away(server: &Server) -> World {
    let port = lagging(server.port).await;
    let text = shared(server, 1)
        .replace(&format!("127.0.0.1:{}", server.port), &format!("127.0.0.1:{port}"));
    let world = World::with(Plan::default().fill("identities", &identities()).fill("more", &text));
    let world = world.await;
    world.amazon.set(Scenario::Echo);
    eventually("it is sound", || value(&world, "sekisho_state_sound").then_some(())).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_two_slow_windows_are_had_together_of_a_server_that_is_far_away() {
    let server = Server::start().await;
    let world = far_away(&server).await;
    assert!(passes(&world, "twice").await);
    Box::pin(world.finish()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_more_questions_at_once_than_there_are_seats_wait_for_one() {
    let server = Server::start().await;
    let port = lagging(server.port).await;
    let store = Arc::new(Remote::start(settings(server.endpoint(port), 1), memory(1)));
    sound(&*store).await;
    let asking: Vec<_> = (0..600)
        .map(|nth: u32| {
            let store = Arc::clone(&store);
            let key = LeaseKey { of: Metered::Identity, id: id(&nth.to_string()), window: 0 };
            let rate = Rate::new(Duration::from_secs(1), 10).unwrap();
            let late = Duration::ZERO;
            let ask = Ask { key, rate, wanted: 1, debt: 0, returned: 0, late };
            tokio::spawn(async move { store.lease(ask, now()).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap().map(|lease| lease.granted), Ok(1));
    }
}
