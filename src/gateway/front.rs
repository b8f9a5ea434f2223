//! Hands a connection to Pingora's HTTP/1 or HTTP/2 engine, once per connection, and arms the door
//! before every request.
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::sync::watch;

use super::hooks::Hooks;
use super::socket::Sockets;
use crate::base::{Denial, HeadFault};
use crate::config::Bounds;
use crate::engine::{ConnLink, Engine, Serve};
use crate::evidence::Protocol;

/// The request path for all listeners: one pool of upstream connections.
pub struct Gateway {
    proxy: Arc<HttpProxy<Hooks>>,
    engine: Arc<Engine>,
    /// Tells open sockets that the gateway stops.
    stop: watch::Sender<bool>,
    /// Tells who waits for a request that none is taken any more.
    over: watch::Sender<bool>,
}

impl Gateway {
    #[must_use]
    pub fn new(engine: Arc<Engine>, threads: usize) -> Arc<Self> {
        let conf = ServerConf {
            threads,
            // One try, and as many more as an upstream may be configured to have.
            max_retries: 6,
            // Idle connections, of all upstreams. HTTP/1 ones are kept for each identity apart.
            upstream_keepalive_pool_size: 512,
            // Pingora's own trust store stays empty: a peer without roots of its own verifies
            // against nobody (TLS-2).
            ca_file: Some("/dev/null".to_owned()),
            ..ServerConf::default()
        };
        let (stop, over) = (watch::Sender::new(false), watch::Sender::new(false));
        let hooks = Hooks::new(Arc::clone(&engine), Sockets::new(&conf, stop.subscribe()));
        Arc::new(Self { proxy: Arc::new(http_proxy(&Arc::new(conf), hooks)), engine, stop, over })
    }

    /// Has sockets end when they pause. Connections are told to go by the listeners they came by.
    pub fn retire(&self) {
        self.stop.send_replace(true);
    }

    /// Sockets that are opened from now on may stay.
    pub fn go_on(&self) {
        self.stop.send_replace(false);
    }

    /// Drops connections that wait for a next request; those with one in flight go on, a socket until
    /// it pauses.
    pub async fn drain(&self) {
        self.stop.send_replace(true);
        self.over.send_replace(true);
        self.proxy.http_cleanup().await;
    }
}

#[async_trait]
impl Serve for Gateway {
    async fn serve(
        &self,
        stream: Stream,
        link: Arc<ConnLink>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let _closes = Closes(&link);
        let (retire, retired) = watch::channel(*shutdown.borrow());
        let front = Arc::new(Front::new(self, Arc::clone(&link), retire));
        let serving = front.process_new(stream, &retired);
        tokio::pin!(serving);
        let wearied = tokio::select! {
            biased;
            // Before a request that came meanwhile: its answer is to say that it is the last.
            _stop = shutdown.wait_for(|stop| *stop) => false,
            _over = &mut serving => return,
            () = link.wearied() => true,
        };
        front.retire.send_replace(true);
        if wearied {
            // What was on its way by then has its answers when that is over.
            let gone = tokio::time::timeout(link.facts.bounds.first_byte, &mut serving).await;
            if gone.is_ok() || !link.is_proved() {
                return;
            }
        }
        serving.await;
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway")
    }
}

/// Tells the requests of a connection that it is over, however it came to that.
struct Closes<'l>(&'l ConnLink);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// One connection's view of the proxy.
struct Front {
    proxy: Arc<HttpProxy<Hooks>>,
    engine: Arc<Engine>,
    link: Arc<ConnLink>,
    options: HttpServerOptions,
    /// Takes no more requests on this connection than it has.
    retire: watch::Sender<bool>,
    /// No request is taken any more: who waits for one waits in vain.
    over: watch::Receiver<bool>,
}

