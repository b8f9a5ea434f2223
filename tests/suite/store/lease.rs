//! Quotas that gateways share, and what holds without the store.
use std::time::Duration;

use sekisho::store::bucket::{self, Asked};
use sekisho::store::{
    Ask, Gateway, Holder, Lease, LeaseKey, Metered, Rate, Store as _, StoreFault,
};

use super::redis::{Server, memory};
use super::{eventually, id, now, sound};

fn ask(name: &str, interval: Duration, burst: u32, wanted: u32) -> Ask {
    let key = LeaseKey { of: Metered::Duty, id: id(name), window: 0 };
    Ask {
        key,
        rate: Rate::new(interval, burst).unwrap(),
        wanted,
        debt: 0,
        returned: 0,
        late: Duration::ZERO,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_gateways_share_one_limit() {
    let server = Server::start().await;
    let (one, two) = (server.remote(1), server.remote(2));
    for store in [&one, &two] {
        sound(store).await;
        eventually("both are seen", || async { store.peers().await.unwrap().count == 2 }).await;
    }
    assert_eq!(one.peers().await.unwrap().place, 0);
    assert_eq!(two.peers().await.unwrap().place, 1);
    // The first to ask does not take it all, and together they take no more than there is.
    let all = ask("shared", Duration::from_secs(50), 100, 100);
    assert_eq!(one.lease(all, now()).await.unwrap().granted, 50);
    assert_eq!(two.lease(all, now()).await.unwrap().granted, 25);
    let mut total = 75;
    for _ in 0..20 {
        total += one.lease(all, now()).await.unwrap().granted;
        total += two.lease(all, now()).await.unwrap().granted;
    }
    assert_eq!(total, 100);
    // Slower than one a minute and ours: whoever asks is given one.
    let ours = ask("ours", Duration::from_secs(90), 4, 1);
    let ours = Ask { key: LeaseKey { of: Metered::Identity, ..ours.key }, ..ours };
    for store in [&one, &two, &one, &two] {
        assert_eq!(store.lease(ours, now()).await.unwrap().granted, 1);
    }
    assert_eq!(one.lease(ours, now()).await.unwrap().granted, 0);
    let back = Ask { wanted: 0, returned: 1, ..ours };
    assert_eq!(two.lease(back, now()).await.unwrap().granted, 0);
    assert_eq!(one.lease(ours, now()).await.unwrap().granted, 1);
    // A duty: one owner, and the other is told for how long.
    let slow = ask("slow", Duration::from_secs(90), 4, 1);
    assert_eq!(two.lease(slow, now()).await.unwrap().granted, 1);
    let lease = one.lease(slow, now()).await.unwrap();
    assert_eq!(lease.granted, 0);
    let Holder::Another(left) = lease.holder else { panic!("{lease:?}") };
    assert!(left > Duration::from_secs(25) && lease.wait == left);
    assert_eq!(two.lease(slow, now()).await.unwrap().granted, 1);
    // A gateway that says good-bye is not counted any more.
    two.leave().await.unwrap();
    drop(two);
    eventually("one is alone", || async { one.peers().await.unwrap().count == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_one_number_one_gateway() {
    let server = Server::start().await;
    let first = server.remote(1);
    sound(&first).await;
    let mut copied = memory(1);
    copied.instance += 1;
    let second = sekisho::store::Remote::start(server.settings(1), copied);
    super::until(&second, |now| now == sekisho::store::Condition::Faulty(StoreFault::NumberTaken))
        .await;
    // The same installation, started again, is no other gateway.
    drop(first);
    sound(&server.remote(1)).await;
}

/// The script with a clock that is given to it, and without expiry, which follows the server's own.
fn script_at_given_times() -> redis::Script {
    let prelude = include_str!("../../../src/store/remote/lua/prelude.lua");
    let body = include_str!("../../../src/store/remote/lua/lease.lua");
    let clock = "{string.sub(ARGV[12], 1, -7), string.sub(ARGV[12], -6)}";
    let text = [prelude, body].concat().replace("redis.call('TIME')", clock);
    let text = text.replace(", 'PX', digits(math.ceil(keep_us / 1000))", "");
    assert!(text.contains("ARGV[12]") && !text.contains("'PX'"));
    redis::Script::new(&text)
}

/// The script in Redis and `bucket.rs` are one arithmetic, for anything that may be asked.
#[tokio::test(flavor = "multi_thread")]
async fn mon_2_the_script_and_the_model_agree() {
    let server = Server::start().await;
    let mut admin = server.admin().await;
    let script = script_at_given_times();
    let mut random = Random(1);
    let mut cases = 0;
    for round in 0..60_u64 {
        let (scale, size) = (random.below(34), random.below(14));
        let interval_us = 1 + random.below(1 << (6 + scale));
        let burst = 1 + u32::try_from(random.below(1 << size)).unwrap();
        let Ok(rate) = Rate::new(Duration::from_micros(interval_us), burst) else { continue };
        let drain = interval_us * u64::from(burst);
        let (mut known, mut now_us) = (None, 1_700_000_000_000_000 + random.below(1 << 40));
        let reborn_us = (random.below(2) == 1).then_some(now_us);
        let born = reborn_us.unwrap_or(0).to_string();
        let meta = format!("meta {round}");
        let words = [&meta[..], "epoch", "e", "born", &born];
        let (): () = redis::cmd("HSET").arg(&words).query_async(&mut admin).await.unwrap();
        for _ in 0..40 {
            // The clock goes on, stands, and now and then jumps back.
            now_us = match random.below(8) {
                0 => now_us - random.below(drain.min(1 << 45) + 1),
                1 => now_us,
                _ => now_us + random.below(interval_us * 3 + 1),
            };
            let wanted = u32::try_from(random.below(2 * u64::from(burst) + 1)).unwrap();
            let debt = u32::try_from(random.below(12)).unwrap().saturating_sub(8);
            let by = Gateway(u16::try_from(1 + random.below(3)).unwrap());
            let peers = u16::try_from(random.below(5)).unwrap();
            let returned = u32::try_from(random.below(12)).unwrap().saturating_sub(8);
            let of = Metered::ALL[usize::try_from(random.below(3)).unwrap()];
            let model = ask("model", rate.interval(), burst, wanted);
            let key = LeaseKey { of, ..model.key };
            let late = Duration::from_micros(random.below(2) * random.below(3 * interval_us));
            let ask = Ask { key, rate, wanted, debt, returned, late };
            let asked = Asked { by, peers, now_us, reborn_us };
            let (after, expected) = bucket::grant(known, &ask, &asked);
            let mut call = script.prepare_invoke();
            call.key(&meta).key(format!("bucket {round}")).arg("e");
            call.arg(interval_us).arg(drain).arg(u8::from(rate.has_owner(of)));
            call.arg(wanted).arg(debt).arg(by.0).arg(peers);
            call.arg(u64::try_from(bucket::OWNED_FOR.as_micros()).unwrap())
                .arg(returned)
                .arg(u64::try_from(late.as_micros()).unwrap())
                .arg(now_us);
            let answer: (u32, u64, u8, u64, u64) = call.invoke_async(&mut admin).await.unwrap();
            let left = Duration::from_micros(answer.3);
            let holder =
                [Holder::All, Holder::Me(left), Holder::Another(left)][usize::from(answer.2)];
            let wait = Duration::from_micros(answer.1);
            let full_in = Duration::from_micros(answer.4);
            let told = Lease { granted: answer.0, wait, full_in, holder };
            assert_eq!(told, expected, "round {round}: {ask:?} {asked:?} {known:?}");
            // The script forgets a quota that is full and nobody's.
            known = (!after.is_forgettable(now_us)).then_some(after);
            cases += 1;
        }
    }
    assert!(cases > 1_000, "{cases}");
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}
