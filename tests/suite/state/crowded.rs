//! A server without room for more sources: people are told, and what people impose goes through.
use sekisho::engine::Target;
use sekisho::lockout::Subject;
use sekisho::store::{LOCKS_MAX, Reach};

use super::{eventually, eventually_locked, finish, order, told, two, value};
use crate::store::redis::Server;

/// Fills all of the server that sources may have, with what nobody reads.
async fn fill(server: &Server) {
    const SCRIPT: &str = "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
        redis.call('HSET', KEYS[2], 'filler ' .. i, '')
        redis.call('ZADD', KEYS[3], 0, 'filler ' .. i)
    end
    redis.call('HSET', KEYS[1], 'locks', redis.call('HLEN', KEYS[2]))
    return 0";
    // Whoever else asks waits for all of a step.
    const STEP: u64 = 200;
    let mut admin = server.admin().await;
    for from in (0..LOCKS_MAX / 10 * 9).step_by(usize::try_from(STEP).unwrap()) {
        let mut call = redis::cmd("EVAL");
        call.arg(SCRIPT).arg(3);
        for place in ["meta", "locks", "order"] {
            call.arg(format!("sekisho:{{test}}:{place}"));
        }
        call.arg(from).arg(from + STEP - 1);
        let (): () = call.query_async(&mut admin).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_a_server_full_of_sources_is_told_of_and_carries_a_kill() {
    let mut server = Server::start().await;
    let both = two(&server).await;
    fill(&server).await;
    let mut source = order("slow");
    source.target = Target::Listed(Subject::Source(7));
    assert_eq!(both[0].gateway.engine.lock(&source).await.unwrap(), Reach::HereOnly);
    let unkept = eventually("it is told", || told(&both[0], "locks-unkept").pop()).await;
    assert!(unkept.to_string().contains("\"full\""), "{unkept}");
    assert_eq!(both[0].gateway.engine.lock(&order("slow")).await.unwrap(), Reach::Everywhere);
    eventually_locked(&both[1], "slow").await;
    assert!(value(&both[0], "sekisho_state_sound"), "quotas are asked for as ever");

    server.kill();
    server.restart().await;
    eventually("there is room", || told(&both[0], "locks-kept").pop()).await;
    eventually("the other one knows", || {
        let all = both[1].gateway.engine.list_locks();
        all.iter().any(|lock| lock.subject == Subject::Source(7)).then_some(())
    })
    .await;
    Box::pin(finish(both)).await;
}