impl Front {
    fn new(gateway: &Gateway, link: Arc<ConnLink>, retire: watch::Sender<bool>) -> Self {
        let bounds = &link.facts.bounds;
        let mut options = HttpServerOptions::default();
        // Pingora serves one more than its limit says.
        options.keepalive_request_limit = Some(bounds.requests_per_connection.saturating_sub(1));
        options.h2_idle_timeout = Some(bounds.idle);
        let (proxy, engine) = (Arc::clone(&gateway.proxy), Arc::clone(&gateway.engine));
        let over = gateway.over.subscribe();
        Self { proxy, engine, link, options, retire, over }
    }

    fn bounds(&self) -> &Bounds {
        &self.link.facts.bounds
    }

    /// Counts an HTTP/2 request, for which Pingora has no limit. At the bound the client is asked to
    /// open another connection; what it sends until it has read that is served, within reason.
    fn count(&self, begun: u32) -> Served {
        let bounds = self.bounds();
        if begun == bounds.requests_per_connection {
            self.retire.send_replace(true);
        }
        if begun > bounds.requests_per_connection.saturating_add(bounds.h2_streams) {
            Served::No
        } else {
            Served::Yes
        }
    }
}

/// An HTTP/2 request under way.
struct UnderWay<'l>(&'l ConnLink);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    Yes,
    No,
}

#[async_trait]
impl HttpServerApp for Front {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let begun = self.link.begin_request();
        let _under_way = UnderWay(&self.link);
        if let ServerSession::H1(waiting) = &mut session {
            // The engine takes much room to wait in; so it is begun when there is something to do.
            self.link.probe();
            let mut over = self.over.clone();
            let there = tokio::select! {
                biased;
                read = waiting.idle() => matches!(read, Ok(1..)),
                _over = over.wait_for(|over| *over) => false,
            };
            self.link.end_probe();
            if !there {
                return None;
            }
        }
        Box::pin(self.serve_one(session, shutdown, begun)).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        let bounds = self.bounds();
        let mut options = default_h2_options();
        options.max_concurrent_streams(bounds.h2_streams);
        // The request path judges the bound and explains it; the engine, whose 431 the door explains
        // where it can, bounds what that may cost.
        options.max_header_list_size(bounds.h2_header_bytes.saturating_mul(2));
        options.max_pending_accept_reset_streams(
            usize::try_from(bounds.h2_resets).unwrap_or(usize::MAX),
        );
        options
            .max_concurrent_reset_streams(usize::try_from(bounds.h2_resets).unwrap_or(usize::MAX));
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

impl Front {
    /// Serves one request, of which at least the first bytes are there.
    async fn serve_one(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
        begun: u32,
    ) -> Option<ReusedHttpStream> {
        let bounds = self.bounds();
        if self.link.facts.http == Protocol::Http1 {
            // The door's deadlines are the exact ones; the engine's only bound what the door can't
            // see. Without a number here keep-alive would have no end (Pingora's default).
            let longest = bounds.idle.max(bounds.first_byte).as_secs().saturating_add(5);
            if session.get_keepalive().is_some() {
                session.set_keepalive(Some(longest));
            }
        }
        // Of bodies the door is the judge; this bounds what it can't see.
        let longest_read = bounds.idle.max(bounds.body_rate_grace);
        session.set_read_timeout(Some(longest_read.saturating_add(Duration::from_secs(5))));
        // A reader slower than a sender may be is cut as well: its answer would stay in memory. Each
        // piece of the answer has this time, and less if those before it had it all (`reader`).
        session.set_write_timeout(Some(bounds.idle));
        session.set_total_drain_timeout(Some(bounds.body_rate_grace));
        if self.link.facts.http == Protocol::Http1 {
            return self.proxy.process_new_http(session, shutdown).await;
        }
        if self.count(begun) == Served::No {
            // Dropped, it is reset.
            let denial = Denial::Head(HeadFault::Streams);
            self.engine.report_head(&self.link.facts, denial, None);
            return None;
        }
        super::request::within_body_rate(Arc::clone(&self.link), async {
            if !session.is_body_empty() {
                super::request::BODY.with(|progress| progress.begin());
            }
            self.proxy.process_new_http(session, shutdown).await
        })
        .await
        .flatten()
    }
}
