//! A gateway is told to stop while callers keep their connections to it, as behind a service of Kubernetes:
//! none of their requests is lost.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use sekisho::mock::Alpn;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::upgrade::{caller, orders};
use super::{Place, Sekisho};
use crate::logs::eventually;
use crate::support::Late;
use crate::support::crowd::{Crowd, Habit};

/// Passes each connection on to the next gateway that takes it.
struct Balancer {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Balancer {
    async fn over(gateways: [SocketAddr; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let turn = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let turn = Arc::clone(&turn);
                tokio::spawn(async move {
                    let first = turn.fetch_add(1, Ordering::Relaxed);
                    for place in [first, first + 1] {
                        let to = gateways[place % gateways.len()];
                        if let Ok(mut gateway) = TcpStream::connect(to).await {
                            let _ = copy_bidirectional(&mut client, &mut gateway).await;
                            return;
                        }
                    }
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Another gateway for the same callers.
fn second(place: &Place) -> Sekisho {
    let text = std::fs::read_to_string(place.config()).unwrap();
    let text = text.replace("\"state\"", "\"state-2\"").replace("access.log", "access-2.log");
    let config = place.dir.join("second.toml");
    std::fs::write(&config, text).unwrap();
    Sekisho::start(&["run".as_ref(), config.as_ref()], &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_no_request_is_lost_when_one_of_two_gateways_is_told_to_stop() {
    let place = Place::new().await;
    // Half of it is for those who wait to hear of it with an answer; it ends when all have.
    place.write(|text| text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"16 s\""));
    let (goes, stays) = (Sekisho::run(&place), second(&place));
    let balancer = Balancer::over([goes.address().await, stays.address().await]).await;
    let mut crowd = Crowd::new();
    let habit = |alpn, every_ms| Habit {
        caller: caller(&place, alpn),
        to: balancer.address,
        call: orders,
        every: Duration::from_millis(every_ms),
        keeps: true,
    };
    crowd.add(8, &habit(Alpn::H1, 20));
    crowd.add(8, &habit(Alpn::H1, 300));
    crowd.add(4, &habit(Alpn::H2, 40));
    let calls = async || {
        let before = crowd.tally.ok.load(Ordering::Relaxed);
        eventually("calls go on", || {
            (crowd.tally.ok.load(Ordering::Relaxed) > before + 200).then_some(())
        })
        .await;
    };
    calls().await;
    assert_eq!(goes.told_to_end().await.status.code(), Some(0));
    calls().await;
    let tally = crowd.stop().await;
    assert_eq!(tally.failed.load(Ordering::Relaxed), 0, "{:#?}", tally.faults.lock());
    stays.told_to_end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_connection_that_waits_has_one_more_answer_after_the_signal() {
    let place = Place::new().await;
    place.write(|text| text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"16 s\""));
    let gateway = Sekisho::run(&place);
    let to = gateway.address().await;
    let (asks, waits) = (
        caller(&place, Alpn::H1).connect(to).await.unwrap(),
        caller(&place, Alpn::H1).connect(to).await.unwrap(),
    );
    for session in [&asks, &waits] {
        assert_eq!(session.call(orders()).await.unwrap().status, 200);
    }
    gateway.signal(Signal::TERM);
    eventually("it drains", || place.actions().contains(&"draining".to_owned()).then_some(()))
        .await;
    let reply = asks.call(orders()).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.header("connection")), (200, Some("close")));
    // Who never asks is not waited for to the end of the grace.
    assert_eq!(gateway.ended().await.status.code(), Some(0));
    assert!(waits.call(orders()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_whoever_connected_before_the_signal_is_answered() {
    let place = Place::new().await;
    place.write(|text| text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"16 s\""));
    let gateway = Sekisho::run(&place);
    let to = gateway.address().await;
    // Nobody accepts them before the signal is there.
    gateway.signal(Signal::STOP);
    let mut ways = Vec::new();
    for _ in 0..8 {
        let open = TcpStream::connect(to).await.unwrap();
        ways.push(Late::over(open).await.at_once());
    }
    gateway.signal(Signal::TERM);
    gateway.signal(Signal::CONT);
    let ask = |way| {
        let caller = caller(&place, Alpn::H1);
        tokio::spawn(async move { caller.call(way, orders()).await })
    };
    let asked: Vec<_> = ways.into_iter().map(ask).collect();
    for reply in asked {
        assert_eq!(reply.await.unwrap().unwrap().status, 200);
    }
    assert_eq!(gateway.ended().await.status.code(), Some(0));
}
