//! Opens what the gateway remembers, and lets go of it in order.
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::say::{self, Failure};
use crate::base::{Moment, Name, Secret, Use};
use crate::config::{RedisSettings, Snapshot};
use crate::engine::Engine;
use crate::store::{
    Condition, Embedded, Endpoint, EndpointFault, FILE_NAME, Gateway, Login, OpenFault,
    RemoteSettings, Shared, SharedSecret, Store, TlsFiles,
};

/// How long a start waits for the server that gateways share.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// The state of one gateway, open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    /// This gateway among those that share.
    pub(super) gateway: Gateway,
    /// What gateways that share have in common; a gateway alone has one of its own.
    pub(super) secret: SharedSecret,
    shared: Option<Arc<Shared>>,
    tasks: JoinSet<()>,
}

impl Opened {
    /// Opens the file in the state directory and, where several gateways share, begins to connect. A
    /// server that can't be had within [`CONNECT_MAX`] is no reason not to start: what is known holds.
    ///
    /// # Errors
    /// What is wrong with the file or the settings, and what to do about it.
    pub(super) async fn open(
        snapshot: &Snapshot,
        own_secret: &Secret<[u8; 32]>,
        now: Moment,
    ) -> Result<Self, Failure> {
        let path = snapshot.state_dir.join(FILE_NAME);
        let failed =
            |what: &dyn std::fmt::Display| Failure::new(format_args!("{}: {what}", path.display()));
        let gateway = Gateway(snapshot.state.gateway);
        let dir = snapshot.state_dir.clone();
        // All of the file is read, which takes a while for a large one.
        let opened = tokio::task::spawn_blocking(move || Embedded::open(&dir, gateway, now)).await;
        let file = opened
            .map_err(|panicked| failed(&panicked))?
            .map_err(|fault| failed(&format_args!("{fault}; {}", advice(fault))))?;
        let environment = &snapshot.environment;
        let Some(redis) = &snapshot.state.redis else {
            let secret = SharedSecret::derive(own_secret, environment);
            return Ok(Self {
                store: Arc::new(file),
                gateway,
                secret,
                shared: None,
                tasks: JoinSet::new(),
            });
        };
        let settings = remote(redis, environment, gateway)
            .map_err(|fault| Failure::new(format_args!("[state.redis]: {}", words(fault))))?;
        let secret = settings.secret.clone();
        let shared = Shared::start(file, settings).await.map_err(|fault| failed(&fault))?;
        let shared = Arc::new(shared);
        // The first callers would be refused for want of a connection that is there a moment later.
        let mut condition = shared.condition();
        let sound = condition.wait_for(|condition| *condition == Condition::Sound);
        let _or_later = tokio::time::timeout(CONNECT_MAX, sound).await;
        let store: Arc<dyn Store> = Arc::<Shared>::clone(&shared);
        Ok(Self { store, gateway, secret, shared: Some(shared), tasks: JoinSet::new() })
    }

    /// Begins to write memory down and to look after the store.
    pub(super) fn keep(&mut self, engine: &Arc<Engine>) {
        let (keeper, watcher) = (Arc::clone(engine), Arc::clone(engine));
        self.tasks.spawn(async move { keeper.keep_memory().await });
        self.tasks.spawn(watcher.watch_store());
    }

    /// Writes everything down, tells the other gateways that this one goes, and returns when all that
    /// was asked of the file is on disk.
    pub(super) async fn close(mut self: Box<Self>, engine: &Engine) {
        self.tasks.shutdown().await;
        if let Err(fault) = engine.save_all().await {
            say::err(format_args!(
                "what was spent and revealed could not be written down: {fault}"
            ));
        }
        if let Err(fault) = engine.flush_state().await {
            say::err(format_args!("locks could not be written down: {fault}"));
        }
        if let Some(shared) = &self.shared {
            shared.leave().await;
        }
    }
}

fn remote(
    redis: &RedisSettings,
    environment: &Name,
    gateway: Gateway,
) -> Result<RemoteSettings, EndpointFault> {
    let client = redis
        .client_certificate
        .as_ref()
        .map(|own| (own.chain.clone(), own.key.reveal_for(Use::Forward).clone_key()));
    let files = TlsFiles { authorities: redis.authorities.clone(), client };
    let endpoint = Endpoint::new(&redis.host, redis.port, files)?;
    Ok(RemoteSettings {
        endpoint: endpoint.certified_as(&redis.server_name)?,
        login: Login { user: redis.user.clone(), password: redis.password.clone() },
        environment: environment.clone(),
        secret: SharedSecret::derive(&redis.secret, environment),
        gateway,
        time_out: redis.time_out,
        poll: redis.poll,
    })
}

/// What an operator does about a file that can't be opened. It is never replaced by the gateway.
const fn advice(fault: OpenFault) -> &'static str {
    match fault {
        OpenFault::InUse => {
            "another gateway runs with this state_dir: stop it, or give each one its own"
        }
        OpenFault::Newer { .. } => {
            "run the newer version, or restore a backup from before it (ACC-2)"
        }
        OpenFault::Corrupt | OpenFault::NotAStore => {
            "the gateway does not start without knowing what is locked (ACC-2)"
        }
        OpenFault::Permission => {
            "state_dir and the file belong to the gateway's user, mode 700 and 600"
        }
        OpenFault::Disk => "check the disk and its free space",
    }
}

const fn words(fault: EndpointFault) -> &'static str {
    match fault {
        EndpointFault::Host => "the server's name can't be verified",
        EndpointFault::Authority => "ca holds no usable authority",
        EndpointFault::ClientKey => "client_certificate can't be used",
    }
}
