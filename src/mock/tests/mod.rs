use http::HeaderMap;

use super::*;
use crate::base::Clock;
use crate::devcerts::{DevPki, PkiPlan};

mod amazon;
mod scenarios;
mod wire;

/// A mock and what is needed to call it.
struct Stage {
    pki: DevPki,
    mock: MockHandle,
}

impl Stage {
    async fn amazon() -> Self {
        Self::with(Personality::Amazon, |_, _| {}).await
    }

    async fn warehouse() -> Self {
        Self::with(Personality::Warehouse, |_, _| {}).await
    }

    async fn with(personality: Personality, bend: impl FnOnce(&DevPki, &mut MockConfig)) -> Self {
        let pki = DevPki::generate(&PkiPlan::default(), Clock::system().now()).unwrap();
        let mut config = MockConfig::new(personality, pki.upstream.clone());
        bend(&pki, &mut config);
        Self { mock: MockSpApi::start(config).await.unwrap(), pki }
    }

    fn config(&self, alpn: Alpn) -> CallerConfig {
        CallerConfig { alpn, ..CallerConfig::trusting(self.pki.ca.certificate()) }
    }

    fn caller(&self, alpn: Alpn) -> Caller {
        Caller::new(self.config(alpn)).unwrap()
    }

    async fn call(&self, alpn: Alpn, call: Call) -> Result<Reply, CallFault> {
        self.caller(alpn).call(self.mock.address(), call).await
    }

    /// GET as an SP-API client sends it, over HTTP/2.
    async fn get(&self, target: &str) -> Reply {
        self.call(Alpn::H2, sp_api(Call::get(target))).await.unwrap()
    }

    async fn raw(&self, bytes: &str) -> RawReply {
        self.caller(Alpn::H1).raw(self.mock.address(), bytes.as_bytes()).await.unwrap()
    }
}

fn sp_api(call: Call) -> Call {
    call.header("user-agent", "Test/1.0 (Language=Rust)").header("x-amz-access-token", "Atza|t")
}

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528";
